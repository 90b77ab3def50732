#include "memo/pool.h"

#include <string.h>

#include "sync/atomic.h"
#include "sync/clock.h"
#include "sync/mutex.h"

// memo's own executor: a few threads that take loads in the order in which they
// were submitted.
//
// LIFETIME: the pool has a reference for its owner and one for each thread, so
// it can be given up while loads still run in it.  Its memory is sync's, not the
// cache's, whose allocator may be gone by then.
//
//   ORDER(detached)  end:A   acquire-release decrement of n_detached
//                    free:B  acquire load of it
//       If free:B reads 0, what detached threads did with the cache came before.

struct task {
    struct task *next;
    void (*run)(void *arg);
    void *arg;
};

struct pool {
    sync_atomic_u32 refs;  // Atomic.  ORDER(unref), as in entry.c
    sync_atomic_u32 news;  // Atomic: changes whenever there may be work
    sync_atomic_u32 n_detached;  // Atomic: threads that can't be joined

    struct sync_mutex mu;
    // Guarded by mu.
    struct task *first, **end;
    int stopped;

    sync_atomic_u32 forked;  // Atomic; 1 only with mu: there are no threads, for
                             // they are in another process

    // Owned by who made the pool, then by who has taken forked.
    uint32_t n_threads;  // to be joined
    uint32_t n_wanted;   // Const after init.
    struct sync_thread thread[];
};

static SYNC_THREAD_LOCAL(struct pool *, own_pool);
static SYNC_THREAD_LOCAL(int, is_detached);  // and counts as such

static void unref_pool(struct pool *p) {
    if (SYNC_SUB_ACQREL(&p->refs, 1) == 1) {  // ORDER(unref)
        sync_free(p);
    }
}

static struct task *take_locked(struct pool *p) {
    struct task *t = p->first;

    if (t != NULL) {
        p->first = t->next;
        if (p->first == NULL) {
            p->end = &p->first;
        }
    }
    return t;
}

// Wait for a task; NULL: the pool was stopped.
static struct task *next_task(struct pool *p) {
    for (;;) {
        uint32_t news = SYNC_LOAD_ACQ(&p->news);
        struct task *t;
        int stopped;
        sync_mutex_lock(&p->mu);
        t = take_locked(p);
        stopped = p->stopped;
        sync_mutex_unlock(&p->mu);
        if (t != NULL || stopped) {
            return t;
        }
        (void)sync_futex_wait(&p->news, news, SYNC_NEVER);
    }
}

// A thread ends.
static void leave_pool(struct pool *p) {
    if (SYNC_TLS(is_detached)) {
        (void)SYNC_SUB_ACQREL(&p->n_detached, 1);  // ORDER(detached) end:A
        (void)sync_futex_wake(&p->n_detached, INT32_MAX);
    }
    unref_pool(p);
}

static void *work_detached(void *arg);

// A load has ended its thread: let another go on in its place.
static void replace_thread(struct pool **p) {
    struct sync_thread t;

    if (*p == NULL) {
        return;
    }
    if (!SYNC_TLS(is_detached)) {
        (void)SYNC_ADD(&(*p)->n_detached, 1);
        SYNC_TLS(is_detached) = 1;
    }
    if (sync_thread_start(&t, work_detached, *p) == 0) {
        sync_thread_detach(&t);
    } else {
        leave_pool(*p);  // one thread less, until the pool is freed
    }
}

static void *work_in_pool(void *arg) {
    SYNC_CLEANUP(replace_thread) struct pool *p = arg;
    struct task *t;

    SYNC_TLS(own_pool) = p;
    while ((t = next_task(p)) != NULL) {
        void (*run)(void *) = t->run;
        void *run_arg = t->arg;
        sync_free(t);
        run(run_arg);  // CALLBACK: nothing is locked
    }
    p = NULL;
    leave_pool(arg);
    return NULL;
}

static void *work_detached(void *arg) {
    SYNC_TLS(is_detached) = 1;
    return work_in_pool(arg);
}

// Start the threads.  Return 0 or MEMO_ENOMEM: not all have started.
static int start_threads(struct pool *p) {
    for (; p->n_threads < p->n_wanted; p->n_threads++) {
        (void)SYNC_ADD(&p->refs, 1);
        if (sync_thread_start(&p->thread[p->n_threads], work_in_pool, p) != 0) {
            (void)SYNC_SUB(&p->refs, 1);
            return MEMO_ENOMEM;
        }
    }
    return 0;
}

