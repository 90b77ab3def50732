#include "memo/jemalloc.h"

#include <limits.h>
#include <stdio.h>

#include <jemalloc/jemalloc.h>

#include "sync/atomic.h"
#include "sync/fault.h"

// Thread caches are passed by.  They belong to threads, not to arenas, so they
// would mix blocks of several, keep some back from every count, and have to be
// emptied in all threads before an arena may go.
//
// LIFETIME: blocks counts what is in use, and 1 for the owner.  Whoever takes
// it to 0 destroys the arena.
//
//   ORDER(blocks)  acquire-release decrements of blocks: who takes it to 0 sees
//                  all that others did with the arena, and destroys it.

struct memo_jemalloc {
    // Const after init.
    unsigned arena;
    int flags;
    // Atomic.
    sync_atomic_u64 blocks;
    sync_atomic_u32 leaving;
};

#define NAME_MOST 64

// MALLOCX_ARENA() shifts its argument, plus 1, by 20 bits in an int.
#define ARENA_MOST ((unsigned)(INT_MAX >> 20) - 1)

static int read_number(const char *name, void *out, size_t size) {
    size_t got = size;

    return mallctl(name, out, &got, NULL, 0) != 0 || got != size;
}

// One of the arena's statistics; they are of when they were refreshed.
static uint64_t stat_of(const struct memo_jemalloc *j, const char *what) {
    char name[NAME_MOST];
    size_t n = 0;

    (void)snprintf(name, sizeof(name), "stats.arenas.%u.%s", j->arena, what);
    return read_number(name, &n, sizeof(n)) != 0 ? 0 : n;
}

static void destroy_arena(unsigned arena) {
    char name[NAME_MOST];

    (void)snprintf(name, sizeof(name), "arena.%u.destroy", arena);
    (void)mallctl(name, NULL, NULL, NULL, 0);
}

// One less is in use; return whether it was the last.
static int gone(struct memo_jemalloc *j) {
    if (SYNC_SUB_ACQREL(&j->blocks, 1) != 1) {  // ORDER(blocks)
        return 0;
    }
    destroy_arena(j->arena);
    sync_free(j);
    return 1;
}

static int create_arena(unsigned *arena) {
    if (sync_fault_() ||
        read_number("arenas.create", arena, sizeof(*arena)) != 0) {
        return MEMO_ENOMEM;
    }
    if (*arena > ARENA_MOST) {
        destroy_arena(*arena);
        return MEMO_ENOMEM;
    }
    return 0;
}

static void *allocate(void *state, size_t size) {
    struct memo_jemalloc *j = state;
    void *p = sync_fault_() ? NULL : mallocx(size, j->flags);

    if (p != NULL) {
        (void)SYNC_ADD(&j->blocks, 1);
    }
    return p;
}

static void deallocate(void *state, void *p, size_t size) {
    struct memo_jemalloc *j = state;

    if (!SYNC_LOAD(&j->leaving)) {
        sdallocx(p, size, j->flags);
    }
    (void)gone(j);
}

static size_t good_size(void *state, size_t size) {
    const struct memo_jemalloc *j = state;
    size_t good = nallocx(size, j->flags);

    return good == 0 ? size : good;  // 0: nobody could allocate so much
}

int memo_jemalloc_new(struct memo_jemalloc **out) {
    struct memo_jemalloc *j;

    if (out == NULL) {
        return MEMO_EINVAL;
    }
    *out = NULL;
    j = sync_alloc(sizeof(*j));
    if (j == NULL) {
        return MEMO_ENOMEM;
    }
    if (create_arena(&j->arena) != 0) {
        sync_free(j);
        return MEMO_ENOMEM;
    }
    j->flags = MALLOCX_ARENA(j->arena) | MALLOCX_TCACHE_NONE;
    SYNC_INIT(&j->blocks, 1);
    SYNC_INIT(&j->leaving, 0);
    *out = j;
    return 0;
}

struct memo_allocator memo_jemalloc_allocator(struct memo_jemalloc *j) {
    struct memo_allocator none = {NULL, NULL, NULL, NULL};
    struct memo_allocator a = {allocate, deallocate, j, good_size};

    return j == NULL ? none : a;
}

int memo_jemalloc_stats(struct memo_jemalloc *j,
                        struct memo_jemalloc_stats *out) {
    uint64_t epoch = 1;
    size_t size = sizeof(epoch), page = 0;
    char has_stats = 0;

    if (j == NULL || out == NULL || out->size != sizeof(*out)) {
        return MEMO_EINVAL;
    }
    out->blocks = SYNC_LOAD(&j->blocks) - 1;
    if (read_number("config.stats", &has_stats, sizeof(has_stats)) != 0 ||
        !has_stats || read_number("arenas.page", &page, sizeof(page)) != 0 ||
        mallctl("epoch", &epoch, &size, &epoch, size) != 0) {
        out->allocated = out->active = out->resident = 0;
        return MEMO_ENOENT;
    }
    out->allocated =
        stat_of(j, "small.allocated") + stat_of(j, "large.allocated");
    out->active = stat_of(j, "pactive") * page;
    out->resident = stat_of(j, "resident");
    return 0;
}

void memo_jemalloc_leave(struct memo_jemalloc *j) {
    if (j != NULL) {
        SYNC_STORE(&j->leaving, 1);
    }
}

int memo_jemalloc_free(struct memo_jemalloc *j) {
    return j == NULL || gone(j) ? 0 : MEMO_EBUSY;
}
