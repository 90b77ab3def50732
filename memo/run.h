// Running loads, waiting for them, and who waits for whom: run.c.
#ifndef MEMO_MEMO_RUN_H_
#define MEMO_MEMO_RUN_H_

#include <stddef.h>

#include "memo/fork.h"

struct memo;
struct memo_load;
struct memo_wait;

// Run the load of a flight that was started here: in this thread, or by the
// executor, if there is one and may_hand_over is set.
void memo_run_load_(struct memo_load *f, int may_hand_over);

// Take the task that the load of f is, so that the caller must run it, or finish it.
// 0: it is none, or another has taken it.
int memo_take_task_(struct memo_load *f);

// Whether the caller, who has started f or has it as a task, must still run its load.
int memo_is_to_run_(struct memo_load *f);

// Say in the wait graph that the load of f will run when that of before has, in
// the same thread; NULL: that it runs now.  The caller holds a reference to
// before until it has said so.
void memo_queue_behind_(struct memo_load *f, struct memo_load *before);

// The loads of m that run in this thread, and use what it gets: those of the
// innermost call of a load function of m.  Return how many.
size_t memo_running_loads_(const struct memo *m,
                           struct memo_load *const **flights);

// Run one bulk load for n flights that were started here.
void memo_run_load_many_(struct memo *m, struct memo_load *const flights[],
                         size_t n);

// Wait for f.  0, or MEMO_ETIMEDOUT, MEMO_ECANCELED, MEMO_EDEADLK.
int memo_wait_(struct memo_load *f, const struct memo_wait *wait);

// Loads that a thread runs one after the other.  From begin to end, they have
// references.
struct memo_turns {
    struct memo_load *const *flights;
    size_t n, next;  // next: the first whose turn has not come
    struct memo_turns *outer;
    const struct running *inside;  // what loads run around them
};
void memo_turns_begin_(struct memo_turns *t);
void memo_turns_end_(struct memo_turns *t);

// Excuse the loads of m on this thread's stack from being waited for, or no
// longer; those too whose turn in this thread is yet to come.
void memo_excuse_loads_(const struct memo *m, int excused);

void memo_wait_graph_fork_(enum fork_phase phase);

#endif  // MEMO_MEMO_RUN_H_
