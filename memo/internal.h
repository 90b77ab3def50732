// What the sources of memo/ share.  The parts, from the caller downwards:
//
//     memo.c         the door: checks arguments, takes options, tries the hit
//     new.c, life.c  how a cache begins and ends; alloc.c: on what memory
//     load.c         the idea: find or start a flight, run its load, publish, wait
//     run.c          running loads, waiting for them, and who waits for whom
//     shard.h        what a shard's owner does: the steps under ownership
//     begin.c, end.c     of a flight
//     shard.c            changes from outside, and the end of a shard
//     resident.c         storing, dropping, sweeping
//     retire.c           what left, until nobody pins it
//     expire.c/.h    what time means: fresh, to be refreshed, expired
//     wheel.c/.h     the timer wheel
//     policy.c/.h    what goes first in a bounded cache
//     victim.c       its queues, and what goes first of its main part
//     names.c/.h     what queues are made of
//     ghost.c/.h     what is remembered of evicted keys
//     flight.c       one load in progress
//     trie.h         the map of them, and of sources
//     table.c/.h     resident entries; lock-free readers
//     entry.c        one result: made, pinned, counted, destroyed
//     link.c/.h      tags, and keys that others depend on; links to them
//     depend.c       what a load says of these
//     engine_lock.c     who owns a shard: whoever holds its mutex
//     engine_monitor.c                   or the monitor it is confined to
//     reaper.c       destructors, out of the monitor's way
//     listen.c       telling what left, and why
//     stats.c/.h     how long loads and waits took
//     prometheus.c   all that is counted, as text
//     fork.c         what becomes of it all in the child of a fork
#ifndef MEMO_MEMO_INTERNAL_H_
#define MEMO_MEMO_INTERNAL_H_

#include "memo/hash.h"
#include "memo/memo.h"
#include "memo/trie.h"
#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/event.h"
#include "sync/list.h"
#include "sync/mutex.h"

// ------------------------------------------------------------------ fork
//
// What takes part in a fork(): caches and queues.  fork.c

enum fork_phase { FORK_BEFORE, FORK_PARENT, FORK_CHILD };

struct forkable {
    void (*fork)(struct forkable *f, enum fork_phase phase);  // Const.
    // Guarded by the forks' mutex.
    struct forkable *next, **at;  // at: NULL when it takes no part
};

// Have fork(f, phase) called before and after each fork(): before it, to take
// every lock; after it, to give them up.  Return 0 or MEMO_ENOMEM.
int memo_fork_add_(struct forkable *f,
                   void (*fork)(struct forkable *f, enum fork_phase phase));
void memo_fork_remove_(struct forkable *f);

// How many forks lie between the first process and this.
uint32_t memo_n_forks_(void);

struct shard;

// ------------------------------------------------------------------ entry
//
// One result, immutable after it is published: header, key, padding, value, in
// one allocation.  Or, for an adopted or huge value, a struct adopted in place
// of the value.
//
// word is compared by hits in one go, from bit 20 upwards:
//
//     bits  0..1    queue: the policy's
//     bits  2..17   stamp: the policy's clock when e entered its queue
//     bits 18..19   ENTRY_FRESH, ENTRY_RETURNED: the policy's
//     bits 20..43   size of the key
//     bits 44..45   uses, saturating: how often hit since the policy looked
//     bits 46..52   ENTRY_*
//     bits 53..63   generation: the shard's at the time of storing
//
// While e isn't resident, it is in no queue and of no generation; then these bits
// say which shard it belongs to: see shard.mark.
//
//     being made --- stored ---> resident --- unlinked ---> retired ---> dead
//          '------ not stored (error, detached, closed) ------------------^
//
// The shard's owner makes the transitions but the last, which is made by
// whoever drops the last reference.  The dead are on a list until they are
// destroyed, linked through what was their key: entry_next_dead().
//
// INVARIANT(references)  refs counts: the table (resident, or retired and not
//     yet found unpinned), the flight that made it, and each counted pin.
//     Hazard pins (sync/pin.h) aren't counted; only the table's reference
//     protects them.
struct entry {
    sync_atomic_u64 word;   // Atomic.  Readers count uses; the owner changes
                            // uses, queue and stamp, and when e is stored or
                            // retired, what says so; the rest is const.
    sync_atomic_u32 refs;   // Atomic.  ORDER(unref) in entry.c
    uint32_t value_size;    // Const after init; of a value inside the entry.
    unsigned char bytes[];  // Const after init, until it is dead.
};

// What some caches know of an entry besides; in front of it.  memo.prefix_size
// says how much of the end of this there is.  Times are explained in expire.c.
struct entry_prefix {
    // Atomic.  Written by the owner; where values have an idle time, deadline_ns
    // and check_ns by hits, too.
    SYNC_ATOMIC(int64_t) deadline_ns;  // fresh until then
    SYNC_ATOMIC(int64_t) latest_ns;    // use doesn't prolong that beyond this
    SYNC_ATOMIC(int64_t) refresh_ns;
    // Owned by the shard's owner; of a marker: const after it is published.
    int32_t error;      // of the marker, or of the last attempt
    uint32_t failures : 31;  // in a row
    uint32_t strict : 1;     // it never stands in for a load that fails

    // Owned by the shard's owner.
    struct entry *wheel_next;
    struct entry **wheel_at;  // NULL: on no slot of the wheel

    SYNC_ATOMIC(int64_t) check_ns;  // Atomic.  A hit before it is a fresh value
    // Const after init.
    uint32_t weight;  // under max_weight
    uint32_t unused;
};

