#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/policy.h"
#include "memo/stats.h"
#include "memo/table.h"

#include <string.h>

#include "sync/pin.h"

// What the owner of a shard does: plain code of a single writer.  Who that is,
// the engine decides.  Nothing here calls a user's function, allocates or frees:
// what becomes free is left in s->garbage.
//
//   ORDER(retire) retire:A release or of ENTRY_RETIRED into word
//                 release:B acquire load of word, in memo_release()
//       If release:B sees the flag, it reads e->shard as stored before retire:A.
//
//   ORDER(stamp)  clear:A  release store of stamp
//       Calls that begin after memo_clear() returned are ordered after it by
//       whatever told them; hits load the stamp relaxed and so see it.

// How many retired entries are worth a scan of all pins at least.
#define RECLAIM_BATCH 64

// Groups of the table swept by one write; and how many are so few that they are
// swept by memo_clear() itself.
#define SWEEP_BY_WRITE 4
#define SWEEP_AT_ONCE 16

// Entries whose time may have come, looked at likewise.
#define EXPIRE_BY_WRITE 4
#define EXPIRE_BY_UPKEEP 256

// Times in which steps happen never go back.
static void see_time(struct shard *s, int64_t now_ns) {
    s->now_ns = now_ns > s->now_ns ? now_ns : s->now_ns;
}

// ------------------------------------------------------------------ retiring

static uint64_t generation(const struct shard *s) {
    return SYNC_LOAD(&s->stamp) & ENTRY_GENERATION;
}

static int is_of_this_generation(const struct shard *s, const struct entry *e) {
    return (SYNC_LOAD(&e->word) & ENTRY_GENERATION) == generation(s);
}

// Whether nothing has made e out of date, but time.
static int is_valid(const struct shard *s, const struct entry *e) {
    return is_of_this_generation(s, e) && entry_holds(e);
}

static void count_linked(struct shard *s, const struct entry *e, int n) {
    if (SYNC_LOAD(&e->word) & ENTRY_LINKED) {
        s->n_linked += (uint64_t)n;
    }
}

// Why e leaves the table, where cause is why it does so now: perhaps something had
// made it out of date before.
static enum memo_cause cause_of(const struct shard *s, const struct entry *e,
                                enum memo_cause cause) {
    uint64_t age = generation(s) - (SYNC_LOAD(&e->word) & ENTRY_GENERATION);

    if (!entry_holds(e)) {
        return MEMO_INVALIDATED;
    }
    if (age == 0) {
        return cause;
    }
    return s->closed && age == UINT64_C(1) << ENTRY_GENERATION_SHIFT
               ? MEMO_CLOSED
               : MEMO_CLEARED;
}

static void retire(struct shard *s, struct entry *e, enum memo_cause cause) {
    size_t bytes = memo_entry_bytes_(s->memo, e);

    if (s->wheel != NULL) {
        memo_wheel_remove_(e);
    }
    cause = cause_of(s, e, cause);
    if (!is_of_this_generation(s, e)) {
        s->n_outdated--;
        s->outdated_bytes -= bytes;
    }
    (void)SYNC_ADD(&s->n_undead, 1);
    (void)SYNC_ADD(&s->undead_bytes, bytes);
    count_linked(s, e, -1);
    e->shard = s;
    (void)SYNC_OR_ACQREL(&e->word, ENTRY_RETIRED);  // ORDER(retire) retire:A
    e->next = s->retired;
    s->retired = e;
    s->n_retired++;
    s->entry_bytes -= bytes;
    s->retired_bytes += bytes;
    memo_note_removed_owned_(s, e, cause);
}

// The retired entries under examination, as a hash table of addresses.
#define BATCH_SLOTS (4 * RECLAIM_BATCH)

struct batch {
    struct entry *entry[BATCH_SLOTS];
    unsigned char pinned[BATCH_SLOTS];
};

