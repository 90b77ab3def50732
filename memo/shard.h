// What the sources that write shards share: shard.c, resident.c, retire.c, begin.c
// and end.c.  All of it is the owner's: plain code of a single writer.  Who that
// is, the engine decides.  Nothing here calls a user's function, allocates or
// frees: what becomes free is left in s->garbage.
#ifndef MEMO_MEMO_SHARD_H_
#define MEMO_MEMO_SHARD_H_

#include "memo/internal.h"
#include "memo/link.h"
#include "memo/table.h"

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

// ---- retire.c

// Whether some of s->garbage will be left when a thread has taken its part.
int memo_leaves_garbage_owned_(struct shard *s);

// Keep INVARIANT(room) when one more is going to be resident.  0 or MEMO_ENOMEM.
int memo_retired_reserve_owned_(struct shard *s);

// e, which has left the table, is retired: destroyed when nobody pins it.
void memo_retire_owned_(struct shard *s, struct entry *e,
                        enum memo_cause cause);

// ---- begin.c

void memo_leave_map_owned_(struct shard *s, struct memo_load *f);
void memo_leave_list_owned_(struct shard *s, struct memo_load *f);

// Detach f, which is attached.
void memo_detach_flight_owned_(struct shard *s, struct memo_load *f);

// The entry that f was to replace, if it is still there, and not out of date.
struct entry *memo_old_of_owned_(const struct memo_load *f);

#endif  // MEMO_MEMO_SHARD_H_
