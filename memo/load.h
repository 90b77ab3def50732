// Finding a value, or loading it: load.c.
#ifndef MEMO_MEMO_LOAD_H_
#define MEMO_MEMO_LOAD_H_

#include "memo/flight.h"
#include "memo/memo.h"
#include "memo/step.h"
#include "sync/annotate.h"

// What memo_get() does when the value isn't resident.
int memo_get_slow_(struct memo *m, const void *key, size_t key_size,
                   uint64_t hash, const struct memo_wait *wait,
                   struct memo_value *out);

// The same, without looking first, and of a certain depth.
int memo_load_as_(struct memo *m, const void *key, size_t key_size,
                  uint64_t hash, enum begin_depth depth,
                  const struct memo_wait *wait, struct memo_value *out);

// Own the shard; look again; join the flight of the key, or start one.  From when a
// flight is started until it runs no destructor and no listener is called in this
// thread, for these may wait for it: what there is to do memo_run_load_() does, or,
// where begin says so, the caller.
int memo_find_or_start_(struct memo *m, struct begin_step *begin);

// Whether the result of f, which is done, isn't for who has waited for it, so that
// he must begin again, as *depth says then: it was made for who started f alone
// (C4), and he makes his own, if he may load; or it turned out to be outdated, maybe
// by a change before he joined late (I1); or it is detached and he won't have that
// (I2).
SYNC_INLINE int memo_must_go_again_(const struct memo_load *f, int started,
                                    int late, const struct memo_wait *wait,
                                    enum begin_depth *depth) {
    if (f->passed && !started) {
        *depth = *depth == BEGIN_START ? BEGIN_ALONE : *depth;
        return 1;
    }
    return (late && f->outdated) ||
           (f->detached && wait != NULL && (wait->flags & MEMO_WAIT_STRICT));
}

// Whether who waited for f so long may take the old value, and do.
int memo_may_take_old_(const struct memo_load *f, const struct memo_wait *wait);
int memo_hand_out_old_(struct memo_load *f, struct memo_value *out);

// Fill *out with the result of a flight that is done, or return its error.
int memo_hand_out_(struct memo_load *f, int started, struct memo_value *out);

// A wait for f has ended: with its result, or, if gave_up, without.
void memo_stop_waiting_(struct memo_load *f, int64_t joined_ns, int gave_up);

// Run the load of a flight that nobody waits for, by the executor if there is
// one, and let go of the flight.
void memo_run_refresh_(struct memo_load *f);

#endif  // MEMO_MEMO_LOAD_H_
