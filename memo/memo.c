#include "memo/memo.h"

#include <string.h>

#include "memo/args.h"
#include "memo/depend.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/find.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/load.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/stats.h"
#include "memo/step.h"
#include "sync/pin.h"

// The door: every public function on a cache checks its arguments here, and
// hits end here.

static SYNC_COLD int refuse(struct memo_value *out, int error) {
    if (out != NULL) {
        memset(out, 0, sizeof(*out));
    }
    return error;
}

// ------------------------------------------------------------------ hits

void memo_count_hit_(struct memo *m) {
    if (m->tally == SYNC_TALLY_NONE || !sync_tally_add_slow(m->tally)) {
        (void)SYNC_ADD(&m->hits, 1);
    }
}

void memo_count_(struct memo *m, uint32_t from) {
    if (from == MEMO_STALE) {
        (void)SYNC_ADD(&m->stale, 1);
    } else if (from == MEMO_NEGATIVE) {
        (void)SYNC_ADD(&m->negative, 1);
    } else {
        memo_count_hit_(m);
    }
}

int memo_answer_(struct memo *m, struct memo_value *out) {
    int error = 0;

    if (out->from == MEMO_NEGATIVE) {
        error = (int)out->zero;
        out->zero = 0;
    }
    memo_count_(m, out->from);
    return error;
}

SYNC_INLINE void give(struct memo *m, const struct table_hit *hit,
                      size_t key_size, struct memo_value *out) {
    static const uint32_t from_and_zero[2] = {MEMO_HIT, 0};

    entry_describe(hit->entry, hit->flags, key_size, out);
    out->pin = (void *)(uintptr_t)hit->pin;
    memcpy((char *)out + offsetof(struct memo_value, from), from_and_zero,
           sizeof(from_and_zero));  // in one store
    sync_tally_add(hit->pin, m->tally);
}

// A hit on a value that may have links; return 0 in every other case.
static int get_linked(struct memo *m, const void *key, size_t key_size,
                      uint64_t hash, struct memo_value *out) {
    const struct shard *s = memo_shard_of_(m, hash);
    struct bucket *home = table_bucket(&s->table, hash);
    struct table_hit hit;

    if (!table_hit(s, home, key, key_size, hash, ENTRY_LINKED, &hit) &&
        !table_hit(s, table_neighbour(home), key, key_size, hash, ENTRY_LINKED,
                   &hit)) {
        return 0;
    }
    if ((hit.flags & ENTRY_LINKED) && !memo_links_hold_(hit.entry)) {
        sync_unpin(hit.pin);
        return 0;
    }
    give(m, &hit, key_size, out);
    return 1;
}

static SYNC_COLD int get_slow(struct memo *m, const void *key, size_t key_size,
                              struct memo_value *out) {
    uint64_t hash = hash_key(&m->seed, key, key_size);

    if (SYNC_LOAD(&m->sources) != NULL &&
        get_linked(m, key, key_size, hash, out)) {
        return 0;
    }
    memset(out, 0, sizeof(*out));
    return memo_get_slow_(m, key, key_size, hash, NULL, out);
}

// The hit, in line: a leaf that needs no stack frame.  With a constant key_size
// most of it folds away.
SYNC_INLINE int get_from(struct memo *m, int neighbour, const void *key,
                         size_t key_size, struct memo_value *out) {
    uint64_t hash = hash_key(&m->seed, key, key_size);
    struct shard *s = memo_shard_of_(m, hash);
    struct bucket *b = table_bucket(&s->table, hash);
    struct table_hit hit;

    if (SYNC_UNLIKELY(!table_hit(s, neighbour ? table_neighbour(b) : b, key,
                                 key_size, hash, 0, &hit))) {
        return 0;
    }
    give(m, &hit, key_size, out);
    return 1;
}

// Some keys in a hundred, where the table is rather full, lie there.  What comes
// after the hit hashes again, so that the hit need keep nothing for its sake.
static __attribute__((noinline)) int get_from_neighbour(
    struct memo *m, const void *key, size_t key_size, struct memo_value *out) {
    return SYNC_LIKELY(get_from(m, 1, key, key_size, out))
               ? 0
               : get_slow(m, key, key_size, out);
}

SYNC_INLINE int get(struct memo *m, const void *key, size_t key_size,
                    struct memo_value *out) {
    return SYNC_LIKELY(get_from(m, 0, key, key_size, out))
               ? 0
               : get_from_neighbour(m, key, key_size, out);
}

