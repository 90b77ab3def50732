#include "memo/running.h"

#include "memo/engine.h"
#include "memo/flight.h"
#include "memo/shard.h"
#include "memo/step.h"
#include "sync/mutex.h"

// What runs in this thread, and who waits for whom.

static SYNC_THREAD_LOCAL(struct running *, innermost);

static void excuse(const struct memo *m, struct memo_load *f, int excused) {
    struct excuse_step x = {f, excused};

    if (f->shard->memo == m) {
        memo_own_(f->shard, memo_excuse_owned_, &x);
    }
}

void memo_excuse_loads_(const struct memo *m, int excused) {
    const struct running *r;
    size_t i;

    for (r = SYNC_TLS(innermost); r != NULL; r = r->outer) {
        for (i = 0; i < r->n; i++) {
            excuse(m, r->flights[i], excused);
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
// of f waits for, or runs the load of.  One mutex guards all edges, of all caches; it
// is taken only inside loads.
static SYNC_GLOBAL struct sync_mutex wait_graph_mu;

static int is_among(const struct memo_load *f, struct memo_load *const flights[],
                    size_t n) {
    size_t i;

    for (i = 0; i < n && flights[i] != f; i++) {
    }
    return i < n;
}

// Whether this thread runs the load of f; no other can.
static int is_up_to_us(const struct memo_load *f) {
    const struct running *r = SYNC_TLS(innermost);

    while (r != NULL && !is_among(f, r->flights, r->n)) {
        r = r->outer;
    }
    return r != NULL;
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

// LIFETIME: who set an edge holds a reference to its target until the edge is
// gone, so the walk meets only live flights.
int memo_set_edges_(struct memo_load *f) {
    const struct running *r = SYNC_TLS(innermost);
    int cycle;
    size_t i;

    sync_mutex_lock(&wait_graph_mu);
    cycle = leads_to_us_locked(f);
    for (i = 0; r != NULL && i < r->n && !cycle; i++) {
        r->flights[i]->waits_for = f;
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

int memo_is_running_(void) {
    return SYNC_TLS(innermost) != NULL;
}

void memo_running_enter_(struct running *r) {
    size_t i;

    for (i = 0; i < r->n; i++) {
        (void)SYNC_ADD(&r->flights[i]->refs, 1);
    }
    memo_calling_begin_(&r->calling, r->flights[0]->shard);
    r->outer = SYNC_TLS(innermost);
    if (memo_is_running_()) {
        (void)memo_set_edges_(r->flights[0]);
    }
    SYNC_TLS(innermost) = r;
}

void memo_running_leave_(struct running *r) {
    size_t i;

    SYNC_TLS(innermost) = r->outer;
    if (memo_is_running_()) {
        (void)memo_set_edges_(NULL);
    }
    for (i = 0; i < r->n; i++) {
        if (!r->returned) {
            (void)memo_load_finish(r->flights[i], MEMO_EABANDONED);
        }
        memo_flight_unref_(r->flights[i]);
    }
    memo_calling_end_(&r->calling);
}
