// Policies as the textbooks have them, simulated, to compare with.
#ifndef MEMO_BENCH_TEXTBOOK_H_
#define MEMO_BENCH_TEXTBOOK_H_

#include <stdint.h>

#include "bench/trace.h"

// What a policy came to: shares of what was asked for.
struct misses {
    double requests, bytes, cost;
};

enum textbook {
    TEXTBOOK_FIFO,
    TEXTBOOK_LRU,
    // Greedy dual, size and frequency (L. Cherkasova, HPL-98-69).
    TEXTBOOK_GDSF,
};

// Ask a cache of that many entries, or of the size of t's sizes, for all of t.
// What is missing is loaded and kept.
struct misses textbook_run(enum textbook policy, const struct trace *t,
                           uint64_t capacity);

// The size of a key in capacity, and its cost.
static inline uint64_t trace_size_of(const struct trace *t, uint32_t key) {
    return t->size == NULL ? 1 : t->size[key];
}

static inline double trace_cost_of(const struct trace *t, uint32_t key) {
    return t->cost == NULL ? 1 : t->cost[key];
}

// Shares, of what a run has missed: key[i] of missed[i] != 0.
struct misses misses_of(const struct trace *t, const unsigned char *missed);

#endif  // MEMO_BENCH_TEXTBOOK_H_
