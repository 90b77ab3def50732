#include "memo/table.h"

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "sync/machine.h"

// The owner's operations.  ORDER labels of this file are explained in table.h.

#define TABLE_NOT_SPLITTING UINT64_MAX
#define FIRST_LEVEL 16  // buckets
#define CHAINS_AT_ONCE 512  // committed together: 64 KiB

// Start to grow when buckets hold 5 entries on average: a group is then 77 % full,
// and 85 % where its turn comes last.  One group in seven has a chain then, and one
// entry in thirty is in one; with fewer of them, tables that have just grown would be
// emptier still.
#define GROW_AT 5

static int slots_of(int parity) {
    return parity == 0 ? BUCKET_SLOTS : BUCKET_SLOTS - 1;
}

static uint64_t tag_at(uint64_t tags, int i) {
    return (tags >> (8 * i)) & 0xff;
}

// The parity of the bucket that is home to what is in slot i of one with that parity.
static int home_of(uint64_t tags, int i, int parity) {
    return parity ^ (int)(tags >> (BUCKET_AWAY_SHIFT + i) & 1);
}

// The tags without what they say of slot i.
static uint64_t tags_but(uint64_t tags, int i) {
    return tags & ~(UINT64_C(0xff) << (8 * i)) &
           ~(UINT64_C(1) << (BUCKET_AWAY_SHIFT + i));
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
    return (struct group *)(uintptr_t)SYNC_LOAD(table_link(g));
}

struct entry *memo_table_find_owned_(struct shard *s, const void *key,
                                     size_t key_size, uint64_t hash,
                                     struct table_place *place) {
    struct group *g = table_group(&s->table, bucket_index(&s->table, hash));
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
                    entry_has_key(e, SYNC_LOAD(&e->word), key, key_size)) {
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
static void named_in(const struct bucket *b, int parity, uint32_t name,
                     void (*each)(struct entry *e, void *arg), void *arg) {
    int i;

    for (i = 0; i < slots_of(parity); i++) {
        uint64_t word = SYNC_LOAD(&b->slot[i]);
        if ((uint8_t)word == name >> (TABLE_NAME_BITS - 8) && word != 0) {
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
        struct group *g = table_group(t, bucket_now(t, number));
        for (; g != NULL; g = next_group(g)) {
            named_in(&g->bucket[0], 0, name, each, arg);
            named_in(&g->bucket[1], 1, name, each, arg);
        }
        number += UINT64_C(1) << TABLE_NAME_BITS;
    } while (number < level);
}

void memo_table_fetch_named_owned_(const struct shard *s, uint32_t name) {
    const struct table *t = &s->table;
    const unsigned char *g = t->base + (bucket_now(t, name) >> 1) *
                                           sizeof(struct group);

    __builtin_prefetch(g);
    __builtin_prefetch(g + sizeof(struct bucket));
}

static void clear_slot(struct bucket *b, int i) {
    SYNC_STORE_REL(&b->tags, tags_but(SYNC_LOAD(&b->tags), i));
    SYNC_STORE_REL(&b->slot[i], 0);  // ORDER(pin) gone:C
}

// Put word into a free slot of the bucket of g with that parity, which is its home,
// or away from there.  Return 0 if there is none.
static int fill_bucket(struct group *g, int parity, uint64_t away,
                       uint64_t word, uint64_t tag) {
    struct bucket *b = &g->bucket[parity];
    uint64_t tags = SYNC_LOAD(&b->tags);
    int i;

    for (i = 0; i < slots_of(parity); i++) {
        if (tag_at(tags, i) == 0) {
            tags |= tag << (8 * i) | away << (BUCKET_AWAY_SHIFT + i);
            SYNC_STORE_REL(&b->slot[i], word);  // ORDER(slot) slot:A
            SYNC_STORE_REL(&b->tags, tags);     // ORDER(slot) tags:B
            return 1;
        }
    }
    return 0;
}

// The same in either bucket of g, home first.
static int fill_group(struct group *g, int home, uint64_t word, uint64_t tag) {
    return fill_bucket(g, home, 0, word, tag) ||
           fill_bucket(g, home ^ 1, 1, word, tag);
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
        t->free_chains = SYNC_LOAD(table_link(g));
        SYNC_STORE(table_link(g), 0);
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

// Give back the empty chain groups of g at the end.  Only these: a reader in a group
// that is given back must not lose its way to entries further on.
static void trim_chain(struct table *t, struct group *g) {
    struct group *kept = g, *last = g, *first;

    while (next_group(last) != NULL) {
        last = next_group(last);
        if (!is_empty(last)) {
            kept = last;
        }
    }
    if (kept != last) {
        first = next_group(kept);
        SYNC_STORE_REL(table_link(kept), 0);
        SYNC_STORE_REL(table_link(last), t->free_chains);
        t->free_chains = (uint64_t)(uintptr_t)first;
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
            SYNC_STORE_REL(table_link(g), (uint64_t)(uintptr_t)next);
            return 0;
        }
        g = next;
    }
}

// ---- settling: what found its place taken comes home when there is room

// What lies in one bucket of g and is at home in the other.
static void bring_home(struct group *g, int parity) {
    struct bucket *b = &g->bucket[parity];
    uint64_t tags = SYNC_LOAD(&b->tags), away = tags >> BUCKET_AWAY_SHIFT;

    for (; away != 0; away &= away - 1) {
        int i = __builtin_ctzll(away);
        if (!fill_bucket(g, parity ^ 1, 0, SYNC_LOAD(&b->slot[i]),
                         tag_at(tags, i))) {
            return;
        }
        clear_slot(b, i);
    }
}

// What lies in a bucket of a chain of g.  Return 0 if it can't all come.
static int pull_up(struct group *g, struct bucket *b, int parity) {
    uint64_t tags = SYNC_LOAD(&b->tags);
    int i;

    for (i = 0; i < slots_of(parity); i++) {
        if (tag_at(tags, i) == 0) {
            continue;
        }
        if (!fill_group(g, home_of(tags, i, parity), SYNC_LOAD(&b->slot[i]),
                        tag_at(tags, i))) {
            return 0;
        }
        clear_slot(b, i);
    }
    return 1;
}

static struct group *last_group(struct group *g) {
    struct group *next;

    while ((next = next_group(g)) != NULL) {
        g = next;
    }
    return g;
}

// See INVARIANT(settled).  From the end of the chain, which becomes shorter by that.
static void settle_group(struct table *t, struct group *g) {
    struct group *last;

    bring_home(g, 0);
    bring_home(g, 1);
    while ((last = last_group(g)) != g && pull_up(g, &last->bucket[0], 0) &&
           pull_up(g, &last->bucket[1], 1)) {
        trim_chain(t, g);
    }
}

static int is_full(const struct group *g, int parity) {
    uint64_t tags = SYNC_LOAD(&g->bucket[parity].tags);
    int i;

    for (i = 0; i < slots_of(parity); i++) {
        if (tag_at(tags, i) == 0) {
            return 0;
        }
    }
    return 1;
}

int memo_table_is_settled_owned_(struct table *t, struct table_place place,
                                 uint64_t hash) {
    const struct group *g = table_group(t, bucket_index(t, hash));
    int home = (int)(hash_bucket(hash) & 1);
    int parity = (int)((uintptr_t)place.bucket / sizeof(*place.bucket) & 1);
    int is_in_chain = place.bucket != &g->bucket[parity];

    return home_of(SYNC_LOAD(&place.bucket->tags), place.i, parity) == home &&
           ((parity == home && !is_in_chain) || is_full(g, home)) &&
           (!is_in_chain || is_full(g, home ^ 1));
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
    return (hash_bucket(entry_hash(&s->memo->seed, e)) & half) != 0;
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
            (void)put_word(&s->table, upper, home_of(tags, i, parity), word,
                           tag_at(tags, i));
            clear_slot(from, i);
        }
    }
}

