#include "memo/args.h"
#include "memo/entry.h"
#include "memo/find.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/load.h"
#include "memo/run.h"
#include "memo/shard.h"
#include "memo/step.h"

#include <string.h>

// Waiting without a thread: a ticket watches its flight's done.
//
// Exactly one of two gets to complete a ticket: whoever ends the flight, through
// the watcher; or memo_ticket_cancel(), if it takes the watcher off first.
//
// LIFETIME: the wait holds one reference to the ticket until it is completed,
// and the caller another until memo_ticket_free().  The ticket holds one to the
// flight, since it is watched until it is completed.

struct memo_ticket {
    struct sync_watcher done;
    memo_done_fn *fn;
    void *arg;
    struct memo_load *flight;
    int64_t joined_ns;     // or STARTED
    unsigned char late;    // see struct begin_step
    unsigned char depth;   // of the wait: enum begin_depth
    sync_atomic_u8 canceled;  // Atomic: 1 from the first memo_ticket_cancel()
    sync_atomic_u32 refs;     // Atomic.  ORDER(unref), as in entry.c
};

static void unref_ticket(struct memo_ticket *t) {
    struct memo_load *f = t->flight;

    if (SYNC_SUB_ACQREL(&t->refs, 1) == 1) {  // ORDER(unref)
        memo_dealloc_(f->shard->memo, t, sizeof(*t));
        memo_flight_unref_(f);
    }
}

static void unref_flight(struct memo_load **f) {
    memo_flight_unref_(*f);
}

static void drop_ticket(struct memo_ticket **t) {
    unref_ticket(*t);
}

// Deliver error, or the result if it is 0.
static void complete(struct memo_ticket *t, int error) {
    SYNC_CLEANUP(drop_ticket) struct memo_ticket *ticket = t;
    struct memo_value value;

    memset(&value, 0, sizeof(value));
    memo_stop_waiting_(t->flight, t->joined_ns, error != 0);
    if (error == 0) {
        error = memo_hand_out_(t->flight, t->joined_ns == STARTED, &value);
    }
    ticket->fn(t->arg, error, &value);  // CALLBACK: nothing is locked
}

static void flight_is_done(struct sync_watcher *w);

static struct memo_ticket *new_ticket(struct memo *m, memo_done_fn *fn,
                                      void *arg) {
    struct memo_ticket *t = memo_alloc_(m, sizeof(*t));

    if (t != NULL) {
        memset(t, 0, sizeof(*t));
        t->done.fn = flight_is_done;
        t->fn = fn;
        t->arg = arg;
        SYNC_INIT(&t->refs, 2);
    }
    return t;
}

// Of struct memo_wait, flags that there are for asynchronous waits.
static int is_bad_async(const struct memo_wait *wait) {
    return wait != NULL && ((wait->flags & ~MEMO_WAIT_NO_LOAD) != 0 ||
                            wait->deadline_ns != 0 || wait->note != NULL ||
                            wait->soft_deadline_ns != 0);
}

// Also when the answer ends the thread, or throws: then the load whose turn was to
// come is abandoned (E3).
static void end_turns(struct memo_turns *turns) {
    memo_turns_end_(turns);
    if (turns->next < turns->n) {
        if (memo_is_to_run_(turns->flights[0])) {
            (void)memo_load_finish(turns->flights[0], MEMO_EABANDONED);
        }
        memo_run_refresh_(turns->flights[0]);  // what is left to do
    }
}

// Answer with what the step has found; and refresh it, if that was begun.  Its turn
// comes after the answer, which may close the cache.
static void answer_and_refresh(struct begin_step *begin, memo_done_fn *done,
                               void *arg) {
    struct memo_load *f = begin->started ? begin->flight : NULL;
    SYNC_CLEANUP(end_turns) struct memo_turns turns = {&f, f != NULL, 0, NULL};
    struct memo_value value;

    memset(&value, 0, sizeof(value));
    value.from = begin->from;
    if (begin->entry != NULL) {
        memo_entry_hand_out_(begin->entry, begin->from, &value);
    }
    memo_turns_begin_(&turns);
    done(arg, begin->error, &value);  // CALLBACK
    turns.next = turns.n;
    if (f != NULL) {
        memo_run_refresh_(f);
    }
}

static void begin_to_wait(struct memo_ticket *t, const struct begin_step *begin,
                          enum begin_depth depth) {
    t->flight = begin->flight;
    t->joined_ns = begin->joined_ns;
    t->late = begin->late != 0;
    t->depth = (unsigned char)depth;
}

