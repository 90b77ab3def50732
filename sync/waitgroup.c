// Each waiter has an event of its own, on its stack and on the list.  Whoever
// takes the count to zero begins a new round, takes the list, gives the lock
// up, and sets the events.
//
// LIFETIME: a waiter's stack isn't used after the store that sets its event.  A
// waiter that gives up takes itself off; if the round is no longer its own, it
// has been taken off, its event is about to be set, and it waits for that.
#include "sync/waitgroup.h"

#include <limits.h>

#include "sync/event.h"

struct group_waiter {
    struct sync_link link;   // guarded by mu, then owned by who took the list
    struct sync_event over;  // set when the round is over
};

static void set_all(struct sync_list *waiters) {
    struct sync_link *link;

    while ((link = sync_list_pop(waiters)) != NULL) {
        sync_event_set(&SYNC_CONTAINER(link, struct group_waiter, link)->over);
    }
}

int sync_waitgroup_add(struct sync_waitgroup *wg, int n) {
    struct sync_list waiters = {NULL};
    int64_t count;

    sync_mutex_lock(&wg->mu);
    count = (int64_t)wg->count + n;
    if (count < 0 || count > INT_MAX) {
        sync_mutex_unlock(&wg->mu);
        return SYNC_EINVAL;
    }
    if (count == 0 && wg->count != 0) {
        wg->round++;
        waiters = wg->waiters;
        wg->waiters.first = NULL;
    }
    wg->count = (uint32_t)count;
    sync_mutex_unlock(&wg->mu);
    set_all(&waiters);
    return SYNC_OK;
}

int sync_waitgroup_done(struct sync_waitgroup *wg) {
    return sync_waitgroup_add(wg, -1);
}

// Put w on the list and return 1; or 0, if there is nothing to wait for.
static int join_round(struct sync_waitgroup *wg, struct group_waiter *w,
                      uint64_t *round) {
    int must_wait;

    sync_mutex_lock(&wg->mu);
    must_wait = wg->count != 0;
    if (must_wait) {
        sync_list_push(&wg->waiters, &w->link);
        *round = wg->round;
    }
    sync_mutex_unlock(&wg->mu);
    return must_wait;
}

// Take w off the list and return 1; or 0, if its round is over.
static int leave_round(struct sync_waitgroup *wg, struct group_waiter *w,
                       uint64_t round) {
    int in_time;

    sync_mutex_lock(&wg->mu);
    in_time = wg->round == round;
    if (in_time) {
        sync_list_remove(&wg->waiters, &w->link);
    }
    sync_mutex_unlock(&wg->mu);
    return in_time;
}

int sync_waitgroup_wait(struct sync_waitgroup *wg, int64_t deadline_ns,
                        struct sync_note *note) {
    struct group_waiter w = {.over = SYNC_EVENT_INIT};
    uint64_t round;
    int error;

    if (!join_round(wg, &w, &round)) {
        return SYNC_OK;
    }
    error = sync_event_wait(&w.over, deadline_ns, note);
    if (error != SYNC_OK && !leave_round(wg, &w, round)) {
        error = sync_event_wait(&w.over, SYNC_NEVER, NULL);
    }
    return error;
}
