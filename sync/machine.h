// What the machine is asked for besides time, threads and atomics: address
// space, a descriptor to wake an event loop, the number of cores, random bytes.
#ifndef MEMO_SYNC_MACHINE_H_
#define MEMO_SYNC_MACHINE_H_

#include <stddef.h>
#include <stdint.h>

#include "sync/annotate.h"

#ifdef __cplusplus
extern "C" {
#endif

// Reserve size bytes of address space, page aligned, that can't be touched yet.
// Costs no memory.  NULL: the process may not have so much.
//
// Owner:   the caller, who gives it back with sync_pages_release().
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API void *sync_pages_reserve(size_t size);

// Make the size bytes at p, inside a reservation, readable and writable; they
// read as zero until written.  Both are rounded outwards to whole pages.
// Return 0 or SYNC_ENOMEM, and then nothing has changed.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_pages_commit(void *p, size_t size);

// Give a whole reservation back.
SYNC_API void sync_pages_release(void *p, size_t size);

// A bell: a descriptor that poll() and its like find readable while it rings.
// sync_bell_new() returns the descriptor, or SYNC_EAGAIN if the system has no
// more.  Ringing and hushing may be repeated, from any thread.
SYNC_API int sync_bell_new(void);
SYNC_API void sync_bell_ring(int fd);
SYNC_API void sync_bell_hush(int fd);
SYNC_API void sync_bell_free(int fd);

// In the child of a fork, where fd is still the parent's bell too: put a silent
// one of the child's own in its place, with the same number.  Return fd; or -1 if
// the system has no more, and fd is closed.
//
// Threads: one.  Blocks: no.  Locks: none.
SYNC_API int sync_bell_renew(int fd);

// The number of cores this process may run on, at least 1.
SYNC_API int sync_cores(void);

// Fill p with size random bytes, fit for a key.
SYNC_API void sync_random(void *p, size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_MACHINE_H_
