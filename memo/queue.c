#include "memo/fork.h"
#include "memo/memo.h"

#include <string.h>

#include "sync/atomic.h"
#include "sync/machine.h"
#include "sync/mutex.h"

// Completions on a descriptor.
//
// The bell rings if and only if there is something to fetch, whenever mu is
// free: it is rung when the list becomes non-empty, and hushed when it becomes
// empty.  In the child of a fork it rings once for no reason: perhaps there is
// something to settle.
//
// LIFETIME: the queue has one reference of its owner's, and one for each answer
// still to come, so that late ones find it.

struct answer {
    struct answer *next;
    struct memo_queue *queue;
    struct memo_completion completion;
};

struct memo_queue {
    struct forkable forkable;
    int bell;              // Const after init; in the child of a fork, another.
    sync_atomic_u32 refs;  // Atomic.  ORDER(unref), as in entry.c

    struct sync_mutex mu;
    // Guarded by mu.
    struct answer *first, **end;
    int closed;
    int rings;
};

static void ring_locked(struct memo_queue *q) {
    q->rings = 1;
    sync_bell_ring(q->bell);
}

static void hush_locked(struct memo_queue *q) {
    if (q->rings) {
        q->rings = 0;
        sync_bell_hush(q->bell);
    }
}

static void fork_queue(struct forkable *f, enum fork_phase phase)
    SYNC_NO_LOCK_CHECK {
    struct memo_queue *q =
        (struct memo_queue *)(void *)((char *)f -
                                      offsetof(struct memo_queue, forkable));

    if (phase == FORK_BEFORE) {
        sync_mutex_lock(&q->mu);
        return;
    }
    if (phase == FORK_CHILD) {
        q->bell = sync_bell_renew(q->bell);
        ring_locked(q);
    }
    sync_mutex_unlock(&q->mu);
}

int memo_queue_new(struct memo_queue **out) {
    struct memo_queue *q;

    if (out == NULL) {
        return MEMO_EINVAL;
    }
    *out = NULL;
    q = sync_alloc(sizeof(*q));
    if (q == NULL) {
        return MEMO_ENOMEM;
    }
    memset(q, 0, sizeof(*q));
    q->end = &q->first;
    SYNC_INIT(&q->refs, 1);
    q->bell = sync_bell_new();
    if (q->bell < 0 || memo_fork_add_(&q->forkable, fork_queue) != 0) {
        if (q->bell >= 0) {
            sync_bell_free(q->bell);
        }
        sync_free(q);
        return MEMO_ENOMEM;
    }
    *out = q;
    return 0;
}

int memo_queue_fd(const struct memo_queue *q) {
    return q == NULL ? MEMO_EINVAL : q->bell;
}

static void unref_queue(struct memo_queue *q) {
    if (SYNC_SUB_ACQREL(&q->refs, 1) == 1) {  // ORDER(unref)
        memo_fork_remove_(&q->forkable);
        sync_bell_free(q->bell);
        sync_free(q);
    }
}

static void drop_answer(struct answer *a) {
    memo_release(&a->completion.value);
    sync_free(a);
}

// Take the oldest; NULL: there is none.
static struct answer *take_answer(struct memo_queue *q) {
    struct answer *a;

    sync_mutex_lock(&q->mu);
    a = q->first;
    if (a != NULL) {
        q->first = a->next;
        if (q->first == NULL) {
            q->end = &q->first;
        }
    }
    if (q->first == NULL) {
        hush_locked(q);
    }
    sync_mutex_unlock(&q->mu);
    return a;
}

// Append a.  Return 0 if the queue was freed by its owner.
static int put_answer(struct memo_queue *q, struct answer *a) {
    int open, was_empty;

    sync_mutex_lock(&q->mu);
    open = !q->closed;
    was_empty = q->first == NULL;
    if (open) {
        a->next = NULL;
        *q->end = a;
        q->end = &a->next;
        if (was_empty) {
            ring_locked(q);
        }
    }
    sync_mutex_unlock(&q->mu);
    return open;
}

static void enqueue_answer(void *arg, int error, struct memo_value *value) {
    struct answer *a = arg;
    struct memo_queue *q = a->queue;

    a->completion.error = error;
    a->completion.value = *value;  // the pin moves with it
    if (!put_answer(q, a)) {
        drop_answer(a);
    }
    unref_queue(q);
}

int memo_get_queued(struct memo *m, const void *key, size_t key_size,
                    const struct memo_wait *wait, struct memo_queue *q,
                    void *arg, struct memo_ticket **ticket) {
    struct answer *a;
    int error;

    if (ticket != NULL) {
        *ticket = NULL;
    }
    if (q == NULL) {
        return MEMO_EINVAL;
    }
    a = sync_alloc(sizeof(*a));
    if (a == NULL) {
        return MEMO_ENOMEM;
    }
    memset(a, 0, sizeof(*a));
    a->queue = q;
    a->completion.arg = arg;
    (void)SYNC_ADD(&q->refs, 1);
    error = memo_get_async(m, key, key_size, wait, enqueue_answer, a, ticket);
    if (error != 0) {
        sync_free(a);
        unref_queue(q);
    }
    return error;
}

int memo_queue_next(struct memo_queue *q, struct memo_completion *out) {
    struct answer *a;

    if (out == NULL) {
        return MEMO_EINVAL;
    }
    memset(out, 0, sizeof(*out));
    if (q == NULL) {
        return MEMO_EINVAL;
    }
    memo_settle_all_();
    a = take_answer(q);
    if (a == NULL) {
        return MEMO_ENOENT;
    }
    *out = a->completion;
    sync_free(a);
    return 0;
}

void memo_queue_free(struct memo_queue *q) {
    struct answer *a;

    if (q == NULL) {
        return;
    }
    sync_mutex_lock(&q->mu);
    q->closed = 1;
    sync_mutex_unlock(&q->mu);
    while ((a = take_answer(q)) != NULL) {
        drop_answer(a);
    }
    unref_queue(q);
}
