#include "memo/memo.h"

#include <string.h>

#include "memo/internal.h"
#include "memo/table.h"

// The door: every public function on a cache checks its arguments here, and
// hits end here.

static int is_bad_key(const struct memo *m, const void *key, size_t key_size) {
    return m == NULL || (key == NULL && key_size != 0) ||
           key_size > MEMO_KEY_MAX;
}

static SYNC_COLD int refuse(struct memo_value *out, int error) {
    if (out != NULL) {
        memset(out, 0, sizeof(*out));
    }
    return error;
}

// ------------------------------------------------------------------ hits

static SYNC_COLD void count_hit_slow(struct memo *m, uint32_t number) {
    uint32_t chunk = number / TALLY_CHUNK_THREADS;
    size_t size = TALLY_CHUNK_THREADS * sizeof(struct tally);
    struct tally *tallies, *first = NULL;

    (void)SYNC_ADD(&m->hits, 1);
    if (number == 0 || chunk >= TALLY_CHUNKS) {
        return;  // this thread has no number, or one of thousands
    }
    tallies = memo_alloc_(m, size);
    if (tallies == NULL) {
        return;
    }
    memset(tallies, 0, size);
    if (!SYNC_CAS_ACQREL(&m->tally[chunk], &first, tallies)) {
        memo_dealloc_(m, tallies, size);
    }
}

SYNC_INLINE void count_hit(struct memo *m) {
    uint32_t number = SYNC_TLS(sync_pin_self_).number;
    uint32_t chunk = number / TALLY_CHUNK_THREADS;
    struct tally *tallies = NULL;
    sync_atomic_u64 *hits;

    if (SYNC_LIKELY(chunk < TALLY_CHUNKS)) {
        tallies = SYNC_LOAD_ACQ(&m->tally[chunk]);
    }
    if (SYNC_UNLIKELY(tallies == NULL || number == 0)) {
        count_hit_slow(m, number);
        return;
    }
    // Only this thread writes here, so this needn't be one atomic addition.
    hits = &tallies[number % TALLY_CHUNK_THREADS].hits;
    SYNC_STORE(hits, SYNC_LOAD(hits) + 1);
}

void memo_count_hit_(struct memo *m) {
    count_hit(m);
}

static uint64_t sum_of_hits(struct memo *m) {
    uint64_t sum = SYNC_LOAD(&m->hits);
    int i, k;

    for (i = 0; i < TALLY_CHUNKS; i++) {
        struct tally *tallies = SYNC_LOAD_ACQ(&m->tally[i]);
        for (k = 0; tallies != NULL && k < TALLY_CHUNK_THREADS; k++) {
            sum += SYNC_LOAD(&tallies[k].hits);
        }
    }
    return sum;
}

int memo_get(struct memo *m, const void *key, size_t key_size,
             struct memo_value *out) {
    struct table_hit hit;
    uint64_t hash;

    if (SYNC_UNLIKELY(out == NULL || is_bad_key(m, key, key_size))) {
        return refuse(out, MEMO_EINVAL);
    }
    hash = hash_key(&m->seed, key, key_size);
    if (SYNC_LIKELY(table_hit(memo_shard_of_(m, hash), key, key_size, hash,
                              &hit))) {
        entry_describe(hit.entry, hit.word, out);
        out->pin = (void *)(uintptr_t)hit.pin;
        out->from = MEMO_HIT;
        out->zero = 0;
        count_hit(m);
        return 0;
    }
    memset(out, 0, sizeof(*out));
    return memo_get_slow_(m, key, key_size, hash, NULL, out);
}

static int is_bad_wait(const struct memo_wait *wait) {
    const unsigned flags = MEMO_WAIT_STRICT | MEMO_WAIT_NO_LOAD;

    return wait != NULL && (wait->size != sizeof(*wait) || wait->zero != 0 ||
                            (wait->flags & ~flags) != 0);
}

