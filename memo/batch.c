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

// What is known of a key after the first stage, and after the second.
struct probe {
    uint64_t hash;
    struct shard *shard;
    struct bucket *bucket;
    SYNC_ATOMIC(uint64_t) * slot;  // NULL: no good guess
    uint64_t word;
};

// What the last stage goes on with from one key to the next.
struct taking {
    sync_pin_slot *pin, *pins_end;  // slots left to try
    int64_t now_ns;                 // 0: not yet asked for
};

static void prefetch(const void *p) {
    __builtin_prefetch(p);
}

SYNC_INLINE void find_bucket(struct memo *m, const struct memo_bytes *key,
                             struct probe *p) {
    p->hash = hash_key(&m->seed, key->data, key->size);
    p->shard = memo_shard_of_(m, p->hash);
    p->bucket = table_bucket(&p->shard->table, p->hash);
    prefetch(p->bucket);
}

// The entry isn't pinned yet: this is only an address.
SYNC_INLINE void find_entry(struct probe *p) {
    if (!table_guess(p->bucket, p->hash, &p->slot, &p->word) &&
        !table_second_guess(p->bucket, p->hash, &p->slot, &p->word)) {
        p->slot = NULL;
        return;
    }
    prefetch((const char *)(uintptr_t)(p->word >> 16));
    prefetch((const char *)(uintptr_t)(p->word >> 16) + 64);
}

// One reading of the clock does for all: they are fresh while this runs.
SYNC_INLINE int is_fresh_now(struct memo *m, struct taking *t,
                             const struct entry *e) {
    int64_t check_ns = SYNC_LOAD(&entry_prefix(e)->check_ns);

    if (check_ns != MEMO_NEVER && t->now_ns == 0) {
        t->now_ns = memo_now_(m);
    }
    return check_ns == MEMO_NEVER || t->now_ns < check_ns;
}

// As table_hit(), from where the stages before have come to.
SYNC_INLINE int take_hit(struct memo *m, const struct memo_bytes *key,
                         const struct probe *p, struct taking *t,
                         struct memo_value *out) {
    sync_pin_slot *pin = t->pin;
    struct entry *e;
    uint64_t flags;

    if (SYNC_UNLIKELY(p->slot == NULL) || SYNC_UNLIKELY(pin == t->pins_end)) {
        return 0;
    }
    t->pin++;
    e = (struct entry *)(uintptr_t)(p->word >> 16);
    if (SYNC_UNLIKELY(!sync_pin_at(pin, e))) {
        return 0;
    }
    if (SYNC_LIKELY(SYNC_IS_ACQ(p->slot, p->word))) {  // ORDER(pin) look:B
        enum table_answer answer =
            table_is_hit(p->shard, e, key->data, key->size, 0, &flags);
        if (SYNC_LIKELY(answer == TABLE_HIT) ||
            (answer == TABLE_HIT_IF_FRESH && is_fresh_now(m, t, e))) {
            entry_describe(e, flags, key->size, out);
            out->pin = (void *)(uintptr_t)pin;
            out->from = MEMO_HIT;
            out->zero = 0;
            return 1;
        }
    }
    sync_unpin(pin);
    return 0;
}

static SYNC_COLD int find_otherwise(struct memo *m, const struct memo_bytes *key,
                                    uint64_t hash, struct memo_value *out,
                                    int *missing) {
    int error;

    memset(out, 0, sizeof(*out));
    if (memo_find_(m, key->data, key->size, hash, out, &error) == FIND_ANSWER) {
        return error;
    }
    *missing = 1;
    return MISSING;
}

int memo_get_batch_(struct memo *m, const struct memo_bytes keys[], size_t n,
                    struct memo_value out[], int errors[]) {
    struct probe probe[BATCH];
    struct taking t = {NULL, NULL, 0};
    size_t n_pins = n, n_hits = 0, i;
    int missing = 0;

    t.pin = sync_pin_prepare(&n_pins);
    t.pins_end = t.pin == NULL ? NULL : t.pin + n_pins;
    for (i = 0; i < n; i++) {
        find_bucket(m, &keys[i], &probe[i]);
    }
    for (i = 0; i < n; i++) {
        find_entry(&probe[i]);
    }
    for (i = 0; i < n; i++) {
        errors[i] = 0;
        if (SYNC_LIKELY(take_hit(m, &keys[i], &probe[i], &t, &out[i]))) {
            n_hits++;
        } else {
            errors[i] = find_otherwise(m, &keys[i], probe[i].hash, &out[i],
                                       &missing);
        }
    }
    if (n_hits != 0) {
        sync_tally_add_many(t.pin - 1, m->tally, n_hits);
    }
    return missing;
}
