// Ghosts: what a bounded cache remembers of the keys that it evicted lately.
//
// A ghost is 21 bits: part of the key's hash, which of two kinds it is, and when
// that was, on a clock of its kind.  Two keys may be taken for each other, and times
// are coarse: a ghost is a hint.
#ifndef MEMO_MEMO_GHOST_H_
#define MEMO_MEMO_GHOST_H_

#include <stddef.h>
#include <stdint.h>

enum ghost_kind {
    GHOST_NONE = 0,
    GHOST_OF_WINDOW = 1,
    GHOST_OF_MAIN = 2,
};

// age: how far the clock of its kind has moved since, to 1/128 of what was said to
// be long; what is older than 4 times that may seem younger.
struct ghost {
    enum ghost_kind kind;
    uint64_t age;
};

// What time it is for each kind.
struct ghost_clocks {
    uint64_t of_window, of_main;
};

// Of one shard.  Owned by its owner.
struct ghosts {
    unsigned char *buckets;
    uint64_t n_buckets, max_buckets;
    unsigned unit_shift;  // what times are kept in
};

// None yet, to be kept in the size bytes at pages, which are reserved.
void memo_ghosts_init_(struct ghosts *g, void *pages, size_t size);

// What is a long time; while there are none yet.
void memo_ghosts_set_long_(struct ghosts *g, uint64_t time);

// What there is to remember of a cache of n entries, in bytes.
uint64_t memo_ghosts_bytes_for_(uint64_t n);

// Make room for n entries' ghosts, as far as there is memory.  It never
// shrinks; it grows by a quarter or more, and forgets what there was.
void memo_ghosts_fit_(struct ghosts *g, uint64_t n);

// Remember hash, in the place of the oldest that share its bucket.
void memo_ghosts_put_(struct ghosts *g, uint64_t hash, struct ghost ghost,
                      struct ghost_clocks now);

// Return the ghost of hash, and forget it.
struct ghost memo_ghosts_take_(struct ghosts *g, uint64_t hash,
                               struct ghost_clocks now);

// The memory in use.
uint64_t memo_ghosts_bytes_(const struct ghosts *g);

#endif  // MEMO_MEMO_GHOST_H_
