// What goes first in a bounded cache.  Nothing of this exists in an unbounded
// one.  How it decides: policy.c.
#ifndef MEMO_MEMO_POLICY_H_
#define MEMO_MEMO_POLICY_H_

#include "memo/ghost.h"
#include "memo/internal.h"

// How much there is of what can be bounded.
struct measure {
    uint64_t entries;
    uint64_t bytes;
    uint64_t weight;
};

#define NO_BOUND UINT64_MAX

// Where an entry is; two bits of its word.
enum queue_name {
    QUEUE_NONE = 0,  // not resident
    QUEUE_YOUNG = 1,
    QUEUE_OLD = 2,
    QUEUE_MAIN = 3,
};

struct queue {
    struct entry *newest, *oldest;  // linked by next, towards the oldest
    uint64_t n;
    uint64_t size;  // the sum of what its entries count for
};

// Of one shard.  Owned by its owner.
//
// INVARIANT(queues)  Each resident entry is on the queue that its word names; n
//     and size of each queue, and weight, are those of a walk.
// INVARIANT(bounds)  None is exceeded.
struct policy {
    struct queue queue[4];  // by enum queue_name
    struct ghosts ghosts;
    struct measure limit;    // NO_BOUND: none
    uint64_t weight;         // of all resident entries
    uint64_t window;         // how large young and old shall be together
    uint64_t clock;          // the size of all that was ever stored here
    uint64_t evicted_clock;  // the size of all that was ever evicted from main
    unsigned unit_shift;     // how coarse stamps are
    struct entry *admitted;  // just now: it is spared
    uint64_t evictions;
    uint64_t too_large;  // results that were not stored
};

void memo_policy_init_(struct shard *s, struct measure limit,
                       struct ghosts ghosts);

// What e counts for, in the unit that the cache is bounded by.
uint64_t memo_policy_size_of_(const struct shard *s, const struct entry *e);

// Whether a bound is exceeded.
int memo_policy_is_full_(const struct shard *s);

// Whether e could ever be resident in s.
int memo_policy_has_room_for_(const struct shard *s, const struct entry *e);

// e, which hashes to hash, has just been put into the table: put it on a queue,
// then evict others until the bounds hold.  instead says which queue an entry
// was on that e replaces, or QUEUE_NONE.
void memo_policy_admit_(struct shard *s, struct entry *e, uint64_t hash,
                        enum queue_name instead);

// Evict until the bounds hold: the table may have grown.
void memo_policy_trim_(struct shard *s);

// e leaves the table.  Return the queue that it was on.
enum queue_name memo_policy_forget_(struct shard *s, struct entry *e);

// In shard.c: drop e from the table, and retire it.
void memo_evict_owned_(struct shard *s, struct entry *e, uint64_t hash);

#endif  // MEMO_MEMO_POLICY_H_
