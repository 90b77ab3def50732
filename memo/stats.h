// What is counted besides the plain numbers of struct shard: how long loads and
// waits took, and why values left.
#ifndef MEMO_MEMO_STATS_H_
#define MEMO_MEMO_STATS_H_

#include "memo/memo.h"
#include "sync/atomic.h"

struct entry;
struct memo;
struct shard;

// A histogram that many threads add to.
struct track {
    sync_atomic_u64 count[MEMO_HISTOGRAM_BUCKETS];  // Atomic.
    sync_atomic_u64 sum_ns;                         // Atomic.
};

// Those of some of the shards of a cache.  Misses alone write here, so a few for
// each cache are enough.
#define RECORDERS_MOST 4

#define MEMO_CAUSES (MEMO_REJECTED + 1)

struct recorder {
    struct track track[MEMO_HISTOGRAMS];
};

// What is written down of a shard.
struct ledger {
    // Const after init.
    struct recorder *recorder;  // shared with other shards

    // Owned by the shard's owner.
    uint64_t removed[MEMO_CAUSES];  // values, by enum memo_cause

    // Guarded by shard->mu.  See listen.c.
    struct entry *news, **news_end;  // to be told, the oldest first

    // Guarded by the reaper's mutex; without a reaper, owned by who tells.
    struct shard *next_to_tell;

    sync_atomic_u32 telling;  // Atomic: enum telling
};

// Add one span to a histogram of s, enum memo_histogram_name.
void memo_record_(struct shard *s, int which, int64_t span_ns);

// Prepare the ledgers of a cache, which are n_shards at *ledgers, followed by its
// recorders.
size_t memo_ledgers_size_(uint64_t n_shards);
void memo_init_ledgers_(struct memo *m, void *ledgers);

// Count an answer of that kind: enum memo_from.
void memo_count_(struct memo *m, uint32_t from);

#endif  // MEMO_MEMO_STATS_H_
