#include "sync/monitor.h"

#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "sync/error.h"
#include "sync/list.h"
#include "sync/machine.h"

// The owner sleeps when the queue is empty; asleep says so.
//
//   ORDER(sleep)  push:A   acquire-release addition to n_ops, then
//                 wake:B   acquire-release exchange of asleep with 0
//                 doze:C   acquire-release exchange of asleep with 1, then
//                 look:D   acquire load of n_ops
//       The two exchanges are ordered.  If doze:C comes later it sees wake:B,
//       and look:D sees push:A: the owner doesn't sleep.  Else wake:B reads 1,
//       and the sender wakes him.
//
//   ORDER(close)  set:A    or of CLOSED into n_ops
//                 push:B   addition to n_ops
//       Both are on one word, so a sender either sees CLOSED, or is counted
//       before CLOSED: then the closer finds his operation in the queue, perhaps
//       a moment later.
//
//   ORDER(run)    run:A    acquire-release compare-and-swap of running, then
//                 run:B    acquire load of n_ops
//                 close:A  or of CLOSED into n_ops, then
//                 close:B  acquire-release read-modify-write of running
//       run:A and close:B are ordered.  If close:B comes later it reads 1, and
//       the closer waits; else run:B sees CLOSED, and nothing is run.

#define CLOSED (UINT32_C(1) << 31)

// How often either side looks again before it sleeps: for some microseconds, in
// which a reply usually comes if both have a core.
#define LOOKS 300

struct sync_monitor {
    // Const after init.
    uint32_t max_ops;
    int own_thread;
    int looks;  // 0 on a single core
    int bell;   // -1 if own_thread; in the child of a fork, another
    struct sync_thread thread;

    int joined;  // Owned by the closer: thread has ended, or isn't of this process

    struct sync_mpsc queue;  // its consumer: see owner

    // Atomic.
    sync_atomic_u32 n_ops;    // CLOSED, and the number queued
    sync_atomic_u32 asleep;   // 1: the owner sleeps, or the bell is hushed
    sync_atomic_ptr running;  // what self() is in the thread that runs operations
                              // by sync_monitor_run(), or one of its own; or NULL
    SYNC_ATOMIC(struct sync_idle *) idle;  // NULL, or &when_idle
    struct sync_idle {
        int (*fn)(void *arg);
        void *arg;
    } when_idle;  // Published by idle.
    sync_atomic_ptr owner;    // what self() is in the monitor's thread
};

// An address that is this thread's alone.
static SYNC_THREAD_LOCAL(char, identity);

static void *self(void) {
    return &SYNC_TLS(identity);
}

int sync_monitor_is_mine(const struct sync_monitor *m) {
    return SYNC_LOAD(&m->owner) == self();
}

int sync_monitor_is_closed(const struct sync_monitor *m) {
    return (SYNC_LOAD_ACQ(&m->n_ops) & CLOSED) != 0;
}

void sync_op_reply(struct sync_op *op) {
    sync_event_set(&op->replied);
}

int sync_op_is_dropped(const struct sync_op *op) {
    return op->error != 0;
}

// ------------------------------------------------------------------ senders

// Ring the bell, if that is silent; or return whether the monitor's thread sleeps,
// and must be woken.
static int call_owner(struct sync_monitor *m) {
    if (SYNC_XCHG_ACQREL(&m->asleep, 0) == 0) {  // ORDER(sleep) wake:B
        return 0;
    }
    if (!m->own_thread) {
        sync_bell_ring(m->bell);
    }
    return m->own_thread;
}

static void wake_owner(struct sync_monitor *m) {
    if (call_owner(m)) {
        (void)sync_futex_wake(&m->asleep, 1);
    }
}

static int enqueue(struct sync_monitor *m, struct sync_op *op) {
    uint32_t before = SYNC_LOAD_ACQ(&m->n_ops);
    int is_asleep;

    do {
        if ((before & CLOSED) != 0 || (m->max_ops != 0 && before >= m->max_ops)) {
            return before & CLOSED ? SYNC_ECLOSED : SYNC_EBUSY;
        }
        // ORDER(sleep) push:A, ORDER(close) push:B
    } while (!SYNC_CAS_ACQREL(&m->n_ops, &before, before + 1));
    is_asleep = call_owner(m);
    sync_mpsc_push(&m->queue, &op->node);
    // LIFETIME: op may have been answered, and m be gone; its address is all that is
    // used.
    if (is_asleep) {
        (void)sync_futex_wake(&m->asleep, 1);
    }
    return 0;
}

