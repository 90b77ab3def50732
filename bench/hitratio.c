// How much of what is asked for is there?  Real traces, asked of real bounded
// caches through their public interface: whatever is missing is loaded and
// kept.
//
//     hitratio [OPTION]... [FOLDER]
//
// For every trace in FOLDER (see trace.h; traces/ has a few), or else for some
// that are made up, and for caches that hold 0.1, 1, 5, 10 and 25 % of all keys
// (of traces with few keys: 1, 2.5, 5, 10, 25 and 50 %; none of less than 16
// entries), one line:
//
//     fifo, lru  miss ratios of these policies, as the textbooks have them
//     one        of memo with a single shard, by one thread
//     service    of memo as a service would run it: with as many shards as it
//                thinks fit, asked by several threads at once
//
// and by how many percent memo's is less than that of fifo.  A trace's figure
// is the mean over its sizes, the last line's the mean over all traces.
//
//     --only A,B  --skip A,B   which traces
//     --threads N   of a service; 2
//     --api NAME    what it calls: get; many (memo_get_many, 16 at a time); or
//                   put (memo_peek, and memo_put when there is nothing)
//     --requests N  of traces made up; 200000
//     --seed N      of the hash
//     --json FILE
//
//     --cost MODEL  measure the time that loads take instead: what is missed
//                   counts by what it costs to load.  MODEL is two, logn:S (see
//                   trace.h), or trace: what the trace says, of those that do.
//     --sizes       caches of so many percent of all bytes; only traces that
//                   have sizes.
//
// These two compare, by one thread: fifo, lru, gdsf; memo with its policy blind
// for cost and size; and with it aware of them.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/textbook.h"
#include "bench/trace.h"
#include "memo/memo.h"

#define AT_ONCE 16       // keys of one memo_get_many()
#define TURN 64          // requests that a thread takes from the trace
#define THREADS_MOST 64
#define FEW_KEYS 10000
#define SIZES_MOST 6
#define LEAST_ENTRIES 16
#define NEW_KEYS_MOST 0.99  // of all requests: nothing can be hit

static const double fractions_of_many[SIZES_MOST] = {0.001, 0.01, 0.05, 0.1,
                                                     0.25};
static const double fractions_of_few[SIZES_MOST] = {0.01, 0.025, 0.05,
                                                    0.1,  0.25,  0.5};

static struct {
    const char *folder, *only, *skip, *api, *cost;
    size_t threads, requests, seed;
    int sizes;
    FILE *json;
} args = {.api = "get", .threads = 2, .requests = 200000};

// ------------------------------------------------------------------ memo

struct run {
    const struct trace *trace;
    struct memo *memo;
    unsigned char *missed;
    atomic_size_t next;    // request that nobody has taken
    _Atomic int64_t now_ns;  // the clock of the cache
};

static void must(int error) {
    if (error != 0) {
        fprintf(stderr, "memo: %s\n", memo_error_text(error));
        exit(1);
    }
}

static int64_t now_ns(void *state) {
    struct run *r = state;

    return atomic_load(&r->now_ns);
}

// The time that a load takes is what its key costs.
static int load(void *arg, struct memo_load *l) {
    struct run *r = arg;
    uint64_t key;
    size_t size;

    memcpy(&key, memo_load_key(l, &size), sizeof(key));
    if (r->trace->cost != NULL) {
        atomic_fetch_add(&r->now_ns, r->trace->cost[key]);
    }
    if (r->trace->size != NULL) {
        must(memo_load_set_weight(l, r->trace->size[key]));
    }
    return memo_load_return(l, &key, sizeof(key));
}

static void get(struct run *r, size_t i) {
    uint64_t key = r->trace->key[i];
    struct memo_value v;

    must(memo_get(r->memo, &key, sizeof(key), &v));
    r->missed[i] = v.from == MEMO_LOADED;
    memo_release(&v);
}

static void put(struct run *r, size_t i) {
    uint64_t key = r->trace->key[i];
    struct memo_value v;
    int error = memo_peek(r->memo, &key, sizeof(key), &v);

    if (error == MEMO_ENOENT) {
        must(memo_put(r->memo, &key, sizeof(key), &key, sizeof(key)));
        r->missed[i] = 1;
    } else {
        must(error);
        memo_release(&v);
    }
}

