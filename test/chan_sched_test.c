// sync_chan, in all interleavings of two and three threads: a value arrives
// once or not at all, and both sides know; a select does one case; nobody is
// left waiting; and who received the last value may free the channel.
#include "sync/chan.h"

#include "sync/note.h"
#include "test/support/sched_cases.h"

const char sched_suite[] = "ChanSched";

enum { LATER = 2000000000 };

static struct sync_chan *chans[2];
static int sent[3];  // how many values each thread has sent
static int got[3];   // and received; whoever is last adds them up

static void setup_of(size_t capacity) {
    int i;

    for (i = 0; i < 2; i++) {
        chans[i] = sync_chan_new(sizeof(int), capacity);
    }
    for (i = 0; i < 3; i++) {
        sent[i] = got[i] = 0;
    }
}

static void setup_unbuffered(void *arg) {
    (void)arg;
    setup_of(0);
}

static void setup_one_place(void *arg) {
    (void)arg;
    setup_of(1);
}

static int n_sent(void) {
    return sent[0] + sent[1] + sent[2];
}

static int n_got(void) {
    return got[0] + got[1] + got[2];
}

// What was sent was received, or lies in a buffer.
static void check(void *arg) {
    (void)arg;
    SCHED_ASSERT(n_sent() == n_got() + (int)(sync_chan_length(chans[0]) +
                                             sync_chan_length(chans[1])));
    sync_chan_free(chans[0]);
    sync_chan_free(chans[1]);
    SCHED_ASSERT(sched_live_blocks() == 0);
}

static int send_until(struct sync_chan *c, int id, int64_t deadline_ns) {
    int value = 42;
    int error;

    SYNC_DATA_WRITE(&value);
    error = sync_chan_send(c, &value, deadline_ns, NULL);
    SYNC_DATA_WRITE(&value);
    value = 0;
    sent[id] += error == SYNC_OK;
    return error;
}

static int recv_until(struct sync_chan *c, int id, int64_t deadline_ns) {
    int value = 0;
    int error = sync_chan_recv(c, &value, deadline_ns, NULL);

    SYNC_DATA_READ(&value);
    SCHED_ASSERT(value == (error == SYNC_OK ? 42 : 0));
    got[id] += error == SYNC_OK;
    return error;
}

// Thread 0 receives what each of the others sends.
static void pass(void *arg, int id) {
    int i;

    for (i = 1; id == 0 && i < *(int *)arg; i++) {
        SCHED_ASSERT(recv_until(chans[0], 0, SYNC_NEVER) == SYNC_OK);
    }
    if (id != 0) {
        SCHED_ASSERT(send_until(chans[0], id, SYNC_NEVER) == SYNC_OK);
    }
}

// Both may give up: then the value was passed for both or for neither.
static void pass_in_time(void *arg, int id) {
    int error = id == 0 ? recv_until(chans[0], id, LATER)
                        : send_until(chans[0], id, LATER);

    (void)arg;
    SCHED_ASSERT(error == SYNC_OK || error == SYNC_ETIMEDOUT);
}

// Two selects on the same channels, in opposite order.
static void select_both(void *arg, int id) {
    int value = id == 0 ? 0 : 42;
    struct sync_select_case cases[2] = {{.chan = chans[id]},
                                        {.chan = chans[1 - id]}};
    int i;

    (void)arg;
    for (i = 0; i < 2; i++) {
        if (id == 0) {
            cases[i].recv = &value;
        } else {
            cases[i].send = &value;
        }
    }
    i = sync_chan_select(cases, 2, SYNC_NEVER, NULL);
    SCHED_ASSERT(i >= 0 && cases[i].error == SYNC_OK && value == 42);
    *(id == 0 ? &got[id] : &sent[id]) += 1;
}

// A select on two channels, on each of which another thread would send: it
// takes one of the two, unless all give up.
static void select_one(void *arg, int id) {
    int value = 0;
    struct sync_select_case cases[2] = {{.chan = chans[0], .recv = &value},
                                        {.chan = chans[1], .recv = &value}};

    (void)arg;
    if (id == 0) {
        int chosen = sync_chan_select(cases, 2, LATER, NULL);

        SCHED_ASSERT(chosen >= 0 || chosen == SYNC_ETIMEDOUT);
        SCHED_ASSERT(value == (chosen >= 0 ? 42 : 0));
        got[0] += chosen >= 0;
    } else {
        send_until(chans[id - 1], id, LATER);
    }
}

