#include "memo/args.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/source.h"
#include "memo/step.h"

#include <string.h>

// Changes from outside: values put, and what is said to be out of date.

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

// What put says, in *p and *dates; or MEMO_EINVAL.
static int take_put(struct memo *m, const struct memo_put_options *put,
                    struct memo_put_options *p, struct dates *dates) {
    memset(p, 0, sizeof(*p));
    memset(dates, 0, sizeof(*dates));
    if (put == NULL) {
        return 0;
    }
    if (memo_take_struct_(put, put->size, sizeof(*p), p, sizeof(*p)) != 0 ||
        p->ttl_ns < 0 || p->refresh_after_ns < 0 ||
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
    // Dropped also when its weight function throws.
    SYNC_CLEANUP(memo_entry_drop_) struct entry *e = NULL;
    struct memo_value value = {0};
    struct memo_put_options own;
    struct dates dates;
    uint64_t hash;
    int error = 0;

    if (memo_is_bad_key_(m, key, key_size) || (data == NULL && size != 0) ||
        take_put(m, put, &own, &dates) != 0) {
        return MEMO_EINVAL;
    }
    hash = hash_key(&m->seed, key, key_size);
    e = memo_entry_new_(memo_shard_of_(m, hash), key, key_size, size,
                        own.n_tags != 0 ? ENTRY_LINKED : 0);
    if (e == NULL) {
        return MEMO_ENOMEM;
    }
    entry_describe(e, SYNC_LOAD(&e->word), key_size, &value);
    if (size != 0) {
        memcpy((void *)(uintptr_t)value.data, data, size);
    }
    if (own.n_tags != 0) {
        error = memo_link_tags_(m, &e, own.tags, own.n_tags);
    }
    if (error == 0) {
        memo_entry_weigh_(m, e, NULL);
        error = replace(m, e, &dates, key, key_size, hash);
    }
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

int memo_invalidate_tag(struct memo *m, const void *tag, size_t size) {
    struct source_name name;

    if (memo_is_bad_key_(m, tag, size)) {
        return MEMO_EINVAL;
    }
    if (SYNC_LOAD(&m->closing)) {
        return MEMO_ECLOSED;
    }
    name = memo_tag_name_(m, tag, size);
    return memo_source_change_(m, &name);
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