static __attribute__((noinline)) int get_any(struct memo *m, const void *key,
                                             size_t key_size,
                                             struct memo_value *out) {
    if (SYNC_UNLIKELY(memo_is_bad_key_(m, key, key_size))) {
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

int memo_take_wait_(const struct memo_wait **wait, struct memo_wait *own) {
    const unsigned flags = MEMO_WAIT_STRICT | MEMO_WAIT_NO_LOAD;
    const struct memo_wait *from = *wait;

    if (from == NULL) {
        return 0;
    }
    memset(own, 0, sizeof(*own));
    *wait = own;
    if (memo_take_struct_(from, from->size,
                          offsetof(struct memo_wait, soft_deadline_ns), own,
                          sizeof(*own)) != 0) {
        return MEMO_EINVAL;
    }
    return own->zero != 0 || (own->flags & ~flags) != 0 ||
                   own->soft_deadline_ns < 0
               ? MEMO_EINVAL
               : 0;
}

int memo_get_wait(struct memo *m, const void *key, size_t key_size,
                  const struct memo_wait *wait, struct memo_value *out) {
    struct memo_wait own;

    if (out == NULL || memo_is_bad_key_(m, key, key_size) ||
        memo_take_wait_(&wait, &own) != 0) {
        return refuse(out, MEMO_EINVAL);
    }
    memset(out, 0, sizeof(*out));
    return memo_get_slow_(m, key, key_size, hash_key(&m->seed, key, key_size),
                          wait, out);
}

// What a reader without a lock can't tell.
static SYNC_COLD int find_by_owner(struct memo *m, const void *key,
                                   size_t key_size, uint64_t hash,
                                   struct memo_value *out) {
    struct begin_step begin = memo_begin_for_(key, key_size, hash, BEGIN_FIND);
    int error = memo_find_or_start_(m, &begin);

    if (begin.entry != NULL) {
        memo_entry_hand_out_(begin.entry, begin.from, out);
    } else {
        out->from = begin.from;
    }
    return error;
}

static int peek(struct memo *m, const void *key, size_t key_size, uint64_t hash,
                struct memo_value *out) {
    int error;

    switch (memo_find_(m, key, key_size, hash, out, &error)) {
        case FIND_ANSWER:
            return error;
        case FIND_ASK:
            return find_by_owner(m, key, key_size, hash, out);
        default:
            return SYNC_LOAD(&m->closing) ? MEMO_ECLOSED : MEMO_ENOENT;
    }
}

int memo_peek(struct memo *m, const void *key, size_t key_size,
              struct memo_value *out) {
    uint64_t hash;
    int error = 0;

    if (out == NULL || memo_is_bad_key_(m, key, key_size)) {
        return refuse(out, MEMO_EINVAL);
    }
    memset(out, 0, sizeof(*out));
    hash = hash_key(&m->seed, key, key_size);
    if (m->depend_auto) {
        error = memo_use_key_(m, hash, key, key_size);
    }
    if (error == 0) {
        error = peek(m, key, key_size, hash, out);
    }
    return error == 0 && m->depend_auto ? memo_use_value_(m, out) : error;
}

enum find memo_find_(struct memo *m, const void *key, size_t key_size,
                     uint64_t hash, struct memo_value *out, int *error) {
    int found;

    *error = 0;
    if (get_linked(m, key, key_size, hash, out)) {
        return FIND_ANSWER;
    }
    found = memo_table_find_(memo_shard_of_(m, hash), key, key_size, hash,
                             out);
    if (found > 0) {
        *error = memo_answer_(m, out);
        return FIND_ANSWER;
    }
    return found < 0 ? FIND_ASK : FIND_NOTHING;
}

// ------------------------------------------------------------------ changes

static int replace(struct memo *m, struct entry *e, const struct dates *dates,
                   const void *key, size_t key_size, uint64_t hash) {
    struct replace_step r = {.key = key,
                             .key_size = key_size,
                             .hash = hash,
                             .entry = e,
                             .dates = dates};

    r.now_ns = m->timing == TIMING_NONE ? 0 : memo_now_(m);
    memo_own_(memo_shard_of_(m, hash), memo_replace_owned_, &r);
    if (r.error == 0) {
        memo_key_changed_(m, hash, key, key_size);
    }
    return r.error;
}

// What p says, in *dates; or MEMO_EINVAL.
static int take_put(struct memo *m, const struct memo_put_options *p,
                    struct dates *dates) {
    memset(dates, 0, sizeof(*dates));
    if (p == NULL) {
        return 0;
    }
    if (p->size != sizeof(*p) || p->ttl_ns < 0 || p->refresh_after_ns < 0 ||
        memo_are_bad_names_(p->tags, p->n_tags) ||
        (p->ttl_ns != 0 && m->timing == TIMING_NONE) ||
        (p->refresh_after_ns != 0 && m->timing != TIMING_FRESHNESS)) {
        return MEMO_EINVAL;
    }
    dates->has_ttl = p->ttl_ns != 0;
    dates->ttl_ns = p->ttl_ns;
    dates->has_refresh = p->refresh_after_ns != 0;
    dates->refresh_after_ns = p->refresh_after_ns;
    return 0;
}

int memo_put_with(struct memo *m, const void *key, size_t key_size,
                  const void *data, size_t size, const struct memo_put_options *put) {
    struct memo_value value = {0};
    struct dates dates;
    struct entry *e;
    uint64_t hash;
    int error = 0;

    if (memo_is_bad_key_(m, key, key_size) || (data == NULL && size != 0) ||
        take_put(m, put, &dates) != 0) {
        return MEMO_EINVAL;
    }
    hash = hash_key(&m->seed, key, key_size);
    e = memo_entry_new_(memo_shard_of_(m, hash), key, key_size, size,
                        put != NULL && put->n_tags != 0 ? ENTRY_LINKED : 0);
    if (e == NULL) {
        return MEMO_ENOMEM;
    }
    entry_describe(e, SYNC_LOAD(&e->word), key_size, &value);
    if (size != 0) {
        memcpy((void *)(uintptr_t)value.data, data, size);
    }
    if (put != NULL && put->n_tags != 0) {
        error = memo_link_tags_(m, &e, put->tags, put->n_tags);
    }
    if (error == 0) {
        memo_entry_weigh_(m, e, NULL);
        error = replace(m, e, &dates, key, key_size, hash);
    }
    memo_entry_unref_(e);
    return error;
}

int memo_put(struct memo *m, const void *key, size_t key_size, const void *data,
             size_t size) {
    return memo_put_with(m, key, key_size, data, size, NULL);
}

int memo_invalidate(struct memo *m, const void *key, size_t key_size) {
    if (memo_is_bad_key_(m, key, key_size)) {
        return MEMO_EINVAL;
    }
    return replace(m, NULL, NULL, key, key_size,
                   hash_key(&m->seed, key, key_size));
}

int memo_refresh(struct memo *m, const void *key, size_t key_size) {
    struct begin_step begin;
    int error;

    if (memo_is_bad_key_(m, key, key_size)) {
        return MEMO_EINVAL;
    }
    begin = memo_begin_for_(key, key_size, hash_key(&m->seed, key, key_size),
                            BEGIN_REFRESH);
    error = memo_find_or_start_(m, &begin);
    if (error == 0 && begin.started) {
        memo_run_refresh_(begin.flight);
    }
    return error;
}

int memo_clear(struct memo *m) {
    uint64_t i;

    if (m == NULL) {
        return MEMO_EINVAL;
    }
    if (SYNC_LOAD(&m->closing)) {
        return MEMO_ECLOSED;
    }
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), memo_clear_owned_, NULL);
    }
    memo_all_keys_changed_(m);
    return 0;
}

