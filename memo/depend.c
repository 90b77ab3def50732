#include "memo/args.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/run.h"
#include "memo/shard.h"
#include "memo/step.h"

#include <string.h>

// What a load says of tags, and of what it made its value from.
//
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

// Link the result of f to a source, of which one reference is taken over, whatever
// comes of it.  0 or MEMO_ENOMEM.
static int link_to(struct memo_load *f, struct source *source, uint64_t as_of) {
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

static int link_to_name(struct memo_load *f, struct source_name name) {
    struct source *source = memo_source_get_(f->shard->memo, &name);

    return source == NULL ? MEMO_ENOMEM : link_to(f, source, f->began);
}

// The same, as of now.
static int link_to_key_now(struct memo_load *f, struct source_name name) {
    struct memo *m = f->shard->memo;
    struct source *source = memo_source_get_(m, &name);

    return source == NULL ? MEMO_ENOMEM
                          : link_to(f, source, memo_source_clock_(m));
}

// Take over the links of e, whose sources it keeps.
static int link_as(struct memo_load *f, const struct entry *e) {
    const struct links *links;
    int64_t until;
    size_t i;

    if (f->shard->memo->timing != TIMING_NONE) {
        until = memo_best_before_(f->shard->memo, e);
        f->until_ns = until < f->until_ns ? until : f->until_ns;
    }
    if ((SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0) {
        return 0;
    }
    links = *memo_entry_links_(e);
    if (links->all != SYNC_LOAD(&f->shard->memo->sources)) {
        return MEMO_EINVAL;  // the value is of another cache
    }
    for (i = 0; i < links->n; i++) {
        struct source *source = links->link[i].source;
        (void)SYNC_ADD(&source->refs, 1);
        if (link_to(f, source, links->link[i].as_of) != 0) {
            return MEMO_ENOMEM;
        }
    }
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

static int attach(struct memo *m, struct entry **e, struct links *links) {
    if (memo_entry_link_(e, links) != 0) {
        memo_links_free_(m, links);
        return MEMO_ENOMEM;
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
    return attach(m, e, links);
}

int memo_link_tags_(struct memo *m, struct entry **e,
                    const struct memo_bytes tags[], size_t n) {
    uint64_t now = memo_source_clock_(m);
    struct links *links = memo_links_new_(m, n);
    size_t i;

    for (i = 0; links != NULL && i < n; i++) {
        struct source_name name =
            memo_tag_name_(m, tags[i].data, tags[i].size);
        struct source *source = memo_source_get_(m, &name);
        if (source == NULL) {
            memo_links_free_(m, links);
            return MEMO_ENOMEM;
        }
        memo_links_add_(links, source, now);
        memo_source_unref_(m, source);
    }
    return links == NULL ? MEMO_ENOMEM : attach(m, e, links);
}

// ------------------------------------------------------------------ the load

static int check_load(const struct memo_load *l, const void *bytes,
                      size_t size) {
    if (l == NULL || memo_is_bad_name_(bytes, size)) {
        return MEMO_EINVAL;
    }
    return memo_is_finished_(l) ? MEMO_EALREADY : 0;
}

int memo_load_add_tag(struct memo_load *l, const void *tag, size_t size) {
    int error = check_load(l, tag, size);

    return error != 0
               ? error
               : link_to_name(l, memo_tag_name_(l->shard->memo, tag, size));
}

static struct source_name key_name(const struct memo *m, const void *key,
                                   size_t key_size) {
    return memo_key_name_(hash_key(&m->seed, key, key_size), key, key_size);
}

int memo_load_depend_key(struct memo_load *l, const void *key,
                         size_t key_size) {
    int error = check_load(l, key, key_size);

    return error != 0
               ? error
               : link_to_name(l, key_name(l->shard->memo, key, key_size));
}

// Link l to the key of e, which was found since l began.  If the key has changed
// since then, e may be what it was before, or what it is now; and that can be seen.
static int link_to_key_of(struct memo_load *l, const struct entry *e) {
    struct memo *m = l->shard->memo;
    struct source_name name =
        key_name(m, e->bytes, entry_key_size(SYNC_LOAD(&e->word)));
    struct source *source = memo_source_get_(m, &name);
    struct resident_step r = {e, name.hash, 0};
    uint64_t as_of = l->began, now;

    if (source == NULL) {
        return MEMO_ENOMEM;
    }
    if (!memo_link_holds_(source, as_of)) {
        now = memo_source_clock_(m);
        memo_own_(memo_shard_of_(m, name.hash), memo_is_resident_owned_, &r);
        as_of = r.is_resident ? now : as_of;
    }
    return link_to(l, source, as_of);
}

int memo_load_depend(struct memo_load *l, const struct memo_value *v) {
    int error = check_load(l, NULL, 0);
    struct entry *e;

    if (error != 0) {
        return error;
    }
    if (v == NULL || v->pin == NULL) {
        return MEMO_EINVAL;
    }
    e = memo_pinned_entry_(v->pin);
    error = link_as(l, e);
    return error != 0 ? error : link_to_key_of(l, e);
}

int memo_load_get(struct memo_load *l, const void *key, size_t key_size,
                  const struct memo_wait *wait, struct memo_value *out) {
    struct memo_wait own;
    int error = out == NULL ? MEMO_EINVAL : check_load(l, key, key_size);

    if (out != NULL) {
        memset(out, 0, sizeof(*out));
    }
    if (error == 0 && memo_take_wait_(&wait, &own) != 0) {
        error = MEMO_EINVAL;
    }
    if (error == 0) {
        error = link_to_key_now(l, key_name(l->shard->memo, key, key_size));
    }
    if (error == 0) {
        error = memo_get_wait(l->shard->memo, key, key_size, wait, out);
    }
    if (error == 0 && link_as(l, memo_pinned_entry_(out->pin)) != 0) {
        memo_release(out);
        error = MEMO_ENOMEM;
    }
    return error;
}

// ------------------------------------------------------------------ by itself

int memo_use_key_(struct memo *m, uint64_t hash, const void *key,
                  size_t key_size) {
    struct memo_load *const *flights;
    size_t n = memo_running_loads_(m, &flights), i;
    int error = 0;

    for (i = 0; i < n && error == 0; i++) {
        if (!memo_is_finished_(flights[i])) {
            error = link_to_key_now(flights[i],
                                    memo_key_name_(hash, key, key_size));
        }
    }
    return error;
}

int memo_use_value_(struct memo *m, struct memo_value *v) {
    struct memo_load *const *flights;
    size_t n = memo_running_loads_(m, &flights), i;
    int error = 0;

    for (i = 0; i < n && error == 0; i++) {
        if (!memo_is_finished_(flights[i])) {
            error = link_as(flights[i], memo_pinned_entry_(v->pin));
        }
    }
    if (error != 0) {
        memo_release(v);
    }
    return error;
}

// ------------------------------------------------------------------ changes

int memo_invalidate_tag(struct memo *m, const void *tag, size_t size) {
    struct source_name name;

    if (memo_is_bad_key_(m, tag, size)) {
        return MEMO_EINVAL;
    }
    if (SYNC_LOAD(&m->closing)) {
        return MEMO_ECLOSED;
    }
    name = memo_tag_name_(m, tag, size);
    return memo_source_change_(m, &name);
}
