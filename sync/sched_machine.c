// The modelled machine: threads are coroutines, and one runs at a time.
//
// A thread that comes to an operation says what it will be (its op) and calls
// sched_schedule_(), which returns when it is the thread's turn; then it
// carries the operation out and runs on to its next.  All that it does in
// between is one step.  Threads that a step sets free (a woken sleeper, a new
// thread) are brought to their next operation within that step, by
// sched_advance_(): so the next operation of whoever can be chosen is always
// known.
#include "sync/sched_internal.h"

#include <stdlib.h>
#include <string.h>

// Threads --------------------------------------------------------------------

struct sched_thread sched_threads_[SYNC_SCHED_THREADS + 1];
int sched_n_threads_;
uint32_t sched_n_writes_;
int64_t sched_now_ns_;
int sched_buffer_size_;
char sched_the_clock_, sched_the_threads_, sched_the_buffers_,
    sched_the_writes_;
static sched_set ready;     // threads that are SCHED_READY
static sched_set timed;     // SCHED_SLEEPING with a deadline
static sched_set sleeping;  // SCHED_SLEEPING
static sched_set looking;   // SCHED_LOOKING
static int stopped;         // by sched_stop_()
static int current;         // the thread that was chosen last
static int advancer;        // who waits in sched_advance_(), or SCHED_NOBODY
static uint32_t fruitless;  // how often all that could run were SCHED_LOOKING

int sync_sched_self_ = SCHED_MAIN;

void sched_set_state_(int thread, enum sched_state state) {
    sched_set bit = thread == SCHED_MAIN ? 0 : sched_bit_(thread);
    ready &= ~bit;
    timed &= ~bit;
    sleeping &= ~bit;
    looking &= ~bit;
    if (state == SCHED_READY) {
        ready |= bit;
    } else if (state == SCHED_SLEEPING) {
        sleeping |= bit;
        if (sched_threads_[thread].deadline_ns != SYNC_NEVER) {
            timed |= bit;
        }
    } else if (state == SCHED_LOOKING) {
        looking |= bit;
    }
    sched_threads_[thread].state = state;
}

static void lift(int thread) {
    if (sched_buffer_size_ != 0 && thread != SCHED_MAIN) {
        sched_buffer_lift_(thread);
    }
}

static void lay(int thread) {
    if (sched_buffer_size_ != 0 && thread != SCHED_MAIN) {
        sched_buffer_lay_(thread);
    }
}

static void switch_to(int thread) {
    int self = sync_sched_self_;
    lift(self);
    sync_sched_self_ = thread;
    sched_coroutine_switch_(&sched_threads_[self].coroutine,
                            &sched_threads_[thread].coroutine);
    lay(self);
}

void sched_stop_(void) {
    stopped = 1;
    switch_to(SCHED_MAIN);
    abort();
}

int sched_is_left_(const volatile void *address) {
    int owner = sched_stack_owner_(address);
    if (owner == SCHED_NOBODY || owner == sync_sched_self_) {
        return 0;
    }
#ifdef SCHED_BY_HAND
    if ((uintptr_t)address < (uintptr_t)sched_threads_[owner].coroutine.sp) {
        return 1;
    }
#endif
    return sched_threads_[owner].state == SCHED_ENDED;
}

// Thread is free to go on: bring it to its next operation.
void sched_advance_(int thread) {
    int outer = advancer;
    sched_set_state_(thread, SCHED_READY);
    if (thread !=
        sync_sched_self_) {  // else: sched_schedule_() will return to it
        advancer = sync_sched_self_;
        switch_to(thread);
        advancer = outer;
    }
}

int sched_has_ended_(int thread) {
    return sched_threads_[thread].state == SCHED_ENDED &&
           (sched_buffer_size_ == 0 || sched_buffer_count_(thread) == 0);
}

// Thread has ended, and its last store is visible.
void sched_advance_joiners_(int thread) {
    for (int i = 0; i < sched_n_threads_; i++) {
        if (sched_threads_[i].state == SCHED_JOINING &&
            sched_threads_[i].joined == thread) {
            sched_advance_(i);
        }
    }
}

int sched_fence_is_done_(int thread) {
    for (int i = 0; i < sched_n_threads_; i++) {
        if ((int32_t)(sched_threads_[thread].fence_up_to[i] -
                      sched_buffer_left_(i)) > 0) {
            return 0;
        }
    }
    return 1;
}

