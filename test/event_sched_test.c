// sync_event, in all interleavings of three threads, and of five with few
// preemptions: whoever waits returns and sees what was done before the setting;
// a watcher is called exactly once or never, as watch and unwatch have said; a
// wait that gives up leaves nothing behind; and whoever has seen the event set
// may free it.
#include <string.h>

#include "sync/event.h"
#include "sync/note.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "EventSched";

enum { SETTER = 0, LATER = 2000000000, MUCH_LATER = 2000000001 };

// A watcher that counts its calls.
struct counter {
    struct sync_watcher watcher;
    int promised;  // what watch, and then unwatch, have said
    int called;
};

static struct sync_event *event;
static struct sync_note *note;
static struct counter counters[4];
static int data;
static sync_atomic_u32 n_through;

static void called(struct sync_watcher *w) {
    struct counter *c = SYNC_CONTAINER(w, struct counter, watcher);
    SYNC_DATA_READ(&data);
    SCHED_ASSERT(data == 1);
    SYNC_DATA_WRITE(&c->called);
    c->called++;
}

static void setup(void *arg) {
    (void)arg;
    event = sync_alloc(sizeof *event);
    sync_event_init(event);
    note = sync_note_new(NULL, SYNC_NEVER);
    memset(counters, 0, sizeof counters);
    for (int i = 0; i < 4; i++) {
        counters[i].watcher.fn = called;
    }
    data = 0;
    SYNC_INIT(&n_through, 0);
}

static void set(void) {
    SYNC_DATA_WRITE(&data);
    data = 1;
    sync_event_set(event);
}

static void see(void) {
    SYNC_DATA_READ(&data);
    SCHED_ASSERT(data == 1);
}

static void wait(int64_t deadline_ns) {
    int error = sync_event_wait(event, deadline_ns, NULL);
    if (error == SYNC_OK) {
        see();
    } else {
        SCHED_ASSERT(error == SYNC_ETIMEDOUT && deadline_ns != SYNC_NEVER);
        SCHED_ASSERT(sync_clock_now_ns() >= deadline_ns);
    }
}

// All have returned: whoever was promised a call has had it, and nobody else.
static void check(void *arg) {
    (void)arg;
    for (int i = 0; i < 4; i++) {
        SCHED_ASSERT(counters[i].called == counters[i].promised);
    }
    sync_note_free(note);
    SCHED_ASSERT(sched_live_blocks() <= 1);
}

static void broadcast(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        wait(SYNC_NEVER);
    }
}

// One waits for ever, the others to a deadline.
static void broadcast_in_time(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        wait(id == 1 ? SYNC_NEVER : LATER + id);
    }
}

static void watch(struct counter *c) {
    c->promised = sync_event_watch(event, &c->watcher);
    if (!c->promised) {
        see();
    }
}

static void unwatch(struct counter *c) {
    if (c->promised && sync_event_unwatch(event, &c->watcher)) {
        c->promised = 0;
        SYNC_DATA_READ(&c->called);
        SCHED_ASSERT(c->called == 0);
    }
}

static void watch_and_regret(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        watch(&counters[id]);
        if (id == 1) {
            unwatch(&counters[id]);
        }
    }
}

// Both threads' watchers are there already; both are taken off.
static void setup_watched(void *arg) {
    setup(arg);
    watch(&counters[1]);
    watch(&counters[2]);
    watch(&counters[3]);
}

static void set_watch_regret(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else if (id == 1) {
        unwatch(&counters[id]);
    } else {
        watch(&counters[0]);
    }
}

static void regret(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        unwatch(&counters[id]);
    }
}

// Two set; the one that comes second returns when the event is set.
static void two_set(void *arg, int id) {
    (void)arg;
    if (id < 2) {
        sync_event_set(event);
        SCHED_ASSERT(sync_event_is_set(event));
    } else {
        SCHED_ASSERT(sync_event_wait(event, SYNC_NEVER, NULL) == SYNC_OK);
    }
}

// The only waiter owns the event.
static void wait_and_free(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        wait(SYNC_NEVER);
        sync_free(event);
    }
}

