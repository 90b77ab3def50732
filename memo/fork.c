#include "memo/fork.h"

#include "memo/calling.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/pool.h"
#include "memo/reaper.h"
#include "memo/running.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"
#include "sync/monitor.h"
#include "sync/pin.h"

// fork() in the middle of everything (L3).
//
// The child has one thread, the one that forked.  So that it finds nothing locked
// by another, and nothing half done, the forking thread takes every lock of every
// cache and queue before, and gives them up after, in both processes.  It can,
// because it is in user code, where nothing is locked.
//
//   INVARIANT(forkable)  Whatever mutex of memo's a thread may hold is taken in
//       before_fork(), in some handler: the shards', the flights' events', the
//       pool's, the reaper's, the sources' stripes', the queue's, the orphans'
//       and the wait graph's.
//
// What is different in the child:
//   - Flights are over: most of their loads run in threads that it doesn't have.
//     They leave their maps at once, so that newcomers start their own; but who
//     waits for one is told MEMO_EFORKED only when the child calls memo, for most
//     children are about to exec, and must not answer the parent's callers.
//   - Those that had ended, but who waits was still to be told by another thread, are
//     over, too: memo_is_told_elsewhere_().  Whatever that thread was at with them,
//     their events' mutexes included, it is at for ever.
//   - What others held (values, flights) stays allocated: nobody will release it,
//     or somebody will, to whom they had handed it.
//   - A monitor is closed, as by sync_monitor_close(): who writes a shard owns it
//     by its mutex.  Pools start their threads anew when they are needed.
//   - Descriptors have the same numbers, but are no longer shared.

static SYNC_GLOBAL struct sync_mutex forks_mu;
// Guarded by forks_mu.
static SYNC_GLOBAL struct forkable *forkables;
static SYNC_GLOBAL int is_registered;

// Atomic.
static SYNC_GLOBAL sync_atomic_u32 n_forks;     // changed by the only thread
static SYNC_GLOBAL sync_atomic_u32 any_behind;  // 1: some cache has left_behind

static SYNC_THREAD_LOCAL(int, settling);

uint32_t memo_n_forks_(void) {
    return SYNC_LOAD(&n_forks);
}

// ------------------------------------------------------------------ caches

static void lock_events(struct memo_load *f) SYNC_NO_LOCK_CHECK {
    sync_mutex_lock(&f->done.mu);
    sync_mutex_lock(&f->canceled.mu);
}

static void unlock_events(struct memo_load *f) SYNC_NO_LOCK_CHECK {
    sync_mutex_unlock(&f->done.mu);
    sync_mutex_unlock(&f->canceled.mu);
}

static void forget_threads(struct memo_load *f) SYNC_NO_LOCK_CHECK {
    sync_event_forked(&f->done);
    sync_event_forked(&f->canceled);
}

static void see_left_behind(struct memo_load *f) {
    f->left_to = memo_n_forks_();
}

static void for_each_in_list(struct memo_load *f,
                             void (*fn)(struct memo_load *f)) {
    for (; f != NULL; f = f->list.next) {
        fn(f);
    }
}

// All that the maps and lists of shards have, and those ended before their time whose
// loads run: each such load is to end, and may still be told.
static void for_each_flight(struct memo *m, void (*fn)(struct memo_load *f)) {
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m); i++) {
        struct shard *s = memo_shard_at_(m, i);
        struct sync_link *at = s->running.first;
        for (; at != NULL; at = sync_list_next(&s->running, at)) {
            fn(SYNC_CONTAINER(at, struct memo_load, running));
        }
    }
    for_each_in_list(SYNC_LOAD(&m->left_behind), fn);
}

static void lock_shards(struct memo *m) SYNC_NO_LOCK_CHECK {
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m); i++) {
        sync_mutex_lock(&memo_shard_at_(m, i)->mu);
    }
}

static void unlock_shards(struct memo *m) SYNC_NO_LOCK_CHECK {
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m); i++) {
        sync_mutex_unlock(&memo_shard_at_(m, i)->mu);
    }
}

// The child owns every shard, having taken the mutexes, and the list, too.
static void leave_flights_behind(struct memo *m) {
    struct close_step c = {SYNC_LOAD(&m->left_behind)};
    uint64_t i;

    for_each_flight(m, forget_threads);
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_leave_behind_owned_(memo_shard_at_(m, i), &c);
        memo_listener_forked_owned_(memo_shard_at_(m, i));
        memo_calling_forked_owned_(memo_shard_at_(m, i));
    }
    for_each_in_list(c.ended, see_left_behind);
    SYNC_STORE(&m->left_behind, c.ended);
    if (c.ended != NULL) {
        SYNC_STORE(&any_behind, 1);
    }
    SYNC_STORE(&m->n_loads, 0);
    SYNC_STORE(&m->n_waiters, 0);
    SYNC_STORE(&m->draining, 0);
}

