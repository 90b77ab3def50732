// The three-state mutex of Drepper's "Futexes Are Tricky".
//
//   FREE ---- lock -----------------------> HELD
//   HELD ---- somebody is about to sleep --> CONTENDED
//   FREE ---- lock, by one who may have slept --> CONTENDED
//   HELD, CONTENDED ---- unlock -----------> FREE
//
// INVARIANT(sleepers)  While anybody sleeps on word, it is CONTENDED, or a
//                      thread that will set it so, or will find it FREE, is on
//                      its way: the one that an unlock woke.
//
// A sleeper can't know whether it was the last one, so it takes the mutex as
// CONTENDED; the price is at most one wake-up of nobody.
//
// Memory ordering.
//
//   ORDER(mutex)  unlock:A  release exchange of word
//                 lock:A    acquire exchange, or compare-and-swap, of word
//       If lock:A reads from unlock:A, what was done under the lock before
//       unlock:A is seen after lock:A.
#include "sync/mutex.h"

#include <assert.h>

// The values of word.
enum mutex_state { MUTEX_FREE = 0, MUTEX_HELD = 1, MUTEX_CONTENDED = 2 };

// How often to look at a mutex that is HELD before going to sleep: about as
// long as a critical section takes here.
enum { MUTEX_SPINS = SYNC_SPINS(40) };

void sync_mutex_init(struct sync_mutex *m) {
    SYNC_INIT(&m->word, MUTEX_FREE);
}

int sync_mutex_trylock(struct sync_mutex *m) {
    uint32_t was = MUTEX_FREE;

    return SYNC_CAS_ACQ(&m->word, &was, MUTEX_HELD);  // ORDER(mutex) lock:A
}

// Wait for a moment in which m looks free.  Don't, if others sleep already: the
// mutex is busier than a moment.
static void spin_while_held(struct sync_mutex *m) {
    int i;

    for (i = 0; i < MUTEX_SPINS && SYNC_LOAD(&m->word) == MUTEX_HELD; i++) {
        sync_cpu_relax();
    }
}

// (clang can't know that a word is a lock.)
static SYNC_COLD SYNC_NO_LOCK_CHECK void lock_slow(struct sync_mutex *m) {
    spin_while_held(m);
    if (sync_mutex_trylock(m)) {
        return;
    }
    // ORDER(mutex) lock:A
    while (SYNC_XCHG_ACQREL(&m->word, MUTEX_CONTENDED) != MUTEX_FREE) {
        (void)sync_futex_wait(&m->word, MUTEX_CONTENDED, SYNC_NEVER);
    }
}

SYNC_NO_LOCK_CHECK void sync_mutex_lock(struct sync_mutex *m) {
    if (SYNC_UNLIKELY(!sync_mutex_trylock(m))) {
        lock_slow(m);
    }
}

SYNC_NO_LOCK_CHECK void sync_mutex_unlock(struct sync_mutex *m) {
    // ORDER(mutex) unlock:A
    uint32_t was = SYNC_XCHG_ACQREL(&m->word, MUTEX_FREE);

    assert(was != MUTEX_FREE);
    if (SYNC_UNLIKELY(was == MUTEX_CONTENDED)) {
        // LIFETIME: m may be gone; its address is all that is used.
        (void)sync_futex_wake(&m->word, 1);
    }
}

void sync_mutex_assert_held(struct sync_mutex *m) {
    assert(SYNC_LOAD(&m->word) != MUTEX_FREE);
    (void)m;  // unused where assertions are off
}
