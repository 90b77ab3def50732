#include "memo/ghost.h"

#include "sync/machine.h"

// A hash table of buckets of half a line: 12 cells, of 21 bits each.  A cell is 0, or
//
//     bits  0..8   when, in units, modulo 512
//     bit   9      whether it is GHOST_OF_MAIN
//     bits 10..20  fingerprint, not 0
//
// Whatever its size, hashes are spread evenly over it; so when it grows, ghosts
// aren't found any more.  That is seldom: nothing is evicted, and so there are
// none, until a cache is full.

#define CELLS 12
#define CELLS_PER_ENTRY 2
#define GROWS_BY_PART 4  // a quarter
#define LONG_UNITS 128   // at least half of that

#define CELL_BITS 21
#define CELL ((UINT32_C(1) << CELL_BITS) - 1)
#define CELL_TIME UINT32_C(0x1ff)
#define CELL_MAIN UINT32_C(0x200)
#define CELL_PRINT_SHIFT 10

struct bucket_of_ghosts {
    unsigned char bytes[32];
};

_Static_assert(CELLS * CELL_BITS <= 32 * 8, "cells fill a bucket");

void memo_ghosts_init_(struct ghosts *g, void *pages, size_t size) {
    g->buckets = pages;
    g->n_buckets = 0;
    g->max_buckets = size / sizeof(struct bucket_of_ghosts);
}

void memo_ghosts_set_long_(struct ghosts *g, uint64_t time) {
    g->unit_shift = 0;
    while (time >> g->unit_shift > LONG_UNITS) {
        g->unit_shift++;
    }
}

uint64_t memo_ghosts_bytes_(const struct ghosts *g) {
    return g->n_buckets * sizeof(struct bucket_of_ghosts);
}

static uint64_t buckets_for(uint64_t n) {
    return (n * CELLS_PER_ENTRY + CELLS - 1) / CELLS;
}

uint64_t memo_ghosts_bytes_for_(uint64_t n) {
    return buckets_for(n) * sizeof(struct bucket_of_ghosts);
}

void memo_ghosts_fit_(struct ghosts *g, uint64_t n) {
    uint64_t wanted = buckets_for(n);

    if (wanted > g->max_buckets) {
        wanted = g->max_buckets;
    }
    if (wanted <= g->n_buckets + g->n_buckets / GROWS_BY_PART) {
        return;
    }
    if (sync_pages_commit(g->buckets,
                          wanted * sizeof(struct bucket_of_ghosts)) == 0) {
        g->n_buckets = wanted;
    }
}

// The bits of hash that choose the shard and the bucket of the table are few,
// or the same in many keys of a shard: mix them all.
static uint64_t mix(uint64_t hash) {
    return hash * UINT64_C(0x9e3779b97f4a7c15);
}

static uint32_t fingerprint(uint64_t hash) {
    uint32_t print = (uint32_t)(mix(hash) >> 17) & (CELL >> CELL_PRINT_SHIFT);

    return print == 0 ? 1 : print;
}

static struct bucket_of_ghosts *bucket_at(const struct ghosts *g,
                                          uint64_t hash) {
    uint64_t i = (mix(hash) >> 32) * g->n_buckets >> 32;

    i *= sizeof(struct bucket_of_ghosts);
    return (struct bucket_of_ghosts *)(void *)(g->buckets + i);
}

// The four bytes that cell i lies in, from the bit on that i * CELL_BITS % 8 says.
static unsigned char *bytes_of(struct bucket_of_ghosts *b, int i) {
    return b->bytes + i * CELL_BITS / 8;
}

static uint32_t get_four(const unsigned char *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static uint32_t get_cell(struct bucket_of_ghosts *b, int i) {
    return get_four(bytes_of(b, i)) >> i * CELL_BITS % 8 & CELL;
}

static void set_cell(struct bucket_of_ghosts *b, int i, uint32_t cell) {
    unsigned char *p = bytes_of(b, i);
    uint32_t four = get_four(p);
    int k;

    four &= ~(CELL << i * CELL_BITS % 8);
    four |= cell << i * CELL_BITS % 8;
    for (k = 0; k < 4; k++) {
        p[k] = (unsigned char)(four >> 8 * k);
    }
}

static uint64_t clock_of(uint32_t cell, struct ghost_clocks now) {
    return cell & CELL_MAIN ? now.of_main : now.of_window;
}

// In units.
static uint32_t age(const struct ghosts *g, uint32_t cell,
                    struct ghost_clocks now) {
    return ((uint32_t)(clock_of(cell, now) >> g->unit_shift) - cell) & CELL_TIME;
}

void memo_ghosts_put_(struct ghosts *g, uint64_t hash, struct ghost ghost,
                      struct ghost_clocks now) {
    uint32_t print = fingerprint(hash);
    uint32_t cell = print << CELL_PRINT_SHIFT |
                    (ghost.kind == GHOST_OF_MAIN ? CELL_MAIN : 0);
    uint32_t oldest = 0;
    struct bucket_of_ghosts *b;
    int i, at = 0;

    if (g->n_buckets == 0) {
        return;
    }
    b = bucket_at(g, hash);
    for (i = 0; i < CELLS; i++) {
        uint32_t other = get_cell(b, i);
        if (other == 0 || other >> CELL_PRINT_SHIFT == print) {
            at = i;
            break;
        }
        if (age(g, other, now) >= oldest) {
            oldest = age(g, other, now);
            at = i;
        }
    }
    cell |= (uint32_t)((clock_of(cell, now) - ghost.age) >> g->unit_shift) &
            CELL_TIME;
    set_cell(b, at, cell);
}

struct ghost memo_ghosts_take_(struct ghosts *g, uint64_t hash,
                               struct ghost_clocks now) {
    struct ghost found = {GHOST_NONE, 0};
    uint32_t print = fingerprint(hash);
    struct bucket_of_ghosts *b;
    int i;

    if (g->n_buckets == 0) {
        return found;
    }
    b = bucket_at(g, hash);
    for (i = 0; i < CELLS; i++) {
        uint32_t cell = get_cell(b, i);
        if (cell >> CELL_PRINT_SHIFT == print) {
            found.kind = cell & CELL_MAIN ? GHOST_OF_MAIN : GHOST_OF_WINDOW;
            found.age = (uint64_t)age(g, cell, now) << g->unit_shift;
            set_cell(b, i, 0);
            break;
        }
    }
    return found;
}
