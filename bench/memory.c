// How much memory does an entry take up, beyond its key (16 bytes) and its
// value (64)?  All told: header, table, policy, what the allocator adds, what is
// held back for later.  Resident memory is compared before and after, each time in a
// new process.
//
//     memory [--entries N] [--only A,B] [--json FILE]
//
//     memo           not bounded
//     memo-entries   by max_entries; full, and a quarter more has been stored
//     memo-bytes     by max_bytes, likewise
//     memo-cost      as memo-entries, with MEMO_POLICY_COST
//     memo-ttl       not bounded, with a ttl
//     memo-ttl-entries   as memo-entries, with a ttl
//
// Linked with jemalloc (memory_jemalloc), these are of a malloc that is
// jemalloc's; and
//
//     memo-arena, memo-arena-entries   of an arena, //memo:jemalloc
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/resident.h"
#include "memo/memo.h"
#ifdef BENCH_JEMALLOC
#include "memo/jemalloc.h"
#endif

// What an entry is taken to need, so that max_bytes holds about as many as are
// wanted.
#define BYTES_OF_ENTRY 150

static struct {
    size_t entries;
    const char *only;
    FILE *json;
} args = {.entries = 1000000};

static int load(void *arg, struct memo_load *l) {
    void *value = memo_load_reserve(l, RESIDENT_VALUE);

    if (value == NULL) {
        return MEMO_ENOMEM;
    }
    resident_value(*(uint64_t *)arg, value);
    return 0;
}

// ------------------------------------------------------------------ variants

static void no_options(struct memo_options *o) {
    (void)o;
}

static void bound_entries(struct memo_options *o) {
    o->max_entries = args.entries;
}

static void bound_bytes(struct memo_options *o) {
    o->max_bytes = args.entries * BYTES_OF_ENTRY;
}

static void bound_by_cost(struct memo_options *o) {
    o->max_entries = args.entries;
    o->policy = MEMO_POLICY_COST;
}

static void give_ttl(struct memo_options *o) {
    o->ttl_ns = (int64_t)1 << 60;
}

static void bound_with_ttl(struct memo_options *o) {
    bound_entries(o);
    give_ttl(o);
}

#ifdef BENCH_JEMALLOC
static void in_arena(struct memo_options *o) {
    static struct memo_allocator allocator;
    struct memo_jemalloc *j;

    if (memo_jemalloc_new(&j) != 0) {
        fprintf(stderr, "memory: no arena\n");
        exit(1);
    }
    allocator = memo_jemalloc_allocator(j);
    o->allocator = &allocator;
}

static void bound_in_arena(struct memo_options *o) {
    in_arena(o);
    bound_entries(o);
}
#define MALLOC "jemalloc"
#else
#define MALLOC "glibc"
#endif

static const struct variant {
    const char *name;
    void (*set)(struct memo_options *o);
    const char *about;
    double stores;  // of so many times the entries
} variants[] = {
    {"memo", no_options, "malloc of " MALLOC, 1},
    {"memo-entries", bound_entries, "malloc of " MALLOC, 1.25},
    {"memo-bytes", bound_bytes, "malloc of " MALLOC, 1.5},
    {"memo-cost", bound_by_cost, "malloc of " MALLOC, 1.25},
    {"memo-ttl", give_ttl, "malloc of " MALLOC, 1},
    {"memo-ttl-entries", bound_with_ttl, "malloc of " MALLOC, 1.25},
#ifdef BENCH_JEMALLOC
    {"memo-arena", in_arena, "arena of jemalloc", 1},
    {"memo-arena-entries", bound_in_arena, "arena of jemalloc", 1.25},
#endif
};

#define VARIANTS (sizeof(variants) / sizeof(*variants))

// ------------------------------------------------------------------ measuring

static void must(int error) {
    if (error != 0) {
        fprintf(stderr, "memory: %s\n", memo_error_text(error));
        exit(1);
    }
}

static void measure(const struct variant *v) {
    uint64_t i, n = (uint64_t)(v->stores * (double)args.entries);
    struct memo_options options = {
        .size = sizeof(options), .load = load, .load_arg = &i};
    struct memo_stats stats = {.size = sizeof(stats)};
    struct memo_value value;
    char key[RESIDENT_KEY];
    struct memo *m;
    double before;

    v->set(&options);
    must(memo_new(&options, &m));
    // What the first entries bring about is no matter of entries.
    for (i = 0; i < 16; i++) {
        must(memo_put(m, &i, sizeof(i), &i, sizeof(i)));
        must(memo_invalidate(m, &i, sizeof(i)));
    }
    before = resident_bytes(0);
    for (i = 0; i < n; i++) {
        resident_key(i, key);
        must(memo_get(m, key, sizeof(key), &value));
        memo_release(&value);
    }
    must(memo_stats(m, &stats));
    resident_print(v->name, v->about, stats.entries,
                   resident_bytes(0) - before, args.json);
}

static int measure_apart(const struct variant *v) {
    int status;

    fflush(NULL);
    switch (fork()) {
        case -1:
            perror("fork");
            return 1;
        case 0:
            measure(v);
            _exit(0);
        default:
            return wait(&status) < 0 || status != 0;
    }
}

// ------------------------------------------------------------------ arguments

int main(int argc, char **argv) {
    const struct bench_option known[] = {{"--entries", .number = &args.entries},
                                         {"--only", .text = &args.only},
                                         {"--json", .file = &args.json},
                                         {.name = NULL}};
    int failed = 0;
    size_t v;

    if (bench_options(argc, argv, 1, known) != argc ||
        args.entries < 1000 || args.entries > UINT32_MAX) {
        fprintf(stderr,
                "usage: memory [--entries N] [--only A,B] [--json FILE]\n");
        return 2;
    }
    for (v = 0; v < VARIANTS; v++) {
        if (args.only == NULL ||
            bench_is_listed(args.only, variants[v].name)) {
            failed |= measure_apart(&variants[v]);
        }
    }
    if (args.json != NULL) {
        fclose(args.json);
    }
    return failed;
}
