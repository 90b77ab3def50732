#include "memo/engine.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/stripe.h"

// Changes of sources: when there were any, and which are remembered.
//
// ORDER labels of this file are explained in source.h.

// Changes that a stripe can remember at most.  Beyond that, the oldest is
// forgotten, and all that began before it are taken to be concerned.
#define CHANGES_MOST 1024

// Changes between two looks at all shards, for the load that began first.
#define LOOK_AFTER (8 * STRIPES)

uint64_t memo_source_clock_(struct memo *m) {
    struct sources *all = sources_of(m);

    return all == NULL ? 0 : SYNC_LOAD_ACQ(&all->clock);  // ORDER(change) use:C
}

int memo_source_moved_(struct memo *m, uint64_t began) {
    return began == 0 || memo_source_clock_(m) != began;
}

// ------------------------------------------------------------------ remembered

static struct change *nth_change(const struct stripe *t, uint64_t n) {
    return &t->change[(t->first + n) & (t->room - 1)];
}

// Forget what no running load can ask for.
static void purge_locked(struct stripe *t, uint64_t oldest_load)
    SYNC_REQUIRES(&t->mu) {
    sync_mutex_assert_held(&t->mu);
    while (t->n != 0 && nth_change(t, 0)->clock <= oldest_load) {
        t->first++;
        t->n--;
    }
}

void memo_change_remember_locked_(struct sources *all, struct stripe *t,
                                  uint64_t hash, uint64_t clock)
    SYNC_REQUIRES(&t->mu) {
    struct change change = {hash, clock};

    sync_mutex_assert_held(&t->mu);
    purge_locked(t, SYNC_LOAD(&all->oldest_load));
    if (t->n == t->room) {
        uint64_t lost = nth_change(t, 0)->clock;
        t->forgotten = t->forgotten < lost ? lost : t->forgotten;
        t->first++;
        t->n--;
    }
    *nth_change(t, t->n) = change;
    t->n++;
}

uint64_t memo_change_recall_locked_(struct stripe *t,
                                    const struct source_name *name)
    SYNC_REQUIRES(&t->mu) {
    uint64_t latest = name->kind == SOURCE_KEY ? CLOCK_FIRST : 0, i;

    sync_mutex_assert_held(&t->mu);
    latest = latest < t->forgotten ? t->forgotten : latest;
    for (i = 0; i < t->n; i++) {
        const struct change *change = nth_change(t, i);
        if (change->hash == name->hash && change->clock > latest) {
            latest = change->clock;
        }
    }
    return latest;
}

void memo_changes_free_(struct memo *m, struct change *change, uint64_t room) {
    if (room > CHANGES_FIRST) {
        memo_dealloc_(m, change, room * sizeof(*change));
    }
}

// ------------------------------------------------------------------ room

static int is_crowded_locked(struct stripe *t) SYNC_REQUIRES(&t->mu) {
    sync_mutex_assert_held(&t->mu);
    return t->n >= t->room / 4 * 3;
}

struct look_step {
    uint64_t oldest;
};

static void look_owned(struct shard *s, void *look_step) {
    struct look_step *look = look_step;
    const struct memo_load *f;

    if (!sync_list_is_empty(&s->running)) {
        f = SYNC_CONTAINER(s->running.first, struct memo_load, running);
        look->oldest = f->began < look->oldest ? f->began : look->oldest;
    }
}

// Find out when the oldest running load has begun; unless that was done a moment
// ago.  A load that starts behind our back begins later than we do.
static void look_for_oldest_load(struct memo *m, struct sources *all) {
    uint64_t now = SYNC_LOAD_ACQ(&all->clock), before;
    struct look_step look = {now};
    uint64_t i;

    if (now - SYNC_LOAD(&all->looked) < LOOK_AFTER) {
        return;
    }
    SYNC_STORE(&all->looked, now);
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), look_owned, &look);
    }
    before = SYNC_LOAD(&all->oldest_load);
    while (before < look.oldest &&
           !SYNC_CAS(&all->oldest_load, &before, look.oldest)) {
    }
}

// Move the changes of a stripe to a ring of twice the size, if that helps.
static void grow_changes(struct memo *m, struct sources *all, struct stripe *t,
                         uint64_t room) {
    struct change *from = NULL,
                  *to = memo_alloc_(m, 2 * room * sizeof(struct change));
    uint64_t i;

    if (to == NULL) {
        return;  // the oldest will have to be forgotten
    }
    sync_mutex_lock(&t->mu);
    purge_locked(t, SYNC_LOAD(&all->oldest_load));
    if (t->room == room && t->n >= room / 2) {
        for (i = 0; i < t->n; i++) {
            to[i] = *nth_change(t, i);
        }
        from = t->change;
        t->change = to;
        t->first = 0;
        t->room = 2 * room;
    }
    sync_mutex_unlock(&t->mu);
    if (from == NULL) {
        memo_dealloc_(m, to, 2 * room * sizeof(*to));
    } else {
        memo_changes_free_(m, from, room);
    }
}

// A stripe is crowded: make room in it.  Nothing is locked or owned.
static void make_room(struct memo *m, struct sources *all, struct stripe *t) {
    uint64_t room;
    int crowded;

    look_for_oldest_load(m, all);
    sync_mutex_lock(&t->mu);
    purge_locked(t, SYNC_LOAD(&all->oldest_load));
    crowded = t->n >= t->room / 2;
    room = t->room;
    sync_mutex_unlock(&t->mu);
    if (crowded && room < CHANGES_MOST) {
        grow_changes(m, all, t, room);
    }
}

// ------------------------------------------------------------------ changing

static void change(struct memo *m, struct sources *all,
                   const struct source_name *name) {
    struct stripe *t = stripe_of(all, name->hash);
    struct source *source;
    uint64_t clock;
    int crowded;

    sync_mutex_lock(&t->mu);
    source = memo_source_find_locked_(t, name);
    clock = SYNC_ADD_ACQREL(&all->clock, 1) + 1;  // ORDER(change) clock:B
    if (source != NULL) {
        SYNC_STORE(&source->changed, clock);
        (void)SYNC_ADD(&all->concerned, SYNC_LOAD(&source->refs));
        (void)SYNC_ADD_ACQREL(&all->clock, 1);  // ORDER(held) told:A
    } else {
        memo_change_remember_locked_(all, t, name->hash, clock);
    }
    crowded = is_crowded_locked(t);
    sync_mutex_unlock(&t->mu);
    if (crowded) {
        make_room(m, all, t);
    }
}

int memo_source_change_(struct memo *m, const struct source_name *name) {
    struct sources *all = memo_sources_need_(m);

    if (all == NULL) {
        return MEMO_ENOMEM;
    }
    change(m, all, name);
    return 0;
}

void memo_key_changed_(struct memo *m, uint64_t hash, const void *key,
                       size_t key_size) {
    struct sources *all = sources_of(m);
    struct source_name name = memo_key_name_(hash, key, key_size);

    if (all != NULL) {
        change(m, all, &name);
    }
}

void memo_all_keys_changed_(struct memo *m) {
    struct sources *all = sources_of(m);
    uint64_t clock, before;

    if (all == NULL) {
        return;
    }
    clock = SYNC_ADD_ACQREL(&all->clock, 1) + 1;  // ORDER(change) clock:B
    before = SYNC_LOAD(&all->all_changed);
    while (before < clock && !SYNC_CAS(&all->all_changed, &before, clock)) {
    }
    (void)SYNC_ADD_ACQREL(&all->clock, 1);  // ORDER(held) told:A
}
