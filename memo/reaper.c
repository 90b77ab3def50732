#include "memo/reaper.h"

#include <string.h>

#include "memo/chore.h"
#include "memo/entry.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/shard.h"
#include "memo/stats.h"

// Where a monitor leaves what it has reclaimed, so that it never runs a
// destructor in the way of those who wait for it.
//
// It also tells a listener what left the shards that it is given.
//
// There are two heaps.  What is light only goes back to the allocator: the
// monitor does that in its idle time.  What is heavy has a destructor, which may
// take its time, or wait for a load: it is for a worker, which is a thread of the
// reaper's own, started when there is something to do for the first time
// (MEMO_ENGINE_MONITOR); or a task of the cache's executor (MEMO_ENGINE_LOOP).  A
// loop without an executor has no such place, and nothing is heavy there.
//
// If destructors are slower than what makes work for them, heaps would grow for
// ever.  So past a bound the monitor frees as many light ones as it adds, and
// each who writes is given a heavy one to destroy himself; likewise if there is
// no worker, because the system has no more threads.  A loop's light ones may have
// destructors; so it frees what is past the bound when it has run some steps, or a
// call of its own is over, but for these: not in the way of what that call is for.
//
// LIFETIME: the reaper has a reference of the cache's, and one of its worker's.
// Its memory is sync's, not the cache's, whose allocator may be gone by then.

// ------------------------------------------------------------------ the monitor

static int is_heavy(const struct reaper *r, const struct entry *e) {
    return r->place != IN_IDLE_TIME && memo_entry_has_destructor_(e);
}

// Do what was taken, if it is anything; return whether it is.
static int finish(struct reaper *r, struct chore c) {
    if (chore_is_nothing(c)) {
        return 0;
    }
    memo_chore_finish_(r, c);
    return 1;
}

int memo_reaper_idle_(struct reaper *r) {
    return finish(r, memo_chores_take_(r, 0, 1));
}

// The worker is wanted: return what it was, for memo_worker_summon_().
static enum worker call_worker_locked(struct reaper *r) SYNC_REQUIRES(&r->mu) {
    enum worker worker = r->worker;

    if (r->place == IN_EXECUTOR && worker != WORKER_BUSY) {
        r->worker = WORKER_DUE;
        return WORKER_BUSY;
    }
    r->worker = WORKER_BUSY;
    return worker;
}

void memo_reaper_tell_(struct reaper *r, struct shard *s) {
    enum worker worker = WORKER_BUSY;

    memo_shard_live_(s);
    sync_mutex_lock(&r->mu);
    memo_chores_push_shard_locked_(r, s);
    if (r->place != IN_IDLE_TIME) {
        worker = call_worker_locked(r);
    }
    memo_chores_see_crowd_locked_(r);
    sync_mutex_unlock(&r->mu);
    memo_worker_summon_(r, worker);
}

void memo_reaper_take_(struct reaper *r, struct entry *garbage) {
    struct heap light, heavy;
    enum worker worker;
    uint64_t n_light = 0;

    if (garbage == NULL) {
        return;
    }
    memo_heap_init_(&light);
    memo_heap_init_(&heavy);
    while (garbage != NULL) {
        struct entry *e = garbage;
        garbage = *entry_next_dead(e);
        memo_heap_push_(is_heavy(r, e) ? &heavy : &light, e,
                        memo_entry_bytes_(entry_shard(e)->memo, e));
    }
    sync_mutex_lock(&r->mu);
    memo_heap_append_(&r->light, &light);
    memo_heap_append_(&r->heavy, &heavy);
    if (r->place != IN_IDLE_TIME && r->light.n > LIGHT_MOST) {
        n_light = light.n;
    }
    worker = r->heavy.n == 0 ? WORKER_BUSY : call_worker_locked(r);
    memo_chores_see_crowd_locked_(r);
    sync_mutex_unlock(&r->mu);
    memo_worker_summon_(r, worker);
    for (; n_light != 0; n_light--) {
        (void)memo_reaper_idle_(r);
    }
}

// ------------------------------------------------------------------ helpers

// Not from inside a destructor, or they would nest without end.
static int may_help(struct reaper *r) {
    return SYNC_UNLIKELY(SYNC_LOAD(&r->crowded) == CROWD_FOR_ALL) &&
           !memo_in_callback_();
}

// Submit the task that is due.  The executor may throw.
static void submit_due(struct reaper *r) {
    int is_due;

    sync_mutex_lock(&r->mu);
    is_due = r->worker == WORKER_DUE;
    if (is_due) {
        r->worker = WORKER_BUSY;
        memo_chores_see_crowd_locked_(r);
    }
    sync_mutex_unlock(&r->mu);
    memo_worker_summon_(r, is_due ? WORKER_NONE : WORKER_BUSY);
}

void memo_reaper_catch_up_(struct reaper *r) {
    if (SYNC_UNLIKELY(SYNC_LOAD(&r->crowded) != CROWD_NONE) &&
        r->place == IN_EXECUTOR && !memo_in_callback_()) {
        submit_due(r);
    }
    while (SYNC_UNLIKELY(SYNC_LOAD(&r->crowded) == CROWD_FOR_LOOP) &&
           r->place == IN_IDLE_TIME && !memo_in_callback_()) {
        (void)memo_reaper_idle_(r);
    }
}

