// The values that every benchmark gives its keys, their checksum, and a hash
// for tables that bring none: the same work per key as memo's.
#ifndef MEMO_BENCH_VALUE_H_
#define MEMO_BENCH_VALUE_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bench/bench.h"

#define VALUE_SIZE 64

__extension__ typedef unsigned __int128 u128;

static inline uint64_t fold(uint64_t a, uint64_t b) {
    u128 r = (u128)a * b;

    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static inline uint64_t read8(const void *p) {
    uint64_t x;

    memcpy(&x, p, 8);
    return x;
}

static inline uint64_t bench_hash(const unsigned char *p, size_t size) {
    const uint64_t k0 = UINT64_C(0xa0761d6478bd642f);
    const uint64_t k1 = UINT64_C(0xe7037ed1a0b428db);
    uint64_t h = k0;
    size_t i;

    if (size == 16) {
        return fold(fold(read8(p) ^ k0, read8(p + 8) ^ k1) ^ k1, size ^ k0);
    }
    for (i = 0; i + 16 < size; i += 16) {
        h = fold(read8(p + i) ^ h, read8(p + i + 8) ^ k1);
    }
    h ^= fold(read8(p + size - 16) ^ h, read8(p + size - 8) ^ k0);
    return fold(h ^ k1, size ^ k0);
}

static inline uint64_t sum_of(const void *value) {
    const unsigned char *p = (const unsigned char *)value;
    uint64_t sum = 0;
    int i;

    for (i = 0; i < VALUE_SIZE / 8; i++) {
        sum += read8(p + 8 * i);
    }
    return sum;
}

static inline void make_value(const void *key, size_t size, void *value) {
    uint64_t state = bench_hash((const unsigned char *)key, size);
    int i;

    for (i = 0; i < VALUE_SIZE / 8; i++) {
        uint64_t x = bench_random(&state);
        memcpy((unsigned char *)value + 8 * i, &x, 8);
    }
}

#endif  // MEMO_BENCH_VALUE_H_
