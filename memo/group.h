// A group of the table, by its owner: what is put into it, and the chain that hangs on
// it when it is full.  See table.h, where the ORDER labels are explained too.
#ifndef MEMO_MEMO_GROUP_H_
#define MEMO_MEMO_GROUP_H_

#include "memo/table.h"
#include "sync/annotate.h"
#include "sync/atomic.h"

// The slots for entries in a bucket, of even or odd parity.
SYNC_INLINE int bucket_slots(int parity) {
    return parity == 0 ? BUCKET_SLOTS : BUCKET_SLOTS - 1;
}

SYNC_INLINE uint64_t bucket_tag_at(uint64_t tags, int i) {
    return (tags >> (8 * i)) & 0xff;
}

// The parity of the bucket that is home to what is in slot i of one with that parity.
SYNC_INLINE int bucket_home_of(uint64_t tags, int i, int parity) {
    return parity ^ (int)(tags >> (BUCKET_AWAY_SHIFT + i) & 1);
}

// The next group of a chain, or NULL.
SYNC_INLINE struct group *group_next(struct group *g) {
    return (struct group *)(uintptr_t)SYNC_LOAD(table_link(g));
}

// Put word into a free slot of g, the first choice being the bucket with the parity of
// home, else of its chain, which may become longer.  0, or MEMO_ENOMEM.
int memo_group_put_owned_(struct table *t, struct group *g, int home,
                          uint64_t word, uint64_t tag);

void memo_bucket_clear_owned_(struct bucket *b, int i);

// Bring home what found its place taken, now that there may be room: see
// INVARIANT(settled).
void memo_group_settle_owned_(struct table *t, struct group *g);

// Whether there is no room in the bucket of g with that parity.
int memo_group_is_full_(const struct group *g, int parity);

// Make sure that a chain as long as that of g can be built beside it.  0, or
// MEMO_ENOMEM.
int memo_group_reserve_owned_(struct table *t, struct group *g);

#endif  // MEMO_MEMO_GROUP_H_