#define PREFIX_OF_WEIGHT 16  // what is from check_ns on
#define PREFIX_OF_TTL 32     // and what the wheel and hits need
#define PREFIX_OF_FRESHNESS 64

#define ENTRY_QUEUE_SHIFT 0  // enum queue_name, of the policy
#define ENTRY_QUEUE (UINT64_C(3) << ENTRY_QUEUE_SHIFT)
#define ENTRY_STAMP_SHIFT 2
#define ENTRY_STAMP (UINT64_C(0xffff) << ENTRY_STAMP_SHIFT)
#define ENTRY_FRESH (UINT64_C(1) << 18)     // in main, and not looked at yet
#define ENTRY_RETURNED (UINT64_C(1) << 19)  // fresh, and came by its ghost
#define ENTRY_OF_POLICY \
    (ENTRY_QUEUE | ENTRY_FRESH | ENTRY_RETURNED | ENTRY_STAMP)
#define ENTRY_KEY_SHIFT 20
#define ENTRY_KEY ((uint64_t)MEMO_KEY_MAX << ENTRY_KEY_SHIFT)
#define ENTRY_USES_SHIFT 44
#define ENTRY_USES (UINT64_C(3) << ENTRY_USES_SHIFT)
#define ENTRY_ADOPTED (UINT64_C(1) << 46)  // a struct adopted is the value
#define ENTRY_RETIRED_BIT 47               // set once, by the owner
#define ENTRY_RETIRED (UINT64_C(1) << ENTRY_RETIRED_BIT)
#define ENTRY_TIMED (UINT64_C(1) << 48)    // as in all of this cache
#define ENTRY_KIND_SHIFT 49                // enum entry_kind
#define ENTRY_KIND (UINT64_C(3) << ENTRY_KIND_SHIFT)
#define ENTRY_NONE (UINT64_C(1) << 51)     // in no entry: see shard.stamp
#define ENTRY_LINKED (UINT64_C(1) << 52)   // has links: see link.h
#define ENTRY_GENERATION_SHIFT 53
#define ENTRY_GENERATION (UINT64_C(0x7ff) << ENTRY_GENERATION_SHIFT)

// Where it says which shard e belongs to: by the number of the shard's pages, of which
// there are as many as the shift says, and which begin with the shard's address.
#define SHARD_PAGES_SHIFT 17
#define ENTRY_SHARD_LOW_BITS 20
#define ENTRY_SHARD_LOW ((UINT64_C(1) << ENTRY_SHARD_LOW_BITS) - 1)
#define ENTRY_SHARD (ENTRY_GENERATION | ENTRY_SHARD_LOW)

// What a cache whose policy looks at values knows of an entry; in front of all
// else.  Owned by the shard's owner.
struct entry_worth {
    double rank;  // on which the policy decides
    float value;
    float cost;   // ns, of its load; 0: it wasn't loaded
    struct entry *next, *prev;  // in main, on the list of its value
};

// What an entry is.  Hits take values only; the others, which exist only where
// there are times, are looked at with more care.
enum entry_kind {
    KIND_VALUE = 0,
    KIND_STALE = 1,  // a value past its time, handed out for want of a better
    KIND_ERROR = 2,  // a marker: the error of a load
    KIND_PASS = 3,   // a marker: loads of this key aren't shared
};

SYNC_INLINE enum entry_kind entry_kind(uint64_t word) {
    return (enum entry_kind)((word & ENTRY_KIND) >> ENTRY_KIND_SHIFT);
}

struct adopted {
    struct entry *next_dead;  // of an entry with an empty key
    void *data;
    size_t size;
    memo_free_fn *free_fn;  // NULL: nothing to call
    union {
        void *free_arg;
        size_t allocated;  // without free_fn: 0, or data is ours, of so many bytes
    };
};

// The entry after e on a list of the dead.
SYNC_INLINE struct entry **entry_next_dead(struct entry *e) {
    return (struct entry **)(void *)e->bytes;
}

SYNC_INLINE size_t entry_key_size(uint64_t word) {
    return (size_t)(word >> ENTRY_KEY_SHIFT) & MEMO_KEY_MAX;
}

// The prefix of an entry, in a cache where entries have one.
SYNC_INLINE struct entry_prefix *entry_prefix(const struct entry *e) {
    return (struct entry_prefix *)(uintptr_t)e - 1;
}

// Where the value starts in bytes[], so that it is aligned for any type.
SYNC_INLINE size_t entry_value_offset(size_t key_size) {
    return ((offsetof(struct entry, bytes) + key_size + 15) & ~(size_t)15) -
           offsetof(struct entry, bytes);
}

SYNC_INLINE void *entry_value(const struct entry *e, size_t key_size) {
    return (unsigned char *)(uintptr_t)e->bytes + entry_value_offset(key_size);
}

// Fill all of *out but its pin.
SYNC_INLINE void entry_describe(const struct entry *e, uint64_t word,
                                size_t key_size, struct memo_value *out) {
    void *value = entry_value(e, key_size);

    out->data = value;
    out->size = e->value_size;
    if (SYNC_UNLIKELY(word & ENTRY_ADOPTED)) {
        out->data = ((const struct adopted *)value)->data;
        out->size = ((const struct adopted *)value)->size;
    }
}

// Make an entry with room for a value of size bytes; NULL: out of memory.  It
// has one reference, the caller's.
// If it is going to be linked, flags is ENTRY_LINKED, else 0.
struct entry *memo_entry_new_(struct shard *s, const void *key, size_t key_size,
                              size_t size, uint64_t flags);

