// What the benchmarks share: keys, access patterns, interleaved rounds, results.
//
// Noise on a shared machine comes and goes over seconds.  So everything that is
// compared runs in turns of a few milliseconds, many rounds, and each turn is
// divided by the turn of the reference in the same round; what is printed is
// the median of these ratios and their quartiles.
#ifndef MEMO_BENCH_BENCH_H_
#define MEMO_BENCH_BENCH_H_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

// n keys, each of at most BENCH_KEY_MOST bytes.
#define BENCH_KEY_MOST 48

struct bench_keys {
    size_t n;
    const char *name;       // "k16" or "url"
    size_t stride;          // 16, or 64 with the size in the last byte
    unsigned char *bytes;
};

// 16 random bytes each, or URLs of 24 to 48 bytes.  The same every time.
struct bench_keys bench_keys_k16(size_t n);
struct bench_keys bench_keys_url(size_t n);

static inline const void *bench_key(const struct bench_keys *k, size_t i,
                                    size_t *size) {
    const unsigned char *p = k->bytes + i * k->stride;

    *size = k->stride == 16 ? 16 : p[63];
    return p;
}

// A stream of n key numbers below range: "uniform", "zipf" (0.99) or "hot" (one
// key).  Seeded.
uint32_t *bench_stream(const char *pattern, size_t n, size_t range,
                       uint64_t seed);

uint64_t bench_random(uint64_t *state);
int64_t bench_now_ns(void);      // wall clock
int64_t bench_cpu_now_ns(void);  // of the calling thread
void bench_pin_to_core(int core);

// What "--NAME VALUE" sets: one of these.
struct bench_option {
    const char *name;   // with its dashes; NULL ends a list of options
    size_t *number;
    int *integer;
    const char **text;
    FILE **file;  // opened to append
    int *flag;    // set to 1, and there is no value
};

// Take options from argv[first] on.  Return the index of the first argument that
// is none of those known, or lacks a good value; or argc.
int bench_options(int argc, char **argv, int first,
                  const struct bench_option *known);

// Whether name is in a list like "a,b".
int bench_is_listed(const char *list, const char *name);

// One thing measured: run n operations of thread t, starting at offset of its
// stream; return a checksum.
struct bench_system {
    const char *name;
    uint64_t (*run)(void *state, int t, size_t offset, size_t n);
    void *state;
    uint64_t sum;  // out: of the last round, to compare
    int differs;   // it needn't be what systems[0] has
};

// Run systems[0..n) in turns, with that many threads, for that many rounds, and
// print one line each: median and quartiles of the ratio to systems[0], and the
// least ns per operation.  Also as JSON to json, unless NULL.
void bench_compare(const char *title, struct bench_system *systems, int n,
                   int threads, int rounds, size_t ops, size_t stream_size,
                   FILE *json);

#ifdef __cplusplus
}
#endif

#endif  // MEMO_BENCH_BENCH_H_
