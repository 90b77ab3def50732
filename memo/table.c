#include "memo/table.h"

#include <string.h>

#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/find.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "sync/machine.h"
#include "sync/pin.h"

// The owner's operations.  ORDER labels of this file are explained in table.h.

#define TABLE_NOT_SPLITTING UINT64_MAX
#define FIRST_LEVEL 16  // buckets
#define CHAINS_AT_ONCE 512  // committed together: 64 KiB

// Start to grow when buckets hold 4.5 entries on average: a group is then 70 %
// full, and 78 % where its turn comes last, which keeps chains rare.
#define GROW_NUMERATOR 2
#define GROW_DENOMINATOR 9

// More hops than chains have, if nobody makes keys collide: the reader has
// probably strayed, and better asks the owner.
#define MAX_HOPS 64

static struct group *group_at(struct table *t, uint64_t bucket_index) {
    return (struct group *)(void *)(t->base + (bucket_index >> 1) *
                                                  sizeof(struct group));
}

static SYNC_ATOMIC(uint64_t) * link_of(struct group *g) {
    return &g->bucket[1].slot[BUCKET_SLOTS - 1];
}

static int slots_of(int parity) {
    return parity == 0 ? BUCKET_SLOTS : BUCKET_SLOTS - 1;
}

static uint64_t tag_at(uint64_t tags, int i) {
    return (tags >> (8 * i)) & 0xff;
}

static uint64_t slot_word(const struct entry *e, uint64_t hash) {
    return (uint64_t)(uintptr_t)e << 16 | (hash & HASH_FRAGMENT);
}

static struct entry *entry_in(const struct bucket *b, int i) {
    return (struct entry *)(uintptr_t)(SYNC_LOAD(&b->slot[i]) >> 16);
}

int memo_table_init_(struct table *t, void *pages, size_t buckets,
                     size_t chains) {
    unsigned char *base = pages;

    t->max_level = buckets / sizeof(struct bucket);
    t->chains = t->chains_end = base + buckets;
    t->limit = base + buckets + chains;
    t->split = TABLE_NOT_SPLITTING;
    if (sync_pages_commit(base, FIRST_LEVEL * sizeof(struct bucket)) != 0) {
        return MEMO_ENOMEM;
    }
    t->committed = FIRST_LEVEL * sizeof(struct bucket);
    t->base = base;
    SYNC_STORE(&t->mask, (FIRST_LEVEL - 1) * sizeof(struct bucket));
    SYNC_STORE_REL(&t->level, FIRST_LEVEL);  // ORDER(grow) commit:A
    return 0;
}

uint64_t memo_table_bytes_(const struct table *t) {
    uint64_t level = SYNC_LOAD(&t->level);
    uint64_t buckets =
        t->split == TABLE_NOT_SPLITTING ? level : level / 2 + 2 * t->split;
    const unsigned char *chains =
        t->base + t->max_level * sizeof(struct bucket);

    return buckets * sizeof(struct bucket) + (uint64_t)(t->chains - chains);
}

// ------------------------------------------------------------------ readers

// What a look at one candidate came to.  UNSURE: it couldn't be looked at.
enum look { LOOK_OTHER, LOOK_FOUND, LOOK_CHANGED, LOOK_UNSURE };

static void count_use(struct entry *e, uint64_t word) {
    while ((word & ENTRY_USES) != ENTRY_USES &&
           !SYNC_CAS(&e->word, &word,
                     word + (UINT64_C(1) << ENTRY_USES_SHIFT))) {
    }
}

static int is_current(const struct shard *s, uint64_t word) {
    return (word & ENTRY_GENERATION) == (SYNC_LOAD(&s->stamp) & ENTRY_GENERATION);
}

static int has_key(const struct entry *e, uint64_t word, const void *key,
                   size_t key_size) {
    return entry_key_size(word) == key_size &&
           hash_equal_bytes(e->bytes, key, key_size);
}

// Keep e, which is pinned, or only briefly so, in *out, of which from is set.
static void take(struct entry *e, uint64_t word, sync_pin_slot *pin, int brief,
                 struct memo_value *out) {
    if (out->from == MEMO_NEGATIVE) {
        sync_unpin(pin);
    } else if (brief) {
        memo_entry_ref_(e);
        sync_unpin(pin);
        memo_entry_hand_out_(e, out->from, out);
    } else {
        entry_describe(e, word, entry_key_size(word), out);
        out->pin = (void *)(uintptr_t)pin;
    }
}

