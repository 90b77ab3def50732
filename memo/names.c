#include "memo/names.h"

#include <string.h>

#include "memo/memo.h"
#include "sync/machine.h"

// A queue is a list of chunks, each of one cache line.  Only the ends of a queue
// fill chunks in part, and where it has just been tidied: a name that is 0 there
// is none.

#define CHUNK_NAMES 15
#define QUEUES 3

struct names_chunk {
    uint32_t next;  // the newer one, or the next free one
    uint32_t name[CHUNK_NAMES];
};

// Chunks that aren't full: the ends of each queue, and two where it is tidied.
#define CHUNKS_IN_PART (4 * QUEUES)
#define CHUNKS_FIRST 64  // 4 KiB

void memo_names_init_(struct names_pool *pool, void *pages, size_t size) {
    size_t most = size / sizeof(struct names_chunk);

    pool->chunks = pages;
    pool->most = most > UINT32_MAX ? UINT32_MAX : (uint32_t)most;
    pool->used = 1;
}

uint64_t memo_names_bytes_(const struct names_pool *pool) {
    return (uint64_t)pool->used * sizeof(struct names_chunk);
}

int memo_names_reserve_(struct names_pool *pool) {
    uint64_t wanted = 1 + CHUNKS_IN_PART + pool->n / CHUNK_NAMES + 1;
    uint64_t to = (uint64_t)pool->committed * 2;

    if (wanted <= pool->committed) {
        return 0;
    }
    to = to < CHUNKS_FIRST ? CHUNKS_FIRST : to > pool->most ? pool->most : to;
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
