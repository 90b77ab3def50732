#include "memo/args.h"
#include "memo/batch.h"
#include "memo/calling.h"
#include "memo/depend.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/load.h"
#include "memo/run.h"
#include "memo/running.h"
#include "memo/step.h"

#include <string.h>

// Many keys at once: first all hits (batch.c); then, for what is missing: claim,
// load, wait, in this order for all keys, so that nobody who waits holds a claim
// that he hasn't served.  What is loaded in turn are open tasks meanwhile: a load, or
// another function of the user's, that asks for one whose turn has not come runs it
// itself.

// A key that wasn't resident.
struct miss {
    struct shard *shard;  // with something left to do, perhaps; NULL: it is done
    struct memo_load *flight;  // with a reference
    int started, ran, late;
    int64_t joined_ns;  // or STARTED
    int refreshes;  // there is an answer without it
    int waits;      // he counts as one who waits for it
};

// What is given back however the loads end.
struct bulk {
    struct memo *memo;
    size_t n, size;
    struct miss *misses;       // n of them, at the begin of the block
    struct memo_load **loads;  // room for n, behind them
    struct entry *left;        // to be destroyed when the loads have run
};

static void claim(struct bulk *b, const struct memo_bytes *key,
                  const struct memo_wait *wait, struct miss *miss,
                  struct memo_value *out, int *error) {
    struct memo *m = b->memo;
    struct begin_step begin = memo_begin_for_(
        key->data, key->size, hash_key(&m->seed, key->data, key->size),
        memo_depth_of_(wait));

    begin.left = &b->left;
    begin.in_turns = m->load_many == NULL;
    miss->shard = memo_shard_of_(m, begin.hash);
    *error = memo_find_or_start_(m, &begin);
    miss->flight = begin.flight;
    miss->started = begin.started;
    miss->late = begin.late;
    miss->joined_ns = begin.joined_ns;
    miss->refreshes = begin.entry != NULL;
    miss->waits = miss->flight != NULL && !miss->refreshes;
    if (begin.entry != NULL) {
        memo_entry_hand_out_(begin.entry, begin.from, out);
    } else if (*error != 0) {
        out->from = begin.from;
    }
}

static int is_to_run(const struct miss *miss) {
    return miss->started && !miss->ran;
}

// What the claims have left, until the loads have run: destructors and listeners may
// wait for these.
static void do_what_is_left(struct bulk *b) {
    struct entry *left = b->left;
    size_t i;

    b->left = NULL;
    memo_drop_garbage_(left);  // CALLBACK
    for (i = 0; i < b->n; i++) {
        struct shard *s = b->misses[i].shard;
        b->misses[i].shard = NULL;
        if (s != NULL) {
            memo_do_rest_(s, NULL);  // CALLBACK
        }
    }
}

// Also when this thread ends inside a load: then claims that it had not come to
// are abandoned (E3), and waits that it had not come to given up.
static void end_bulk(struct bulk *b) {
    size_t i;

    for (i = 0; i < b->n; i++) {
        struct miss *miss = &b->misses[i];
        if (miss->flight == NULL) {
            continue;
        }
        if (is_to_run(miss)) {
            memo_abandon_task_(miss->flight);
        }
        if (miss->waits) {
            memo_stop_waiting_(miss->flight, miss->joined_ns, 1);
        }
        memo_flight_unref_(miss->flight);
    }
    do_what_is_left(b);
    if (b->misses != NULL) {
        memo_dealloc_(b->memo, b->misses, b->size);
    }
}

static int begin_bulk(struct bulk *b, struct memo *m, size_t n) {
    size_t each = sizeof(struct miss) + sizeof(struct memo_load *);

    b->memo = m;
    if (n > SIZE_MAX / each) {
        return MEMO_ENOMEM;
    }
    b->size = n * each;
    b->misses = memo_alloc_(m, b->size);
    if (b->misses == NULL) {
        return MEMO_ENOMEM;
    }
    memset(b->misses, 0, b->size);
    b->loads = (struct memo_load **)(void *)(b->misses + n);
    b->n = n;
    return 0;
}

// What has an answer already isn't worth waiting for, if others may load it.
static void hand_over_refreshes(struct bulk *b) {
    size_t i;

    for (i = 0; i < b->n && b->memo->executor.submit != NULL; i++) {
        struct miss *miss = &b->misses[i];
        if (is_to_run(miss) && miss->refreshes) {
            miss->ran = 1;
            memo_run_load_(miss->flight, 1);
        }
    }
}

// One after the other, but for those that somebody couldn't wait for.
static void load_in_turns(struct bulk *b) {
    size_t i;

    for (i = 0; i < b->n; i++) {
        struct miss *miss = &b->misses[i];
        if (is_to_run(miss)) {
            miss->ran = 1;
            memo_run_load_(miss->flight, 0);
        }
    }
}

