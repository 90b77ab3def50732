// Looking for a key without a lock: what is in line here, and find.c.
//
// ORDER labels of this file are explained in table.h.
#ifndef MEMO_MEMO_FIND_H_
#define MEMO_MEMO_FIND_H_

#include "memo/entry.h"
#include "memo/hash.h"
#include "memo/memo.h"
#include "memo/shard.h"
#include "memo/table.h"
#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/pin.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// Which of the seven tags of b are equal to the hash's: a set, of which
// table_first() is the first and which table_rest() takes the first from.  In
// it may be others behind the first that is, and no harm done: their fragments
// differ.
//
// ORDER(slot) tags:C
#if defined(__SSE2__)

#define TABLE_SET unsigned

SYNC_INLINE TABLE_SET table_match(struct bucket *b, uint64_t hash) {
    __m128i tag = _mm_cvtsi64_si128((long long)hash);

    tag = _mm_unpacklo_epi8(tag, tag);     // the second byte is the second pair,
    tag = _mm_shufflelo_epi16(tag, 0x55);  // and that, four times
    tag = _mm_cmpeq_epi8(tag, SYNC_LOAD_ACQ_SSE2(&b->tags));
    return (unsigned)_mm_movemask_epi8(tag) & 0x7f;
}

SYNC_INLINE size_t table_first(TABLE_SET match) {
    size_t i;

    // Builtins return an int, which costs an instruction to widen.
    __asm__("rep bsfl %1, %k0" : "=r"(i) : "r"(match) : "cc");
    return i;
}

#else

#define TABLE_SET uint64_t

SYNC_INLINE TABLE_SET table_match(struct bucket *b, uint64_t hash) {
    uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x = SYNC_LOAD_ACQ(&b->tags) ^ (ones * table_tag(hash));

    return (x - ones) & ~x & (ones << 7) & (UINT64_MAX >> 8);
}

SYNC_INLINE size_t table_first(TABLE_SET match) {
    return (size_t)__builtin_ctzll(match) >> 3;
}

#endif

SYNC_INLINE TABLE_SET table_rest(TABLE_SET match) {
    return match & (match - 1);
}

SYNC_INLINE struct bucket *table_bucket(const struct table *t, uint64_t hash) {
    // mask counts bytes, so the index comes multiplied by the bucket's size.
    uint64_t i = hash >> (HASH_BUCKET_SHIFT - 6) |
                 hash << (64 - (HASH_BUCKET_SHIFT - 6));

    return (struct bucket *)(void *)(t->base + (i & SYNC_LOAD(&t->mask)));
}

_Static_assert(sizeof(struct bucket) == 64, "a bucket is one line: 1 << 6");

// The other bucket of the group.
SYNC_INLINE struct bucket *table_neighbour(struct bucket *b) {
    return (struct bucket *)((uintptr_t)b ^ sizeof(struct bucket));
}

// What a hit finds, and how it is kept.
struct table_hit {
    struct entry *entry;
    uint64_t flags;  // of the entry's word: ENTRY_ADOPTED, ENTRY_LINKED
    sync_pin_slot *pin;
};

// Whether e, in a cache with times and no clock of its own, is fresh for sure.
SYNC_INLINE int table_is_fresh(const struct entry *e, sync_pin_slot *pin) {
    int64_t check_ns = SYNC_LOAD(&entry_prefix(e)->check_ns);

    SYNC_FORGET(pin);
    return SYNC_LIKELY(check_ns != MEMO_NEVER)
               ? sync_ticks_before(&sync_pin_record(pin)->window, check_ns)
               : 1;
}

// Whether the entry in b with the first tag of match may be the key's: then where,
// and what is there.
SYNC_INLINE int table_guess_in(struct bucket *b, TABLE_SET match, uint64_t hash,
                               SYNC_ATOMIC(uint64_t) * *slot, uint64_t *word) {
    if (SYNC_UNLIKELY(match == 0)) {
        return 0;
    }
    *slot = &b->slot[table_first(match)];
    *word = SYNC_LOAD_ACQ(*slot);  // ORDER(slot) slot:D
    return (uint16_t)*word == (uint16_t)hash;
}

// The first equal tag at home; and the next, there or in the other bucket.
//
// ORDER(slot) tags:C
SYNC_INLINE int table_guess(struct bucket *home, uint64_t hash,
                            SYNC_ATOMIC(uint64_t) * *slot, uint64_t *word) {
    return table_guess_in(home, table_match(home, hash), hash, slot, word);
}