// What time it is, for reading the age of e; or INT64_MIN, if it is surely before
// the time from when on that needs thinking.  When the clock is read, the hits
// that follow profit from it.
static int64_t now_for(struct memo *m, const struct entry *e,
                       sync_pin_slot *pin) {
    struct sync_ticks_window *w = &sync_pin_record(pin)->window;

    if (!m->clock_is_monotonic) {
        return memo_now_(m);
    }
    return sync_ticks_before(w, SYNC_LOAD(&entry_prefix(e)->check_ns))
               ? INT64_MIN
               : sync_ticks_read_clock(w);
}

// Pin the entry in *slot and compare.  If all slots of this thread are in use,
// a brief pin protects it until a reference is counted.
static enum look look_at(struct shard *s, SYNC_ATOMIC(uint64_t) * slot,
                         uint64_t seen, struct entry *e, const void *key,
                         size_t key_size, struct memo_value *out) {
    sync_pin_slot *pin = sync_pin_fast(e);
    int brief = 0;
    uint64_t word;

    if (pin == NULL) {
        pin = sync_pin_slow(e);
    }
    if (pin == NULL) {
        pin = sync_pin_brief(e);
        brief = 1;
    }
    if (pin == NULL) {
        return LOOK_UNSURE;  // no memory for a record
    }
    if (SYNC_LOAD_ACQ(slot) != seen) {  // ORDER(pin) look:B
        sync_unpin(pin);
        return LOOK_CHANGED;
    }
    word = SYNC_LOAD(&e->word);
    if (!is_current(s, word) || !has_key(e, word, key, key_size) ||
        !entry_holds(e)) {
        sync_unpin(pin);
        return LOOK_OTHER;
    }
    out->from = MEMO_HIT;
    if ((word & ENTRY_TIMED) &&
        !memo_read_age_(s->memo, e, word, now_for(s->memo, e, pin), out)) {
        sync_unpin(pin);
        memset(out, 0, sizeof(*out));
        return LOOK_UNSURE;
    }
    count_use(e, word);
    take(e, word, pin, brief, out);
    return LOOK_FOUND;
}

// The functions that find return 1, 0, or -1 for unsure, as memo_table_find_().

static int find_in_bucket(struct shard *s, struct bucket *b, const void *key,
                          size_t key_size, uint64_t hash,
                          struct memo_value *out) {
    TABLE_SET match = table_match(b, hash);  // ORDER(slot) tags:C

    for (; match != 0; match = table_rest(match)) {
        size_t i = table_first(match);
        enum look look = LOOK_CHANGED;
        while (look == LOOK_CHANGED) {
            uint64_t seen = SYNC_LOAD_ACQ(&b->slot[i]);  // ORDER(slot) slot:D
            struct entry *e = table_entry(seen, hash);
            if (e == NULL) {
                break;
            }
            look = look_at(s, &b->slot[i], seen, e, key, key_size, out);
        }
        if (look == LOOK_FOUND || look == LOOK_UNSURE) {
            return look == LOOK_FOUND ? 1 : -1;
        }
    }
    return 0;
}

static int find_in_buckets(struct shard *s, struct group *g, const void *key,
                           size_t key_size, uint64_t hash,
                           struct memo_value *out) {
    int found = find_in_bucket(s, &g->bucket[0], key, key_size, hash, out);

    return found != 0
               ? found
               : find_in_bucket(s, &g->bucket[1], key, key_size, hash, out);
}

static int find_in_group(struct shard *s, struct group *g, const void *key,
                         size_t key_size, uint64_t hash,
                         struct memo_value *out) {
    uint64_t link = SYNC_LOAD_ACQ(link_of(g));
    int hops, found;

    for (hops = 0; link != 0 && hops < MAX_HOPS; hops++) {
        struct group *chain = (struct group *)(uintptr_t)link;
        found = find_in_buckets(s, chain, key, key_size, hash, out);
        if (found != 0) {
            return found;
        }
        link = SYNC_LOAD_ACQ(link_of(chain));
    }
    found = find_in_buckets(s, g, key, key_size, hash, out);
    return found == 0 && link != 0 ? -1 : found;
}

// The two buckets where most keys are: home, and its neighbour.
static int find_at_home(struct shard *s, const void *key, size_t key_size,
                        uint64_t hash, struct memo_value *out) {
    struct bucket *home = table_bucket(&s->table, hash);

    return find_in_bucket(s, home, key, key_size, hash, out) > 0 ||
           find_in_bucket(s, table_neighbour(home), key, key_size, hash, out) >
               0;
}