int memo_get_wait(struct memo *m, const void *key, size_t key_size,
                  const struct memo_wait *wait, struct memo_value *out) {
    if (out == NULL || is_bad_key(m, key, key_size) || is_bad_wait(wait)) {
        return refuse(out, MEMO_EINVAL);
    }
    memset(out, 0, sizeof(*out));
    return memo_get_slow_(m, key, key_size, hash_key(&m->seed, key, key_size),
                          wait, out);
}

int memo_peek(struct memo *m, const void *key, size_t key_size,
              struct memo_value *out) {
    uint64_t hash;

    if (out == NULL || is_bad_key(m, key, key_size)) {
        return refuse(out, MEMO_EINVAL);
    }
    memset(out, 0, sizeof(*out));
    hash = hash_key(&m->seed, key, key_size);
    if (memo_table_find_(memo_shard_of_(m, hash), key, key_size, hash, out)) {
        count_hit(m);
        return 0;
    }
    return SYNC_LOAD(&m->closing) ? MEMO_ECLOSED : MEMO_ENOENT;
}

// ------------------------------------------------------------------ changes

static int replace(struct memo *m, struct entry *e, const void *key,
                   size_t key_size, uint64_t hash) {
    struct replace_step r = {key, key_size, hash, e, 0};

    memo_own_(memo_shard_of_(m, hash), memo_replace_owned_, &r);
    return r.error;
}

int memo_put(struct memo *m, const void *key, size_t key_size, const void *data,
             size_t size) {
    struct memo_value value = {0};
    struct entry *e;
    uint64_t hash;
    int error;

    if (is_bad_key(m, key, key_size) || (data == NULL && size != 0)) {
        return MEMO_EINVAL;
    }
    hash = hash_key(&m->seed, key, key_size);
    e = memo_entry_new_(memo_shard_of_(m, hash), key, key_size, size);
    if (e == NULL) {
        return MEMO_ENOMEM;
    }
    entry_describe(e, SYNC_LOAD(&e->word), &value);
    if (size != 0) {
        memcpy((void *)(uintptr_t)value.data, data, size);
    }
    error = replace(m, e, key, key_size, hash);
    memo_entry_unref_(e);
    return error;
}

int memo_invalidate(struct memo *m, const void *key, size_t key_size) {
    if (is_bad_key(m, key, key_size)) {
        return MEMO_EINVAL;
    }
    return replace(m, NULL, key, key_size, hash_key(&m->seed, key, key_size));
}

int memo_clear(struct memo *m) {
    uint64_t i;
    int more;

    if (m == NULL) {
        return MEMO_EINVAL;
    }
    if (SYNC_LOAD(&m->closing)) {
        return MEMO_ECLOSED;
    }
    for (i = 0; i <= m->shard_mask; i++) {
        memo_own_(memo_shard_at_(m, i), memo_clear_owned_, NULL);
        // A small cache is swept here; a large one by and by.
        memo_own_(memo_shard_at_(m, i), memo_upkeep_owned_, &more);
    }
    return 0;
}

// ------------------------------------------------------------------ upkeep

int64_t memo_maintain(struct memo *m, int64_t now_ns) {
    int64_t next = MEMO_NEVER;
    uint64_t i;
    int more;

    if (m == NULL) {
        return MEMO_NEVER;
    }
    for (i = 0; i <= m->shard_mask; i++) {
        memo_own_(memo_shard_at_(m, i), memo_upkeep_owned_, &more);
        if (more) {
            next = now_ns;
        }
    }
    return next;
}

int memo_stats(struct memo *m, struct memo_stats *stats) {
    size_t size;
    uint64_t i;

    if (m == NULL || stats == NULL || stats->size != sizeof(*stats)) {
        return MEMO_EINVAL;
    }
    size = stats->size;
    memset(stats, 0, size);
    stats->size = size;
    stats->hits = sum_of_hits(m);
    for (i = 0; i <= m->shard_mask; i++) {
        memo_own_(memo_shard_at_(m, i), memo_stats_owned_, stats);
    }
    return 0;
}

void memo_check(struct memo *m) {
    uint64_t i;

    for (i = 0; m != NULL && i <= m->shard_mask; i++) {
        memo_own_(memo_shard_at_(m, i), memo_check_owned_, NULL);
    }
}
