// waitgroup: wait until a number of things have been done.
//
//     sync_waitgroup_add(&wg, 2);
//     start(worker, &wg);     // each ends with sync_waitgroup_done(&wg)
//     start(worker, &wg);
//     sync_waitgroup_wait(&wg, SYNC_NEVER, NULL);
//
// Add before starting what is to be waited for, not inside it: a wait that
// finds a count of zero doesn't wait.  After the count has come to zero the
// group may be used again.  A zeroed group counts zero.  It needs no
// destruction.
//
// LIFETIME: the group may be freed by a thread that returned 0 from its wait,
// if no other thread waits or will call it: the last done no longer uses it.
#ifndef MEMO_SYNC_WAITGROUP_H_
#define MEMO_SYNC_WAITGROUP_H_

#include <stdint.h>

#include "sync/annotate.h"
#include "sync/list.h"
#include "sync/mutex.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sync_note;  // a cancellation, see sync/note.h

struct sync_waitgroup {
    // Guarded by mu.
    struct sync_mutex mu;
    uint32_t count;
    uint64_t round;            // how often the count has come to zero
    struct sync_list waiters;  // those who wait for the end of this round
};

#define SYNC_WAITGROUP_INIT SYNC_ZERO

// Add n, which may be negative, to the count.
//
// Return 0; or SYNC_EINVAL, and then nothing has changed: the count would be
// negative, or more than INT32_MAX.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_waitgroup_add(struct sync_waitgroup *wg, int n)
    SYNC_EXCLUDES(&wg->mu);

// Subtract 1 from the count.  Return as sync_waitgroup_add() does.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_waitgroup_done(struct sync_waitgroup *wg)
    SYNC_EXCLUDES(&wg->mu);

// Wait until the count is zero.
//
// Return 0, and what was done before the calls that took it there is seen; or
// SYNC_ECANCELED, if note (which may be NULL) was notified or its deadline
// came; or SYNC_ETIMEDOUT, if deadline_ns came.  A count that is zero is always
// 0.
//
// Threads: any.
// Blocks:  until one of the three; a signal doesn't end the wait.
// Locks:   none.
SYNC_API int sync_waitgroup_wait(struct sync_waitgroup *wg, int64_t deadline_ns,
                                 struct sync_note *note) SYNC_EXCLUDES(&wg->mu);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_WAITGROUP_H_
