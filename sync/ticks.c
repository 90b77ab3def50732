#include "sync/ticks.h"

#include "sync/atomic.h"
#include "sync/clock.h"

#if !defined(SYNC_SCHED) && (defined(__x86_64__) || defined(__aarch64__))

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#define CLOCKSOURCE "tsc\n"
#define INVARIANT_TSC (1u << 8)  // leaf 0x80000007, edx
#else
#define CLOCKSOURCE "arch_sys_counter\n"
#endif

// What a window lasts at most, by CLOCK_MONOTONIC, nanoseconds.  0: not yet
// known; -1: there are no windows.
//
// ORDER: none; whoever finds it unknown finds it out himself.
static SYNC_GLOBAL SYNC_ATOMIC(int64_t) longest;

// Whether the kernel makes its clock from the ticks.  (syscall(): a thread must not
// be cancelled here, see machine.c.)
static int is_clocksource(void) {
    static const char path[] =
        "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    char name[32];
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long n;

    if (fd < 0) {
        return 0;
    }
    n = syscall(SYS_read, fd, name, sizeof(name));
    (void)syscall(SYS_close, fd);
    return n == (long)strlen(CLOCKSOURCE) &&
           memcmp(name, CLOCKSOURCE, (size_t)n) == 0;
}

#if defined(__x86_64__)

// No processor whose ticks are of an even rate is as slow as this, a Hz.
#define SLOWEST ((int64_t)600 * 1000 * 1000)

static int64_t ticks_a_second(void) {
    unsigned a, b, c, d = 0;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & INVARIANT_TSC)
               ? SLOWEST
               : 0;
}

#else

static int64_t ticks_a_second(void) {
    uint64_t rate;

    __asm__("mrs %0, cntfrq_el0" : "=r"(rate));
    return (int64_t)rate;
}

#endif

// The clock may be slewed by a tenth; a sixth more leaves some for the time
// between two instructions that the processor does out of order.
static int64_t find_longest(void) {
    int64_t rate = ticks_a_second();

    if (rate <= 0 || !is_clocksource()) {
        return -1;
    }
    return (int64_t)(SYNC_TICKS_WINDOW * 1000000000 / (uint64_t)rate) * 7 / 6;
}

int64_t sync_ticks_read_clock(struct sync_ticks_window *w) {
    int64_t most = SYNC_LOAD(&longest), now_ns;
    uint64_t from;

    if (SYNC_UNLIKELY(most == 0)) {
        most = find_longest();
        SYNC_STORE(&longest, most);
    }
    if (most < 0) {
        return sync_clock_now_ns();
    }
    from = sync_ticks_now();  // before the clock: the window ends the sooner
    now_ns = sync_clock_now_ns();
    w->from = from;
    w->limit_ns = sync_clock_add_ns(now_ns, most);
    return now_ns;
}

#else

int64_t sync_ticks_read_clock(struct sync_ticks_window *w) {
    (void)w;
    return sync_clock_now_ns();
}

#endif