void memo_reaper_help_(struct reaper *r) {
    struct chore c = {NULL, NULL};

    if (!may_help(r)) {
        return;
    }
    sync_mutex_lock(&r->mu);
    c.entry = memo_chores_pop_heavy_locked_(r);
    if (c.entry == NULL && r->forked) {
        c.entry = memo_heap_pop_(&r->light);
        memo_chores_see_crowd_locked_(r);
    }
    r->n_running += c.entry != NULL;
    sync_mutex_unlock(&r->mu);
    (void)finish(r, c);
}

void memo_reaper_help_to_tell_(struct reaper *r) {
    struct chore c = {NULL, NULL};

    if (!may_help(r)) {
        return;
    }
    sync_mutex_lock(&r->mu);
    c.shard = memo_chores_pop_shard_locked_(r);
    r->n_running += c.shard != NULL;
    sync_mutex_unlock(&r->mu);
    (void)finish(r, c);
}

// Do something; return whether there was anything.
static int help_with_any(struct reaper *r) {
    return finish(r, memo_chores_take_(r, 1, 1));
}

// Say that one waits; return whether there is something to wait for, which is
// over when *quiet has changed.
static int begin_waiting(struct reaper *r, uint32_t *quiet) {
    int running;

    sync_mutex_lock(&r->mu);
    running = r->n_running != 0 || r->to_tell != NULL;
    r->n_waiting += running;
    // What has been put back meanwhile is a reason to look again at once.
    *quiet = SYNC_LOAD(&r->quiet) - (r->to_tell != NULL);
    sync_mutex_unlock(&r->mu);
    return running;
}

static void end_waiting(struct reaper *r) {
    sync_mutex_lock(&r->mu);
    r->n_waiting--;
    sync_mutex_unlock(&r->mu);
}

int memo_reaper_drain_(struct memo *m, int64_t deadline_ns) {
    struct reaper *r = m->reaper;
    uint32_t quiet;
    int error = 0;

    if (r == NULL) {
        return 0;
    }
    for (;;) {
        while (help_with_any(r)) {
        }
        // One destructor doesn't wait for another, which may wait for it.
        if (error != 0 || memo_in_callback_() || !begin_waiting(r, &quiet)) {
            return error;
        }
        error = memo_sleep_(m, &r->quiet, quiet, deadline_ns);
        end_waiting(r);
    }
}

// ------------------------------------------------------------------ fork

// Here is no monitor any more that could call the worker: who writes helps.
static void fork_in_child(struct reaper *r) SYNC_NO_LOCK_CHECK {
    int is_worker = memo_worker_is_here_(r);

    r->forked = 1;
    r->worker = is_worker ? WORKER_BUSY : WORKER_NONE;
    r->n_running = memo_chores_running_here_(r);
    r->n_waiting = 0;
    if (r->has_thread && !is_worker) {
        r->has_thread = 0;
        (void)SYNC_SUB(&r->refs, 1);
    }
    memo_chores_see_crowd_locked_(r);
}

void memo_reaper_fork_(struct reaper *r, enum fork_phase phase)
    SYNC_NO_LOCK_CHECK {
    if (r == NULL) {
        return;
    }
    if (phase == FORK_BEFORE) {
        sync_mutex_lock(&r->mu);
        return;
    }
    if (phase == FORK_CHILD) {
        struct shard *s;
        fork_in_child(r);
        for (s = r->to_tell; s != NULL; s = s->ledger->next_to_tell) {
            SYNC_STORE(&s->ledger->telling, TELLING);
        }
    }
    sync_mutex_unlock(&r->mu);
}

// ------------------------------------------------------------------ life

void memo_reaper_unref_(struct reaper *r) {
    if (SYNC_SUB_ACQREL(&r->refs, 1) == 1) {  // ORDER(unref)
        sync_free(r);
    }
}

struct reaper *memo_reaper_new_(int own_thread,
                                const struct memo_executor *executor) {
    struct reaper *r = sync_alloc(sizeof(*r));

    if (r == NULL) {
        return NULL;
    }
    memset(r, 0, sizeof(*r));
    memo_heap_init_(&r->light);
    memo_heap_init_(&r->heavy);
    r->to_tell_end = &r->to_tell;
    SYNC_INIT(&r->refs, 1);
    r->executor = *executor;
    r->place = own_thread                  ? IN_THREAD
               : executor->submit != NULL ? IN_EXECUTOR
                                          : IN_IDLE_TIME;
    return r;
}

void memo_reaper_stop_(struct reaper *r) {
    if (r == NULL) {
        return;
    }
    while (help_with_any(r)) {
    }
    sync_mutex_lock(&r->mu);
    r->stopped = 1;
    sync_mutex_unlock(&r->mu);
    (void)SYNC_ADD_ACQREL(&r->news, 1);
    (void)sync_futex_wake(&r->news, 1);
    if (!r->has_thread) {
        return;
    }
    if (memo_worker_is_here_(r)) {
        sync_thread_detach(&r->thread);
    } else {
        (void)sync_thread_join(&r->thread);
    }
}

void memo_reaper_free_(struct reaper *r) {
    if (r != NULL) {
        memo_reaper_unref_(r);
    }
}
