// Queues of short names, first in, first out, and piles, in no order.  A name stands
// for an entry, which can be found by it: so the entry itself needs no links.  When an
// entry leaves the middle of a queue, its name stays behind, and stands for nothing.
//
// A name takes 4 bytes, and a fifteenth more.  All queues of a policy, and all piles
// of a wheel, share a pool of chunks, which never gives memory back.
#ifndef MEMO_MEMO_NAMES_H_
#define MEMO_MEMO_NAMES_H_

#include <stddef.h>
#include <stdint.h>

struct names_chunk;

// Owned by the shard's owner, like what follows.
//
// INVARIANT(chunks)  There are enough chunks for what is in the queues and piles,
//     however it is spread over them, and for what more has been reserved.
struct names_pool {
    struct names_chunk *chunks;  // by number; 0 is none
    uint32_t most;               // there are pages for
    uint32_t committed;
    uint32_t in_part;  // chunks that aren't full, at most
    uint32_t used;  // numbers given out
    uint32_t most_used;  // that ever were
    uint32_t free;  // a list, linked by next; 0: empty
    uint64_t n;     // names in all queues and piles
};

// All zeros is an empty queue.
struct names {
    uint32_t oldest, newest;  // chunks; 0: none
    uint32_t first, end;      // the oldest name's place; behind the newest's
    uint32_t tidied;          // a chunk between: the next to be looked at, or 0
    uint64_t n;
};

// An empty pool in so many bytes of reserved pages, for so many queues and piles.
void memo_names_init_(struct names_pool *pool, void *pages, size_t size,
                      uint32_t queues, uint32_t piles);

// Make room for so many more names in one or the other of them.  0 or MEMO_ENOMEM.
// Moving a name from one queue, or pile, to another needs none.
int memo_names_reserve_(struct names_pool *pool, uint64_t more);

// Put a name, not 0, into a queue, for which there is room.
void memo_names_push_(struct names_pool *pool, struct names *q, uint32_t name);

// The oldest name; 0: the queue is empty.
uint32_t memo_names_oldest_(const struct names_pool *pool,
                            const struct names *q);

// Take the oldest name from a queue that isn't empty.
void memo_names_pop_(struct names_pool *pool, struct names *q);

// Look at a bounded number of names and forget those that no longer stand for
// anything; the others stay in their order.
void memo_names_tidy_(struct names_pool *pool, struct names *q,
                      int (*stands)(void *arg, uint32_t name), void *arg);

// Call each(arg, name) from the oldest to the newest.
void memo_names_walk_(const struct names_pool *pool, const struct names *q,
                      void (*each)(void *arg, uint32_t name), void *arg);

// A pile is a uint32_t, 0 if it is empty.  Put a name, not 0, for which there is room,
// on a pile; or take the newest, 0 if there is none.
void memo_names_put_(struct names_pool *pool, uint32_t *pile, uint32_t name);
uint32_t memo_names_take_(struct names_pool *pool, uint32_t *pile);

// Call each(arg, name) for the names of a pile.
void memo_names_walk_pile_(const struct names_pool *pool, uint32_t pile,
                           void (*each)(void *arg, uint32_t name), void *arg);

// Forget all names, however many; the caller forgets all queues and piles.
void memo_names_forget_(struct names_pool *pool);

// The memory that was ever in use.
uint64_t memo_names_bytes_(const struct names_pool *pool);

#endif  // MEMO_MEMO_NAMES_H_
