#include "memo/memo.h"

#include <string.h>

#include "memo/args.h"
#include "memo/depend.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/find.h"
#include "memo/internal.h"
#include "memo/load.h"
#include "memo/shard.h"
#include "memo/stats.h"
#include "memo/step.h"
#include "sync/pin.h"

// The door: who asks a cache for something comes in here and has his arguments
// checked, and hits end here.

static SYNC_COLD int refuse(struct memo_value *out, int error) {
    if (out != NULL) {
        memset(out, 0, sizeof(*out));
    }
    return error;
}

// ------------------------------------------------------------------ hits

int memo_answer_(struct memo *m, struct memo_value *out) {
    int error = 0;

    if (out->from == MEMO_NEGATIVE) {
        error = (int)out->zero;
        out->zero = 0;
    }
    memo_count_(m, out->from);
    return error;
}

SYNC_INLINE void give(struct memo *m, const struct table_hit *hit,
                      size_t key_size, struct memo_value *out) {
    static const uint32_t from_and_zero[2] = {MEMO_HIT, 0};

    entry_describe(hit->entry, hit->flags, key_size, out);
    out->pin = (void *)(uintptr_t)hit->pin;
    memcpy((char *)out + offsetof(struct memo_value, from), from_and_zero,
           sizeof(from_and_zero));  // in one store
    sync_tally_add(hit->pin, m->tally);
}

// A hit on a value that may have links; return 0 in every other case.
static int get_linked(struct memo *m, const void *key, size_t key_size,
                      uint64_t hash, struct memo_value *out) {
    const struct shard *s = memo_shard_of_(m, hash);
    struct table_hit hit;

    if (!table_hit(s, 0, key, key_size, hash, ENTRY_LINKED, &hit) &&
        !table_hit(s, 1, key, key_size, hash, ENTRY_LINKED, &hit)) {
        return 0;
    }
    if ((hit.flags & ENTRY_LINKED) && !memo_links_hold_(hit.entry)) {
        sync_unpin(hit.pin);
        return 0;
    }
    give(m, &hit, key_size, out);
    return 1;
}

static SYNC_COLD int get_slow(struct memo *m, const void *key, size_t key_size,
                              struct memo_value *out) {
    uint64_t hash = hash_key(&m->seed, key, key_size);

    if (SYNC_LOAD(&m->sources) != NULL &&
        get_linked(m, key, key_size, hash, out)) {
        return 0;
    }
    memset(out, 0, sizeof(*out));
    return memo_get_slow_(m, key, key_size, hash, NULL, out);
}

// The hit, in line: a leaf that needs no stack frame.  With a constant key_size
// most of it folds away.
SYNC_INLINE int guess(struct memo *m, int second, const void *key,
                      size_t key_size, struct memo_value *out) {
    uint64_t hash = hash_key(&m->seed, key, key_size);
    struct table_hit hit;

    if (SYNC_UNLIKELY(!table_hit(memo_shard_of_(m, hash), second, key, key_size,
                                 hash, 0, &hit))) {
        return 0;
    }
    give(m, &hit, key_size, out);
    return 1;
}

// Some keys in a hundred, where the table is rather full; and values with links.  What
// comes after the first guess hashes again, so that a hit need keep nothing for its
// sake.
static __attribute__((noinline)) int guess_again(struct memo *m, const void *key,
                                                 size_t key_size,
                                                 struct memo_value *out) {
    return SYNC_LOAD(&m->sources) == NULL && guess(m, 1, key, key_size, out)
               ? 0
               : get_slow(m, key, key_size, out);
}

SYNC_INLINE int get(struct memo *m, const void *key, size_t key_size,
                    struct memo_value *out) {
    return SYNC_LIKELY(guess(m, 0, key, key_size, out))
               ? 0
               : guess_again(m, key, key_size, out);
}

static __attribute__((noinline)) int get_any(struct memo *m, const void *key,
                                             size_t key_size,
                                             struct memo_value *out) {
    if (SYNC_UNLIKELY(memo_is_bad_key_(m, key, key_size))) {
        return refuse(out, MEMO_EINVAL);
    }
    return get(m, key, key_size, out);
}

// Where it is known which way to hash and compare, less is asked.
static __attribute__((noinline)) int get_long(struct memo *m, const void *key,
                                              size_t key_size,
                                              struct memo_value *out) {
    SYNC_ASSUME(key_size > 16);
    return get(m, key, key_size, out);
}

static __attribute__((noinline)) int get_short(struct memo *m, const void *key,
                                               size_t key_size,
                                               struct memo_value *out) {
    SYNC_ASSUME(key_size >= 8 && key_size < 16);
    return get(m, key, key_size, out);
}

// Keys of 16 bytes (UUIDs, digests, pairs of numbers) are worth their own copy.
int memo_get(struct memo *m, const void *key, size_t key_size,
             struct memo_value *out) {
    if (SYNC_UNLIKELY(out == NULL)) {
        return MEMO_EINVAL;
    }
    if (key_size == 16 && SYNC_LIKELY(m != NULL && key != NULL)) {
        return get(m, key, 16, out);
    }
    if (key_size - 17 <= MEMO_KEY_MAX - 17 &&
        SYNC_LIKELY(m != NULL && key != NULL)) {
        return get_long(m, key, key_size, out);
    }
    if (key_size - 8 < 16 - 8 && SYNC_LIKELY(m != NULL && key != NULL)) {
        return get_short(m, key, key_size, out);
    }
    return get_any(m, key, key_size, out);
}

