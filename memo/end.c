#include "memo/alarm.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/link_set.h"
#include "memo/listen.h"
#include "memo/policy.h"
#include "memo/shard.h"
#include "memo/stats.h"
#include "memo/step.h"
#include "memo/table.h"
#include "memo/wheel.h"

// How a flight ends: its result is stored, or what else that calls for happens.

// How long the load of f took, that ended at now_ns; not less than nothing, whatever
// the clock says.
static int64_t ns_of_load(const struct memo_load *f, int64_t now_ns) {
    return memo_span_(f->started_ns, now_ns);
}

// Drop what the key of f has in the table, if anything.
static void drop_old(struct shard *s, const struct memo_load *f) {
    struct table_place place;
    struct entry *e =
        memo_table_find_owned_(s, f->key, f->key_size, f->hash, &place);

    if (e != NULL) {
        memo_drop_owned_(s, place, e, MEMO_REPLACED);
    }
}

// Nothing could be stored in place of the old entry: then others may try.  An error
// that is kept for its time holds nobody off.
static void leave_old(struct shard *s, const struct memo_load *f) {
    struct entry *e = memo_old_of_owned_(f);

    if (e != NULL && s->memo->timing == TIMING_FRESHNESS &&
        (memo_has_old_(f) || entry_prefix(e)->error != MEMO_ENOENT)) {
        memo_let_try_owned_(s, e);
    }
}

// Store instead of a value what the end of f calls for.  A marker that can't be
// stored for want of memory, or wasn't made, is just not kept.
static void store_marker(struct shard *s, const struct memo_load *f,
                         const struct end_step *end) {
    int error = MEMO_ENOMEM;

    if (end->marker != NULL) {
        memo_date_marker_owned_(s, end->marker, memo_old_of_owned_(f), end->error,
                                end->now_ns);
        error = memo_store_owned_(s, end->marker, f->key, f->key_size, f->hash);
    }
    if (error != 0) {
        leave_old(s, f);
    }
}

// The load of f, which is attached, has found the old value good.  If that can't be
// noted for want of memory, it is still delivered.
static void renew(struct shard *s, struct memo_load *f, int64_t now_ns) {
    struct entry *e = memo_old_of_owned_(f);
    int64_t before;

    memo_entry_ref_(f->old);
    f->result = f->old;
    if (e == NULL || s->wheel == NULL) {
        return;
    }
    if (memo_reserve_alarm_owned_(s) != 0) {
        leave_old(s, f);
        return;
    }
    before = memo_end_of_(s->memo, e);
    memo_date_owned_(s, e, &f->dates, now_ns, ns_of_load(f, now_ns));
    memo_move_alarm_owned_(s, e, before, f->hash);
}

// The load of f, which is attached, has failed.
static void fail(struct shard *s, struct memo_load *f,
                 const struct end_step *end) {
    struct entry *e = memo_old_of_owned_(f);

    if (end->error == MEMO_ENOENT) {
        drop_old(s, f);
    } else if (e != NULL && memo_has_old_(f) &&
               memo_stand_in_owned_(s, e, end->error, end->now_ns)) {
        memo_entry_ref_(e);
        f->result = e;
        f->stale = 1;
        return;
    }
    store_marker(s, f, end);
}

// The result is there before the flight is gone: no instant at which a finished
// key looks absent (F1).  If it can't be stored for want of memory, it is still
// delivered.
static void settle(struct shard *s, struct memo_load *f,
                   const struct end_step *end) {
    if (end->error != 0) {
        fail(s, f, end);
    } else if (f->verdict == VERDICT_NOT_MODIFIED) {
        renew(s, f, end->now_ns);
    } else if (f->pass || memo_is_stillborn_(f)) {
        drop_old(s, f);
        memo_note_rejected_owned_(s, end->entry);
        store_marker(s, f, end);
    } else {
        if (s->wheel != NULL) {
            memo_date_owned_(s, end->entry, &f->dates, end->now_ns,
                             ns_of_load(f, end->now_ns));
        }
        memo_policy_see_cost_(s, end->entry, ns_of_load(f, end->now_ns));
        if (memo_store_owned_(s, end->entry, f->key, f->key_size, f->hash) != 0) {
            memo_note_rejected_owned_(s, end->entry);
            leave_old(s, f);
        }
    }
}