// Make a marker for what the load of f came to; NULL: out of memory.
struct entry *memo_marker_new_(struct memo_load *f, enum entry_kind kind);

// The same, around the caller's own object: what adopted says.
struct entry *memo_entry_adopting_new_(struct shard *s, const void *key,
                                       size_t key_size,
                                       const struct adopted *adopted,
                                       uint64_t flags);

// Whether the links of e, which is linked, hold; or it is out of date.
int memo_links_hold_(const struct entry *e);

// The same of any entry.
SYNC_INLINE int entry_holds(const struct entry *e) {
    return SYNC_LIKELY((SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0) ||
           memo_links_hold_(e);
}

// The bytes that e costs: itself and what it adopted.
size_t memo_entry_bytes_(const struct memo *m, const struct entry *e);

// Find out what e weighs, unless weight says it.  CALLBACK, nothing locked.
void memo_entry_weigh_(const struct memo *m, struct entry *e,
                       const uint32_t *weight);

// What the words of a shard's entries say, by its pages; and the shard of e, which
// isn't resident.
SYNC_INLINE uint64_t entry_mark(const void *pages) {
    uint64_t n = (uint64_t)(uintptr_t)pages >> SHARD_PAGES_SHIFT;

    return n >> ENTRY_SHARD_LOW_BITS << ENTRY_GENERATION_SHIFT |
           (n & ENTRY_SHARD_LOW);
}

SYNC_INLINE struct shard *entry_shard(const struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word);
    uint64_t n = word >> ENTRY_GENERATION_SHIFT << ENTRY_SHARD_LOW_BITS |
                 (word & ENTRY_SHARD_LOW);

    return *(struct shard **)(uintptr_t)(n << SHARD_PAGES_SHIFT);
}

// Take or drop a reference.  The last one destroys e: CALLBACK, nothing locked.
SYNC_INLINE void memo_entry_ref_(struct entry *e) {
    (void)SYNC_ADD(&e->refs, 1);
}
void memo_entry_unref_(struct entry *e);

// Drop a reference; return whether it was the last, so that e is dead and the
// caller must have it destroyed.
int memo_entry_let_go_(struct entry *e);

// Destroy e, which is dead.  CALLBACK: nothing is locked.
void memo_entry_destroy_(struct entry *e);

// Whether destroying e calls a destructor of the user's.
int memo_entry_has_destructor_(const struct entry *e);

// Whether the calling thread is in a destructor or a listener, of any cache.
int memo_in_callback_(void);
int memo_in_listener_(void);

// The entry behind the pin of a value.
struct entry *memo_pinned_entry_(const void *pin);

// Hand e out in *out, by a reference of the caller's that *out takes over.
void memo_entry_hand_out_(struct entry *e, uint32_t from,
                          struct memo_value *out);

// ------------------------------------------------------------------ flight
//
// A load in progress, and everybody who waits for it.  Public as struct
// memo_load: it is what the load function holds.
//
//     ATTACHED --- invalidated ---> DETACHED
//        |                             |
//        '--- finished, or closed -----'---> ENDED
//
// Only the shard's owner changes state.  While ATTACHED, it is in the shard's
// map, and newcomers join it.
//
// INVARIANT(attached)  f is in its shard's map iff f->state is ATTACHED, and on
//     its list of detached flights iff it is DETACHED.
enum flight_state {
    FLIGHT_ATTACHED = 0,
    FLIGHT_DETACHED = 1,  // its result will be delivered, not stored
    FLIGHT_ENDED = 2,     // done is set, or about to be
};

// What a load says of its result, besides giving a value or failing.
enum verdict { VERDICT_VALUE, VERDICT_NOT_FOUND, VERDICT_NOT_MODIFIED };

// What a load, or memo_put_with(), says of the times of a value.
struct dates {
    int has_ttl, has_refresh, strict;
    int64_t ttl_ns, refresh_after_ns;
};

struct memo_load {
    // Owned by the shard's owner.
    union {
        void *child[TRIE_WAYS];  // ATTACHED: the map, see trie.h
        struct {
            struct memo_load *next, *before;
        } list;  // DETACHED; ENDED before its time: next
    };

    // Const after init.
    struct shard *shard;
    uint64_t hash;
    size_t key_size;
    int64_t started_ns;

    // Const after it was started.
    struct entry *old;  // with a reference: the key's entry, past its time or to
                        // be refreshed; NULL: none
    int refresh;  // nobody had to wait for it
    int64_t old_until_ns;  // how long the old value may stand in
    int alone;  // it serves who started it and nobody else, and isn't stored

    // Owned by the shard's owner.
    struct sync_link running;  // while runs: on its shard's list
    uint64_t began;            // by the clock of sources; const once it runs
    uint64_t checked;          // by that clock: when it was not outdated
    enum flight_state state;
    int runs;     // its load has not ended
    int excused;  // memo_close() doesn't wait for it
    uint32_t interest;  // who wants the result: waiters, and memo itself where
                        // it loads for its own sake

    // Owned by the load: the value being made, and its weight if it has said so.
    struct entry *making;
    uint32_t weight;
    int has_weight;
    enum verdict verdict;
    int pass;
    struct dates dates;
    int64_t until_ns;  // what it was made from is no longer fresh then

