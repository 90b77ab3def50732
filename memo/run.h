// Running loads, and waiting for them: run.c.
#ifndef MEMO_MEMO_RUN_H_
#define MEMO_MEMO_RUN_H_

#include <stddef.h>

struct memo;
struct memo_load;
struct memo_wait;

// Run the load of a flight that was started here: in this thread, or by the
// executor, if there is one and may_hand_over is set.
void memo_run_load_(struct memo_load *f, int may_hand_over);

// Take the task that the load of f is, so that the caller must run it, or finish it.
// 0: it is none, or another has taken it.
int memo_take_task_(struct memo_load *f);

// Abandon the load of f, which the caller has started or has as a task, unless another
// has taken it (E3).
void memo_abandon_task_(struct memo_load *f);

// Run one bulk load for n flights that were started here.
void memo_run_load_many_(struct memo *m, struct memo_load *const flights[],
                         size_t n);

// Wait for f.  0, or MEMO_ETIMEDOUT, MEMO_ECANCELED, MEMO_EDEADLK.
int memo_wait_(struct memo_load *f, const struct memo_wait *wait);

#endif  // MEMO_MEMO_RUN_H_
