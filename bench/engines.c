// Which engine when?  Both do the same, so each question is put to both in turn:
//
//   miss      a get of a new key with a trivial load, two threads
//   destroy   a get, and the invalidation and release of what it got, which has a
//             slow destructor (0.5 ms); every 2 ms, two threads: who pays for it?
//   message   invalidations of absent keys by one thread: the bare round trip
//   waiters   asynchronous waits on one flight: bytes each, ns to join, and time
//             until the last was called
//   wake      threads blocked on one flight: time until the last is awake
//
//     engines [--ops N] [--waiters N] [--threads N] [--json FILE]
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "memo/memo.h"

#define WORKERS 2
#define DESTRUCTOR_NS 500000

struct run {
    struct memo *memo;
    size_t ops;
    int destroys;
    int64_t *ns[WORKERS];
    struct memo_load *volatile held;  // a load that waits to be finished
    size_t answered;
    int64_t last_ns;
};

static FILE *json;

static void destroy_slowly(void *arg, void *data, size_t size) {
    int64_t end = bench_now_ns() + DESTRUCTOR_NS;

    (void)arg;
    (void)size;
    while (bench_now_ns() < end) {
    }
    free(data);
}

static int load(void *arg, struct memo_load *l) {
    struct run *r = arg;
    size_t size;
    const void *key = memo_load_key(l, &size);

    if (size == 4 && memcmp(key, "held", 4) == 0) {
        __atomic_store_n(&r->held, l, __ATOMIC_RELEASE);
        return MEMO_PENDING;
    }
    if (r->destroys) {
        return memo_load_adopt(l, calloc(1, 64), 64, destroy_slowly, NULL);
    }
    return memo_load_return(l, key, size);
}

// A counting allocator: what does a waiter cost?
static size_t allocated;

static void *count_alloc(void *state, size_t size) {
    (void)state;
    __atomic_add_fetch(&allocated, size, __ATOMIC_RELAXED);
    return malloc(size);
}

static void count_free(void *state, void *p, size_t size) {
    (void)state;
    __atomic_sub_fetch(&allocated, size, __ATOMIC_RELAXED);
    free(p);
}

static void open_cache(struct run *r, enum memo_engine engine) {
    const struct memo_allocator counting = {.alloc = count_alloc,
                                            .free = count_free};
    struct memo_options options = {.size = sizeof(options),
                                   .load = load,
                                   .load_arg = r,
                                   .allocator = &counting,
                                   .engine = engine};

    if (memo_new(&options, &r->memo) != 0) {
        fprintf(stderr, "engines: can't make a cache\n");
        exit(1);
    }
}

static void say(const char *engine, const char *what, double value,
                const char *unit) {
    printf("%-8s %-22s %12.1f %s\n", engine, what, value, unit);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"engines\",\"engine\":\"%s\",\"what\":\"%s\","
                "\"value\":%.1f,\"unit\":\"%s\"}\n",
                engine, what, value, unit);
    }
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void say_percentiles(struct run *r, const char *engine,
                            const char *what) {
    size_t n = WORKERS * r->ops;
    int64_t *all = malloc(n * sizeof(*all));
    char name[64];
    int w, i;
    static const struct {
        const char *name;
        double share;
    } p[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}};

    for (w = 0; w < WORKERS; w++) {
        memcpy(all + (size_t)w * r->ops, r->ns[w], r->ops * sizeof(*all));
    }
    qsort(all, n, sizeof(*all), by_value);
    for (i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s %s", what, p[i].name);
        say(engine, name, (double)all[(size_t)((double)(n - 1) * p[i].share)],
            "ns");
    }
    free(all);
}

struct worker {
    struct run *run;
    int number;
};

static void *get_new_keys(void *arg) {
    struct worker *w = arg;
    struct run *r = w->run;
    size_t i;

    for (i = 0; i < r->ops; i++) {
        uint64_t key[2] = {r->destroys ? i % 8 : i, (uint64_t)w->number};
        struct memo_value v;
        int64_t begin;
        if (r->destroys) {
            // Not as fast as can be: requests come one by one.
            struct timespec nap = {0, 2000000};
            (void)memo_invalidate(r->memo, key, sizeof(key));
            nanosleep(&nap, NULL);
        }
        begin = bench_now_ns();
        if (memo_get(r->memo, key, sizeof(key), &v) != 0) {
            abort();
        }
        if (r->destroys) {
            // The value goes while it is held, as under eviction, so whoever
            // reclaims it later pays.
            (void)memo_invalidate(r->memo, key, sizeof(key));
        }
        memo_release(&v);
        r->ns[w->number][i] = bench_now_ns() - begin;
    }
    return NULL;
}

