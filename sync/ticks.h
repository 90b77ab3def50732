// Time without asking the system, for those who read it often: a thread that has
// read the clock knows for a while, by counting the processor's ticks, what time
// it surely isn't yet.
//
// The while is a window, so many ticks from the reading on, and a time that the
// clock won't show before the window's end.  Windows are short, so that nothing
// needs to be known of the rate of ticks but a lower bound, and so that a clock
// that is slewed meanwhile makes no difference.
//
// Only where the kernel makes its clock from these same ticks; elsewhere no
// window is ever open.
#ifndef MEMO_SYNC_TICKS_H_
#define MEMO_SYNC_TICKS_H_

#include <stdint.h>

#include "sync/annotate.h"

#ifdef __cplusplus
extern "C" {
#endif

// Owned by one thread.  One of zeros was over long ago.
struct sync_ticks_window {
    uint64_t from;
    int64_t limit_ns;
};

// The length of a window, in ticks.
#if defined(__aarch64__)
#define SYNC_TICKS_WINDOW ((uint64_t)1 << 14)
#else
#define SYNC_TICKS_WINDOW ((uint64_t)1 << 19)
#endif

SYNC_INLINE uint64_t sync_ticks_now(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return UINT64_MAX;  // in no window
#endif
}

// Whether the window says that sync_clock_now_ns() would return less than at_ns
// now.  If not, read the clock.
SYNC_INLINE int sync_ticks_before(const struct sync_ticks_window *w,
                                  int64_t at_ns) {
    return w->limit_ns <= at_ns &&
           sync_ticks_now() - w->from < SYNC_TICKS_WINDOW;
}

// Return sync_clock_now_ns(), and open the window if this machine can.
//
// Threads: the window's owner.  Blocks: no.  Locks: none.
SYNC_API int64_t sync_ticks_read_clock(struct sync_ticks_window *w);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_TICKS_H_
