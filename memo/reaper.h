// Destructors and listeners, out of the monitor's way: reaper.c.
#ifndef MEMO_MEMO_REAPER_H_
#define MEMO_MEMO_REAPER_H_

#include <stdint.h>

#include "memo/fork.h"

struct entry;
struct memo;
struct memo_executor;
struct reaper;
struct shard;

// A reaper, with a thread of its own, or a task of the executor, if there is one,
// or neither; NULL: out of memory.
struct reaper *memo_reaper_new_(int own_thread,
                                const struct memo_executor *executor);

// Destroy garbage by and by.  Threads: the monitor's.
void memo_reaper_take_(struct reaper *r, struct entry *garbage);

// Tell what left s, having begun to, by and by.  Threads: the monitor's.
void memo_reaper_tell_(struct reaper *r, struct shard *s);

// Do something of what was left for idle time; return whether there was anything.
int memo_reaper_idle_(struct reaper *r);

// Run a destructor oneself, if they have fallen behind.  CALLBACK, nothing locked.
void memo_reaper_help_(struct reaper *r);

// Destroy what is past the bound, or submit the task that is due, in a loop's own
// thread.  CALLBACK, nothing locked.
void memo_reaper_catch_up_(struct reaper *r);

// Tell something oneself, if there is no worker.  CALLBACK, nothing locked.
void memo_reaper_help_to_tell_(struct reaper *r);

// Destroy all there is, and wait until what others are destroying is, unless this
// is a destructor.  Return 0 or MEMO_ETIMEDOUT.  CALLBACK, nothing locked.
int memo_reaper_drain_(struct memo *m, int64_t deadline_ns);

// Destroy all there is, and end the thread: nothing will be taken any more.
void memo_reaper_stop_(struct reaper *r);
void memo_reaper_free_(struct reaper *r);

void memo_reaper_fork_(struct reaper *r, enum fork_phase phase);

#endif  // MEMO_MEMO_REAPER_H_
