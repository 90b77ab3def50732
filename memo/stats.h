// What is counted besides the plain numbers of struct shard: how long loads and
// waits took, and why values left; and what a listener is still to be told.
#ifndef MEMO_MEMO_STATS_H_
#define MEMO_MEMO_STATS_H_

#include "memo/internal.h"

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

// ------------------------------------------------------------------ listening

// What a cache with a listener knows of an entry besides; in front of it, at
// memo.news_offset.
struct entry_news {
    // Guarded by shard->mu, then owned by who tells.
    struct entry *next;
    uint32_t cause;
    uint32_t unused;
};

enum telling {
    TELLING_NOT = 0,
    TELLING = 1,          // a thread tells, or is asked to
    TELLING_AWAITED = 2,  // and somebody waits for it
};

// The owner of s has taken e, which has been resident, from the table; or won't
// store e, which is the result of a load or a put, and has not been.
void memo_note_removed_owned_(struct shard *s, struct entry *e,
                              enum memo_cause cause);
void memo_note_rejected_owned_(struct shard *s, struct entry *e);

// Whether somebody must begin to tell; if so, the caller, who holds the shard's
// mutex.
int memo_begin_to_tell_locked_(struct shard *s);

// Tell what there is to be told of s, having begun to.  Return whether there is
// more by now; otherwise the telling has ended.  CALLBACK, nothing locked.
//
// LIFETIME: the caller keeps the shard.
int memo_tell_some_(struct shard *s);

// In the child of a fork: nobody tells of s who isn't this thread.
void memo_listener_forked_owned_(struct shard *s);

// Wait until all is told.  0, or MEMO_ETIMEDOUT.
int memo_await_told_(struct memo *m, int64_t deadline_ns);

#endif  // MEMO_MEMO_STATS_H_