int sync_monitor_send(struct sync_monitor *m, struct sync_op *op) {
    op->is_call = 0;
    op->error = 0;
    return enqueue(m, op);
}

// A thread runs operations, or is to.
struct stint {
    struct sync_monitor *monitor;  // NULL: not even begun
    int inner;                     // it does already, further out
};

// Begin, unless another thread does: then return 0.
static int begin_stint(struct stint *s, struct sync_monitor *m) {
    void *runner = NULL;

    if (!SYNC_CAS_ACQREL(&m->running, &runner, self())) {  // ORDER(run) run:A
        if (runner != self()) {
            return 0;
        }
        s->inner = 1;
    }
    s->monitor = m;
    return 1;
}

// Also when an operation throws, or ends the thread.
static void end_stint(struct stint *s) {
    if (s->monitor != NULL && !s->inner) {
        SYNC_STORE_REL(&s->monitor->running, NULL);
    }
}

// Run an operation of the monitor's own thread.  Return 0 if another thread has
// just become that.
static int run_own(struct sync_monitor *m, struct sync_op *op, int *error) {
    SYNC_CLEANUP(end_stint) struct stint stint = {NULL, 0};

    if (!begin_stint(&stint, m)) {
        return 0;
    }
    *error = SYNC_LOAD_ACQ(&m->n_ops) & CLOSED ? SYNC_ECLOSED : 0;
    if (*error == 0) {
        op->run(op);  // CALLBACK: nothing is locked
    }
    return 1;
}

int sync_monitor_call(struct sync_monitor *m, struct sync_op *op) {
    int error, i, looks = m->looks;

    op->is_call = 1;
    op->error = 0;
    sync_event_init(&op->replied);
    if (sync_monitor_is_mine(m) && run_own(m, op, &error)) {
        return error;
    }
    error = enqueue(m, op);
    if (error == 0) {
        for (i = 0; i < looks && !sync_event_is_set(&op->replied); i++) {
            sync_cpu_relax();
        }
        (void)sync_event_wait(&op->replied, SYNC_NEVER, NULL);
        error = op->error;
    }
    return error;
}

// ------------------------------------------------------------------ the owner

static struct sync_op *next_op(struct sync_monitor *m) {
    struct sync_mpsc_node *n = sync_mpsc_pop(&m->queue);

    if (n == NULL) {
        return NULL;
    }
    (void)SYNC_SUB(&m->n_ops, 1);
    return (struct sync_op *)(void *)((char *)n -
                                      offsetof(struct sync_op, node));
}

// Whether something was pushed, or is being pushed, or the monitor was closed.
static int has_news(struct sync_monitor *m) {
    return SYNC_LOAD_ACQ(&m->n_ops) != 0;  // ORDER(sleep) look:D
}

static void doze(struct sync_monitor *m) {
    int i;

    for (i = 0; i < m->looks; i++) {
        if (has_news(m)) {
            return;
        }
        sync_cpu_relax();
    }
    (void)SYNC_XCHG_ACQREL(&m->asleep, 1);  // ORDER(sleep) doze:C
    if (has_news(m)) {
        (void)SYNC_XCHG_ACQREL(&m->asleep, 0);
        return;
    }
    (void)sync_futex_wait(&m->asleep, 1, SYNC_NEVER);
}

void sync_monitor_on_idle(struct sync_monitor *m, int (*idle)(void *arg),
                          void *arg) {
    m->when_idle.fn = idle;
    m->when_idle.arg = arg;
    SYNC_STORE_REL(&m->idle, &m->when_idle);
}

// Do a piece of what can wait; return whether there was anything.
static int use_idle_time(struct sync_monitor *m) {
    struct sync_idle *idle = SYNC_LOAD_ACQ(&m->idle);

    return idle != NULL && idle->fn(idle->arg);  // CALLBACK
}

static void *work(void *arg) {
    struct sync_monitor *m = arg;

    SYNC_STORE(&m->owner, self());
    while ((SYNC_LOAD_ACQ(&m->n_ops) & CLOSED) == 0) {
        struct sync_op *op = next_op(m);
        if (op != NULL) {
            op->run(op);  // CALLBACK: nothing is locked
        } else if (has_news(m)) {
            sync_yield();  // the queue is cut: let the sender finish
        } else if (!use_idle_time(m)) {
            doze(m);
        }
    }
    return NULL;
}

int sync_monitor_fd(const struct sync_monitor *m) {
    return m == NULL || m->own_thread ? SYNC_EINVAL : m->bell;
}

