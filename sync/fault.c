#include "sync/fault.h"

#ifdef SYNC_FAULT

#include <stdatomic.h>

// Not through atomic.h: counting is no part of what the scheduler explores.
static _Atomic(uint64_t) fault_count;
static _Atomic(uint64_t) fault_at;
static _Atomic(int) fault_sticky;

void sync_fault_set(uint64_t n, int sticky) {
    atomic_store(&fault_at, n);
    atomic_store(&fault_sticky, sticky);
    atomic_store(&fault_count, 0);
}

uint64_t sync_fault_count(void) {
    return atomic_load(&fault_count);
}

int sync_fault_(void) {
    uint64_t mine = atomic_fetch_add(&fault_count, 1) + 1;
    uint64_t n = atomic_load(&fault_at);
    return n != 0 && (mine == n || (mine > n && atomic_load(&fault_sticky)));
}

#endif
