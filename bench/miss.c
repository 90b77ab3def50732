// What does a miss cost, with a load that costs nothing?  New keys into a cache
// that grows, and keys that were just forgotten in one that doesn't; new keys into
// a cache that is full.  The same with a time to live.
//
//     miss [--keys N] [--only TEXT] [--json FILE]
//
// Wall time of single calls; the clock's own, about 20 to 50 ns, is in it.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "memo/memo.h"

#define VALUE_SIZE 64

struct worker {
    struct memo *memo;
    struct bench_keys keys;
    size_t first, last;
    int again;
    uint32_t *ns;
    pthread_barrier_t *barrier;
};

static int load(void *arg, struct memo_load *l) {
    (void)arg;
    return memo_load_reserve(l, VALUE_SIZE) != NULL ? 0 : MEMO_ENOMEM;
}

static void *work(void *arg) {
    struct worker *w = arg;
    size_t i;

    pthread_barrier_wait(w->barrier);
    for (i = w->first; i < w->last; i++) {
        size_t size;
        const void *key = bench_key(&w->keys, i, &size);
        struct memo_value v;
        int64_t begin, ns;
        if (w->again && memo_invalidate(w->memo, key, size) != 0) {
            abort();
        }
        begin = bench_now_ns();
        if (memo_get(w->memo, key, size, &v) != 0) {
            abort();
        }
        memo_release(&v);
        ns = bench_now_ns() - begin;
        w->ns[i] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    }
    return NULL;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void measure(struct worker base, const char *what, const char *with,
                    int threads, FILE *json) {
    size_t n = base.keys.n;
    struct worker w[2];
    pthread_t thread[2];
    pthread_barrier_t barrier;
    double sum = 0;
    size_t i;
    int t;

    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    base.barrier = &barrier;
    for (t = 0; t < threads; t++) {
        w[t] = base;
        w[t].first = n / (size_t)threads * (size_t)t;
        w[t].last = t + 1 == threads ? n : n / (size_t)threads;
        pthread_create(&thread[t], NULL, work, &w[t]);
    }
    for (t = 0; t < threads; t++) {
        pthread_join(thread[t], NULL);
    }
    pthread_barrier_destroy(&barrier);
    qsort(base.ns, n, sizeof(*base.ns), by_value);
    for (i = 0; i < n; i++) {
        sum += base.ns[i];
    }
    printf("miss %-9s %-8s %d  mean %.0f  p50 %u  p99 %u  p99.9 %u ns  "
           "slowest %.1f us\n",
           what, with, threads, sum / (double)n, base.ns[n / 2],
           base.ns[n / 100 * 99], base.ns[n / 1000 * 999], base.ns[n - 1] / 1e3);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"miss\",\"system\":\"memo\",\"op\":\"%s%s%s\","
                "\"threads\":%d,\"keys\":%zu,\"p50_ns\":%u,\"p99_ns\":%u,"
                "\"p999_ns\":%u,\"slowest_us\":%.1f}\n",
                what, *with == 0 ? "" : ", ", with, threads, n, base.ns[n / 2],
                base.ns[n / 100 * 99],
                base.ns[n / 1000 * 999], base.ns[n - 1] / 1e3);
    }
}

// A full one has room for a fourth of the keys.
static int measure_one(struct worker w, int threads, int ttl, int full,
                       const char *only, FILE *json) {
    static const char *const names[][2] = {{"", "full"}, {"TTL", "TTL full"}};
    const char *name = names[ttl][full];
    struct memo_options options = {.size = sizeof(options), .load = load};

    if (strstr(name, only) == NULL) {
        return 0;
    }
    options.ttl_ns = ttl ? INT64_C(86400) * 1000000000 : 0;
    options.max_entries = full ? w.keys.n / 4 : 0;
    if (memo_new(&options, &w.memo) != 0) {
        return 1;
    }
    w.again = 0;
    measure(w, "new", name, threads, json);
    w.again = 1;
    if (!full) {
        measure(w, "forgotten", name, threads, json);
    }
    memo_free(w.memo);
    return 0;
}

int main(int argc, char **argv) {
    size_t keys = (size_t)1 << 20;
    FILE *json = NULL;
    const char *only = "";
    const struct bench_option known[] = {{"--keys", .number = &keys},
                                         {"--only", .text = &only},
                                         {"--json", .file = &json},
                                         {.name = NULL}};
    struct worker w = {0};
    int threads, ttl, full;

    if (bench_options(argc, argv, 1, known) != argc || keys < 1000) {
        fprintf(stderr,
                "usage: miss [--keys N, at least 1000] [--only TEXT] "
                "[--json FILE]\n");
        return 2;
    }
    w.keys = bench_keys_k16(keys);
    w.ns = malloc(keys * sizeof(*w.ns));
    if (w.ns == NULL) {
        return 1;
    }
    for (threads = 1; threads <= 2; threads++) {
        for (ttl = 0; ttl < 2; ttl++) {
            for (full = 0; full < 2; full++) {
                if (measure_one(w, threads, ttl, full, only, json) != 0) {
                    return 1;
                }
            }
        }
    }
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
