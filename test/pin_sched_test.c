// Pins against retirement, in all interleavings of three threads on a machine
// with store buffers: an object that a reader has pinned, and found in its
// place again, is not freed before it is unpinned.  This is what the asymmetric
// fence is for; without a heavy fence the pins must hold as well.
#include "sync/pin.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "PinSched";

struct object {
    int value;
};

static SYNC_ATOMIC(struct object *) shared;
static SYNC_ATOMIC(sync_pin_slot *) handed_over;
static struct object *given;

static struct object *make(int value) {
    struct object *o = sync_alloc(sizeof *o);
    SYNC_DATA_WRITE(&o->value);
    o->value = value;
    return o;
}

static void setup(void *arg) {
    (void)arg;
    SYNC_INIT(&shared, make(1));
    SYNC_INIT(&handed_over, NULL);
    given = NULL;
}

static sync_pin_slot *pin(void *p) {
    sync_pin_slot *slot = sync_pin_fast(p);
    return slot != NULL ? slot : sync_pin_slow(p);
}

static void read(struct object *o) {
    SYNC_DATA_READ(&o->value);
    SCHED_ASSERT(o->value == 1 || o->value == 2);
}

// Pin what is shared.  NULL: it went away.
static sync_pin_slot *pin_shared(struct object **out) {
    struct object *o = SYNC_LOAD_ACQ(&shared);
    if (o == NULL) {
        return NULL;
    }
    sync_pin_slot *slot = pin(o);
    if (SYNC_LOAD_ACQ(&shared) != o) {
        sync_unpin(slot);
        return NULL;
    }
    *out = o;
    return slot;
}

static void read_shared(void) {
    struct object *o;
    sync_pin_slot *slot = pin_shared(&o);
    if (slot != NULL) {
        read(o);
        sync_unpin(slot);
    }
}

static void see(void *arg, void *p) {
    struct object **o = arg;
    if (*o == p) {
        *o = NULL;  // pinned: left for another time
    }
}

// Replace what is shared, and free it unless it is pinned.
static void retire(struct object *successor) {
    struct object *o = SYNC_XCHG_ACQREL(&shared, successor);
    if (o != NULL) {
        (void)sync_pin_scan(see, &o);
        sync_free(o);
    }
}

// The first pin of a thread takes the slow way; what it does is another test's
// matter, and happens before the readers meet the others.
static void warm_up(void) {
    static struct object other;
    sync_unpin(pin(&other));
}

static void read_slow_or_retire(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        retire(NULL);
    } else {
        read_shared();
    }
}

static void read_or_retire(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        retire(NULL);
    } else {
        warm_up();
        read_shared();
    }
}

static void read_twice_or_retire(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        retire(make(2));
        retire(NULL);
    } else {
        warm_up();
        read_shared();
        read_shared();
    }
}

// A thread holds several pins.
static void read_both_or_retire(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        retire(make(2));
        retire(NULL);
    } else {
        warm_up();
        struct object *a, *b;
        sync_pin_slot *slot_a = pin_shared(&a);
        sync_pin_slot *slot_b = pin_shared(&b);
        if (slot_a != NULL) {
            read(a);
            sync_unpin(slot_a);
        }
        if (slot_b != NULL) {
            read(b);
            sync_unpin(slot_b);
        }
    }
}

// A pin is made by one thread and ended by another.
static void hand_over(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        retire(NULL);
    } else if (id == 1) {
        warm_up();
        sync_pin_slot *slot = pin_shared(&given);
        SYNC_DATA_WRITE(&given);
        SYNC_STORE_REL(&handed_over, slot);
    } else {
        sync_pin_slot *slot = SYNC_LOAD_ACQ(&handed_over);
        if (slot != NULL) {
            SYNC_DATA_READ(&given);
            read(given);
            sync_unpin(slot);
        }
    }
}

// The same, and the first thread's next pin, in the same slot, hides the end of
// the old one from whoever retires.
static void hand_over_and_reuse(void *arg, int id) {
    static struct object other;
    hand_over(arg, id);
    if (id == 1) {
        sync_pin_slot *slot = sync_pin_fast(&other);
        if (slot != NULL) {
            sync_unpin(slot);
        }
    }
}

static void hand_over_and_reuse_slowly(void *arg, int id) {
    static struct object other;
    hand_over(arg, id);
    if (id == 1) {
        sync_unpin(sync_pin_slow(&other));
    }
}

// Two retire; neither may free what the other's reader has pinned.
static void two_retire(void *arg, int id) {
    (void)arg;
    if (id < 2) {
        retire(id == 0 ? make(2) : NULL);
    } else {
        warm_up();
        read_shared();
    }
}

// Threads come and go: their records are handed on.
static void come_and_go(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        retire(NULL);
    } else {
        read_shared();
        SCHED_ASSERT(sync_pin_records() <= 2);
    }
}

SCHED_CASES(
    {"ReadSlowOrRetire",
     {2, setup, read_slow_or_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"ReadOrRetire",
     {2, setup, read_or_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"ReadTwiceOrRetire",
     {2, setup, read_twice_or_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"ReadBothOrRetire",
     {2, setup, read_both_or_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"HandOver",
     {3, setup, hand_over, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"HandOverAndReuse",
     {3, setup, hand_over_and_reuse, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"HandOverAndReuseSlowly",
     {3, setup, hand_over_and_reuse_slowly, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"TwoRetire",
     {3, setup, two_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2}},
    {"TwoReadersOrRetire",
     {3, setup, read_or_retire, NULL, NULL},
     {.mode = SCHED_ALL}},
    {"TwoReadersOrRetireBuffered",
     {3, setup, read_or_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 1}},
    {"ComeAndGo", {3, setup, come_and_go, NULL, NULL}, {.mode = SCHED_ALL}},
    {"WithoutHeavyFence",
     {2, setup, read_twice_or_retire, NULL, NULL},
     {.mode = SCHED_ALL, .tso = 2, .no_heavy_fence = 1}},
    {"FiveRandomly",
     {5, setup, two_retire, NULL, NULL},
     {.mode = SCHED_PCT, .bound = 4, .tso = 3, .max_executions = 30000}});
