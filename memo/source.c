#include "memo/source.h"

#include <string.h>

#include "memo/internal.h"
#include "memo/stripe.h"

// A source: its name, and how it comes and goes.

// Makes the hash of a tag differ from that of an equal key.
#define TAG_SALT UINT64_C(0x9e3779b97f4a7c15)

struct source_name memo_tag_name_(const struct memo *m, const void *tag,
                                  size_t size) {
    struct source_name name = {SOURCE_TAG,
                               hash_key(&m->seed, tag, size) ^ TAG_SALT, tag,
                               size};

    return name;
}

struct source_name memo_key_name_(uint64_t hash, const void *key, size_t size) {
    struct source_name name = {SOURCE_KEY, hash, key, size};

    return name;
}

// ------------------------------------------------------------------ references

static struct source *new_source(struct memo *m, struct sources *all,
                                 const struct source_name *name) {
    struct source *source = memo_alloc_(m, source_size(name->size));

    if (source != NULL) {
        memset(source, 0, source_size(name->size));
        source->all = all;
        source->hash = name->hash;
        source->kind = name->kind;
        source->size = (uint32_t)name->size;
        SYNC_INIT(&source->refs, 1);
        SYNC_INIT(&source->changed, 0);
        if (name->size != 0) {
            memcpy(source->bytes, name->bytes, name->size);
        }
    }
    return source;
}

// The source of that name, with one more reference; spare is put there, if there
// is none; which may be NULL.
static struct source *find_or_put(struct memo *m, struct sources *all,
                                  const struct source_name *name,
                                  struct source *spare) {
    struct stripe *t = stripe_of(all, name->hash);
    struct source *source;

    sync_mutex_lock(&t->mu);
    source = memo_source_find_locked_(t, name);
    if (source != NULL) {
        (void)SYNC_ADD(&source->refs, 1);
    } else if (spare != NULL) {
        SYNC_STORE(&spare->changed, memo_change_recall_locked_(t, name));
        t->map = trie_insert(t->map, spare, spare->hash);
        t->n_sources++;
        t->bytes += memo_good_size_(m, source_size(name->size));
        source = spare;
    }
    sync_mutex_unlock(&t->mu);
    return source;
}

struct source *memo_source_get_(struct memo *m,
                                const struct source_name *name) {
    struct sources *all = memo_sources_need_(m);
    struct source *source, *spare;

    if (all == NULL) {
        return NULL;
    }
    source = find_or_put(m, all, name, NULL);
    if (source != NULL) {
        return source;
    }
    spare = new_source(m, all, name);
    if (spare == NULL) {
        return NULL;
    }
    source = find_or_put(m, all, name, spare);
    if (source != spare) {
        memo_dealloc_(m, spare, source_size(name->size));
    }
    return source;
}

// Drop a reference.  If it is the last one, take the source off the map, and
// return 1.
static int drop_last_locked(struct memo *m, struct stripe *t,
                            struct source *source) SYNC_REQUIRES(&t->mu) {
    uint64_t changed;

    sync_mutex_assert_held(&t->mu);
    if (SYNC_SUB_ACQREL(&source->refs, 1) != 1) {
        return 0;
    }
    changed = SYNC_LOAD(&source->changed);
    t->map = trie_remove(t->map, source, source->hash);
    t->n_sources--;
    t->bytes -= memo_good_size_(m, source_size(source->size));
    if (changed > SYNC_LOAD(&source->all->oldest_load)) {
        memo_change_remember_locked_(source->all, t, source->hash, changed);
    }
    return 1;
}

// ORDER(unref), as in entry.c; the last reference is dropped with the stripe
// locked, for find_or_put() may take another.
void memo_source_unref_(struct memo *m, struct source *source) {
    struct stripe *t = stripe_of(source->all, source->hash);
    uint32_t refs = SYNC_LOAD(&source->refs);
    int last;

    while (refs > 1) {
        if (SYNC_CAS_REL(&source->refs, &refs, refs - 1)) {
            return;
        }
    }
    sync_mutex_lock(&t->mu);
    last = drop_last_locked(m, t, source);
    sync_mutex_unlock(&t->mu);
    if (last) {
        memo_dealloc_(m, source, source_size(source->size));
    }
}
