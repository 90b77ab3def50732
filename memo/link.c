#include "memo/link.h"

#include <string.h>

#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/flight.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/shard.h"

// The sources of a cache, and the links of entries to them.
//
// Time is counted in changes: the clock moves when a source changes, at no other
// time.  A load remembers what it said when it began.
//
//   ORDER(change) do:A     the change itself: a key's entry leaves the table, its
//                          flight the map
//                 clock:B  acquire-release increment of clock; source->changed
//                 use:C    acquire load of clock: as_of
//                 find:D   look for the key's entry, or flight
//       If use:C reads what clock:B wrote, or something later, find:D sees do:A:
//       what it finds is newer than the change.  Else as_of is less than changed:
//       the link won't hold.
//
//       Calls that begin after a change has returned are ordered after it by
//       whatever told them; so they may load changed relaxed, and see it.
//
//   ORDER(sources) made:A  release compare-and-swap of memo.sources
//                  use:B   acquire load of it
//       If use:B isn't NULL, it leads to initialized memory.
//
// INVARIANT(sources)  A stripe's map has n_sources sources of bytes bytes, each
//     with a reference at least; none has changed later than the clock says.
//
//   ORDER(first)   made:A  memo.sources stored, then a heavy fence
//                  find:B  look for the key's entry, or flight
//                  do:C    the change of a key: see do:A above
//                  use:D   load of memo.sources
//       Store-buffering: of find:B and use:D at least one sees the other side's
//       store.  So a change that the first source comes too late for is seen.
//
// A source exists as long as something is linked to it.  A change of one that
// doesn't exist must still be known to loads that have begun before, for they may
// come to link to it; it is remembered until they have ended.

// A source that didn't exist when it changed.
struct change {
    uint64_t hash;
    uint64_t clock;
};

// Changes remembered by a stripe: at first and at most.  Beyond that, the oldest
// is forgotten, and all that began before it are taken to be concerned.
#define CHANGES_FIRST 32
#define CHANGES_MOST 1024

// What the clock says at first.  Loads that began before say 0: what happened to
// keys until then isn't known.
#define CLOCK_FIRST 1

// The sources are spread over so many stripes.
#define STRIPE_BITS 5
#define STRIPES (1 << STRIPE_BITS)

// Changes between two looks at all shards, for the load that began first.
#define LOOK_AFTER (8 * STRIPES)

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

// ------------------------------------------------------------------ all of them

static struct sources *sources_of(struct memo *m) {
    return SYNC_LOAD_ACQ(&m->sources);  // ORDER(sources) use:B
}

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
    sync_heavy_fence();  // ORDER(first) made:A
    return all;
}

static struct sources *need_sources(struct memo *m) {
    struct sources *all = sources_of(m);

    return all != NULL ? all : make_sources(m);
}

static void free_changes(struct memo *m, struct change *change, uint64_t room) {
    if (room > CHANGES_FIRST) {
        memo_dealloc_(m, change, room * sizeof(*change));
    }
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
        free_changes(m, all->stripe[i].change, all->stripe[i].room);
    }
    memo_dealloc_(m, all, sizeof(*all));
}

uint64_t memo_source_clock_(struct memo *m) {
    struct sources *all = sources_of(m);

    return all == NULL ? 0 : SYNC_LOAD_ACQ(&all->clock);  // ORDER(change) use:C
}

int memo_source_moved_(struct memo *m, uint64_t began) {
    return began == 0 || memo_source_clock_(m) != began;
}

uint64_t memo_source_concerned_(struct memo *m) {
    struct sources *all = sources_of(m);

    return all == NULL ? 0 : SYNC_LOAD(&all->concerned);
}

// ------------------------------------------------------------------ names

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

static int has_name(const struct source *source,
                    const struct source_name *name) {
    return source->hash == name->hash && source->kind == name->kind &&
           source->size == name->size &&
           hash_equal_bytes(source->bytes, name->bytes, name->size);
}

// Other bits than those that the map begins with.
static struct stripe *stripe_of(struct sources *all, uint64_t hash) {
    return &all->stripe[hash & (STRIPES - 1)];
}

// ------------------------------------------------------------------ the map
//
// Of a stripe: memo/trie.h.

