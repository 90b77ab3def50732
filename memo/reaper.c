#include "memo/reaper.h"

#include <string.h>

#include "memo/entry.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/shard.h"
#include "memo/stats.h"
#include "sync/clock.h"

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
// no worker, because the system has no more threads.
//
// LIFETIME: the reaper has a reference of the cache's, and one of its worker's.
// Its memory is sync's, not the cache's, whose allocator may be gone by then.

#define LIGHT_MOST 1000
#define HEAVY_MOST 1000
#define HEAVY_BYTES_MOST ((uint64_t)64 << 20)

// How many destructors a task of the executor runs before others get their turn.
#define TASK_BATCH 64

enum place { IN_IDLE_TIME, IN_THREAD, IN_EXECUTOR };

//   NONE --- called --> BUSY --- nothing to do --> ASLEEP (a thread), NONE (a task)
//                        ^                            |
//                        '---------- woken -----------'
enum worker { WORKER_NONE, WORKER_BUSY, WORKER_ASLEEP };

struct heap {
    struct entry *first, **end;
    uint64_t n, bytes;
};

struct reaper {
    // Const after init.
    enum place place;
    struct memo_executor executor;

    struct sync_mutex mu;
    // Guarded by mu.
    struct heap light, heavy;
    struct shard *to_tell, **to_tell_end;  // linked by their ledgers
    enum worker worker;
    int stopped;
    int forked;     // the monitor and the thread are in another process
    int n_running;  // taken off a heap, and being destroyed here
    int n_waiting;  // threads that wait until none is

    // Owned by the monitor's thread, then by memo_free().
    struct sync_thread thread;
    int has_thread;  // that is to be joined

    // Atomic.
    sync_atomic_u32 refs;     // ORDER(unref), as in entry.c
    sync_atomic_u32 crowded;  // a copy: who writes must help
    sync_atomic_u32 news;     // changes to wake the thread
    sync_atomic_u32 quiet;    // changes to wake those who wait
};

static SYNC_THREAD_LOCAL(struct reaper *, own_reaper);

// ------------------------------------------------------------------ heaps

static void init_heap(struct heap *h) {
    h->first = NULL;
    h->end = &h->first;
    h->n = 0;
    h->bytes = 0;
}

static void push(struct heap *h, struct entry *e, uint64_t bytes) {
    *entry_next_dead(e) = NULL;
    *h->end = e;
    h->end = entry_next_dead(e);
    h->n++;
    h->bytes += bytes;
}

static void append(struct heap *h, struct heap *more) {
    if (more->n != 0) {
        *h->end = more->first;
        h->end = more->end;
        h->n += more->n;
        h->bytes += more->bytes;
    }
}

static struct entry *pop(struct heap *h) {
    struct entry *e = h->first;

    if (e != NULL) {
        h->first = *entry_next_dead(e);
        *entry_next_dead(e) = NULL;
        h->n--;
        h->bytes -= memo_entry_bytes_(entry_shard(e)->memo, e);
        if (h->first == NULL) {
            init_heap(h);
        }
    }
    return e;
}

static void see_crowd_locked(struct reaper *r) {
    int alone = r->worker == WORKER_NONE && r->place != IN_IDLE_TIME;
    uint64_t most = alone || r->forked ? 0 : HEAVY_MOST;
    int crowded = r->heavy.n > most || r->heavy.bytes > HEAVY_BYTES_MOST ||
                  (alone && r->to_tell != NULL) ||
                  (r->forked && (r->to_tell != NULL || r->light.n != 0));

    SYNC_STORE(&r->crowded, (uint32_t)crowded);
}

static struct entry *pop_heavy_locked(struct reaper *r) {
    struct entry *e = pop(&r->heavy);

    see_crowd_locked(r);
    return e;
}

// ------------------------------------------------------------------ chores

// What there is to do: tell of a shard, or destroy an entry; or nothing.
struct chore {
    struct shard *shard;  // with a reference
    struct entry *entry;
};

static void push_shard_locked(struct reaper *r, struct shard *s) {
    s->ledger->next_to_tell = NULL;
    *r->to_tell_end = s;
    r->to_tell_end = &s->ledger->next_to_tell;
}

static struct shard *pop_shard_locked(struct reaper *r) {
    struct shard *s = r->to_tell;

    if (s != NULL) {
        r->to_tell = s->ledger->next_to_tell;
        if (r->to_tell == NULL) {
            r->to_tell_end = &r->to_tell;
        }
        see_crowd_locked(r);
    }
    return s;
}

// Take something to do, which from then on counts as running.
static struct chore take_chore(struct reaper *r, int worker, int idle) {
    struct chore c = {NULL, NULL};