    // Published by done: stored before sync_event_set(), read after the event
    // was seen set.
    struct entry *result;  // NULL, or a reference that f holds
    int error;
    int detached;  // it was DETACHED when it ended, or outdated
    int outdated;  // one of its links didn't hold when it ended
    int stale;     // result is the old value, past its time
    int passed;    // it is for who started it: the others load alone

    struct sync_event done;
    struct sync_event canceled;  // nobody wants it, or the cache is closing
    struct sync_watcher on_cancel;  // watches canceled, if cancel_fn
    memo_cancel_fn *cancel_fn;
    void *cancel_arg;

    // Atomic.  What is behind it: see depend.c
    SYNC_ATOMIC(struct link_set *) links;

    // Atomic.
    sync_atomic_u32 refs;      // ORDER(unref)
    sync_atomic_u32 finished;  // 1 from the first memo_load_finish()

    uint32_t n_forks;  // Const after init: memo_n_forks_() when it was made

    // Guarded by the wait graph's mutex, in run.c.
    struct memo_load *waits_for;

    // Owned by the executor, or by the bulk load, it is handed to.
    struct memo_load *next;

    unsigned char key[];  // Const after init; a zero byte follows it.
};

// Whether memo_load_finish() has been called: nothing more may be said of it.
SYNC_INLINE int memo_is_finished_(const struct memo_load *f) {
    return SYNC_LOAD(&f->finished) != 0;
}

// Whether f has an old value in hand, not only a marker.
int memo_has_old_(const struct memo_load *f);

// Whether the load of f has given its value no time to live.
int memo_is_stillborn_(const struct memo_load *f);

// Make a flight with one reference, the caller's; NULL: out of memory.
struct memo_load *memo_flight_new_(struct shard *s, uint64_t hash,
                                   const void *key, size_t key_size);
void memo_flight_unref_(struct memo_load *f);

// Whether f is another process's, from before a fork.
SYNC_INLINE int memo_is_inherited_(const struct memo_load *f) {
    return SYNC_UNLIKELY(f->n_forks != memo_n_forks_());
}

// The flight of that key on a shard's map of them; NULL: none.
struct memo_load *memo_flight_find_owned_(struct memo_load *map, uint64_t hash,
                                          const void *key, size_t key_size);

// ------------------------------------------------------------------ table

// Seven slots and their tags; the eighth byte of tags is 0.  A slot is 0, or the
// address of an entry above the fragment of the hash.  One cache line.
#define BUCKET_SLOTS 7

struct bucket {
    SYNC_ATOMIC(uint64_t) slot[BUCKET_SLOTS];
    SYNC_ATOMIC(uint64_t) tags;
};

// See table.c for how it grows.
struct table {
    unsigned char *base;  // Const after init.

    // Published by the owner: stored with release, loaded by hits.
    sync_atomic_u64 mask;  // (buckets - 1) * sizeof(struct bucket); may lag
                           // behind or run ahead: hits check what they find
    sync_atomic_u64 level;  // buckets at this level

    // Owned by the shard's owner.
    uint64_t split;      // next group to split, or TABLE_NOT_SPLITTING
    uint64_t n_entries;  // slots in use
    unsigned char *chains;      // next chain group to be used for the first time
    unsigned char *chains_end;  // committed up to here
    unsigned char *limit;       // the pool of chain groups ends here
    uint64_t free_chains;       // list of unused ones, by address; 0: none
    uint64_t max_level;
    uint64_t committed;  // bytes
};

// ------------------------------------------------------------------ shard

// INVARIANT(counts)  n_entries, entry_bytes equal what a walk of the table
//     finds, old generations included; n_flights what a walk of the map finds;
//     retired_bytes what a walk of retired finds.
// INVARIANT(room)  retired has room for all that is resident, too: so what
//     leaves the table always finds a place.
// INVARIANT(running)  running holds the n_running flights whose loads run, the
//     oldest first.
// INVARIANT(links)  An entry that is LINKED has links, to sources of its cache,
//     to each of which it holds a reference.
struct shard {
    // The line that hits read.  table: see there.
    struct table table;
    sync_atomic_u64 stamp;  // Published by the owner: generation, saturated
                            // uses; ENTRY_NONE, where every hit takes the long
                            // way

    // Const after init.
    struct memo *memo;
    uint64_t mark;  // what says in the words of its entries that they belong here

    struct policy *policy;  // NULL: the cache isn't bounded
    struct wheel *wheel;    // NULL: there are no times
    struct ledger *ledger;

    struct sync_mutex mu;  // leaf: no lock is acquired while it is held

    // Owned by the shard's owner.
    struct memo_load *flights;
    struct memo_load *detached_flights;
    struct sync_list running;  // all whose loads run, in order of their begin
    struct entry **retired;  // n_retired unlinked ones, not yet found unpinned
    uint64_t retired_pages;  // bytes reserved for it; const after init
    uint64_t retired_room, retired_most;  // committed for; there ever were
    struct entry *garbage;  // dead; to be destroyed when ownership ends
    uint64_t garbage_bytes;
    uint64_t n_retired, retired_bytes;
    uint64_t reclaim_at;  // n_retired that makes the next scan worth it, or so
    uint64_t reclaim_bytes_at;  // many bytes more than the last one left
    uint64_t swept_to;    // groups of the table already swept
    uint64_t n_outdated, outdated_bytes;  // resident, of old generations
    uint64_t unswept_clears;  // generations that may still have entries
    int sweeping;             // entries of old generations may be left
    int written;              // the last step changed the table
    int reclaim_now;          // it retired something with a destructor
    uint64_t n_flights, n_running;
    uint64_t entry_bytes;
    uint64_t n_linked;      // resident entries with links
    uint64_t concerned;     // links broken when the last sweep for them began
    uint64_t joins, loads, load_failures, detached, load_ns;
    uint64_t refreshes, refresh_failures, not_modified, passes, expired;
    int64_t now_ns;   // the latest time that a step was told
    uint64_t random;  // state of a generator
    int closed;