// Make sure that a chain as long as that of g can be built beside it.
static int reserve_chains(struct table *t, struct group *g) {
    uint64_t have = t->free_chains;
    size_t fresh = 0;
    struct group *chain;

    for (chain = next_group(g); chain != NULL; chain = next_group(chain)) {
        if (have != 0) {
            have = SYNC_LOAD(table_link((struct group *)(uintptr_t)have));
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
        if (t->n_entries > level * GROW_AT) {
            start_to_split(t);
        }
        return;
    }
    lower = table_group(t, t->split * 2);
    upper = table_group(t, half + t->split * 2);
    if (reserve_chains(t, lower) != 0) {
        return;
    }
    for (g = lower; g != NULL; g = next_group(g)) {
        for (parity = 0; parity < 2; parity++) {
            split_bucket(s, &g->bucket[parity], parity, upper, half);
        }
    }
    settle_group(t, lower);
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
    if (put_word(t, table_group(t, i), (int)(i & 1), slot_word(e, hash),
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
    uintptr_t at = (uintptr_t)place.bucket - (uintptr_t)t->base;

    clear_slot(place.bucket, place.i);
    t->n_entries--;
    if (at < t->max_level * sizeof(struct bucket)) {  // not in a chain
        settle_group(t, (struct group *)(void *)(t->base +
                                           at / sizeof(struct group) *
                                               sizeof(struct group)));
    }
}

static void walk_group(struct shard *s, struct group *g,
                       void (*each)(struct shard *s, struct table_place place,
                                    struct entry *e, void *arg),
                       void *arg) {
    int i;

    for (; g != NULL; g = next_group(g)) {
        for (i = 0; i < 2 * BUCKET_SLOTS; i++) {
            struct table_place place = {&g->bucket[i / BUCKET_SLOTS],
                                        i % BUCKET_SLOTS};
            if (tag_at(SYNC_LOAD(&place.bucket->tags), place.i) != 0) {
                each(s, place, entry_in(place.bucket, place.i), arg);
            }
        }
    }
}

uint64_t memo_table_walk_owned_(struct shard *s, uint64_t first, uint64_t n,
                                void (*each)(struct shard *s,
                                             struct table_place place,
                                             struct entry *e, void *arg),
                                void *arg) {
    uint64_t groups = SYNC_LOAD(&s->table.level) / 2, before, i;

    for (i = first; i < groups && i - first < n; i++) {
        // When each() removes an entry, others may settle where it has been before.
        do {
            before = s->table.n_entries;
            walk_group(s, table_group(&s->table, i * 2), each, arg);
        } while (s->table.n_entries != before);
    }
    return groups;
}
