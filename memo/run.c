#include "memo/run.h"

#include "memo/calling.h"
#include "memo/engine.h"
#include "memo/flight.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/load.h"
#include "memo/running.h"
#include "memo/shard.h"
#include "memo/step.h"
#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"

// Running loads, and waiting for them.
//
// ORDER labels of this file are explained in load.c.

_Static_assert((int)SYNC_ETIMEDOUT == (int)MEMO_ETIMEDOUT &&
                   (int)SYNC_ECANCELED == (int)MEMO_ECANCELED,
               "errors of sync/ are passed through");

static void run_here(struct memo_load *f) {
    struct memo *m = f->shard->memo;
    SYNC_CLEANUP(memo_running_leave_) struct running r = {.flights = &f, .n = 1};
    int error;

    memo_running_enter_(&r);
    error = m->load(m->load_arg, f);  // CALLBACK: nothing is owned or locked
    r.returned = 1;
    if (error != MEMO_PENDING) {
        (void)memo_load_finish(f, error);
    }
}

static void run_unless_over(struct memo_load *f) {
    if (sync_event_is_set(&f->done) || memo_is_inherited_(f)) {
        (void)memo_load_finish(f, MEMO_EABANDONED);  // closed meanwhile
    } else {
        run_here(f);
    }
}

// Says who runs it, and publishes nothing: all know f from the shard's owner.
int memo_take_task_(struct memo_load *f) {
    uint32_t task = TASK_OPEN;

    return SYNC_LOAD(&f->task) == TASK_OPEN &&
           SYNC_CAS(&f->task, &task, TASK_TAKEN);
}

// Whether the caller, who has started f or has it as a task, must still run its load.
static int is_still_to_run(struct memo_load *f) {
    return SYNC_LOAD(&f->task) == TASK_NONE || memo_take_task_(f);
}

void memo_abandon_task_(struct memo_load *f) {
    if (is_still_to_run(f)) {
        (void)memo_load_finish(f, MEMO_EABANDONED);
    }
}

// Letting go of f may destroy its result.
static void run_task(void *task) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *f = task;

    memo_calling_begin_(&calling, f->shard);
    if (is_still_to_run(f)) {
        run_unless_over(f);
    }
}

static void refuse_task(struct memo_load **f) {
    if (*f != NULL) {
        memo_abandon_task_(*f);
        memo_flight_unref_(*f);
    }
}

// An executor that throws refuses, too.
//
// LIFETIME: the task has a reference to f of its own.
static void hand_over(const struct memo_executor *x, struct memo_load *f) {
    SYNC_CLEANUP(refuse_task) struct memo_load *refused = f;

    (void)SYNC_ADD(&f->refs, 1);
    if (x->submit(x->state, run_task, f) == 0) {  // CALLBACK
        refused = NULL;
    }
}

// What was left to do when a flight of the shard was started.
struct left {
    struct shard *shard;
    struct entry *garbage;
};

static void do_left(struct left *left) {
    memo_do_rest_(left->shard, left->garbage);  // CALLBACK
}

// LIFETIME: the caller's reference keeps f, and its shard, until what is left is done.
void memo_run_load_(struct memo_load *f, int may_hand_over) {
    const struct memo_executor *x = &f->shard->memo->executor;
    SYNC_CLEANUP(do_left) struct left left = {f->shard, f->left};

    f->left = NULL;
    // Not from inside a load: the executor's threads may all be waiting so.
    if (may_hand_over && x->submit != NULL && !memo_is_running_()) {
        hand_over(x, f);
    } else if (is_still_to_run(f)) {
        run_unless_over(f);
    }
}

static void finish_many(const struct running *r, int error) {
    size_t i;

    for (i = 0; i < r->n && error != MEMO_PENDING; i++) {
        struct memo_load *f = r->flights[i];
        int absent = error == 0 && !memo_is_finished_(f) &&
                     f->making == NULL && f->verdict == VERDICT_VALUE;
        (void)memo_load_finish(f, absent ? MEMO_ENOENT : error);
    }
}

void memo_run_load_many_(struct memo *m, struct memo_load *const flights[],
                         size_t n) {
    SYNC_CLEANUP(memo_running_leave_) struct running r = {.flights = flights, .n = n};
    int error;

    memo_running_enter_(&r);
    error = m->load_many(m->load_arg, flights, n);  // CALLBACK
    r.returned = 1;
    finish_many(&r, error);
}

// ------------------------------------------------------------------ waiting

static int wait_on_clock(struct memo_load *f, int64_t deadline_ns,
                         struct sync_note *note) {
    struct memo *m = f->shard->memo;
    int64_t nap = memo_run_own_loop_(m);

    if (nap == MEMO_NEVER &&
        (deadline_ns == MEMO_NEVER || m->clock_is_monotonic)) {
        return sync_event_wait(&f->done, deadline_ns, note);
    }
    for (;;) {
        int64_t now = deadline_ns == MEMO_NEVER ? 0 : memo_now_(m);
        int64_t left = memo_span_(now, deadline_ns);
        int error;
        nap = nap < MEMO_LOOK_AT_CLOCK_NS ? nap : MEMO_LOOK_AT_CLOCK_NS;
        nap = nap < left ? nap : left;
        error = sync_event_wait(
            &f->done, left == 0 ? 0 : sync_clock_now_ns() + nap, note);
        if (error != SYNC_ETIMEDOUT || left == 0) {
            return error;
        }
        nap = memo_run_own_loop_(m);
    }
}

// Until the soft deadline, if there is something to take then; else to the hard
// one.
static int wait_softly(struct memo_load *f, const struct memo_wait *wait) {
    int64_t hard_ns = MEMO_NEVER;
    int error;

    if (wait == NULL) {
        return wait_on_clock(f, hard_ns, NULL);
    }
    if (wait->deadline_ns != 0) {
        hard_ns = wait->deadline_ns;
    }
    if (wait->soft_deadline_ns != 0 && wait->soft_deadline_ns < hard_ns &&
        memo_has_old_(f)) {
        error = wait_on_clock(f, wait->soft_deadline_ns, wait->note);
        if (error != MEMO_ETIMEDOUT || memo_may_take_old_(f, wait)) {
            return error;
        }
    }
    return wait_on_clock(f, hard_ns, wait->note);
}

// Whether who waits for f here must not wait for others to run its load.  The
// executor's threads may all be waiting so, and this may be one of them; or who is to
// run it when he has given an answer, or run others.
static int must_run_instead(const struct memo_load *f,
                            const struct memo_wait *wait) {
    return SYNC_LOAD(&f->task) == TASK_OPEN &&
           (memo_is_calling_() || memo_in_callback_()) &&
           (wait == NULL || wait->deadline_ns == 0 ||
            memo_now_(f->shard->memo) < wait->deadline_ns);
}

int memo_wait_(struct memo_load *f, const struct memo_wait *wait) {
    int edges = memo_is_running_(), error;

    if (memo_is_inherited_(f)) {
        memo_settle_(f->shard->memo);
    }
    // ORDER(result) wait:C
    if (sync_event_is_set(&f->done) || memo_is_told_elsewhere_(f)) {
        return 0;
    }
    if (must_run_instead(f, wait) && memo_take_task_(f)) {
        run_unless_over(f);
    }
    if (edges && memo_set_edges_(f) != 0) {
        return MEMO_EDEADLK;
    }
    error = wait_softly(f, wait);
    if (edges) {
        (void)memo_set_edges_(NULL);
    }
    return error;
}