static void get_many(struct run *r, size_t first, size_t n) {
    uint64_t key[AT_ONCE];
    struct memo_bytes bytes[AT_ONCE];
    struct memo_value v[AT_ONCE];
    int errors[AT_ONCE];
    size_t i;

    for (i = 0; i < n; i++) {
        key[i] = r->trace->key[first + i];
        bytes[i].data = &key[i];
        bytes[i].size = sizeof(key[i]);
    }
    must(memo_get_many(r->memo, bytes, n, NULL, v, errors));
    for (i = 0; i < n; i++) {
        r->missed[first + i] = v[i].from == MEMO_LOADED;
        memo_release(&v[i]);
    }
}

static void ask(struct run *r, size_t first, size_t last) {
    size_t i;

    if (strcmp(args.api, "many") == 0) {
        for (i = first; i < last; i += AT_ONCE) {
            get_many(r, i, last - i < AT_ONCE ? last - i : AT_ONCE);
        }
        return;
    }
    for (i = first; i < last; i++) {
        if (strcmp(args.api, "put") == 0) {
            put(r, i);
        } else {
            get(r, i);
        }
    }
}

static void *work(void *run) {
    struct run *r = run;

    for (;;) {
        size_t first = atomic_fetch_add(&r->next, TURN);
        size_t last = first + TURN < r->trace->n ? first + TURN : r->trace->n;
        if (first >= r->trace->n) {
            return NULL;
        }
        ask(r, first, last);
    }
}

static void run_threads(struct run *r, unsigned n) {
    pthread_t thread[THREADS_MOST];
    unsigned i;

    for (i = 1; i < n; i++) {
        if (pthread_create(&thread[i], NULL, work, r) != 0) {
            fprintf(stderr, "no threads\n");
            exit(1);
        }
    }
    work(r);
    for (i = 1; i < n; i++) {
        pthread_join(thread[i], NULL);
    }
}

static struct misses memo_run(const struct trace *t, uint64_t capacity,
                              uint32_t shards, unsigned threads,
                              uint32_t policy) {
    struct run r = {.trace = t};
    struct memo_clock clock = {now_ns, &r};
    uint64_t state = args.seed + 1;
    uint64_t seed[4] = {bench_random(&state), bench_random(&state),
                        bench_random(&state), bench_random(&state)};
    struct memo_options o = {.size = sizeof(o),
                             .load = load,
                             .load_arg = &r,
                             .clock = &clock,
                             .hash_seed = seed,
                             .shards = shards,
                             .policy = policy};
    struct misses m;

    *(t->size == NULL ? &o.max_entries : &o.max_weight) = capacity;
    r.missed = calloc(t->n, 1);
    if (r.missed == NULL) {
        must(MEMO_ENOMEM);
    }
    must(memo_new(&o, &r.memo));
    run_threads(&r, threads);
    memo_check(r.memo);
    memo_free(r.memo);
    m = misses_of(t, r.missed);
    free(r.missed);
    return m;
}

// ------------------------------------------------------------------ results

// By how many percent of the greater one mr is less than fifo's, or more.
static double reduction(double fifo, double mr) {
    double most = fifo > mr ? fifo : mr;

    return most == 0 ? 0 : (fifo - mr) / most * 100;
}

// What is measured: a column of the table.
#define COLUMNS_MOST 5

struct column {
    const char *name;
    struct misses misses;
    double sum, mean_sum;  // reductions: of the trace, of all traces
};

static double of_goal(struct misses m) {
    return args.cost != NULL ? m.cost : m.requests;
}

