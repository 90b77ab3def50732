// monitor: state that one thread owns, and a queue of operations on it.
//
// It is what GOPL calls a monitor goroutine (9.1): variables are confined to
// one thread; the others don't share them but send operations, and wait for the
// reply, or don't.
//
// That thread is the monitor's own; or it is whatever thread runs the caller's
// event loop: then sync_monitor_fd() is readable when there is work, and
// sync_monitor_run() does a bounded amount of it.
//
//     struct deposit { struct sync_op op; int amount, balance; };
//
//     static void run_deposit(struct sync_op *op) {
//         struct deposit *d = SYNC_CONTAINER(op, struct deposit, op);
//         d->balance = balance += d->amount;      // only ever this thread
//         sync_op_reply(op);
//     }
//
//     struct deposit d = {.op.run = run_deposit, .amount = 100};
//     error = sync_monitor_call(bank, &d.op);
//
// No memory is allocated for an operation: it lies with its sender.
#ifndef MEMO_SYNC_MONITOR_H_
#define MEMO_SYNC_MONITOR_H_

#include <stdint.h>

#include "sync/annotate.h"
#include "sync/event.h"
#include "sync/mpsc.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sync_monitor;

// One operation.  run is set by the sender; it is called by the monitor's
// thread, with nothing locked.  If the sender waits, run calls sync_op_reply()
// once, after which op may be gone; run may go on without it.  If the sender
// doesn't wait, op is run's.
//
// In a loop's thread run may throw a C++ exception, which sync_monitor_run() or
// sync_monitor_call() lets through, or end the thread; a sender who waits for the reply
// then waits until run, or somebody else, has made it.
struct sync_op {
    void (*run)(struct sync_op *op);
    // Private.
    struct sync_mpsc_node node;
    int error;  // Published by replied.
    int is_call;
    struct sync_event replied;
};

// Let the sender go on.
//
// Owner:   op is the sender's again.
// Threads: the monitor's.  Blocks: no.  Locks: none.
SYNC_API void sync_op_reply(struct sync_op *op);

// Whether op is run only to be given up.
SYNC_API int sync_op_is_dropped(const struct sync_op *op);

// Have op run, and wait for its reply.  In the monitor's own thread it is run
// at once, before what is queued.
//
// Return 0; SYNC_EBUSY: the queue is full; SYNC_ECLOSED: the monitor was closed
// before op was run.
//
// Owner:   op is the monitor's until this returns.
// Threads: any.
// Blocks:  until the reply.
// Locks:   none.
SYNC_API int sync_monitor_call(struct sync_monitor *m, struct sync_op *op);

// Have op run, and don't wait.  If the monitor is closed first, op->run is
// called too, by the closing thread, with sync_op_is_dropped(op): it must then
// only give up what op holds.
//
// Return 0, SYNC_EBUSY or SYNC_ECLOSED.
//
// Owner:   op is the monitor's, if 0 is returned, until it is run.
// Threads: any.
// Blocks:  no.
// Locks:   none.
SYNC_API int sync_monitor_send(struct sync_monitor *m, struct sync_op *op);

// Make a monitor: with a thread of its own, or, if own_thread is 0, run by the
// caller's loop.  At most max_ops operations wait in its queue; 0: any number.
//
// Until sync_monitor_run() is called, a monitor without a thread is the calling
// thread's.
//
// Return 0; SYNC_EINVAL: out is NULL; SYNC_ENOMEM; or SYNC_EAGAIN: no thread, or no
// descriptor.
//
// Owner:   the caller, who calls sync_monitor_free().
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_monitor_new(int own_thread, uint32_t max_ops,
                              struct sync_monitor **out);

// Have idle(arg) called by the monitor's thread whenever its queue is empty, for
// work that can wait: one piece at a time, so that an operation doesn't wait for
// long.  It returns whether there is more.  Nothing is idle after the close.
//
// Threads: one, once.  Blocks: no.  Locks: none while idle runs.
SYNC_API void sync_monitor_on_idle(struct sync_monitor *m,
                                   int (*idle)(void *arg), void *arg);

// Refuse what comes from now on, and answer what waits in the queue with
// SYNC_ECLOSED.  What is being run is finished.  Closing again does nothing.
//
// Threads: any, the monitor's own included.
// Blocks:  until the monitor's own thread has ended, unless this is it: then
//          sync_monitor_free() does that.
SYNC_API void sync_monitor_close(struct sync_monitor *m);

// Close and free.  NULL is allowed.
//
// Threads: any but the monitor's own; no other call may be in progress or
//          follow, but for calls that have been answered.
SYNC_API void sync_monitor_free(struct sync_monitor *m);

// In the child of a fork: close m, whose thread and whose senders are in the
// parent.  What was queued is forgotten.  Its descriptor is the child's own from
// now on, and never readable.  No operation may have been run during the fork,
// unless by this thread.
//
// Threads: the only one there is.  Blocks: no.  Locks: none.
SYNC_API void sync_monitor_forked(struct sync_monitor *m);

// A descriptor that is readable when there is work, and not once the monitor has been
// closed, of a monitor without a thread; else SYNC_EINVAL.  Poll it; don't read it.
SYNC_API int sync_monitor_fd(const struct sync_monitor *m);

// Run up to max_ops queued operations.  The calling thread is the monitor's
// from now on, until another calls this.  Return how many were run; SYNC_EINVAL
// for a monitor that has a thread; SYNC_EBUSY if another thread is in this
// function, or runs an operation of its own because it was the monitor's.
//
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
SYNC_API int sync_monitor_run(struct sync_monitor *m, int max_ops);

// Whether m was closed, so that all operations are refused.
SYNC_API int sync_monitor_is_closed(const struct sync_monitor *m);

// Whether the calling thread is the monitor's.
SYNC_API int sync_monitor_is_mine(const struct sync_monitor *m);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_MONITOR_H_
