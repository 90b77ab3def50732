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

void memo_count_hit_(struct memo *m) {
    if (m->tally < 0 || !sync_tally_add_slow(m->tally)) {
        (void)SYNC_ADD(&m->hits, 1);
    }
}

static SYNC_COLD int get_slow(struct memo *m, const void *key, size_t key_size,
                              uint64_t hash, struct memo_value *out) {
    memset(out, 0, sizeof(*out));
    return memo_get_slow_(m, key, key_size, hash, NULL, out);
}

SYNC_INLINE void give(struct memo *m, const struct table_hit *hit,
                      size_t key_size, struct memo_value *out) {
    entry_describe(hit->entry, hit->word, key_size, out);
    out->pin = (void *)(uintptr_t)hit->pin;
    out->from = MEMO_HIT;
    out->zero = 0;
    if (SYNC_LIKELY(m->tally >= 0)) {
        sync_tally_add(hit->pin, m->tally);
    } else {
        (void)SYNC_ADD(&m->hits, 1);
    }
}

// The hit, in line: a leaf that needs no stack frame.  With a constant key_size
// most of it folds away.
SYNC_INLINE int get(struct memo *m, const void *key, size_t key_size,
                    struct memo_value *out) {
    uint64_t hash = hash_key(&m->seed, key, key_size);
    struct table_hit hit;

    if (SYNC_UNLIKELY(!table_hit(memo_shard_of_(m, hash), key, key_size, hash,
                                 &hit))) {
        return get_slow(m, key, key_size, hash, out);
    }
    give(m, &hit, key_size, out);
    return 0;
}

static __attribute__((noinline)) int get_any(struct memo *m, const void *key,
                                             size_t key_size,
                                             struct memo_value *out) {
    if (SYNC_UNLIKELY(is_bad_key(m, key, key_size))) {
        return refuse(out, MEMO_EINVAL);
    }
    return get(m, key, key_size, out);
}

// Keys of 16 bytes (UUIDs, digests, pairs of numbers) are worth their own copy.
int memo_get(struct memo *m, const void *key, size_t key_size,
             struct memo_value *out) {
    if (SYNC_UNLIKELY(out == NULL)) {
        return MEMO_EINVAL;
    }
    if (key_size != 16 || SYNC_UNLIKELY(m == NULL || key == NULL)) {
        return get_any(m, key, key_size, out);
    }
    return get(m, key, 16, out);
}

int memo_is_bad_wait_(const struct memo_wait *wait) {
    const unsigned flags = MEMO_WAIT_STRICT | MEMO_WAIT_NO_LOAD;

    return wait != NULL && (wait->size != sizeof(*wait) || wait->zero != 0 ||
                            (wait->flags & ~flags) != 0);
}

int memo_get_wait(struct memo *m, const void *key, size_t key_size,
                  const struct memo_wait *wait, struct memo_value *out) {
    if (out == NULL || is_bad_key(m, key, key_size) || memo_is_bad_wait_(wait)) {
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
    return memo_find_(m, key, key_size, hash, out);
}

// What a reader without a lock can't tell.
static SYNC_COLD int find_by_owner(struct memo *m, const void *key,
                                   size_t key_size, uint64_t hash,
                                   struct memo_value *out) {
    struct begin_step begin;
    int error;

    memset(&begin, 0, sizeof(begin));
    begin.key = key;
    begin.key_size = key_size;
    begin.hash = hash;
    begin.depth = BEGIN_FIND;
    error = memo_find_or_start_(m, &begin);
    if (error == 0) {
        memo_entry_hand_out_(begin.entry, MEMO_HIT, out);
    }
    return error;
}

int memo_find_(struct memo *m, const void *key, size_t key_size, uint64_t hash,
               struct memo_value *out) {
    struct table_hit hit;
    int found;

    if (table_hit(memo_shard_of_(m, hash), key, key_size, hash, &hit)) {
        give(m, &hit, key_size, out);
        return 0;
    }
    found = memo_table_find_(memo_shard_of_(m, hash), key, key_size, hash, out);
    if (SYNC_UNLIKELY(found < 0)) {
        return find_by_owner(m, key, key_size, hash, out);
    }
    if (found > 0) {
        memo_count_hit_(m);
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
    entry_describe(e, SYNC_LOAD(&e->word), key_size, &value);
    if (size != 0) {
        memcpy((void *)(uintptr_t)value.data, data, size);
    }
    memo_entry_weigh_(m, e, NULL);
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
    for (i = 0; i < memo_n_shards_(m); i++) {
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
    for (i = 0; i < memo_n_shards_(m); i++) {
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
    stats->max_entries = m->max_entries;
    stats->max_bytes = m->max_bytes;
    stats->max_weight = m->max_weight;
    stats->hits = SYNC_LOAD(&m->hits);
    if (m->tally >= 0) {
        stats->hits += sync_tally_sum(m->tally);
    }
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), memo_stats_owned_, stats);
    }
    return 0;
}

void memo_check(struct memo *m) {
    uint64_t i;

    for (i = 0; m != NULL && i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), memo_check_owned_, NULL);
    }
}
