// event: something that happens once, and everybody who waits for it.
//
// An event is unset until sync_event_set(), and set for ever after.  It is what
// closing a channel is in Go when it is used as a broadcast: whoever waits, now
// or later, returns.  What the setter did before setting, they see.
//
//     setter:  result = compute();            waiter:  sync_event_wait(&ready,
//              sync_event_set(&ready);                     SYNC_NEVER, NULL);
//                                                      use(result);
//
// One can also be called rather than wait, through a watcher.
//
// A zeroed event is unset.  An event needs no destruction.
//
// LIFETIME: sync_event_set() neither reads nor writes the event after the store
// that others see as "set".  So an event may live on the stack of the one
// thread that waits for it, and may be freed when sync_event_wait() has
// returned 0, or sync_event_is_set() 1, if no other call on it is in progress.
#ifndef MEMO_SYNC_EVENT_H_
#define MEMO_SYNC_EVENT_H_

#include <stdint.h>

#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/list.h"
#include "sync/mutex.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sync_note;  // a cancellation, see sync/note.h

struct sync_event {
    // Atomic.
    sync_atomic_u32 word;  // enum event_state, see event.c

    // Guarded by mu.
    struct sync_mutex mu;
    struct sync_list watchers;
};

// Somebody to call.  Lives in the caller's memory, usually inside what fn
// needs, which fn then finds with SYNC_CONTAINER().  From a watch that returns
// 1 until fn is called or an unwatch returns 1, it belongs to the event.
struct sync_watcher {
    struct sync_link link;               // private
    void (*fn)(struct sync_watcher *w);  // set by the caller
};

#define SYNC_EVENT_INIT SYNC_ZERO

// Make e unset, in memory that isn't zeroed.  Nobody may be using it.
//
// Threads: one.  Blocks: no.  Locks: none.
SYNC_API void sync_event_init(struct sync_event *e);

// Set e: wake everybody who sleeps in sync_event_wait(), and call every
// watcher, in the order in which they came.  Setting what is set does nothing.
//
// Sleepers wake each other: the caller wakes only the first, however many there
// are.  Those who wait with a note are watchers of the event: the caller wakes
// them itself, one after the other, before it calls any other watcher.
//
// Owner:   watchers go back to their owners as their fn is called.
// Threads: any.
// Blocks:  no, except for what watchers do.
// Locks:   none while a watcher is called.
SYNC_API void sync_event_set(struct sync_event *e) SYNC_EXCLUDES(&e->mu);

// Return 1 if e is set, and what was done before it was set is seen; else 0.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_event_is_set(struct sync_event *e);

// Wait until e is set.
//
// Return 0; or SYNC_ECANCELED, if note (which may be NULL) was notified or its
// deadline came; or SYNC_ETIMEDOUT, if deadline_ns (absolute, monotonic,
// SYNC_NEVER for none) came.  An event that is set is always 0.
//
// Owner:   nothing changes hands.  The note must not be freed before this call
//          has begun to wait on it.
// Threads: any.
// Blocks:  until one of the three; a signal doesn't end the wait.
// Locks:   none.
SYNC_API int sync_event_wait(struct sync_event *e, int64_t deadline_ns,
                             struct sync_note *note) SYNC_EXCLUDES(&e->mu);

// Have w->fn called once, by the thread that sets e.
//
// Return 1; or 0 if e is set already: fn will not be called.
//
// Owner:   w belongs to e, if 1 is returned: see struct sync_watcher.
// Threads: any.
// Blocks:  no, but for the instant in which another thread is setting e.
// Locks:   none while fn runs; it may call any function.
SYNC_API int sync_event_watch(struct sync_event *e, struct sync_watcher *w)
    SYNC_EXCLUDES(&e->mu);

// Take w off.
//
// Return 1: fn has not been called and never will be.  Or 0: too late, fn has
// been, or is being, or is about to be called (or e was set before the watch,
// which returned 0).  A watcher that was taken off must not be taken off again.
//
// Owner:   w is the caller's again, if 1 is returned.
// Threads: any.
// Blocks:  no; in particular not until fn has ended.
// Locks:   none.
SYNC_API int sync_event_unwatch(struct sync_event *e, struct sync_watcher *w)
    SYNC_EXCLUDES(&e->mu);

// In the child of a fork: forget those of the parent's other threads that wait for
// e, by whatever means.  Watchers stay.  e->mu must have been held by this thread
// during the fork, and is given up.
//
// Threads: the only one there is.  Blocks: no.  Locks: none.
SYNC_API void sync_event_forked(struct sync_event *e) SYNC_RELEASES(&e->mu);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_EVENT_H_
