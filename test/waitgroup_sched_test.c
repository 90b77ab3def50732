// sync_waitgroup, in all interleavings of three threads: a wait ends when all
// are done, and sees what they did; giving up leaves nothing behind; and who
// waited may free the group.
#include "sync/waitgroup.h"

#include "sync/error.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "WaitgroupSched";

enum { LATER = 2000000000 };

static struct sync_waitgroup *wg;
static int work[2];

static void setup(void *arg) {
    wg = sync_alloc(sizeof *wg);
    *wg = (struct sync_waitgroup){.count = 0};
    sync_mutex_init(&wg->mu);
    sync_waitgroup_add(wg, *(int *)arg);
    work[0] = work[1] = 0;
}

static void finish(int i) {
    SYNC_DATA_WRITE(&work[i]);
    work[i] = 1;
    SCHED_ASSERT(sync_waitgroup_done(wg) == SYNC_OK);
}

static void see(int i) {
    SYNC_DATA_READ(&work[i]);
    SCHED_ASSERT(work[i] == 1);
}

// Thread 0 waits for the two others, and frees the group.
static void wait_and_free(void *arg, int id) {
    int i;

    if (id > 0) {
        finish(id - 1);
        return;
    }
    SCHED_ASSERT(sync_waitgroup_wait(wg, SYNC_NEVER, NULL) == SYNC_OK);
    for (i = 0; i < *(int *)arg; i++) {
        see(i);
    }
    sync_free(wg);
}

// Thread 0 finishes; the others wait, but not for ever.
static void wait_in_time(void *arg, int id) {
    int error = SYNC_OK;

    (void)arg;
    if (id == 0) {
        finish(0);
    } else {
        error = sync_waitgroup_wait(wg, LATER, NULL);
        SCHED_ASSERT(error == SYNC_OK || error == SYNC_ETIMEDOUT);
    }
    if (error == SYNC_OK) {
        see(0);
    }
}

// The same, and meanwhile so many rounds go by that 32 bits don't tell the last
// from the first.
static void wait_while_rounds_pass(void *arg, int id) {
    if (id == 0) {
        sync_mutex_lock(&wg->mu);
        wg->round += UINT32_MAX;
        sync_mutex_unlock(&wg->mu);
    }
    wait_in_time(arg, id);
}

static int one = 1, two = 2;

SCHED_CASES(
    {"WaitAndFree", {2, setup, wait_and_free, NULL, &one}, {.mode = SCHED_ALL}},
    {"WaitForTwoAndFree",
     {3, setup, wait_and_free, NULL, &two},
     {.mode = SCHED_ALL, .max_executions = 300000}},
    {"WaitInTime", {2, setup, wait_in_time, NULL, &one}, {.mode = SCHED_ALL}},
    {"WaitWhileRoundsPass",
     {2, setup, wait_while_rounds_pass, NULL, &one},
     {.mode = SCHED_ALL}},
    {"TwoWaitInTime",
     {3, setup, wait_in_time, NULL, &one},
     {.mode = SCHED_ALL, .max_executions = 300000}});
