// The table of resident entries, as hits see it; and the owner's operations.
// How it is laid out and grows: table.c.
#ifndef MEMO_MEMO_TABLE_H_
#define MEMO_MEMO_TABLE_H_

#include "memo/internal.h"
#include "sync/pin.h"

// ORDER labels of this file are explained in table.c.

SYNC_INLINE uint64_t table_tag(uint64_t hash) {
    return (hash & 0x7f) | 0x80;
}

// A word whose lowest set bit is the top bit of the first byte of tags that
// equals tag; 0 if none does.  Bits above the lowest may be wrong (carries).
SYNC_INLINE uint64_t table_match(uint64_t tags, uint64_t tag) {
    uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = tags ^ (ones * tag);

    return (x - ones) & ~x & (ones << 7);
}

SYNC_INLINE struct bucket *table_bucket(unsigned char *base, uint64_t mask,
                                        uint64_t hash) {
    // mask counts bytes, so the index comes multiplied by the bucket's size.
    return (struct bucket *)(void *)(base +
                                     ((hash >> (HASH_BUCKET_SHIFT - 6)) & mask));
}

_Static_assert(sizeof(struct bucket) == 64, "a bucket is one line: 1 << 6");

// The entry that slot_word stands for if its fragment is the hash's.
SYNC_INLINE struct entry *table_entry(uint64_t slot_word, uint64_t hash) {
    uint64_t x = slot_word ^ (hash & HASH_FRAGMENT);

    return (x & HASH_FRAGMENT) != 0 ? NULL : (struct entry *)(uintptr_t)x;
}

// What a hit finds, and how it is kept.
struct table_hit {
    struct entry *entry;
    uint64_t word;
    sync_pin_slot *pin;
};

// Whether e, in a cache with times, is fresh for sure.
SYNC_INLINE int table_is_fresh(const struct shard *s, const struct entry *e) {
    int64_t check_ns = SYNC_LOAD(&entry_prefix(e)->check_ns);

    return check_ns == MEMO_NEVER || memo_now_(s->memo) < check_ns;
}

// The common case of a hit: the key's home bucket, first equal tag, counter
// saturated, a free pin.  Return 0 in every other case, of which a miss is one.
SYNC_INLINE int table_hit(const struct shard *s, const void *key,
                          size_t key_size, uint64_t hash,
                          struct table_hit *hit) {
    unsigned char *base = SYNC_LOAD(&s->table.base);
    struct bucket *b = table_bucket(base, SYNC_LOAD(&s->table.mask), hash);
    uint64_t tags = SYNC_LOAD_ACQ(&b->tags);  // ORDER(slot) tags:C
    uint64_t match = table_match(tags, table_tag(hash));
    uint64_t slot_word;
    SYNC_ATOMIC(uint64_t) * slot;

    if (SYNC_UNLIKELY(match == 0)) {
        return 0;
    }
    slot = &b->slot[(unsigned)__builtin_ctzll(match) >> 3];
    slot_word = SYNC_LOAD_ACQ(slot);  // ORDER(slot) slot:D
    hit->entry = table_entry(slot_word, hash);
    if (SYNC_UNLIKELY(hit->entry == NULL)) {
        return 0;
    }
    hit->pin = sync_pin_fast(hit->entry);
    if (SYNC_UNLIKELY(hit->pin == NULL)) {
        return 0;
    }
    if (SYNC_LIKELY(SYNC_LOAD_ACQ(slot) == slot_word)) {  // ORDER(pin) look:B
        hit->word = SYNC_LOAD(&hit->entry->word);
        if (SYNC_LIKELY((hit->word & ~ENTRY_UNSEEN) ==
                        ((uint64_t)key_size << ENTRY_KEY_SHIFT |
                         SYNC_LOAD(&s->stamp))) &&
            SYNC_LIKELY(hash_equal_bytes(hit->entry->bytes, key, key_size)) &&
            (SYNC_LIKELY(!(hit->word & ENTRY_TIMED)) ||
             table_is_fresh(s, hit->entry))) {
            return 1;
        }
    }
    sync_unpin(hit->pin);
    return 0;
}

// Any hit, without a lock: every place where the key may be.  Fill *out and
// return 1, see memo_answer_(); or return 0: the key isn't resident; or -1: only the owner knows (no
// memory for a pin, or a chain too long to be followed to its end).
int memo_table_find_(struct shard *s, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out);

// ---- the owner's operations

// Prepare t in the size bytes at pages, a multiple of 2^16.  0 or MEMO_ENOMEM.
int memo_table_init_(struct table *t, void *pages, size_t size);

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

// Call each(s, place, e) for the entries of groups first..first+n; it may remove
// the entry.  Return the number of groups there are.
uint64_t memo_table_walk_owned_(struct shard *s, uint64_t first, uint64_t n,
                                void (*each)(struct shard *s,
                                             struct table_place place,
                                             struct entry *e, void *arg),
                                void *arg);

#endif  // MEMO_MEMO_TABLE_H_
