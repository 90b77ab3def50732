// A cache that is used and changed at once: threads get keys (zipf 0.99), and
// every so often forget one or replace its value.  How long an operation takes,
// and whether what is no longer resident is given back: memory must not grow
// from one second to the next.
//
//     churn [--keys N] [--ops N] [--json FILE]
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench.h"
#include "memo/memo.h"

#define VALUE_SIZE 64
#define STREAM ((size_t)1 << 20)
#define PARTS 8

struct worker {
    struct memo *memo;
    struct bench_keys keys;
    uint32_t *stream;
    size_t ops;
    unsigned writes;  // in 1000 operations
    int64_t ns;
    uint64_t retired_most;
    int t;
};

static int load(void *arg, struct memo_load *l) {
    (void)arg;
    return memo_load_reserve(l, VALUE_SIZE) != NULL ? 0 : MEMO_ENOMEM;
}

static void get(struct worker *w, const void *key, size_t size) {
    struct memo_value v;

    if (memo_get(w->memo, key, size, &v) != 0) {
        abort();
    }
    memo_release(&v);
}

static void change(struct worker *w, const void *key, size_t size, int put) {
    static const char value[VALUE_SIZE];

    if ((put ? memo_put(w->memo, key, size, value, sizeof(value))
             : memo_invalidate(w->memo, key, size)) != 0) {
        abort();
    }
}

static void *work(void *arg) {
    struct worker *w = arg;
    uint64_t random = (uint64_t)w->t + 5;
    int64_t begin = bench_now_ns();
    size_t i;

    for (i = 0; i < w->ops; i++) {
        uint64_t x = bench_random(&random);
        size_t size;
        const void *key = bench_key(&w->keys, w->stream[i % STREAM], &size);
        if (x % 1000 < w->writes) {
            change(w, key, size, (x >> 32 & 1) != 0);
        } else {
            get(w, key, size);
        }
        if (i % 65536 == 0) {
            struct memo_stats stats = {.size = sizeof(stats)};
            memo_stats(w->memo, &stats);
            if (stats.retired > w->retired_most) {
                w->retired_most = stats.retired;
            }
        }
    }
    w->ns = bench_now_ns() - begin;
    return NULL;
}

static double resident_mib(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    long size = 0, resident = 0;

    if (f != NULL) {
        if (fscanf(f, "%ld %ld", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 0x1p20;
}

// One configuration: PARTS times the operations, and after the first of them,
// when every key has been used, memory is compared.
static void measure(struct worker base, int threads, unsigned writes,
                    FILE *json) {
    struct worker w[2];
    pthread_t thread[2];
    double early = 0, ns = 0;
    uint64_t retired = 0;
    int part, t;

    for (part = 0; part < PARTS; part++) {
        for (t = 0; t < threads; t++) {
            w[t] = base;
            w[t].t = t;
            w[t].writes = writes;
            w[t].stream = base.stream + (size_t)t * STREAM;
            pthread_create(&thread[t], NULL, work, &w[t]);
        }
        for (t = 0; t < threads; t++) {
            pthread_join(thread[t], NULL);
            ns += (double)w[t].ns / (double)base.ops / threads / PARTS;
            retired = w[t].retired_most > retired ? w[t].retired_most : retired;
        }
        if (part == 1) {
            early = resident_mib();
        }
    }
    printf(
        "churn %4.1f %% writes  %d  %7.1f ns an operation  at most %llu "
        "values retired  resident %.1f MiB, then %.1f MiB\n",
        writes / 10., threads, ns, (unsigned long long)retired, early,
        resident_mib());
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"churn\",\"system\":\"memo\",\"threads\":%d,"
                "\"writes_per_mille\":%u,\"keys\":%zu,\"ns\":%.2f,"
                "\"retired_most\":%llu,\"early_mib\":%.1f,\"late_mib\":%.1f}\n",
                threads, writes, base.keys.n, ns, (unsigned long long)retired,
                early, resident_mib());
    }
}

int main(int argc, char **argv) {
    static const unsigned writes[] = {1, 10, 100, 500};
    struct memo_options options = {.size = sizeof(options), .load = load};
    size_t keys = (size_t)1 << 20, w_i;
    struct worker w = {.ops = 500000};
    FILE *json = NULL;
    const struct bench_option known[] = {{"--keys", .number = &keys},
                                         {"--ops", .number = &w.ops},
                                         {"--json", .file = &json},
                                         {.name = NULL}};
    int threads;

    if (bench_options(argc, argv, 1, known) != argc || keys < 16 || w.ops < 1) {
        fprintf(stderr, "usage: churn [--keys N] [--ops N] [--json FILE]\n");
        return 2;
    }
    w.keys = bench_keys_k16(keys);
    w.stream = bench_stream("zipf", 2 * STREAM, keys, 1);
    for (threads = 1; threads <= 2; threads++) {
        for (w_i = 0; w_i < sizeof(writes) / sizeof(*writes); w_i++) {
            if (memo_new(&options, &w.memo) != 0) {
                return 1;
            }
            measure(w, threads, writes[w_i], json);
            memo_check(w.memo);
            memo_free(w.memo);
        }
    }
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
