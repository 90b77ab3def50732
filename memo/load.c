#include "memo/load.h"

#include "memo/calling.h"
#include "memo/depend.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/find.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/run.h"
#include "memo/shard.h"
#include "memo/stats.h"
#include "memo/step.h"

// The concurrent non-blocking cache (A. Donovan, B. Kernighan, "The Go
// Programming Language", 9.7): find the value, or wait for who is making it, or
// make it, and tell everybody.
//
//   ORDER(result)  end:A   the shard's owner writes result, error and detached
//                  set:B   sync_event_set(done), a release
//                  wait:C  sync_event_wait(done) returned 0, an acquire
//                  read:D  reads of result, error and detached
//       If wait:C returns 0, read:D sees what end:A wrote.

static int refresh_and_answer(struct begin_step *begin, struct memo_value *out);

// Whether the caller may go before the load has ended.
static int may_leave(const struct memo_wait *wait) {
    return wait != NULL && (wait->deadline_ns != 0 || wait->note != NULL ||
                            wait->soft_deadline_ns != 0);
}

// Who waits for a flight.
struct waiter {
    struct memo_load *flight;
    int64_t joined_ns;
    int error;
};

static void leave(struct waiter *w) {
    memo_stop_waiting_(w->flight, w->joined_ns, w->error != 0);
}

// Also when the load, which he may run himself, throws or ends the thread.
static int wait_and_leave(struct memo_load *f, int64_t joined_ns,
                          const struct memo_wait *wait) {
    SYNC_CLEANUP(leave) struct waiter w = {f, joined_ns, MEMO_EABANDONED};

    w.error = memo_wait_(f, wait);
    return w.error;
}

// The whole idea, in one function.  The key was not among the resident values.
// *again: the result isn't for this caller; then begin->depth is for another attempt.
static int find_or_load(struct memo *m, struct begin_step *begin,
                        const struct memo_wait *wait, struct memo_value *out,
                        int *again) {
    // Dropped also when this thread ends inside the load.
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *f = NULL;
    int error;

    begin->hands_over = may_leave(wait);
    error = memo_find_or_start_(m, begin);
    begin->depth = memo_depth_of_(wait);  // that it began alone doesn't matter
    *again = 0;
    f = begin->flight;
    if (begin->entry != NULL) {
        error = refresh_and_answer(begin, out);
        *again = out->from == MEMO_DETACHED &&
                 memo_must_go_again_(f, 1, 0, wait, &begin->depth);
        return error;
    }
    if (error != 0) {
        out->from = begin->from;
        return error;
    }
    if (begin->started) {
        memo_run_load_(f, may_leave(wait));
    }
    error = wait_and_leave(f, begin->joined_ns, wait);
    if (error == MEMO_ETIMEDOUT && memo_may_take_old_(f, wait)) {
        return memo_hand_out_old_(f, out);
    }
    if (error == 0) {
        *again = memo_must_go_again_(f, begin->started, begin->late, wait,
                                     &begin->depth);
        error = memo_hand_out_(f, begin->started, out);
    }
    return error;
}

static int get_or_load(struct memo *m, const void *key, size_t key_size,
                       uint64_t hash, const struct memo_wait *wait,
                       struct memo_value *out) {
    if (memo_table_find_(memo_shard_of_(m, hash), key, key_size, hash, out) >
        0) {
        return memo_answer_(m, out);
    }
    return memo_load_as_(m, key, key_size, hash, memo_depth_of_(wait), wait,
                         out);
}

int memo_get_slow_(struct memo *m, const void *key, size_t key_size,
                   uint64_t hash, const struct memo_wait *wait,
                   struct memo_value *out) {
    int error = m->depend_auto ? memo_use_key_(m, hash, key, key_size) : 0;

    if (error != 0) {
        return error;
    }
    error = get_or_load(m, key, key_size, hash, wait, out);
    return error == 0 && m->depend_auto ? memo_use_value_(m, out) : error;
}

int memo_load_as_(struct memo *m, const void *key, size_t key_size,
                  uint64_t hash, enum begin_depth depth,
                  const struct memo_wait *wait, struct memo_value *out) {
    int again, error;

    do {
        struct begin_step begin = memo_begin_for_(key, key_size, hash, depth);
        error = find_or_load(m, &begin, wait, out, &again);
        if (again) {
            memo_release(out);
        }
        depth = begin.depth;
    } while (again);
    return error;
}

// Do what a look has left to do, or leave it for later.
static void do_or_leave(struct shard *s, struct begin_step *begin,
                        struct entry *garbage) {
    struct entry **left = begin->started ? &begin->flight->left : NULL;

    left = begin->left != NULL ? begin->left : left;
    if (left == NULL) {
        memo_do_rest_(s, garbage);  // CALLBACK
        return;
    }
    while (*left != NULL) {
        left = entry_next_dead(*left);
    }
    *left = garbage;
}

static void look(struct shard *s, struct begin_step *begin) {
    struct entry *garbage = memo_own_only_(s, memo_begin_owned_, begin);

    do_or_leave(s, begin, garbage);
}

