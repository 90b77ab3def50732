// A load in progress: flight.c, and verdict.c for what it says of its result.
#ifndef MEMO_MEMO_FLIGHT_H_
#define MEMO_MEMO_FLIGHT_H_

#include "memo/expire.h"
#include "memo/fork.h"
#include "memo/memo.h"
#include "memo/trie.h"
#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/event.h"
#include "sync/list.h"

struct entry;
struct link_set;
struct shard;

// A load in progress, and everybody who waits for it.  Public as struct
// memo_load: it is what the load function holds.
//
//     ATTACHED, ALONE --- invalidated ---> DETACHED
//        |                                    |
//        '--- finished, or closed ------------'---> ENDED
//
// Only the shard's owner changes state.  While ATTACHED, it is in the shard's
// map, and newcomers join it.
//
// INVARIANT(attached)  f is in its shard's map iff f->state is ATTACHED; in its map
//     of those alone, or on the list of the one there that has its key, iff it is
//     ALONE; and on its list of detached flights iff it is DETACHED.
enum flight_state {
    FLIGHT_ATTACHED = 0,
    FLIGHT_ALONE = 1,     // it serves who started it, and its result isn't stored
    FLIGHT_DETACHED = 2,  // its key was changed: its result isn't stored, either
    FLIGHT_ENDED = 3,     // done is set, or about to be
};

// Whether the load is, or will be, a task for an executor, or for who has an answer to
// give first, or others to load; until these begin with it, who can't wait for that
// may take it.
enum task_state { TASK_NONE = 0, TASK_OPEN = 1, TASK_TAKEN = 2 };

// What a load says of its result, besides giving a value or failing.
enum verdict { VERDICT_VALUE, VERDICT_NOT_FOUND, VERDICT_NOT_MODIFIED };

struct memo_load {
    // Owned by the shard's owner.
    union {
        void *child[TRIE_WAYS];  // ATTACHED, ALONE: a map, see trie.h
        struct {
            struct memo_load *next, **at;  // at: what points here
        } list;  // DETACHED; ALONE, but not in the map; ENDED before its time: next
    };
    struct memo_load *others;  // ALONE, in the map: the others of that key

    // Const after init.
    struct shard *shard;
    uint64_t hash;
    size_t key_size;
    int64_t started_ns;

    // Const after it was started.
    struct entry *old;  // with a reference: the key's entry, past its time or to
                        // be refreshed; NULL: none
    int refresh;  // nobody had to wait for it
    int64_t old_until_ns;  // how long the old value may stand in
    int alone;  // it began as ALONE

    // Owned by the shard's owner.
    struct sync_link running;  // while runs: on its shard's list
    uint64_t began;            // by the clock of sources; const once it runs
    uint64_t checked;          // by that clock: when it was not outdated
    enum flight_state state;
    int runs;     // its load has not ended
    int excused;  // memo_close() doesn't wait for it: called by it so often, nested
    uint32_t interest;  // who wants the result: waiters, who started it, and memo
                        // itself where it loads for its own sake
    int starter_left;   // who started it has given up

    // Owned by the load: the value being made, and its weight if it has said so.
    struct entry *making;
    uint32_t weight;
    int has_weight;
    enum verdict verdict;
    int pass;
    struct dates dates;
    int64_t until_ns;  // what it was made from is no longer fresh then

    // Published by done: stored before sync_event_set(), read after the event
    // was seen set.
    struct entry *result;  // NULL, or a reference that f holds
    int error;
    int detached;  // it was DETACHED when it ended, or outdated
    int outdated;  // one of its links didn't hold when it ended
    int stale;     // result is the old value, past its time
    int passed;    // it is for who started it: the others load alone

    struct sync_event done;
    struct sync_event canceled;  // nobody wants it, or the cache is closing
    struct sync_watcher on_cancel;  // watches canceled, if cancel_fn
    memo_cancel_fn *cancel_fn;
    void *cancel_arg;

    // Atomic.  What is behind it: see link_set.c
    SYNC_ATOMIC(struct link_set *) links;

    // Atomic.
    sync_atomic_u32 refs;      // ORDER(unref)
    sync_atomic_u32 finished;  // 1 from the first memo_load_finish()
    sync_atomic_u32 task;      // enum task_state

    uint32_t n_forks;  // Const after its start: memo_n_forks_() then
    uint32_t left_to;  // Const after a fork: what that was in the last process that
                       // it was left behind to

    // Guarded by the wait graph's mutex, in run.c.
    struct memo_load *waits_for;

    // Owned by who started it, until it runs: dead entries to be destroyed then.
    struct entry *left;

    // Owned by the executor, or by the bulk load, it is handed to.
    struct memo_load *next;

    unsigned char key[];  // Const after init; a zero byte follows it.
};

// Whether memo_load_finish() has been called: nothing more may be said of it.
SYNC_INLINE int memo_is_finished_(const struct memo_load *f) {
    return SYNC_LOAD(&f->finished) != 0;
}

// Whether f has an old value in hand, not only a marker.
int memo_has_old_(const struct memo_load *f);

// Whether the load of f has given its value no time to live.
int memo_is_stillborn_(const struct memo_load *f);

// Make a flight with one reference, the caller's; NULL: out of memory.
struct memo_load *memo_flight_new_(struct shard *s, uint64_t hash,
                                   const void *key, size_t key_size);
void memo_flight_unref_(struct memo_load *f);

// The same, of a reference in a variable that may be NULL: for SYNC_CLEANUP.
SYNC_INLINE void memo_flight_drop_(struct memo_load **f) {
    if (*f != NULL) {
        memo_flight_unref_(*f);
    }
}

// Whether f is another process's, from before a fork.
SYNC_INLINE int memo_is_inherited_(const struct memo_load *f) {
    return SYNC_UNLIKELY(f->n_forks != memo_n_forks_());
}

// Whether f is another process's and wasn't left behind to this one: it had ended,
// and what has not been told of that is told there.  Its done is as it was in the
// middle of that: here nobody may lock it, and nobody will set it.
SYNC_INLINE int memo_is_told_elsewhere_(const struct memo_load *f) {
    return memo_is_inherited_(f) && f->left_to != memo_n_forks_();
}

// The flight of that key on a shard's map of them; NULL: none.
struct memo_load *memo_flight_find_owned_(struct memo_load *map, uint64_t hash,
                                          const void *key, size_t key_size);

// What f ends with, when its load says error; and the marker that may have to be
// stored then, or NULL.
int memo_error_of_(const struct memo_load *f, int error);
struct entry *memo_marker_for_(struct memo_load *f, int error);

#endif  // MEMO_MEMO_FLIGHT_H_