void memo_fork_cache_(struct forkable *forkable, enum fork_phase phase) {
    struct memo *m = (struct memo *)(void *)((char *)forkable -
                                             offsetof(struct memo, forkable));

    if (phase == FORK_BEFORE) {
        lock_shards(m);
        for_each_flight(m, lock_events);
    } else if (phase == FORK_PARENT) {
        for_each_flight(m, unlock_events);
        unlock_shards(m);
    } else {
        leave_flights_behind(m);
        unlock_shards(m);
        if (m->monitor != NULL) {
            sync_monitor_forked(m->monitor);
        }
    }
    memo_sources_fork_(m, phase);
    memo_pool_fork_(m->pool, phase);
    memo_reaper_fork_(m->reaper, phase);
}

// ------------------------------------------------------------------ the fork

static void for_each_forkable(enum fork_phase phase) {
    struct forkable *f;

    for (f = forkables; f != NULL; f = f->next) {
        f->fork(f, phase);
    }
}

static void before_fork(void) SYNC_NO_LOCK_CHECK {
    sync_mutex_lock(&forks_mu);
    memo_orphans_fork_(FORK_BEFORE);
    memo_wait_graph_fork_(FORK_BEFORE);
    for_each_forkable(FORK_BEFORE);
}

static void after_fork(enum fork_phase phase) SYNC_NO_LOCK_CHECK {
    for_each_forkable(phase);
    memo_wait_graph_fork_(phase);
    memo_orphans_fork_(phase);
    sync_mutex_unlock(&forks_mu);
}

static void in_parent(void) {
    after_fork(FORK_PARENT);
}

static void in_child(void) {
    SYNC_STORE(&n_forks, SYNC_LOAD(&n_forks) + 1);
    sync_pin_forked();
    after_fork(FORK_CHILD);
}

int memo_fork_add_(struct forkable *f,
                   void (*fork)(struct forkable *f, enum fork_phase phase)) {
    int error = 0;

    sync_mutex_lock(&forks_mu);
    if (!is_registered) {
        error = sync_at_fork(before_fork, in_parent, in_child);
        is_registered = error == 0;
    }
    if (error == 0) {
        f->fork = fork;
        f->next = forkables;
        f->at = &forkables;
        if (f->next != NULL) {
            f->next->at = &f->next;
        }
        forkables = f;
    }
    sync_mutex_unlock(&forks_mu);
    return error == 0 ? 0 : MEMO_ENOMEM;
}

void memo_fork_remove_(struct forkable *f) {
    sync_mutex_lock(&forks_mu);
    if (f->at != NULL) {
        *f->at = f->next;
        if (f->next != NULL) {
            f->next->at = f->at;
        }
        f->at = NULL;
    }
    sync_mutex_unlock(&forks_mu);
}

// ------------------------------------------------------------------ afterwards

static struct memo_load *take_flight(struct memo *m) {
    struct memo_load *f;

    sync_mutex_lock(&forks_mu);
    f = SYNC_LOAD(&m->left_behind);
    if (f != NULL) {
        SYNC_STORE(&m->left_behind, f->list.next);
        f->list.next = NULL;
    }
    sync_mutex_unlock(&forks_mu);
    return f;
}

static void end_settling(struct memo_load **f) {
    memo_flight_drop_(f);
    SYNC_TLS(settling) = 0;
}

// Settle one flight; return whether there was one.  A completion may throw, or end
// the thread.
static int settle_flight(struct memo *m) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};
    SYNC_CLEANUP(end_settling) struct memo_load *f = take_flight(m);

    SYNC_TLS(settling) = 1;
    if (f != NULL) {
        memo_calling_begin_(&calling, f->shard);
        sync_event_set(&f->done);  // CALLBACK: completions, with MEMO_EFORKED
    }
    return f != NULL;
}

void memo_settle_(struct memo *m) {
    // A completion calls the cache: they aren't to nest.
    while (!SYNC_TLS(settling) && settle_flight(m)) {
    }
}

// A cache with flights to settle, with a reference; NULL: no more.
//
// LIFETIME: a cache whose count is 0 waits for forks_mu in memo_fork_remove_().
static struct memo *take_unsettled(void) {
    struct forkable *f;
    struct memo *m = NULL;

    sync_mutex_lock(&forks_mu);
    for (f = forkables; f != NULL && m == NULL; f = f->next) {
        struct memo *candidate =
            (struct memo *)(void *)((char *)f - offsetof(struct memo, forkable));
        if (f->fork == memo_fork_cache_ &&
            SYNC_LOAD(&candidate->left_behind) != NULL &&
            memo_core_take_(candidate)) {
            m = candidate;
        }
    }
    if (m == NULL) {
        SYNC_STORE(&any_behind, 0);
    }
    sync_mutex_unlock(&forks_mu);
    return m;
}

static void drop_core(struct memo **m) {
    if (*m != NULL) {
        memo_core_gone_(*m);
    }
}

static int settle_one(void) {
    SYNC_CLEANUP(drop_core) struct memo *m = take_unsettled();

    if (m != NULL) {
        memo_settle_(m);
    }
    return m != NULL;
}

void memo_settle_all_(void) {
    while (SYNC_LOAD(&any_behind) && !SYNC_TLS(settling) && settle_one()) {
    }
}
