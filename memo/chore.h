// What a reaper has to do, and who does it: what reaper.c, chore.c and worker.c
// share.  Why there are heaps and a worker: reaper.c.
#ifndef MEMO_MEMO_CHORE_H_
#define MEMO_MEMO_CHORE_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/memo.h"
#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/mutex.h"

struct entry;
struct shard;

enum place { IN_IDLE_TIME, IN_THREAD, IN_EXECUTOR };

//   NONE --- called --> BUSY --- nothing to do --> ASLEEP (a thread), NONE (a task)
//    |                   ^ ^                          |
//    '-- called --> DUE -' '---------- woken ---------'
//
// DUE: a task, which the loop's thread is to submit, but not in the middle of a step.
enum worker { WORKER_NONE, WORKER_DUE, WORKER_BUSY, WORKER_ASLEEP };

// Light ones that may wait.
#define LIGHT_MOST 1000

enum crowd { CROWD_NONE, CROWD_FOR_ALL, CROWD_FOR_LOOP };

// Entries to be destroyed, in the order in which they came.
struct heap {
    struct entry *first, **end;
    uint64_t n, bytes;
};

struct reaper {
    // Const after init.
    enum place place;
    struct memo_executor executor;

    struct sync_mutex mu;
    // Guarded by mu.
    struct heap light, heavy;
    struct shard *to_tell, **to_tell_end;  // linked by their ledgers
    enum worker worker;
    int stopped;
    int forked;     // the monitor and the thread are in another process
    int n_running;  // taken off a heap, and being destroyed here
    int n_waiting;  // threads that wait until none is

    // Owned by the monitor's thread, then by memo_free().
    struct sync_thread thread;
    int has_thread;  // that is to be joined

    // Atomic.
    sync_atomic_u32 refs;     // ORDER(unref), as in entry.c
    sync_atomic_u32 crowded;  // a copy: who writes must help, enum crowd
    sync_atomic_u32 news;     // changes to wake the thread
    sync_atomic_u32 quiet;    // changes to wake those who wait
};

// ---- chore.c

void memo_heap_init_(struct heap *h);
void memo_heap_push_(struct heap *h, struct entry *e, uint64_t bytes);
void memo_heap_append_(struct heap *h, struct heap *more);
struct entry *memo_heap_pop_(struct heap *h);

// Say whether who writes must help.
void memo_chores_see_crowd_locked_(struct reaper *r) SYNC_REQUIRES(&r->mu);

struct entry *memo_chores_pop_heavy_locked_(struct reaper *r)
    SYNC_REQUIRES(&r->mu);

// What there is to do: tell of a shard, or destroy an entry; or nothing.
struct chore {
    struct shard *shard;  // with a reference
    struct entry *entry;
};

SYNC_INLINE int chore_is_nothing(struct chore c) {
    return c.shard == NULL && c.entry == NULL;
}

void memo_chores_push_shard_locked_(struct reaper *r, struct shard *s)
    SYNC_REQUIRES(&r->mu);
struct shard *memo_chores_pop_shard_locked_(struct reaper *r)
    SYNC_REQUIRES(&r->mu);

// Take something to do, which from then on counts as running: what is for a
// worker, what is for idle time, or both.
struct chore memo_chores_take_(struct reaper *r, int worker, int idle);

// Do it.  CALLBACK, nothing locked.
void memo_chore_finish_(struct reaper *r, struct chore c);

// How many chores of r this thread is at.
int memo_chores_running_here_(const struct reaper *r);

// ---- worker.c

// Have the worker come, which was in that state and is BUSY by now.  CALLBACK: the
// executor's submit(), nothing locked.
void memo_worker_summon_(struct reaper *r, enum worker worker);

// Whether this is the reaper's own thread.
int memo_worker_is_here_(const struct reaper *r);

// ---- reaper.c

// Drop a reference; the last one frees r.
void memo_reaper_unref_(struct reaper *r);

#endif  // MEMO_MEMO_CHORE_H_
