// The floor: what a hit would cost if nothing had to be protected, copied or
// counted.  A bare probe; one thread may write, and then any number may read.
#ifndef MEMO_BENCH_FLOOR_H_
#define MEMO_BENCH_FLOOR_H_

#include <stdlib.h>

#include "bench/value.h"

struct floor_entry {
    uint32_t key_size;
    uint32_t value_size;
    unsigned char bytes[];  // key, padding, value at a multiple of 16
};

// Linear probing at a load of one half over words of 16 bits of the hash and
// the entry's address.
struct floor_table {
    uint64_t *slot;
    uint64_t mask;
};

static inline size_t floor_value_offset(size_t key_size) {
    return (8 + key_size + 15) / 16 * 16 - 8;
}

static inline void floor_insert(struct floor_table *t, const void *key,
                                size_t size) {
    uint64_t h = bench_hash(key, size), i = (h >> 16) & t->mask;
    struct floor_entry *e = malloc(sizeof(*e) + size + 32 + VALUE_SIZE);

    if (e == NULL) {
        exit(1);
    }
    e->key_size = (uint32_t)size;
    e->value_size = VALUE_SIZE;
    memcpy(e->bytes, key, size);
    make_value(key, size, e->bytes + floor_value_offset(size));
    while (t->slot[i] != 0) {
        i = (i + 1) & t->mask;
    }
    t->slot[i] = (h & UINT64_C(0xffff) << 48) | (uint64_t)(uintptr_t)e;
}

static inline int same_bytes(const unsigned char *a, const unsigned char *b,
                             size_t size) {
    uint64_t d = 0;
    size_t i;

    for (i = 0; i + 16 < size; i += 16) {
        d |= (read8(a + i) ^ read8(b + i)) |
             (read8(a + i + 8) ^ read8(b + i + 8));
    }
    d |= read8(a + size - 16) ^ read8(b + size - 16);
    d |= read8(a + size - 8) ^ read8(b + size - 8);
    return d == 0;
}

static inline const struct floor_entry *floor_find(const struct floor_table *t,
                                                   const void *key,
                                                   size_t size) {
    uint64_t h = bench_hash(key, size), i = (h >> 16) & t->mask;

    for (;; i = (i + 1) & t->mask) {
        uint64_t x = t->slot[i] ^ (h & UINT64_C(0xffff) << 48);
        const struct floor_entry *e = (const struct floor_entry *)(uintptr_t)x;
        if (__builtin_expect(x >> 48 == 0, 1)) {
            if (x != 0 && e->key_size == size &&
                same_bytes(e->bytes, key, size)) {
                return e;
            }
        }
        if (t->slot[i] == 0) {
            return NULL;
        }
    }
}

#endif  // MEMO_BENCH_FLOOR_H_
