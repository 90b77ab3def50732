// What does a hit cost?  As a ratio to the floor: a bare single-threaded probe
// of the same keys, which protects nothing, copies nothing and counts nothing.
// By one call a key, without and with a time to live; by one call for 16 or 64.
//
//     hit [--keys N] [--rounds N] [--only k16/hot/1] [--json FILE]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/floor.h"
#include "bench/load.h"
#include "memo/memo.h"

#define STREAM ((size_t)1 << 21)
#define MOST_AT_ONCE 64

struct setup {
    struct bench_keys keys;
    uint32_t *stream[2];
    // Keys in the order of the stream, so that reading them costs no miss.
    unsigned char *key_stream[2];
    struct floor_table floor;
    struct memo *memo, *with_ttl;
};

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

static inline uint64_t run(struct memo *m, const struct setup *s, int t,
                     size_t offset, size_t n) {
    size_t stride = s->keys.stride, i;
    const unsigned char *key = s->key_stream[t] + offset * stride;
    uint64_t sum = 0;

    for (i = 0; i < n; i++, key += stride) {
        size_t size = stride == 16 ? 16 : key[63];
        struct memo_value v;
        if (memo_get(m, key, size, &v) != 0) {
            abort();
        }
        sum += sum_of(v.data);
        memo_release(&v);
    }
    return sum;
}

static uint64_t run_memo(void *state, int t, size_t offset, size_t n) {
    struct setup *s = state;

    return run(s->memo, s, t, offset, n);
}

static uint64_t run_ttl(void *state, int t, size_t offset, size_t n) {
    struct setup *s = state;

    return run(s->with_ttl, s, t, offset, n);
}

// at_once keys a call.
static uint64_t run_many(const struct setup *s, int t, size_t offset, size_t n,
                         size_t at_once) {
    size_t stride = s->keys.stride, i, k;
    const unsigned char *key = s->key_stream[t] + offset * stride;
    struct memo_bytes keys[MOST_AT_ONCE];
    struct memo_value values[MOST_AT_ONCE];
    int errors[MOST_AT_ONCE];
    uint64_t sum = 0;

    for (i = 0; i < n; i += at_once) {
        size_t some = n - i < at_once ? n - i : at_once;
        for (k = 0; k < some; k++, key += stride) {
            keys[k].data = key;
            keys[k].size = stride == 16 ? 16 : key[63];
        }
        if (memo_get_many(s->memo, keys, some, NULL, values, errors) != 0) {
            abort();
        }
        for (k = 0; k < some; k++) {
            sum += sum_of(values[k].data);
            memo_release(&values[k]);
        }
    }
    return sum;
}

static uint64_t run_many_16(void *state, int t, size_t offset, size_t n) {
    return run_many(state, t, offset, n, 16);
}

static uint64_t run_many_64(void *state, int t, size_t offset, size_t n) {
    return run_many(state, t, offset, n, 64);
}

// Several times, so that every use counter is saturated.
static void fill_memo(const struct setup *s, struct memo *m) {
    size_t i;

    for (i = 0; i < 5 * s->keys.n; i++) {
        struct memo_value v;
        size_t size;
        const void *key = bench_key(&s->keys, i % s->keys.n, &size);
        if (memo_get(m, key, size, &v) != 0) {
            exit(1);
        }
        memo_release(&v);
    }
}

static void fill(struct setup *s, size_t n_keys) {
    struct memo_options options = {.size = sizeof(options), .load = bench_load};
    struct memo_options ttl = options;
    size_t slots = 1, i;

    while (slots < 2 * n_keys) {
        slots *= 2;
    }
    s->floor.slot = calloc(slots, sizeof(uint64_t));
    s->floor.mask = slots - 1;
    ttl.ttl_ns = INT64_C(86400) * 1000000000;
    if (s->floor.slot == NULL || memo_new(&options, &s->memo) != 0 ||
        memo_new(&ttl, &s->with_ttl) != 0) {
        exit(1);
    }
    for (i = 0; i < n_keys; i++) {
        size_t size;
        const void *key = bench_key(&s->keys, i, &size);
        floor_insert(&s->floor, key, size);
    }
    fill_memo(s, s->memo);
    fill_memo(s, s->with_ttl);
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
    int rounds = 41, p, threads, kind;
    const char *only = "";
    FILE *json = NULL;
    const struct bench_option known[] = {{"--keys", .number = &n_keys},
                                         {"--rounds", .integer = &rounds},
                                         {"--only", .text = &only},
                                         {"--json", .file = &json},
                                         {.name = NULL}};

    if (bench_options(argc, argv, 1, known) != argc || n_keys < 16 ||
        rounds < 1) {
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
                    {"floor", run_floor, &s, 0, 0},
                    {"memo_get+release", run_memo, &s, 0, 0},
                    {"memo_get+release, TTL", run_ttl, &s, 0, 0},
                    {"memo_get_many of 16", run_many_16, &s, 0, 0},
                    {"memo_get_many of 64", run_many_64, &s, 0, 0},
                };
                char title[64];
                snprintf(title, sizeof(title), "hit/%s/%s/%d", s.keys.name,
                         patterns[p], threads);
                if (strstr(title, only) == NULL) {
                    continue;
                }
                bench_compare(title, systems,
                              sizeof(systems) / sizeof(systems[0]), threads, rounds,
                              strcmp(patterns[p], "hot") == 0 ? 200000 : 32768,
                              STREAM, json);
            }
        }
        memo_free(s.memo);
        memo_free(s.with_ttl);
    }
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
