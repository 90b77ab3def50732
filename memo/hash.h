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

#define HASH_BUCKET_SHIFT 48
#define HASH_BUCKET_BITS 31  // to rely on
#define HASH_SHARD_SHIFT 16
#define HASH_FRAGMENT UINT64_C(0xffff)
#define HASH_NOT_ZERO UINT64_C(0x8000)

__extension__ typedef unsigned __int128 hash_product;

struct hash_seed {
    uint64_t word[4];
};

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

// 17 bytes or more, 16 at a time; the last 16 may overlap those before.
SYNC_INLINE uint64_t hash_long(const struct hash_seed *seed,
                               const unsigned char *p, size_t size) {
    uint64_t s = seed->word[0];
    size_t i;

    for (i = 0; i + 16 < size; i += 16) {
        s = hash_fold(hash_read8(p + i) ^ s,
                      hash_read8(p + i + 8) ^ seed->word[1]);
    }
    s ^= hash_fold(hash_read8(p + size - 16) ^ s,
                   hash_read8(p + size - 8) ^ seed->word[3]);
    return hash_fold(s ^ seed->word[3], size ^ seed->word[2]) | HASH_NOT_ZERO;
}

SYNC_INLINE uint64_t hash_key(const struct hash_seed *seed, const void *key,
                              size_t size) {
    const unsigned char *p = key;
    uint64_t a = 0, b = 0;

    if (SYNC_UNLIKELY(size > 16)) {
        return hash_long(seed, p, size);
    }
    if (SYNC_LIKELY(size >= 8)) {
        a = hash_read8(p);
        b = hash_read8(p + size - 8);
    } else if (size >= 4) {
        a = hash_read4(p);
        b = hash_read4(p + size - 4);
    } else if (size > 0) {
        a = (uint64_t)p[0] << 16 | (uint64_t)p[size >> 1] << 8 | p[size - 1];
    }
    a = hash_fold(a ^ seed->word[0], b ^ seed->word[1]);
    // The second product needs no other word but for sizes: 16 is free.
    return hash_fold(a, size ^ 16 ^ seed->word[2]) | HASH_NOT_ZERO;
}

// The number of the bucket is the lower bits of this.
SYNC_INLINE uint64_t hash_bucket(uint64_t hash) {
    return hash >> HASH_BUCKET_SHIFT | hash << (64 - HASH_BUCKET_SHIFT);
}

// Whether two keys of the same size are equal.
SYNC_INLINE int hash_equal_bytes(const unsigned char *a, const unsigned char *b,
                                 size_t size) {
    size_t i;

    if (SYNC_LIKELY(size >= 16)) {
        uint64_t d = 0;
        for (i = 0; i + 16 < size; i += 16) {
            d |= hash_read8(a + i) ^ hash_read8(b + i);
            d |= hash_read8(a + i + 8) ^ hash_read8(b + i + 8);
        }
        d |= hash_read8(a + size - 16) ^ hash_read8(b + size - 16);
        d |= hash_read8(a + size - 8) ^ hash_read8(b + size - 8);
        return d == 0;
    }
    if (size >= 8) {
        return ((hash_read8(a) ^ hash_read8(b)) |
                (hash_read8(a + size - 8) ^ hash_read8(b + size - 8))) == 0;
    }
    for (i = 0; i < size; i++) {
        if (a[i] != b[i]) {
            return 0;
        }
    }
    return 1;
}

#endif  // MEMO_MEMO_HASH_H_
