// What results can hang on: a tag, or a key that loads of other keys have used.
//
// It exists as long as something is linked to it.  A change of one that doesn't
// exist must still be known to loads that have begun before, for they may come to
// link to it; it is remembered until they have ended.
//
// Time is counted in changes: the clock moves when a source changes, once or twice, at
// no other time.  A load remembers what it said when it began.
//
//   ORDER(change) do:A     the change itself: a key's entry leaves the table, its
//                          flight the map
//                 clock:B  acquire-release increment of clock; source->changed
//                 use:C    acquire load of clock: as_of
//                 find:D   look for the key's entry, or flight
//       If use:C reads what clock:B wrote, or something later, find:D sees do:A:
//       what it finds is newer than the change.  Else as_of is less than changed:
//       the link won't hold.
//
//       Calls that begin after a change has returned are ordered after it by
//       whatever told them; so they may load changed relaxed, and see it.
//
//   ORDER(held)    told:A   source->changed, or all_changed, stored; then an
//                           acquire-release increment of clock
//                  now:B    acquire load of clock
//                  see:C    loads of changed and all_changed; then links->held says
//                           what now:B read
//       If see:C doesn't see what was stored before told:A, now:B has read less than
//       told:A wrote; and nobody who looks after told:A takes such a note for true.
//
//   ORDER(sources) made:A  release compare-and-swap of memo.sources
//                  use:B   acquire load of it
//       If use:B isn't NULL, it leads to initialized memory.
//
//   ORDER(first)   made:A  memo.sources stored, then a heavy fence
//                  find:B  look for the key's entry, or flight
//                  do:C    the change of a key: see do:A above
//                  use:D   load of memo.sources
//       Store-buffering: of find:B and use:D at least one sees the other side's
//       store.  So a change that the first source comes too late for is seen.
#ifndef MEMO_MEMO_SOURCE_H_
#define MEMO_MEMO_SOURCE_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/fork.h"
#include "memo/trie.h"
#include "sync/atomic.h"

struct memo;
struct memo_stats;

enum source_kind { SOURCE_TAG = 0, SOURCE_KEY = 1 };

struct sources;

// A tag or a key that is in use: by entries, and by loads in progress.
struct source {
    void *child[TRIE_WAYS];  // Guarded by mu of its stripe: see trie.h

    // Const after init.
    struct sources *all;
    uint64_t hash;  // of kind and bytes
    enum source_kind kind;
    uint32_t size;

    // Atomic.  ORDER(change)
    sync_atomic_u64 changed;  // when last, on the clock of all
    sync_atomic_u32 refs;     // links, and users passing by

    unsigned char bytes[];  // Const after init.
};

// A source by name.
struct source_name {
    enum source_kind kind;
    uint64_t hash;
    const void *bytes;
    size_t size;
};

struct source_name memo_tag_name_(const struct memo *m, const void *tag,
                                  size_t size);
struct source_name memo_key_name_(uint64_t hash, const void *key, size_t size);

// Return the source of that name, made if there is none, with a reference for the
// caller; NULL: out of memory.
//
// It is as if it had always been there: its last change is known as far back as
// any running load can ask for.
struct source *memo_source_get_(struct memo *m, const struct source_name *name);

// Drop a reference.
void memo_source_unref_(struct memo *m, struct source *source);

// What the clock says now.  What is found afterwards can be linked as of then.
uint64_t memo_source_clock_(struct memo *m);

// Whether anything may have changed since the clock said began.
int memo_source_moved_(struct memo *m, uint64_t began);

// Everything made from that source, as it was until now, is out of date.  The
// first change of all returns MEMO_ENOMEM if there is no memory.
int memo_source_change_(struct memo *m, const struct source_name *name);

// The same for a key, after that was changed itself.  Does nothing in a cache
// without sources.
void memo_key_changed_(struct memo *m, uint64_t hash, const void *key,
                       size_t key_size);

// The same for all keys.
void memo_all_keys_changed_(struct memo *m);

// How many links the changes so far have broken, about.
uint64_t memo_source_concerned_(struct memo *m);

void memo_source_stats_(struct memo *m, struct memo_stats *stats);

// Whether INVARIANT(sources) holds: see stripe.h.
int memo_sources_are_sound_(struct memo *m);

// Give everything back.
void memo_sources_free_(struct memo *m);
void memo_sources_fork_(struct memo *m, enum fork_phase phase);

#endif  // MEMO_MEMO_SOURCE_H_
