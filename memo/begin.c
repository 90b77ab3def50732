#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link_set.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"
#include "memo/table.h"

// How a flight begins: what is resident is looked at once more, then the flight of
// the key is joined, or one is started.  And how it loses who waits.

// Whether one more load may run; counts it.  Across shards, so atomically.
static int may_load(struct memo *m) {
    if (m->max_loads == 0) {
        return 1;
    }
    if (SYNC_ADD(&m->n_loads, 1) < m->max_loads) {
        return 1;
    }
    (void)SYNC_SUB(&m->n_loads, 1);
    return 0;
}

static int may_wait(struct memo *m, const struct memo_load *f) {
    // The caller who started the flight is interested, but isn't waiting.
    uint32_t waiters = f->interest - !f->starter_left;

    if (m->max_waiters_per_key != 0 && waiters >= m->max_waiters_per_key) {
        return 0;
    }
    if (m->max_waiters == 0 ||
        SYNC_ADD(&m->n_waiters, 1) < m->max_waiters) {
        return 1;
    }
    (void)SYNC_SUB(&m->n_waiters, 1);
    return 0;
}

static void join(struct shard *s, struct memo_load *f, struct begin_step *b) {
    if (!may_wait(s->memo, f)) {
        b->error = MEMO_EBUSY;
        return;
    }
    (void)SYNC_ADD(&f->refs, 1);
    f->interest++;
    s->joins++;
    b->flight = f;
    b->late = memo_source_moved_(s->memo, f->began);
}

// Whether the load of what b starts won't run at once: an executor is to come to it,
// or who has an answer to give first, or others to load.
static int is_for_later(const struct memo *m, const struct begin_step *b) {
    int refreshes = b->entry != NULL;

    return b->in_turns || (m->executor.submit == NULL
                               ? b->hands_over && refreshes
                               : b->hands_over || refreshes);
}

// Start the flight that b has brought along; old is the key's entry, or NULL.
static void start(struct shard *s, struct begin_step *b, struct entry *old) {
    struct memo_load *f = b->spare;

    if (f == NULL) {
        b->needs_spare = 1;
        return;
    }
    if (!may_load(s->memo)) {
        b->error = MEMO_EBUSY;
        return;
    }
    f->alone = b->depth == BEGIN_ALONE;
    if (is_for_later(s->memo, b)) {
        SYNC_STORE(&f->task, TASK_OPEN);
    }
    memo_attach_flight_owned_(s, f);
    if (old != NULL && !f->alone) {
        memo_entry_ref_(old);
        f->old = old;
        f->old_until_ns = memo_end_of_standing_in_owned_(s->memo, old);
        memo_hold_off_owned_(s, old);
    }
    f->n_forks = memo_n_forks_();
    f->interest = 1;
    f->runs = 1;
    f->began = f->checked = memo_source_clock_(s->memo);
    sync_list_push(&s->running, &f->running);
    f->refresh = b->entry != NULL || b->depth == BEGIN_REFRESH;
    s->refreshes += (uint64_t)f->refresh;
    s->n_running++;
    s->loads++;
    b->flight = f;
    b->started = 1;
}

static void answer(struct begin_step *b, struct entry *e, uint32_t from) {
    memo_entry_ref_(e);
    b->entry = e;
    b->from = from;
}

// The same, where e is a fresh value: that is a use of it.
static void answer_fresh(const struct shard *s, struct begin_step *b,
                         struct entry *e) {
    answer(b, e, MEMO_HIT);
    memo_note_use_(s->memo, e, b->now_ns);
}

static void answer_error(struct begin_step *b, const struct entry *marker) {
    b->error = entry_prefix(marker)->error;
    b->from = MEMO_NEGATIVE;
}

// Answer with e, whose age is none that calls for a load; or return 0.
static int answer_from(const struct shard *s, struct begin_step *b,
                       struct entry *e, enum age age, int may_start) {
    switch (age) {
        case AGE_FRESH:
            answer_fresh(s, b, e);
            return 1;
        case AGE_REFRESH:
            answer_fresh(s, b, e);
            return !may_start;
        case AGE_STALE:
            answer(b, e, MEMO_STALE);
            return 1;
        case AGE_STALE_PROBE:
            if (!may_start) {
                answer(b, e, MEMO_STALE);
            }
            return !may_start;
        case AGE_ERROR:
            answer_error(b, e);
            return 1;
        case AGE_ERROR_PROBE:
            if (!may_start) {
                answer_error(b, e);
            }
            return !may_start;
        default:
            return 0;
    }
}

