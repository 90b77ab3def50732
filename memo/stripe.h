// All sources of a cache, spread over stripes, with the changes of those that don't
// exist: what source.c, stripe.c and change.c share.
#ifndef MEMO_MEMO_STRIPE_H_
#define MEMO_MEMO_STRIPE_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/internal.h"
#include "memo/source.h"
#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/mutex.h"

// A source that didn't exist when it changed.
struct change {
    uint64_t hash;
    uint64_t clock;
};

// Changes that a stripe can remember at first.
#define CHANGES_FIRST 32

// What the clock says at first.  Loads that began before say 0: what happened to
// keys until then isn't known.
#define CLOCK_FIRST 1

// The sources are spread over so many stripes.
#define STRIPE_BITS 5
#define STRIPES (1 << STRIPE_BITS)

// INVARIANT(sources)  A stripe's map has n_sources sources of bytes bytes, each
//     with a reference at least; none has changed later than the clock says.
struct stripe {
    struct sync_mutex mu;  // leaf: no lock is acquired while it is held

    // Guarded by mu.
    struct source *map;
    struct change *change;  // a ring
    uint64_t first, n;      // index (modulo room) of the oldest; how many
    uint64_t room;          // a power of two
    uint64_t forgotten;     // clock of the latest one that may be missed
    uint64_t n_sources, bytes;
};

struct sources {
    int is_forking;  // Owned by the thread that forks: it holds the stripes.

    // Atomic.
    sync_atomic_u64 clock;        // ORDER(change)
    sync_atomic_u64 concerned;    // links to sources that changed, then
    sync_atomic_u64 oldest_load;  // no running load began before that
    sync_atomic_u64 looked;       // when oldest_load was found out
    char pad[32];
    // Atomic: when all keys changed last.  Hits read it.
    sync_atomic_u64 all_changed;
    char pad_too[56];

    struct stripe stripe[STRIPES];
    struct change first_changes[STRIPES * CHANGES_FIRST];
};

SYNC_INLINE struct sources *sources_of(struct memo *m) {
    return SYNC_LOAD_ACQ(&m->sources);  // ORDER(sources) use:B
}

// The same, made if there are none; NULL: out of memory.
struct sources *memo_sources_need_(struct memo *m);

// Other bits than those that the map begins with.
SYNC_INLINE struct stripe *stripe_of(struct sources *all, uint64_t hash) {
    return &all->stripe[hash & (STRIPES - 1)];
}

SYNC_INLINE size_t source_size(size_t name_size) {
    return offsetof(struct source, bytes) + name_size;
}

// The source of that name on the map of t; NULL: none.
struct source *memo_source_find_locked_(struct stripe *t,
                                        const struct source_name *name)
    SYNC_REQUIRES(&t->mu);

// ---- change.c

// A source of that hash, which doesn't exist, or no longer does, has changed.
void memo_change_remember_locked_(struct sources *all, struct stripe *t,
                                  uint64_t hash, uint64_t clock)
    SYNC_REQUIRES(&t->mu);

// When a source that doesn't exist has changed last, if that matters to anybody.
uint64_t memo_change_recall_locked_(struct stripe *t,
                                    const struct source_name *name)
    SYNC_REQUIRES(&t->mu);

// Give a ring of changes back, unless it is a stripe's first.
void memo_changes_free_(struct memo *m, struct change *change, uint64_t room);

#endif  // MEMO_MEMO_STRIPE_H_
