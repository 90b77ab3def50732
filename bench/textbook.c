#include "bench/textbook.h"

#include <stdio.h>
#include <stdlib.h>

#define NOWHERE UINT32_MAX

// A heap of keys, the least priority first.  For FIFO and LRU, priorities are
// times.
struct book {
    const struct trace *trace;
    uint32_t *heap;
    uint32_t n;
    uint32_t *at;  // of each key, in heap; or NOWHERE
    double *priority;
    uint32_t *uses;
    uint64_t capacity, used;
    double inflation, clock;
    enum textbook policy;
};

static void put_at(struct book *b, uint32_t i, uint32_t key) {
    b->heap[i] = key;
    b->at[key] = i;
}

static void sift_up(struct book *b, uint32_t i) {
    uint32_t key = b->heap[i];

    while (i != 0 &&
           b->priority[b->heap[(i - 1) / 2]] > b->priority[key]) {
        put_at(b, i, b->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put_at(b, i, key);
}

static void sift_down(struct book *b, uint32_t i) {
    uint32_t key = b->heap[i];

    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child + 1 < b->n && b->priority[b->heap[child + 1]] <
                                    b->priority[b->heap[child]]) {
            child++;
        }
        if (child >= b->n || b->priority[b->heap[child]] >= b->priority[key]) {
            break;
        }
        put_at(b, i, b->heap[child]);
        i = child;
    }
    put_at(b, i, key);
}

static void set_priority(struct book *b, uint32_t key, int is_hit) {
    const struct trace *t = b->trace;

    b->clock++;
    b->uses[key]++;
    if (b->policy == TEXTBOOK_GDSF) {
        b->priority[key] =
            b->inflation + b->uses[key] * trace_cost_of(t, key) /
                               (double)trace_size_of(t, key);
    } else if (b->policy == TEXTBOOK_LRU || !is_hit) {
        b->priority[key] = b->clock;
    }
}

static void evict(struct book *b) {
    uint32_t key = b->heap[0];

    b->inflation = b->priority[key];
    b->used -= trace_size_of(b->trace, key);
    b->at[key] = NOWHERE;
    b->uses[key] = 0;
    b->n--;
    if (b->n != 0) {
        put_at(b, 0, b->heap[b->n]);
        sift_down(b, 0);
    }
}

// Return whether key was there.
static int ask(struct book *b, uint32_t key) {
    uint64_t size = trace_size_of(b->trace, key);

    if (b->at[key] != NOWHERE) {
        set_priority(b, key, 1);
        sift_down(b, b->at[key]);
        return 1;
    }
    if (size > b->capacity) {
        return 0;
    }
    while (b->used + size > b->capacity) {
        evict(b);
    }
    set_priority(b, key, 0);
    b->used += size;
    put_at(b, b->n++, key);
    sift_up(b, b->n - 1);
    return 0;
}

struct misses misses_of(const struct trace *t, const unsigned char *missed) {
    struct misses missing = {0, 0, 0}, all = {0, 0, 0};
    size_t i;

    for (i = 0; i < t->n; i++) {
        double size = (double)trace_size_of(t, t->key[i]);
        double cost = trace_cost_of(t, t->key[i]);
        all.requests++;
        all.bytes += size;
        all.cost += cost;
        if (missed[i]) {
            missing.requests++;
            missing.bytes += size;
            missing.cost += cost;
        }
    }
    missing.requests /= all.requests;
    missing.bytes /= all.bytes;
    missing.cost /= all.cost;
    return missing;
}

struct misses textbook_run(enum textbook policy, const struct trace *t,
                           uint64_t capacity) {
    struct book b = {.trace = t, .capacity = capacity, .policy = policy};
    unsigned char *missed = calloc(t->n, 1);
    struct misses m;
    size_t i;

    b.heap = malloc((size_t)t->n_keys * sizeof(*b.heap));
    b.at = malloc((size_t)t->n_keys * sizeof(*b.at));
    b.priority = calloc(t->n_keys, sizeof(*b.priority));
    b.uses = calloc(t->n_keys, sizeof(*b.uses));
    if (missed == NULL || b.heap == NULL || b.at == NULL ||
        b.priority == NULL || b.uses == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    for (i = 0; i < t->n_keys; i++) {
        b.at[i] = NOWHERE;
    }
    for (i = 0; i < t->n; i++) {
        missed[i] = (unsigned char)!ask(&b, t->key[i]);
    }
    m = misses_of(t, missed);
    free(missed);
    free(b.heap);
    free(b.at);
    free(b.priority);
    free(b.uses);
    return m;
}
