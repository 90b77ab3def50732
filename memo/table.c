#include "memo/table.h"

#include "memo/entry.h"
#include "memo/group.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "sync/machine.h"

// The owner's operations.  ORDER labels of this file are explained in table.h.

#define TABLE_NOT_SPLITTING UINT64_MAX
#define FIRST_LEVEL 16  // buckets

// Start to grow when buckets hold 5 entries on average: a group is then 77 % full,
// and 85 % where its turn comes last.  One group in seven has a chain then, and one
// entry in thirty is in one; with fewer of them, tables that have just grown would be
// emptier still.
#define GROW_AT 5

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

struct entry *memo_table_find_owned_(struct shard *s, const void *key,
                                     size_t key_size, uint64_t hash,
                                     struct table_place *place) {
    struct group *g = table_group(&s->table, bucket_index(&s->table, hash));
    int parity, i;

    for (; g != NULL; g = group_next(g)) {
        for (parity = 0; parity < 2; parity++) {
            struct bucket *b = &g->bucket[parity];
            uint64_t tags = SYNC_LOAD(&b->tags);
            for (i = 0; i < BUCKET_SLOTS; i++) {
                struct entry *e;
                if (bucket_tag_at(tags, i) != table_tag(hash)) {
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

    for (i = 0; i < bucket_slots(parity); i++) {
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
        for (; g != NULL; g = group_next(g)) {
            named_in(&g->bucket[0], 0, name, each, arg);
            named_in(&g->bucket[1], 1, name, each, arg);
        }
        number += UINT64_C(1) << TABLE_NAME_BITS;
    } while (number < level);
}

void memo_table_fetch_named_owned_(const struct shard *s, uint32_t name) {
    const struct table *t = &s->table;
    const struct group *g = table_group(t, bucket_now(t, name));

    __builtin_prefetch(&g->bucket[0]);
    __builtin_prefetch(&g->bucket[1]);
}

int memo_table_is_settled_owned_(struct table *t, struct table_place place,
                                 uint64_t hash) {
    const struct group *g = table_group(t, bucket_index(t, hash));
    int home = (int)(hash_bucket(hash) & 1);
    int parity = (int)((uintptr_t)place.bucket / sizeof(*place.bucket) & 1);
    int is_in_chain = place.bucket != &g->bucket[parity];

    return bucket_home_of(SYNC_LOAD(&place.bucket->tags), place.i, parity) ==
               home &&
           ((parity == home && !is_in_chain) || memo_group_is_full_(g, home)) &&
           (!is_in_chain || memo_group_is_full_(g, home ^ 1));
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

    for (i = 0; i < bucket_slots(parity); i++) {
        uint64_t word = SYNC_LOAD(&from->slot[i]);
        if (bucket_tag_at(tags, i) != 0 && belongs_above(s, word, half)) {
            (void)memo_group_put_owned_(&s->table, upper,
                                        bucket_home_of(tags, i, parity), word,
                                        bucket_tag_at(tags, i));
            memo_bucket_clear_owned_(from, i);
        }
    }
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
    if (memo_group_reserve_owned_(t, lower) != 0) {
        return;
    }
    for (g = lower; g != NULL; g = group_next(g)) {
        for (parity = 0; parity < 2; parity++) {
            split_bucket(s, &g->bucket[parity], parity, upper, half);
        }
    }
    memo_group_settle_owned_(t, lower);
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
    uint64_t i = bucket_index(t, hash);

    if (memo_group_put_owned_(t, table_group(t, i), (int)(i & 1),
                              slot_word(e, hash), table_tag(hash)) != 0) {
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

    memo_bucket_clear_owned_(place.bucket, place.i);
    t->n_entries--;
    if (at < t->max_level * sizeof(struct bucket)) {  // not in a chain
        memo_group_settle_owned_(t, table_group(t, at / sizeof(struct bucket)));
    }
}

static void walk_group(struct shard *s, struct group *g,
                       void (*each)(struct shard *s, struct table_place place,
                                    struct entry *e, void *arg),
                       void *arg) {
    int i;

    for (; g != NULL; g = group_next(g)) {
        for (i = 0; i < 2 * BUCKET_SLOTS; i++) {
            struct table_place place = {&g->bucket[i / BUCKET_SLOTS],
                                        i % BUCKET_SLOTS};
            if (bucket_tag_at(SYNC_LOAD(&place.bucket->tags), place.i) != 0) {
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
