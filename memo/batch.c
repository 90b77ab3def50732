#include "memo/batch.h"

#include <string.h>

#include "memo/entry.h"
#include "memo/find.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "sync/pin.h"

// Three stages: hash a key and fetch its bucket; look for its entry there and fetch
// that; pin it and compare.  Each is done for all keys before the next begins, so that
// the cache misses overlap.

struct batch {
    struct memo *memo;
    const struct memo_bytes *keys;
    struct memo_value *out;
    int *errors;

    // What is known of each key after the first stage, and after the second.
    struct probe {
        uint64_t hash;
        struct shard *shard;
        struct bucket *bucket;
        SYNC_ATOMIC(uint64_t) * slot;  // NULL: no good guess
        uint64_t word;
    } probe[BATCH];

    sync_pin_slot *pin, *pins_end;  // slots left to try
    uint64_t n_hits;
    int64_t now_ns;  // 0: not yet asked for
    int missing;
};

static void prefetch(const void *p) {
    __builtin_prefetch(p);
}

SYNC_INLINE void find_bucket(struct batch *b, size_t i) {
    const struct memo_bytes *key = &b->keys[i];
    struct probe *p = &b->probe[i];

    p->hash = hash_key(&b->memo->seed, key->data, key->size);
    p->shard = memo_shard_of_(b->memo, p->hash);
    p->bucket = table_bucket(&p->shard->table, p->hash);
    prefetch(p->bucket);
}

// The entry isn't pinned yet: this is only an address.
SYNC_INLINE void find_entry(struct batch *b, size_t i) {
    struct probe *p = &b->probe[i];

    if (!table_guess(p->bucket, p->hash, &p->slot, &p->word)) {
        p->slot = NULL;
        return;
    }
    prefetch((const char *)(uintptr_t)(p->word >> 16));
    prefetch((const char *)(uintptr_t)(p->word >> 16) + 64);
}

// One reading of the clock does for all: they are fresh while this runs.
static int is_fresh_now(struct batch *b, const struct entry *e) {
    int64_t check_ns = SYNC_LOAD(&entry_prefix(e)->check_ns);

    if (check_ns != MEMO_NEVER && b->now_ns == 0) {
        b->now_ns = memo_now_(b->memo);
    }
    return check_ns == MEMO_NEVER || b->now_ns < check_ns;
}

// As table_hit(), from where the stages before have come to.
SYNC_INLINE int take_hit(struct batch *b, size_t i) {
    const struct memo_bytes *key = &b->keys[i];
    const struct probe *p = &b->probe[i];
    struct entry *e = (struct entry *)(uintptr_t)(p->word >> 16);
    sync_pin_slot *pin = b->pin;
    uint64_t flags;

    if (SYNC_UNLIKELY(p->slot == NULL) || SYNC_UNLIKELY(pin == b->pins_end)) {
        return 0;
    }
    b->pin++;
    if (SYNC_UNLIKELY(!sync_pin_at(pin, e))) {
        return 0;
    }
    if (SYNC_LIKELY(SYNC_IS_ACQ(p->slot, p->word)) &&  // ORDER(pin) look:B
        SYNC_LIKELY(table_is_hit(p->shard, e, key->data, key->size, 0,
                                 &flags)) &&
        (SYNC_LIKELY(!(flags & ENTRY_TIMED)) || is_fresh_now(b, e))) {
        entry_describe(e, flags, key->size, &b->out[i]);
        b->out[i].pin = (void *)(uintptr_t)pin;
        b->out[i].from = MEMO_HIT;
        b->out[i].zero = 0;
        b->errors[i] = 0;
        b->n_hits++;
        return 1;
    }
    sync_unpin(pin);
    return 0;
}

static SYNC_COLD void find_otherwise(struct batch *b, size_t i) {
    memset(&b->out[i], 0, sizeof(b->out[i]));
    if (memo_find_(b->memo, b->keys[i].data, b->keys[i].size, b->probe[i].hash,
                   &b->out[i], &b->errors[i]) != FIND_ANSWER) {
        b->errors[i] = MISSING;
        b->missing = 1;
    }
}

int memo_get_batch_(struct memo *m, const struct memo_bytes keys[], size_t n,
                    struct memo_value out[], int errors[]) {
    size_t n_pins = n, i;
    struct batch b;

    b.memo = m;
    b.keys = keys;
    b.out = out;
    b.errors = errors;
    b.n_hits = 0;
    b.now_ns = 0;
    b.missing = 0;
    b.pin = sync_pin_prepare(&n_pins);
    b.pins_end = b.pin == NULL ? NULL : b.pin + n_pins;
    for (i = 0; i < n; i++) {
        find_bucket(&b, i);
    }
    for (i = 0; i < n; i++) {
        find_entry(&b, i);
    }
    for (i = 0; i < n; i++) {
        if (!SYNC_LIKELY(take_hit(&b, i))) {
            find_otherwise(&b, i);
        }
    }
    if (b.n_hits != 0) {
        sync_tally_add_many(b.pin - 1, m->tally, b.n_hits);
    }
    return b.missing;
}
