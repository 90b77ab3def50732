// The cache itself on the scheduler, both engines: what the contract says of
// flights, waits and invalidation, in many interleavings of two and three
// threads.  (Two calls make a hundred steps, so that not all can be run.)
#include "test/support/memo_sched.h"

const char sched_suite[] = "MemoSched";

enum { LATER = 2000000000 };

struct scene {
    uint32_t engine;
    int n_threads;
};

static struct scene lock2 = {MEMO_ENGINE_LOCK, 2},
                    lock3 = {MEMO_ENGINE_LOCK, 3};
static struct scene monitor2 = {MEMO_ENGINE_MONITOR, 2};

static sync_atomic_u32 n_loads;

// What the listener was told: all plain, for the calls come one at a time.
static uint32_t n_told, last_told;
static int listens;

static int load(void *arg, struct memo_load *l) {
    uint32_t value = SYNC_LOAD_ACQ(&epoch);
    (void)arg;
    (void)SYNC_ADD(&n_loads, 1);
    return memo_load_return(l, &value, sizeof value);
}

static int load_numbered(void *arg, struct memo_load *l) {
    uint32_t value = SYNC_ADD(&n_loads, 1) + 1;
    (void)arg;
    return memo_load_return(l, &value, sizeof value);
}

static void removed(void *state, enum memo_cause cause, const void *key,
                    size_t key_size, const struct memo_value *v) {
    uint32_t value;
    (void)state;
    (void)key;
    (void)key_size;
    SYNC_DATA_READ(v->data);
    memcpy(&value, v->data, sizeof value);
    SYNC_DATA_WRITE(&n_told);
    n_told++;
    // A rejected result was never in the line of those that were resident.
    if (cause != MEMO_REJECTED) {
        SCHED_ASSERT(value > last_told);
        last_told = value;
    }
}

static sync_atomic_u32 n_destroyed;

// L4: gets a value, whose load may be running in another thread.
static void destroy(void *arg, void *data, size_t size) {
    struct memo_value v;
    int error = memo_get(*(struct memo **)data, "k", 1, &v);
    (void)arg;
    (void)size;
    SCHED_ASSERT(error == 0 || error == MEMO_ECLOSED);
    memo_release(&v);
    (void)SYNC_ADD(&n_destroyed, 1);
}

// "o" is an object.
static int load_any(void *arg, struct memo_load *l) {
    size_t size;
    const char *key = memo_load_key(l, &size);
    return *key == 'o' ? memo_load_adopt(l, &memo, sizeof memo, destroy, NULL)
                       : load(arg, l);
}

static struct memo *make(const struct scene *scene) {
    struct memo_listener listener = {removed, NULL};
    return new_memo((struct memo_options){
        .load = listens ? load_numbered : load_any,
        .engine = scene->engine,
        .listener = listens ? &listener : NULL,
        .shards = 1});
}

static void setup(void *arg) {
    const struct scene *scene = arg;
    SYNC_INIT(&n_users, (uint32_t)scene->n_threads);
    SYNC_INIT(&n_loads, 0);
    SYNC_INIT(&epoch, 0);
    SYNC_INIT(&n_destroyed, 0);
    listens = 0;
    memo = make(scene);
}

// F1, E4: however many ask, one load runs.
static void get_once(void *arg, int id) {
    (void)arg;
    (void)id;
    (void)get("k");
    SCHED_ASSERT(SYNC_LOAD(&n_loads) == 1);
    leave();
}

// I1: what was loaded before an invalidation is not returned after it.
static void get_or_invalidate(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SYNC_STORE_REL(&epoch, 1);
        SCHED_ASSERT(memo_invalidate(memo, "k", 1) == 0);
        SCHED_ASSERT(get("k") == 1);
    } else {
        (void)get("k");
    }
    leave();
}

