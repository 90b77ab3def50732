// What runs in a thread, and who waits for whom: running.c.
#ifndef MEMO_MEMO_RUNNING_H_
#define MEMO_MEMO_RUNNING_H_

#include <stddef.h>

#include "memo/calling.h"
#include "memo/fork.h"

struct memo;
struct memo_load;

// Loads that run in this thread, inside those further out: one, or all those of
// a bulk load.  Holds a reference to each, from enter to leave.
struct running {
    struct memo_load *const *flights;
    size_t n;
    struct running *outer;
    int returned;
    struct calling calling;
};
void memo_running_enter_(struct running *r);

// Also when the load's thread ends, or an exception passes through: then the loads
// are abandoned (E3).
void memo_running_leave_(struct running *r);

// Whether this thread is in a load, of any cache.
int memo_is_running_(void);

// The loads of m that run in this thread, and use what it gets: those of the
// innermost call of a load function of m.  Return how many.
size_t memo_running_loads_(const struct memo *m,
                           struct memo_load *const **flights);

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

// ---- the wait graph

// Whether there is anything that can't go on until this thread does.
int memo_has_edges_(void);

// Add edges to f from what can't go on until this thread does: the loads that it
// runs, the innermost; and, between loads that it runs in turns, the next, if nobody
// else can run that.  Or remove them, if f is NULL.  Return MEMO_EDEADLK, and change
// nothing, if that would close a cycle (W4).
int memo_set_edges_(struct memo_load *f);

// Say in the wait graph that the load of f will run when that of before has, in
// the same thread; NULL: that it runs now.  The caller holds a reference to
// before until it has said so.
void memo_queue_behind_(struct memo_load *f, struct memo_load *before);

void memo_wait_graph_fork_(enum fork_phase phase);

#endif  // MEMO_MEMO_RUNNING_H_
