#include "memo/args.h"
#include "memo/calling.h"
#include "memo/entry.h"
#include "memo/find.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/load.h"
#include "memo/run.h"
#include "memo/running.h"
#include "memo/shard.h"
#include "memo/step.h"

#include <string.h>

// Waiting without a thread: a ticket watches its flight's done.
//
// Exactly one of two gets to complete a ticket, he who sets OVER: who ends the
// flight, through the watcher; or memo_ticket_cancel().
//
// If the result isn't for it, who ends the flight moves the ticket on to another,
// and adds a MOVE to its state for as long.  The next flight may end, and call for
// another move, before he has subtracted it: then he makes that one, too.  Only he
// changes flight, and not if he finds OVER set.  Who sets OVER takes the ticket off
// its flight if there is no MOVE; else he does who subtracts the last.
//
//   ORDER(move)  there:A   the MOVE is subtracted
//                cancel:B  memo_ticket_cancel() sets OVER
//       If cancel:B finds no MOVE, the ticket watches flight, as there:A left it,
//       or has.
//
// LIFETIME: the wait holds one reference to the ticket until it is completed, or,
// canceled on the move, until that has ended; the caller another until
// memo_ticket_free().  The ticket holds one to the flight, since it is watched
// until it is completed.

#define OVER 1u
#define MOVE 2u

struct memo_ticket {
    struct sync_watcher done;
    memo_done_fn *fn;
    void *arg;
    struct memo_load *flight;
    int64_t joined_ns;    // or STARTED
    unsigned char late;   // see struct begin_step
    unsigned char depth;  // of the wait: enum begin_depth
    sync_atomic_u8 state;  // Atomic: OVER, and MOVEs
    sync_atomic_u32 refs;  // Atomic.  ORDER(unref), as in entry.c
};

static void unref_ticket(struct memo_ticket *t) {
    if (SYNC_SUB_ACQREL(&t->refs, 1) == 1) {  // ORDER(unref)
        struct memo_load *f = t->flight;
        memo_dealloc_(f->shard->memo, t, sizeof(*t));
        memo_flight_unref_(f);
    }
}

static void drop_ticket(struct memo_ticket **t) {
    unref_ticket(*t);
}

// Whether the caller is to complete t: nobody has before.
static int take(struct memo_ticket *t) {
    return (SYNC_OR_ACQREL(&t->state, OVER) & OVER) == 0;
}

// The flight is done, and its result is for this wait.
static void complete(struct memo_ticket *t) {
    SYNC_CLEANUP(drop_ticket) struct memo_ticket *ticket = t;
    int is_ours = take(t), error;
    struct memo_value value;

    memo_stop_waiting_(t->flight, t->joined_ns, 0);
    if (is_ours) {
        memset(&value, 0, sizeof(value));
        error = memo_hand_out_(t->flight, t->joined_ns == STARTED, &value);
        ticket->fn(t->arg, error, &value);  // CALLBACK: nothing is locked
    }
}

static void cancel(struct memo_ticket **ticket) {
    struct memo_ticket *t = *ticket;
    struct memo_value nothing;

    memset(&nothing, 0, sizeof(nothing));
    t->fn(t->arg, MEMO_ECANCELED, &nothing);  // CALLBACK: nothing is locked
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

// When the answer has ended the thread, or thrown: the load whose turn was to come is
// abandoned (E3).
static void abandon_refresh(struct memo_load **f) {
    if (*f != NULL) {
        memo_abandon_task_(*f);
        memo_run_refresh_(*f);  // what is left to do
    }
}

// Answer with what the step has found; and refresh it, if that was begun.  Its turn
// comes after the answer, which may close the cache, or wait for it, and then runs it.
static void answer_and_refresh(struct begin_step *begin, memo_done_fn *done,
                               void *arg) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};
    SYNC_CLEANUP(abandon_refresh) struct memo_load *f = NULL;
    struct memo_value value;

    memset(&value, 0, sizeof(value));
    value.from = begin->from;
    if (begin->entry != NULL) {
        memo_entry_hand_out_(begin->entry, begin->from, &value);
    }
    if (begin->started) {
        f = begin->flight;
        memo_calling_begin_(&calling, f->shard);
    }
    done(arg, begin->error, &value);  // CALLBACK
    if (begin->started) {
        f = NULL;
        memo_run_refresh_(begin->flight);
    }
}

static void begin_to_wait(struct memo_ticket *t, const struct begin_step *begin,
                          enum begin_depth depth) {
    t->flight = begin->flight;
    t->joined_ns = begin->joined_ns;
    t->late = begin->late != 0;
    t->depth = (unsigned char)depth;
}

static void forget(void *unused, int error, struct memo_value *value) {
    (void)unused;
    (void)error;
    memo_release(value);
}