// W2: a wait to a deadline yields one of the value and MEMO_ETIMEDOUT.
static void get_in_time(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        (void)get("k");
    } else {
        struct memo_wait wait = {.size = sizeof wait, .deadline_ns = LATER};
        struct memo_value v;
        int error = memo_get_wait(memo, "k", 1, &wait, &v);
        SCHED_ASSERT(error == 0 || error == MEMO_ETIMEDOUT);
        if (error == 0) {
            (void)value_of(&v);
        }
    }
    leave();
}

// V1, H1: a hit holds its value, though it is dropped and reclaimed meanwhile.
static void setup_resident(void *arg) {
    setup(arg);
    (void)get("k");
}

static void hit_or_reclaim(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(memo_invalidate(memo, "k", 1) == 0);
        (void)memo_maintain(memo, 0);
    } else {
        (void)get("k");
        (void)get("k");
    }
    leave();
}

// Each value that leaves is told once, in order, by one thread at a time.
static void setup_listener(void *arg) {
    const struct scene *scene = arg;
    SYNC_INIT(&n_users, (uint32_t)scene->n_threads);
    SYNC_INIT(&n_loads, 0);
    n_told = 0;
    last_told = 0;
    listens = 1;
    memo = make(scene);
    listens = 0;
}

static void get_and_remove(void *arg, int id) {
    (void)arg;
    (void)get("k");
    if (id == 0) {
        SCHED_ASSERT(memo_clear(memo) == 0);
        (void)get("k");
    }
    SCHED_ASSERT(memo_invalidate(memo, "k", 1) == 0);
    leave();
}

// V2, L2, L4: a destructor that waits for a load has run, once, when the cache is
// gone.
static void destroy_or_get(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        struct memo_value v;
        SCHED_ASSERT(memo_get(memo, "o", 1, &v) == 0);
        memo_release(&v);
        SCHED_ASSERT(memo_invalidate(memo, "o", 1) == 0);
    } else {
        (void)get("k");
    }
    leave();
}

static void check(void *arg);

static void check_destroyed(void *arg) {
    SCHED_ASSERT(SYNC_LOAD(&n_destroyed) == 1);
    check(arg);
}

// L2: when memo_close() returns, the completion has, and so has the destructor; both
// write what is plain.
static struct memo_load *pending;
static uint32_t n_answered, n_dropped;

static void note(uint32_t *n) {
    SYNC_DATA_WRITE(n);
    ++*n;
}

static void expect_noted(const uint32_t *n) {
    SYNC_DATA_READ(n);
    SCHED_ASSERT(*n == 1);
}

static void answered(void *arg, int error, struct memo_value *v) {
    (void)arg;
    (void)error;
    memo_release(v);
    note(&n_answered);
}

static void drop(void *arg, void *data, size_t size) {
    (void)arg;
    (void)data;
    (void)size;
    note(&n_dropped);
}

static int load_later_or_object(void *arg, struct memo_load *l) {
    size_t size;
    const char *key = memo_load_key(l, &size);
    (void)arg;
    if (*key == 'o') {
        return memo_load_adopt(l, &memo, sizeof memo, drop, NULL);
    }
    pending = l;
    return MEMO_PENDING;
}

static void setup_called(void *arg) {
    const struct scene *scene = arg;
    struct memo_value v;
    SYNC_INIT(&n_users, (uint32_t)scene->n_threads);
    n_answered = n_dropped = 0;
    memo = new_memo((struct memo_options){.load = load_later_or_object,
                                          .engine = scene->engine,
                                          .shards = 1});
    SCHED_ASSERT(memo_get(memo, "o", 1, &v) == 0);
    memo_release(&v);
    SCHED_ASSERT(memo_get_async(memo, "k", 1, NULL, answered, NULL, NULL) == 0);
}

static void call_or_close(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(memo_load_finish(pending, 42) == 0);
    } else if (id == 2) {
        int error = memo_invalidate(memo, "o", 1);
        SCHED_ASSERT(error == 0 || error == MEMO_ECLOSED);
    } else {
        SCHED_ASSERT(memo_close(memo, INT64_MAX) == 0);
        expect_noted(&n_answered);
        expect_noted(&n_dropped);
    }
    leave();
}