static void print_row(const struct trace *t, double fraction,
                      uint64_t capacity, struct column *columns, int n) {
    double fifo = of_goal(columns[0].misses);
    int i;

    printf("%-22s %5.1f%% %11llu", t->name, fraction * 100,
           (unsigned long long)capacity);
    for (i = 0; i < n; i++) {
        double x = of_goal(columns[i].misses);
        columns[i].sum += reduction(fifo, x);
        printf("  %s %.4f", columns[i].name, x);
        if (i > 0) {
            printf(" (%6.2f%%)", reduction(fifo, x));
        }
        if (args.json != NULL) {
            fprintf(args.json,
                    "{\"bench\":\"hitratio\",\"goal\":\"%s%s\",\"trace\":"
                    "\"%s\",\"requests\":%zu,\"keys\":%u,\"fraction\":%g,"
                    "\"capacity\":%llu,\"system\":\"%s\",\"misses\":%.6f,"
                    "\"bytes_missed\":%.6f,\"cost_missed\":%.6f,"
                    "\"reduction\":%.4f}\n",
                    args.cost == NULL ? "hits" : args.cost,
                    args.sizes ? ",sizes" : "", t->name, t->n, t->n_keys,
                    fraction, (unsigned long long)capacity, columns[i].name,
                    columns[i].misses.requests, columns[i].misses.bytes,
                    columns[i].misses.cost, reduction(fifo, x));
        }
    }
    printf("\n");
    fflush(stdout);
}

static int columns_of_plain(struct column *c, const struct trace *t,
                            uint64_t capacity) {
    c[0].name = "fifo";
    c[0].misses = textbook_run(TEXTBOOK_FIFO, t, capacity);
    c[1].name = "lru";
    c[1].misses = textbook_run(TEXTBOOK_LRU, t, capacity);
    c[2].name = "one";
    c[2].misses = memo_run(t, capacity, 1, 1, MEMO_POLICY_USE);
    c[3].name = "service";
    c[3].misses = memo_run(t, capacity, 0, args.threads, MEMO_POLICY_USE);
    return 4;
}

static int columns_of_valued(struct column *c, const struct trace *t,
                             uint64_t capacity) {
    c[0].name = "fifo";
    c[0].misses = textbook_run(TEXTBOOK_FIFO, t, capacity);
    c[1].name = "lru";
    c[1].misses = textbook_run(TEXTBOOK_LRU, t, capacity);
    c[2].name = "gdsf";
    c[2].misses = textbook_run(TEXTBOOK_GDSF, t, capacity);
    c[3].name = "blind";
    c[3].misses = memo_run(t, capacity, 1, 1, MEMO_POLICY_USE);
    c[4].name = "aware";
    c[4].misses = memo_run(t, capacity, 1, 1,
                           args.cost != NULL ? MEMO_POLICY_COST
                                             : MEMO_POLICY_SIZE);
    return 5;
}

static int is_valued(void) {
    return args.cost != NULL || args.sizes;
}

static double footprint(const struct trace *t) {
    double sum = 0;
    uint32_t i;

    for (i = 0; i < t->n_keys; i++) {
        sum += (double)trace_size_of(t, i);
    }
    return sum;
}

// Measure one trace; return whether there was anything to measure.
static int measure(const struct trace *t, struct column *columns, int *n) {
    const double *fractions = t->n_keys < FEW_KEYS && !args.sizes
                                  ? fractions_of_few
                                  : fractions_of_many;
    int rows = 0, i;

    for (i = 0; i < COLUMNS_MOST; i++) {
        columns[i].sum = 0;
    }
    for (i = 0; i < SIZES_MOST && fractions[i] != 0; i++) {
        uint64_t capacity = (uint64_t)(footprint(t) * fractions[i]);
        if (t->n_keys * fractions[i] < LEAST_ENTRIES) {
            continue;
        }
        *n = is_valued() ? columns_of_valued(columns, t, capacity)
                         : columns_of_plain(columns, t, capacity);
        print_row(t, fractions[i], capacity, columns, *n);
        rows++;
    }
    for (i = 0; rows != 0 && i < *n; i++) {
        columns[i].mean_sum += columns[i].sum / rows;
    }
    return rows != 0;
}

static void print_mean(const struct column *columns, int n, int traces) {
    int i;

    printf("mean reduction of misses against fifo, of %d traces:", traces);
    for (i = 1; i < n; i++) {
        double mean = columns[i].mean_sum / traces;
        printf("  %s %.2f%%", columns[i].name, mean);
        if (args.json != NULL) {
            fprintf(args.json,
                    "{\"bench\":\"hitratio mean\",\"goal\":\"%s%s\","
                    "\"traces\":%d,\"system\":\"%s\",\"reduction\":%.4f}\n",
                    args.cost == NULL ? "hits" : args.cost,
                    args.sizes ? ",sizes" : "", traces, columns[i].name, mean);
        }
    }
    printf("\n");
}