static SYNC_COLD int get_wait_slow(struct memo *m, const void *key,
                                   size_t key_size,
                                   const struct memo_wait *wait,
                                   struct memo_value *out) {
    struct memo_wait own;

    memset(out, 0, sizeof(*out));
    if (memo_take_wait_(&wait, &own) != 0) {
        return MEMO_EINVAL;
    }
    return memo_get_slow_(m, key, key_size, hash_key(&m->seed, key, key_size),
                          wait, out);
}

int memo_get_wait(struct memo *m, const void *key, size_t key_size,
                  const struct memo_wait *wait, struct memo_value *out) {
    if (SYNC_UNLIKELY(out == NULL || memo_is_bad_key_(m, key, key_size) ||
                      memo_is_bad_wait_(wait))) {
        return refuse(out, MEMO_EINVAL);
    }
    return SYNC_LIKELY(guess(m, 0, key, key_size, out))
               ? 0
               : get_wait_slow(m, key, key_size, wait, out);
}

// What a reader without a lock can't tell.
static SYNC_COLD int find_by_owner(struct memo *m, const void *key,
                                   size_t key_size, uint64_t hash,
                                   struct memo_value *out) {
    struct begin_step begin = memo_begin_for_(key, key_size, hash, BEGIN_FIND);
    int error = memo_find_or_start_(m, &begin);

    if (begin.entry != NULL) {
        memo_entry_hand_out_(begin.entry, begin.from, out);
    } else {
        out->from = begin.from;
    }
    return error;
}

static int peek(struct memo *m, const void *key, size_t key_size, uint64_t hash,
                struct memo_value *out) {
    int error;

    switch (memo_find_(m, key, key_size, hash, out, &error)) {
        case FIND_ANSWER:
            return error;
        case FIND_ASK:
            return find_by_owner(m, key, key_size, hash, out);
        default:
            return SYNC_LOAD(&m->closing) ? MEMO_ECLOSED : MEMO_ENOENT;
    }
}

int memo_peek(struct memo *m, const void *key, size_t key_size,
              struct memo_value *out) {
    uint64_t hash;
    int error = 0;

    if (out == NULL || memo_is_bad_key_(m, key, key_size)) {
        return refuse(out, MEMO_EINVAL);
    }
    memset(out, 0, sizeof(*out));
    hash = hash_key(&m->seed, key, key_size);
    if (m->depend_auto) {
        error = memo_use_key_(m, hash, key, key_size);
    }
    if (error == 0) {
        error = peek(m, key, key_size, hash, out);
    }
    return error == 0 && m->depend_auto ? memo_use_value_(m, out) : error;
}

enum find memo_find_(struct memo *m, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out, int *error) {
    int found;

    *error = 0;
    if (get_linked(m, key, key_size, hash, out)) {
        return FIND_ANSWER;
    }
    found = memo_table_find_(memo_shard_of_(m, hash), key, key_size, hash,
                             out);
    if (found > 0) {
        *error = memo_answer_(m, out);
        return FIND_ANSWER;
    }
    return found < 0 ? FIND_ASK : FIND_NOTHING;
}

int memo_refresh(struct memo *m, const void *key, size_t key_size) {
    struct begin_step begin;
    int error;

    if (memo_is_bad_key_(m, key, key_size)) {
        return MEMO_EINVAL;
    }
    begin = memo_begin_for_(key, key_size, hash_key(&m->seed, key, key_size),
                            BEGIN_REFRESH);
    begin.hands_over = 1;
    error = memo_find_or_start_(m, &begin);
    if (error == 0 && begin.started) {
        memo_run_refresh_(begin.flight);
    }
    return error;
}

// ------------------------------------------------------------------ upkeep

// What one call does: groups of the tables swept, some 300 values; and values looked
// at, whether they have expired.
#define GROUPS_BY_UPKEEP 32
#define EXPIRE_BY_UPKEEP 256

int64_t memo_maintain(struct memo *m, int64_t now_ns) {
    struct upkeep_step u = {0, GROUPS_BY_UPKEEP, EXPIRE_BY_UPKEEP, 0};
    int64_t next = MEMO_NEVER, clock;
    uint64_t i, n, first;

    if (m == NULL) {
        return MEMO_NEVER;
    }
    // What the caller thinks of the time must not make anything expire early.
    clock = m->timing == TIMING_NONE ? now_ns : memo_now_(m);
    u.now_ns = now_ns < clock ? now_ns : clock;
    // Each shard comes first in its turn, so that none is left out.
    n = memo_n_shards_(m);
    first = SYNC_ADD(&m->n_upkeeps, 1);
    for (i = 0; i < n; i++) {
        memo_own_(memo_shard_at_(m, (first + i) % n), memo_upkeep_owned_, &u);
        if (u.next_ns < next) {
            next = u.next_ns;
        }
    }
    return next;
}