// There is an answer without another flight.
static void complete_with(struct memo_ticket *t, struct begin_step *begin) {
    SYNC_CLEANUP(drop_ticket) struct memo_ticket *ticket = t;

    answer_and_refresh(begin, take(t) ? ticket->fn : forget, t->arg);
}

// The result isn't for this wait: find it another flight, and give the reference to
// the one before away.  Return 0 if the wait has come to its end, for there is an
// answer, or it was canceled.
static int begin_again(struct memo_ticket *t, struct memo_load **before) {
    struct memo_load *f = t->flight;
    enum begin_depth depth = (enum begin_depth)t->depth;
    struct begin_step begin;

    (void)memo_must_go_again_(f, t->joined_ns == STARTED, t->late, NULL, &depth);
    begin = memo_begin_for_(f->key, f->key_size, f->hash, depth);
    begin.hands_over = 1;
    memo_stop_waiting_(f, t->joined_ns, 0);
    if (SYNC_LOAD(&t->state) & OVER) {
        unref_ticket(t);
        return 0;
    }
    begin.error = memo_find_or_start_(f->shard->memo, &begin);
    if (begin.flight == NULL || begin.entry != NULL) {
        complete_with(t, &begin);
        return 0;
    }
    *before = f;
    begin_to_wait(t, &begin, (enum begin_depth)t->depth);
    return 1;
}

static void watch(struct memo_ticket *t) {
    if (memo_is_told_elsewhere_(t->flight) ||
        !sync_event_watch(&t->flight->done, &t->done)) {
        flight_is_done(&t->done);
    }
}

// Move t on to another flight; run the load of that, if it was started here.  Return
// the state that this leaves.
//
// LIFETIME: from when the next flight is watched, the wait's reference to t is his
// who ends that; the caller has another.  The flight before is held until the load
// runs: its result may have a destructor that waits for this.
static unsigned move(struct memo_ticket *t) {
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *before = NULL;
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *f = NULL;
    unsigned state;
    int started;

    if (!begin_again(t, &before)) {
        return OVER;
    }
    f = t->flight;
    (void)SYNC_ADD(&f->refs, 1);
    started = t->joined_ns == STARTED;
    watch(t);
    state = SYNC_SUB_ACQREL(&t->state, MOVE) - MOVE;  // ORDER(move) there:A
    if (started) {
        memo_run_load_(f, 1);
    }
    if (state == OVER && sync_event_unwatch(&f->done, &t->done)) {
        memo_stop_waiting_(f, t->joined_ns, 1);  // canceled on the move
        unref_ticket(t);
    }
    return state;
}

// The result of a flight isn't for this wait, nor perhaps that of the next.
static void move_on(struct memo_ticket *t) {
    SYNC_CLEANUP(drop_ticket) struct memo_ticket *ticket = t;

    (void)SYNC_ADD(&t->refs, 1);
    while (move(ticket) >= MOVE) {
    }
}

static void flight_is_done(struct sync_watcher *w) {
    struct memo_ticket *t = SYNC_CONTAINER(w, struct memo_ticket, done);
    enum begin_depth depth = (enum begin_depth)t->depth;

    if (!memo_must_go_again_(t->flight, t->joined_ns == STARTED, t->late, NULL,
                             &depth)) {
        complete(t);
    } else if (SYNC_ADD_ACQREL(&t->state, MOVE) < MOVE) {
        move_on(t);
    }
}

// Watch the flight; then run its load, if it was started here.  The watcher comes
// first, so that a load which ends at once finds it.
static void watch_and_run(struct memo_ticket *t) {
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *f = t->flight;
    int started = t->joined_ns == STARTED;

    (void)SYNC_ADD(&f->refs, 1);
    watch(t);
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
    uint8_t state;

    if (t == NULL) {
        return MEMO_EINVAL;
    }
    state = SYNC_OR_ACQREL(&t->state, OVER);  // ORDER(move) cancel:B
    if (state & OVER) {
        return MEMO_EALREADY;
    }
    if (state == 0 && !memo_is_told_elsewhere_(t->flight) &&
        sync_event_unwatch(&t->flight->done, &t->done)) {
        SYNC_CLEANUP(drop_ticket) struct memo_ticket *ticket = t;
        // Also when the load, being told, throws.
        SYNC_CLEANUP(cancel) struct memo_ticket *canceled = t;
        memo_stop_waiting_(ticket->flight, canceled->joined_ns, 1);
    } else {
        cancel(&t);  // who ends the flight does the rest
    }
    return 0;
}

void memo_ticket_free(struct memo_ticket *t) {
    if (t != NULL) {
        unref_ticket(t);
    }
}