    sync_mutex_lock(&r->mu);
    if ((worker || r->place == IN_IDLE_TIME) && !memo_in_listener_()) {
        c.shard = pop_shard_locked(r);
    }
    if (c.shard == NULL && worker) {
        c.entry = pop_heavy_locked(r);
    }
    if (c.shard == NULL && c.entry == NULL && idle) {
        c.entry = pop(&r->light);
    }
    r->n_running += c.shard != NULL || c.entry != NULL;
    sync_mutex_unlock(&r->mu);
    return c;
}

static int is_nothing(struct chore c) {
    return c.shard == NULL && c.entry == NULL;
}

// What this thread is at, inside what else it is at.
struct at_work {
    const struct reaper *reaper;
    struct at_work *outer;
};

static SYNC_THREAD_LOCAL(struct at_work *, innermost);

static void finish(struct reaper *r, struct chore c) {
    struct at_work here = {r, SYNC_TLS(innermost)};
    int more = 0, wake;

    SYNC_TLS(innermost) = &here;
    if (c.shard != NULL) {
        more = memo_tell_some_(c.shard);  // CALLBACK
    } else {
        memo_entry_destroy_(c.entry);  // CALLBACK
    }
    SYNC_TLS(innermost) = here.outer;
    sync_mutex_lock(&r->mu);
    if (more) {
        push_shard_locked(r, c.shard);  // behind the others
        see_crowd_locked(r);
    }
    r->n_running--;
    wake = r->n_waiting != 0;
    sync_mutex_unlock(&r->mu);
    if (wake) {
        (void)SYNC_ADD_ACQREL(&r->quiet, 1);
        (void)sync_futex_wake(&r->quiet, INT32_MAX);
    }
    if (c.shard != NULL && !more) {
        memo_shard_gone_(c.shard);
    }
}

// ------------------------------------------------------------------ the worker

static void unref_reaper(struct reaper *r) {
    if (SYNC_SUB_ACQREL(&r->refs, 1) == 1) {  // ORDER(unref)
        sync_free(r);
    }
}

// Take what is to be done next.  Nothing: the worker rests; then *news is what it
// may sleep on, or *stopped is set.
static struct chore next_for_worker(struct reaper *r, uint32_t *news,
                                    int *stopped) {
    struct chore c = {NULL, NULL};

    sync_mutex_lock(&r->mu);
    c.shard = pop_shard_locked(r);
    c.entry = c.shard == NULL ? pop_heavy_locked(r) : NULL;
    r->n_running += !is_nothing(c);
    if (is_nothing(c)) {
        r->worker = r->place == IN_THREAD ? WORKER_ASLEEP : WORKER_NONE;
    }
    *news = SYNC_LOAD(&r->news);
    *stopped = r->stopped;
    sync_mutex_unlock(&r->mu);
    return c;
}

static void *work(void *arg) {
    struct reaper *r = arg;
    uint32_t news;
    int stopped = 0;
    struct chore c;

    SYNC_TLS(own_reaper) = r;
    for (;;) {
        c = next_for_worker(r, &news, &stopped);
        if (!is_nothing(c)) {
            finish(r, c);
        } else if (stopped) {
            break;
        } else {
            (void)sync_futex_wait(&r->news, news, SYNC_NEVER);
        }
    }
    SYNC_TLS(own_reaper) = NULL;
    unref_reaper(r);
    return NULL;
}

static void start_worker(struct reaper *r);

static void run_task(void *task) {
    struct reaper *r = task;
    struct chore c = {NULL, NULL};
    uint32_t news;
    int stopped, i;

    for (i = 0; i < TASK_BATCH; i++) {
        c = next_for_worker(r, &news, &stopped);
        if (is_nothing(c)) {
            break;
        }
        finish(r, c);
    }
    if (!is_nothing(c)) {
        start_worker(r);
    }
    unref_reaper(r);
}

// The worker is BUSY from now on, with a reference of its own, unless there is
// none to be had.
static void start_worker(struct reaper *r) {
    int error;

    (void)SYNC_ADD(&r->refs, 1);
    if (r->place == IN_THREAD) {
        error = sync_thread_start(&r->thread, work, r);
        r->has_thread = error == 0;
    } else {
        // CALLBACK: nothing is locked
        error = r->executor.submit(r->executor.state, run_task, r);
    }
    if (error != 0) {
        sync_mutex_lock(&r->mu);
        r->worker = WORKER_NONE;
        see_crowd_locked(r);
        sync_mutex_unlock(&r->mu);
        unref_reaper(r);
    }
}

// ------------------------------------------------------------------ the monitor

static int is_heavy(const struct reaper *r, const struct entry *e) {
    return r->place != IN_IDLE_TIME && memo_entry_has_destructor_(e);
}