// ------------------------------------------------------------------ upkeep

// What one call does: groups of the tables swept, some 300 values; and values looked
// at, whether they have expired.
#define GROUPS_BY_UPKEEP 32
#define EXPIRE_BY_UPKEEP 256

int64_t memo_maintain(struct memo *m, int64_t now_ns) {
    struct upkeep_step u = {0, GROUPS_BY_UPKEEP, EXPIRE_BY_UPKEEP, 0};
    int64_t next = MEMO_NEVER, clock;
    uint64_t i, n, first;

    if (m == NULL) {
        return MEMO_NEVER;
    }
    // What the caller thinks of the time must not make anything expire early.
    clock = m->timing == TIMING_NONE ? now_ns : memo_now_(m);
    u.now_ns = now_ns < clock ? now_ns : clock;
    // Each shard comes first in its turn, so that none is left out.
    n = memo_n_shards_(m);
    first = SYNC_ADD(&m->n_upkeeps, 1);
    for (i = 0; i < n; i++) {
        memo_own_(memo_shard_at_(m, (first + i) % n), memo_upkeep_owned_, &u);
        if (u.next_ns < next) {
            next = u.next_ns;
        }
    }
    return next;
}

static void fill_stats(struct memo *m, struct memo_stats *stats) {
    uint64_t i;

    stats->max_entries = m->max_entries;
    stats->max_bytes = m->max_bytes;
    stats->max_weight = m->max_weight;
    stats->hits = SYNC_LOAD(&m->hits);
    stats->stale = SYNC_LOAD(&m->stale);
    stats->negative = SYNC_LOAD(&m->negative);
    if (m->tally != SYNC_TALLY_NONE) {
        stats->hits += sync_tally_sum(m->tally);
    }
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), memo_stats_owned_, stats);
    }
    memo_source_stats_(m, stats);
    memo_stats_times_(m, stats);
}

// As much as the caller's version of the struct has room for.
int memo_stats(struct memo *m, struct memo_stats *stats) {
    struct memo_stats filled;
    size_t size;

    if (m == NULL || stats == NULL ||
        stats->size < offsetof(struct memo_stats, joins) ||
        stats->size > STRUCT_MOST) {
        return MEMO_EINVAL;
    }
    memset(&filled, 0, sizeof(filled));
    fill_stats(m, &filled);
    size = stats->size < sizeof(filled) ? stats->size : sizeof(filled);
    memset(stats, 0, stats->size);
    memcpy(stats, &filled, size);
    stats->size = size;
    return 0;
}

void memo_check(struct memo *m) {
    uint64_t i;

    for (i = 0; m != NULL && i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), memo_check_owned_, NULL);
    }
    memo_check_sources_(m);
}
