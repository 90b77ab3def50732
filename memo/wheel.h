// A hierarchical timer wheel of entries (G. Varghese, T. Lauck, "Hashed and
// Hierarchical Timing Wheels", SOSP 1987, scheme 7): adding and removing take
// constant time, and time that passes costs nothing where nothing happens.
//
// It says when an entry is to be looked at, not more: whether it has expired is
// the caller's to find out, and to add it again if it hasn't.
#ifndef MEMO_MEMO_WHEEL_H_
#define MEMO_MEMO_WHEEL_H_

#include <stdint.h>

struct entry;

#define WHEEL_BITS 6
#define WHEEL_SLOTS 64
#define WHEEL_LEVELS 8  // of 6 bits: more than the 44 that a time has in ticks
#define WHEEL_TICK_SHIFT 20  // a tick is 2^20 ns, about a millisecond

// Owned by the shard's owner.
//
// INVARIANT(wheel)  An entry to be looked at in tick t lies on the level of the
//     highest digit (base 64) in which t differs from now, in the slot of that
//     digit; or in now's slot on some level, if its time has come.
struct wheel {
    uint64_t now;  // all that was to happen before this tick is done
    uint64_t occupied[WHEEL_LEVELS];  // a bit for each slot that isn't empty,
                                      // and for some that are
    struct entry *slot[WHEEL_LEVELS][WHEEL_SLOTS];
};

void memo_wheel_init_(struct wheel *w, int64_t now_ns);

// Have e looked at when at_ns has come; MEMO_NEVER: never.  e is on no wheel.
void memo_wheel_add_(struct wheel *w, struct entry *e, int64_t at_ns);

// Take e off its wheel, if it is on one.
void memo_wheel_remove_(struct entry *e);

// Take off and return an entry that is to be looked at when it is now_ns: its time
// has come, or is near enough that it must be added again; NULL: none.
struct entry *memo_wheel_next_(struct wheel *w, int64_t now_ns);

// When memo_wheel_next_() will return something, at the earliest.
int64_t memo_wheel_due_ns_(struct wheel *w);

#endif  // MEMO_MEMO_WHEEL_H_
