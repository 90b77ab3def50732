// Pins: keep an object alive while reading it, without writing anything that
// another thread writes.
//
// These are hazard pointers (M. Michael, "Hazard Pointers: Safe Memory
// Reclamation for Lock-Free Objects", IEEE TPDS 15(6), 2004) with an asymmetric
// fence (as in folly, and in liburcu's membarrier flavour): a reader publishes
// the address of the object in a slot of its thread and looks again whether the
// object is still where it was found.  The reader pays a compiler barrier; who
// wants to free an object pays for both with one membarrier system call for a
// whole batch, in sync_pin_scan().
//
// A reader:                               Who frees:
//     p = load(&shared);                      unlink p from shared;
//     slot = sync_pin(p);                     sync_pin_scan(): see every pin
//     if (load(&shared) != p) unpin, again    free p unless it was seen
//     ... read *p ...
//     sync_unpin(slot);
//
// A slot belongs to a thread, but any thread may empty it.  The record of a
// thread that has ended, with the slots still in use, goes to the next thread
// that comes.
#ifndef MEMO_SYNC_PIN_H_
#define MEMO_SYNC_PIN_H_

#include <stdint.h>

#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/ticks.h"

// Slots of one thread.  The last is kept for sync_pin_brief().
#define SYNC_PIN_SLOTS 128

typedef SYNC_ATOMIC(void *) sync_pin_slot;

// A thread's record: its slots, and what else it had better not share: what it
// has counted, and what time it isn't yet.  Aligned to its size, so that a slot
// leads to it.
#define SYNC_PIN_RECORD 2048
#define SYNC_TALLIES 120
#define SYNC_TALLY_NONE UINT64_MAX

struct sync_pin_record {
    sync_pin_slot slot[SYNC_PIN_SLOTS];   // Atomic.
    sync_atomic_u64 tally[SYNC_TALLIES];  // Atomic; written by one thread.
    struct sync_ticks_window window;      // Owned by the thread.
    struct sync_pin_record *next;         // Const after init.
    sync_atomic_u32 taken;                // Atomic: 1 while a thread has it.
    sync_atomic_u32 used;  // Atomic; written by the thread: so many slots, from
                           // the first on, have ever been used.  ORDER(pin)
};

// The calling thread's next slot to try; at first one that is never free.
SYNC_API extern SYNC_THREAD_LOCAL(sync_pin_slot *, sync_pin_next_);

// Publish p in this slot of the calling thread; return 0 if it is in use.  The
// caller must now look again whether p is still reachable.
//
// ORDER(pin)  see pin.c
SYNC_INLINE int sync_pin_at(sync_pin_slot *slot, void *p) {
    if (!SYNC_LIKELY(SYNC_IS_ACQ(slot, NULL))) {
        return 0;
    }
#if SYNC_SYMMETRIC_FENCES
    (void)SYNC_XCHG_SC(slot, p);  // ORDER(pin) pin:A
#else
    SYNC_STORE_REL(slot, p);  // ORDER(pin) pin:A
    SYNC_LIGHT_FENCE();
#endif
    return 1;
}

// The same in the thread's next slot.  Return it, or NULL if it is in use or the
// short way is not for this machine: see sync_pin_slow().
SYNC_INLINE sync_pin_slot *sync_pin_fast(void *p) {
    sync_pin_slot *slot = SYNC_TLS(sync_pin_next_);

    if (!SYNC_LIKELY(sync_pin_at(slot, p))) {
        return NULL;
    }
    SYNC_ASSUME(slot != NULL);
    return slot;
}

// The same, whatever it takes: find a free slot, making a record for a new
// thread.  NULL: all slots are in use, or there was no memory for a record.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API sync_pin_slot *sync_pin_slow(void *p);

// For those who pin many at once: prepare for the use of n of the thread's slots
// by sync_pin_at(), and return the first; *n may become less.  They needn't be
// free.  NULL: the short way is not for this machine, or there was no memory for
// a record.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API sync_pin_slot *sync_pin_prepare(size_t *n);

// Publish p in a slot that is free between two calls of the same thread, for
// pins that end before the caller returns.  NULL: no memory for a record.
SYNC_API sync_pin_slot *sync_pin_brief(void *p);

// End a pin.  p may be gone when this returns.
SYNC_INLINE void sync_unpin(sync_pin_slot *slot) {
    SYNC_STORE_REL(slot, NULL);  // ORDER(unpin) unpin:A
}

// The record of a slot.
SYNC_INLINE struct sync_pin_record *sync_pin_record(sync_pin_slot *slot) {
    return (struct sync_pin_record *)((uintptr_t)slot &
                                      ~(uintptr_t)(SYNC_PIN_RECORD - 1));
}

// Call see(arg, p) for every p that is pinned.  An object that was made
// unreachable before the call, and is not seen, is pinned by nobody and won't
// be again.
//
// Threads: any; calls of see() come from this thread, in no order, perhaps the
// same p more than once.  Blocks: no.  Locks: none.
//
// Return 1; or 0: the system doesn't let it look now, see sync_heavy_fence().  Then
// everything may be pinned.
SYNC_API int sync_pin_scan(void (*see)(void *arg, void *p), void *arg);

// In the child of a fork: the records of the parent's other threads go to who
// comes next, as if those had ended.  What they have pinned stays pinned, for any
// thread may be the one that has it.
//
// Threads: the only one there is.  Blocks: no.  Locks: none.
SYNC_API void sync_pin_forked(void);

// How many records there are: what a scan costs.
SYNC_API uint32_t sync_pin_records(void);

// ---- tallies: counting without a shared write
//
// A tally is a counter of which each thread has a part of its own, behind its
// slots.

// Return a tally that counts from 0; or SYNC_TALLY_NONE if all are in use.  Give
// it back when nobody counts with it any more.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API uint64_t sync_tally_new(void);
SYNC_API void sync_tally_free(uint64_t tally);

// The sum of all threads' parts.
SYNC_API uint64_t sync_tally_sum(uint64_t tally);

// Count one, in the record that the slot belongs to, which is this thread's.
SYNC_INLINE void sync_tally_add(sync_pin_slot *slot, uint64_t tally) {
    SYNC_COUNT(&sync_pin_record(slot)->tally[tally]);
}

// Count n, likewise.
SYNC_INLINE void sync_tally_add_many(sync_pin_slot *slot, uint64_t tally,
                                     uint64_t n) {
    sync_atomic_u64 *part = &sync_pin_record(slot)->tally[tally];

    SYNC_STORE(part, SYNC_LOAD(part) + n);
}

// Count one for this thread.  Return 0 if it has no record and none could be
// made: not counted.
SYNC_API int sync_tally_add_slow(uint64_t tally);

#endif  // MEMO_SYNC_PIN_H_