// ------------------------------------------------------------------ traces

// Why a trace is left out, or NULL.
static const char *prepare(struct trace *t) {
    if (t->n_keys > NEW_KEYS_MOST * (double)t->n) {
        return "nearly every request is for a new key";
    }
    if (args.sizes && t->size == NULL) {
        return "it has no sizes";
    }
    if (!args.sizes) {
        free(t->size);
        t->size = NULL;
    }
    if (args.cost == NULL) {
        free(t->cost);
        t->cost = NULL;
    } else if (strcmp(args.cost, "trace") != 0) {
        (void)trace_make_costs(t, args.cost);
    } else if (t->cost == NULL) {
        return "it has no costs";
    }
    return NULL;
}

static int measure_all(char *const *names, size_t n_names) {
    struct column columns[COLUMNS_MOST];
    int traces = 0, n = 0;
    size_t i;

    memset(columns, 0, sizeof(columns));
    for (i = 0; i < n_names; i++) {
        struct trace t;
        const char *why;
        if ((args.only != NULL && !bench_is_listed(args.only, names[i])) ||
            bench_is_listed(args.skip, names[i])) {
            continue;
        }
        t = args.folder == NULL ? trace_make(names[i], args.requests)
                                : trace_read(args.folder, names[i]);
        why = prepare(&t);
        if (why == NULL && !measure(&t, columns, &n)) {
            why = "it has too few keys";
        }
        if (why != NULL) {
            printf("# %s is left out: %s\n", t.name, why);
        }
        traces += why == NULL;
        trace_free(&t);
    }
    if (traces == 0) {
        fprintf(stderr, "hitratio: no trace is left\n");
        return 1;
    }
    print_mean(columns, n, traces);
    return 0;
}

// ------------------------------------------------------------------ arguments

static int is_api(const char *s) {
    return strcmp(s, "get") == 0 || strcmp(s, "many") == 0 ||
           strcmp(s, "put") == 0;
}

static int is_cost(const char *model) {
    struct trace none = {NULL, 0, NULL, 0, NULL, NULL};
    int is = strcmp(model, "trace") == 0 || trace_make_costs(&none, model) == 0;

    free(none.cost);
    return is;
}

// Take all arguments; return whether they make sense.
static int take_all(int argc, char **argv) {
    const struct bench_option known[] = {
        {"--only", .text = &args.only},
        {"--skip", .text = &args.skip},
        {"--threads", .number = &args.threads},
        {"--api", .text = &args.api},
        {"--requests", .number = &args.requests},
        {"--seed", .number = &args.seed},
        {"--cost", .text = &args.cost},
        {"--sizes", .flag = &args.sizes},
        {"--json", .file = &args.json},
        {.name = NULL}};
    int i = bench_options(argc, argv, 1, known);

    if (i == argc - 1 && strncmp(argv[i], "--", 2) != 0) {
        args.folder = argv[i++];
    }
    return i == argc && args.threads >= 1 && args.threads <= THREADS_MOST &&
           args.requests >= 1000 && is_api(args.api) &&
           (args.cost == NULL || is_cost(args.cost)) &&
           (!args.sizes || args.folder != NULL);
}

int main(int argc, char **argv) {
    char **names;
    size_t n = 0;
    int status;

    if (!take_all(argc, argv)) {
        fprintf(stderr,
                "usage: hitratio [--only A,B] [--skip A,B] [--threads N]\n"
                "                [--api get|many|put] [--requests N] "
                "[--seed N]\n"
                "                [--cost two|logn:S|trace] [--sizes] "
                "[--json FILE] [FOLDER]\n");
        return 2;
    }
    if (args.folder == NULL) {
        names = (char **)(uintptr_t)trace_made;
        while (names[n] != NULL) {
            n++;
        }
    } else {
        names = trace_names(args.folder, &n);
    }
    status = measure_all(names, n);
    if (args.json != NULL) {
        fclose(args.json);
    }
    return status;
}
