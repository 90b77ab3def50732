// What explorations of the cache share: a cache on the scheduler's memory, which
// the last of its users frees, and of which nothing is left then.
#ifndef MEMO_TEST_SUPPORT_MEMO_SCHED_H_
#define MEMO_TEST_SUPPORT_MEMO_SCHED_H_

#include <string.h>

#include "memo/memo.h"
#include "sync/pin.h"
#include "test/support/sched_cases.h"

static struct memo *memo;
static sync_atomic_u32 n_users;  // who takes it to zero frees the cache
static sync_atomic_u32 epoch;    // a value is that in which its load began

static void *sched_alloc(void *state, size_t size) {
    (void)state;
    return sync_alloc(size);
}

static void sched_release(void *state, void *p, size_t size) {
    (void)state;
    (void)size;
    sync_free(p);
}

static int64_t sched_now(void *state) {
    (void)state;
    return sync_clock_now_ns();
}

// A cache with these options, on the scheduler's clock if they say nothing of it.
static inline struct memo *new_memo(struct memo_options options) {
    static const uint64_t seed[4] = {1, 2, 3, 4};
    struct memo_allocator allocator = {.alloc = sched_alloc,
                                       .free = sched_release};
    struct memo_clock clock = {sched_now, NULL};
    struct memo *m = NULL;
    options.size = sizeof options;
    options.allocator = &allocator;
    if (options.clock == NULL) {
        options.clock = &clock;
    }
    if (options.hash_seed == NULL) {
        options.hash_seed = seed;
    }
    SCHED_ASSERT(memo_new(&options, &m) == 0);
    return m;
}

static inline void leave(void) {
    if (SYNC_SUB_ACQREL(&n_users, 1) == 1) {
        memo_check(memo);
        memo_free(memo);
    }
}

static inline uint32_t value_of(struct memo_value *v) {
    uint32_t value;
    SCHED_ASSERT(v->size == sizeof value);
    SYNC_DATA_READ(v->data);
    memcpy(&value, v->data, sizeof value);
    memo_release(v);
    return value;
}

static inline uint32_t get(const char *key) {
    struct memo_value v;
    SCHED_ASSERT(memo_get(memo, key, strlen(key), &v) == 0);
    return value_of(&v);
}

// Nothing is left of memo; another cache is made for that, and freed.
static inline void check_gone(struct memo *another) {
    // A release that crossed with the last scan has left its cache to the next.
    memo_free(another);
    // The records of pins stay, and this thread's wish to give its own up.
    SCHED_ASSERT(sched_live_blocks() <= (int)sync_pin_records() + 1);
}

#endif  // MEMO_TEST_SUPPORT_MEMO_SCHED_H_