int memo_table_find_(struct shard *s, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out) {
    struct table *t = &s->table;
    uint64_t level = SYNC_LOAD_ACQ(&t->level);  // ORDER(grow) level:B

    if (find_at_home(s, key, key_size, hash, out)) {
        return 1;
    }
    for (;;) {
        uint64_t i = hash_bucket(hash);
        uint64_t lower = i & (level / 2 - 1), upper = i & (level - 1);
        uint64_t now;
        // The group that may be split, before the one split from it.
        int found =
            find_in_group(s, group_at(t, lower), key, key_size, hash, out);
        if (found == 0 && upper != lower) {
            found =
                find_in_group(s, group_at(t, upper), key, key_size, hash, out);
        }
        now = SYNC_LOAD_ACQ(&t->level);  // ORDER(grow) level:B
        if (found != 0 || now == level) {
            return found;
        }
        level = now;  // it doubled meanwhile; that happens 30 times in a life
    }
}

// ------------------------------------------------------------------ the owner

// The bucket whose number that is, with more bits than there are, by now.
static uint64_t bucket_now(const struct table *t, uint64_t number) {
    uint64_t level = SYNC_LOAD(&t->level);
    uint64_t i = number & (level - 1);

    // A group of the upper half exists once it has been split off.
    if (t->split != TABLE_NOT_SPLITTING && i >= level / 2 &&
        (i - level / 2) >> 1 >= t->split) {
        i -= level / 2;
    }
    return i;
}

static uint64_t bucket_index(const struct table *t, uint64_t hash) {
    return bucket_now(t, hash_bucket(hash));
}

// The next group of a chain, or NULL.
static struct group *next_group(struct group *g) {
    return (struct group *)(uintptr_t)SYNC_LOAD(link_of(g));
}

struct entry *memo_table_find_owned_(struct shard *s, const void *key,
                                     size_t key_size, uint64_t hash,
                                     struct table_place *place) {
    struct group *g = group_at(&s->table, bucket_index(&s->table, hash));
    int parity, i;

    for (; g != NULL; g = next_group(g)) {
        for (parity = 0; parity < 2; parity++) {
            struct bucket *b = &g->bucket[parity];
            uint64_t tags = SYNC_LOAD(&b->tags);
            for (i = 0; i < BUCKET_SLOTS; i++) {
                struct entry *e;
                if (tag_at(tags, i) != table_tag(hash)) {
                    continue;
                }
                e = table_entry(SYNC_LOAD(&b->slot[i]), hash);
                if (e != NULL &&
                    has_key(e, SYNC_LOAD(&e->word), key, key_size)) {
                    place->bucket = b;
                    place->i = i;
                    return e;
                }
            }
        }
    }
    return NULL;
}

// What a slot has beside the address is the fragment: its lower byte ends the name.
static void named_in(const struct bucket *b, uint32_t name,
                     void (*each)(struct entry *e, void *arg), void *arg) {
    uint64_t tags = SYNC_LOAD(&b->tags);
    int i;

    for (i = 0; i < BUCKET_SLOTS; i++) {
        uint64_t word = SYNC_LOAD(&b->slot[i]);
        if (tag_at(tags, i) != 0 &&
            (uint8_t)word == name >> (TABLE_NAME_BITS - 8)) {
            each((struct entry *)(uintptr_t)(word >> 16), arg);
        }
    }
}

void memo_table_named_owned_(struct shard *s, uint32_t name,
                             void (*each)(struct entry *e, void *arg),
                             void *arg) {
    struct table *t = &s->table;
    uint64_t number = name, level = SYNC_LOAD(&t->level);

    // In a huge table, a name is that of several buckets.
    do {
        struct group *g = group_at(t, bucket_now(t, number));
        for (; g != NULL; g = next_group(g)) {
            named_in(&g->bucket[0], name, each, arg);
            named_in(&g->bucket[1], name, each, arg);
        }
        number += UINT64_C(1) << TABLE_NAME_BITS;
    } while (number < level);
}

static void fill_slot(struct bucket *b, int i, uint64_t word, uint64_t tag) {
    uint64_t tags = SYNC_LOAD(&b->tags) & ~(UINT64_C(0xff) << (8 * i));

    SYNC_STORE_REL(&b->slot[i], word);                   // ORDER(slot) slot:A
    SYNC_STORE_REL(&b->tags, tags | tag << (8 * i));     // ORDER(slot) tags:B
}