static unsigned batch_slot(const struct batch *b, const void *p) {
    uint64_t x = (uint64_t)(uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
    unsigned i = (unsigned)(x >> 56) % BATCH_SLOTS;

    while (b->entry[i] != NULL && b->entry[i] != p) {
        i = (i + 1) % BATCH_SLOTS;
    }
    return i;
}

static void see_pin(void *arg, void *p) {
    struct batch *b = arg;
    unsigned i = batch_slot(b, p);

    if (b->entry[i] != NULL) {
        b->pinned[i] = 1;
    }
}

// Examine up to RECLAIM_BATCH entries of *list, which shrinks; put them on
// s->garbage or back on s->retired.
static void reclaim_batch(struct shard *s, struct entry **list) {
    struct batch b;
    unsigned i;
    int n;

    memset(&b, 0, sizeof(b));
    for (n = 0; n < RECLAIM_BATCH && *list != NULL; n++) {
        struct entry *e = *list;
        *list = e->next;
        b.entry[batch_slot(&b, e)] = e;
    }
    sync_pin_scan(see_pin, &b);
    for (i = 0; i < BATCH_SLOTS; i++) {
        struct entry *e = b.entry[i];
        if (e == NULL) {
            continue;
        }
        if (b.pinned[i]) {
            e->next = s->retired;
            s->retired = e;
        } else {
            s->n_retired--;
            s->retired_bytes -= memo_entry_bytes_(s->memo, e);
            e->next = s->garbage;
            s->garbage = e;
        }
    }
}

static void reclaim(struct shard *s) {
    struct entry *list = s->retired;

    s->retired = NULL;
    while (list != NULL) {
        reclaim_batch(s, &list);
    }
    // With many threads a scan is dear, so let more come together.
    s->reclaim_at = s->n_retired + RECLAIM_BATCH + sync_pin_records();
    s->reclaim_bytes_at = s->retired_bytes + RECLAIM_BYTES;
}

void memo_reclaim_owned_(struct shard *s, void *unused) {
    (void)unused;
    reclaim(s);
}

// ------------------------------------------------------------------ storing

// Entry e leaves its queue, if there are any.
static enum queue_name leave_queue(struct shard *s, struct entry *e) {
    return s->policy == NULL ? QUEUE_NONE : memo_policy_forget_(s, e);
}

// Drop entry e from the table.
static void drop(struct shard *s, struct table_place place, struct entry *e,
                 enum memo_cause cause) {
    memo_table_remove_owned_(&s->table, place);
    (void)leave_queue(s, e);
    retire(s, e, cause);
}

void memo_evict_owned_(struct shard *s, struct entry *e, uint64_t hash,
                       enum memo_cause cause) {
    struct table_place place;

    (void)memo_table_find_owned_(
        s, e->bytes, entry_key_size(SYNC_LOAD(&e->word)), hash, &place);
    drop(s, place, e, cause);
}

static int is_marker(const struct entry *e) {
    enum entry_kind kind = entry_kind(SYNC_LOAD(&e->word));

    return kind == KIND_ERROR || kind == KIND_PASS;
}

static void set_generation(const struct shard *s, struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word) & ~ENTRY_GENERATION;

    SYNC_STORE(&e->word, word | generation(s));
}

// Make e resident, in place of what is there.  0, or MEMO_ENOMEM and nothing has
// changed.  The table takes a reference of its own.  If e is too large for the
// cache, only what was there is dropped.
static int store(struct shard *s, struct entry *e, const void *key,
                 size_t key_size, uint64_t hash) {
    struct table_place place;
    struct entry *old;
    enum queue_name instead = QUEUE_NONE;

    if (s->wheel != NULL) {
        memo_expire_owned_(s, EXPIRE_BY_WRITE);  // rather than evict
    }
    old = memo_table_find_owned_(s, key, key_size, hash, &place);
    if (s->policy != NULL && !memo_policy_has_room_for_(s, e)) {
        s->policy->too_large++;
        if (old != NULL) {
            drop(s, place, old, MEMO_REPLACED);
        }
        memo_note_rejected_owned_(s, e);
        return 0;
    }
    set_generation(s, e);
    if (old != NULL) {
        memo_table_replace_owned_(place, e, hash);
        instead = leave_queue(s, old);
        // An error takes the place of a value only if that one's time is over.
        s->expired += is_marker(e) && !is_marker(old) &&
                      is_of_this_generation(s, old);
        retire(s, old, is_marker(e) ? MEMO_EXPIRED : MEMO_REPLACED);
    } else if (memo_table_insert_owned_(s, e, hash) != 0) {
        return MEMO_ENOMEM;
    }
    memo_entry_ref_(e);
    count_linked(s, e, 1);
    s->entry_bytes += memo_entry_bytes_(s->memo, e);
    if (s->wheel != NULL) {
        memo_wheel_add_(s->wheel, e, memo_end_of_(s->memo, e));
    }
    if (s->policy != NULL) {
        memo_policy_admit_(s, e, hash, instead);
    }
    return 0;
}

