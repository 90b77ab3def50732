// A hierarchical timer wheel (G. Varghese, T. Lauck, "Hashed and Hierarchical Timing
// Wheels", SOSP 1987, scheme 7): adding takes constant time, and time that passes
// costs nothing where nothing happens.
//
// What is on it are names (names.h): it says when what has that name is to be looked
// at, not more.  Nothing is taken off before its time: the name of what has gone
// stays behind, and stands for nothing.  What names stand for is said by alarm.h.
#ifndef MEMO_MEMO_WHEEL_H_
#define MEMO_MEMO_WHEEL_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/names.h"
#include "sync/annotate.h"

#define WHEEL_BITS 6
#define WHEEL_SLOTS 64
#define WHEEL_LEVELS 8  // of 6 bits: more than the 44 that a time has in ticks
#define WHEEL_ALL_SLOTS (WHEEL_LEVELS * WHEEL_SLOTS)
#define WHEEL_TICK_SHIFT 20  // a tick is 2^20 ns, about a millisecond
#define WHEEL_TICK_NS (INT64_C(1) << WHEEL_TICK_SHIFT)

// Owned by the shard's owner.
//
// INVARIANT(wheel)  A name to be looked at in tick t lies on the level of the
//     highest digit (base 64) in which t differs from now, in the slot of that
//     digit; or in now's slot on some level, if its time has come.
struct wheel {
    uint64_t now;  // all that was to happen before this tick is done
    uint64_t idle_until;  // no slot that isn't empty begins before this tick
    uint64_t occupied[WHEEL_LEVELS];  // a bit for each slot that isn't empty,
                                      // and for some that are
    uint32_t slot[WHEEL_ALL_SLOTS];  // piles of names
    struct names_pool names;

    // A walk through all slots, in steps.  What it hasn't come to of the one where it
    // is, is aside, and belongs to that slot as before.
    unsigned walked;
    uint32_t aside;

    // What alarm.c keeps here.
    uint64_t n_set;  // entries with an alarm
};

// The one that is walked through has what is aside, too.
SYNC_INLINE int wheel_is_slot_empty(const struct wheel *w, unsigned slot) {
    return w->slot[slot] == 0 && (slot != w->walked || w->aside == 0);
}

// Names are in so many bytes of reserved pages.
void memo_wheel_init_(struct wheel *w, void *pages, size_t size, int64_t now_ns);

// Make room for so many more names.  0 or MEMO_ENOMEM.
int memo_wheel_reserve_(struct wheel *w, uint64_t more);

// Where a name belongs that is to be looked at when at_ns, not MEMO_NEVER, has come;
// and put it there.  There is room for it.
unsigned memo_wheel_slot_(const struct wheel *w, int64_t at_ns);
void memo_wheel_put_(struct wheel *w, unsigned slot, uint32_t name);

// Take off up to n names that are to be looked at when it is now_ns, all from the same
// slot; and return how many.  Their time has come, or is near enough that they must be
// put elsewhere.
unsigned memo_wheel_next_(struct wheel *w, int64_t now_ns, uint32_t names[],
                          unsigned n, unsigned *slot);

// When memo_wheel_next_() will return something, at the earliest.
int64_t memo_wheel_due_ns_(struct wheel *w);

// Take up to n names off, all from the same slot, the next of a walk without end; and
// return how many.  Those that are to stay must be put back before anything else
// happens.
unsigned memo_wheel_take_some_(struct wheel *w, uint32_t names[], unsigned n,
                               unsigned *slot);

// Take off all names, however many.
void memo_wheel_forget_(struct wheel *w);

// Call each(arg, name, slot, at_ns) for all names, with the time that they are looked
// at; INT64_MIN: as soon as can be.
void memo_wheel_walk_(const struct wheel *w,
                      void (*each)(void *arg, uint32_t name, unsigned slot,
                                   int64_t at_ns),
                      void *arg);

#endif  // MEMO_MEMO_WHEEL_H_
