#include "memo/names.h"

#include <string.h>

#include "memo/memo.h"
#include "sync/machine.h"

// A queue is a list of chunks, each of one cache line.  Only the ends of a queue
// fill chunks in part, and where it has just been tidied: a name that is 0 there
// is none.  Of a pile, only the newest chunk may not be full, and none is empty.

#define CHUNK_NAMES 15

struct names_chunk {
    uint32_t next;  // the newer one, or the next free one
    uint32_t name[CHUNK_NAMES];
};

// Chunks of a queue that aren't full: its ends, and two where it is tidied.
#define QUEUE_IN_PART 4
#define CHUNKS_FIRST 64  // 4 KiB; or a multiple

void memo_names_init_(struct names_pool *pool, void *pages, size_t size,
                      uint32_t queues, uint32_t piles) {
    size_t most = size / sizeof(struct names_chunk);

    pool->chunks = pages;
    pool->most = most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
    pool->in_part = queues * QUEUE_IN_PART + piles;
    pool->used = pool->most_used = 1;
}

uint64_t memo_names_bytes_(const struct names_pool *pool) {
    return (uint64_t)pool->most_used * sizeof(struct names_chunk);
}

int memo_names_reserve_(struct names_pool *pool, uint64_t more) {
    uint64_t full = (pool->n + more) / CHUNK_NAMES;
    uint64_t wanted = 1 + pool->in_part + full + 1;
    uint64_t least = (wanted + CHUNKS_FIRST - 1) / CHUNKS_FIRST * CHUNKS_FIRST;
    uint64_t to = (uint64_t)pool->committed * 2;

    if (wanted <= pool->committed) {
        return 0;
    }
    to = to < least ? least : to;
    to = to > pool->most ? pool->most : to;
    if (wanted > to || sync_pages_commit(pool->chunks,
                                         to * sizeof(struct names_chunk)) != 0) {
        return MEMO_ENOMEM;
    }
    pool->committed = (uint32_t)to;
    return 0;
}

static struct names_chunk *at(const struct names_pool *pool, uint32_t chunk) {
    return pool->chunks + chunk;
}

static uint32_t take_chunk(struct names_pool *pool) {
    uint32_t chunk = pool->free;

    if (chunk == 0) {
        chunk = pool->used++;
        if (pool->used > pool->most_used) {
            pool->most_used = pool->used;
        }
    } else {
        pool->free = at(pool, chunk)->next;
    }
    memset(at(pool, chunk), 0, sizeof(struct names_chunk));
    return chunk;
}

static void free_chunk(struct names_pool *pool, uint32_t chunk) {
    at(pool, chunk)->next = pool->free;
    pool->free = chunk;
}

void memo_names_push_(struct names_pool *pool, struct names *q, uint32_t name) {
    if (q->newest == 0) {
        q->oldest = q->newest = take_chunk(pool);
        q->first = q->end = 0;
    } else if (q->end == CHUNK_NAMES) {
        uint32_t chunk = take_chunk(pool);
        at(pool, q->newest)->next = chunk;
        q->newest = chunk;
        q->end = 0;
    }
    at(pool, q->newest)->name[q->end++] = name;
    q->n++;
    pool->n++;
}

// The oldest chunk is used up, or its rest is none.
static void drop_oldest_chunk(struct names_pool *pool, struct names *q) {
    uint32_t chunk = q->oldest;

    q->oldest = at(pool, chunk)->next;
    q->first = 0;
    if (chunk == q->newest) {
        q->oldest = q->newest = 0;
    }
    if (q->tidied == chunk || q->tidied == q->oldest) {
        q->tidied = 0;
    }
    free_chunk(pool, chunk);
}

uint32_t memo_names_oldest_(const struct names_pool *pool,
                            const struct names *q) {
    return q->n == 0 ? 0 : at(pool, q->oldest)->name[q->first];
}

void memo_names_pop_(struct names_pool *pool, struct names *q) {
    q->n--;
    pool->n--;
    q->first++;
    while (q->oldest != 0 &&
           (q->oldest == q->newest
                ? q->first == q->end
                : q->first == CHUNK_NAMES ||
                      at(pool, q->oldest)->name[q->first] == 0)) {
        drop_oldest_chunk(pool, q);
    }
}

// ------------------------------------------------------------------ tidying

struct gathered {
    uint32_t name[2 * CHUNK_NAMES];
    uint32_t n;
};