static void sweep_one(struct shard *s, struct table_place place,
                      struct entry *e, void *arg) {
    (void)arg;
    if (!is_valid(s, e)) {
        drop(s, place, e,
             is_of_this_generation(s, e) ? MEMO_INVALIDATED : MEMO_CLEARED);
    }
}

// Entries whose links are broken are dropped when somebody comes across them.
// But when these may be one in so many of those with links, look for them.
#define BROKEN_SHARE 8

static void look_for_broken_links(struct shard *s) {
    uint64_t concerned;

    if (s->n_linked == 0 || s->sweeping) {
        return;
    }
    concerned = memo_source_concerned_(s->memo);
    if ((concerned - s->concerned) / memo_n_shards_(s->memo) >
        s->n_linked / BROKEN_SHARE) {
        s->concerned = concerned;
        s->swept_to = 0;
        s->sweeping = 1;
    }
}

// Drop what memo_clear() made out of date, or other changes, in up to n groups;
// return in how many.
static uint64_t sweep(struct shard *s, uint64_t n) {
    uint64_t groups, left;

    look_for_broken_links(s);
    if (!s->sweeping || n == 0) {
        return 0;
    }
    groups = memo_table_walk_owned_(s, s->swept_to, n, sweep_one, NULL);
    // Groups split off meanwhile lie ahead, so none is missed.
    left = groups - s->swept_to;
    if (n >= left) {
        s->sweeping = 0;
        s->unswept_clears = 0;
        return left;
    }
    s->swept_to += n;
    return n;
}

void memo_tidy_owned_(struct shard *s) {
    if (!s->written) {
        return;
    }
    s->written = 0;
    memo_table_grow_owned_(s);
    if (s->wheel != NULL) {
        memo_expire_owned_(s, EXPIRE_BY_WRITE);
    }
    if (s->policy != NULL) {
        memo_policy_trim_(s);
    }
    (void)sweep(s, SWEEP_BY_WRITE);
    if (s->reclaim_now || s->n_retired >= s->reclaim_at ||
        s->retired_bytes >= s->reclaim_bytes_at) {
        s->reclaim_now = 0;
        reclaim(s);
    }
}

void memo_upkeep_owned_(struct shard *s, void *upkeep_step) {
    struct upkeep_step *u = upkeep_step;

    see_time(s, u->now_ns);
    u->next_ns = MEMO_NEVER;
    u->groups -= sweep(s, u->groups);
    if (s->wheel != NULL) {
        memo_expire_owned_(s, EXPIRE_BY_UPKEEP);
        u->next_ns = memo_wheel_due_ns_(s->wheel);
    }
    if (s->n_retired != 0) {
        reclaim(s);
    }
    if (s->sweeping || u->next_ns < u->now_ns) {
        u->next_ns = u->now_ns;
    }
}

// ------------------------------------------------------------------ flights

static void leave_map(struct shard *s, struct memo_load *f) {
    memo_flight_remove_owned_(&s->flights, f);
    s->n_flights--;
}

// The list of detached flights: child[0] is the next, child[1] the one before.
static void list_detached(struct shard *s, struct memo_load *f) {
    struct memo_load *next = s->detached_flights;

    f->state = FLIGHT_DETACHED;
    f->child[0] = next;
    f->child[1] = NULL;
    if (next != NULL) {
        next->child[1] = f;
    }
    s->detached_flights = f;
}

// The entry that f was to replace, if it is still there, and not out of date.
static struct entry *old_of(const struct memo_load *f) {
    return f->old == NULL || (SYNC_LOAD(&f->old->word) & ENTRY_RETIRED) != 0 ||
                   !entry_holds(f->old)
               ? NULL
               : f->old;
}

static void detach_flight(struct shard *s, struct memo_load *f) {
    leave_map(s, f);
    list_detached(s, f);
    if (old_of(f) != NULL) {
        memo_let_try_owned_(s, f->old);
    }
}