static void count_end(struct shard *s, struct memo_load *f,
                      const struct end_step *end) {
    if (memo_is_inherited_(f)) {
        return;  // it isn't counted here
    }
    s->n_running--;
    sync_list_remove(&s->running, &f->running);
    if (s->memo->max_loads != 0) {
        (void)SYNC_SUB(&s->memo->n_loads, 1);
    }
    s->load_ns += (uint64_t)ns_of_load(f, end->now_ns);
    memo_record_(s, MEMO_HISTOGRAM_LOAD, ns_of_load(f, end->now_ns));
    s->load_failures += end->error != 0;
    s->refresh_failures += end->error != 0 && f->refresh;
    s->not_modified += end->error == 0 && f->verdict == VERDICT_NOT_MODIFIED;
    s->passes += end->entry != NULL && f->pass;
}

// The fresh value that the key of f has, where somebody may depend on it.
static struct entry *depended_on(struct shard *s, const struct memo_load *f,
                                 int64_t now_ns) {
    struct table_place place;
    struct entry *e;
    enum age age;

    if (SYNC_LOAD(&s->memo->sources) == NULL) {
        return NULL;
    }
    e = memo_table_find_owned_(s, f->key, f->key_size, f->hash, &place);
    if (e == NULL || !shard_is_valid(s, e)) {
        return NULL;
    }
    age = s->wheel == NULL ? AGE_FRESH : memo_age_owned_(s, e, now_ns);
    return age == AGE_FRESH || age == AGE_REFRESH || age == AGE_STALE ? e
                                                                      : NULL;
}

// What f makes isn't fresh longer than what it is made from.
static void limit_dates(const struct shard *s, struct memo_load *f,
                        int64_t now_ns) {
    struct dates *dates = &f->dates;
    int64_t until = f->until_ns, left, ttl;

    if (f->verdict == VERDICT_NOT_MODIFIED && f->old != NULL) {
        int64_t until_old = memo_links_until_(f->old);
        until = until < until_old ? until : until_old;
    }
    if (s->wheel == NULL || until == MEMO_NEVER) {
        return;
    }
    left = memo_span_(now_ns, until);
    ttl = dates->has_ttl ? dates->ttl_ns : s->memo->ttl_ns;
    if (left < ttl) {
        dates->has_ttl = 1;
        dates->ttl_ns = left;
    }
}

// Whether f, which ends, is out of date: by what it has been linked to, or by what
// the old value is that it has found good.
static int is_outdated(struct memo_load *f) {
    return memo_is_outdated_owned_(f) ||
           (f->verdict == VERDICT_NOT_MODIFIED && f->old != NULL &&
            !entry_holds(f->old));
}

// f, which is attached, ends.
static void settle_and_leave(struct shard *s, struct memo_load *f,
                             struct end_step *end) {
    const struct entry *before = depended_on(s, f, end->now_ns);

    limit_dates(s, f, end->now_ns);
    settle(s, f, end);
    end->replaced =
        before != NULL && before != depended_on(s, f, end->now_ns);
    memo_unlink_flight_owned_(s, f);
}

void memo_end_owned_(struct shard *s, void *end_step) {
    struct end_step *end = end_step;
    struct memo_load *f = end->flight;

    shard_see_time(s, end->now_ns);
    count_end(s, f, end);
    f->runs = 0;
    end->was_open = f->state != FLIGHT_ENDED;
    end->drains = s->closed && !f->excused && !memo_is_inherited_(f);
    if (!end->was_open) {
        return;
    }
    f->outdated = is_outdated(f);
    f->detached = f->state == FLIGHT_DETACHED || f->outdated;
    f->passed = end->entry != NULL && f->pass;  // whether it is detached or not
    if (f->passed) {
        SYNC_STORE(&end->entry->word,
                   SYNC_LOAD(&end->entry->word) | ENTRY_PASSED);
    }
    f->result = end->entry;
    f->error = end->error;
    if (f->state == FLIGHT_ATTACHED && f->outdated) {
        memo_detach_flight_owned_(s, f);
    }
    if (f->state == FLIGHT_ATTACHED) {
        settle_and_leave(s, f, end);
    } else {
        if (end->error == 0 && f->verdict == VERDICT_NOT_MODIFIED) {
            memo_entry_ref_(f->old);
            f->result = f->old;
        } else if (end->entry != NULL) {
            memo_note_rejected_owned_(s, end->entry);
        }
        memo_unlink_flight_owned_(s, f);
    }
    f->state = FLIGHT_ENDED;
    s->written = 1;
}
