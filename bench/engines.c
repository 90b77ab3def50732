// Which engine when?  Both do the same, so each question is put to both, and the
// answers stand side by side:
//
//   hit       gets of resident keys, two threads
//   miss      a get of a new key with a trivial load, two threads
//   message   invalidations of absent keys by one thread: the bare round trip
//   request   a get in a cache that is too small, and whose values expire soon and
//             have a slow destructor (0.5 ms); two threads, a request every 2 ms:
//             who pays for what is evicted, expired and destroyed?
//   async     waits on one flight without threads: what each costs
//   wake      threads blocked on one flight: a stampede, and its end
//
//     engines [--ops N] [--waiters N] [--threads N] [--json FILE]
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "memo/memo.h"

#define WORKERS 2
#define DESTRUCTOR_NS 500000

// The cache under requests: room for a quarter of the keys, for a moment.
#define REQUEST_KEYS 256
#define REQUEST_ROOM 32
#define REQUEST_TTL_NS 100000000
#define REQUEST_NAP_NS 2000000

#define HIT_KEYS 1000
#define HITS_PER_OP 20

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

    if (r->destroys) {
        options.max_entries = REQUEST_ROOM;
        options.ttl_ns = REQUEST_TTL_NS;
    }
    if (memo_new(&options, &r->memo) != 0) {
        fprintf(stderr, "engines: can't make a cache\n");
        exit(1);
    }
}

// ------------------------------------------------------------------ answers

#define ENGINES 2
#define ROWS_MOST 40

static const struct {
    const char *name;
    enum memo_engine engine;
} engines[ENGINES] = {{"lock", MEMO_ENGINE_LOCK},
                      {"monitor", MEMO_ENGINE_MONITOR}};

static struct row {
    char what[48];
    const char *unit;
    double value[ENGINES];
} rows[ROWS_MOST];

static void say(int engine, const char *what, double value, const char *unit) {
    int i;

    for (i = 0; rows[i].unit != NULL && strcmp(rows[i].what, what) != 0; i++) {
    }
    snprintf(rows[i].what, sizeof(rows[i].what), "%s", what);
    rows[i].unit = unit;
    rows[i].value[engine] = value;
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"engines\",\"engine\":\"%s\",\"what\":\"%s\","
                "\"value\":%.1f,\"unit\":\"%s\"}\n",
                engines[engine].name, what, value, unit);
    }
}

