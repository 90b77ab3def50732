// Links: what a result hangs on besides its own key.
//
// A source is a tag, or a key that loads of other keys have used.  A link says
// that a result has a source, and as of when; it holds as long as the source
// hasn't changed since.  Nothing leads from a source to its results: a change
// marks the source, and whoever meets a result looks at its links.  So a change
// costs the same however many results hang on it, and there is nothing to walk
// and no cycle to fall into: a result takes over the links of what it was made
// from.
//
// Nothing of this exists in a cache that has neither tags nor dependencies.
#ifndef MEMO_MEMO_LINK_H_
#define MEMO_MEMO_LINK_H_

#include "memo/fork.h"
#include "memo/memo.h"
#include "memo/trie.h"
#include "sync/atomic.h"

struct entry;
struct memo;

enum source_kind { SOURCE_TAG = 0, SOURCE_KEY = 1 };

struct link_set;
struct sources;

// A tag or a key that is in use: by entries, and by loads in progress.
struct source {
    void *child[TRIE_WAYS];  // Guarded by mu of its stripe: see trie.h

    // Const after init.
    struct sources *all;
    uint64_t hash;  // of kind and bytes
    enum source_kind kind;
    uint32_t size;

    // Atomic.  See ORDER(change) in link.c.
    sync_atomic_u64 changed;  // when last, on the clock of all
    sync_atomic_u32 refs;     // links, and users passing by

    unsigned char bytes[];  // Const after init.
};

// What a link looks like in an entry.
struct link {
    struct source *source;  // with a reference
    uint64_t as_of;
};

// The links of an entry.
struct links {
    // Const after init.
    struct sources *all;
    uint32_t n, room;  // at least 1, once it is attached
    uint64_t oldest;   // the least as_of
    int64_t until_ns;  // what it was made from is no longer fresh then
    // Atomic: when all links have last been seen to hold; where there are many.
    sync_atomic_u64 held;
    struct link link[];  // Const after init.
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

// Whether a link made as_of holds.
int memo_link_holds_(struct source *source, uint64_t as_of);

// How many links the changes so far have broken, about.
uint64_t memo_source_concerned_(struct memo *m);

void memo_source_stats_(struct memo *m, struct memo_stats *stats);

// Whether INVARIANT(sources) holds: see link.c.
int memo_sources_are_sound_(struct memo *m);

// Give everything back.
void memo_sources_free_(struct memo *m);
void memo_sources_fork_(struct memo *m, enum fork_phase phase);

// ---- links of an entry

// Make room for n links, to be added; NULL: out of memory.
struct links *memo_links_new_(struct memo *m, size_t n);

// Add a link; takes a reference of its own to source.
void memo_links_add_(struct links *links, struct source *source,
                     uint64_t as_of);

// Where e, which is ENTRY_LINKED, keeps its links; NULL before it has them.
struct links **memo_entry_links_(const struct entry *e);

// Give *at, of which nobody knows but its maker, those links.  If it has no room
// for them, another entry takes its place.  0 or MEMO_ENOMEM.
int memo_entry_link_(struct entry **at, struct links *links);

// When the first of what e was made from is no longer fresh, or was not when e was
// made; MEMO_NEVER: doesn't matter.
int64_t memo_links_until_(const struct entry *e);

// Link *e, which nobody knows, to tags; as of now.  0 or MEMO_ENOMEM; *e may be
// another entry then.
int memo_link_tags_(struct memo *m, struct entry **e,
                    const struct memo_bytes tags[], size_t n);

size_t memo_links_bytes_(const struct memo *m, const struct links *links);
void memo_links_free_(struct memo *m, struct links *links);

// ---- links of a load
//
// Written by the load, one thread at a time; read by the owner of its shard.

void memo_link_set_free_(struct memo *m, struct link_set *set);

// Give an entry that f has made the links of f, if there are any; *e may be
// another entry then.  0, or MEMO_ENOMEM and nothing has changed.
int memo_link_result_(struct memo_load *f, struct entry **e);

// Whether what f is making is out of date already.
int memo_is_outdated_owned_(struct memo_load *f);

// ---- of what runs in this thread, where all loads depend on what they get

// Link the loads in this thread that use a key to it, as of now; to be called
// before it is looked for.  0 or MEMO_ENOMEM.
int memo_use_key_(struct memo *m, uint64_t hash, const void *key,
                  size_t key_size);

// Link them to what the value that was found is linked to.  0; or MEMO_ENOMEM,
// and the value is released.
int memo_use_value_(struct memo *m, struct memo_value *v);

#endif  // MEMO_MEMO_LINK_H_
