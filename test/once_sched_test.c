// sync_once_do(), in all interleavings of three callers, and of five with few
// preemptions: fn is run once, everybody who returns sees what it did, and an
// fn that ends its thread leaves the work to another.
#include "sync/once.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "OnceSched";

static struct sync_once once;
static int n_begun, n_done;

static void setup(void *arg) {
    (void)arg;
    once = (struct sync_once)SYNC_ONCE_INIT;
    n_begun = n_done = 0;
}

static void count(void *arg) {
    (void)arg;
    SYNC_DATA_WRITE(&n_begun);
    n_begun++;
    SYNC_DATA_WRITE(&n_done);
    n_done++;
}

static void see_one(void) {
    SYNC_DATA_READ(&n_done);
    SCHED_ASSERT(n_done == 1);
}

static void call(void *arg, int id) {
    (void)arg;
    (void)id;
    sync_once_do(&once, count, NULL);
    see_one();
}

static void call_or_look(void *arg, int id) {
    if (id > 0) {
        call(arg, id);
    } else if (sync_once_is_done(&once)) {
        see_one();
    }
}

static void check(void *arg) {
    (void)arg;
    SCHED_ASSERT(n_begun == 1 && n_done == 1);
}

static void die_the_first_time(void *arg) {
    (void)arg;
    SYNC_DATA_WRITE(&n_begun);
    if (++n_begun == 1) {
        sync_thread_exit();
    }
    SYNC_DATA_WRITE(&n_done);
    n_done++;
}

static void call_what_dies(void *arg, int id) {
    (void)arg;
    (void)id;
    sync_once_do(&once, die_the_first_time, NULL);
    see_one();
}

static void check_second(void *arg) {
    (void)arg;
    SCHED_ASSERT(n_begun == 2 && n_done == 1);
}

// The once may be freed by whoever knows that all others are through with it.
static struct sync_once *heap;
static sync_atomic_u32 n_through;

static void setup_heap(void *arg) {
    setup(arg);
    heap = sync_alloc(sizeof *heap);
    *heap = (struct sync_once)SYNC_ONCE_INIT;
    SYNC_INIT(&n_through, 0);
}

static void call_and_free(void *arg, int id) {
    (void)arg;
    (void)id;
    sync_once_do(heap, count, NULL);
    see_one();
    if (SYNC_ADD_ACQREL(&n_through, 1) == 1) {
        sync_free(heap);
    }
}

SCHED_CASES({"TwoCallersEveryInterleaving",
             {2, setup, call, check, NULL},
             {.mode = SCHED_EVERY}},
            {"ThreeCallers",
             {3, setup, call, check, NULL},
             {.mode = SCHED_ALL}},
            {"TwoCallersAndALook",
             {3, setup, call_or_look, check, NULL},
             {.mode = SCHED_ALL}},
            {"ThreeCallersOfWhatDies",
             {3, setup, call_what_dies, check_second, NULL},
             {.mode = SCHED_ALL}},
            {"TwoCallersAndAFree",
             {2, setup_heap, call_and_free, check, NULL},
             {.mode = SCHED_ALL}},
            {"TwoCallersBuffered",
             {2, setup, call, check, NULL},
             {.mode = SCHED_ALL, .tso = 2}},
            {"FiveCallersTwoPreemptions",
             {5, setup, call, check, NULL},
             {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 1500000}},
            {"EightCallersRandomly",
             {8, setup, call_what_dies, check_second, NULL},
             {.mode = SCHED_PCT, .bound = 4, .max_executions = 100000}});
