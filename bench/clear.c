// How long does it take to forget everything?  Fills a cache, clears it, and then
// gives back what it held, in steps: each call is timed, in CPU time.
//
//     clear [--keys N] [--json FILE]
//
// "nothing" is a pair of readings of the clock, as often: the machine's own
// interruptions, which are in all other numbers too.
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "memo/memo.h"

static void fill(struct memo *m, size_t keys) {
    size_t i;

    for (i = 0; i < keys; i++) {
        uint64_t state = i, key[2];
        struct memo_value v;
        key[0] = bench_random(&state);
        key[1] = bench_random(&state);
        if (memo_get(m, key, sizeof(key), &v) != 0) {
            fprintf(stderr, "clear: out of memory\n");
            exit(1);
        }
        memo_release(&v);
    }
}

static double ms(int64_t ns) {
    return (double)ns / 1e6;
}

struct steps {
    int64_t slowest_ns, total_ns, nothing_ns;
    size_t n;
};

// Until there is no more to do.
static struct steps maintain(struct memo *m) {
    struct steps s = {0, 0, 0, 0};
    int64_t next;

    do {
        int64_t t0 = bench_cpu_now_ns(), t1 = bench_cpu_now_ns(), t2;
        int64_t now_ns = bench_now_ns();
        next = memo_maintain(m, now_ns);
        next = next <= now_ns;
        t2 = bench_cpu_now_ns();
        s.n++;
        s.total_ns += t2 - t1;
        s.slowest_ns = t2 - t1 > s.slowest_ns ? t2 - t1 : s.slowest_ns;
        s.nothing_ns = t1 - t0 > s.nothing_ns ? t1 - t0 : s.nothing_ns;
    } while (next);
    return s;
}

int main(int argc, char **argv) {
    struct memo_options options = {.size = sizeof(options), .load = bench_load};
    struct memo_stats stats = {.size = sizeof(stats)};
    size_t keys = 10000000;
    struct steps steps;
    FILE *json = NULL;
    struct memo *m;
    int64_t t0, t1;
    const struct bench_option known[] = {
        {"--keys", .number = &keys}, {"--json", .file = &json}, {.name = NULL}};

    if (bench_options(argc, argv, 1, known) != argc || keys < 1) {
        fprintf(stderr, "usage: clear [--keys N] [--json FILE]\n");
        return 2;
    }
    if (memo_new(&options, &m) != 0) {
        return 1;
    }
    fill(m, keys);
    t0 = bench_cpu_now_ns();
    if (memo_clear(m) != 0) {
        return 1;
    }
    t1 = bench_cpu_now_ns();
    steps = maintain(m);
    if (memo_stats(m, &stats) != 0 || stats.entries != 0 || stats.retired != 0) {
        fprintf(stderr, "clear: something is left\n");
        return 1;
    }
    printf("clear %zu keys: %.3f ms; then %zu steps of at most %.3f ms, %.1f ms "
           "in all; nothing %.3f ms\n",
           keys, ms(t1 - t0), steps.n, ms(steps.slowest_ns), ms(steps.total_ns),
           ms(steps.nothing_ns));
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"clear\",\"keys\":%zu,\"clear_ms\":%.4f,"
                "\"steps\":%zu,\"slowest_step_ms\":%.4f,\"steps_ms\":%.1f,"
                "\"nothing_ms\":%.4f}\n",
                keys, ms(t1 - t0), steps.n, ms(steps.slowest_ns),
                ms(steps.total_ns), ms(steps.nothing_ns));
        fclose(json);
    }
    memo_free(m);
    return 0;
}