// What a forked pool's threads have left undone.
static void run_what_is_left(struct pool *p) {
    struct task *t;

    do {
        sync_mutex_lock(&p->mu);
        t = take_locked(p);
        sync_mutex_unlock(&p->mu);
        if (t != NULL) {
            void (*run)(void *) = t->run;
            void *run_arg = t->arg;
            sync_free(t);
            run(run_arg);  // CALLBACK: nothing is locked
        }
    } while (t != NULL);
}

// In the child of a fork: start them anew, unless another is at it.  A few of them
// will do.  If there are none, run here what others have submitted meanwhile.
static void restart_threads(struct pool *p) {
    if (SYNC_XCHG_ACQREL(&p->forked, 0) != 0 && start_threads(p) != 0 &&
        p->n_threads == 0) {
        sync_mutex_lock(&p->mu);
        SYNC_STORE_REL(&p->forked, 1);
        sync_mutex_unlock(&p->mu);
        run_what_is_left(p);
    }
}

static int submit(void *state, void (*run)(void *task), void *arg) {
    struct pool *p = state;
    struct task *t;
    int refused;

    if (SYNC_UNLIKELY(SYNC_LOAD(&p->forked))) {
        restart_threads(p);
    }
    t = sync_alloc(sizeof(*t));
    if (t == NULL) {
        return MEMO_ENOMEM;
    }
    t->next = NULL;
    t->run = run;
    t->arg = arg;
    sync_mutex_lock(&p->mu);
    refused = SYNC_LOAD(&p->forked) != 0;
    if (!refused) {
        *p->end = t;
        p->end = &t->next;
    }
    sync_mutex_unlock(&p->mu);
    if (refused) {
        sync_free(t);
        return MEMO_ENOMEM;
    }
    (void)SYNC_ADD_ACQREL(&p->news, 1);
    (void)sync_futex_wake(&p->news, 1);
    return 0;
}

struct memo_executor memo_pool_executor_(struct pool *p) {
    struct memo_executor x = {submit, p};

    return x;
}

struct pool *memo_pool_new_(uint32_t n_threads) {
    size_t size = sizeof(struct pool) + n_threads * sizeof(struct sync_thread);
    struct pool *p = sync_alloc(size);

    if (p == NULL) {
        return NULL;
    }
    memset(p, 0, size);
    p->end = &p->first;
    SYNC_INIT(&p->refs, 1);
    p->n_wanted = n_threads;
    if (start_threads(p) != 0) {
        memo_pool_free_(p, 1);
        return NULL;
    }
    return p;
}

// The tasks stay, for the threads that will be started: they find that their loads
// are another process's.
void memo_pool_fork_(struct pool *p, enum fork_phase phase)
    SYNC_NO_LOCK_CHECK {
    if (p == NULL) {
        return;
    }
    if (phase == FORK_BEFORE) {
        sync_mutex_lock(&p->mu);
        return;
    }
    sync_mutex_unlock(&p->mu);
    if (phase == FORK_CHILD) {
        // The owner's, and that of the one thread there is, if it is of the pool.
        SYNC_STORE(&p->refs, UINT32_C(1) + (SYNC_TLS(own_pool) == p));
        SYNC_STORE(&p->n_detached, 0);
        if (SYNC_TLS(own_pool) == p) {
            SYNC_TLS(is_detached) = 0;  // the pool of the child isn't waiting for it
        }
        SYNC_STORE(&p->forked, 1);
        p->n_threads = 0;
    }
}

// A detached thread is counted before that which it takes the place of ends.
static void await_detached(struct pool *p) {
    uint32_t n;

    // ORDER(detached) free:B
    while ((n = SYNC_LOAD_ACQ(&p->n_detached)) != 0) {
        (void)sync_futex_wait(&p->n_detached, n, SYNC_NEVER);
    }
}

void memo_pool_free_(struct pool *p, int wait) {
    uint32_t i;

    if (p == NULL) {
        return;
    }
    wait = wait && SYNC_TLS(own_pool) != p;
    sync_mutex_lock(&p->mu);
    p->stopped = 1;
    sync_mutex_unlock(&p->mu);
    (void)SYNC_ADD_ACQREL(&p->news, 1);
    (void)sync_futex_wake(&p->news, INT32_MAX);
    if (SYNC_LOAD(&p->forked)) {
        run_what_is_left(p);
    }
    for (i = 0; i < p->n_threads; i++) {
        if (wait) {
            (void)sync_thread_join(&p->thread[i]);
        } else {
            sync_thread_detach(&p->thread[i]);
        }
    }
    if (wait) {
        await_detached(p);
    }
    unref_pool(p);
}
