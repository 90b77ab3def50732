#include "sync/atomic.h"

#include "sync/fault.h"

// The scheduler brings its own.
#ifndef SYNC_SCHED

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "sync_thread.handle");

// Heavy fences ----------------------------------------------------------------

enum { FENCE_UNKNOWN, FENCE_HEAVY, FENCE_NONE };

// Atomic.  Set once, by one of those who ask first: what another finds may differ,
// for a sandbox may be a thread's own.
static sync_atomic_u32 fence_kind;

static int membarrier(int command) {
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

static uint32_t find_fence_kind(void) {
    uint32_t was = FENCE_UNKNOWN;
    int error = SYNC_TSAN || sync_fault_() ||
                membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    uint32_t kind = error ? FENCE_NONE : FENCE_HEAVY;

    return SYNC_CAS(&fence_kind, &was, kind) ? kind : was;
}

int sync_heavy_fence_available(void) {
    uint32_t kind = SYNC_LOAD(&fence_kind);

    if (SYNC_UNLIKELY(kind == FENCE_UNKNOWN)) {
        kind = find_fence_kind();
    }
    return kind == FENCE_HEAVY;
}

// (A process that was stopped and made anew from what was saved of it must
// register again.)
static int fence_all_threads(void) {
    return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0 ||
           (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
            membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
}

int sync_heavy_fence(void) {
    static sync_atomic_u32 dummy;
    int heavy = sync_heavy_fence_available();

    if (heavy && fence_all_threads()) {
        return 1;
    }
    (void)SYNC_XCHG_SC(&dummy, 0);
    return !heavy;
}

// Futexes ---------------------------------------------------------------------

int sync_futex_wait(sync_atomic_u32 *word, uint32_t expected,
                    int64_t deadline_ns) {
    struct timespec deadline = {0, 0};
    struct timespec *until = NULL;
    if (deadline_ns != SYNC_NEVER) {
        until = &deadline;
        if (deadline_ns > 0) {
            deadline.tv_sec = (time_t)(deadline_ns / 1000000000);
            deadline.tv_nsec = (long)(deadline_ns % 1000000000);
        }
    }
    long error =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
                expected, until, NULL, FUTEX_BITSET_MATCH_ANY);
    return error != 0 && errno == ETIMEDOUT ? SYNC_ETIMEDOUT : SYNC_OK;
}

int sync_futex_wake(sync_atomic_u32 *word, int n) {
    long woken = syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n,
                         NULL, NULL, 0);
    return woken > 0 ? (int)woken : 0;
}

// Threads ---------------------------------------------------------------------

int sync_thread_start(struct sync_thread *t, void *(*fn)(void *), void *arg) {
    pthread_t id;
    if (sync_fault_() || pthread_create(&id, NULL, fn, arg) != 0) {
        return SYNC_EAGAIN;
    }
    t->handle = (uintptr_t)id;
    return SYNC_OK;
}

void *sync_thread_join(struct sync_thread *t) {
    void *result = NULL;
    int cancellable;

    // pthread_join() alone would be a point at which this thread may be cancelled.
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellable);
    (void)pthread_join((pthread_t)t->handle, &result);
    (void)pthread_setcancelstate(cancellable, NULL);
    return result;
}

void sync_thread_detach(struct sync_thread *t) {
    pthread_detach((pthread_t)t->handle);
}

void sync_thread_exit(void) {
    pthread_exit(NULL);
}

int sync_at_fork(void (*before)(void), void (*in_parent)(void),
                 void (*in_child)(void)) {
    if (sync_fault_() || pthread_atfork(before, in_parent, in_child) != 0) {
        return SYNC_ENOMEM;
    }
    return SYNC_OK;
}

void sync_yield(void) {
    sched_yield();
}

// What to call when a thread ends: the value of exit_key, latest first.
// Owned by one thread.
struct at_exit {
    struct at_exit *next;
    void (*fn)(void *);
    void *arg;
};

static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;  // Published by exit_once.
static int exit_key_missing;    // Published by exit_once.

static void run_at_exit(void *list) {
    struct at_exit *a = list;
    while (a != NULL) {
        struct at_exit *next = a->next;
        a->fn(a->arg);
        sync_free(a);
        a = next;
    }
}

static void make_exit_key(void) {
    exit_key_missing = pthread_key_create(&exit_key, run_at_exit) != 0;
}

int sync_thread_at_exit(void (*fn)(void *), void *arg) {
    pthread_once(&exit_once, make_exit_key);
    if (exit_key_missing || sync_fault_()) {
        return SYNC_EAGAIN;
    }
    struct at_exit *a = sync_alloc(sizeof *a);
    if (a == NULL) {
        return SYNC_ENOMEM;
    }
    *a = (struct at_exit){pthread_getspecific(exit_key), fn, arg};
    if (pthread_setspecific(exit_key, a) != 0) {
        sync_free(a);
        return SYNC_ENOMEM;
    }
    return SYNC_OK;
}

// Memory ----------------------------------------------------------------------

void *sync_alloc(size_t size) {
    return sync_fault_() ? NULL : malloc(size);
}

void sync_free(void *p) {
    free(p);
}

#endif  // SYNC_SCHED
