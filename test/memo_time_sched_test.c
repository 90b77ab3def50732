// Refreshing, failing and passing on the scheduler: the protocols of time, in
// many interleavings of two and three threads.
#include "test/support/memo_sched.h"

const char sched_suite[] = "MemoTimeSched";

struct scene {
    uint32_t engine;
    int n_threads;
};

static struct scene lock2 = {MEMO_ENGINE_LOCK, 2},
                    lock3 = {MEMO_ENGINE_LOCK, 3},
                    monitor2 = {MEMO_ENGINE_MONITOR, 2};

static sync_atomic_u32 n_loads;
static sync_atomic_u64 time_ns;

// What loads come to; set while one thread runs.
static enum { VALUE, ERROR, PASSES, NOT_MODIFIED } outcome;

static int64_t now(void *state) {
    (void)state;
    return (int64_t)SYNC_LOAD(&time_ns);
}

static int load(void *arg, struct memo_load *l) {
    uint32_t value = SYNC_LOAD_ACQ(&epoch);
    (void)arg;
    (void)SYNC_ADD(&n_loads, 1);
    if (outcome == ERROR) {
        return 7;
    }
    if (outcome == NOT_MODIFIED && memo_load_not_modified(l) == 0) {
        return 0;
    }
    if (outcome == PASSES) {
        SCHED_ASSERT(memo_load_pass(l) == 0);
    }
    return memo_load_return(l, &value, sizeof value);
}

static struct memo *make(uint32_t engine) {
    struct memo_clock clock = {now, NULL};
    return new_memo((struct memo_options){.load = load,
                                          .clock = &clock,
                                          .engine = engine,
                                          .shards = 1,
                                          .ttl_ns = 100,
                                          .refresh_after_ns = 10,
                                          .idle_ttl_ns = 64,
                                          .stale_if_error_ns = 100,
                                          .backoff_ns = 10});
}

static void setup(void *arg) {
    const struct scene *scene = arg;
    SYNC_INIT(&n_users, (uint32_t)scene->n_threads);
    SYNC_INIT(&n_loads, 0);
    SYNC_INIT(&epoch, 0);
    SYNC_INIT(&time_ns, 0);
    outcome = VALUE;
    memo = make(scene->engine);
}

// As leave(), after so many loads in all.
static void leave_after(uint32_t n) {
    if (SYNC_SUB_ACQREL(&n_users, 1) == 1) {
        SCHED_ASSERT(SYNC_LOAD(&n_loads) == n);
        memo_check(memo);
        memo_free(memo);
    }
}

// Get a value, and set *from; or return the error.
static int try_to_get(uint32_t *from) {
    struct memo_value v;
    int error = memo_get(memo, "k", 1, &v);
    *from = v.from;
    if (error == 0) {
        (void)value_of(&v);
    }
    return error;
}

// ---- a value that is to be refreshed

static void setup_due(void *arg) {
    setup(arg);
    (void)get("k");
    SYNC_STORE(&time_ns, 10);
}

static void setup_due_same(void *arg) {
    setup_due(arg);
    outcome = NOT_MODIFIED;
}

// T3: one refresh, whoever comes; nobody is without a value.
static void refresh_once(void *arg, int id) {
    (void)arg;
    (void)id;
    (void)get("k");
    leave_after(2);
}

// I1: a refresh that began before an invalidation brings nothing back.
static void refresh_or_invalidate(void *arg, int id) {
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

// T4, I3: nor does it replace what is newer.
static void refresh_or_put(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        uint32_t newer = 9;
        SCHED_ASSERT(memo_put(memo, "k", 1, &newer, sizeof newer) == 0);
        SCHED_ASSERT(get("k") == 9);
    } else {
        (void)get("k");
    }
    leave();
}

// ---- a value past its time, of which the loads fail

static void setup_failing(void *arg) {
    setup(arg);
    (void)get("k");
    SYNC_STORE(&time_ns, 100);
    outcome = ERROR;
}

// T4, E2: it stands in for everybody, and one has tried.
static void stand_in(void *arg, int id) {
    uint32_t from;
    (void)arg;
    (void)id;
    SCHED_ASSERT(try_to_get(&from) == 0);
    SCHED_ASSERT(from == MEMO_STALE);
    leave_after(2);
}