// Hush the bell if the queue is empty.
static void rest(struct sync_monitor *m) {
    sync_bell_hush(m->bell);
    (void)SYNC_XCHG_ACQREL(&m->asleep, 1);  // ORDER(sleep) doze:C
    if (has_news(m)) {
        wake_owner(m);
        sync_yield();  // the queue is cut: let the sender finish
    }
}

int sync_monitor_run(struct sync_monitor *m, int max_ops) {
    SYNC_CLEANUP(end_stint) struct stint stint = {NULL, 0};
    int n = 0;

    if (m == NULL || m->own_thread || max_ops < 0) {
        return SYNC_EINVAL;
    }
    if (!begin_stint(&stint, m) || stint.inner) {
        return SYNC_EBUSY;  // by another, or from inside an operation
    }
    SYNC_STORE(&m->owner, self());
    while (n < max_ops && (SYNC_LOAD_ACQ(&m->n_ops) & CLOSED) == 0) {
        struct sync_op *op = next_op(m);
        if (op != NULL) {
            op->run(op);  // CALLBACK
        } else if (!use_idle_time(m)) {
            rest(m);
            break;
        }
        n++;
    }
    return n;
}

// ------------------------------------------------------------------ life

int sync_monitor_new(int own_thread, uint32_t max_ops,
                     struct sync_monitor **out) {
    struct sync_monitor *m;

    if (out == NULL) {
        return SYNC_EINVAL;
    }
    *out = NULL;
    m = sync_alloc(sizeof(*m));
    if (m == NULL) {
        return SYNC_ENOMEM;
    }
    memset(m, 0, sizeof(*m));
    m->max_ops = max_ops;
    m->own_thread = own_thread;
    m->looks = own_thread && sync_cores() > 1 ? SYNC_SPINS(LOOKS) : 0;
    m->bell = -1;
    sync_mpsc_init(&m->queue);
    if (!own_thread) {
        SYNC_INIT(&m->asleep, 1);  // the bell is silent
        SYNC_INIT(&m->owner, self());
        m->bell = sync_bell_new();
    }
    if (own_thread ? sync_thread_start(&m->thread, work, m) != 0
                   : m->bell < 0) {
        sync_free(m);
        return SYNC_EAGAIN;
    }
    *out = m;
    return 0;
}

// Answer what is left, as the only consumer.
static void answer_all(struct sync_monitor *m) {
    while ((SYNC_LOAD_ACQ(&m->n_ops) & ~CLOSED) != 0) {
        struct sync_op *op = next_op(m);
        if (op == NULL) {
            sync_yield();  // a sender is on his way in
            continue;
        }
        op->error = SYNC_ECLOSED;
        if (op->is_call) {
            sync_op_reply(op);
        } else {
            op->run(op);  // CALLBACK
        }
    }
}

void sync_monitor_close(struct sync_monitor *m) {
    uint32_t before = SYNC_OR_ACQREL(&m->n_ops, CLOSED);  // ORDER(close) set:A

    if ((before & CLOSED) != 0) {
        return;
    }
    if (!m->own_thread) {
        // ORDER(run) close:B
        void *nobody = NULL;
        while (!SYNC_CAS_ACQREL(&m->running, &nobody, NULL) &&
               nobody != self()) {
            nobody = NULL;
            sync_yield();
        }
    } else {
        wake_owner(m);
        if (!sync_monitor_is_mine(m)) {
            (void)sync_thread_join(&m->thread);
            m->joined = 1;
        }
    }
    answer_all(m);
    if (!m->own_thread) {
        sync_bell_hush(m->bell);  // all that rang it have been answered
    }
}

void sync_monitor_free(struct sync_monitor *m) {
    if (m == NULL) {
        return;
    }
    sync_monitor_close(m);
    if (m->own_thread && !m->joined) {
        (void)sync_thread_join(&m->thread);  // it closed its monitor itself
    }
    if (m->bell >= 0) {
        sync_bell_free(m->bell);
    }
    sync_free(m);
}

void sync_monitor_forked(struct sync_monitor *m) {
    SYNC_STORE(&m->n_ops, CLOSED);
    SYNC_STORE(&m->asleep, 0);
    SYNC_STORE(&m->running, NULL);
    SYNC_STORE(&m->owner, NULL);
    sync_mpsc_init(&m->queue);
    m->joined = 1;
    if (m->bell >= 0) {
        m->bell = sync_bell_renew(m->bell);
    }
}
