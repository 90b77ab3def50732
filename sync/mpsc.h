// mpsc: an unbounded queue with many producers and one consumer, whose nodes
// lie in what is queued.
//
// Pushing is one exchange and one store, and never waits (D. Vyukov, "Intrusive
// MPSC node-based queue", 2010).  The order is that of the exchanges.  Between
// the two steps of a push the queue is cut: the consumer then sees nothing
// although something was pushed, and must come back.
#ifndef MEMO_SYNC_MPSC_H_
#define MEMO_SYNC_MPSC_H_

#include <stddef.h>

#include "sync/annotate.h"
#include "sync/atomic.h"

struct sync_mpsc_node {
    SYNC_ATOMIC(struct sync_mpsc_node *) next;
};

// ORDER(push)  push:A  release store of the link to a node
//              pop:B   acquire load of it
//     If pop:B reads a node, what its producer wrote to it before is seen.
struct sync_mpsc {
    // Atomic: the node pushed last.
    SYNC_ATOMIC(struct sync_mpsc_node *) last;
    // Owned by the consumer: the node popped last, or the stub.
    struct sync_mpsc_node *first;
    struct sync_mpsc_node stub;
};

#ifndef __cplusplus

// Make q empty.  It must not be moved afterwards.
static inline void sync_mpsc_init(struct sync_mpsc *q) {
    SYNC_INIT(&q->stub.next, NULL);
    SYNC_INIT(&q->last, &q->stub);
    q->first = &q->stub;
}

// Append n.
//
// Owner:   n is the queue's until it is popped.
// Threads: any.  Blocks: no.  Locks: none.
static inline void sync_mpsc_push(struct sync_mpsc *q,
                                  struct sync_mpsc_node *n) {
    struct sync_mpsc_node *before;

    SYNC_STORE(&n->next, NULL);
    before = SYNC_XCHG_ACQREL(&q->last, n);
    SYNC_STORE_REL(&before->next, n);  // ORDER(push) push:A
}

// Take the oldest; NULL: none, or the queue is cut.
//
// Owner:   the consumer's.
// Threads: the consumer.  Blocks: no.  Locks: none.
static inline struct sync_mpsc_node *sync_mpsc_pop(struct sync_mpsc *q) {
    struct sync_mpsc_node *n = q->first;
    struct sync_mpsc_node *next = SYNC_LOAD_ACQ(&n->next);  // ORDER(push) pop:B

    if (n == &q->stub) {
        if (next == NULL) {
            return NULL;
        }
        q->first = n = next;
        next = SYNC_LOAD_ACQ(&n->next);
    }
    if (next == NULL) {
        // n is the last, and stays linked until another comes after it: let the
        // stub be that other.
        if (SYNC_LOAD_ACQ(&q->last) != n) {
            return NULL;
        }
        sync_mpsc_push(q, &q->stub);
        next = SYNC_LOAD_ACQ(&n->next);
        if (next == NULL) {
            return NULL;
        }
    }
    q->first = next;
    return n;
}

#endif  // __cplusplus

#endif  // MEMO_SYNC_MPSC_H_