// Forget what the first look has found: it may be gone by the second.
static void look_anew(struct shard *s, struct begin_step *begin,
                      enum begin_depth depth) {
    struct entry *e = begin->entry;

    begin->entry = NULL;
    begin->from = MEMO_NOWHERE;
    begin->depth = depth;
    if (e != NULL && memo_entry_let_go_(e)) {
        *entry_next_dead(e) = NULL;
        do_or_leave(s, begin, e);
    }
}

// Give the begin step a flight that it may start, and do it, as deep as the caller
// wanted.
static int begin_with_spare(struct memo *m, struct begin_step *begin,
                            enum begin_depth depth) {
    struct shard *s = memo_shard_of_(m, begin->hash);

    begin->spare =
        memo_flight_new_(s, begin->hash, begin->key, begin->key_size);
    if (begin->spare == NULL) {
        return begin->entry == NULL ? MEMO_ENOMEM : 0;
    }
    look_anew(s, begin, depth);
    (void)SYNC_ADD(&begin->spare->refs, 1);  // the load's, and the caller's
    look(s, begin);
    if (!begin->started) {
        memo_flight_unref_(begin->spare);
        memo_flight_unref_(begin->spare);
    }
    return begin->error;
}

// Memory for a flight is taken between two looks, with nothing owned; but where
// a look is a message, one must do.
int memo_find_or_start_(struct memo *m, struct begin_step *begin) {
    enum begin_depth depth = begin->depth;
    int error = 0;

    begin->now_ns = m->timing == TIMING_NONE ? 0 : memo_now_(m);
    begin->needs_spare = m->monitor != NULL && begin->depth >= BEGIN_START;
    if (!begin->needs_spare) {
        look(memo_shard_of_(m, begin->hash), begin);
        error = begin->error;
    }
    if (begin->needs_spare) {
        error = begin_with_spare(m, begin, depth);
    }
    if (begin->from != MEMO_NOWHERE) {
        memo_count_(m, begin->from);
    }
    if (begin->started) {
        begin->joined_ns = STARTED;
    } else if (begin->flight != NULL) {
        begin->joined_ns = m->timing == TIMING_NONE ? memo_now_(m) : begin->now_ns;
    }
    return error;
}

// Hand out the entry that the step found; run the refresh of it that the step
// started, if it did.  The entry is an answer, whatever becomes of the refresh;
// but if that has ended well by now, its result is a better one.
static int refresh_and_answer(struct begin_step *begin,
                              struct memo_value *out) {
    SYNC_CLEANUP(memo_entry_drop_) struct entry *e = begin->entry;
    struct memo_load *f = begin->flight;

    if (begin->started) {
        memo_run_load_(f, 1);
        if (sync_event_is_set(&f->done) && f->error == 0) {
            return memo_hand_out_(f, 1, out);
        }
    }
    memo_entry_hand_out_(e, begin->from, out);
    e = NULL;
    return 0;
}

int memo_hand_out_(struct memo_load *f, int started, struct memo_value *out) {
    if (f->result == NULL) {
        return f->error;
    }
    memo_entry_ref_(f->result);
    memo_entry_hand_out_(f->result,
                         f->detached ? MEMO_DETACHED
                         : f->stale  ? MEMO_STALE
                         : started   ? MEMO_LOADED
                                     : MEMO_JOINED,
                         out);
    if (f->stale) {
        memo_count_(f->shard->memo, MEMO_STALE);
    }
    return 0;
}

void memo_run_refresh_(struct memo_load *f) {
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *flight = f;

    memo_run_load_(flight, 1);
}

int memo_may_take_old_(const struct memo_load *f,
                       const struct memo_wait *wait) {
    struct memo *m = f->shard->memo;
    int64_t now;

    if (wait == NULL || wait->soft_deadline_ns == 0 || !memo_has_old_(f) ||
        m->timing == TIMING_NONE) {
        return 0;
    }
    now = memo_now_(m);
    return now >= wait->soft_deadline_ns && now < f->old_until_ns &&
           entry_holds(f->old);
}

int memo_hand_out_old_(struct memo_load *f, struct memo_value *out) {
    memo_entry_ref_(f->old);
    memo_entry_hand_out_(f->old, MEMO_STALE, out);
    memo_count_(f->shard->memo, MEMO_STALE);
    return 0;
}

static void tell_unwanted(struct memo_load *f) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};

    memo_calling_begin_(&calling, f->shard);
    sync_event_set(&f->canceled);  // CALLBACK: of the load
}

void memo_stop_waiting_(struct memo_load *f, int64_t joined_ns, int gave_up) {
    struct memo *m = f->shard->memo;
    struct leave_step leave = {f, joined_ns == STARTED, 0};

    if (joined_ns != STARTED && !memo_is_inherited_(f)) {
        memo_record_(f->shard, MEMO_HISTOGRAM_WAIT,
                     memo_span_(joined_ns, memo_now_(m)));
    }
    if (m->max_waiters != 0 && joined_ns != STARTED && !memo_is_inherited_(f)) {
        (void)SYNC_SUB(&m->n_waiters, 1);
    }
    if (gave_up && (m->cancel_unwanted || m->max_waiters_per_key != 0)) {
        memo_own_(f->shard, memo_leave_owned_, &leave);
        if (leave.unwanted) {
            tell_unwanted(f);
        }
    }
}
