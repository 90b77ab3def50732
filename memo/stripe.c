#include "memo/stripe.h"

#include <string.h>

#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/source.h"

// All sources of a cache together.
//
// ORDER labels of this file are explained in source.h.

static struct sources *make_sources(struct memo *m) {
    struct sources *all = memo_alloc_(m, sizeof(*all)), *others = NULL;
    int i;

    if (all == NULL) {
        return NULL;
    }
    memset(all, 0, sizeof(*all));
    SYNC_INIT(&all->clock, CLOCK_FIRST);
    for (i = 0; i < STRIPES; i++) {
        sync_mutex_init(&all->stripe[i].mu);
        all->stripe[i].change = all->first_changes + i * CHANGES_FIRST;
        all->stripe[i].room = CHANGES_FIRST;
    }
    // ORDER(sources) made:A
    if (!SYNC_CAS_ACQREL(&m->sources, &others, all)) {
        memo_dealloc_(m, all, sizeof(*all));
        return others;
    }
    (void)sync_heavy_fence();  // ORDER(first) made:A
    return all;
}

struct sources *memo_sources_need_(struct memo *m) {
    struct sources *all = sources_of(m);

    return all != NULL ? all : make_sources(m);
}

// Sources may be made while another thread forks: then it doesn't hold theirs.
void memo_sources_fork_(struct memo *m, enum fork_phase phase)
    SYNC_NO_LOCK_CHECK {
    struct sources *all = sources_of(m);
    int i;

    if (all == NULL || (phase != FORK_BEFORE && !all->is_forking)) {
        return;
    }
    all->is_forking = phase == FORK_BEFORE;
    for (i = 0; i < STRIPES; i++) {
        if (phase == FORK_BEFORE) {
            sync_mutex_lock(&all->stripe[i].mu);
        } else {
            sync_mutex_unlock(&all->stripe[i].mu);
        }
    }
}

void memo_sources_free_(struct memo *m) {
    struct sources *all = sources_of(m);
    int i;

    if (all == NULL) {
        return;
    }
    for (i = 0; i < STRIPES; i++) {
        memo_changes_free_(m, all->stripe[i].change, all->stripe[i].room);
    }
    memo_dealloc_(m, all, sizeof(*all));
}

// ------------------------------------------------------------------ the map
//
// Of a stripe: see trie.h.

static int has_name(const struct source *source,
                    const struct source_name *name) {
    return source->hash == name->hash && source->kind == name->kind &&
           source->size == name->size &&
           hash_equal_bytes(source->bytes, name->bytes, name->size);
}

struct source *memo_source_find_locked_(struct stripe *t,
                                        const struct source_name *name)
    SYNC_REQUIRES(&t->mu) {
    struct source *at = t->map;
    uint64_t path = name->hash;

    sync_mutex_assert_held(&t->mu);
    while (at != NULL && !has_name(at, name)) {
        at = *trie_below(at, &path);
    }
    return at;
}

// ------------------------------------------------------------------ looking on

uint64_t memo_source_concerned_(struct memo *m) {
    struct sources *all = sources_of(m);

    return all == NULL ? 0 : SYNC_LOAD(&all->concerned);
}

void memo_source_stats_(struct memo *m, struct memo_stats *stats) {
    struct sources *all = sources_of(m);
    int i;

    if (all == NULL) {
        return;
    }
    stats->source_bytes += memo_good_size_(m, sizeof(*all));
    for (i = 0; i < STRIPES; i++) {
        struct stripe *t = &all->stripe[i];
        sync_mutex_lock(&t->mu);
        stats->sources += t->n_sources;
        stats->source_bytes += t->bytes;
        if (t->room > CHANGES_FIRST) {
            stats->source_bytes +=
                memo_good_size_(m, t->room * sizeof(struct change));
        }
        sync_mutex_unlock(&t->mu);
    }
}

// What is found of a stripe.
struct found_sources {
    uint64_t n, bytes;
    int sound;
};

static void look_at_source(struct memo *m, struct source *source,
                           struct found_sources *found) {
    int i;

    if (source == NULL) {
        return;
    }
    found->n++;
    found->bytes += memo_good_size_(m, source_size(source->size));
    found->sound &= SYNC_LOAD(&source->refs) != 0;
    found->sound &=
        SYNC_LOAD(&source->changed) <= SYNC_LOAD(&source->all->clock);
    for (i = 0; i < TRIE_WAYS; i++) {
        look_at_source(m, source->child[i], found);
    }
}

int memo_sources_are_sound_(struct memo *m) {
    struct sources *all = sources_of(m);
    int i, sound = 1;

    for (i = 0; all != NULL && i < STRIPES; i++) {
        struct stripe *t = &all->stripe[i];
        struct found_sources found = {0, 0, 1};
        sync_mutex_lock(&t->mu);
        look_at_source(m, t->map, &found);
        sound &= found.sound && found.n == t->n_sources &&
                 found.bytes == t->bytes && t->n <= t->room;
        sync_mutex_unlock(&t->mu);
    }
    return sound;
}
