// How long can one operation take while a table grows?  Inserts keys from N/16
// to N, and looks up a random older key after each insert; both are timed one
// by one.
//
//     growth [--keys N] [--runs N] [--json FILE]
//
// CPU time, so that another process's turn is no pause of ours.  A virtual
// machine's own interruptions still count, by milliseconds: "nothing" is the
// same loop without a table, and shows them.  With several runs each operation
// counts with its least time, which leaves what the table does in every run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/subject.h"
#include "bench/value.h"

// Of each operation, nanoseconds.
struct times {
    const char *name;
    uint32_t *ns;
    size_t n;
};

static struct times times_new(const char *name, size_t n) {
    struct times t = {name, malloc(n * sizeof(*t.ns)), n};

    if (t.ns == NULL) {
        fprintf(stderr, "growth: out of memory\n");
        exit(1);
    }
    memset(t.ns, 0xff, n * sizeof(*t.ns));
    return t;
}

static void note(struct times *t, size_t i, int64_t ns) {
    if (ns < t->ns[i]) {
        t->ns[i] = (uint32_t)ns;
    }
}

// A key of its own kind, made from its number: 16M of them need no memory.
static void key_of(uint64_t i, uint64_t key[2]) {
    uint64_t state = i;

    key[0] = bench_random(&state);
    key[1] = bench_random(&state);
}

static void insert(uint64_t i) {
    uint64_t key[2];
    unsigned char value[VALUE_SIZE];

    key_of(i, key);
    make_value(key, sizeof(key), value);
    subject_put(key, sizeof(key), value);
}

static uint64_t one_run(size_t first, size_t last, struct times *inserts,
                        struct times *hits, struct times *nothing) {
    uint64_t sum = 0, random = 7;
    size_t i;

    for (i = 0; i < first; i++) {
        insert(i);
    }
    for (i = first; i < last; i++) {
        uint64_t key[2], old[2];
        unsigned char value[VALUE_SIZE];
        int64_t t0, t1, t2, t3;
        key_of(i, key);
        make_value(key, sizeof(key), value);
        key_of(bench_random(&random) % i, old);
        t0 = bench_cpu_now_ns();
        t1 = bench_cpu_now_ns();
        subject_put(key, sizeof(key), value);
        t2 = bench_cpu_now_ns();
        sum += subject_run((const unsigned char *)old, sizeof(old), 1);
        t3 = bench_cpu_now_ns();
        note(nothing, i - first, t1 - t0);
        note(inserts, i - first, t2 - t1);
        note(hits, i - first, t3 - t2);
    }
    return sum;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint32_t at(const struct times *t, double share) {
    return t->ns[(size_t)((double)(t->n - 1) * share)];
}

// The clock's own time is in every number, and is what "nothing" has as p50.
static void report(struct times *t, const char *system, size_t keys, int runs,
                   FILE *json) {
    qsort(t->ns, t->n, sizeof(*t->ns), by_value);
    printf(
        "growth %-10s %-8s p50 %u  p99 %u  p99.9 %u  p99.99 %u ns  "
        "slowest %.1f us\n",
        system, t->name, at(t, .5), at(t, .99), at(t, .999), at(t, .9999),
        at(t, 1) / 1e3);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"growth\",\"system\":\"%s\",\"op\":\"%s\","
                "\"about\":\"%s\",\"keys\":%zu,\"runs\":%d,\"p50_ns\":%u,"
                "\"p99_ns\":%u,\"p999_ns\":%u,\"p9999_ns\":%u,"
                "\"slowest_us\":%.1f}\n",
                system, t->name, subject_about, keys, runs, at(t, .5),
                at(t, .99), at(t, .999), at(t, .9999), at(t, 1) / 1e3);
    }
}

int main(int argc, char **argv) {
    size_t keys = (size_t)1 << 24, first;
    const char *name = strrchr(argv[0], '/');
    struct times inserts, hits, nothing;
    FILE *json = NULL;
    int runs = 1, i;
    const struct bench_option known[] = {{"--keys", .number = &keys},
                                         {"--runs", .integer = &runs},
                                         {"--json", .file = &json},
                                         {.name = NULL}};

    name = name == NULL ? argv[0] : name + 1;
    name = strncmp(name, "growth-", 7) == 0 ? name + 7 : "memo";
    if (bench_options(argc, argv, 1, known) != argc || keys < 256 || runs < 1) {
        fprintf(stderr, "usage: growth [--keys N] [--runs N] [--json FILE]\n");
        return 2;
    }
    first = keys / 16;
    inserts = times_new("insert", keys - first);
    hits = times_new("hit", keys - first);
    nothing = times_new("nothing", keys - first);
    subject_thread_begin();
    for (i = 0; i < runs; i++) {
        subject_init(0);
        (void)one_run(first, keys, &inserts, &hits, &nothing);
        subject_exit();
    }
    subject_thread_end();
    report(&nothing, name, keys, runs, json);
    report(&inserts, name, keys, runs, json);
    report(&hits, name, keys, runs, json);
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