static void leave_list(struct shard *s, struct memo_load *f) {
    struct memo_load *next = f->child[0], *before = f->child[1];

    if (next != NULL) {
        next->child[1] = before;
    }
    if (before != NULL) {
        before->child[0] = next;
    } else {
        s->detached_flights = next;
    }
}

static void detach(struct shard *s, const void *key, size_t key_size,
                   uint64_t hash) {
    struct memo_load *f =
        memo_flight_find_owned_(s->flights, hash, key, key_size);

    if (f != NULL) {
        detach_flight(s, f);
        s->detached++;
    }
}

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
    if (m->max_waiters_per_key != 0 && f->interest > m->max_waiters_per_key) {
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
    if (f->alone) {
        list_detached(s, f);
    } else {
        memo_flight_insert_owned_(&s->flights, f);
        s->n_flights++;
    }
    if (old != NULL && !f->alone) {
        memo_entry_ref_(old);
        f->old = old;
        f->old_until_ns = memo_end_of_standing_in_owned_(s->memo, old);
        memo_hold_off_owned_(s, old);
    }
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

static void answer_error(struct begin_step *b, const struct entry *marker) {
    b->error = entry_prefix(marker)->error;
    b->from = MEMO_NEGATIVE;
}

// Answer with e, whose age is none that calls for a load; or return 0.
static int answer_from(struct begin_step *b, struct entry *e, enum age age,
                       int may_start) {
    switch (age) {
        case AGE_FRESH:
            answer(b, e, MEMO_HIT);
            return 1;
        case AGE_REFRESH:
            answer(b, e, MEMO_HIT);
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

// Begin where the key has an entry in a cache with times.  Return whether that is
// all.
static int begin_with(struct shard *s, struct begin_step *b, struct entry *e,
                      enum age age, struct memo_load *f) {
    int may_start = f == NULL && b->depth >= BEGIN_START;

    if (b->depth != BEGIN_REFRESH && answer_from(b, e, age, may_start)) {
        return 1;
    }
    if (age == AGE_PASS && b->depth == BEGIN_START) {
        b->depth = BEGIN_ALONE;
    }
    if (b->spare != NULL) {
        b->spare->alone = b->depth == BEGIN_ALONE;
    }
    join_or_start(s, b, f, e);
    if (b->entry != NULL) {
        b->error = 0;  // it wasn't refreshed this time
    }
    return 1;
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
    detach_flight(s, f);
    s->detached++;
    return NULL;
}

// The entry of that key, unless it is out of date; NULL: none.
static struct entry *find_valid(struct shard *s, const struct begin_step *b,
                                struct table_place *place) {
    struct entry *e =
        memo_table_find_owned_(s, b->key, b->key_size, b->hash, place);

    if (e == NULL || is_valid(s, e)) {
        return e;
    }
    drop(s, *place, e, MEMO_INVALIDATED);
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
    see_time(s, b->now_ns);
    f = find_flight(s, b);
    e = find_valid(s, b, &place);
    if (e != NULL) {
        enum age age =
            s->wheel == NULL ? AGE_FRESH : memo_age_owned_(s, e, b->now_ns);
        if (age != AGE_GONE) {
            begin_with(s, b, e, age, f);
            return;
        }
        drop(s, place, e, MEMO_EXPIRED);
        s->expired++;
        s->written = 1;
    }
    if (b->spare != NULL) {
        b->spare->alone = b->depth == BEGIN_ALONE;
    }
    join_or_start(s, b, f, NULL);
}

void memo_is_resident_owned_(struct shard *s, void *resident_step) {
    struct resident_step *r = resident_step;
    struct table_place place;
    const struct entry *e = memo_table_find_owned_(
        s, r->entry->bytes, entry_key_size(SYNC_LOAD(&r->entry->word)), r->hash,
        &place);

    r->is_resident = e == r->entry && is_valid(s, e);
}

void memo_leave_owned_(struct shard *s, void *leave_step) {
    struct leave_step *l = leave_step;
    struct memo_load *f = l->flight;

    f->interest--;
    l->unwanted = f->interest == 0 && s->memo->cancel_unwanted &&
                  f->state != FLIGHT_ENDED;
    // Off the map before the load is told, so nobody joins a dying load (W3).
    if (l->unwanted && f->state == FLIGHT_ATTACHED) {
        detach_flight(s, f);
    }
}

// Drop what the key of f has in the table, if anything.
static void drop_old(struct shard *s, const struct memo_load *f) {
    struct table_place place;
    struct entry *e =
        memo_table_find_owned_(s, f->key, f->key_size, f->hash, &place);

    if (e != NULL) {
        drop(s, place, e, MEMO_REPLACED);
    }
}

// Store instead of a value what the end of f calls for.  A marker that can't be
// stored for want of memory is just not kept.
static void store_marker(struct shard *s, const struct memo_load *f,
                         const struct end_step *end) {
    memo_date_marker_owned_(s, end->marker, old_of(f), end->error, end->now_ns);
    (void)store(s, end->marker, f->key, f->key_size, f->hash);
}

// The load of f, which is attached, has found the old value good.
static void renew(struct shard *s, struct memo_load *f, int64_t now_ns) {
    struct entry *e = old_of(f);

    s->not_modified++;
    memo_entry_ref_(f->old);
    f->result = f->old;
    if (e != NULL && s->wheel != NULL) {
        memo_date_owned_(s, e, &f->dates, now_ns, now_ns - f->started_ns);
        memo_wheel_remove_(e);
        memo_wheel_add_(s->wheel, e, memo_end_of_(s->memo, e));
    }
}

// The load of f, which is attached, has failed.
static void fail(struct shard *s, struct memo_load *f,
                 const struct end_step *end) {
    struct entry *e = old_of(f);

    if (f->refresh) {
        s->refresh_failures++;
    }
    if (end->error == MEMO_ENOENT) {
        drop_old(s, f);
    } else if (e != NULL && memo_has_old_(f) &&
               memo_stand_in_owned_(s, e, end->error, end->now_ns)) {
        memo_entry_ref_(e);
        f->result = e;
        f->stale = 1;
        return;
    }
    if (end->marker != NULL) {
        store_marker(s, f, end);
    }
}

// The result is there before the flight is gone: no instant at which a finished
// key looks absent (F1).  If it can't be stored for want of memory, it is still
// delivered.
static void settle(struct shard *s, struct memo_load *f,
                   const struct end_step *end) {
    if (end->error != 0) {
        fail(s, f, end);
    } else if (f->verdict == VERDICT_NOT_MODIFIED) {
        renew(s, f, end->now_ns);
    } else if (f->pass || memo_is_stillborn_(f)) {
        drop_old(s, f);
        memo_note_rejected_owned_(s, end->entry);
        f->passed = f->pass;
        if (end->marker != NULL) {
            store_marker(s, f, end);
        }
    } else {
        if (s->wheel != NULL) {
            memo_date_owned_(s, end->entry, &f->dates, end->now_ns,
                             end->now_ns - f->started_ns);
        }
        memo_policy_see_cost_(s, end->entry, end->now_ns - f->started_ns);
        if (store(s, end->entry, f->key, f->key_size, f->hash) != 0) {
            memo_note_rejected_owned_(s, end->entry);
        }
    }
}

static void count_end(struct shard *s, struct memo_load *f,
                      const struct end_step *end) {
    if (memo_is_inherited_(f)) {
        return;  // it isn't counted here
    }
    s->n_running--;
    sync_list_remove(&s->running, &f->running);
    if (s->memo->max_loads != 0) {
        (void)SYNC_SUB(&s->memo->n_loads, 1);
    }
    s->load_ns += (uint64_t)(end->now_ns - f->started_ns);
    memo_record_(s, MEMO_HISTOGRAM_LOAD, end->now_ns - f->started_ns);
    s->load_failures += end->error != 0;
    s->passes += end->error == 0 && f->pass;
}

// The fresh value that the key of f has, where somebody may depend on it.
static struct entry *depended_on(struct shard *s, const struct memo_load *f,
                                 int64_t now_ns) {
    struct table_place place;
    struct entry *e;
    enum age age;

    if (SYNC_LOAD(&s->memo->sources) == NULL) {
        return NULL;
    }
    e = memo_table_find_owned_(s, f->key, f->key_size, f->hash, &place);
    if (e == NULL || !is_valid(s, e)) {
        return NULL;
    }
    age = s->wheel == NULL ? AGE_FRESH : memo_age_owned_(s, e, now_ns);
    return age == AGE_FRESH || age == AGE_REFRESH || age == AGE_STALE ? e
                                                                      : NULL;
}

// What f makes isn't fresh longer than what it is made from.
static void limit_dates(const struct shard *s, struct memo_load *f,
                        int64_t now_ns) {
    struct dates *dates = &f->dates;
    int64_t until = f->until_ns, left, ttl;

    if (f->verdict == VERDICT_NOT_MODIFIED && f->old != NULL) {
        int64_t until_old = memo_links_until_(f->old);
        until = until < until_old ? until : until_old;
    }
    left = until <= now_ns ? 0 : until - now_ns;
    ttl = dates->has_ttl ? dates->ttl_ns : s->memo->ttl_ns;
    if (s->wheel != NULL && until != MEMO_NEVER && left < ttl) {
        dates->has_ttl = 1;
        dates->ttl_ns = left;
    }
}

// Whether f, which ends, is out of date: by what it has been linked to, or by what
// the old value is that it has found good.
static int is_outdated(struct memo_load *f) {
    return memo_is_outdated_owned_(f) ||
           (f->verdict == VERDICT_NOT_MODIFIED && f->old != NULL &&
            !entry_holds(f->old));
}

// f, which is attached, ends.
static void settle_and_leave(struct shard *s, struct memo_load *f,
                             struct end_step *end) {
    const struct entry *before = depended_on(s, f, end->now_ns);

    limit_dates(s, f, end->now_ns);
    settle(s, f, end);
    end->replaced =
        before != NULL && before != depended_on(s, f, end->now_ns);
    leave_map(s, f);
}

void memo_end_owned_(struct shard *s, void *end_step) {
    struct end_step *end = end_step;
    struct memo_load *f = end->flight;

    see_time(s, end->now_ns);
    count_end(s, f, end);
    f->runs = 0;
    end->was_open = f->state != FLIGHT_ENDED;
    end->drains = s->closed && !f->excused && !memo_is_inherited_(f);
    if (!end->was_open) {
        return;
    }
    f->outdated = is_outdated(f);
    f->detached = (f->state == FLIGHT_DETACHED && !f->alone) || f->outdated;
    f->result = end->entry;
    f->error = end->error;
    if (f->state == FLIGHT_ATTACHED && f->outdated) {
        detach_flight(s, f);
        s->detached++;
    }
    if (f->state == FLIGHT_ATTACHED) {
        settle_and_leave(s, f, end);
    } else {
        if (end->error == 0 && f->verdict == VERDICT_NOT_MODIFIED) {
            memo_entry_ref_(f->old);
            f->result = f->old;
        } else if (end->entry != NULL) {
            memo_note_rejected_owned_(s, end->entry);
        }
        leave_list(s, f);
    }
    f->state = FLIGHT_ENDED;
    s->written = 1;
}

// ------------------------------------------------------------------ changes

void memo_replace_owned_(struct shard *s, void *replace_step) {
    struct replace_step *r = replace_step;
    struct table_place place;
    struct entry *old;

    r->error = s->closed ? MEMO_ECLOSED : 0;
    if (s->closed) {
        return;
    }
    see_time(s, r->now_ns);
    if (r->entry != NULL && s->wheel != NULL) {
        memo_date_owned_(s, r->entry, r->dates, r->now_ns, 0);
    }
    old = memo_table_find_owned_(s, r->key, r->key_size, r->hash, &place);
    if (r->entry != NULL) {
        r->error = store(s, r->entry, r->key, r->key_size, r->hash);
    } else if (old != NULL) {
        drop(s, place, old, MEMO_INVALIDATED);
    }
    if (r->error != 0) {
        return;
    }
    detach(s, r->key, r->key_size, r->hash);
    s->written = 1;
    // If a destructor waits, run it now rather than by and by.
    s->reclaim_now =
        old != NULL && (SYNC_LOAD(&old->word) & ENTRY_ADOPTED) != 0;
}

// Make every resident entry out of date at once; they are swept by and by.
static void next_generation(struct shard *s) {
    uint64_t now = SYNC_LOAD(&s->stamp);
    uint64_t next = now + (UINT64_C(1) << ENTRY_GENERATION_SHIFT);  // may wrap

    // A generation must not come round again while entries of it are left.
    if (++s->unswept_clears == ENTRY_GENERATION >> ENTRY_GENERATION_SHIFT) {
        (void)sweep(s, UINT64_MAX);
        s->unswept_clears = 1;
    }
    SYNC_STORE_REL(&s->stamp, next);  // ORDER(stamp) clear:A
    s->n_outdated = s->table.n_entries;
    s->outdated_bytes = s->entry_bytes;
    s->swept_to = 0;
    s->sweeping = 1;
}

void memo_clear_owned_(struct shard *s, void *unused) {
    (void)unused;
    while (s->flights != NULL) {
        detach_flight(s, s->flights);
        s->detached++;
    }
    next_generation(s);
    // A large cache is swept by and by.
    if (SYNC_LOAD(&s->table.level) / 2 <= SWEEP_AT_ONCE) {
        (void)sweep(s, SWEEP_AT_ONCE);
        reclaim(s);
    }
}

static void end_before_time(struct memo_load *f, int error,
                            struct close_step *c) {
    f->state = FLIGHT_ENDED;
    f->error = error;
    (void)SYNC_ADD(&f->refs, 1);
    f->child[0] = c->ended;
    c->ended = f;
}

static void end_all(struct shard *s, int error, struct close_step *c) {
    struct memo_load *f;

    while ((f = s->flights) != NULL) {
        leave_map(s, f);
        end_before_time(f, error, c);
    }
    while ((f = s->detached_flights) != NULL) {
        leave_list(s, f);
        end_before_time(f, error, c);
    }
}

void memo_close_owned_(struct shard *s, void *close_step) {
    struct close_step *c = close_step;

    if (s->closed) {
        return;
    }
    s->closed = 1;
    // memo_close() waits for these: they count down as they end.
    (void)SYNC_ADD(&s->memo->draining, (uint32_t)s->n_running);
    end_all(s, MEMO_ECLOSED, c);
    next_generation(s);
}

void memo_leave_behind_owned_(struct shard *s, void *close_step) {
    struct close_step *c = close_step;
    struct memo_load *others = c->ended, *f;
    struct sync_link *link;

    end_all(s, MEMO_EFORKED, c);
    while ((link = sync_list_pop(&s->running)) != NULL) {
        SYNC_CONTAINER(link, struct memo_load, running)->runs = 0;
        s->n_running--;
    }
    for (f = c->ended; f != others; f = f->child[0]) {
        if (f->old != NULL) {
            memo_let_try_owned_(s, f->old);
        }
    }
}

void memo_excuse_owned_(struct shard *s, void *excuse_step) {
    struct excuse_step *x = excuse_step;
    struct memo_load *f = x->flight;

    if (f->runs && !memo_is_inherited_(f) && f->excused != x->excused) {
        f->excused = x->excused;
        (void)SYNC_ADD_ACQREL(&s->memo->draining,
                              x->excused ? UINT32_MAX : UINT32_C(1));
    }
}

// ------------------------------------------------------------------ looking on

void memo_stats_owned_(struct shard *s, void *memo_stats) {
    struct memo_stats *stats = memo_stats;

    stats->joins += s->joins;
    stats->loads += s->loads;
    stats->load_failures += s->load_failures;
    stats->detached += s->detached;
    stats->load_ns += s->load_ns;
    stats->refreshes += s->refreshes;
    stats->refresh_failures += s->refresh_failures;
    stats->not_modified += s->not_modified;
    stats->passes += s->passes;
    stats->expired += s->expired;
    stats->replaced += s->ledger->removed[MEMO_REPLACED];
    stats->invalidated += s->ledger->removed[MEMO_INVALIDATED];
    stats->cleared += s->ledger->removed[MEMO_CLEARED];
    stats->rejected += s->ledger->removed[MEMO_REJECTED];
    stats->entries += s->table.n_entries - s->n_outdated;
    stats->bytes += s->entry_bytes - s->outdated_bytes;
    stats->flights += s->n_running;
    // ORDER(undead) count:B
    stats->retired += SYNC_LOAD_ACQ(&s->n_undead);
    stats->retired_bytes += SYNC_LOAD_ACQ(&s->undead_bytes);
    stats->table_bytes += s->table.committed;
    if (s->policy != NULL) {
        stats->evictions += s->policy->evictions;
        stats->too_large += s->policy->too_large;
        stats->weight += s->policy->weight;
        stats->ghost_bytes += memo_ghosts_bytes_(&s->policy->ghosts);
    }
}
