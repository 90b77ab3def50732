#include "memo/group.h"

#include "memo/memo.h"
#include "sync/machine.h"

#define CHAINS_AT_ONCE 512  // committed together: 64 KiB

// ---- slots

// The tags without what they say of slot i.
static uint64_t tags_but(uint64_t tags, int i) {
    return tags & ~(UINT64_C(0xff) << (8 * i)) &
           ~(UINT64_C(1) << (BUCKET_AWAY_SHIFT + i));
}

void memo_bucket_clear_owned_(struct bucket *b, int i) {
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

    for (i = 0; i < bucket_slots(parity); i++) {
        if (bucket_tag_at(tags, i) == 0) {
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

    while (group_next(last) != NULL) {
        last = group_next(last);
        if (!is_empty(last)) {
            kept = last;
        }
    }
    if (kept != last) {
        first = group_next(kept);
        SYNC_STORE_REL(table_link(kept), 0);
        SYNC_STORE_REL(table_link(last), t->free_chains);
        t->free_chains = (uint64_t)(uintptr_t)first;
    }
}

int memo_group_put_owned_(struct table *t, struct group *g, int home,
                          uint64_t word, uint64_t tag) {
    for (;;) {
        struct group *next;
        if (fill_group(g, home, word, tag)) {
            return 0;
        }
        next = group_next(g);
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

int memo_group_reserve_owned_(struct table *t, struct group *g) {
    uint64_t have = t->free_chains;
    size_t fresh = 0;
    struct group *chain;

    for (chain = group_next(g); chain != NULL; chain = group_next(chain)) {
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

// ---- settling: what found its place taken comes home when there is room

// What lies in one bucket of g and is at home in the other.
static void bring_home(struct group *g, int parity) {
    struct bucket *b = &g->bucket[parity];
    uint64_t tags = SYNC_LOAD(&b->tags), away = tags >> BUCKET_AWAY_SHIFT;

    for (; away != 0; away &= away - 1) {
        int i = __builtin_ctzll(away);
        if (!fill_bucket(g, parity ^ 1, 0, SYNC_LOAD(&b->slot[i]),
                         bucket_tag_at(tags, i))) {
            return;
        }
        memo_bucket_clear_owned_(b, i);
    }
}

// What lies in a bucket of a chain of g.  Return 0 if it can't all come.
static int pull_up(struct group *g, struct bucket *b, int parity) {
    uint64_t tags = SYNC_LOAD(&b->tags);
    int i;

    for (i = 0; i < bucket_slots(parity); i++) {
        if (bucket_tag_at(tags, i) == 0) {
            continue;
        }
        if (!fill_group(g, bucket_home_of(tags, i, parity), SYNC_LOAD(&b->slot[i]),
                        bucket_tag_at(tags, i))) {
            return 0;
        }
        memo_bucket_clear_owned_(b, i);
    }
    return 1;
}

static struct group *last_group(struct group *g) {
    struct group *next;

    while ((next = group_next(g)) != NULL) {
        g = next;
    }
    return g;
}

// See INVARIANT(settled).  From the end of the chain, which becomes shorter by that.
void memo_group_settle_owned_(struct table *t, struct group *g) {
    struct group *last;

    bring_home(g, 0);
    bring_home(g, 1);
    while ((last = last_group(g)) != g && pull_up(g, &last->bucket[0], 0) &&
           pull_up(g, &last->bucket[1], 1)) {
        trim_chain(t, g);
    }
}

int memo_group_is_full_(const struct group *g, int parity) {
    uint64_t tags = SYNC_LOAD(&g->bucket[parity].tags);
    int i;

    for (i = 0; i < bucket_slots(parity); i++) {
        if (bucket_tag_at(tags, i) == 0) {
            return 0;
        }
    }
    return 1;
}
