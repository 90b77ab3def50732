// The algorithm of Go's sync.RWMutex, with two counting semaphores on futexes.
//
//   readers   how many readers are inside or wait to be let in; WRITER is added
//             while a writer is inside, or waits for readers to leave
//   leaving   how many readers were inside when the writer came, and still are;
//             below zero for a moment, when some leave before they are counted
//   let_in    semaphore of the readers that wait for the writer
//   all_left  semaphore of the writer that waits for readers
//
// A writer adds WRITER, which turns new readers away, and finds in the same
// instant how many readers are inside; it adds these to leaving.  Each reader
// that leaves and sees WRITER subtracts one.  Whoever takes leaving to zero
// lets the writer in: the last reader, or the writer itself.
//
// Memory ordering: all of readers and leaving is read-modify-write, with
// acquire and release, and so is the semaphores' taking and giving.
//
//   ORDER(in)   unlock:A    subtraction of WRITER, or gift to let_in
//               rlock:A     addition to readers, or taking from let_in
//       A reader sees what writers before it did.
//   ORDER(out)  runlock:A   subtraction from readers, then from leaving, then
//                           gift to all_left
//               lock:A      addition of WRITER, to leaving, or taking from
//                           all_left
//       A writer comes after the readers before it.  (Writers come after each
//       other by the mutex.)
#include "sync/rwmutex.h"

#include <assert.h>

// More than there can be readers.
#define RWMUTEX_WRITER (UINT32_C(1) << 30)

// Give n, and wake as many.
// LIFETIME: the semaphore may be gone after the store; its address is not used
// for more than waking.
static void semaphore_give(sync_atomic_u32 *semaphore, uint32_t n) {
    (void)SYNC_ADD_ACQREL(semaphore, n);
    (void)sync_futex_wake(semaphore, (int)n);
}

// Take one, when there is one.
static void semaphore_take(sync_atomic_u32 *semaphore) {
    uint32_t n = SYNC_LOAD(semaphore);

    while (n == 0 || !SYNC_CAS_ACQREL(semaphore, &n, n - 1)) {
        if (n == 0) {
            (void)sync_futex_wait(semaphore, 0, SYNC_NEVER);
            n = SYNC_LOAD(semaphore);
        }
    }
}

void sync_rwmutex_init(struct sync_rwmutex *rw) {
    sync_mutex_init(&rw->writing);
    SYNC_INIT(&rw->readers, 0);
    SYNC_INIT(&rw->leaving, 0);
    SYNC_INIT(&rw->let_in, 0);
    SYNC_INIT(&rw->all_left, 0);
}

SYNC_NO_LOCK_CHECK void sync_rwmutex_lock(struct sync_rwmutex *rw) {
    uint32_t inside;

    sync_mutex_lock(&rw->writing);
    inside =
        SYNC_ADD_ACQREL(&rw->readers, RWMUTEX_WRITER);  // ORDER(out) lock:A
    if (inside != 0 && SYNC_ADD_ACQREL(&rw->leaving, inside) + inside != 0) {
        semaphore_take(&rw->all_left);
    }
}

SYNC_NO_LOCK_CHECK void sync_rwmutex_unlock(struct sync_rwmutex *rw) {
    // ORDER(in) unlock:A
    uint32_t were = SYNC_SUB_ACQREL(&rw->readers, RWMUTEX_WRITER);
    uint32_t waiting = were - RWMUTEX_WRITER;

    assert(were >= RWMUTEX_WRITER);
    if (waiting != 0) {
        semaphore_give(&rw->let_in, waiting);
    }
    sync_mutex_unlock(&rw->writing);
}

SYNC_NO_LOCK_CHECK void sync_rwmutex_rlock(struct sync_rwmutex *rw) {
    // ORDER(in) rlock:A
    if (SYNC_ADD_ACQREL(&rw->readers, 1) >= RWMUTEX_WRITER) {
        semaphore_take(&rw->let_in);
    }
}

SYNC_NO_LOCK_CHECK void sync_rwmutex_runlock(struct sync_rwmutex *rw) {
    // ORDER(out) runlock:A
    uint32_t were = SYNC_SUB_ACQREL(&rw->readers, 1);

    assert((were & (RWMUTEX_WRITER - 1)) != 0);
    if (were >= RWMUTEX_WRITER && SYNC_SUB_ACQREL(&rw->leaving, 1) == 1) {
        semaphore_give(&rw->all_left, 1);
    }
}