static void check_one(void *arg) {
    SCHED_ASSERT(n_sent() <= 1);
    check(arg);
}

// A sender, a receiver, and one who closes.
static void close_amid(void *arg, int id) {
    int error = SYNC_OK;

    (void)arg;
    if (id == 0) {
        error = recv_until(chans[0], id, SYNC_NEVER);
    } else if (id == 1) {
        error = send_until(chans[0], id, SYNC_NEVER);
    } else {
        SCHED_ASSERT(sync_chan_close(chans[0]) == SYNC_OK);
    }
    SCHED_ASSERT(error == SYNC_OK || error == SYNC_ECLOSED);
}

// A sender whom nobody but the closer can free.
static void close_on_sender(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(send_until(chans[0], id, SYNC_NEVER) == SYNC_ECLOSED);
    } else {
        SCHED_ASSERT(sync_chan_close(chans[0]) == SYNC_OK);
    }
}

static void recv_and_free(void *arg, int id) {
    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(recv_until(chans[0], id, SYNC_NEVER) == SYNC_OK);
        sync_chan_free(chans[0]);
    } else {
        SCHED_ASSERT(send_until(chans[0], id, SYNC_NEVER) == SYNC_OK);
    }
}

// The channel is in both cases of the sender's, who sends but once.
static void recv_of_both_and_free(void *arg, int id) {
    int value = 42;
    struct sync_select_case cases[2] = {{.chan = chans[0], .send = &value},
                                        {.chan = chans[0], .send = &value}};

    (void)arg;
    if (id == 0) {
        SCHED_ASSERT(recv_until(chans[0], id, SYNC_NEVER) == SYNC_OK);
        SCHED_ASSERT(recv_until(chans[0], id, SYNC_NOW) == SYNC_ETIMEDOUT);
        sync_chan_free(chans[0]);
    } else {
        SCHED_ASSERT(sync_chan_select(cases, 2, SYNC_NEVER, NULL) >= 0);
    }
}

static int n2 = 2, n3 = 3;

SCHED_CASES({"PassUnbuffered",
             {2, setup_unbuffered, pass, check, &n2},
             {.mode = SCHED_ALL}},
            {"PassBuffered",
             {2, setup_one_place, pass, check, &n2},
             {.mode = SCHED_ALL}},
            {"CloseOnASender",
             {2, setup_unbuffered, close_on_sender, check, NULL},
             {.mode = SCHED_ALL}},
            {"RecvAndFree",
             {2, setup_unbuffered, recv_and_free, NULL, NULL},
             {.mode = SCHED_ALL}},
            {"RecvAndFreeBuffered",
             {2, setup_one_place, recv_and_free, NULL, NULL},
             {.mode = SCHED_ALL}},
            {"RecvOfBothAndFree",
             {2, setup_unbuffered, recv_of_both_and_free, NULL, NULL},
             {.mode = SCHED_ALL}},
            {"PassInTime",
             {2, setup_unbuffered, pass_in_time, check, NULL},
             {.mode = SCHED_ALL, .max_executions = 400000}},
            {"SelectMeetsSelect",
             {2, setup_unbuffered, select_both, check, NULL},
             {.mode = SCHED_ALL, .max_executions = 400000}},
            {"TwoSendersUnbuffered",
             {3, setup_unbuffered, pass, check, &n3},
             {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 400000}},
            {"TwoSendersBuffered",
             {3, setup_one_place, pass, check, &n3},
             {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 400000}},
            {"SelectTakesOne",
             {3, setup_unbuffered, select_one, check_one, NULL},
             {.mode = SCHED_BOUNDED, .bound = 2, .max_executions = 400000}},
            {"CloseAmid",
             {3, setup_unbuffered, close_amid, check, NULL},
             {.mode = SCHED_BOUNDED, .bound = 3, .max_executions = 400000}},
            {"CloseAmidBuffered",
             {3, setup_one_place, close_amid, check, NULL},
             {.mode = SCHED_BOUNDED, .bound = 3, .max_executions = 400000}});