static void clear_slot(struct bucket *b, int i) {
    uint64_t tags = SYNC_LOAD(&b->tags) & ~(UINT64_C(0xff) << (8 * i));

    SYNC_STORE_REL(&b->tags, tags);
    SYNC_STORE_REL(&b->slot[i], 0);  // ORDER(pin) gone:C
}

// Put word into a free slot of g's own two buckets, the home bucket first.
// Return 0 if there is none.
static int fill_group(struct group *g, int home, uint64_t word, uint64_t tag) {
    int tried, i;

    for (tried = 0; tried < 2; tried++) {
        int parity = home ^ tried;
        struct bucket *b = &g->bucket[parity];
        uint64_t tags = SYNC_LOAD(&b->tags);
        for (i = 0; i < slots_of(parity); i++) {
            if (tag_at(tags, i) == 0) {
                fill_slot(b, i, word, tag);
                return 1;
            }
        }
    }
    return 0;
}

// ---- chain groups

static int commit_chains(struct table *t) {
    size_t size = CHAINS_AT_ONCE * sizeof(struct group);

    if ((size_t)(t->limit - t->chains_end) < size ||
        sync_pages_commit(t->chains_end, size) != 0) {
        return MEMO_ENOMEM;
    }
    t->chains_end += size;
    t->committed += size;
    return 0;
}

static struct group *take_chain(struct table *t) {
    struct group *g = (struct group *)(uintptr_t)t->free_chains;

    if (g != NULL) {
        t->free_chains = SYNC_LOAD(link_of(g));
        SYNC_STORE(link_of(g), 0);
        return g;
    }
    if (t->chains == t->chains_end && commit_chains(t) != 0) {
        return NULL;
    }
    g = (struct group *)(void *)t->chains;
    t->chains += sizeof(struct group);
    return g;
}

static int is_empty(struct group *g) {
    return SYNC_LOAD(&g->bucket[0].tags) == 0 &&
           SYNC_LOAD(&g->bucket[1].tags) == 0;
}

// Give back chain groups of g from the end, as long as they are empty.  Only
// from the end: a reader in a group that is given back must not lose its way to
// entries further on.
static void trim_chain(struct table *t, struct group *g) {
    for (;;) {
        struct group *before = g, *last = next_group(g);
        if (last == NULL) {
            return;
        }
        while (next_group(last) != NULL) {
            before = last;
            last = next_group(last);
        }
        if (!is_empty(last)) {
            return;
        }
        SYNC_STORE_REL(link_of(before), 0);
        SYNC_STORE_REL(link_of(last), t->free_chains);
        t->free_chains = (uint64_t)(uintptr_t)last;
    }
}

static int put_word(struct table *t, struct group *g, int home, uint64_t word,
                    uint64_t tag) {
    for (;;) {
        struct group *next;
        if (fill_group(g, home, word, tag)) {
            return 0;
        }
        next = next_group(g);
        if (next == NULL) {
            next = take_chain(t);
            if (next == NULL) {
                return MEMO_ENOMEM;
            }
            (void)fill_group(next, home, word, tag);
            SYNC_STORE_REL(link_of(g), (uint64_t)(uintptr_t)next);
            return 0;
        }
        g = next;
    }
}

// ---- growth

static void start_to_split(struct table *t) {
    uint64_t level = SYNC_LOAD(&t->level);
    size_t size = level * sizeof(struct bucket);

    if (level == t->max_level ||
        sync_pages_commit(t->base + size, size) != 0) {
        return;  // go on with longer chains; the next insertion tries again
    }
    t->committed += size;
    t->split = 0;
    SYNC_STORE_REL(&t->level, 2 * level);  // ORDER(grow) commit:A
}

// Whether the entry in a slot belongs to the upper half: a bit of the fragment,
// or in small tables, of the hash made anew.
static int belongs_above(const struct shard *s, uint64_t word, uint64_t half) {
    uint64_t in_fragment = half >> (64 - HASH_BUCKET_SHIFT);
    const struct entry *e;

    if (in_fragment != 0) {
        return (word & in_fragment) != 0;
    }
    e = (const struct entry *)(uintptr_t)(word >> 16);
    return (hash_bucket(hash_key(&s->memo->seed, e->bytes,
                                 entry_key_size(SYNC_LOAD(&e->word)))) &
            half) != 0;
}

// Move what belongs there from one bucket of the lower group, or of its chain,
// to the upper group.
static void split_bucket(struct shard *s, struct bucket *from, int parity,
                         struct group *upper, uint64_t half) {
    uint64_t tags = SYNC_LOAD(&from->tags);
    int i;

    for (i = 0; i < slots_of(parity); i++) {
        uint64_t word = SYNC_LOAD(&from->slot[i]);
        if (tag_at(tags, i) != 0 && belongs_above(s, word, half)) {
            (void)put_word(&s->table, upper, parity, word, tag_at(tags, i));
            clear_slot(from, i);
        }
    }
}

