#include "memo/run.h"

#include "memo/engine.h"
#include "memo/flight.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/load.h"
#include "memo/shard.h"
#include "memo/step.h"
#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"

// Running loads and waiting for them, and who waits for whom.
//
// ORDER labels of this file are explained in load.c.

_Static_assert((int)SYNC_ETIMEDOUT == (int)MEMO_ETIMEDOUT &&
                   (int)SYNC_ECANCELED == (int)MEMO_ECANCELED,
               "errors of sync/ are passed through");

// Loads that run in this thread, inside those further out: one, or all those of
// a bulk load.  Holds a reference to each.
struct running {
    struct memo_load *const *flights;
    size_t n;
    struct running *outer;
    int returned;
};

static SYNC_THREAD_LOCAL(struct running *, innermost);

// Loads that this thread will run, in turn, when it gets that far.
static SYNC_THREAD_LOCAL(struct memo_turns *, turns);

void memo_turns_begin_(struct memo_turns *t) {
    t->outer = SYNC_TLS(turns);
    t->inside = SYNC_TLS(innermost);
    SYNC_TLS(turns) = t;
}

void memo_turns_end_(struct memo_turns *t) {
    SYNC_TLS(turns) = t->outer;
}

static void excuse(const struct memo *m, struct memo_load *f, int excused) {
    struct excuse_step x = {f, excused};

    if (f->shard->memo == m) {
        memo_own_(f->shard, memo_excuse_owned_, &x);
    }
}

void memo_excuse_loads_(const struct memo *m, int excused) {
    const struct running *r;
    const struct memo_turns *t;
    size_t i;

    for (r = SYNC_TLS(innermost); r != NULL; r = r->outer) {
        for (i = 0; i < r->n; i++) {
            excuse(m, r->flights[i], excused);
        }
    }
    for (t = SYNC_TLS(turns); t != NULL; t = t->outer) {
        for (i = t->next; i < t->n; i++) {
            excuse(m, t->flights[i], excused);
        }
    }
}

size_t memo_running_loads_(const struct memo *m,
                           struct memo_load *const **flights) {
    const struct running *r = SYNC_TLS(innermost);

    while (r != NULL && r->flights[0]->shard->memo != m) {
        r = r->outer;
    }
    *flights = r == NULL ? NULL : r->flights;
    return r == NULL ? 0 : r->n;
}

// The wait graph: f->waits_for is the flight that the thread which runs the load
// of f, or is to run it next, waits for, or runs the load of; or the flight whose load
// runs before that of f in the same thread.  One mutex guards all edges, of all
// caches; it is taken only inside loads, and around several that run one after the
// other.
static SYNC_GLOBAL struct sync_mutex wait_graph_mu;

static int is_among(const struct memo_load *f, struct memo_load *const flights[],
                    size_t n) {
    size_t i;

    for (i = 0; i < n && flights[i] != f; i++) {
    }
    return i < n;
}

// Whether this thread runs the load of f, or will, inside others or after them; no
// other can.
static int is_up_to_us(const struct memo_load *f) {
    const struct running *r = SYNC_TLS(innermost);
    const struct memo_turns *t = SYNC_TLS(turns);

    while (r != NULL && !is_among(f, r->flights, r->n)) {
        r = r->outer;
    }
    while (t != NULL && !is_among(f, t->flights + t->next, t->n - t->next)) {
        t = t->outer;
    }
    return r != NULL || (t != NULL && SYNC_LOAD(&f->task) == TASK_NONE);
}

// Whether f, or what it waits for, directly or not, is up to this thread.  Who
// waits for a flight that is done waits no more, even if he hasn't noticed yet; but
// this thread may be in the function of a load that is done, inside others.
static int leads_to_us_locked(struct memo_load *f) {
    while (f != NULL && !sync_event_is_set(&f->done) && !is_up_to_us(f)) {
        f = f->waits_for;
    }
    return f != NULL && !sync_event_is_set(&f->done);
}

static int has_edges(void) {
    return SYNC_TLS(innermost) != NULL || SYNC_TLS(turns) != NULL;
}

// Add edges to f from what can't go on until this thread does: the loads that it
// runs, the innermost; and, between loads that it runs in turns, the next, if nobody
// else can run that.  Or remove them, if f is NULL.  Return MEMO_EDEADLK, and change
// nothing, if that would close a cycle (W4).
//
// LIFETIME: who set an edge holds a reference to its target until the edge is
// gone, so the walk meets only live flights.
static int set_edges(struct memo_load *f) {
    const struct running *r = SYNC_TLS(innermost);
    const struct memo_turns *t = SYNC_TLS(turns);
    int cycle;
    size_t i;

    sync_mutex_lock(&wait_graph_mu);
    cycle = leads_to_us_locked(f);
    for (i = 0; r != NULL && i < r->n && !cycle; i++) {
        r->flights[i]->waits_for = f;
    }
    for (; t != NULL && t->inside == r && !cycle; t = t->outer) {
        if (t->next < t->n && SYNC_LOAD(&t->flights[t->next]->task) == TASK_NONE) {
            t->flights[t->next]->waits_for = f;
        }
    }
    sync_mutex_unlock(&wait_graph_mu);
    return cycle ? MEMO_EDEADLK : 0;
}