    // Atomic: 1 for being open, and one for each entry and flight that exists.
    sync_atomic_u64 live;
    // Atomic: entries unlinked but not destroyed yet, for whatever reason: still
    // on retired, in garbage, put off by the monitor, referred to, or in their
    // destructors.  ORDER(undead) in entry.c
    sync_atomic_u64 n_undead, undead_bytes;
};

// Reclaiming so many retired bytes is worth a scan of all pins.
#define RECLAIM_BYTES ((uint64_t)256 << 10)

// Shards share no cache line, nor a pair that is fetched together; and their
// size is a power of two, so that bits of the hash are their offset.
#define SHARD_SIZE 512

// ------------------------------------------------------------------ cache

struct memo {
    // Const after init.
    struct hash_seed seed;
    unsigned char *shards;  // n_shards structs, SHARD_SIZE apart
    uint64_t shard_mask;    // (n_shards - 1) * SHARD_SIZE: counts bytes
    struct policy *policies;  // one a shard; NULL: the cache isn't bounded
    uint64_t tally;  // of hits, or SYNC_TALLY_NONE: then hits counts.  So far,
                     // what hits read: one line
    uint32_t policy;  // enum memo_policy
    memo_load_fn *load;
    void *load_arg;
    struct memo_allocator allocator;
    struct memo_clock clock;
    size_t prefix_size;  // of entries: what there is of struct entry_prefix
    struct wheel *wheels;  // one a shard; NULL: there are no times
    enum timing { TIMING_NONE, TIMING_TTL, TIMING_FRESHNESS } timing;
    int64_t ttl_ns, refresh_after_ns;  // MEMO_NEVER: none
    int64_t idle_ttl_ns, stale_if_error_ns, negative_ttl_ns, pass_ttl_ns;  // 0
    int64_t keep_old_ns;  // at least stale_if_error_ns
    int64_t backoff_ns, backoff_max_ns;  // 0: none
    int64_t jitter_percent;
    int early_refresh;
    int clock_is_monotonic;  // the same as sync_clock_now_ns()
    struct sync_monitor *monitor;   // NULL: engine_lock
    struct reaper *reaper;          // beside monitor
    struct memo_executor executor;  // submit is NULL: the caller's thread
    struct pool *pool;              // memo's own executor, or NULL
    memo_load_many_fn *load_many;
    uint64_t max_loads, max_waiters, max_waiters_per_key;  // 0: none
    int cancel_unwanted;
    int depend_auto;
    uint64_t max_entries, max_bytes, max_weight;  // 0: none
    memo_weight_fn *weight;
    void *weight_arg;
    struct memo_listener listener;  // removed is NULL: nobody listens
    size_t news_offset;  // from an entry back to its struct entry_news
    struct recorder *recorders;
    void *pages;  // reserved: tables and what else grows under an owner
    size_t pages_size;
    void *block;  // what the allocator gave for this struct and the shards
    size_t block_size;

    struct forkable forkable;

    // Atomic.  Changed under the forks' mutex: flights of the parent's, linked by
    // list.next, whose waits are still to be ended.
    SYNC_ATOMIC(struct memo_load *) left_behind;

    // Guarded by the orphans' mutex, in life.c.
    struct memo *next_orphan;
    int is_orphan;

    // Published by ORDER(sources), see link.c.  NULL: there never were any
    SYNC_ATOMIC(struct sources *) sources;

    // Atomic.
    sync_atomic_u64 hits;  // those that tally doesn't count
    sync_atomic_u64 stale, negative;  // answers of these kinds
    sync_atomic_u64 live;       // shards that something depends on, and 1 until
                                // memo_free()
    sync_atomic_u32 draining;   // loads that memo_close() waits for: all in
                                // closed shards, but those excused
    sync_atomic_u64 n_loads;    // running, counted only under max_loads
    sync_atomic_u64 n_waiters;  // counted only under max_waiters
    sync_atomic_u64 n_upkeeps;  // calls of memo_maintain()
    sync_atomic_u32 closing;    // 1 from the first memo_close()
};

SYNC_INLINE uint64_t memo_n_shards_(const struct memo *m) {
    return m->shard_mask / SHARD_SIZE + 1;
}

SYNC_INLINE struct shard *memo_shard_at_(const struct memo *m, uint64_t i) {
    return (struct shard *)(void *)(m->shards + i * SHARD_SIZE);
}

SYNC_INLINE struct shard *memo_shard_of_(const struct memo *m, uint64_t hash) {
    return (struct shard *)(void *)(m->shards + ((hash >> HASH_SHARD_SHIFT) &
                                                 m->shard_mask));
}

// What e is worth, in a cache where that counts.
SYNC_INLINE struct entry_worth *entry_worth(const struct memo *m,
                                            const struct entry *e) {
    return (struct entry_worth *)(void *)((unsigned char *)(uintptr_t)e -
                                          m->prefix_size);
}

// Count a hit whose pin doesn't say where.
void memo_count_hit_(struct memo *m);

// Count an answer of that kind: enum memo_from.
void memo_count_(struct memo *m, uint32_t from);

