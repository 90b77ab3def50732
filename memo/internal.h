// struct memo, and what all sources of memo/ share.  The parts, from the caller
// downwards; a part's header is named after its source, or after the object:
//
//     memo.c         the door: checks arguments (args.c), tries the hit
//     many.c         of many keys at once; batch.c: their hits
//     put.c          changes from outside
//     new.c, life.c  how a cache begins and ends; alloc.c: on what memory
//     options.c      what it is made of
//     load.c         the idea: find or start a flight, run its load, wait; finish.c: and
//                    publish
//     run.c          running loads, and waiting for them
//     running.c      what runs in a thread, and who waits for whom
//     pool.c         threads to run them
//     calling.c      who calls users' functions, which memo_close() waits for
//     async.c        waiting without a thread; queue.c: answers on a descriptor
//     step.h, shard.h    what a shard's owner does: the steps under ownership
//     begin.c, end.c     of a flight
//     attach.c           where it is meanwhile
//     shard.c            changes from outside, and the end of a shard
//     resident.c         storing, dropping, sweeping
//     retire.c           what left, until nobody pins it
//     expire.c       what time means: fresh, to be refreshed, expired
//     alarm.c        that somebody looks when it has
//     alarm_names.c      by what
//     wheel.c        the timer wheel
//     policy.c       what goes first in a bounded cache
//     victim.c           of its main part
//     policy_queue.c     its queues
//     policy_value.c     what entries are worth
//     names.c        what queues are made of
//     ghost.c        what is remembered of evicted keys
//     flight.c       one load in progress; verdict.c: what it says of its result
//     trie.h         the map of them, and of sources
//     table.c        resident entries; find.c: readers without a lock; hash.h
//     group.c            a group of the table, and its chain
//     entry.c        one result: made, counted, destroyed
//     value.c        in the hands of users: pinned and let go
//     link.c         what a result hangs on; link_set.c: and that of a load
//     source.c       tags, and keys that others depend on
//     stripe.c           all those of a cache
//     change.c           when they changed
//     depend.c       what a load says of them
//     engine.h       who owns a shard
//     engine_lock.c      whoever holds its mutex
//     engine_monitor.c   or the monitor it is confined to
//     reaper.c       destructors, out of the monitor's way
//     chore.c            what there is to do, taken and done
//     worker.c           by a thread, or a task of the executor
//     listen.c       telling what left, and why
//     stats.c        what is counted, and how long loads and waits took
//     prometheus.c   all that is counted, as text
//     check.c        whether all invariants hold
//     error.c        what errors are called
//     fork.c         what becomes of it all in the child of a fork
#ifndef MEMO_MEMO_INTERNAL_H_
#define MEMO_MEMO_INTERNAL_H_

#include "memo/fork.h"
#include "memo/hash.h"
#include "memo/memo.h"
#include "sync/annotate.h"
#include "sync/atomic.h"

struct memo_load;
struct policy;
struct pool;
struct reaper;
struct recorder;
struct shard;
struct sources;
struct sync_monitor;
struct wheel;

// Shards share no cache line, nor a pair that is fetched together; and their
// size is a power of two, so that bits of the hash are their offset.
#define SHARD_SIZE 512

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

    // Published by ORDER(sources), see source.h.  NULL: there never were any
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
void memo_orphans_fork_(enum fork_phase phase);

// Keep the cache's memory, or let it go: see shard.live.
void memo_shard_live_(struct shard *s);
void memo_shard_gone_(struct shard *s);

// Take a reference to the cache itself, if it isn't on its way out; let it go.
int memo_core_take_(struct memo *m);
void memo_core_gone_(struct memo *m);

// A load of a closed shard ended: tell memo_close().
void memo_load_drained_(struct memo *m);

#endif  // MEMO_MEMO_INTERNAL_H_
