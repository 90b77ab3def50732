#include "memo/link_set.h"

#include <string.h>

#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/shard.h"
#include "memo/source.h"

// The links of a load are a hash table of sources.  The load adds to it, while the
// owner of the shard looks whether they still hold, when somebody wants to join.
//
//   ORDER(link)  fill:A  release store of slot.source, or of f->links
//                walk:B  acquire load of it
//       If walk:B sees a source or a set, it is initialized, and so is as_of.
//
// LIFETIME: a set that was outgrown is kept until the load is gone.

#define LINKS_FIRST 8  // slots, of which three quarters are used

struct link_slot {
    SYNC_ATOMIC(struct source *) source;  // Atomic.  With a reference
    sync_atomic_u64 as_of;                // Atomic.
};

struct link_set {
    struct link_set *outgrown;  // Const after init.
    size_t room;                // Const after init; a power of two.
    size_t n;                   // Owned by the load.
    struct link_slot slot[];
};

static size_t set_size(size_t room) {
    return offsetof(struct link_set, slot) + room * sizeof(struct link_slot);
}

static struct link_set *new_set(struct memo *m, size_t room) {
    struct link_set *set = memo_alloc_(m, set_size(room));

    if (set != NULL) {
        memset(set, 0, set_size(room));
        set->room = room;
    }
    return set;
}

void memo_link_set_free_(struct memo *m, struct link_set *set) {
    size_t i;

    for (i = 0; set != NULL && i < set->room; i++) {
        struct source *source = SYNC_LOAD(&set->slot[i].source);
        if (source != NULL) {
            memo_source_unref_(m, source);
        }
    }
    while (set != NULL) {
        struct link_set *outgrown = set->outgrown;
        memo_dealloc_(m, set, set_size(set->room));
        set = outgrown;
    }
}

// The slot that has the source, or could take it.
static struct link_slot *slot_for(struct link_set *set,
                                  const struct source *source) {
    size_t i = (size_t)(source->hash >> 32) & (set->room - 1);

    for (;;) {
        const struct source *there = SYNC_LOAD(&set->slot[i].source);
        if (there == NULL || there == source) {
            return &set->slot[i];
        }
        i = (i + 1) & (set->room - 1);
    }
}

static void fill(struct link_set *set, struct source *source, uint64_t as_of) {
    struct link_slot *slot = slot_for(set, source);

    SYNC_STORE(&slot->as_of, as_of);
    SYNC_STORE_REL(&slot->source, source);  // ORDER(link) fill:A
    set->n++;
}

// The set of f with a slot to fill; NULL: out of memory.
static struct link_set *roomy_set(struct memo_load *f) {
    struct link_set *set = SYNC_LOAD(&f->links), *next;
    size_t i;

    if (set != NULL && set->n < set->room / 4 * 3) {
        return set;
    }
    next = new_set(f->shard->memo, set == NULL ? LINKS_FIRST : 2 * set->room);
    if (next == NULL) {
        return NULL;
    }
    next->outgrown = set;
    for (i = 0; set != NULL && i < set->room; i++) {
        struct source *source = SYNC_LOAD(&set->slot[i].source);
        if (source != NULL) {
            fill(next, source, SYNC_LOAD(&set->slot[i].as_of));
        }
    }
    SYNC_STORE_REL(&f->links, next);  // ORDER(link) fill:A
    return next;
}

// Whether the source is the key of f itself.  A value may have been made from an
// older one of the same key, but doesn't go when it replaces that.
static int is_own_key(const struct memo_load *f, const struct source *source) {
    return source->kind == SOURCE_KEY && source->hash == f->hash &&
           source->size == f->key_size &&
           hash_equal_bytes(source->bytes, f->key, f->key_size);
}

int memo_link_to_(struct memo_load *f, struct source *source, uint64_t as_of) {
    struct memo *m = f->shard->memo;
    struct link_set *set = SYNC_LOAD(&f->links);
    struct link_slot *slot = set == NULL ? NULL : slot_for(set, source);

    if (is_own_key(f, source)) {
        memo_source_unref_(m, source);
        return 0;
    }
    if (slot != NULL && SYNC_LOAD(&slot->source) == source) {
        if (as_of < SYNC_LOAD(&slot->as_of)) {
            SYNC_STORE(&slot->as_of, as_of);
        }
        memo_source_unref_(m, source);
        return 0;
    }
    set = roomy_set(f);
    if (set == NULL) {
        memo_source_unref_(m, source);
        return MEMO_ENOMEM;
    }
    fill(set, source, as_of);
    return 0;
}

// ------------------------------------------------------------------ the result

int memo_is_outdated_owned_(struct memo_load *f) {
    struct link_set *set = SYNC_LOAD_ACQ(&f->links);  // ORDER(link) walk:B
    size_t i;

    for (i = 0; set != NULL && i < set->room; i++) {
        struct source *source =
            SYNC_LOAD_ACQ(&set->slot[i].source);  // ORDER(link) walk:B
        if (source != NULL &&
            !memo_link_holds_(source, SYNC_LOAD(&set->slot[i].as_of))) {
            return 1;
        }
    }
    return 0;
}

int memo_link_result_(struct memo_load *f, struct entry **e) {
    struct memo *m = f->shard->memo;
    struct link_set *set = SYNC_LOAD(&f->links);
    struct links *links;
    size_t n, i;

    if (set == NULL || *e == NULL) {
        return 0;
    }
    n = set->n;
    links = memo_links_new_(m, n);
    if (links == NULL) {
        return MEMO_ENOMEM;
    }
    for (i = 0; i < set->room && links->n < n; i++) {
        struct source *source = SYNC_LOAD(&set->slot[i].source);
        if (source != NULL) {
            memo_links_add_(links, source, SYNC_LOAD(&set->slot[i].as_of));
        }
    }
    links->until_ns = f->until_ns;
    return memo_links_attach_(m, e, links);
}