// What memo_table_find_() has found, as an answer: 0, or the error in *out, which
// then says only where it comes from.
int memo_answer_(struct memo *m, struct memo_value *out);

// What the options are by default.
extern const struct memo_allocator memo_by_malloc_;
extern const struct memo_clock memo_monotonic_clock_;

size_t memo_good_size_(const struct memo *m, size_t size);
void *memo_alloc_(struct memo *m, size_t size);
void memo_dealloc_(struct memo *m, void *p, size_t size);

SYNC_INLINE int64_t memo_now_(struct memo *m) {
    return m->clock.now_ns(m->clock.state);
}

// Sleep while *word is value: until it is woken (0, also for no reason), or until
// deadline_ns on the cache's clock (MEMO_ETIMEDOUT).
int memo_sleep_(struct memo *m, sync_atomic_u32 *word, uint32_t value,
                int64_t deadline_ns);

// From one time to another; 0 if that is past; MEMO_NEVER if it is too long.
SYNC_INLINE int64_t memo_span_(int64_t from_ns, int64_t to_ns) {
    if (to_ns <= from_ns) {
        return 0;
    }
    return from_ns < 0 && to_ns > INT64_MAX + from_ns ? MEMO_NEVER
                                                      : to_ns - from_ns;
}

// A replaced clock may move without a sleeper being told: look at it so often.
#define MEMO_LOOK_AT_CLOCK_NS (5 * 1000 * 1000)

// Give back the memory of a cache that nothing depends on any more.
void memo_core_free_(struct memo *m);

// Reclaim what has been released of caches that are freed: see life.c.
void memo_look_after_orphans_(void);

// Keep the cache's memory, or let it go: see shard.live.
void memo_shard_live_(struct shard *s);
void memo_shard_gone_(struct shard *s);

// Take a reference to the cache itself, if it isn't on its way out; let it go.
int memo_core_take_(struct memo *m);
void memo_core_gone_(struct memo *m);

// The parts of a fork.
void memo_fork_cache_(struct forkable *m, enum fork_phase phase);
void memo_orphans_fork_(enum fork_phase phase);
void memo_wait_graph_fork_(enum fork_phase phase);
void memo_pool_fork_(struct pool *p, enum fork_phase phase);
void memo_reaper_fork_(struct reaper *r, enum fork_phase phase);

// End what waits for flights that were left behind in the parent, of this cache,
// or of all.  CALLBACK: completions, nothing locked.
void memo_settle_(struct memo *m);
void memo_settle_all_(void);

// ------------------------------------------------------------------ engine

// Two answers to the question who may write a shard: engine_lock.c, the caller,
// under the shard's mutex; engine_monitor.c, the one monitor that it is confined
// to.  Either runs step(s, arg) as the owner of s, then memo_tidy_owned_(s), then
// gives ownership up, and returns what the caller is to destroy of s->garbage.
struct entry *memo_own_locked_(struct shard *s,
                               void (*step)(struct shard *s, void *arg),
                               void *arg);
struct entry *memo_own_by_monitor_(struct shard *s,
                                   void (*step)(struct shard *s, void *arg),
                                   void *arg);

// Destroy garbage, which is dead.  CALLBACK: destructors, nothing locked.  Deep
// inside other destructors it is left to the outermost, so that they can't overrun
// the stack.
void memo_drop_garbage_(struct entry *garbage);

// For those who have something to do first.
SYNC_INLINE struct entry *memo_own_only_(struct shard *s,
                                         void (*step)(struct shard *s,
                                                      void *arg),
                                         void *arg) {
    if (SYNC_UNLIKELY(SYNC_LOAD(&s->memo->left_behind) != NULL)) {
        memo_settle_(s->memo);
    }
    return s->memo->monitor == NULL ? memo_own_locked_(s, step, arg)
                                    : memo_own_by_monitor_(s, step, arg);
}

// Tell the listener, if there is one, what left s.  CALLBACK, nothing locked.
void memo_tell_slow_(struct shard *s);

SYNC_INLINE void memo_tell_(struct shard *s) {
    if (SYNC_UNLIKELY(s->memo->listener.removed != NULL)) {
        memo_tell_slow_(s);
    }
}

SYNC_INLINE void memo_own_(struct shard *s,
                           void (*step)(struct shard *s, void *arg),
                           void *arg) {
    memo_drop_garbage_(memo_own_only_(s, step, arg));
    memo_tell_(s);
}

// Take from s->garbage what a thread may destroy in one go.
struct entry *memo_take_garbage_owned_(struct shard *s);

// What the monitor does when it has nothing better to do.
int memo_monitor_idle_(void *memo);

// A reaper, with a thread of its own, or a task of the executor, if there is one,
// or neither; NULL: out of memory.
struct reaper *memo_reaper_new_(int own_thread,
                                const struct memo_executor *executor);

// Destroy garbage by and by.  Threads: the monitor's.
void memo_reaper_take_(struct reaper *r, struct entry *garbage);

// Tell what left s, having begun to, by and by.  Threads: the monitor's.
void memo_reaper_tell_(struct reaper *r, struct shard *s);

// Do something of what was left for idle time; return whether there was anything.
int memo_reaper_idle_(struct reaper *r);

// What the caller is to destroy, because destructors have fallen behind, as
// garbage; or NULL.
struct entry *memo_reaper_help_(struct reaper *r);

// Tell something oneself, if there is no worker.  CALLBACK, nothing locked.
void memo_reaper_help_to_tell_(struct reaper *r);

