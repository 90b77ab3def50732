// sync_monitor with a thread of its own: each call is run and replied to, or
// refused; a monitor that sleeps is woken; close answers those who wait.
#include "sync/monitor.h"

#include <poll.h>

#include "sync/error.h"
#include "sync/list.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "MonitorSched";

static struct sync_monitor *monitor;
static struct sync_event made;   // monitor is there
static struct sync_event ended;  // and no longer called by thread 1
static int state;                // the monitor's own
static int ok[2];                // how many calls of each thread were run

struct increment {
    struct sync_op op;
    int seen;
};

static void run_increment(struct sync_op *op) {
    struct increment *i = SYNC_CONTAINER(op, struct increment, op);

    SYNC_DATA_WRITE(&state);
    SYNC_DATA_WRITE(&i->seen);
    i->seen = ++state;
    sync_op_reply(op);
}

static void call(int id) {
    struct increment i = {.op.run = run_increment};
    int error = sync_monitor_call(monitor, &i.op);

    SYNC_DATA_READ(&i.seen);
    SCHED_ASSERT(error == SYNC_OK || error == SYNC_ECLOSED ||
                 error == SYNC_EBUSY);
    SCHED_ASSERT((error == SYNC_OK) == (i.seen != 0));
    ok[id] += error == SYNC_OK;
}

static void setup(void *arg) {
    (void)arg;
    monitor = NULL;
    sync_event_init(&made);
    sync_event_init(&ended);
    state = ok[0] = ok[1] = 0;
}

static void check(void *arg) {
    (void)arg;
    SCHED_ASSERT(state == ok[0] + ok[1]);
    SCHED_ASSERT(sched_live_blocks() == 0);
}

static void check_all_ran(void *arg) {
    SCHED_ASSERT(state == 2);
    check(arg);
}

// One caller, twice: the monitor may sleep in between.
static void call_twice(void *arg, int id) {
    (void)arg;
    SCHED_ASSERT(sync_monitor_new(1, 0, &monitor) == SYNC_OK);
    call(id);
    call(id);
    sync_monitor_free(monitor);
}

// Thread 0 makes the monitor, and ends it when thread 1 is done.
static void call_both(void *arg, int id) {
    uint32_t max_ops = arg == NULL ? 0 : 1;

    if (id == 0) {
        SCHED_ASSERT(sync_monitor_new(1, max_ops, &monitor) == SYNC_OK);
        sync_event_set(&made);
        call(0);
        sync_event_wait(&ended, SYNC_NEVER, NULL);
        sync_monitor_free(monitor);
    } else {
        sync_event_wait(&made, SYNC_NEVER, NULL);
        call(1);
        sync_event_set(&ended);
    }
}

// The same, but it is closed while thread 1 may be calling.
static void close_amid(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(sync_monitor_new(1, 0, &monitor) == SYNC_OK);
        sync_event_set(&made);
        sync_monitor_close(monitor);
        sync_event_wait(&ended, SYNC_NEVER, NULL);
        sync_monitor_free(monitor);
    } else {
        sync_event_wait(&made, SYNC_NEVER, NULL);
        call(1);
        sync_event_set(&ended);
    }
}

// Operations that nobody waits for are run once each, or dropped once each.
static struct sync_op sent[2];
static int n_dropped;

static void run_sent(struct sync_op *op) {
    SYNC_DATA_WRITE(&state);
    state++;
    n_dropped += sync_op_is_dropped(op);
}

static void send_and_close(void *arg, int id) {
    (void)arg;
    (void)id;
    n_dropped = 0;
    SCHED_ASSERT(sync_monitor_new(1, 0, &monitor) == SYNC_OK);
    sent[0].run = sent[1].run = run_sent;
    SCHED_ASSERT(sync_monitor_send(monitor, &sent[0]) == SYNC_OK);
    SCHED_ASSERT(sync_monitor_send(monitor, &sent[1]) == SYNC_OK);
    sync_monitor_free(monitor);
    SCHED_ASSERT(state == 2 && n_dropped <= 2);
    ok[0] = 2;
}

// A monitor in a loop: whenever its operations wait and nobody runs them, its bell
// rings.
static void setup_loop(void *arg) {
    setup(arg);
    SCHED_ASSERT(sync_monitor_new(0, 0, &monitor) == SYNC_OK);
    sent[0].run = sent[1].run = run_sent;
    n_dropped = 0;
}

static void run_or_send(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(sync_monitor_run(monitor, 10) >= 0);
    } else {
        SCHED_ASSERT(sync_monitor_send(monitor, &sent[id - 1]) == SYNC_OK);
    }
}

