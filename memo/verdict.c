#include "memo/entry.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/shard.h"

#include <string.h>

// What a load may say of its result, besides giving a value: how long it is good
// for, that there is none, that the old one still is good, that it isn't to be
// kept.

int memo_has_old_(const struct memo_load *f) {
    uint64_t word;

    if (f->old == NULL) {
        return 0;
    }
    word = SYNC_LOAD(&f->old->word);
    return entry_kind(word) == KIND_VALUE || entry_kind(word) == KIND_STALE;
}

int memo_is_stillborn_(const struct memo_load *f) {
    return f->dates.has_ttl && f->dates.ttl_ns == 0;
}

int memo_load_old(struct memo_load *l, struct memo_value *out) {
    if (out == NULL) {
        return MEMO_EINVAL;
    }
    memset(out, 0, sizeof(*out));
    if (l == NULL) {
        return MEMO_EINVAL;
    }
    if (!memo_has_old_(l)) {
        return MEMO_ENOENT;
    }
    memo_entry_ref_(l->old);
    memo_entry_hand_out_(l->old, MEMO_STALE, out);
    return 0;
}

int memo_load_set_ttl(struct memo_load *l, int64_t ttl_ns) {
    if (l == NULL || ttl_ns < 0 || l->shard->memo->timing == TIMING_NONE) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    l->dates.has_ttl = 1;
    l->dates.ttl_ns = ttl_ns;
    return 0;
}

int memo_load_set_refresh(struct memo_load *l, int64_t refresh_after_ns) {
    if (l == NULL || refresh_after_ns < 0 ||
        l->shard->memo->timing != TIMING_FRESHNESS) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    l->dates.has_refresh = 1;
    l->dates.refresh_after_ns =
        refresh_after_ns == 0 ? MEMO_NEVER : refresh_after_ns;
    return 0;
}

int memo_load_must_revalidate(struct memo_load *l) {
    if (l == NULL || l->shard->memo->timing != TIMING_FRESHNESS) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    l->dates.strict = 1;
    return 0;
}

static int set_verdict(struct memo_load *l, enum verdict verdict) {
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    l->verdict = verdict;
    return 0;
}

int memo_load_not_found(struct memo_load *l) {
    return l == NULL ? MEMO_EINVAL : set_verdict(l, VERDICT_NOT_FOUND);
}

int memo_load_not_modified(struct memo_load *l) {
    if (l == NULL || !memo_has_old_(l)) {
        return MEMO_EINVAL;
    }
    return set_verdict(l, VERDICT_NOT_MODIFIED);
}

int memo_load_pass(struct memo_load *l) {
    if (l == NULL) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    l->pass = 1;
    return 0;
}

// ------------------------------------------------------------------ the end

int memo_error_of_(const struct memo_load *f, int error) {
    if (error != 0) {
        return error;
    }
    switch (f->verdict) {
        case VERDICT_NOT_FOUND:
            return MEMO_ENOENT;
        case VERDICT_NOT_MODIFIED:
            return 0;
        default:
            return f->making == NULL ? MEMO_EABANDONED : 0;
    }
}

struct entry *memo_marker_for_(struct memo_load *f, int error) {
    const struct memo *m = f->shard->memo;

    if (f->alone) {
        return NULL;
    }
    if (error == 0) {
        return f->pass && m->pass_ttl_ns != 0 ? memo_marker_new_(f, KIND_PASS)
                                              : NULL;
    }
    return (error == MEMO_ENOENT ? m->negative_ttl_ns : m->backoff_ns) == 0
               ? NULL
               : memo_marker_new_(f, KIND_ERROR);
}
