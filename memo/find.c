#include "memo/find.h"

#include <string.h>

#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "memo/table.h"
#include "sync/pin.h"

// Any hit, without a lock: wherever the key may be, in the table and in time.
//
// ORDER labels of this file are explained in table.h.

// More hops than chains have, if nobody makes keys collide: the reader has
// probably strayed, and better asks the owner.
#define MAX_HOPS 64

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

// Keep e, which is pinned, or only briefly so, in *out, of which from is set.
static void keep(struct entry *e, uint64_t word, sync_pin_slot *pin, int brief,
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
    if (!is_current(s, word) || !entry_has_key(e, word, key, key_size) ||
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
    keep(e, word, pin, brief, out);
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

// In the direction in which entries move: home last.
static int find_in_buckets(struct shard *s, struct group *g, const void *key,
                           size_t key_size, uint64_t hash,
                           struct memo_value *out) {
    struct bucket *home = &g->bucket[hash_bucket(hash) & 1];
    int found =
        find_in_bucket(s, table_neighbour(home), key, key_size, hash, out);

    return found != 0 ? found
                      : find_in_bucket(s, home, key, key_size, hash, out);
}

static int find_in_group(struct shard *s, struct group *g, const void *key,
                         size_t key_size, uint64_t hash,
                         struct memo_value *out) {
    uint64_t link = SYNC_LOAD_ACQ(table_link(g));
    int hops, found;

    for (hops = 0; link != 0 && hops < MAX_HOPS; hops++) {
        struct group *chain = (struct group *)(uintptr_t)link;
        found = find_in_buckets(s, chain, key, key_size, hash, out);
        if (found != 0) {
            return found;
        }
        link = SYNC_LOAD_ACQ(table_link(chain));
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
            find_in_group(s, table_group(t, lower), key, key_size, hash, out);
        if (found == 0 && upper != lower) {
            found =
                find_in_group(s, table_group(t, upper), key, key_size, hash, out);
        }
        now = SYNC_LOAD_ACQ(&t->level);  // ORDER(grow) level:B
        if (found != 0 || now == level) {
            return found;
        }
        level = now;  // it doubled meanwhile; that happens 30 times in a life
    }
}