static struct source *find_locked(struct stripe *t,
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

// ------------------------------------------------------------------ changes

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

static void remember_locked(struct sources *all, struct stripe *t,
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

// When a source that doesn't exist has changed last, if that matters to anybody.
static uint64_t remembered_locked(struct stripe *t,
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
        free_changes(m, from, room);
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

static void change(struct memo *m, struct sources *all,
                   const struct source_name *name) {
    struct stripe *t = stripe_of(all, name->hash);
    struct source *source;
    uint64_t clock;
    int crowded;

    sync_mutex_lock(&t->mu);
    source = find_locked(t, name);
    clock = SYNC_ADD_ACQREL(&all->clock, 1) + 1;  // ORDER(change) clock:B
    if (source != NULL) {
        SYNC_STORE(&source->changed, clock);
        (void)SYNC_ADD(&all->concerned, SYNC_LOAD(&source->refs));
    } else {
        remember_locked(all, t, name->hash, clock);
    }
    crowded = is_crowded_locked(t);
    sync_mutex_unlock(&t->mu);
    if (crowded) {
        make_room(m, all, t);
    }
}

int memo_source_change_(struct memo *m, const struct source_name *name) {
    struct sources *all = need_sources(m);

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
}

// ------------------------------------------------------------------ one of them

static size_t source_size(size_t name_size) {
    return offsetof(struct source, bytes) + name_size;
}

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
    source = find_locked(t, name);
    if (source != NULL) {
        (void)SYNC_ADD(&source->refs, 1);
    } else if (spare != NULL) {
        SYNC_STORE(&spare->changed, remembered_locked(t, name));
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
    struct sources *all = need_sources(m);
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
        remember_locked(source->all, t, source->hash, changed);
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

// ------------------------------------------------------------------ of an entry

// From so many links on it is worth to note that they have been seen to hold.
#define MANY_LINKS 4

static size_t links_size(size_t n) {
    return offsetof(struct links, link) + n * sizeof(struct link);
}

struct links *memo_links_new_(struct memo *m, size_t n) {
    struct links *links =
        n > UINT32_MAX ? NULL : memo_alloc_(m, links_size(n));

    if (links != NULL) {
        memset(links, 0, links_size(n));
        links->room = (uint32_t)n;
        links->oldest = UINT64_MAX;
        links->until_ns = MEMO_NEVER;
        SYNC_INIT(&links->held, 0);
    }
    return links;
}

void memo_links_add_(struct links *links, struct source *source,
                     uint64_t as_of) {
    struct link link = {source, as_of};

    (void)SYNC_ADD(&source->refs, 1);
    links->all = source->all;
    links->link[links->n++] = link;
    links->oldest = as_of < links->oldest ? as_of : links->oldest;
}

size_t memo_links_bytes_(const struct memo *m, const struct links *links) {
    return memo_good_size_(m, links_size(links->room));
}

void memo_links_free_(struct memo *m, struct links *links) {
    size_t i;

    if (links == NULL) {
        return;  // it didn't come to that
    }
    for (i = 0; i < links->n; i++) {
        memo_source_unref_(m, links->link[i].source);
    }
    memo_dealloc_(m, links, links_size(links->room));
}

int memo_link_holds_(struct source *source, uint64_t as_of) {
    return SYNC_LOAD(&source->changed) <= as_of &&
           SYNC_LOAD(&source->all->all_changed) <= as_of;
}

int64_t memo_links_until_(const struct entry *e) {
    return (SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0
               ? MEMO_NEVER
               : (*memo_entry_links_(e))->until_ns;
}

static int holds(const struct links *links) {
    size_t i;

    for (i = 0; i < links->n; i++) {
        if (SYNC_LOAD(&links->link[i].source->changed) >
            links->link[i].as_of) {
            return 0;
        }
    }
    return SYNC_LOAD(&links->all->all_changed) <= links->oldest;
}

int memo_links_hold_(const struct entry *e) {
    struct links *links = *memo_entry_links_(e);
    uint64_t clock;
    int hold;

    if (links->n < MANY_LINKS) {
        return holds(links);
    }
    clock = SYNC_LOAD_ACQ(&links->all->clock);
    if (SYNC_LOAD(&links->held) == clock) {
        return 1;
    }
    hold = holds(links);
    if (hold) {
        SYNC_STORE(&links->held, clock);
    }
    return hold;
}

// ------------------------------------------------------------------ looking on

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
