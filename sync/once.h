// once: something done at most once, by whoever needs it first.
//
//     static struct sync_once icons_once;
//
//     struct image *icon(const char *name) {
//         sync_once_do(&icons_once, load_icons, NULL);
//         return find(name);
//     }
//
// Those who come while it is being done wait until it has been.  A zeroed once
// is not done.  It needs no destruction.
#ifndef MEMO_SYNC_ONCE_H_
#define MEMO_SYNC_ONCE_H_

#include "sync/annotate.h"
#include "sync/atomic.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sync_once {
    sync_atomic_u32 word;  // enum once_state, see once.c
};

#define SYNC_ONCE_INIT SYNC_ZERO

// Call fn(arg), unless it has been done; on return it has, and what it did is
// seen.  If fn doesn't return, because it ends its thread (pthread_exit,
// pthread_cancel) or throws a C++ exception, it is not done, and the next
// caller, or one who is waiting, calls its own fn.
//
// Threads: any.  A call for o inside fn waits for ever.
// Blocks:  while another thread is in fn.
// Locks:   none while fn runs.
SYNC_API void sync_once_do(struct sync_once *o, void (*fn)(void *), void *arg);

// Return 1 if it has been done, and what it did is seen; else 0.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_once_is_done(struct sync_once *o);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_ONCE_H_
