// What goes first in a bounded cache.  Nothing of this exists in an unbounded
// one.  How it decides: policy.c.
#ifndef MEMO_MEMO_POLICY_H_
#define MEMO_MEMO_POLICY_H_

#include "memo/entry.h"
#include "memo/ghost.h"
#include "memo/internal.h"
#include "memo/names.h"
#include "memo/shard.h"
#include "sync/annotate.h"
#include "sync/atomic.h"

// What a cache whose policy looks at values knows of an entry; in front of all
// else.  Owned by the shard's owner.
struct entry_worth {
    double rank;  // on which the policy decides
    float value;
    float cost;   // ns, of its load; 0: it wasn't loaded
    struct entry *next, *prev;  // in main, on the list of its value
};

// What e is worth, in a cache where that counts.
SYNC_INLINE struct entry_worth *entry_worth(const struct memo *m,
                                            const struct entry *e) {
    return (struct entry_worth *)(void *)((unsigned char *)(uintptr_t)e -
                                          m->prefix_size);
}

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
#define POLICY_QUEUES 3

// Entries stand in a queue by their names.  A name that isn't found in the table, of
// that queue and that stamp, is of an entry that has left the queue.
struct queue {
    struct names names;    // of main, under struct values: empty
    struct entry *oldest;  // what the oldest name stands for; NULL: not known yet
    uint64_t n;
    uint64_t size;  // the sum of what its entries count for
};

// Linked by next, towards the oldest, and by prev.
struct list {
    struct entry *newest, *oldest;
};

// Main, of a cache that asks what its entries are worth: entries of about the
// same value are on a list of their own, and the one of least rank goes first.
// How ranks come about: victim.c.
//
// INVARIANT(classes)  An entry of main is on the list of its value; bits of
//     in_use are set for the lists that aren't empty; rank is that of the
//     oldest.
#define VALUE_CLASSES 64

struct values {
    struct list list[VALUE_CLASSES];
    double rank[VALUE_CLASSES];
    uint64_t in_use;
    double inflation;  // the greatest rank that ever went
    // Over what was stored lately.
    double sum_of_values, n_values;
    double sum_of_costs, n_costs;
};

// How large the window is, and what that is decided by: policy_window.c.
struct window {
    uint64_t size;  // of young and old together, at most
    int64_t trend;  // from -ONE, it shrinks, to ONE
    unsigned idlers;  // how much left main and was never used there
    double forgone, earned;
    uint64_t halved_at;  // by the clock
};

// Of one shard.  Owned by its owner.
//
// INVARIANT(queues)  Each resident entry is in the queue that its word names, by
//     its name there; n and size of each queue, and weight, are those of a walk.
// INVARIANT(bounds)  None is exceeded.
struct policy {
    struct queue queue[POLICY_QUEUES + 1];  // by enum queue_name
    struct names_pool names;  // of the queues
    struct values *values;  // NULL: use alone counts
    struct ghosts ghosts;
    struct measure limit;    // NO_BOUND: none
    uint64_t weight;         // of all resident entries
    struct window window;
    uint64_t clock;          // the size of all that was ever stored here
    uint64_t evicted_clock;  // the size of all that was ever evicted from main
    unsigned unit_shift;     // how coarse stamps are
    int64_t trust;  // the part of ONE of what came back into main that was used
    int64_t hope;   // the same of what came for its value
    unsigned probes;         // how much came back and wasn't trusted
    struct entry *admitted;  // just now: it is spared
    uint64_t evictions;
    uint64_t too_large;  // results that were not stored
};

#define ONE 65536

// values is NULL, or all zeros.
void memo_policy_init_(struct shard *s, struct measure limit,
                       struct ghosts ghosts, struct names_pool names,
                       struct values *values);

// Make sure that one more entry can be admitted.  0 or MEMO_ENOMEM.
int memo_policy_reserve_(struct shard *s);

// What the policy remembers, in bytes: ghosts and queues.
uint64_t memo_policy_bytes_(const struct policy *p);

// What e counts for, in the unit that the cache is bounded by.
uint64_t memo_policy_size_of_(const struct shard *s, const struct entry *e);

// How much there is to share out, in that unit.
uint64_t memo_policy_capacity_(const struct shard *s);

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

// In resident.c: drop e from the table, and retire it.
void memo_evict_owned_(struct shard *s, struct entry *e, uint64_t hash,
                       enum memo_cause cause);