int memo_reaper_idle_(struct reaper *r) {
    struct chore c = take_chore(r, 0, 1);

    if (!is_nothing(c)) {
        finish(r, c);
    }
    return !is_nothing(c);
}

// Have the worker come, which was in that state and is BUSY by now.
static void summon(struct reaper *r, enum worker worker) {
    if (worker == WORKER_ASLEEP) {
        (void)SYNC_ADD_ACQREL(&r->news, 1);
        (void)sync_futex_wake(&r->news, 1);
    } else if (worker == WORKER_NONE) {
        start_worker(r);
    }
}

void memo_reaper_tell_(struct reaper *r, struct shard *s) {
    enum worker worker = WORKER_BUSY;

    memo_shard_live_(s);
    sync_mutex_lock(&r->mu);
    push_shard_locked(r, s);
    if (r->place != IN_IDLE_TIME) {
        worker = r->worker;
        r->worker = WORKER_BUSY;
    }
    see_crowd_locked(r);
    sync_mutex_unlock(&r->mu);
    summon(r, worker);
}

void memo_reaper_take_(struct reaper *r, struct entry *garbage) {
    struct heap light, heavy;
    enum worker worker;
    uint64_t n_light;

    if (garbage == NULL) {
        return;
    }
    init_heap(&light);
    init_heap(&heavy);
    while (garbage != NULL) {
        struct entry *e = garbage;
        garbage = *entry_next_dead(e);
        push(is_heavy(r, e) ? &heavy : &light, e,
             memo_entry_bytes_(entry_shard(e)->memo, e));
    }
    sync_mutex_lock(&r->mu);
    append(&r->light, &light);
    append(&r->heavy, &heavy);
    n_light = r->light.n > LIGHT_MOST ? light.n : 0;
    worker = r->heavy.n == 0 ? WORKER_BUSY : r->worker;
    if (worker != WORKER_BUSY) {
        r->worker = WORKER_BUSY;
    }
    see_crowd_locked(r);
    sync_mutex_unlock(&r->mu);
    summon(r, worker);
    for (; n_light != 0; n_light--) {
        (void)memo_reaper_idle_(r);
    }
}

// ------------------------------------------------------------------ helpers

struct entry *memo_reaper_help_(struct reaper *r) {
    struct entry *e;

    // Not from inside a destructor, or they would nest without end.
    if (SYNC_LIKELY(!SYNC_LOAD(&r->crowded)) || memo_in_callback_()) {
        return NULL;
    }
    sync_mutex_lock(&r->mu);
    e = pop_heavy_locked(r);
    if (e == NULL && r->forked) {
        e = pop(&r->light);
        see_crowd_locked(r);
    }
    sync_mutex_unlock(&r->mu);
    return e;
}

void memo_reaper_help_to_tell_(struct reaper *r) {
    struct chore c = {NULL, NULL};

    if (SYNC_LIKELY(!SYNC_LOAD(&r->crowded)) || memo_in_callback_()) {
        return;
    }
    sync_mutex_lock(&r->mu);
    c.shard = pop_shard_locked(r);
    r->n_running += c.shard != NULL;
    sync_mutex_unlock(&r->mu);
    if (c.shard != NULL) {
        finish(r, c);
    }
}

// Do something; return whether there was anything.
static int help_with_any(struct reaper *r) {
    struct chore c = take_chore(r, 1, 1);

    if (!is_nothing(c)) {
        finish(r, c);
    }
    return !is_nothing(c);
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

static int n_running_here(const struct reaper *r) {
    const struct at_work *w;
    int n = 0;

    for (w = SYNC_TLS(innermost); w != NULL; w = w->outer) {
        n += w->reaper == r;
    }
    return n;
}

// Here is no monitor any more that could call the worker: who writes helps.
static void fork_in_child(struct reaper *r) {
    int is_worker = SYNC_TLS(own_reaper) == r;

    r->forked = 1;
    r->worker = is_worker ? WORKER_BUSY : WORKER_NONE;
    r->n_running = n_running_here(r);
    r->n_waiting = 0;
    if (r->has_thread && !is_worker) {
        r->has_thread = 0;
        (void)SYNC_SUB(&r->refs, 1);
    }
    see_crowd_locked(r);
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

struct reaper *memo_reaper_new_(int own_thread,
                                const struct memo_executor *executor) {
    struct reaper *r = sync_alloc(sizeof(*r));

    if (r == NULL) {
        return NULL;
    }
    memset(r, 0, sizeof(*r));
    init_heap(&r->light);
    init_heap(&r->heavy);
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
    if (SYNC_TLS(own_reaper) == r) {
        sync_thread_detach(&r->thread);
    } else {
        (void)sync_thread_join(&r->thread);
    }
}

void memo_reaper_free_(struct reaper *r) {
    if (r != NULL) {
        unref_reaper(r);
    }
}
