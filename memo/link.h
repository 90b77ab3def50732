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

#include <stddef.h>
#include <stdint.h>

#include "memo/memo.h"
#include "sync/atomic.h"

struct entry;
struct memo;
struct source;
struct sources;

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

// Whether a link made as_of holds.
int memo_link_holds_(struct source *source, uint64_t as_of);

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

// The same, and the links are given back if that fails.
int memo_links_attach_(struct memo *m, struct entry **e, struct links *links);

// When the first of what e was made from is no longer fresh, or was not when e was
// made; MEMO_NEVER: doesn't matter.
int64_t memo_links_until_(const struct entry *e);

// Link *e, which nobody knows, to tags; as of now.  0 or MEMO_ENOMEM; *e may be
// another entry then.
int memo_link_tags_(struct memo *m, struct entry **e,
                    const struct memo_bytes tags[], size_t n);

size_t memo_links_bytes_(const struct memo *m, const struct links *links);
void memo_links_free_(struct memo *m, struct links *links);

#endif  // MEMO_MEMO_LINK_H_
