#include "memo/internal.h"

#include <stdlib.h>

#include "sync/clock.h"

// Where memory and time come from, unless the options say.

static void *alloc_by_malloc(void *state, size_t size) {
    (void)state;
    return malloc(size);
}

static void free_by_malloc(void *state, void *p, size_t size) {
    (void)state;
    (void)size;
    free(p);
}

// What an allocation takes, as jemalloc and tcmalloc say it; not there in others.
extern size_t nallocx(size_t size, int flags) __attribute__((weak));

// As the malloc says that the program is linked with; else what glibc's takes: a
// word before each block, and multiples of two.
static size_t good_size_of_malloc(void *state, size_t size) {
    const size_t word = sizeof(size_t), least = 4 * word;
    size_t taken = (size + word + 2 * word - 1) & ~(2 * word - 1);

    (void)state;
    if (nallocx != NULL && size != 0) {
        size_t good = nallocx(size, 0);
        return good == 0 ? size : good;
    }
    return taken < least ? least : taken;
}

const struct memo_allocator memo_by_malloc_ = {
    alloc_by_malloc, free_by_malloc, NULL, good_size_of_malloc};

size_t memo_good_size_(const struct memo *m, size_t size) {
    return m->allocator.good_size == NULL
               ? size
               : m->allocator.good_size(m->allocator.state, size);
}

void *memo_alloc_(struct memo *m, size_t size) {
    return m->allocator.alloc(m->allocator.state, size);
}

void memo_dealloc_(struct memo *m, void *p, size_t size) {
    m->allocator.free(m->allocator.state, p, size);
}

static int64_t now_by_monotonic_clock(void *state) {
    (void)state;
    return sync_clock_now_ns();
}

const struct memo_clock memo_monotonic_clock_ = {now_by_monotonic_clock, NULL};