static void gather(struct names_pool *pool, struct names *q, uint32_t chunk,
                   int (*stands)(void *arg, uint32_t name), void *arg,
                   struct gathered *g) {
    const struct names_chunk *c = at(pool, chunk);
    int i;

    for (i = 0; i < CHUNK_NAMES && c->name[i] != 0; i++) {
        if (stands(arg, c->name[i])) {
            g->name[g->n++] = c->name[i];
        } else {
            q->n--;
            pool->n--;
        }
    }
}

// Put the gathered from the given one on into a chunk.
static void put_back(struct names_pool *pool, uint32_t chunk,
                     const struct gathered *g, uint32_t from) {
    struct names_chunk *c = at(pool, chunk);
    uint32_t n = g->n - from < CHUNK_NAMES ? g->n - from : CHUNK_NAMES;

    memset(c->name, 0, sizeof(c->name));
    memcpy(c->name, g->name + from, n * sizeof(c->name[0]));
}

// Two chunks at a time, which are made one if they fit.  Neither is one of the
// queue's ends.
void memo_names_tidy_(struct names_pool *pool, struct names *q,
                      int (*stands)(void *arg, uint32_t name), void *arg) {
    struct gathered g = {.n = 0};
    uint32_t chunk = q->tidied, next;

    if (chunk == 0 && q->oldest != q->newest) {
        chunk = at(pool, q->oldest)->next;
    }
    next = chunk == 0 || chunk == q->newest ? 0 : at(pool, chunk)->next;
    if (next == 0 || next == q->newest) {
        q->tidied = 0;
        return;
    }
    gather(pool, q, chunk, stands, arg, &g);
    gather(pool, q, next, stands, arg, &g);
    put_back(pool, chunk, &g, 0);
    if (g.n > CHUNK_NAMES) {
        put_back(pool, next, &g, CHUNK_NAMES);
        q->tidied = next;
    } else {
        at(pool, chunk)->next = at(pool, next)->next;
        free_chunk(pool, next);
        q->tidied = chunk;
    }
}

void memo_names_walk_(const struct names_pool *pool, const struct names *q,
                      void (*each)(void *arg, uint32_t name), void *arg) {
    uint32_t chunk = q->oldest, i = q->first;

    while (chunk != 0) {
        uint32_t end = chunk == q->newest ? q->end : CHUNK_NAMES;
        for (; i < end && at(pool, chunk)->name[i] != 0; i++) {
            each(arg, at(pool, chunk)->name[i]);
        }
        chunk = chunk == q->newest ? 0 : at(pool, chunk)->next;
        i = 0;
    }
}

// ------------------------------------------------------------------ piles

// How many names a chunk has; its names come first.
static uint32_t count_in(const struct names_chunk *c) {
    uint32_t n = c->name[7] != 0 ? 8 : 0;

    n += c->name[n + 3] != 0 ? 4 : 0;
    n += c->name[n + 1] != 0 ? 2 : 0;
    return n + (c->name[n] != 0);
}

_Static_assert(CHUNK_NAMES == 15, "as many as four bits can count");

void memo_names_put_(struct names_pool *pool, uint32_t *pile, uint32_t name) {
    uint32_t n = *pile == 0 ? CHUNK_NAMES : count_in(at(pool, *pile));

    if (n == CHUNK_NAMES) {
        uint32_t chunk = take_chunk(pool);
        at(pool, chunk)->next = *pile;
        *pile = chunk;
        n = 0;
    }
    at(pool, *pile)->name[n] = name;
    pool->n++;
}

uint32_t memo_names_take_(struct names_pool *pool, uint32_t *pile) {
    uint32_t chunk = *pile, n, name;

    if (chunk == 0) {
        return 0;
    }
    n = count_in(at(pool, chunk)) - 1;
    name = at(pool, chunk)->name[n];
    at(pool, chunk)->name[n] = 0;
    pool->n--;
    if (n == 0) {
        *pile = at(pool, chunk)->next;
        free_chunk(pool, chunk);
    }
    return name;
}

void memo_names_walk_pile_(const struct names_pool *pool, uint32_t pile,
                           void (*each)(void *arg, uint32_t name), void *arg) {
    uint32_t chunk, i;

    for (chunk = pile; chunk != 0; chunk = at(pool, chunk)->next) {
        for (i = 0; i < count_in(at(pool, chunk)); i++) {
            each(arg, at(pool, chunk)->name[i]);
        }
    }
}

void memo_names_forget_(struct names_pool *pool) {
    pool->used = 1;
    pool->free = 0;
    pool->n = 0;
}
