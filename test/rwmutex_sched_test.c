// sync_rwmutex, in all interleavings of three threads: a writer is alone,
// readers see whole writes, and nobody is left waiting.
#include "sync/rwmutex.h"

#include "test/support/sched_cases.h"

const char sched_suite[] = "RwmutexSched";

static struct sync_rwmutex rw;
static int data;

static void setup(void *arg) {
    (void)arg;
    sync_rwmutex_init(&rw);
    data = 0;
}

static void read_once(void) {
    sync_rwmutex_rlock(&rw);
    SYNC_DATA_READ(&data);
    sync_rwmutex_runlock(&rw);
}

static void write_once(void) {
    sync_rwmutex_lock(&rw);
    SYNC_DATA_WRITE(&data);
    data++;
    sync_rwmutex_unlock(&rw);
}

// The first threads write, the others read.
static void write_or_read(void *arg, int id) {
    if (id < *(int *)arg) {
        write_once();
    } else {
        read_once();
    }
}

static void check(void *arg) {
    SCHED_ASSERT(data == *(int *)arg);
}

static void write_and_read(void *arg, int id) {
    (void)arg;
    (void)id;
    write_once();
    read_once();
}

static int one = 1, two = 2;

SCHED_CASES({"WriterAndReader",
             {2, setup, write_or_read, check, &one},
             {.mode = SCHED_ALL}},
            {"WriterAndTwoReaders",
             {3, setup, write_or_read, check, &one},
             {.mode = SCHED_ALL, .max_executions = 400000}},
            {"TwoWritersAndAReader",
             {3, setup, write_or_read, check, &two},
             {.mode = SCHED_ALL, .max_executions = 400000}},
            {"TwoWriteAndRead",
             {2, setup, write_and_read, check, &two},
             {.mode = SCHED_ALL, .max_executions = 400000}},
            {"TwoWritersAndTwoReaders",
             {4, setup, write_or_read, check, &two},
             {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 300000}});