// Move what stays in the chain of g to its own buckets, as far as they have
// room.
static void pull_up_chain(struct table *t, struct group *g) {
    struct group *chain;
    int parity, i;

    for (chain = next_group(g); chain != NULL; chain = next_group(chain)) {
        for (parity = 0; parity < 2; parity++) {
            struct bucket *b = &chain->bucket[parity];
            for (i = 0; i < slots_of(parity); i++) {
                uint64_t tag = tag_at(SYNC_LOAD(&b->tags), i);
                if (tag != 0 &&
                    fill_group(g, parity, SYNC_LOAD(&b->slot[i]), tag)) {
                    clear_slot(b, i);
                }
            }
        }
    }
    trim_chain(t, g);
}

// Make sure that a chain as long as that of g can be built beside it.
static int reserve_chains(struct table *t, struct group *g) {
    uint64_t have = t->free_chains;
    size_t fresh = 0;
    struct group *chain;

    for (chain = next_group(g); chain != NULL; chain = next_group(chain)) {
        if (have != 0) {
            have = SYNC_LOAD(link_of((struct group *)(uintptr_t)have));
        } else {
            fresh += sizeof(struct group);
        }
    }
    while (fresh > (size_t)(t->chains_end - t->chains)) {
        if (commit_chains(t) != 0) {
            return MEMO_ENOMEM;
        }
    }
    return 0;
}

void memo_table_grow_owned_(struct shard *s) {
    struct table *t = &s->table;
    uint64_t level = SYNC_LOAD(&t->level), half = level / 2;
    struct group *lower, *upper, *g;
    int parity;

    if (t->split == TABLE_NOT_SPLITTING) {
        if (t->n_entries * GROW_NUMERATOR > level * GROW_DENOMINATOR) {
            start_to_split(t);
        }
        return;
    }
    lower = group_at(t, t->split * 2);
    upper = group_at(t, half + t->split * 2);
    if (reserve_chains(t, lower) != 0) {
        return;
    }
    for (g = lower; g != NULL; g = next_group(g)) {
        for (parity = 0; parity < 2; parity++) {
            split_bucket(s, &g->bucket[parity], parity, upper, half);
        }
    }
    pull_up_chain(t, lower);
    t->split++;
    if (t->split == half / 4) {
        // More keys are found at their new home than at their old one now.
        SYNC_STORE(&t->mask, (level - 1) * sizeof(struct bucket));
    }
    if (t->split == half / 2) {
        t->split = TABLE_NOT_SPLITTING;
    }
}

int memo_table_insert_owned_(struct shard *s, struct entry *e, uint64_t hash) {
    struct table *t = &s->table;
    uint64_t i;

    i = bucket_index(t, hash);
    if (put_word(t, group_at(t, i), (int)(i & 1), slot_word(e, hash),
                 table_tag(hash)) != 0) {
        return MEMO_ENOMEM;
    }
    t->n_entries++;
    return 0;
}

void memo_table_replace_owned_(struct table_place place, struct entry *e,
                               uint64_t hash) {
    // ORDER(slot) slot:A and ORDER(pin) gone:C in one
    SYNC_STORE_REL(&place.bucket->slot[place.i], slot_word(e, hash));
}

void memo_table_remove_owned_(struct table *t, struct table_place place) {
    clear_slot(place.bucket, place.i);
    t->n_entries--;
}

uint64_t memo_table_walk_owned_(struct shard *s, uint64_t first, uint64_t n,
                                void (*each)(struct shard *s,
                                             struct table_place place,
                                             struct entry *e, void *arg),
                                void *arg) {
    uint64_t groups = SYNC_LOAD(&s->table.level) / 2, i;

    for (i = first; i < groups && i - first < n; i++) {
        struct group *g;
        for (g = group_at(&s->table, i * 2); g != NULL; g = next_group(g)) {
            int k;
            for (k = 0; k < 2 * BUCKET_SLOTS; k++) {
                struct table_place place = {&g->bucket[k / BUCKET_SLOTS],
                                            k % BUCKET_SLOTS};
                if (tag_at(SYNC_LOAD(&place.bucket->tags), place.i) != 0) {
                    each(s, place, entry_in(place.bucket, place.i), arg);
                }
            }
        }
    }
    return groups;
}
