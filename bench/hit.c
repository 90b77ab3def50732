// What does a hit cost?  As a ratio to the floor: a bare single-threaded probe
// of the same keys, which protects nothing, copies nothing and counts nothing.
//
//     hit [--keys N] [--rounds N] [--only k16/hot/1] [--json FILE]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "memo/memo.h"

#define VALUE_SIZE 64
#define STREAM ((size_t)1 << 21)

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

struct setup {
    struct bench_keys keys;
    uint32_t *stream[2];
    // Keys in the order of the stream, so that reading them costs no miss.
    unsigned char *key_stream[2];
    struct floor_table floor;
    struct memo *memo;
};

__extension__ typedef unsigned __int128 u128;

static uint64_t fold(uint64_t a, uint64_t b) {
    u128 r = (u128)a * b;

    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static uint64_t read8(const void *p) {
    uint64_t x;

    memcpy(&x, p, 8);
    return x;
}

// The same work per key as memo's hash.
static inline uint64_t floor_hash(const unsigned char *p, size_t size) {
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

static uint64_t sum_of(const void *value) {
    const unsigned char *p = value;
    uint64_t sum = 0;
    int i;

    for (i = 0; i < VALUE_SIZE / 8; i++) {
        sum += read8(p + 8 * i);
    }
    return sum;
}

static void make_value(const void *key, size_t size, void *value) {
    uint64_t state = floor_hash(key, size);
    int i;

    for (i = 0; i < VALUE_SIZE / 8; i++) {
        uint64_t x = bench_random(&state);
        memcpy((unsigned char *)value + 8 * i, &x, 8);
    }
}

static size_t floor_value_offset(size_t key_size) {
    return (8 + key_size + 15) / 16 * 16 - 8;
}

static void floor_insert(struct floor_table *t, const void *key, size_t size) {
    uint64_t h = floor_hash(key, size), i = (h >> 16) & t->mask;
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
        d |= (read8(a + i) ^ read8(b + i)) | (read8(a + i + 8) ^ read8(b + i + 8));
    }
    d |= read8(a + size - 16) ^ read8(b + size - 16);
    d |= read8(a + size - 8) ^ read8(b + size - 8);
    return d == 0;
}

static inline const struct floor_entry *floor_find(const struct floor_table *t,
                                                   const void *key,
                                                   size_t size) {
    uint64_t h = floor_hash(key, size), i = (h >> 16) & t->mask;

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

static uint64_t run_floor(void *state, int t, size_t offset, size_t n) {
    struct setup *s = state;
    size_t stride = s->keys.stride, i;
    const unsigned char *key = s->key_stream[t] + offset * stride;
    uint64_t sum = 0;

    for (i = 0; i < n; i++, key += stride) {
        size_t size = stride == 16 ? 16 : key[63];
        const struct floor_entry *e = floor_find(&s->floor, key, size);
        sum += sum_of(e->bytes + floor_value_offset(size));
    }
    return sum;
}

static uint64_t run_memo(void *state, int t, size_t offset, size_t n) {
    struct setup *s = state;
    size_t stride = s->keys.stride, i;
    const unsigned char *key = s->key_stream[t] + offset * stride;
    uint64_t sum = 0;

    for (i = 0; i < n; i++, key += stride) {
        size_t size = stride == 16 ? 16 : key[63];
        struct memo_value v;
        if (memo_get(s->memo, key, size, &v) != 0) {
            abort();
        }
        sum += sum_of(v.data);
        memo_release(&v);
    }
    return sum;
}

static int load(void *arg, struct memo_load *l) {
    unsigned char value[VALUE_SIZE];
    size_t size;
    const void *key = memo_load_key(l, &size);

    (void)arg;
    make_value(key, size, value);
    return memo_load_return(l, value, sizeof(value));
}

static void fill(struct setup *s, size_t n_keys) {
    struct memo_options options = {.size = sizeof(options), .load = load};
    size_t slots = 1, i;

    while (slots < 2 * n_keys) {
        slots *= 2;
    }
    s->floor.slot = calloc(slots, sizeof(uint64_t));
    s->floor.mask = slots - 1;
    if (s->floor.slot == NULL || memo_new(&options, &s->memo) != 0) {
        exit(1);
    }
    for (i = 0; i < n_keys; i++) {
        size_t size;
        const void *key = bench_key(&s->keys, i, &size);
        floor_insert(&s->floor, key, size);
    }
    // Several times, so that every use counter is saturated.
    for (i = 0; i < 5 * n_keys; i++) {
        struct memo_value v;
        size_t size;
        const void *key = bench_key(&s->keys, i % n_keys, &size);
        if (memo_get(s->memo, key, size, &v) != 0) {
            exit(1);
        }
        memo_release(&v);
    }
}

static void make_streams(struct setup *s, const char *pattern) {
    size_t stride = s->keys.stride, i;
    int t;

    for (t = 0; t < 2; t++) {
        free(s->stream[t]);
        free(s->key_stream[t]);
        s->stream[t] =
            bench_stream(pattern, STREAM, s->keys.n, (uint64_t)t + 1);
        s->key_stream[t] = malloc(STREAM * stride);
        for (i = 0; i < STREAM; i++) {
            memcpy(s->key_stream[t] + i * stride,
                   s->keys.bytes + s->stream[t][i] * stride, stride);
        }
    }
}

int main(int argc, char **argv) {
    static const char *const patterns[] = {"uniform", "zipf", "hot"};
    size_t n_keys = (size_t)1 << 20;
    int rounds = 41, i, p, threads, kind;
    const char *only = "";
    FILE *json = NULL;

    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--keys") == 0) {
            n_keys = strtoul(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--rounds") == 0) {
            rounds = atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--only") == 0) {
            only = argv[i + 1];
        } else if (strcmp(argv[i], "--json") == 0) {
            json = fopen(argv[i + 1], "w");
        }
    }
    if (i != argc || n_keys < 16 || rounds < 1) {
        fprintf(stderr, "usage: hit [--keys N] [--rounds N] [--only TEXT] "
                "[--json FILE]\n");
        return 2;
    }
    for (kind = 0; kind < 2; kind++) {
        struct setup s = {.keys = kind == 0 ? bench_keys_k16(n_keys)
                                            : bench_keys_url(n_keys)};
        fill(&s, n_keys);
        for (p = 0; p < 3; p++) {
            make_streams(&s, patterns[p]);
            for (threads = 1; threads <= 2; threads++) {
                struct bench_system systems[] = {
                    {"floor", run_floor, &s, 0},
                    {"memo_get+release", run_memo, &s, 0},
                };
                char title[64];
                snprintf(title, sizeof(title), "hit/%s/%s/%d", s.keys.name,
                         patterns[p], threads);
                if (strstr(title, only) == NULL) {
                    continue;
                }
                bench_compare(title, systems, 2, threads, rounds,
                              strcmp(patterns[p], "hot") == 0 ? 200000 : 32768,
                              STREAM, json);
            }
        }
        memo_free(s.memo);
    }
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
