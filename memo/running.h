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

// Excuse the loads of m on this thread's stack from being waited for, or no
// longer.
void memo_excuse_loads_(const struct memo *m, int excused);

// ---- the wait graph

// Add edges to f from the loads that this thread runs, the innermost.  Or remove them,
// if f is NULL.  Return MEMO_EDEADLK, and change nothing, if that would close a cycle
// (W4).
int memo_set_edges_(struct memo_load *f);

void memo_wait_graph_fork_(enum fork_phase phase);

#endif  // MEMO_MEMO_RUNNING_H_