// An atomic was written: who has yielded may look again.
static void note_write(void) {
    sched_n_writes_++;
    fruitless = 0;
    for (sched_set set = looking; set != 0; set &= set - 1) {
        sched_set_state_(sched_first_(set), SCHED_READY);
    }
}

static void drain(int thread) {
    sched_buffer_drain_(thread);
    note_write();
    if (sched_has_ended_(thread)) {
        sched_advance_joiners_(thread);
    }
    for (int i = 0; i < sched_n_threads_; i++) {
        if (sched_threads_[i].state == SCHED_FENCING &&
            sched_fence_is_done_(i)) {
            sched_advance_(i);
        }
    }
}

static void time_out(int thread) {
    struct sched_thread *t = &sched_threads_[thread];
    t->timed_out = 1;
    sched_now_ns_ =
        sched_now_ns_ > t->deadline_ns ? sched_now_ns_ : t->deadline_ns;
    sched_set_state_(thread, SCHED_READY);
}

static int enters_buffer(const struct sched_op *op) {
    return op->kind == SCHED_ATOMIC &&
           (op->bits & SYNC_MODIFIES_) == SYNC_WRITES_;
}

static int waits_for_empty_buffer(const struct sched_op *op) {
    if (op->kind == SCHED_ATOMIC) {
        return (op->bits & SYNC_MODIFIES_) == SYNC_MODIFIES_;
    }
    return op->kind != SCHED_NOW && op->kind != SCHED_ADVANCE &&
           op->kind != SCHED_TIMEOUT && op->kind != SCHED_LOOK;
}

static int waits_for_buffer(int thread) {
    const struct sched_op *op = &sched_threads_[thread].op;
    return enters_buffer(op)
               ? sched_buffer_is_full_(thread)
               : waits_for_empty_buffer(op) && sched_buffer_count_(thread) > 0;
}

static sched_set enabled_agents(void) {
    sched_set set = ready | timed;
    for (int i = 0; sched_buffer_size_ != 0 && i < sched_n_threads_; i++) {
        if (sched_threads_[i].state == SCHED_READY && waits_for_buffer(i)) {
            set &= ~sched_bit_(i);
        }
        if (sched_buffer_count_(i) > 0) {
            set |= sched_bit_(sched_buffer_of_(i));
        }
    }
    return set;
}

SYNC_COLD static void fail_stuck(void) {
    char text[200] = "";
    size_t n = 0;
    for (int i = 0; i < sched_n_threads_ && n < sizeof text; i++) {
        if (sched_threads_[i].state != SCHED_ENDED) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%c at %s",
                                  n == 0 ? "" : ", ", 'a' + i,
                                  sched_threads_[i].op.where);
        }
    }
    sched_failf_("lost wakeup: %s", text);
}

// Nobody can be chosen.  Let those who wait by looking look again, and return
// 0; or end the execution, and return 1 in main.
static int nobody_can_run(void) {
    if (looking != 0) {
        if (++fruitless > 1000) {
            sched_failf_("livelock: all wait by looking, the first at %s",
                         sched_threads_[sched_first_(looking)].op.where);
        }
        for (sched_set set = looking; set != 0; set &= set - 1) {
            sched_set_state_(sched_first_(set), SCHED_READY);
        }
        return 0;
    }
    for (int i = 0; i < sched_n_threads_; i++) {
        if (sched_threads_[i].state != SCHED_ENDED) {
            fail_stuck();
        }
    }
    if (sync_sched_self_ == SCHED_MAIN) {
        return 1;
    }
    sched_stop_();
}

// Return when it is the calling thread's turn: to carry out its op, if it is
// SCHED_READY; to go on, if it waited for something.
void sched_schedule_(void) {
    int self = sync_sched_self_;
    if (advancer != SCHED_NOBODY) {
        switch_to(advancer);
        return;
    }
    enum sched_state state = sched_threads_[self].state;
    int waits = state != SCHED_READY && state != SCHED_LOOKING;
    for (;;) {
        lift(self);
        if (waits && sched_threads_[self].state == SCHED_READY) {
            break;
        }
        sched_set enabled = enabled_agents();
        if (enabled == 0) {
            if (nobody_can_run()) {
                break;
            }
            continue;
        }
        int agent = sched_choose_(enabled, current);
        if (agent >= SYNC_SCHED_THREADS) {
            drain(agent - SYNC_SCHED_THREADS);
            continue;
        }
        current = agent;
        if (sched_threads_[agent].state == SCHED_SLEEPING) {
            time_out(agent);
        }
        if (agent != self) {
            switch_to(agent);
        }
        break;
    }
    lay(self);
}

