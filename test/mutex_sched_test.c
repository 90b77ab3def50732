// sync_mutex, in all interleavings of three threads, and of five with few
// preemptions: one at a time, seeing what the last one did; and nobody sleeps
// while it is free.
#include "sync/mutex.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "MutexSched";

static struct sync_mutex *mutex;
static int plain;
static sync_atomic_u32 n_through;

static void setup(void *arg) {
    (void)arg;
    mutex = sync_alloc(sizeof *mutex);
    sync_mutex_init(mutex);
    plain = 0;
    SYNC_INIT(&n_through, 0);
}

static void count(void) {
    SYNC_DATA_WRITE(&plain);
    plain++;
}

static void lock_and_count(void *arg, int id) {
    (void)arg;
    (void)id;
    sync_mutex_lock(mutex);
    count();
    sync_mutex_unlock(mutex);
}

static void twice(void *arg, int id) {
    lock_and_count(arg, id);
    lock_and_count(arg, id);
}

static void check(void *arg) {
    SCHED_ASSERT(plain == *(int *)arg);
    SCHED_ASSERT(sync_mutex_trylock(mutex));
}

static void try_and_count(void *arg, int id) {
    if (id > 0) {
        lock_and_count(arg, id);
    } else if (sync_mutex_trylock(mutex)) {
        count();
        sync_mutex_unlock(mutex);
    }
}

static void check_tried(void *arg) {
    (void)arg;
    SCHED_ASSERT(plain == 2 || plain == 3);
}

// The last to hold the mutex frees it, knowing that it is the last.
static void lock_and_free(void *arg, int id) {
    (void)arg;
    (void)id;
    sync_mutex_lock(mutex);
    count();
    int is_last = plain == 2;
    sync_mutex_unlock(mutex);
    if (is_last) {
        sync_free(mutex);
    }
}

static int n2 = 2, n3 = 3, n4 = 4, n5 = 5;

SCHED_CASES(
    {"TwoEveryInterleaving",
     {2, setup, twice, check, &n4},
     {.mode = SCHED_EVERY}},
    {"Three", {3, setup, lock_and_count, check, &n3}, {.mode = SCHED_ALL}},
    {"TwoTwice", {2, setup, twice, check, &n4}, {.mode = SCHED_ALL}},
    {"Two", {2, setup, lock_and_count, check, &n2}, {.mode = SCHED_ALL}},
    {"TwoAndATry",
     {3, setup, try_and_count, check_tried, NULL},
     {.mode = SCHED_ALL}},
    {"LockAndFree", {2, setup, lock_and_free, NULL, NULL}, {.mode = SCHED_ALL}},
    {"FiveTwoPreemptions",
     {5, setup, lock_and_count, check, &n5},
     {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 1500000}});
