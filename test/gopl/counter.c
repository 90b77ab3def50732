// A counter that many may add to: with a mutex (9.2), with a mutex that readers
// share (9.3), and with one atomic variable.
#include <stdlib.h>

#include "sync/atomic.h"
#include "sync/mutex.h"
#include "sync/rwmutex.h"
#include "test/gopl/gopl.h"

struct counter {
    enum counter_kind kind;
    struct sync_mutex mu;
    struct sync_rwmutex rw;
    int n;  // guarded by mu, or by rw
    sync_atomic_u32 atomic_n;
};

struct counter *counter_new(enum counter_kind kind) {
    struct counter *c = calloc(1, sizeof *c);

    c->kind = kind;
    return c;
}

void counter_add(struct counter *c) {
    switch (c->kind) {
        case COUNTER_MUTEX:
            sync_mutex_lock(&c->mu);
            c->n++;
            sync_mutex_unlock(&c->mu);
            break;
        case COUNTER_RWMUTEX:
            sync_rwmutex_lock(&c->rw);
            c->n++;
            sync_rwmutex_unlock(&c->rw);
            break;
        case COUNTER_ATOMIC:
            (void)SYNC_ADD(&c->atomic_n, 1);
            break;
    }
}

int counter_value(struct counter *c) {
    int n = 0;

    switch (c->kind) {
        case COUNTER_MUTEX:
            sync_mutex_lock(&c->mu);
            n = c->n;
            sync_mutex_unlock(&c->mu);
            break;
        case COUNTER_RWMUTEX:
            sync_rwmutex_rlock(&c->rw);
            n = c->n;
            sync_rwmutex_runlock(&c->rw);
            break;
        case COUNTER_ATOMIC:
            n = (int)SYNC_LOAD(&c->atomic_n);
            break;
    }
    return n;
}

void counter_free(struct counter *c) {
    free(c);
}