SYNC_INLINE int table_second_guess(struct bucket *home, uint64_t hash,
                                   SYNC_ATOMIC(uint64_t) * *slot,
                                   uint64_t *word) {
    TABLE_SET match = table_rest(table_match(home, hash));
    struct bucket *other = table_neighbour(home);

    return match != 0 ? table_guess_in(home, match, hash, slot, word)
                      : table_guess(other, hash, slot, word);
}

// Whether e, which is pinned, is a value of that key, of this generation and
// with its uses saturated; and has no links, unless linked is ENTRY_LINKED, not 0,
// and the caller looks at them.  (A call from here would cost every hit a stack
// frame.)  *flags: see struct table_hit.
enum table_answer { TABLE_OTHER, TABLE_HIT, TABLE_HIT_IF_FRESH };

SYNC_INLINE enum table_answer table_is_hit(const struct shard *s,
                                           const struct entry *e,
                                           const void *key, size_t key_size,
                                           uint64_t linked, uint64_t *flags) {
    uint64_t more =
        (SYNC_LOAD(&e->word) ^ SYNC_LOAD(&s->stamp)) >> ENTRY_KEY_SHIFT;

    // What is common ends in constants, so that what follows folds away.
    *flags = 0;
    if (SYNC_LIKELY(more == key_size) &&
        SYNC_LIKELY(hash_equal_bytes(e->bytes, key, key_size))) {
        return TABLE_HIT;
    }
    more ^= key_size;
    if (SYNC_LIKELY(more == ENTRY_TIMED >> ENTRY_KEY_SHIFT) &&
        SYNC_LIKELY(hash_equal_bytes(e->bytes, key, key_size))) {
        return TABLE_HIT_IF_FRESH;
    }
    SYNC_FORGET(more);
    *flags = more << ENTRY_KEY_SHIFT;
    if ((*flags & ~(ENTRY_ADOPTED | ENTRY_TIMED | linked)) != 0 ||
        !hash_equal_bytes(e->bytes, key, key_size)) {
        return TABLE_OTHER;
    }
    return *flags & ENTRY_TIMED ? TABLE_HIT_IF_FRESH : TABLE_HIT;
}

// The common case of a hit: the first guess is right, or the second, counter
// saturated, a free pin.  Return 0 in every other case, of which a miss is one.
SYNC_INLINE int table_hit(const struct shard *s, int second, const void *key,
                          size_t key_size, uint64_t hash, uint64_t linked,
                          struct table_hit *hit) {
    struct bucket *home = table_bucket(&s->table, hash);
    SYNC_ATOMIC(uint64_t) * slot;
    uint64_t slot_word;

    if (SYNC_UNLIKELY(!(second
                            ? table_second_guess(home, hash, &slot, &slot_word)
                            : table_guess(home, hash, &slot, &slot_word)))) {
        return 0;
    }
    hit->entry = (struct entry *)(uintptr_t)(slot_word >> 16);
    hit->pin = sync_pin_fast(hit->entry);
    if (SYNC_UNLIKELY(hit->pin == NULL)) {
        return 0;
    }
    if (SYNC_LIKELY(SYNC_IS_ACQ(slot, slot_word))) {  // ORDER(pin) look:B
        enum table_answer answer =
            table_is_hit(s, hit->entry, key, key_size, linked, &hit->flags);
        if (SYNC_LIKELY(answer == TABLE_HIT) ||
            (answer == TABLE_HIT_IF_FRESH &&
             table_is_fresh(hit->entry, hit->pin))) {
            return 1;
        }
    }
    sync_unpin(hit->pin);
    return 0;
}

// Any hit, without a lock: every place where the key may be.  Fill *out and
// return 1, see memo_answer_(); or return 0: the key isn't resident; or -1: only
// the owner knows (no memory for a pin, or a chain too long to be followed to its
// end).
int memo_table_find_(struct shard *s, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out);

// What memo_table_find_() has found, as an answer: 0, or the error in *out, which
// then says only where it comes from.
int memo_answer_(struct memo *m, struct memo_value *out);

// Look for a resident answer, counting it: a value in *out, or an error that is
// kept.  Or there is nothing; or only the owner can tell.  No lock.
enum find { FIND_NOTHING, FIND_ANSWER, FIND_ASK };
enum find memo_find_(struct memo *m, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out, int *error);

#endif  // MEMO_MEMO_FIND_H_
