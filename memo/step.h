// What the owner of a shard does, each in one go.  The second argument is a struct
// of the caller's that the step fills in.
#ifndef MEMO_MEMO_STEP_H_
#define MEMO_MEMO_STEP_H_

#include "memo/memo.h"
#include "sync/annotate.h"

struct dates;
struct entry;
struct memo_load;
struct shard;

// When a caller joined a flight; or this: he started it.
#define STARTED INT64_MIN

// Find a resident value, join a flight, or start one.
struct begin_step {
    // In.
    const void *key;
    size_t key_size;
    uint64_t hash;
    // ALONE: like START, but never together with others.  REFRESH: start one
    // whatever is resident; don't join.
    enum begin_depth {
        BEGIN_FIND,
        BEGIN_JOIN,
        BEGIN_START,
        BEGIN_ALONE,
        BEGIN_REFRESH,
    } depth;
    struct memo_load *spare;  // used to start a flight, if there is one
    int64_t now_ns;           // where there are times
    int hands_over;           // the caller will hand over what is started
    int in_turns;             // or run it when he has run others
    struct entry **left;      // where to leave what is to be destroyed; NULL: the
                              // caller has started nothing yet
    // Out: an entry, or a flight, with a reference for the caller; or an error.
    // Or an entry and a flight that refreshes it.
    struct entry *entry;
    uint32_t from;  // enum memo_from, of the entry or the error
    struct memo_load *flight;
    int started;
    int late;  // something has changed since the flight that was joined began
    int64_t joined_ns;  // or STARTED
    int needs_spare;
    int error;
};
void memo_begin_owned_(struct shard *s, void *begin_step);

SYNC_INLINE struct begin_step memo_begin_for_(const void *key, size_t key_size,
                                              uint64_t hash,
                                              enum begin_depth depth) {
    struct begin_step b = {
        .key = key, .key_size = key_size, .hash = hash, .depth = depth};

    return b;
}

// How deep a wait goes.
SYNC_INLINE enum begin_depth memo_depth_of_(const struct memo_wait *wait) {
    return wait != NULL && (wait->flags & MEMO_WAIT_NO_LOAD) ? BEGIN_JOIN
                                                             : BEGIN_START;
}

// Whether an entry, that somebody holds as a value, is what its key has; or at least
// is of this cache.
struct resident_step {
    const struct entry *entry;
    uint64_t hash;  // that its key has in this cache
    int is_resident, is_ours;  // out
};
void memo_is_resident_owned_(struct shard *s, void *resident_step);

// One who waited no longer does.
struct leave_step {
    struct memo_load *flight;
    int started;   // it is who started it
    int unwanted;  // out: nobody does, so the load must be told
};
void memo_leave_owned_(struct shard *s, void *leave_step);

// End a flight with the entry that it made, or NULL and an error.
struct end_step {
    struct memo_load *flight;
    struct entry *entry;
    int error;
    struct entry *marker;  // stored instead, if that is what the end calls for
    int64_t now_ns;
    // Out.
    int was_open;  // the flight had not been ended by memo_close() before
    int replaced;  // a fresh value of its key isn't resident any more
    int drains;    // the shard is closed: memo_close() waits for this load
};
void memo_end_owned_(struct shard *s, void *end_step);

// Store an entry whatever is there (entry != NULL), or drop what is there.  Both
// detach the flight of the key.
struct replace_step {
    const void *key;
    size_t key_size;
    uint64_t hash;
    struct entry *entry;
    const struct dates *dates;
    int64_t now_ns;
    int error;
};
void memo_replace_owned_(struct shard *s, void *replace_step);

void memo_clear_owned_(struct shard *s, void *unused);

// End every flight with MEMO_ECLOSED, refuse new ones, and make every resident
// value out of date.  The flights come out in a list linked by list.next, each
// with a reference for the caller, who must set done.
struct close_step {
    struct memo_load *ended;
};
void memo_close_owned_(struct shard *s, void *close_step);

// The same of a shard in the child of a fork, with MEMO_EFORKED, and it stays open.
void memo_leave_behind_owned_(struct shard *s, void *close_step);

// Excuse a load from being waited for by memo_close(), or no longer.  The shard
// is closed.
struct excuse_step {
    struct memo_load *flight;
    int excused;
};
void memo_excuse_owned_(struct shard *s, void *excuse_step);

// Drop a bounded number of what has expired, sweep a bounded number of groups;
// then reclaim.
struct upkeep_step {
    int64_t now_ns;
    // By this and other shards, may still be
    uint64_t groups;   // swept
    uint64_t entries;  // looked at, whether they have expired
    int64_t next_ns;  // out: when there will be more to do; now_ns: at once
};
void memo_upkeep_owned_(struct shard *s, void *upkeep_step);

// Reclaim what is retired and no longer pinned.
void memo_reclaim_owned_(struct shard *s, void *unused);

void memo_stats_owned_(struct shard *s, void *arg);

#endif  // MEMO_MEMO_STEP_H_