static int is_ringing(void) {
    struct pollfd fd = {.fd = sync_monitor_fd(monitor), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

static void check_bell(void *arg) {
    int left = *(int *)arg - 1 - state;

    SCHED_ASSERT(left == 0 || is_ringing());
    SCHED_ASSERT(sync_monitor_run(monitor, 10) == left);
    SCHED_ASSERT(!is_ringing());
    sync_monitor_free(monitor);
    SCHED_ASSERT(sched_live_blocks() == 0);
}

// Two threads that are the loop by turns: what one runs by itself, as the monitor's
// own, never overlaps with what the other runs.
static void run_by_turns(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        (void)sync_monitor_run(monitor, 0);
        call(0);
        sync_event_set(&ended);
    } else {
        SCHED_ASSERT(sync_monitor_send(monitor, &sent[0]) == SYNC_OK);
        (void)sync_monitor_run(monitor, 2);
        sync_monitor_close(monitor);
        sync_event_wait(&ended, SYNC_NEVER, NULL);
    }
}

static void check_turns(void *arg) {
    (void)arg;
    SCHED_ASSERT(state == ok[0] + 1);
    sync_monitor_free(monitor);
    SCHED_ASSERT(sched_live_blocks() == 0);
}

// Who sees that the only call was run may free the monitor: the caller may still be
// on his way out, but no longer uses it.
static void run_and_tell(struct sync_op *op) {
    run_increment(op);
    sync_event_set(&ended);
}

static void free_when_answered(void *arg, int id) {
    int own_thread = arg == NULL;

    if (id == 0) {
        SCHED_ASSERT(sync_monitor_new(own_thread, 0, &monitor) == SYNC_OK);
        sync_event_set(&made);
        if (!own_thread && sync_monitor_run(monitor, 1) == 0) {
            sync_monitor_close(monitor);
        }
        sync_event_wait(&ended, SYNC_NEVER, NULL);
        sync_monitor_free(monitor);
    } else {
        struct increment i = {.op.run = run_and_tell};

        sync_event_wait(&made, SYNC_NEVER, NULL);
        ok[1] = sync_monitor_call(monitor, &i.op) == SYNC_OK;
        if (!ok[1]) {
            sync_event_set(&ended);
        }
    }
}

// A queue with room for one.  Of two senders, one comes when it is empty: who is
// refused takes up no room.
static void setup_full(void *arg) {
    setup(arg);
    SCHED_ASSERT(sync_monitor_new(0, 1, &monitor) == SYNC_OK);
    sent[0].run = sent[1].run = run_sent;
    SCHED_ASSERT(sync_monitor_send(monitor, &sent[0]) == SYNC_OK);
}

static void send_when_full(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(sync_monitor_run(monitor, 1) == 1);
    }
    ok[id] = sync_monitor_send(monitor, &sent[id]) == SYNC_OK;
}

static void check_full(void *arg) {
    (void)arg;
    SCHED_ASSERT(ok[0] + ok[1] == 1);
    SCHED_ASSERT(sync_monitor_run(monitor, 2) == 1);
    sync_monitor_free(monitor);
    SCHED_ASSERT(sched_live_blocks() == 0);
}

static int bounded;
static int two = 2, three = 3;

SCHED_CASES(
    {"CallTwice",
     {1, setup, call_twice, check_all_ran, NULL},
     {.mode = SCHED_ALL, .max_executions = 100000}},
    {"SendAndClose",
     {1, setup, send_and_close, check, NULL},
     {.mode = SCHED_ALL, .max_executions = 100000}},
    {"CallBoth",
     {2, setup, call_both, check_all_ran, NULL},
     {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 100000}},
    {"CallBothOfAFullQueue",
     {2, setup, call_both, check, &bounded},
     {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 100000}},
    {"CloseAmid",
     {2, setup, close_amid, check, NULL},
     {.mode = SCHED_BOUNDED, .bound = 3, .max_executions = 100000}},
    {"FreeWhenAnswered",
     {2, setup, free_when_answered, check, NULL},
     {.mode = SCHED_BOUNDED, .bound = 3, .max_executions = 100000}},
    {"FreeLoopWhenAnswered",
     {2, setup, free_when_answered, check, &bounded},
     {.mode = SCHED_BOUNDED, .bound = 3, .max_executions = 100000}},
    {"RestOrSend",
     {2, setup_loop, run_or_send, check_bell, &two},
     {.mode = SCHED_ALL, .max_executions = 100000}},
    {"RestOrSendBoth",
     {3, setup_loop, run_or_send, check_bell, &three},
     {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 100000}},
    {"SendWhenFull",
     {2, setup_full, send_when_full, check_full, NULL},
     {.mode = SCHED_ALL}},
    {"RunByTurns",
     {2, setup_loop, run_by_turns, check_turns, NULL},
     {.mode = SCHED_BOUNDED, .bound = 3, .max_executions = 100000}},
    {"CallBothBuffered",
     {2, setup, call_both, check_all_ran, NULL},
     {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 100000, .tso = 2}});