// Destroy all there is, and wait until what others are destroying is, unless this
// is a destructor.  Return 0 or MEMO_ETIMEDOUT.  CALLBACK, nothing locked.
int memo_reaper_drain_(struct memo *m, int64_t deadline_ns);

// Destroy all there is, and end the thread: nothing will be taken any more.
void memo_reaper_stop_(struct reaper *r);
void memo_reaper_free_(struct reaper *r);

// Who is about to wait may be the event loop that others wait for: then do some of
// what they want, and return how long to sleep at most before doing so again.
// MEMO_NEVER: it isn't, or it is already doing something for them.
int64_t memo_run_own_loop_(struct memo *m);

// What a step leaves to do: a bounded amount of growing, sweeping, reclaiming.
void memo_tidy_owned_(struct shard *s);

// ------------------------------------------------------------------ steps
//
// What an owner does, each in one go (shard.h).  The first argument of the
// caller's is a struct that the step fills in.

// When a caller joined a flight; or this: he started it.
#define STARTED INT64_MIN

// Find a resident value, join a flight, or start one.
struct begin_step {
    // In.
    const void *key;
    size_t key_size;
    uint64_t hash;
    // ALONE: like START, but never together with others.  REFRESH: start one
    // whatever is resident; don't join.
    enum begin_depth {
        BEGIN_FIND,
        BEGIN_JOIN,
        BEGIN_START,
        BEGIN_ALONE,
        BEGIN_REFRESH,
    } depth;
    struct memo_load *spare;  // used to start a flight, if there is one
    int64_t now_ns;           // where there are times
    // Out: an entry, or a flight, with a reference for the caller; or an error.
    // Or an entry and a flight that refreshes it.
    struct entry *entry;
    uint32_t from;  // enum memo_from, of the entry or the error
    struct memo_load *flight;
    int started;
    int late;  // something has changed since the flight that was joined began
    int64_t joined_ns;  // or STARTED
    int needs_spare;
    int error;
};
void memo_begin_owned_(struct shard *s, void *begin_step);

SYNC_INLINE struct begin_step memo_begin_for_(const void *key, size_t key_size,
                                              uint64_t hash,
                                              enum begin_depth depth) {
    struct begin_step b = {
        .key = key, .key_size = key_size, .hash = hash, .depth = depth};

    return b;
}

// How deep a wait goes.
SYNC_INLINE enum begin_depth memo_depth_of_(const struct memo_wait *wait) {
    return wait != NULL && (wait->flags & MEMO_WAIT_NO_LOAD) ? BEGIN_JOIN
                                                             : BEGIN_START;
}

// Whether an entry is what its key has.
struct resident_step {
    const struct entry *entry;
    uint64_t hash;
    int is_resident;  // out
};
void memo_is_resident_owned_(struct shard *s, void *resident_step);

// One who waited no longer does.
struct leave_step {
    struct memo_load *flight;
    int unwanted;  // out: nobody does, so the load must be told
};
void memo_leave_owned_(struct shard *s, void *leave_step);

// End a flight with the entry that it made, or NULL and an error.
struct end_step {
    struct memo_load *flight;
    struct entry *entry;
    int error;
    struct entry *marker;  // stored instead, if that is what the end calls for
    int64_t now_ns;
    // Out.
    int was_open;  // the flight had not been ended by memo_close() before
    int replaced;  // a fresh value of its key isn't resident any more
    int drains;    // the shard is closed: memo_close() waits for this load
};
void memo_end_owned_(struct shard *s, void *end_step);

// Store an entry whatever is there (entry != NULL), or drop what is there.  Both
// detach the flight of the key.
struct replace_step {
    const void *key;
    size_t key_size;
    uint64_t hash;
    struct entry *entry;
    const struct dates *dates;
    int64_t now_ns;
    int error;
};
void memo_replace_owned_(struct shard *s, void *replace_step);

void memo_clear_owned_(struct shard *s, void *unused);

// End every flight with MEMO_ECLOSED, refuse new ones, and make every resident
// value out of date.  The flights come out in a list linked by list.next, each
// with a reference for the caller, who must set done.
struct close_step {
    struct memo_load *ended;
};
void memo_close_owned_(struct shard *s, void *close_step);

// The same of a shard in the child of a fork, with MEMO_EFORKED, and it stays open.
void memo_leave_behind_owned_(struct shard *s, void *close_step);

// Excuse a load from being waited for by memo_close(), or no longer.  The shard
// is closed.
struct excuse_step {
    struct memo_load *flight;
    int excused;
};
void memo_excuse_owned_(struct shard *s, void *excuse_step);

// Drop a bounded number of what has expired, sweep a bounded number of groups;
// then reclaim.
struct upkeep_step {
    int64_t now_ns;
    // By this and other shards, may still be
    uint64_t groups;   // swept
    uint64_t entries;  // looked at, whether they have expired
    int64_t next_ns;  // out: when there will be more to do; now_ns: at once
};
void memo_upkeep_owned_(struct shard *s, void *upkeep_step);

// Reclaim what is retired and no longer pinned.
void memo_reclaim_owned_(struct shard *s, void *unused);

void memo_stats_owned_(struct shard *s, void *memo_stats);

// Fill in what the shards don't know: the sums of times.
void memo_stats_times_(struct memo *m, struct memo_stats *stats);
void memo_check_owned_(struct shard *s, void *unused);
void memo_check_sources_(struct memo *m);

// ------------------------------------------------------------------ loads

