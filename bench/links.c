// What do tags and dependencies cost?  Hits on values with links, beside hits on
// values without; their memory; and how long it takes to invalidate one tag that
// all keys have.
//
//     links [--keys N] [--json FILE]
//
// Hits are among 1000 keys of 16 bytes, which stay in the processor's cache.  The
// rest is in a cache of N keys, each with two tags: that of all, and its own.
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "memo/memo.h"

#define HOT 1000
#define ROUNDS 200
#define OPS 10000

static struct bench_keys keys;
static uint32_t *stream;

// Of a cache: how many tags its values get.
struct tagging {
    int common;  // that are the same for all
    int own;
};

static int load(void *arg, struct memo_load *l) {
    const struct tagging *tags = arg;
    size_t size;
    const void *key = memo_load_key(l, &size);
    int i, error = 0;

    for (i = 0; i < tags->common && error == 0; i++) {
        error = memo_load_add_tag(l, &i, sizeof(i));
    }
    if (tags->own != 0 && error == 0) {
        error = memo_load_add_tag(l, key, size);
    }
    return error == 0 ? bench_load(NULL, l) : error;
}

static struct memo *make(const struct tagging *tags, uint32_t flags) {
    struct memo_options options = {.size = sizeof(options),
                                   .load = load,
                                   .load_arg = (void *)(uintptr_t)tags,
                                   .flags = flags};
    struct memo *m;

    if (memo_new(&options, &m) != 0) {
        fprintf(stderr, "links: out of memory\n");
        exit(1);
    }
    return m;
}

static void get_all(struct memo *m, size_t n) {
    struct memo_value v;
    size_t i, size;

    for (i = 0; i < n; i++) {
        const void *key = bench_key(&keys, i, &size);
        if (memo_get(m, key, size, &v) != 0) {
            fprintf(stderr, "links: out of memory\n");
            exit(1);
        }
        memo_release(&v);
    }
}

// ------------------------------------------------------------------ hits

static uint64_t hits(void *state, int t, size_t offset, size_t n) {
    struct memo *m = state;
    uint64_t sum = 0;
    size_t i, size;

    (void)t;
    for (i = 0; i < n; i++) {
        const void *key = bench_key(&keys, stream[(offset + i) % OPS], &size);
        struct memo_value v;
        if (memo_get(m, key, size, &v) == 0) {
            sum += *(const unsigned char *)v.data;
            memo_release(&v);
        }
    }
    return sum;
}

static void compare_hits(FILE *json) {
    static const struct tagging tags[] = {{0, 0}, {1, 0}, {3, 1}, {15, 1}};
    struct bench_system systems[] = {{.name = "no link"},
                                     {.name = "1 link"},
                                     {.name = "4 links"},
                                     {.name = "16 links"},
                                     {.name = "MEMO_DEPEND_AUTO"}};
    const int n = sizeof(systems) / sizeof(systems[0]);
    int i;

    stream = bench_stream("uniform", OPS, HOT, 1);
    for (i = 0; i < n; i++) {
        struct memo *m = i < n - 1 ? make(&tags[i], 0)
                                   : make(&tags[0], MEMO_DEPEND_AUTO);
        int round;
        for (round = 0; round < 4; round++) {
            get_all(m, HOT);
        }
        systems[i].run = hits;
        systems[i].state = m;
    }
    bench_compare("hit, by the links of the value", systems, n, 1, ROUNDS, OPS,
                  OPS, json);
    for (i = 0; i < n; i++) {
        memo_free(systems[i].state);
    }
    free(stream);
}

// ------------------------------------------------------------------ one tag

static struct memo_stats stats_of(struct memo *m) {
    struct memo_stats stats = {.size = sizeof(stats)};

    (void)memo_stats(m, &stats);
    return stats;
}

// Bytes a value, for keys with so many tags.
static double fill(struct memo *m, double *load_ns) {
    int64_t t0 = bench_cpu_now_ns();
    struct memo_stats stats;

    get_all(m, keys.n);
    *load_ns = (double)(bench_cpu_now_ns() - t0) / (double)keys.n;
    stats = stats_of(m);
    return (double)(stats.bytes + stats.source_bytes) / (double)keys.n;
}

static void invalidate_all(FILE *json) {
    static const struct tagging none = {0, 0}, one = {1, 0}, two = {1, 1};
    struct memo *plain = make(&none, 0), *tagged = make(&one, 0),
                *m = make(&two, 0);
    double ns[3], bytes[3], first_us, sweep_ms;
    int64_t t0, t1;
    int tag = 0;

    bytes[0] = fill(plain, &ns[0]);
    bytes[1] = fill(tagged, &ns[1]);
    bytes[2] = fill(m, &ns[2]);
    memo_free(plain);
    memo_free(tagged);
    t0 = bench_cpu_now_ns();
    (void)memo_invalidate_tag(m, &tag, sizeof(tag));
    t1 = bench_cpu_now_ns();
    first_us = (double)(t1 - t0) / 1e3;
    while (memo_maintain(m, 1) != MEMO_NEVER) {
    }
    sweep_ms = (double)(bench_cpu_now_ns() - t1) / 1e6;
    if (stats_of(m).entries != 0) {
        fprintf(stderr, "links: something is left\n");
        exit(1);
    }
    memo_free(m);
    printf("%zu keys: load and store %.0f ns; %.0f with a tag, %.0f with two\n"
           "  bytes of an entry %.0f; %.0f with a tag that all have, %.0f with one "
           "of its own besides\n"
           "  invalidating the tag of all: %.2f us; to sweep them %.0f ms\n",
           keys.n, ns[0], ns[1], ns[2], bytes[0], bytes[1], bytes[2], first_us,
           sweep_ms);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"links\",\"keys\":%zu,\"load_ns\":[%.0f,%.0f,%.0f],"
                "\"bytes\":[%.0f,%.0f,%.0f],\"invalidate_us\":%.2f,"
                "\"sweep_ms\":%.1f}\n",
                keys.n, ns[0], ns[1], ns[2], bytes[0], bytes[1], bytes[2],
                first_us, sweep_ms);
    }
}

int main(int argc, char **argv) {
    size_t n = 1000000;
    FILE *json = NULL;
    const struct bench_option known[] = {
        {"--keys", .number = &n}, {"--json", .file = &json}, {.name = NULL}};

    if (bench_options(argc, argv, 1, known) != argc || n < HOT) {
        fprintf(stderr, "usage: links [--keys N, at least %d] [--json FILE]\n",
                HOT);
        return 2;
    }
    keys = bench_keys_k16(n);
    compare_hits(json);
    invalidate_all(json);
    if (json != NULL) {
        fclose(json);
    }
    free(keys.bytes);
    return 0;
}
