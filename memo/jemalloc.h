// An allocator for a cache: a jemalloc arena of its own.
//
//     struct memo_jemalloc *j;
//
//     if (memo_jemalloc_new(&j) == 0) {
//         struct memo_allocator allocator = memo_jemalloc_allocator(j);
//         options.allocator = &allocator;
//         ...
//         memo_jemalloc_leave(j);
//         memo_free(m);
//         memo_jemalloc_free(j);
//     }
//
// What it is good for.  Sizes are exact: max_bytes counts what jemalloc's size
// classes really take, and there is no header on each block.  A cache doesn't
// share pages with the rest of the program, so neither fragments the other, and
// its memory can be measured.  And when it ends, all of it goes back to the
// system at once.
//
// Bazel target //memo:jemalloc; needs jemalloc 5, as Debian and Ubuntu have it.
// Linking jemalloc may replace malloc in the whole program.
#ifndef MEMO_MEMO_JEMALLOC_H_
#define MEMO_MEMO_JEMALLOC_H_

#include "memo/memo.h"

#ifdef __cplusplus
extern "C" {
#endif

struct memo_jemalloc;  // an arena

// Make an arena.  Return 0 and set *out; MEMO_EINVAL (out is NULL); or
// MEMO_ENOMEM: no memory, or jemalloc has no arena left (there are about
// 2,000).
//
// Owner:   the caller, who ends it with memo_jemalloc_free().
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_jemalloc_new(struct memo_jemalloc **out);

// The allocator to give to memo_new(), of one cache or of several.  j may be
// freed while they live; their memory is then theirs alone.  If j is NULL it has no
// functions, and memo_new() refuses it.
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API struct memo_allocator memo_jemalloc_allocator(struct memo_jemalloc *j);

// What the arena says of itself.  Fill *out, of which the caller has set size.
// Return 0; MEMO_EINVAL (a NULL, a size that is none); or MEMO_ENOENT: jemalloc
// has been built without statistics.
//
// Threads: any.  Blocks: for jemalloc's locks.  Locks: none.
struct memo_jemalloc_stats {
    size_t size;         // in: sizeof(struct memo_jemalloc_stats)
    uint64_t blocks;     // in use
    uint64_t allocated;  // bytes of these, as good_size counts them
    uint64_t active;     // bytes of the pages that they are on
    uint64_t resident;   // bytes of memory, jemalloc's own included
};
MEMO_SAME_NAME_BEGIN_
MEMO_API int memo_jemalloc_stats(struct memo_jemalloc *j,
                                 struct memo_jemalloc_stats *out);
MEMO_SAME_NAME_END_

// From now on free nothing piece by piece: the caches in the arena are about to
// be freed, and memo_jemalloc_free() gives all of it back at once.
//
// memo_free() still walks through the cache, for values may be held, and
// destructors must run; but it then has no more to do for each than that.
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API void memo_jemalloc_leave(struct memo_jemalloc *j);

// End an arena.  Return 0: it is gone, and with it its memory.  Or MEMO_EBUSY:
// something in it is still in use, a cache that isn't freed or a value that is
// held; nothing of it becomes invalid, and the arena goes with the last of it,
// in the thread that lets go of that.  NULL is allowed.
//
// Owner:   j is gone in either case.
// Threads: any, but no other call on j may be in progress or follow.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_jemalloc_free(struct memo_jemalloc *j);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_MEMO_JEMALLOC_H_