void memo_wait_graph_fork_(enum fork_phase phase) SYNC_NO_LOCK_CHECK {
    if (phase == FORK_BEFORE) {
        sync_mutex_lock(&wait_graph_mu);
    } else {
        sync_mutex_unlock(&wait_graph_mu);
    }
}

void memo_queue_behind_(struct memo_load *f, struct memo_load *before) {
    sync_mutex_lock(&wait_graph_mu);
    f->waits_for = before;
    sync_mutex_unlock(&wait_graph_mu);
}

static void enter(struct running *r) {
    size_t i;

    for (i = 0; i < r->n; i++) {
        (void)SYNC_ADD(&r->flights[i]->refs, 1);
    }
    r->outer = SYNC_TLS(innermost);
    if (has_edges()) {
        (void)set_edges(r->flights[0]);
    }
    SYNC_TLS(innermost) = r;
}

// Runs also when the load's thread ends, or an exception passes through: then
// the loads are abandoned (E3).
static void leave(struct running *r) {
    size_t i;

    SYNC_TLS(innermost) = r->outer;
    if (has_edges()) {
        (void)set_edges(NULL);
    }
    for (i = 0; i < r->n; i++) {
        if (!r->returned) {
            (void)memo_load_finish(r->flights[i], MEMO_EABANDONED);
        }
        memo_flight_unref_(r->flights[i]);
    }
}

static void run_here(struct memo_load *f) {
    struct memo *m = f->shard->memo;
    SYNC_CLEANUP(leave) struct running r = {&f, 1, NULL, 0};
    int error;

    enter(&r);
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

int memo_is_to_run_(struct memo_load *f) {
    return SYNC_LOAD(&f->task) == TASK_NONE || memo_take_task_(f);
}

static void drop_task(struct memo_load **f) {
    memo_flight_unref_(*f);
}

static void run_task(void *task) {
    SYNC_CLEANUP(drop_task) struct memo_load *f = task;

    if (memo_is_to_run_(f)) {
        run_unless_over(f);
    }
}

// LIFETIME: the task has a reference to f of its own.
static void hand_over(const struct memo_executor *x, struct memo_load *f) {
    (void)SYNC_ADD(&f->refs, 1);
    if (x->submit(x->state, run_task, f) != 0) {  // CALLBACK
        if (memo_is_to_run_(f)) {
            (void)memo_load_finish(f, MEMO_EABANDONED);
        }
        memo_flight_unref_(f);
    }
}

// What was left to do when a flight of the shard was started.
struct left {
    struct shard *shard;
    struct entry *garbage;
};

static void do_what_is_left(struct left *left) {
    memo_do_rest_(left->shard, left->garbage);  // CALLBACK
}

// LIFETIME: the caller's reference keeps f, and its shard, until what is left is done.
void memo_run_load_(struct memo_load *f, int may_hand_over) {
    const struct memo_executor *x = &f->shard->memo->executor;
    SYNC_CLEANUP(do_what_is_left) struct left left = {f->shard, f->left};

    f->left = NULL;
    // Not from inside a load: the executor's threads may all be waiting so.
    if (may_hand_over && x->submit != NULL && SYNC_TLS(innermost) == NULL) {
        hand_over(x, f);
    } else if (memo_is_to_run_(f)) {
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
    SYNC_CLEANUP(leave) struct running r = {flights, n, NULL, 0};
    int error;

    enter(&r);
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

int memo_wait_(struct memo_load *f, const struct memo_wait *wait) {
    int edges = has_edges(), error;

    if (memo_is_inherited_(f)) {
        memo_settle_(f->shard->memo);
    }
    if (sync_event_is_set(&f->done)) {  // ORDER(result) wait:C
        return 0;
    }
    // The pool's threads may all be waiting so, and this may be one of them; or who is
    // to run it when he has given an answer.
    if ((edges || memo_in_callback_()) && memo_take_task_(f)) {
        run_unless_over(f);
    }
    if (edges && set_edges(f) != 0) {
        return MEMO_EDEADLK;
    }
    error = wait_softly(f, wait);
    if (edges) {
        (void)set_edges(NULL);
    }
    return error;
}
