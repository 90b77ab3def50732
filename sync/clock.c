#include "sync/clock.h"

// The scheduler brings its own.
#ifndef SYNC_SCHED

#include <time.h>

int64_t sync_clock_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
