// The table of resident entries: its layout, and the owner's operations.  How
// readers, who need no lock, find what is in it: find.h.
//
// The table is an array of groups of two buckets in address space reserved once,
// so it never moves and readers need no protection from its growth.
//
// It grows by linear hashing (W. Litwin, "Linear Hashing: A New Tool for File
// and Table Addressing", VLDB 1980): when it is full enough, the upper half of
// twice the size is committed, and from then on each insertion splits one group
// in two, moving to group g + n/2 the entries whose hash has the next bit set.  No
// operation ever does more than one such step.
//
// An entry lies in its home bucket, else in the other bucket of the group, else
// in a chain of overflow groups that hangs on the last slot of the odd bucket.
// Chain groups come from a pool of their own and are never given back, only
// reused: a reader who strays into one that was reused reads slots of another
// group, finds nothing equal to its key, and goes on.
//
// Whatever had to lie elsewhere comes home as soon as there is room, so that nearly
// every hit finds what it looks for in the first bucket.  Readers look at a group's
// chain first, then at the bucket that isn't the key's home, and at home last; and at a
// group before the one that is split from it.  The owner moves entries in these
// directions only, and stores in the new place before it clears the old one, so
// a reader that looks at both can't miss an entry on its way.
//
//   ORDER(slot)   slot:A  release store of the slot
//                 tags:B  then release store of the tags
//                 tags:C  acquire load of the tags
//                 slot:D  acquire load of the slot
//       If tags:C sees the tag of tags:B, slot:D reads what slot:A stored or
//       something later; and what the slot points to is initialized.
//
//   ORDER(grow)   commit:A release store of level
//                 level:B acquire load of level
//       If level:B reads a level, its buckets are committed memory.
//
//   ORDER(pin)    gone:C  is the store that clears or replaces a slot; see
//                 sync/pin.c.
#ifndef MEMO_MEMO_TABLE_H_
#define MEMO_MEMO_TABLE_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/hash.h"
#include "sync/annotate.h"
#include "sync/atomic.h"

struct entry;
struct shard;

// Seven slots and their tags; the eighth byte of tags has a bit for each slot: what
// is in it lies away from home, which is the other bucket.  A slot is 0, or the address
// of an entry above the fragment of the hash.  One cache line.
#define BUCKET_SLOTS 7
#define BUCKET_AWAY_SHIFT 56

struct bucket {
    SYNC_ATOMIC(uint64_t) slot[BUCKET_SLOTS];
    SYNC_ATOMIC(uint64_t) tags;
};

// A slot of the odd bucket, the last one, is the link of the chain.
struct group {
    struct bucket bucket[2];
};

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

SYNC_INLINE uint64_t table_tag(uint64_t hash) {
    return (hash >> 8) & 0xff;
}

// The entry that slot_word stands for if its fragment is the hash's, else NULL.
// A fragment isn't 0, so an empty slot has none.
SYNC_INLINE struct entry *table_entry(uint64_t slot_word, uint64_t hash) {
    return (uint16_t)slot_word == (uint16_t)hash
               ? (struct entry *)(uintptr_t)(slot_word >> 16)
               : NULL;
}

// The group of a bucket.
SYNC_INLINE struct group *table_group(const struct table *t,
                                      uint64_t bucket_index) {
    return (struct group *)(void *)(t->base + (bucket_index >> 1) *
                                                  sizeof(struct group));
}

// Where the link to the next group of a chain is; 0: this is the last.
SYNC_INLINE SYNC_ATOMIC(uint64_t) * table_link(struct group *g) {
    return &g->bucket[1].slot[BUCKET_SLOTS - 1];
}

// ---- the owner's operations

// Prepare t in reserved pages: so many bytes for buckets, a power of two, and
// behind them for chains.  0 or MEMO_ENOMEM.
int memo_table_init_(struct table *t, void *pages, size_t buckets,
                     size_t chains);

// The bytes that t uses.
uint64_t memo_table_bytes_(const struct table *t);

// Where an entry is.
struct table_place {
    struct bucket *bucket;
    int i;
};

// Find key; return its entry, of any generation, or NULL.
struct entry *memo_table_find_owned_(struct shard *s, const void *key,
                                     size_t key_size, uint64_t hash,
                                     struct table_place *place);

// A short name of what is in the table: bits of the hash that say in which bucket,
// and more, to tell its entries apart.
#define TABLE_NAME_BITS 24
#define TABLE_NAME ((UINT32_C(1) << TABLE_NAME_BITS) - 1)

SYNC_INLINE uint32_t table_name(uint64_t hash) {
    return (uint32_t)hash_bucket(hash) & TABLE_NAME;
}

// Call each(e, arg) for the entries of that name: one, if it isn't out of date, and
// seldom more.
void memo_table_named_owned_(struct shard *s, uint32_t name,
                             void (*each)(struct entry *e, void *arg),
                             void *arg);

// Fetch into the caches what the next call with that name looks at first.
void memo_table_fetch_named_owned_(const struct shard *s, uint32_t name);

// Put e, whose key is not in the table, there.  0, or MEMO_ENOMEM and nothing
// has changed.
int memo_table_insert_owned_(struct shard *s, struct entry *e, uint64_t hash);

// Split one group, if the table is growing or should.  To be called at least once
// for each insertion.
void memo_table_grow_owned_(struct shard *s);

// Put e in the place of another entry with the same key.
void memo_table_replace_owned_(struct table_place place, struct entry *e,
                               uint64_t hash);

void memo_table_remove_owned_(struct table *t, struct table_place place);

// INVARIANT(settled)  What isn't in its home bucket finds no room there, and its slot's
//     bit says that it is away; what is in a chain finds no room in its group.
int memo_table_is_settled_owned_(struct table *t, struct table_place place,
                                 uint64_t hash);

// Call each(s, place, e) for the entries of groups first..first+n; it may remove
// the entry.  Return the number of groups there are.
uint64_t memo_table_walk_owned_(struct shard *s, uint64_t first, uint64_t n,
                                void (*each)(struct shard *s,
                                             struct table_place place,
                                             struct entry *e, void *arg),
                                void *arg);

#endif  // MEMO_MEMO_TABLE_H_
