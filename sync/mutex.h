// mutex: mutual exclusion, in four bytes.
//
// A zeroed mutex is free.  It isn't recursive, isn't fair (a thread that comes
// by may take it before one that has slept longer), and needs no destruction.
//
// LIFETIME: the memory of a mutex may be freed or reused by whoever has locked
// it last and knows that nobody else will: unlock doesn't read or write the
// mutex after the store that makes it free.
#ifndef MEMO_SYNC_MUTEX_H_
#define MEMO_SYNC_MUTEX_H_

#include "sync/annotate.h"
#include "sync/atomic.h"

#ifdef __cplusplus
extern "C" {
#endif

struct SYNC_CAPABILITY("mutex") sync_mutex {
    sync_atomic_u32 word;  // enum mutex_state, see mutex.c
};

#define SYNC_MUTEX_INIT SYNC_ZERO

// Make m free.  Nobody may be using it.
//
// Threads: one.  Blocks: no.  Locks: none.
SYNC_API void sync_mutex_init(struct sync_mutex *m);

// Take m.  Taking it twice in one thread waits for ever.
//
// Threads: any.
// Blocks:  until m is free; a signal doesn't end the wait.
// Locks:   m, on return.
SYNC_API void sync_mutex_lock(struct sync_mutex *m) SYNC_ACQUIRES(m);

// Take m if it is free.  Return 1 if it was, 0 if it wasn't.
//
// Threads: any.  Blocks: no.  Locks: m, if 1 is returned.
SYNC_API int sync_mutex_trylock(struct sync_mutex *m) SYNC_TRY_ACQUIRES(1, m);

// Give m up.
//
// Threads: the one that took m.  Blocks: no.  Locks: m no longer.
SYNC_API void sync_mutex_unlock(struct sync_mutex *m) SYNC_RELEASES(m);

// Abort if m is free.  That it is held by this thread is for clang to check.
//
// Threads: the one that took m.  Blocks: no.  Locks: m, which it holds.
SYNC_API void sync_mutex_assert_held(struct sync_mutex *m) SYNC_ASSERTS_HELD(m);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_MUTEX_H_