// No answer is resident: join, start, or give up.
static void join_or_start(struct shard *s, struct begin_step *b,
                          struct memo_load *f, struct entry *old) {
    if (b->depth == BEGIN_REFRESH && f != NULL) {
        return;  // what is to be done is being done
    }
    if (f != NULL && b->depth >= BEGIN_JOIN && b->depth != BEGIN_ALONE) {
        join(s, f, b);
    } else if (b->depth < BEGIN_START) {
        b->error = MEMO_ENOENT;
    } else {
        start(s, b, old);
    }
}

// Begin where the key has an entry.
static void begin_with(struct shard *s, struct begin_step *b, struct entry *e,
                       enum age age, struct memo_load *f) {
    int may_start = f == NULL && b->depth >= BEGIN_START;

    if (b->depth != BEGIN_REFRESH && answer_from(s, b, e, age, may_start)) {
        return;
    }
    if (age == AGE_PASS && b->depth == BEGIN_START) {
        b->depth = BEGIN_ALONE;
    }
    join_or_start(s, b, f, e);
    if (b->entry != NULL) {
        b->error = 0;  // it wasn't refreshed this time
    }
}

// The flight of that key that one can join; NULL: none.  One that is outdated
// already is detached: its result won't be stored.
static struct memo_load *find_flight(struct shard *s,
                                     const struct begin_step *b) {
    struct memo_load *f =
        memo_flight_find_owned_(s->flights, b->hash, b->key, b->key_size);
    uint64_t clock = f == NULL ? 0 : memo_source_clock_(s->memo);

    if (f == NULL || f->checked == clock) {
        return f;
    }
    f->checked = clock;
    if (!memo_is_outdated_owned_(f)) {
        return f;
    }
    memo_detach_flight_owned_(s, f);
    return NULL;
}

// The entry of that key, unless it is out of date; NULL: none.
static struct entry *find_valid(struct shard *s, const struct begin_step *b,
                                struct table_place *place) {
    struct entry *e =
        memo_table_find_owned_(s, b->key, b->key_size, b->hash, place);

    if (e == NULL || shard_is_valid(s, e)) {
        return e;
    }
    memo_drop_owned_(s, *place, e, MEMO_INVALIDATED);
    s->written = 1;
    return NULL;
}

void memo_begin_owned_(struct shard *s, void *begin_step) {
    struct begin_step *b = begin_step;
    struct table_place place;
    struct entry *e;
    struct memo_load *f;

    b->error = s->closed ? MEMO_ECLOSED : 0;
    b->needs_spare = 0;
    if (s->closed) {
        return;
    }
    shard_see_time(s, b->now_ns);
    f = find_flight(s, b);
    e = find_valid(s, b, &place);
    if (e != NULL) {
        enum age age =
            s->wheel == NULL ? AGE_FRESH : memo_age_owned_(s, e, b->now_ns);
        if (age != AGE_GONE) {
            begin_with(s, b, e, age, f);
            return;
        }
        memo_drop_owned_(s, place, e, MEMO_EXPIRED);
        s->expired++;
        s->written = 1;
    }
    join_or_start(s, b, f, NULL);
}

void memo_is_resident_owned_(struct shard *s, void *resident_step) {
    struct resident_step *r = resident_step;
    struct table_place place;
    uint64_t word = SYNC_LOAD(&r->entry->word);
    const struct entry *e = memo_table_find_owned_(
        s, r->entry->bytes, entry_key_size(word), r->hash, &place);

    r->is_resident = e == r->entry && shard_is_valid(s, e);
    r->is_ours = e == r->entry || (word & ENTRY_SHARD) == s->mark;
}

void memo_leave_owned_(struct shard *s, void *leave_step) {
    struct leave_step *l = leave_step;
    struct memo_load *f = l->flight;

    f->interest--;
    f->starter_left |= l->started;
    l->unwanted = f->interest == 0 && s->memo->cancel_unwanted &&
                  f->state != FLIGHT_ENDED;
    // Off the map before the load is told, so nobody joins a dying load (W3).
    if (l->unwanted && f->state == FLIGHT_ATTACHED) {
        memo_detach_unwanted_owned_(s, f);
    }
}