// Atomics --------------------------------------------------------------------

int sched_finds_expected_(const struct sched_op *op) {
    return op->expected == NULL || memcmp((const void *)(uintptr_t)op->address,
                                          op->expected, op->size) == 0;
}

static void do_atomic(volatile void *p, size_t size, const void *expected,
                      int bits, const char *where) {
    int self = sync_sched_self_;
    struct sched_op *op = &sched_threads_[self].op;
    *op = (struct sched_op){
        .kind = SCHED_ATOMIC,
        .bits = bits,
        .address = p,
        .size = size,
        .expected = expected,
        .where = where,
        .object = sched_object_(p),
    };
    sched_schedule_();
    if (!sched_finds_expected_(op)) {
        op->bits &= SYNC_READS_ | SYNC_ACQUIRES_;
    }
    sched_access_(self, op);
    if (op->bits & SYNC_WRITES_ &&
        !(sched_buffer_size_ != 0 && enters_buffer(op))) {
        note_write();
    }
}

void sync_sched_op_(volatile void *p, size_t size, int bits,
                    const char *where) {
    if (sync_sched_self_ != SCHED_MAIN) {
        do_atomic(p, size, NULL, bits, where);
    }
}

void sync_sched_cas_(volatile void *p, size_t size, const void *expected,
                     int bits, const char *where) {
    if (sync_sched_self_ != SCHED_MAIN) {
        do_atomic(p, size, expected, bits, where);
    }
}

// Announce an operation other than an atomic one, and wait for its turn.
struct sched_thread *sched_begin_(enum sched_kind kind,
                                  const volatile void *address,
                                  struct sched_object *object,
                                  const char *where) {
    struct sched_thread *t = &sched_threads_[sync_sched_self_];
    t->op = (struct sched_op){
        .kind = kind,
        .bits = SYNC_READS_,
        .address = address,
        .where = where,
        .object = object,
    };
    sched_schedule_();
    return t;
}

// The one that has slept longest on word, or SCHED_NOBODY.
int sched_first_sleeper_(const volatile void *word) {
    int first = SCHED_NOBODY;
    for (sched_set set = sleeping; set != 0; set &= set - 1) {
        int i = sched_first_(set);
        if (sched_threads_[i].op.address == word &&
            (first == SCHED_NOBODY ||
             sched_threads_[i].came < sched_threads_[first].came)) {
            first = i;
        }
    }
    return first;
}

static int has_timed_sleeper(const volatile void *word) {
    for (sched_set set = timed; set != 0; set &= set - 1) {
        if (sched_threads_[sched_first_(set)].op.address == word) {
            return 1;
        }
    }
    return 0;
}

// The exploration's view -----------------------------------------------------

static int add_write(struct sched_touch touch[2]) {
    if (!sched_minds_writes_) {
        return 1;
    }
    touch[1] = (struct sched_touch){sched_object_(&sched_the_writes_), 0};
    return 2;
}

// What an operation touches may grow with the state, but shrink only by a step
// that touches all of it too: an agent that sleeps (see sched_order.c) relies
// on it.
int sched_touches_(int agent, struct sched_touch touch[2]) {
    // To those who yield, writes are alike: they don't commute with a yield,
    // but with each other, so that they are the readers of the_writes.
    touch[1].writes = 0;
    if (agent >= SYNC_SCHED_THREADS) {
        touch[0].object = sched_buffer_oldest_(agent - SYNC_SCHED_THREADS);
        touch[0].writes = 1;
        return add_write(touch);
    }
    const struct sched_op *op = &sched_threads_[agent].op;
    touch[0].object = op->object;
    touch[1].object = op->second;
    switch (op->kind) {
        case SCHED_ATOMIC:
            if (sched_buffer_size_ != 0 && enters_buffer(op)) {
                touch[0] =
                    (struct sched_touch){sched_object_(&sched_the_buffers_), 0};
            } else {
                touch[0].writes =
                    op->bits & SYNC_WRITES_ && sched_finds_expected_(op);
            }
            return touch[0].writes ? add_write(touch) : 1;
        case SCHED_FUTEX_WAIT:
            touch[0].writes = 0;
            touch[1].writes = 1;
            return 2;
        case SCHED_FUTEX_WAKE:
            // Waking one who could time out is as much of a time-out averted.
            touch[0].writes = sched_first_sleeper_(op->address) != SCHED_NOBODY;
            touch[1].object = sched_object_(&sched_the_clock_);
            return has_timed_sleeper(op->address) ? 2 : 1;
        case SCHED_TIMEOUT:
            // Time passing concerns those who read the clock, which is why they
            // are the writers.
            touch[0].writes = 1;
            return 2;
        default:
            touch[0].writes = 1;
            return 1;
    }
}

