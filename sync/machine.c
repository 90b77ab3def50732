#include "sync/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sync/atomic.h"
#include "sync/clock.h"
#include "sync/error.h"
#include "sync/fault.h"

// The system is called by syscall() where the function of its name is a point at
// which a thread may be cancelled: who calls these may hold locks, or be half way
// in.

// The scheduler brings its own of what must be the same in every execution.
#ifndef SYNC_SCHED

void *sync_pages_reserve(size_t size) {
    void *p;

    if (sync_fault_()) {
        return NULL;
    }
    p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

int sync_pages_commit(void *p, size_t size) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)p & ~(page - 1);
    uintptr_t end = ((uintptr_t)p + size + page - 1) & ~(page - 1);

    if (sync_fault_()) {
        return SYNC_ENOMEM;
    }
    if (mprotect((void *)begin, end - begin, PROT_READ | PROT_WRITE) != 0) {
        return SYNC_ENOMEM;
    }
    return 0;
}

void sync_pages_release(void *p, size_t size) {
    (void)munmap(p, size);
}

#endif

int sync_bell_new(void) {
    int fd = sync_fault_() ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    return fd < 0 ? SYNC_EAGAIN : fd;
}

void sync_bell_ring(int fd) {
    uint64_t one = 1;

    // It fails only if it rings 2^64 - 2 times already, or on a signal.
    while (syscall(SYS_write, fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void sync_bell_hush(int fd) {
    uint64_t count;

    while (syscall(SYS_read, fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}

void sync_bell_free(int fd) {
    (void)syscall(SYS_close, fd);
}

// Give the bell the number of another descriptor, in its place, or close both.
static int renumber(int bell, int fd) {
    int renewed;

    do {
        renewed = dup3(bell, fd, O_CLOEXEC);
    } while (renewed < 0 && errno == EINTR);
    if (renewed < 0) {
        sync_bell_free(fd);
    }
    sync_bell_free(bell);
    return renewed;
}

int sync_bell_renew(int fd) {
    int fresh = sync_bell_new();

    if (fresh < 0) {
        sync_bell_free(fd);  // which makes room for one
        fresh = sync_bell_new();
    }
    if (fresh < 0) {
        return -1;
    }
    return fresh == fd ? fd : renumber(fresh, fd);
}

#ifndef SYNC_SCHED

int sync_cores(void) {
    cpu_set_t set;
    long n;

    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        return CPU_COUNT(&set);
    }
    n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

void sync_random(void *p, size_t size) {
    unsigned char *bytes = p;
    uint64_t x = (uint64_t)(uintptr_t)p ^ (uint64_t)sync_clock_now_ns();
    size_t i = 0;

    while (i < size) {
        long n = syscall(SYS_getrandom, bytes + i, size - i, 0);
        if (n > 0) {
            i += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            break;
        }
    }
    // A kernel without getrandom(): the clock, and where things happen to lie.
    for (; i < size; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (unsigned char)(x >> 56);
    }
}

#endif