// Whether that is no key, nor a tag.
SYNC_INLINE int memo_is_bad_name_(const void *bytes, size_t size) {
    return (bytes == NULL && size != 0) || size > MEMO_KEY_MAX;
}

SYNC_INLINE int memo_is_bad_key_(const struct memo *m, const void *key,
                                 size_t key_size) {
    return m == NULL || memo_is_bad_name_(key, key_size);
}

// A public struct of more bytes is none, but garbage.
#define STRUCT_MOST 4096

// Copy a struct of the caller's, of his version's size, to *to, of ours.  Return
// MEMO_EINVAL if size is less than least, or absurd, or if something is set that
// isn't known here.  What *to has more than his stays as it is.
int memo_take_struct_(const void *from, size_t size, size_t least, void *to,
                      size_t to_size);

// Have *wait, which may be NULL, point to a copy in *own; or return MEMO_EINVAL.
int memo_take_wait_(const struct memo_wait **wait, struct memo_wait *own);

// Whether some of them are no keys, nor tags.
int memo_are_bad_names_(const struct memo_bytes names[], size_t n);

// Look for a resident answer, counting it: a value in *out, or an error that is
// kept.  Or there is nothing; or only the owner can tell.  No lock.
enum find { FIND_NOTHING, FIND_ANSWER, FIND_ASK };
enum find memo_find_(struct memo *m, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out, int *error);

// Run the load of a flight that nobody waits for, by the executor if there is
// one, and let go of the flight.
void memo_run_refresh_(struct memo_load *f);

// What memo_get() does when the value isn't resident: load.c.
int memo_get_slow_(struct memo *m, const void *key, size_t key_size,
                   uint64_t hash, const struct memo_wait *wait,
                   struct memo_value *out);

// Own the shard; look again; join the flight of the key, or start one.
int memo_find_or_start_(struct memo *m, struct begin_step *begin);

// Run the load of a flight that was started here: in this thread, or by the
// executor, if there is one and may_hand_over is set.
void memo_run_load_(struct memo_load *f, int may_hand_over);

// Say in the wait graph that the load of f will run when that of before has, in
// the same thread; NULL: that it runs now.  The caller holds a reference to
// before until it has said so.
void memo_queue_behind_(struct memo_load *f, struct memo_load *before);

// The loads of m that run in this thread, and use what it gets: those of the
// innermost call of a load function of m.  Return how many.
size_t memo_running_loads_(const struct memo *m,
                           struct memo_load *const **flights);

// Whether the result of f, which is done, isn't for who has waited for it, so that
// he must begin again, as *depth says then: it was made for who started f alone
// (C4); or it turned out to be outdated, maybe by a change before he joined late
// (I1); or it is detached and he won't have that (I2).
SYNC_INLINE int memo_must_go_again_(const struct memo_load *f, int started,
                                    int late, const struct memo_wait *wait,
                                    enum begin_depth *depth) {
    if (f->passed && !started) {
        *depth = BEGIN_ALONE;
        return 1;
    }
    return (late && f->outdated) ||
           (f->detached && wait != NULL && (wait->flags & MEMO_WAIT_STRICT));
}

// Run one bulk load for n flights that were started here.
void memo_run_load_many_(struct memo *m, struct memo_load *const flights[],
                         size_t n);

// The same, without looking first, and of a certain depth.
int memo_load_as_(struct memo *m, const void *key, size_t key_size,
                  uint64_t hash, enum begin_depth depth,
                  const struct memo_wait *wait, struct memo_value *out);

// Hand out the entry that the step found; run the refresh of it that the step
// started, if it did.
int memo_refresh_and_answer_(struct begin_step *begin, struct memo_value *out);

// What f ends with, when its load says error; and the marker that may have to be
// stored then, or NULL.
int memo_error_of_(const struct memo_load *f, int error);
struct entry *memo_marker_for_(struct memo_load *f, int error);

// Whether who waited for f so long may take the old value, and do.
int memo_may_take_old_(const struct memo_load *f, const struct memo_wait *wait);
int memo_hand_out_old_(struct memo_load *f, struct memo_value *out);

// Wait for f.  0, or MEMO_ETIMEDOUT, MEMO_ECANCELED, MEMO_EDEADLK.
int memo_wait_(struct memo_load *f, const struct memo_wait *wait);

// Fill *out with the result of a flight that is done, or return its error.
int memo_hand_out_(struct memo_load *f, int started, struct memo_value *out);

// A wait for f has ended: with its result, or, if gave_up, without.
void memo_stop_waiting_(struct memo_load *f, int64_t joined_ns, int gave_up);

// Loads that a thread runs one after the other.  From begin to end, they have
// references.
struct memo_turns {
    struct memo_load *const *flights;
    size_t n, next;  // next: the first whose turn has not come
    struct memo_turns *outer;
};
void memo_turns_begin_(struct memo_turns *t);
void memo_turns_end_(struct memo_turns *t);

// Excuse the loads of m on this thread's stack from being waited for, or no
// longer; those too whose turn in this thread is yet to come.
void memo_excuse_loads_(const struct memo *m, int excused);

// A load of a closed shard ended: tell memo_close().
void memo_load_drained_(struct memo *m);

// memo's own executor of n threads: pool.c.  NULL: out of memory or threads.
struct pool *memo_pool_new_(uint32_t n_threads);
struct memo_executor memo_pool_executor_(struct pool *p);

// Let the threads end when nothing is left to do, and wait for them, unless
// this is one of them or wait is 0.
void memo_pool_free_(struct pool *p, int wait);

#endif  // MEMO_MEMO_INTERNAL_H_