// V1: values outlive their cache, and the last of them takes it along.
static void hold_longer(void *arg, int id) {
    struct memo_value v;
    (void)arg;
    (void)id;
    SCHED_ASSERT(memo_get(memo, "k", 1, &v) == 0);
    leave();
    (void)value_of(&v);
}

static void check(void *arg) {
    (void)arg;
    check_gone(make(&lock2));
}

static void check_told(void *arg) {
    check(arg);
    SCHED_ASSERT(n_told == SYNC_LOAD(&n_loads));
}

#define BOUNDED(n) \
    { .mode = SCHED_BOUNDED, .bound = n, .max_executions = 20000 }
#define BUFFERED(n) \
    { .mode = SCHED_BOUNDED, .bound = n, .tso = 2, .max_executions = 20000 }
#define DEEP \
    { .mode = SCHED_PCT, .bound = 5, .max_executions = 10000 }

SCHED_CASES(
    {"GetLock", {2, setup, get_once, check, &lock2}, BOUNDED(2)},
    {"GetLockAll",
     {2, setup, get_once, check, &lock2},
     {.mode = SCHED_ALL, .max_executions = 10000}},
    {"GetLockThree", {3, setup, get_once, check, &lock3}, BOUNDED(2)},
    {"GetLockThreeDeep", {3, setup, get_once, check, &lock3}, DEEP},
    {"InvalidateLock",
     {2, setup, get_or_invalidate, check, &lock2},
     BOUNDED(2)},
    {"InvalidateLockThree", {3, setup, get_or_invalidate, check, &lock3}, DEEP},
    {"InTimeLock", {2, setup, get_in_time, check, &lock2}, BOUNDED(2)},
    {"InTimeLockThree", {3, setup, get_in_time, check, &lock3}, DEEP},
    {"ReclaimLock",
     {2, setup_resident, hit_or_reclaim, check, &lock2},
     BUFFERED(2)},
    {"ReclaimLockDeep",
     {2, setup_resident, hit_or_reclaim, check, &lock2},
     {.mode = SCHED_PCT, .bound = 4, .tso = 2, .max_executions = 20000}},
    {"HoldLongerLock",
     {2, setup_resident, hold_longer, check, &lock2},
     BOUNDED(2)},
    {"HoldLongerLockThree",
     {3, setup_resident, hold_longer, check, &lock3},
     DEEP},
    {"ListenerLock",
     {2, setup_listener, get_and_remove, check_told, &lock2},
     BOUNDED(2)},
    {"ListenerLockDeep",
     {2, setup_listener, get_and_remove, check_told, &lock2},
     DEEP},
    {"ListenerLockThree",
     {3, setup_listener, get_and_remove, check_told, &lock3},
     DEEP},
    {"ListenerMonitor",
     {2, setup_listener, get_and_remove, check_told, &monitor2},
     DEEP},
    {"DestroyLock",
     {2, setup, destroy_or_get, check_destroyed, &lock2},
     BOUNDED(2)},
    {"DestroyMonitor",
     {2, setup, destroy_or_get, check_destroyed, &monitor2},
     BOUNDED(1)},
    {"DestroyMonitorDeep",
     {2, setup, destroy_or_get, check_destroyed, &monitor2},
     DEEP},
    {"CloseLock",
     {2, setup_called, call_or_close, check, &lock2},
     BOUNDED(2)},
    {"CloseLockThree",
     {3, setup_called, call_or_close, check, &lock3},
     BOUNDED(2)},
    {"CloseLockThreeDeep",
     {3, setup_called, call_or_close, check, &lock3},
     DEEP},
    {"GetMonitor", {2, setup, get_once, check, &monitor2}, BOUNDED(1)},
    {"GetMonitorDeep", {2, setup, get_once, check, &monitor2}, DEEP},
    {"InvalidateMonitor",
     {2, setup, get_or_invalidate, check, &monitor2},
     DEEP},
    {"InTimeMonitor", {2, setup, get_in_time, check, &monitor2}, DEEP});