static void load_at_once(struct bulk *b) {
    size_t n_loads = 0, i;

    for (i = 0; i < b->n; i++) {
        struct miss *miss = &b->misses[i];
        if (is_to_run(miss)) {
            b->loads[n_loads++] = miss->flight;
            miss->ran = 1;
        }
    }
    if (n_loads != 0) {
        memo_run_load_many_(b->memo, b->loads, n_loads);
    }
}

// Load what was claimed: by one bulk load, or one after the other.
static void load_claimed(struct bulk *b) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};

    memo_calling_begin_(&calling, memo_shard_at_(b->memo, 0));
    hand_over_refreshes(b);
    if (b->memo->load_many != NULL) {
        load_at_once(b);
    } else {
        load_in_turns(b);
    }
}

static void wait_for_miss(struct memo *m, const struct memo_bytes *key,
                          struct miss *miss, const struct memo_wait *wait,
                          struct memo_value *out, int *error) {
    enum begin_depth depth = memo_depth_of_(wait);
    struct memo_load *f = miss->flight;

    if (!miss->waits) {
        return;
    }
    *error = memo_wait_(f, wait);
    miss->waits = 0;
    memo_stop_waiting_(f, miss->joined_ns, *error != 0);
    if (*error == MEMO_ETIMEDOUT && memo_may_take_old_(f, wait)) {
        *error = memo_hand_out_old_(f, out);
    } else if (*error == 0 && memo_must_go_again_(f, miss->started, miss->late,
                                                  wait, &depth)) {
        *error = memo_load_as_(m, key->data, key->size, f->hash, depth, wait,
                               out);
    } else if (*error == 0) {
        *error = memo_hand_out_(f, miss->started, out);
    }
}

// Get what the hits have left missing.
static void get_missing(struct memo *m, const struct memo_bytes keys[], size_t n,
                       const struct memo_wait *wait, struct memo_value out[],
                       int errors[]) {
    SYNC_CLEANUP(end_bulk) struct bulk b = {NULL, 0, 0, NULL, NULL, NULL};
    size_t i;
    int error = begin_bulk(&b, m, n);

    for (i = 0; i < n; i++) {
        if (errors[i] != MISSING) {
            continue;
        }
        if (error != 0) {
            errors[i] = error;
        } else {
            claim(&b, &keys[i], wait, &b.misses[i], &out[i], &errors[i]);
        }
    }
    if (error == 0) {
        load_claimed(&b);
        do_what_is_left(&b);
    }
    for (i = 0; i < b.n; i++) {
        wait_for_miss(m, &keys[i], &b.misses[i], wait, &out[i], &errors[i]);
    }
}

// In a load that depends on what it gets.
static int use_keys(struct memo *m, const struct memo_bytes keys[], size_t n) {
    int error = 0;
    size_t i;

    for (i = 0; i < n && error == 0; i++) {
        error = memo_use_key_(m, hash_key(&m->seed, keys[i].data, keys[i].size),
                              keys[i].data, keys[i].size);
    }
    return error;
}

static void use_values(struct memo *m, struct memo_value out[], size_t n,
                       int errors[]) {
    size_t i;

    for (i = 0; i < n; i++) {
        if (errors[i] == 0) {
            errors[i] = memo_use_value_(m, &out[i]);
        }
    }
}

static int refuse_many(struct memo_value out[], size_t n, int error) {
    if (out != NULL && n != 0) {
        memset(out, 0, n * sizeof(*out));
    }
    return error;
}

int memo_get_many(struct memo *m, const struct memo_bytes keys[], size_t n,
                  const struct memo_wait *wait, struct memo_value out[],
                  int errors[]) {
    struct memo_wait own;
    int missing = 0;
    size_t i;

    if (m == NULL || (n != 0 && (out == NULL || errors == NULL)) ||
        memo_take_wait_(&wait, &own) != 0 || memo_are_bad_names_(keys, n)) {
        return refuse_many(out, n, MEMO_EINVAL);
    }
    if (m->depend_auto && use_keys(m, keys, n) != 0) {
        for (i = 0; i < n; i++) {
            errors[i] = MEMO_ENOMEM;
        }
        return refuse_many(out, n, MEMO_ENOMEM);
    }
    for (i = 0; i < n; i += BATCH) {
        size_t some = n - i < BATCH ? n - i : BATCH;
        missing |= memo_get_batch_(m, keys + i, some, out + i, errors + i);
    }
    if (missing) {
        get_missing(m, keys, n, wait, out, errors);
    }
    if (m->depend_auto) {
        use_values(m, out, n, errors);
    }
    for (i = 0; i < n && errors[i] == 0; i++) {
    }
    return i == n ? 0 : errors[i];
}
