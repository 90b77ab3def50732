// sync_note, in all interleavings of three threads, and of five with few
// preemptions: notifying reaches every child and every watcher, whatever is
// made, freed, watched or waited for meanwhile, and the last to use a note
// frees it, once.
#include <string.h>

#include "sync/note.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "NoteSched";

enum { LATER = 2000000000 };

// parent - child - grandchild
static struct sync_note *parent, *child, *grandchild;
static struct sync_note *made[5];  // by thread
static struct sync_watcher watchers[5];
static int promised[5], called[5];
static int data;

static void count_call(struct sync_watcher *w) {
    int i = (int)(w - watchers);
    SYNC_DATA_WRITE(&called[i]);
    called[i]++;
}

static void setup(void *arg) {
    (void)arg;
    parent = sync_note_new(NULL, SYNC_NEVER);
    child = sync_note_new(parent, SYNC_NEVER);
    grandchild = sync_note_new(child, SYNC_NEVER);
    memset(made, 0, sizeof made);
    memset(promised, 0, sizeof promised);
    memset(called, 0, sizeof called);
    for (int i = 0; i < 5; i++) {
        watchers[i].fn = count_call;
    }
    data = 0;
}

static void notify(struct sync_note *n) {
    SYNC_DATA_WRITE(&data);
    data = 1;
    sync_note_notify(n);
}

static void watch(int i, struct sync_note *n) {
    promised[i] = sync_note_watch(n, &watchers[i]);
}

static void unwatch(int i, struct sync_note *n) {
    if (promised[i] && sync_note_unwatch(n, &watchers[i])) {
        promised[i] = 0;
        SYNC_DATA_READ(&called[i]);
        SCHED_ASSERT(called[i] == 0);
    }
}

// parent was notified, and those of the notes that are left are freed.
static void check(void *arg) {
    (void)arg;
    for (int i = 0; i < 5; i++) {
        SCHED_ASSERT(called[i] == promised[i]);
        if (made[i] != NULL) {
            SCHED_ASSERT(sync_note_is_notified(made[i]));
            sync_note_free(made[i]);
        }
    }
    struct sync_note *notes[] = {parent, child, grandchild};
    for (int i = 0; i < 3; i++) {
        if (notes[i] != NULL) {
            SCHED_ASSERT(sync_note_is_notified(notes[i]));
            sync_note_free(notes[i]);
        }
    }
    SCHED_ASSERT(sched_live_blocks() == 0);
}

static void free_note(struct sync_note **n) {
    struct sync_note *freed = *n;
    *n = NULL;
    sync_note_free(freed);
}

static void setup_child(void *arg) {
    setup(arg);
    free_note(&grandchild);
}

// A child is made, and another one freed, while the parent is notified.
static void notify_make_free(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        notify(parent);
    } else if (id == 1) {
        made[id] = sync_note_new(parent, SYNC_NEVER);
    } else {
        free_note(&child);
    }
}

// The notified parent is freed while its child and grandchild are.
static void notify_free_free(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        notify(parent);
        free_note(&parent);
    } else if (id == 1) {
        free_note(&child);
    } else {
        free_note(&grandchild);
    }
}

// A watcher of the child comes and goes, and one of the parent stays.
static void notify_watch(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        notify(parent);
    } else if (id == 1) {
        watch(id, child);
        unwatch(id, child);
    } else {
        watch(id, parent);
        if (promised[id]) {
            // Taken off when it has been called, as it must be.
            SCHED_ASSERT(sync_note_wait(parent, SYNC_NEVER) == SYNC_OK);
            SCHED_ASSERT(!sync_note_unwatch(parent, &watchers[id]));
        }
    }
}

// One waits for a child, one for the parent to a deadline.
static void notify_wait(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        notify(parent);
    } else if (id == 1) {
        SCHED_ASSERT(sync_note_wait(child, SYNC_NEVER) == SYNC_OK);
        SYNC_DATA_READ(&data);
        SCHED_ASSERT(data == 1);
    } else {
        int error = sync_note_wait(parent, LATER);
        SCHED_ASSERT(error == SYNC_OK || error == SYNC_ETIMEDOUT);
        SCHED_ASSERT(error == SYNC_OK || sync_clock_now_ns() >= LATER);
    }
}

// Three notify the same tree at three places.
static void notify_all(void *arg, int id) {
    struct sync_note *n = id == 0 ? parent : id == 1 ? child : grandchild;
    (void)arg;
    sync_note_notify(n);
    SCHED_ASSERT(sync_note_is_notified(n));
}

// The owner frees a note on which a watcher is, which is then taken off.
static struct sync_note *watched;

static void setup_watched(void *arg) {
    setup_child(arg);
    watch(2, child);
    watched = child;
}

static void free_watched(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        notify(parent);
    } else if (id == 1) {
        free_note(&child);
    } else {
        unwatch(id, watched);
    }
}

// Nobody notifies: a child that is freed leaves its parent.
static void make_free(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        struct sync_note *n = sync_note_new(parent, SYNC_NEVER);
        sync_note_free(n);
    } else if (id == 1) {
        free_note(&child);
    } else {
        free_note(&grandchild);
    }
}

static void check_unnotified(void *arg) {
    (void)arg;
    SCHED_ASSERT(!sync_note_is_notified(parent));
    SCHED_ASSERT(sched_live_blocks() == 1);
}

static void five(void *arg, int id) {
    (void)arg;
    switch (id) {
        case 0:
            notify(parent);
            break;
        case 1:
            made[id] = sync_note_new(child, SYNC_NEVER);
            break;
        case 2:
            free_note(&grandchild);
            break;
        case 3:
            watch(id, child);
            unwatch(id, child);
            break;
        default:
            SCHED_ASSERT(sync_note_wait(child, SYNC_NEVER) == SYNC_OK);
    }
}

SCHED_CASES({"NotifyMakeFree",
             {3, setup_child, notify_make_free, check, NULL},
             {.mode = SCHED_ALL}},
            {"NotifyFreeFree",
             {3, setup, notify_free_free, check, NULL},
             {.mode = SCHED_ALL}},
            {"MakeFree",
             {3, setup, make_free, check_unnotified, NULL},
             {.mode = SCHED_ALL}},
            {"NotifyWatch",
             {3, setup_child, notify_watch, check, NULL},
             {.mode = SCHED_ALL}},
            {"NotifyWait",
             {3, setup_child, notify_wait, check, NULL},
             {.mode = SCHED_ALL}},
            {"NotifyAll",
             {3, setup, notify_all, check, NULL},
             {.mode = SCHED_ALL}},
            {"FreeWatched",
             {3, setup_watched, free_watched, check, NULL},
             {.mode = SCHED_ALL}},
            {"FiveTwoPreemptions",
             {5, setup, five, check, NULL},
             {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 1500000}},
            {"FiveRandomly",
             {5, setup, five, check, NULL},
             {.mode = SCHED_PCT, .bound = 4, .max_executions = 100000}});