static void misses(struct run *r, const char *engine, const char *what) {
    struct worker w[WORKERS];
    pthread_t thread[WORKERS];
    int i;

    for (i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){r, i};
        r->ns[i] = calloc(r->ops, sizeof(int64_t));
        pthread_create(&thread[i], NULL, get_new_keys, &w[i]);
    }
    for (i = 0; i < WORKERS; i++) {
        pthread_join(thread[i], NULL);
    }
    say_percentiles(r, engine, what);
    for (i = 0; i < WORKERS; i++) {
        free(r->ns[i]);
    }
}

static void messages(struct run *r, const char *engine) {
    int64_t begin = bench_now_ns();
    size_t i;

    for (i = 0; i < r->ops; i++) {
        (void)memo_invalidate(r->memo, "absent", 6);
    }
    say(engine, "message", (double)r->ops * 1e9 / (double)(bench_now_ns() - begin),
        "per second");
}

static void answered(void *arg, int error, struct memo_value *v) {
    struct run *r = arg;

    (void)error;
    memo_release(v);
    r->answered++;
}

// End the load of "held"; return when it began to.
static int64_t finish_held(struct run *r) {
    struct memo_load *l = __atomic_load_n(&r->held, __ATOMIC_ACQUIRE);
    int64_t begin = bench_now_ns();

    (void)memo_load_return(l, "v", 1);
    (void)memo_load_finish(l, 0);
    return begin;
}

static void async_waiters(struct run *r, const char *engine, size_t n) {
    size_t before, i;
    int64_t begin;

    (void)memo_get_async(r->memo, "held", 4, NULL, answered, r, NULL);
    before = allocated;
    begin = bench_now_ns();
    for (i = 0; i < n; i++) {
        if (memo_get_async(r->memo, "held", 4, NULL, answered, r, NULL) != 0) {
            abort();
        }
    }
    say(engine, "waiters join", (double)(bench_now_ns() - begin) / (double)n,
        "ns each");
    say(engine, "waiters memory", (double)(allocated - before) / (double)n,
        "bytes each");
    begin = finish_held(r);
    say(engine, "waiters called", (double)(bench_now_ns() - begin) / 1e3,
        "us for all");
    if (r->answered != n + 1) {
        abort();
    }
    (void)memo_invalidate(r->memo, "held", 4);
}

static void *block(void *arg) {
    struct run *r = arg;
    struct memo_value v;
    int64_t now;

    if (memo_get(r->memo, "held", 4, &v) != 0) {
        abort();
    }
    now = bench_now_ns();
    if (now > __atomic_load_n(&r->last_ns, __ATOMIC_RELAXED)) {
        __atomic_store_n(&r->last_ns, now, __ATOMIC_RELAXED);
    }
    memo_release(&v);
    return NULL;
}

static void blocked_threads(struct run *r, const char *engine, size_t n) {
    pthread_t *thread = malloc(n * sizeof(*thread));
    struct memo_stats stats = {.size = sizeof(stats)};
    pthread_attr_t attr;
    uint64_t joins;
    int64_t begin, returned;
    size_t i;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    (void)memo_stats(r->memo, &stats);
    joins = stats.joins;
    for (i = 0; i < n; i++) {
        if (pthread_create(&thread[i], &attr, block, r) != 0) {
            n = i;
        }
    }
    while (stats.joins < joins + n - 1) {
        struct timespec nap = {0, 1000000};
        nanosleep(&nap, NULL);
        (void)memo_stats(r->memo, &stats);
    }
    begin = finish_held(r);
    returned = bench_now_ns();
    for (i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
    }
    say(engine, "wake: who ends is free", (double)(returned - begin) / 1e3,
        "us");
    say(engine, "wake: last is awake", (double)(r->last_ns - begin) / 1e6, "ms");
    free(thread);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        enum memo_engine engine;
    } engines[] = {{"lock", MEMO_ENGINE_LOCK}, {"monitor", MEMO_ENGINE_MONITOR}};
    size_t ops = 50000, waiters = 100000, threads = 10000;
    int i;

    for (i = 1; i + 1 < argc; i += 2) {
        size_t n = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--ops") == 0 && n > 0) {
            ops = n;
        } else if (strcmp(argv[i], "--waiters") == 0 && n > 0) {
            waiters = n;
        } else if (strcmp(argv[i], "--threads") == 0 && n > 1) {
            threads = n;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = fopen(argv[i + 1], "w");
        } else {
            break;
        }
    }
    if (i != argc) {
        fprintf(stderr, "usage: engines [--ops N] [--waiters N] [--threads N] "
                        "[--json FILE]\n");
        return 2;
    }
    for (i = 0; i < 2; i++) {
        struct run r = {.ops = ops};
        open_cache(&r, engines[i].engine);
        misses(&r, engines[i].name, "miss");
        messages(&r, engines[i].name);
        async_waiters(&r, engines[i].name, waiters);
        blocked_threads(&r, engines[i].name, threads);
        r.destroys = 1;
        r.ops = ops / 50 + 1;
        misses(&r, engines[i].name, "destroy");
        memo_free(r.memo);
    }
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
