#include "memo/ghost.h"

#include "sync/machine.h"

// A hash table of buckets of 8 cells.  A cell is 0, or
//
//     bits  0..15  stamp
//     bit  16      whether it is GHOST_OF_MAIN
//     bits 17..31  fingerprint, not 0
//
// Whatever its size, hashes are spread evenly over it; so when it grows, ghosts
// aren't found any more.  That is seldom: nothing is evicted, and so there are
// none, until a cache is full.

#define CELLS 8
#define CELLS_PER_ENTRY 2
#define GROWS_BY_PART 4  // a quarter
#define CELL_MAIN (UINT32_C(1) << 16)
#define CELL_PRINT_SHIFT 17

struct bucket_of_ghosts {
    uint32_t cell[CELLS];
};

void memo_ghosts_init_(struct ghosts *g, void *pages, size_t size) {
    g->buckets = pages;
    g->n_buckets = 0;
    g->max_buckets = size / sizeof(struct bucket_of_ghosts);
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
    uint32_t print = (uint32_t)(mix(hash) >> 17) & 0x7fff;

    return print == 0 ? 1 : print;
}

static struct bucket_of_ghosts *bucket_at(const struct ghosts *g,
                                          uint64_t hash) {
    uint64_t i = (mix(hash) >> 32) * g->n_buckets >> 32;

    i *= sizeof(struct bucket_of_ghosts);
    return (struct bucket_of_ghosts *)(void *)(g->buckets + i);
}

static uint16_t age(uint32_t cell, struct ghost_clocks now) {
    uint16_t clock = cell & CELL_MAIN ? now.of_main : now.of_window;

    return (uint16_t)(clock - (uint16_t)cell);
}

void memo_ghosts_put_(struct ghosts *g, uint64_t hash, struct ghost ghost,
                      struct ghost_clocks now) {
    uint32_t print = fingerprint(hash);
    struct bucket_of_ghosts *b;
    unsigned oldest = 0;
    int i, at = 0;

    if (g->n_buckets == 0) {
        return;
    }
    b = bucket_at(g, hash);
    for (i = 0; i < CELLS; i++) {
        uint32_t cell = b->cell[i];
        if (cell == 0 || cell >> CELL_PRINT_SHIFT == print) {
            at = i;
            break;
        }
        if (age(cell, now) >= oldest) {
            oldest = age(cell, now);
            at = i;
        }
    }
    b->cell[at] = print << CELL_PRINT_SHIFT | ghost.stamp |
                  (ghost.kind == GHOST_OF_MAIN ? CELL_MAIN : 0);
}

struct ghost memo_ghosts_take_(struct ghosts *g, uint64_t hash) {
    struct ghost none = {GHOST_NONE, 0};
    struct bucket_of_ghosts *b;
    int i;

    if (g->n_buckets == 0) {
        return none;
    }
    b = bucket_at(g, hash);
    for (i = 0; i < CELLS; i++) {
        uint32_t cell = b->cell[i];
        if (cell >> CELL_PRINT_SHIFT == fingerprint(hash)) {
            struct ghost found = {
                cell & CELL_MAIN ? GHOST_OF_MAIN : GHOST_OF_WINDOW,
                (uint16_t)cell};
            b->cell[i] = 0;
            return found;
        }
    }
    return none;
}