void sched_prepare_(int agent) {
    if (sched_buffer_size_ == 0) {
        return;
    }
    if (agent >= SYNC_SCHED_THREADS) {
        sched_follow_step_(
            agent, sched_buffer_oldest_step_(agent - SYNC_SCHED_THREADS));
        return;
    }
    const struct sched_op *op = &sched_threads_[agent].op;
    if (enters_buffer(op)) {
        sched_follow_step_(agent, sched_buffer_place_left_in_(agent));
    } else if (waits_for_empty_buffer(op)) {
        sched_follow_(agent, sched_buffer_of_(agent));
    }
}

void sched_describe_(int agent, char *text, size_t size) {
    static const char *const names[] = {
        "atomic", "futex wait", "futex wake", "timeout",    "thread start",
        "fence",  "read clock", "move clock", "look again",
    };
    if (agent >= SYNC_SCHED_THREADS) {
        snprintf(text, size, "buffered store of %c becomes visible",
                 'a' + agent - SYNC_SCHED_THREADS);
        return;
    }
    const struct sched_op *op = &sched_threads_[agent].op;
    snprintf(text, size, "%s %s%s%s %p at %s", names[op->kind],
             op->bits & SYNC_READS_ ? "r" : "",
             op->bits & SYNC_WRITES_ ? "w" : "",
             op->expected == NULL        ? ""
             : sched_finds_expected_(op) ? " (succeeds)"
                                         : " (fails)",
             (const void *)(uintptr_t)op->address, op->where);
}

// An execution ---------------------------------------------------------------

// All variables that are SYNC_GLOBAL, and how they were at first.
extern char __start_sync_sched_data[] __attribute__((weak));
extern char __stop_sync_sched_data[] __attribute__((weak));
static char *globals_at_first;

static void restore_globals(void) {
    size_t size = (size_t)(__stop_sync_sched_data - __start_sync_sched_data);
    if (size == 0) {
        return;
    }
    if (globals_at_first == NULL) {
        globals_at_first = malloc(size);
        if (globals_at_first == NULL) {
            abort();
        }
        memcpy(globals_at_first, __start_sync_sched_data, size);
    }
    memcpy(__start_sync_sched_data, globals_at_first, size);
}

void sched_reset_(const struct sched_options *options) {
    restore_globals();
    sched_memory_reset_(options->tso);
    sched_buffer_size_ = options->tso;
    sched_system_reset_(options);
    sched_n_threads_ = 0;
    ready = timed = sleeping = looking = 0;
    stopped = 0;
    current = SCHED_NOBODY;
    advancer = SCHED_NOBODY;
    sched_n_writes_ = 0;
    fruitless = 0;
    sync_sched_self_ = SCHED_MAIN;
    sched_threads_[SCHED_MAIN].state = SCHED_IDLE;
}

static const struct sched_test *running;

static void *run_test_thread(void *arg) {
    running->thread(running->arg, (int)(intptr_t)arg);
    return NULL;
}

void sched_run_(const struct sched_test *test) {
    running = test;
    for (int i = 0; i < test->n_threads; i++) {
        sched_make_thread_(run_test_thread, (void *)(intptr_t)i);
    }
    for (int i = 0; i < sched_n_threads_ && !stopped; i++) {
        if (sched_threads_[i].state == SCHED_ABSENT) {
            sched_advance_(i);
        }
    }
    if (!stopped) {
        sched_schedule_();
    }
}