static void watch_and_run(struct memo_ticket *t);

// The result isn't for this wait: begin again, with another ticket, for this one
// can't be cancelled any more.
static void go_again(struct memo_ticket *t, enum begin_depth depth) {
    SYNC_CLEANUP(drop_ticket) struct memo_ticket *before = t;
    const struct memo_load *f = t->flight;
    struct memo *m = f->shard->memo;
    struct memo_ticket *again = new_ticket(m, t->fn, t->arg);
    struct begin_step begin =
        memo_begin_for_(f->key, f->key_size, f->hash, depth);

    begin.hands_over = 1;
    memo_stop_waiting_(before->flight, t->joined_ns, 0);
    begin.error = again == NULL ? MEMO_ENOMEM : memo_find_or_start_(m, &begin);
    if (begin.flight != NULL && begin.entry == NULL) {
        begin_to_wait(again, &begin, (enum begin_depth)t->depth);
        SYNC_STORE(&again->refs, 1);
        watch_and_run(again);
    } else {
        if (again != NULL) {
            memo_dealloc_(m, again, sizeof(*again));
        }
        answer_and_refresh(&begin, t->fn, t->arg);
    }
}

static void flight_is_done(struct sync_watcher *w) {
    struct memo_ticket *t = SYNC_CONTAINER(w, struct memo_ticket, done);
    enum begin_depth depth = (enum begin_depth)t->depth;

    if (memo_must_go_again_(t->flight, t->joined_ns == STARTED, t->late, NULL,
                            &depth)) {
        go_again(t, depth);
    } else {
        complete(t, 0);
    }
}

// Watch the flight; then run its load, if it was started here.  The watcher comes
// first, so that a load which ends at once finds it.
static void watch_and_run(struct memo_ticket *t) {
    SYNC_CLEANUP(unref_flight) struct memo_load *f = t->flight;
    int started = t->joined_ns == STARTED;

    (void)SYNC_ADD(&f->refs, 1);
    if (!sync_event_watch(&f->done, &t->done)) {
        flight_is_done(&t->done);
    }
    if (started) {
        memo_run_load_(f, 1);
    }
}

int memo_get_async(struct memo *m, const void *key, size_t key_size,
                   const struct memo_wait *wait, memo_done_fn *done, void *arg,
                   struct memo_ticket **ticket) {
    struct memo_wait own;
    struct begin_step begin;
    struct memo_value value;
    struct memo_ticket *t;
    uint64_t hash;
    int error;

    if (ticket != NULL) {
        *ticket = NULL;
    }
    if (done == NULL || memo_take_wait_(&wait, &own) != 0 ||
        is_bad_async(wait)) {
        return MEMO_EINVAL;
    }
    if (memo_is_bad_key_(m, key, key_size)) {
        return MEMO_EINVAL;
    }
    memset(&value, 0, sizeof(value));
    hash = hash_key(&m->seed, key, key_size);
    if (memo_find_(m, key, key_size, hash, &value, &error) == FIND_ANSWER) {
        done(arg, error, &value);  // CALLBACK: no ticket is needed
        return 0;
    }
    t = new_ticket(m, done, arg);
    if (t == NULL) {
        return MEMO_ENOMEM;
    }
    begin = memo_begin_for_(key, key_size, hash, memo_depth_of_(wait));
    begin.hands_over = 1;
    error = memo_find_or_start_(m, &begin);
    if (begin.entry != NULL || begin.from != MEMO_NOWHERE) {
        memo_dealloc_(m, t, sizeof(*t));
        answer_and_refresh(&begin, done, arg);
        return 0;
    }
    if (error != 0) {
        memo_dealloc_(m, t, sizeof(*t));
        return error;
    }
    begin_to_wait(t, &begin, memo_depth_of_(wait));
    if (ticket != NULL) {
        *ticket = t;
    } else {
        SYNC_STORE(&t->refs, 1);
    }
    watch_and_run(t);
    return 0;
}

int memo_ticket_cancel(struct memo_ticket *t) {
    if (t == NULL) {
        return MEMO_EINVAL;
    }
    if (SYNC_XCHG_ACQREL(&t->canceled, 1) != 0 ||
        !sync_event_unwatch(&t->flight->done, &t->done)) {
        return MEMO_EALREADY;
    }
    complete(t, MEMO_ECANCELED);
    return 0;
}

void memo_ticket_free(struct memo_ticket *t) {
    if (t != NULL) {
        unref_ticket(t);
    }
}