static void print_rows(void) {
    int i;

    printf("%-30s %12s %12s\n", "", engines[0].name, engines[1].name);
    for (i = 0; rows[i].unit != NULL; i++) {
        printf("%-30s %12.1f %12.1f  %s\n", rows[i].what, rows[i].value[0],
               rows[i].value[1], rows[i].unit);
    }
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void say_percentiles(struct run *r, int engine, const char *what) {
    size_t n = WORKERS * r->ops;
    int64_t *all = malloc(n * sizeof(*all));
    char name[64];
    int w, i;
    static const struct {
        const char *name;
        double share;
    } p[] = {{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}, {"slowest", 1}};
    const int n_p = (int)(sizeof(p) / sizeof(p[0]));

    for (w = 0; w < WORKERS; w++) {
        memcpy(all + (size_t)w * r->ops, r->ns[w], r->ops * sizeof(*all));
    }
    qsort(all, n, sizeof(*all), by_value);
    for (i = 0; i < n_p; i++) {
        snprintf(name, sizeof(name), "%s %s", what, p[i].name);
        say(engine, name, (double)all[(size_t)((double)(n - 1) * p[i].share)] / 1e3,
            "us");
    }
    free(all);
}

struct worker {
    struct run *run;
    int number;
};

static int64_t get_once(struct run *r, uint64_t x, uint64_t y) {
    uint64_t key[2] = {x, y};
    struct memo_value v;
    int64_t begin = bench_now_ns();

    if (memo_get(r->memo, key, sizeof(key), &v) != 0) {
        abort();
    }
    memo_release(&v);
    return bench_now_ns() - begin;
}

static void *get_new_keys(void *arg) {
    struct worker *w = arg;
    size_t i;

    for (i = 0; i < w->run->ops; i++) {
        w->run->ns[w->number][i] = get_once(w->run, i, (uint64_t)w->number);
    }
    return NULL;
}

// Not as fast as can be: requests come one by one.
static void *request(void *arg) {
    struct worker *w = arg;
    uint64_t random = (uint64_t)w->number + 1;
    size_t i;

    for (i = 0; i < w->run->ops; i++) {
        struct timespec nap = {0, REQUEST_NAP_NS};
        nanosleep(&nap, NULL);
        w->run->ns[w->number][i] =
            get_once(w->run, bench_random(&random) % REQUEST_KEYS, 0);
    }
    return NULL;
}

static void *hit(void *arg) {
    struct worker *w = arg;
    struct memo_value v;
    size_t i;

    for (i = 0; i < HITS_PER_OP * w->run->ops; i++) {
        uint64_t key[2] = {i % HIT_KEYS, (uint64_t)w->number};
        if (memo_get(w->run->memo, key, sizeof(key), &v) != 0) {
            abort();
        }
        memo_release(&v);
    }
    return NULL;
}

static int64_t in_workers(struct run *r, void *(*fn)(void *)) {
    struct worker w[WORKERS];
    pthread_t thread[WORKERS];
    int64_t begin = bench_now_ns();
    int i;

    for (i = 0; i < WORKERS; i++) {
        w[i] = (struct worker){r, i};
        pthread_create(&thread[i], NULL, fn, &w[i]);
    }
    for (i = 0; i < WORKERS; i++) {
        pthread_join(thread[i], NULL);
    }
    return bench_now_ns() - begin;
}

static void latencies(struct run *r, int engine, const char *what,
                      void *(*fn)(void *)) {
    int i;

    for (i = 0; i < WORKERS; i++) {
        r->ns[i] = calloc(r->ops, sizeof(int64_t));
    }
    (void)in_workers(r, fn);
    say_percentiles(r, engine, what);
    for (i = 0; i < WORKERS; i++) {
        free(r->ns[i]);
    }
}

static void hits(struct run *r, int engine) {
    int64_t ns;

    (void)in_workers(r, hit);  // make them resident
    ns = in_workers(r, hit);
    say(engine, "hit, per thread", (double)ns / (double)(HITS_PER_OP * r->ops),
        "ns");
}

static void requests(struct run *r, int engine) {
    struct memo_stats stats = {.size = sizeof(stats)};

    latencies(r, engine, "request", request);
    (void)memo_stats(r->memo, &stats);
    say(engine, "request: loads", (double)stats.loads, "");
    say(engine, "request: values evicted", (double)stats.evictions, "");
}

static void messages(struct run *r, int engine) {
    int64_t begin = bench_now_ns();
    size_t i;

    for (i = 0; i < r->ops; i++) {
        (void)memo_invalidate(r->memo, "absent", 6);
    }
    say(engine, "message",
        (double)r->ops * 1e6 / (double)(bench_now_ns() - begin),
        "thousand per second");
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

static void async_waiters(struct run *r, int engine, size_t n) {
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
    say(engine, "async: to wait", (double)(bench_now_ns() - begin) / (double)n,
        "ns each");
    say(engine, "async: memory of a waiter", (double)(allocated - before) / (double)n,
        "bytes");
    begin = finish_held(r);
    say(engine, "async: all called after", (double)(bench_now_ns() - begin) / 1e3,
        "us");
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

static double resident_bytes(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    long size, resident = 0;

    if (f != NULL) {
        if (fscanf(f, "%ld %ld", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(f);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

// At most n, and as many as the system has.
static void blocked_threads(struct run *r, int engine, size_t n) {
    pthread_t *thread = malloc(n * sizeof(*thread));
    struct memo_stats stats = {.size = sizeof(stats)};
    double resident;
    pthread_attr_t attr;
    uint64_t joins;
    int64_t begin, returned;
    size_t i;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 64 << 10);
    (void)memo_stats(r->memo, &stats);
    joins = stats.joins;
    resident = resident_bytes();
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
    resident = resident_bytes() - resident;
    begin = finish_held(r);
    returned = bench_now_ns();
    for (i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
    }
    say(engine, "wake: memory of a thread", resident / (double)n, "bytes");
    say(engine, "wake: who ends it is free after", (double)(returned - begin) / 1e3,
        "us");
    say(engine, "wake: the last is awake after", (double)(r->last_ns - begin) / 1e6, "ms");
    free(thread);
}

int main(int argc, char **argv) {
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
    for (i = 0; i < ENGINES; i++) {
        struct run r = {.ops = ops};
        open_cache(&r, engines[i].engine);
        hits(&r, i);
        latencies(&r, i, "miss", get_new_keys);
        messages(&r, i);
        async_waiters(&r, i, waiters);
        blocked_threads(&r, i, threads);
        memo_free(r.memo);
        memset(&r, 0, sizeof(r));
        r.destroys = 1;
        r.ops = ops / 25 + 1;
        open_cache(&r, engines[i].engine);
        requests(&r, i);
        memo_free(r.memo);
    }
    print_rows();
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