static void setup_probing(void *arg) {
    uint32_t from;
    setup(arg);
    outcome = ERROR;
    SCHED_ASSERT(try_to_get(&from) == 7);
    SCHED_ASSERT(try_to_get(&from) == 7 && from == MEMO_NEGATIVE);
    SYNC_STORE(&time_ns, 10);
    outcome = VALUE;
}

// E2: after a pause one tries; the others have the error, or what he got.
static void probe(void *arg, int id) {
    uint32_t from;
    int error = try_to_get(&from);
    (void)arg;
    (void)id;
    SCHED_ASSERT(error == 0 || (error == 7 && from == MEMO_NEGATIVE));
    leave_after(2);
}

// ---- a result that isn't to be shared

static void setup_passing(void *arg) {
    setup(arg);
    outcome = PASSES;
}

// C4: everybody loads for himself.
static void pass(void *arg, int id) {
    uint32_t from;
    (void)id;
    SCHED_ASSERT(try_to_get(&from) == 0);
    SCHED_ASSERT(from == MEMO_LOADED);
    leave_after((uint32_t)((const struct scene *)arg)->n_threads);
}

// ---- a value that is used, and time that passes

static void setup_idle(void *arg) {
    setup(arg);
    (void)get("k");
    SYNC_STORE(&time_ns, 5);
}

// T1: what has expired when the call begins isn't returned by it; and upkeep
// drops nothing that is in use.
static void use_or_expire(void *arg, int id) {
    uint32_t from;
    (void)arg;
    if (id == 0) {
        SYNC_STORE(&time_ns, 64 + 5);
        (void)memo_maintain(memo, 64 + 5);
    } else {
        SCHED_ASSERT(try_to_get(&from) == 0);
        if (SYNC_LOAD(&n_loads) == 1) {
            SCHED_ASSERT(from == MEMO_HIT);
        }
    }
    leave();
}

static void check(void *arg) {
    (void)arg;
    check_gone(make(MEMO_ENGINE_LOCK));
}

#define BOUNDED(n) \
    { .mode = SCHED_BOUNDED, .bound = n, .max_executions = 10000 }
#define DEEP \
    { .mode = SCHED_PCT, .bound = 5, .max_executions = 6000 }

SCHED_CASES(
    {"RefreshLock", {2, setup_due, refresh_once, check, &lock2}, BOUNDED(2)},
    {"RefreshLockThree", {3, setup_due, refresh_once, check, &lock3}, DEEP},
    {"InvalidateLock",
     {2, setup_due, refresh_or_invalidate, check, &lock2},
     BOUNDED(2)},
    {"InvalidateSameLock",
     {2, setup_due_same, refresh_or_invalidate, check, &lock2},
     BOUNDED(2)},
    {"InvalidateLockThree",
     {3, setup_due, refresh_or_invalidate, check, &lock3},
     DEEP},
    {"PutLock", {2, setup_due, refresh_or_put, check, &lock2}, BOUNDED(2)},
    {"PutSameLock",
     {2, setup_due_same, refresh_or_put, check, &lock2},
     BOUNDED(2)},
    {"PutLockThree", {3, setup_due_same, refresh_or_put, check, &lock3}, DEEP},
    {"StandInLock", {2, setup_failing, stand_in, check, &lock2}, BOUNDED(2)},
    {"StandInLockThree", {3, setup_failing, stand_in, check, &lock3}, DEEP},
    {"ProbeLock", {2, setup_probing, probe, check, &lock2}, BOUNDED(2)},
    {"ProbeLockThree", {3, setup_probing, probe, check, &lock3}, DEEP},
    {"PassLock", {2, setup_passing, pass, check, &lock2}, BOUNDED(2)},
    {"PassLockThree", {3, setup_passing, pass, check, &lock3}, DEEP},
    {"PassMonitor", {2, setup_passing, pass, check, &monitor2}, DEEP},
    {"ExpireLock", {2, setup_idle, use_or_expire, check, &lock2}, BOUNDED(2)},
    {"ExpireLockThree", {3, setup_idle, use_or_expire, check, &lock3}, DEEP});