// A baton: the event lies on the stack of the one who waits for it.
static SYNC_ATOMIC(struct sync_event *) baton;

static void setup_baton(void *arg) {
    setup(arg);
    SYNC_INIT(&baton, NULL);
}

static void pass_baton(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        struct sync_event *e = SYNC_LOAD_ACQ(&baton);
        while (e == NULL) {
            sync_yield();
            e = SYNC_LOAD_ACQ(&baton);
        }
        sync_event_set(e);
    } else {
        struct sync_event mine;
        sync_event_init(&mine);
        SYNC_STORE_REL(&baton, &mine);
        SCHED_ASSERT(sync_event_wait(&mine, SYNC_NEVER, NULL) == SYNC_OK);
    }
}

// Waits that a note can end.
static void wait_or_cancel(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else if (id == 1) {
        sync_note_notify(note);
    } else {
        int error = sync_event_wait(event, SYNC_NEVER, note);
        if (error == SYNC_OK) {
            see();
        } else {
            SCHED_ASSERT(error == SYNC_ECANCELED);
            SCHED_ASSERT(sync_note_is_notified(note));
        }
    }
}

// A wait that has a note and a deadline, and leaves no trace on its stack.
static void wait_noted(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        SCHED_ASSERT(sync_event_wait(event, LATER, note) != SYNC_ECANCELED);
    }
}

// A fork in the middle of a set: the child has a copy of the event, and nobody who
// would go on with it.
static void set_and_fork(void *arg, int id) {
    (void)arg;
    if (id == SETTER) {
        set();
    } else {
        struct sync_event forked;

        sync_mutex_lock(&event->mu);
        sync_event_init(&forked);
        SYNC_STORE(&forked.word, SYNC_LOAD(&event->word));
        SYNC_DATA_READ(&event->watchers);
        forked.watchers = event->watchers;
        sync_mutex_lock(&forked.mu);
        sync_mutex_unlock(&event->mu);
        sync_event_forked(&forked);
        sync_event_set(&forked);
        SCHED_ASSERT(sync_event_is_set(&forked));
    }
}

SCHED_CASES(
    {"Broadcast", {3, setup, broadcast, check, NULL}, {.mode = SCHED_ALL}},
    {"BroadcastInTime",
     {3, setup, broadcast_in_time, check, NULL},
     {.mode = SCHED_ALL}},
    {"WatchAndRegret",
     {2, setup, watch_and_regret, check, NULL},
     {.mode = SCHED_ALL}},
    {"Regret", {3, setup_watched, regret, check, NULL}, {.mode = SCHED_ALL}},
    {"SetWatchRegret",
     {3, setup_watched, set_watch_regret, check, NULL},
     {.mode = SCHED_ALL}},
    {"TwoSet", {3, setup, two_set, check, NULL}, {.mode = SCHED_ALL}},
    {"SetAndFork", {2, setup, set_and_fork, check, NULL}, {.mode = SCHED_ALL}},
    {"WaitAndFree",
     {2, setup, wait_and_free, check, NULL},
     {.mode = SCHED_ALL}},
    {"Baton", {2, setup_baton, pass_baton, NULL, NULL}, {.mode = SCHED_ALL}},
    {"WaitOrCancel",
     {3, setup, wait_or_cancel, check, NULL},
     {.mode = SCHED_ALL, .max_executions = 2000000}},
    {"NotedWait", {2, setup, wait_noted, check, NULL}, {.mode = SCHED_ALL}},
    {"BroadcastBuffered",
     {3, setup, broadcast, check, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"FourWaitersTwoPreemptions",
     {5, setup, broadcast, check, NULL},
     {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 1500000}},
    {"WatchTwiceAndRegretOnce",
     {3, setup, watch_and_regret, check, NULL},
     {.mode = SCHED_ALL, .max_executions = 200000}},  // of 1.3 million
    {"FourWaitersInTimeRandomly",
     {5, setup, broadcast_in_time, check, NULL},
     {.mode = SCHED_PCT, .bound = 4, .max_executions = 100000}});
