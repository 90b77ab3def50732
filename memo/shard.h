// A part of a cache: the keys whose hashes have some bits in common.  And what its
// owner does, as far as the sources that write shards share it; what others have
// him do is in step.h.
#ifndef MEMO_MEMO_SHARD_H_
#define MEMO_MEMO_SHARD_H_

#include "memo/entry.h"
#include "memo/memo.h"
#include "memo/table.h"
#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/list.h"
#include "sync/mutex.h"

struct ledger;
struct memo_load;
struct policy;
struct wheel;

// INVARIANT(counts)  n_entries, entry_bytes equal what a walk of the table
//     finds, old generations included; n_flights what a walk of the map finds;
//     retired_bytes what a walk of retired finds.
// INVARIANT(swept)  Unless it is sweeping, nothing resident is of an old generation.
// INVARIANT(room)  retired has room for all that is resident, too: so what
//     leaves the table always finds a place.
// INVARIANT(running)  running holds the n_running flights whose loads run, the
//     oldest first.
// INVARIANT(links)  An entry that is LINKED has links, to sources of its cache,
//     to each of which it holds a reference.
struct shard {
    // The line that hits read.  table: see there.
    struct table table;
    sync_atomic_u64 stamp;  // Published by the owner: generation, saturated
                            // uses; ENTRY_NONE, where every hit takes the long
                            // way

    // Const after init.
    struct memo *memo;
    uint64_t mark;  // what says in the words of its entries that they belong here

    struct policy *policy;  // NULL: the cache isn't bounded
    struct wheel *wheel;    // NULL: there are no times
    struct ledger *ledger;

    struct sync_mutex mu;  // leaf: no lock is acquired while it is held

    // Owned by the shard's owner.
    struct memo_load *flights;  // a map
    struct memo_load *alone;    // another
    struct memo_load *detached_flights;
    struct sync_list running;  // all whose loads run, in order of their begin
    struct entry **retired;  // n_retired unlinked ones, not yet found unpinned
    uint64_t retired_pages;  // bytes reserved for it; const after init
    uint64_t retired_room, retired_most;  // committed for; there ever were
    struct entry *garbage;  // dead; to be destroyed when ownership ends
    uint64_t garbage_bytes;
    uint64_t n_retired, retired_bytes;
    uint64_t reclaim_at;  // n_retired that makes the next scan worth it, or so
    uint64_t reclaim_bytes_at;  // many bytes more than the last one left
    uint64_t swept_to;    // groups of the table already swept
    uint64_t n_outdated, outdated_bytes;  // resident, of old generations
    uint64_t unswept_clears;  // generations that may still have entries
    int sweeping;             // entries of old generations may be left
    int written;              // the last step changed the table
    int reclaim_now;          // it retired something with a destructor
    uint64_t n_flights, n_running;
    uint64_t entry_bytes;
    uint64_t n_linked;      // resident entries with links
    uint64_t concerned;     // links broken when the last sweep for them began
    uint64_t joins, loads, load_failures, detached, load_ns;
    uint64_t refreshes, refresh_failures, not_modified, passes, expired;
    int64_t now_ns;   // the latest time that a step was told
    uint64_t random;  // state of a generator
    int closed;

    // Atomic: 1 for being open, and one for each entry and flight that exists.
    sync_atomic_u64 live;
    // Atomic: entries unlinked but not destroyed yet, for whatever reason: still
    // on retired, in garbage, put off by the monitor, referred to, or in their
    // destructors.  ORDER(undead) in entry.c
    sync_atomic_u64 n_undead, undead_bytes;
    sync_atomic_u32 calling;  // Atomic: threads in users' functions, see calling.c
};

// Reclaiming so many retired bytes is worth a scan of all pins.
#define RECLAIM_BYTES ((uint64_t)256 << 10)

// ---- the owner's
//
// What shard.c, resident.c, retire.c, attach.c, begin.c and end.c share: plain code of
// a single writer.  Who that is, the engine decides.  Nothing here calls a user's function,
// allocates or frees: what becomes free is left in s->garbage.

// Times in which steps happen never go back.
SYNC_INLINE void shard_see_time(struct shard *s, int64_t now_ns) {
    s->now_ns = now_ns > s->now_ns ? now_ns : s->now_ns;
}

SYNC_INLINE uint64_t shard_generation(const struct shard *s) {
    return SYNC_LOAD(&s->stamp) & ENTRY_GENERATION;
}

SYNC_INLINE int shard_is_current(const struct shard *s, const struct entry *e) {
    return (SYNC_LOAD(&e->word) & ENTRY_GENERATION) == shard_generation(s);
}

// Whether nothing has made e out of date, but time.
SYNC_INLINE int shard_is_valid(const struct shard *s, const struct entry *e) {
    return shard_is_current(s, e) && entry_holds(e);
}

SYNC_INLINE void shard_count_linked(struct shard *s, const struct entry *e, int n) {
    if (SYNC_LOAD(&e->word) & ENTRY_LINKED) {
        s->n_linked += (uint64_t)n;
    }
}

// ---- resident.c

// Make e resident, in place of what is there.  0, or MEMO_ENOMEM and nothing has
// changed.  The table takes a reference of its own.  If e is too large for the
// cache, only what was there is dropped.
int memo_store_owned_(struct shard *s, struct entry *e, const void *key,
                      size_t key_size, uint64_t hash);

// Drop entry e from the table.
void memo_drop_owned_(struct shard *s, struct table_place place,
                      struct entry *e, enum memo_cause cause);

// Drop what memo_clear() made out of date, or other changes, in up to n groups;
// return in how many.
uint64_t memo_sweep_owned_(struct shard *s, uint64_t n);

// What a step leaves to do: a bounded amount of growing, sweeping, reclaiming.
void memo_tidy_owned_(struct shard *s);

// ---- retire.c

// Take from s->garbage what a thread may destroy in one go.
struct entry *memo_take_garbage_owned_(struct shard *s);

// Whether some of s->garbage will be left when a thread has taken its part.
int memo_leaves_garbage_owned_(struct shard *s);

// Keep INVARIANT(room) when one more is going to be resident.  0 or MEMO_ENOMEM.
int memo_retired_reserve_owned_(struct shard *s);

// e, which has left the table, is retired: destroyed when nobody pins it.
void memo_retire_owned_(struct shard *s, struct entry *e,
                        enum memo_cause cause);

// ---- attach.c

// f, which has been started, has its place; and leaves it.
void memo_attach_flight_owned_(struct shard *s, struct memo_load *f);
void memo_unlink_flight_owned_(struct shard *s, struct memo_load *f);

// Detach f, which is attached, or alone: because its key was changed, or because
// nobody wants it.
void memo_detach_flight_owned_(struct shard *s, struct memo_load *f);
void memo_detach_unwanted_owned_(struct shard *s, struct memo_load *f);

// Detach all those of a key that was changed.
void memo_detach_key_owned_(struct shard *s, const void *key, size_t key_size,
                            uint64_t hash);

// Some flight that is attached, or alone; NULL: there is none.
struct memo_load *memo_any_flight_owned_(const struct shard *s);

// The entry that f was to replace, if it is still there, and not out of date.
struct entry *memo_old_of_owned_(const struct memo_load *f);

#endif  // MEMO_MEMO_SHARD_H_
