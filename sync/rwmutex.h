// rwmutex: many readers, or one writer.
//
// A writer that waits keeps new readers out, and gets its turn when those
// inside have left; readers that a writer kept waiting go before the next
// writer.  So neither starves the other.  A consequence: a thread that reads
// must not read again inside, for a writer may be waiting in between.
//
// Worth its price, two atomic operations for a reader, only where readers stay
// inside for long: a mutex costs no more.
//
// A zeroed rwmutex is free.  It needs no destruction.
#ifndef MEMO_SYNC_RWMUTEX_H_
#define MEMO_SYNC_RWMUTEX_H_

#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/mutex.h"

#ifdef __cplusplus
extern "C" {
#endif

struct SYNC_CAPABILITY("rwmutex") sync_rwmutex {
    // Held by the writer that is inside, or is waiting for readers to leave.
    struct sync_mutex writing;

    // Atomic: see rwmutex.c.
    sync_atomic_u32 readers;
    sync_atomic_u32 leaving;
    sync_atomic_u32 let_in;
    sync_atomic_u32 all_left;
};

#define SYNC_RWMUTEX_INIT SYNC_ZERO

// Make rw free.  Nobody may be using it.
//
// Threads: one.  Blocks: no.  Locks: none.
SYNC_API void sync_rwmutex_init(struct sync_rwmutex *rw);

// Take rw for writing, alone.
//
// Threads: any.
// Blocks:  until those inside have left; a signal doesn't end the wait.
// Locks:   rw, on return.
SYNC_API void sync_rwmutex_lock(struct sync_rwmutex *rw) SYNC_ACQUIRES(rw);

// Give rw up after writing.
//
// Threads: the one that took it.  Blocks: no.  Locks: rw no longer.
SYNC_API void sync_rwmutex_unlock(struct sync_rwmutex *rw) SYNC_RELEASES(rw);

// Take rw for reading, beside other readers.
//
// Threads: any that isn't inside.
// Blocks:  until no writer is inside or waits for those inside to leave; a
//          signal doesn't end the wait.
// Locks:   rw, shared, on return.
SYNC_API void sync_rwmutex_rlock(struct sync_rwmutex *rw)
    SYNC_ACQUIRES_SHARED(rw);

// Give rw up after reading.
//
// Threads: the one that took it.  Blocks: no.  Locks: rw no longer.
SYNC_API void sync_rwmutex_runlock(struct sync_rwmutex *rw)
    SYNC_RELEASES_SHARED(rw);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_RWMUTEX_H_