// ------------------------------------------------------------ policy_queue.c

SYNC_INLINE enum queue_name queue_of(const struct entry *e) {
    return (enum queue_name)((SYNC_LOAD(&e->word) & ENTRY_QUEUE) >>
                             ENTRY_QUEUE_SHIFT);
}

SYNC_INLINE unsigned uses_of(const struct entry *e) {
    return (unsigned)((SYNC_LOAD(&e->word) & ENTRY_USES) >> ENTRY_USES_SHIFT);
}

SYNC_INLINE uint16_t stamp_of(const struct entry *e) {
    return (uint16_t)(SYNC_LOAD(&e->word) >> ENTRY_STAMP_SHIFT);
}

SYNC_INLINE uint16_t stamp_at(const struct policy *p, uint64_t clock) {
    return (uint16_t)(clock >> p->unit_shift);
}

// How far clock has moved since it had the given stamp.
SYNC_INLINE uint64_t policy_since(const struct policy *p, uint64_t clock,
                                  uint16_t stamp) {
    return (uint64_t)(uint16_t)(stamp_at(p, clock) - stamp) << p->unit_shift;
}

SYNC_INLINE uint64_t policy_percent(uint64_t n, unsigned of) {
    return n / 100 * of + n % 100 * of / 100;
}

SYNC_INLINE uint64_t policy_window_size(const struct policy *p) {
    return p->queue[QUEUE_YOUNG].size + p->queue[QUEUE_OLD].size;
}

// Where e goes: the queue, the stamp and flags that it gets (ENTRY_FRESH,
// ENTRY_RETURNED; in main, the latter without the former means that it came for
// its value); and, for main, how many uses it is taken to have had.
struct place_in_queue {
    enum queue_name name;
    uint16_t stamp;
    uint64_t flags;
    double uses;
};

// Put e, which is on no queue, on one; or take it from its queue.
void memo_policy_push_(struct shard *s, struct entry *e,
                       struct place_in_queue place);
void memo_policy_unlink_(struct shard *s, struct entry *e);

// Put it there with that many uses.
void memo_policy_push_used_(struct shard *s, struct entry *e,
                            const struct place_in_queue *place, unsigned uses);

// The oldest of a queue; NULL: it is empty.  Not for main under struct values.
struct entry *memo_policy_oldest_(struct shard *s, enum queue_name name);

// How many of its names stand for an entry; or, if the walk doesn't find as many
// names as it counts, 0.
uint64_t memo_policy_count_names_(struct shard *s, enum queue_name name);

// ----------------------------------------------------------- policy_window.c

void memo_window_init_(struct shard *s);

// Something of that size comes back that had left the window, so long after it came
// there; or had left main, after others of the size of age had left that, too.
void memo_window_see_ghost_(struct shard *s, uint64_t age, uint64_t size);
void memo_window_see_ghost_of_main_(struct shard *s, uint64_t age,
                                    uint64_t size);

// Something leaves main that was never used there.
void memo_window_see_idler_(struct shard *s, uint64_t size);

// e, in main, is looked at.
void memo_window_see_uses_(struct shard *s, const struct entry *e);

// ------------------------------------------------------------ policy_value.c

// The load that made e, which isn't stored yet, took so long.
void memo_policy_see_cost_(struct shard *s, struct entry *e, int64_t ns);

// Find out what e, about to be stored, is worth.
void memo_policy_appraise_(struct shard *s, struct entry *e);

// The list of struct values that e belongs to.
unsigned memo_policy_class_of_(const struct shard *s, const struct entry *e);

// Put e on the list of struct values that it belongs to, with a rank as of that
// many uses; or take it from there.
void memo_policy_push_valued_(struct shard *s, struct entry *e, double uses);
void memo_policy_unlink_valued_(struct shard *s, struct entry *e);

// The entry of least rank among the oldest of each value, but not the one that
// was just admitted, unless it is alone.
struct entry *memo_policy_least_ranked_(const struct shard *s);

// ------------------------------------------------------------ victim.c

// Which entry of main, that isn't empty, goes next.  What has been used since
// it was looked at last is given another round.
struct entry *memo_policy_victim_(struct shard *s);

// Learn from the uses of e, in main, that is looked at.
void memo_policy_learn_(struct shard *s, const struct entry *e);

#endif  // MEMO_MEMO_POLICY_H_
