// Time: 64-bit nanoseconds of one monotonic clock.  Every deadline of sync/ is
// absolute, on this clock.
#ifndef MEMO_SYNC_CLOCK_H_
#define MEMO_SYNC_CLOCK_H_

#include <stdint.h>

#include "sync/annotate.h"

// The deadline that never comes.
#define SYNC_NEVER INT64_MAX

#ifdef __cplusplus
extern "C" {
#endif

// Return what time it is: CLOCK_MONOTONIC; on the deterministic scheduler,
// its virtual time, which moves when a wait times out.
SYNC_API int64_t sync_clock_now_ns(void);

// Return a + b, or SYNC_NEVER where that is too large.  b is not negative.
SYNC_INLINE int64_t sync_clock_add_ns(int64_t a, int64_t b) {
    return a > SYNC_NEVER - b ? SYNC_NEVER : a + b;
}

#ifdef __cplusplus
}
#endif

#endif  // MEMO_SYNC_CLOCK_H_
