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

// Slots of one thread.  The last is kept for sync_pin_brief().
#define SYNC_PIN_SLOTS 16

typedef SYNC_ATOMIC(void *) sync_pin_slot;

// The calling thread's next slot to try, and its number: small, dense, handed
// on at thread exit; 0 for a thread that has none (yet).
struct sync_pin_self {
    sync_pin_slot *slot;
    uint32_t number;
};

SYNC_API extern SYNC_THREAD_LOCAL(struct sync_pin_self, sync_pin_self_);

// Publish p in the calling thread's next slot.  Return the slot, or NULL if it
// is in use or the short way is not for this machine: see sync_pin_slow().  The
// caller must now look again whether p is still reachable.
//
// ORDER(pin)  see pin.c
SYNC_INLINE sync_pin_slot *sync_pin_fast(void *p) {
    sync_pin_slot *slot = SYNC_TLS(sync_pin_self_).slot;

    if (SYNC_UNLIKELY(slot == NULL) ||
        SYNC_UNLIKELY(SYNC_LOAD_ACQ(slot) != NULL)) {
        return NULL;
    }
#if SYNC_SYMMETRIC_FENCES
    (void)SYNC_XCHG_SC(slot, p);  // ORDER(pin) pin:A
#else
    SYNC_STORE_REL(slot, p);  // ORDER(pin) pin:A
    SYNC_LIGHT_FENCE();
#endif
    return slot;
}

// The same, whatever it takes: find a free slot, making a record for a new
// thread.  NULL: all slots are in use, or there was no memory for a record.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API sync_pin_slot *sync_pin_slow(void *p);

// Publish p in a slot that is free between two calls of the same thread, for
// pins that end before the caller returns.  NULL: no memory for a record.
SYNC_API sync_pin_slot *sync_pin_brief(void *p);

// End a pin.  p may be gone when this returns.
SYNC_INLINE void sync_unpin(sync_pin_slot *slot) {
    SYNC_STORE_REL(slot, NULL);  // ORDER(unpin) unpin:A
}

// Call see(arg, p) for every p that is pinned.  An object that was made
// unreachable before the call, and is not seen, is pinned by nobody and won't
// be again.
//
// Threads: any; calls of see() come from this thread, in no order, perhaps the
// same p more than once.  Blocks: no.  Locks: none.
SYNC_API void sync_pin_scan(void (*see)(void *arg, void *p), void *arg);

// How many records there are: what a scan costs.
SYNC_API uint32_t sync_pin_records(void);

#endif  // MEMO_SYNC_PIN_H_
