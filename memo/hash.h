// The keyed hash of keys, and how its 64 bits are shared out.
//
// The hash folds the 128-bit product of two words, each xored with a secret
// word of the cache's seed: the construction of wyhash (W. Yi, public domain)
// and of Rust's foldhash.  Who doesn't know the seed can't make keys collide
// (H3); it is not a cryptographic hash, and no output of it leaves the process.
//
//     bits  0..15   fragment: stored beside the entry's address
//     bits  8..15   tag: the byte that is compared first; bit 15 is always 1, so
//                   that neither is ever 0
//     bits 25..36   shard: its offset, see SHARD_SIZE
//     bits 48..63   bucket, from bit 48 upwards, and on from bit 0
#ifndef MEMO_MEMO_HASH_H_
#define MEMO_MEMO_HASH_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sync/annotate.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define HASH_BUCKET_SHIFT 48
#define HASH_BUCKET_BITS 31  // to rely on
#define HASH_SHARD_SHIFT 16
#define HASH_FRAGMENT UINT64_C(0xffff)
#define HASH_NOT_ZERO UINT64_C(0x8000)

__extension__ typedef unsigned __int128 hash_product;

struct hash_seed {
    uint64_t word[4];
};

#define HASH_MIX_STEP UINT64_C(0x9e3779b97f4a7c15)

// The finalizer of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014), one to one.  Of
// numbers that are HASH_MIX_STEP apart it makes what looks random.
SYNC_INLINE uint64_t hash_mix(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

// The seed that four words of the user's stand for, which may be as simple as 1, 2, 3, 4,
// though products of such words would be small.
SYNC_INLINE struct hash_seed hash_seed_of(const uint64_t word[4]) {
    struct hash_seed seed;
    int i;

    for (i = 0; i < 4; i++) {
        seed.word[i] = hash_mix(word[i] + (uint64_t)(i + 1) * HASH_MIX_STEP);
    }
    return seed;
}

SYNC_INLINE uint64_t hash_fold(uint64_t a, uint64_t b) {
    hash_product r = (hash_product)a * b;

    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

SYNC_INLINE uint64_t hash_read8(const unsigned char *p) {
    uint64_t x;

    memcpy(&x, p, 8);
    return x;
}

SYNC_INLINE uint64_t hash_read4(const unsigned char *p) {
    uint32_t x;

    memcpy(&x, p, 4);
    return x;
}

// Keys of 17 bytes or more are taken in blocks of 16: the first, the last, and one half
// way, which may overlap these; up to 48 bytes, that is all of them and nothing has to
// be guessed.  Then come those that follow the first, up to the last.
SYNC_INLINE size_t hash_half_way(size_t size) {
    return (size - 16) / 2;
}

SYNC_INLINE uint64_t hash_block(const unsigned char *p, uint64_t a, uint64_t b) {
    return hash_fold(hash_read8(p) ^ a, hash_read8(p + 8) ^ b);
}

// The first two blocks have words of the seed of their own, and the others go with what
// was made before: else there are keys for which what two of them make cancels out.
// (One product after the other: they wouldn't all have room in registers.)
SYNC_INLINE uint64_t hash_long(const struct hash_seed *seed,
                               const unsigned char *p, size_t size) {
    const uint64_t *w = seed->word;
    uint64_t s = hash_block(p, w[0], w[1]);
    size_t i;

    SYNC_FORGET(w);
    SYNC_FORGET(s);
    s ^= hash_block(p + hash_half_way(size), w[2], w[3]);
    SYNC_FORGET(w);
    SYNC_FORGET(s);
    s ^= hash_block(p + size - 16, s, w[2]);
    if (SYNC_UNLIKELY(size > 48)) {
        for (i = 16; i + 16 < size; i += 16) {
            s = hash_block(p + i, s, w[1]);
        }
    }
    return hash_fold(s ^ w[3], size ^ w[2]) | HASH_NOT_ZERO;
}

// All of a key of up to 16 bytes, in two words; given the size, no other has the same.
SYNC_INLINE void hash_read_short(const unsigned char *p, size_t size,
                                 uint64_t word[2]) {
    word[0] = word[1] = 0;
    if (SYNC_LIKELY(size >= 8)) {
        word[0] = hash_read8(p);
        word[1] = hash_read8(p + size - 8);
    } else if (size >= 4) {
        word[0] = hash_read4(p);
        word[1] = hash_read4(p + size - 4);
    } else if (size > 0) {
        word[0] = (uint64_t)p[0] << 16 | (uint64_t)p[size >> 1] << 8 | p[size - 1];
    }
}

SYNC_INLINE uint64_t hash_key(const struct hash_seed *seed, const void *key,
                              size_t size) {
    uint64_t word[2];

    if (SYNC_UNLIKELY(size > 16)) {
        return hash_long(seed, key, size);
    }
    hash_read_short(key, size, word);
    // The second product needs no other word but for sizes: 16 is free.
    return hash_fold(
               hash_fold(word[0] ^ seed->word[0], word[1] ^ seed->word[1]),
               size ^ 16 ^ seed->word[2]) |
           HASH_NOT_ZERO;
}

// The number of the bucket is the lower bits of this.
SYNC_INLINE uint64_t hash_bucket(uint64_t hash) {
    return hash >> HASH_BUCKET_SHIFT | hash << (64 - HASH_BUCKET_SHIFT);
}

typedef signed char hash_bytes __attribute__((vector_size(16)));

// For each of 16 bytes: -1 if they are equal, else 0.
SYNC_INLINE hash_bytes hash_compare(const unsigned char *a,
                                    const unsigned char *b) {
    hash_bytes x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (hash_bytes)(x == y);
}

SYNC_INLINE int hash_all_equal(hash_bytes equal) {
#if defined(__SSE2__)
    return _mm_movemask_epi8((__m128i)equal) == 0xffff;
#else
    uint64_t x[2];

    memcpy(x, &equal, sizeof(x));
    return (x[0] & x[1]) == UINT64_MAX;
#endif
}

// The same blocks as hash_long().
SYNC_INLINE int hash_equal_long(const unsigned char *a, const unsigned char *b,
                                size_t size) {
    hash_bytes equal = hash_compare(a, b);
    size_t i;

    SYNC_FORGET(size);  // what the hash was made with needs no registers so long
    equal &= hash_compare(a + size - 16, b + size - 16);
    equal &= hash_compare(a + hash_half_way(size), b + hash_half_way(size));
    if (SYNC_UNLIKELY(size > 48)) {
        for (i = 16; i + 16 < size; i += 16) {
            equal &= hash_compare(a + i, b + i);
        }
    }
    return hash_all_equal(equal);
}

// Whether two keys of the same size are equal.
SYNC_INLINE int hash_equal_bytes(const unsigned char *a, const unsigned char *b,
                                 size_t size) {
    uint64_t x[2], y[2];

    if (SYNC_UNLIKELY(size > 16)) {
        return hash_equal_long(a, b, size);
    }
    if (size == 16) {
        return hash_all_equal(hash_compare(a, b));
    }
    hash_read_short(a, size, x);
    hash_read_short(b, size, y);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

#endif  // MEMO_MEMO_HASH_H_
