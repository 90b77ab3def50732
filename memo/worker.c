#include "memo/chore.h"

#include "sync/clock.h"

// The reaper's worker: a thread of its own, or a task of the executor.

// How many destructors a task of the executor runs before others get their turn.
#define TASK_BATCH 64

static SYNC_THREAD_LOCAL(struct reaper *, own_reaper);

// Take what is to be done next.  Nothing: the worker rests; then *news is what it
// may sleep on, or *stopped is set.
static struct chore next_for_worker(struct reaper *r, uint32_t *news,
                                    int *stopped) {
    struct chore c = {NULL, NULL};

    sync_mutex_lock(&r->mu);
    c.shard = memo_chores_pop_shard_locked_(r);
    c.entry = c.shard == NULL ? memo_chores_pop_heavy_locked_(r) : NULL;
    r->n_running += !chore_is_nothing(c);
    if (chore_is_nothing(c)) {
        r->worker = r->place == IN_THREAD ? WORKER_ASLEEP : WORKER_NONE;
    }
    *news = SYNC_LOAD(&r->news);
    *stopped = r->stopped;
    sync_mutex_unlock(&r->mu);
    return c;
}

static void *run_thread(void *arg) {
    struct reaper *r = arg;
    uint32_t news;
    int stopped = 0;
    struct chore c;

    SYNC_TLS(own_reaper) = r;
    for (;;) {
        c = next_for_worker(r, &news, &stopped);
        if (!chore_is_nothing(c)) {
            memo_chore_finish_(r, c);
        } else if (stopped) {
            break;
        } else {
            (void)sync_futex_wait(&r->news, news, SYNC_NEVER);
        }
    }
    SYNC_TLS(own_reaper) = NULL;
    memo_reaper_unref_(r);
    return NULL;
}

static void start_worker(struct reaper *r);

static void end_batch(struct reaper **r) {
    memo_reaper_unref_(*r);
}

static void run_batch(void *task) {
    SYNC_CLEANUP(end_batch) struct reaper *r = task;
    struct chore c = {NULL, NULL};
    uint32_t news;
    int stopped, i;

    for (i = 0; i < TASK_BATCH; i++) {
        c = next_for_worker(r, &news, &stopped);
        if (chore_is_nothing(c)) {
            break;
        }
        memo_chore_finish_(r, c);
    }
    if (!chore_is_nothing(c)) {
        start_worker(r);
    }
}

// There is none to be had.
static void do_without(struct reaper **reaper) {
    struct reaper *r = *reaper;

    if (r != NULL) {
        sync_mutex_lock(&r->mu);
        r->worker = WORKER_NONE;
        memo_chores_see_crowd_locked_(r);
        sync_mutex_unlock(&r->mu);
        memo_reaper_unref_(r);
    }
}

// The worker is BUSY from now on, with a reference of its own, unless there is
// none to be had.  An executor that throws refuses, too.
static void start_worker(struct reaper *r) {
    SYNC_CLEANUP(do_without) struct reaper *refused = r;
    int error;

    (void)SYNC_ADD(&r->refs, 1);
    if (r->place == IN_THREAD) {
        error = sync_thread_start(&r->thread, run_thread, r);
        r->has_thread = error == 0;
    } else {
        // CALLBACK: nothing is locked
        error = r->executor.submit(r->executor.state, run_batch, r);
    }
    if (error == 0) {
        refused = NULL;
    }
}

void memo_worker_summon_(struct reaper *r, enum worker worker) {
    if (worker == WORKER_ASLEEP) {
        (void)SYNC_ADD_ACQREL(&r->news, 1);
        (void)sync_futex_wake(&r->news, 1);
    } else if (worker == WORKER_NONE) {
        start_worker(r);
    }
}

int memo_worker_is_here_(const struct reaper *r) {
    return SYNC_TLS(own_reaper) == r;
}
