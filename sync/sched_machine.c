// The modelled machine: threads are coroutines, and one runs at a time.
//
// A thread that comes to an operation says what it will be (its op) and calls
// schedule(), which returns when it is the thread's turn; then it carries the
// operation out and runs on to its next.  All that it does in between is one
// step.  Threads that a step sets free (a woken sleeper, a new thread) are
// brought to their next operation within that step, by advance(): so the next
// operation of whoever can be chosen is always known.
#include "sync/sched_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unwind.h>

#include "sync/fault.h"
#include "sync/machine.h"

// Threads --------------------------------------------------------------------

enum thread_state {
    ABSENT,
    READY,     // can be chosen: op is next
    SLEEPING,  // on op.address; can be chosen if it has a deadline
    LOOKING,   // has yielded: can be chosen when somebody has written
    JOINING,   // until joined has ended
    FENCING,   // until the buffers have been drained up to fence_up_to
    ENDED,
    IDLE,  // main, while threads run
};

struct at_exit {
    struct at_exit *next;
    void (*fn)(void *);
    void *arg;
};

struct thread {
    struct sched_coroutine coroutine;
    enum thread_state state;
    struct sched_op op;
    int64_t deadline_ns;
    uint32_t came;  // sleepers: in which order
    uint32_t seen;  // n_writes when it looked last
    int timed_out;
    int joined;
    uint32_t fence_up_to[SYNC_SCHED_THREADS];
    void *(*fn)(void *);
    void *arg;
    void *result;
    struct at_exit *at_exit;
    struct _Unwind_Exception unwinding;  // not on the stack that is unwound
};

static struct thread threads[SYNC_SCHED_THREADS + 1];  // the last is main
static int n_threads;
static sched_set ready;     // threads that are READY
static sched_set timed;     // SLEEPING with a deadline
static sched_set sleeping;  // SLEEPING
static sched_set looking;   // LOOKING
static int stopped;         // by sched_stop_()
static int current;         // the thread that was chosen last
static int advancer;        // who waits in advance(), or SCHED_NOBODY
static uint32_t n_writes;   // to any atomic, counted if anybody yields
static uint32_t fruitless;  // how often all that could run were LOOKING
static uint32_t n_sleeps;
static int64_t now_ns;
static uint64_t random_state;
static int buffer_size;
static int heavy_fence_is_missing;

int sync_sched_self_ = SCHED_MAIN;

// What there is one of.
static char the_clock, the_threads, the_buffers, the_writes;

static void set_state(int thread, enum thread_state state) {
    sched_set bit = thread == SCHED_MAIN ? 0 : sched_bit_(thread);
    ready &= ~bit;
    timed &= ~bit;
    sleeping &= ~bit;
    looking &= ~bit;
    if (state == READY) {
        ready |= bit;
    } else if (state == SLEEPING) {
        sleeping |= bit;
        if (threads[thread].deadline_ns != SYNC_NEVER) {
            timed |= bit;
        }
    } else if (state == LOOKING) {
        looking |= bit;
    }
    threads[thread].state = state;
}

static void lift(int thread) {
    if (buffer_size != 0 && thread != SCHED_MAIN) {
        sched_buffer_lift_(thread);
    }
}

static void lay(int thread) {
    if (buffer_size != 0 && thread != SCHED_MAIN) {
        sched_buffer_lay_(thread);
    }
}

static void switch_to(int thread) {
    int self = sync_sched_self_;
    lift(self);
    sync_sched_self_ = thread;
    sched_coroutine_switch_(&threads[self].coroutine,
                            &threads[thread].coroutine);
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
    if ((uintptr_t)address < (uintptr_t)threads[owner].coroutine.sp) {
        return 1;
    }
#endif
    return threads[owner].state == ENDED;
}

// Thread is free to go on: bring it to its next operation.
static void advance(int thread) {
    int outer = advancer;
    set_state(thread, READY);
    if (thread != sync_sched_self_) {  // else: schedule() will return to it
        advancer = sync_sched_self_;
        switch_to(thread);
        advancer = outer;
    }
}

static int has_ended(int thread) {
    return threads[thread].state == ENDED &&
           (buffer_size == 0 || sched_buffer_count_(thread) == 0);
}

// Thread has ended, and its last store is visible.
static void advance_joiners(int thread) {
    for (int i = 0; i < n_threads; i++) {
        if (threads[i].state == JOINING && threads[i].joined == thread) {
            advance(i);
        }
    }
}

static int fence_is_done(int thread) {
    for (int i = 0; i < n_threads; i++) {
        if ((int32_t)(threads[thread].fence_up_to[i] - sched_buffer_left_(i)) >
            0) {
            return 0;
        }
    }
    return 1;
}

// An atomic was written: who has yielded may look again.
static void note_write(void) {
    n_writes++;
    fruitless = 0;
    for (sched_set set = looking; set != 0; set &= set - 1) {
        set_state(sched_first_(set), READY);
    }
}

static void drain(int thread) {
    sched_buffer_drain_(thread);
    note_write();
    if (has_ended(thread)) {
        advance_joiners(thread);
    }
    for (int i = 0; i < n_threads; i++) {
        if (threads[i].state == FENCING && fence_is_done(i)) {
            advance(i);
        }
    }
}

static void time_out(int thread) {
    struct thread *t = &threads[thread];
    t->timed_out = 1;
    now_ns = now_ns > t->deadline_ns ? now_ns : t->deadline_ns;
    set_state(thread, READY);
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
    const struct sched_op *op = &threads[thread].op;
    return enters_buffer(op)
               ? sched_buffer_is_full_(thread)
               : waits_for_empty_buffer(op) && sched_buffer_count_(thread) > 0;
}

static sched_set enabled_agents(void) {
    sched_set set = ready | timed;
    for (int i = 0; buffer_size != 0 && i < n_threads; i++) {
        if (threads[i].state == READY && waits_for_buffer(i)) {
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
    for (int i = 0; i < n_threads && n < sizeof text; i++) {
        if (threads[i].state != ENDED) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%c at %s",
                                  n == 0 ? "" : ", ", 'a' + i,
                                  threads[i].op.where);
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
                         threads[sched_first_(looking)].op.where);
        }
        for (sched_set set = looking; set != 0; set &= set - 1) {
            set_state(sched_first_(set), READY);
        }
        return 0;
    }
    for (int i = 0; i < n_threads; i++) {
        if (threads[i].state != ENDED) {
            fail_stuck();
        }
    }
    if (sync_sched_self_ == SCHED_MAIN) {
        return 1;
    }
    sched_stop_();
}

// Return when it is the calling thread's turn: to carry out its op, if it is
// READY; to go on, if it waited for something.
static void schedule(void) {
    int self = sync_sched_self_;
    if (advancer != SCHED_NOBODY) {
        switch_to(advancer);
        return;
    }
    enum thread_state state = threads[self].state;
    int waits = state != READY && state != LOOKING;
    for (;;) {
        lift(self);
        if (waits && threads[self].state == READY) {
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
        if (threads[agent].state == SLEEPING) {
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

static int finds_expected(const struct sched_op *op) {
    return op->expected == NULL || memcmp((const void *)(uintptr_t)op->address,
                                          op->expected, op->size) == 0;
}

static void do_atomic(volatile void *p, size_t size, const void *expected,
                      int bits, const char *where) {
    int self = sync_sched_self_;
    struct sched_op *op = &threads[self].op;
    *op = (struct sched_op){
        .kind = SCHED_ATOMIC,
        .bits = bits,
        .address = p,
        .size = size,
        .expected = expected,
        .where = where,
        .object = sched_object_(p),
    };
    schedule();
    if (!finds_expected(op)) {
        op->bits &= SYNC_READS_ | SYNC_ACQUIRES_;
    }
    sched_access_(self, op);
    if (op->bits & SYNC_WRITES_ && !(buffer_size != 0 && enters_buffer(op))) {
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
static struct thread *begin(enum sched_kind kind, const volatile void *address,
                            struct sched_object *object, const char *where) {
    struct thread *t = &threads[sync_sched_self_];
    t->op = (struct sched_op){
        .kind = kind,
        .bits = SYNC_READS_,
        .address = address,
        .where = where,
        .object = object,
    };
    schedule();
    return t;
}

// Futexes --------------------------------------------------------------------

// The queue of those who sleep on word.
static struct sched_object *queue_of(const volatile void *word) {
    return sched_object_((const volatile char *)word + 1);
}

int sync_sched_futex_wait_(sync_atomic_u32 *word, uint32_t expected,
                           int64_t deadline_ns, const char *where) {
    int self = sync_sched_self_;
    struct thread *t = &threads[self];
    if (self == SCHED_MAIN) {
        if (memcmp(word, &expected, sizeof expected) == 0) {
            sched_failf_("lost wakeup: outside of all threads, at %s", where);
        }
        return SYNC_OK;
    }
    t->op = (struct sched_op){
        .kind = SCHED_FUTEX_WAIT,
        .bits = SYNC_READS_,
        .address = word,
        .size = sizeof expected,
        .expected = &expected,
        .where = where,
        .object = sched_object_(word),
        .second = queue_of(word),
    };
    schedule();
    sched_access_(self, &t->op);
    if (!finds_expected(&t->op)) {
        return SYNC_OK;
    }
    t->op.kind = SCHED_TIMEOUT;
    t->op.expected = NULL;
    t->op.object = t->op.second;
    t->op.second = sched_object_(&the_clock);
    t->deadline_ns = deadline_ns;
    t->came = n_sleeps++;
    t->timed_out = 0;
    set_state(self, SLEEPING);
    schedule();
    return t->timed_out ? SYNC_ETIMEDOUT : SYNC_OK;
}

// The one that has slept longest on word, or SCHED_NOBODY.
static int first_sleeper(const volatile void *word) {
    int first = SCHED_NOBODY;
    for (sched_set set = sleeping; set != 0; set &= set - 1) {
        int i = sched_first_(set);
        if (threads[i].op.address == word &&
            (first == SCHED_NOBODY || threads[i].came < threads[first].came)) {
            first = i;
        }
    }
    return first;
}

static int has_timed_sleeper(const volatile void *word) {
    for (sched_set set = timed; set != 0; set &= set - 1) {
        if (threads[sched_first_(set)].op.address == word) {
            return 1;
        }
    }
    return 0;
}

int sync_sched_futex_wake_(sync_atomic_u32 *word, int n, const char *where) {
    int self = sync_sched_self_;
    if (self == SCHED_MAIN) {
        return 0;
    }
    begin(SCHED_FUTEX_WAKE, word, queue_of(word), where);
    int woken[SYNC_SCHED_THREADS];
    int n_woken = 0;
    while (n_woken < n) {
        int i = first_sleeper(word);
        if (i == SCHED_NOBODY) {
            break;
        }
        woken[n_woken++] = i;
        if (timed & sched_bit_(i)) {
            sched_might_time_out_(i);
        }
        sched_follow_(i, self);
        set_state(i, READY);
    }
    for (int i = 0; i < n_woken; i++) {
        advance(woken[i]);
    }
    return n_woken;
}

// Fences and time ------------------------------------------------------------

int sync_heavy_fence_available(void) {
    return !heavy_fence_is_missing;
}

void sync_sched_heavy_fence_(const char *where) {
    int self = sync_sched_self_;
    if (self == SCHED_MAIN || buffer_size == 0) {
        return;
    }
    struct thread *t =
        begin(SCHED_FENCE, NULL, sched_object_(&the_buffers), where);
    if (heavy_fence_is_missing) {
        return;
    }
    for (int i = 0; i < n_threads; i++) {
        t->fence_up_to[i] = sched_buffer_entered_(i);
    }
    if (!fence_is_done(self)) {
        set_state(self, FENCING);
        schedule();
    }
    for (int i = 0; i < n_threads; i++) {
        sched_follow_(self, sched_buffer_of_(i));
    }
}

int64_t sync_clock_now_ns(void) {
    if (sync_sched_self_ != SCHED_MAIN) {
        begin(SCHED_NOW, NULL, sched_object_(&the_clock), "sync_clock_now_ns");
    }
    return now_ns;
}

void sched_advance_ns(int64_t ns) {
    if (sync_sched_self_ != SCHED_MAIN) {
        begin(SCHED_ADVANCE, NULL, sched_object_(&the_clock),
              "sched_advance_ns");
    }
    now_ns = sync_clock_add_ns(now_ns, ns);
}

// A yield is an operation that can be chosen once somebody has written since
// the thread's last one: looking again before that would show nothing new.
void sync_sched_yield_(const char *where) {
    int self = sync_sched_self_;
    if (self != SCHED_MAIN) {
        sched_mind_writes_();
        if (threads[self].seen == n_writes) {
            set_state(self, LOOKING);
        }
        begin(SCHED_LOOK, NULL, sched_object_(&the_writes), where);
        threads[self].seen = n_writes;
    }
}

int sync_cores(void) {
    return 2;
}

// The same bytes in every execution.
void sync_random(void *p, size_t size) {
    unsigned char *bytes = p;
    for (size_t i = 0; i < size; i++) {
        random_state =
            random_state * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (unsigned char)(random_state >> 56);
    }
}

// Starting and ending --------------------------------------------------------

int sync_thread_at_exit(void (*fn)(void *), void *arg) {
    struct thread *t = &threads[sync_sched_self_];
    struct at_exit *a = sync_alloc(sizeof *a);
    if (a == NULL) {
        return SYNC_ENOMEM;
    }
    *a = (struct at_exit){t->at_exit, fn, arg};
    t->at_exit = a;
    return SYNC_OK;
}

SYNC_NORETURN static void end_thread(void) {
    int self = sync_sched_self_;
    struct thread *t = &threads[self];
    while (t->at_exit != NULL) {
        struct at_exit *a = t->at_exit;
        t->at_exit = a->next;
        a->fn(a->arg);
        sync_free(a);
    }
    set_state(self, ENDED);
    if (has_ended(self)) {
        advance_joiners(self);
    }
    schedule();
    abort();
}

static void thread_main(void) {
    struct thread *t = &threads[sync_sched_self_];
    lay(sync_sched_self_);
    t->result = t->fn(t->arg);
    end_thread();
}

static _Unwind_Reason_Code stop_unwinding(int version, _Unwind_Action actions,
                                          _Unwind_Exception_Class class,
                                          struct _Unwind_Exception *exception,
                                          struct _Unwind_Context *context,
                                          void *arg) {
    (void)version;
    (void)class;
    (void)exception;
    (void)arg;
    (void)context;
    if (actions & _UA_END_OF_STACK) {
        end_thread();
    }
    return _URC_NO_REASON;
}

void sync_thread_exit(void) {
    _Unwind_ForcedUnwind(&threads[sync_sched_self_].unwinding, stop_unwinding,
                         NULL);
    abort();
}

static int make_thread(void *(*fn)(void *), void *arg) {
    if (n_threads == SYNC_SCHED_THREADS) {
        sched_failf_("too large: more than %d threads", SYNC_SCHED_THREADS);
    }
    int thread = n_threads++;
    threads[thread] = (struct thread){.fn = fn, .arg = arg};
    sched_coroutine_make_(&threads[thread].coroutine, thread, thread_main);
    return thread;
}

int sync_sched_thread_start_(struct sync_thread *t, void *(*fn)(void *),
                             void *arg, const char *where) {
    int self = sync_sched_self_;
    if (sync_fault_()) {
        return SYNC_EAGAIN;
    }
    if (self == SCHED_MAIN) {
        t->handle = (uintptr_t)make_thread(fn, arg);
        return SYNC_OK;
    }
    begin(SCHED_START, NULL, sched_object_(&the_threads), where);
    int thread = make_thread(fn, arg);
    t->handle = (uintptr_t)thread;
    sched_clock_join_(thread, self);
    sched_follow_(thread, self);
    advance(thread);
    return SYNC_OK;
}

void *sync_sched_thread_join_(struct sync_thread *t, const char *where) {
    int self = sync_sched_self_;
    int joined = (int)t->handle;
    if (!has_ended(joined)) {
        if (self == SCHED_MAIN) {
            sched_failf_("lost wakeup: outside of all threads, at %s", where);
        }
        threads[self].joined = joined;
        threads[self].op.where = where;
        set_state(self, JOINING);
        schedule();
    }
    if (self != SCHED_MAIN) {
        sched_clock_join_(self, joined);
        sched_follow_(self, joined);
        sched_follow_(self, sched_buffer_of_(joined));
    }
    return threads[joined].result;
}

void sync_thread_detach(struct sync_thread *t) {
    (void)t;
}

// The exploration's view -----------------------------------------------------

static int add_write(struct sched_touch touch[2]) {
    if (!sched_minds_writes_) {
        return 1;
    }
    touch[1] = (struct sched_touch){sched_object_(&the_writes), 0};
    return 2;
}

// What an operation touches may grow with the state, but shrink only by a step
// that touches all of it too: an agent that sleeps (see sched.c) relies on it.
int sched_touches_(int agent, struct sched_touch touch[2]) {
    // To those who yield, writes are alike: they don't commute with a yield,
    // but with each other, so that they are the readers of the_writes.
    touch[1].writes = 0;
    if (agent >= SYNC_SCHED_THREADS) {
        touch[0].object = sched_buffer_oldest_(agent - SYNC_SCHED_THREADS);
        touch[0].writes = 1;
        return add_write(touch);
    }
    const struct sched_op *op = &threads[agent].op;
    touch[0].object = op->object;
    touch[1].object = op->second;
    switch (op->kind) {
        case SCHED_ATOMIC:
            if (buffer_size != 0 && enters_buffer(op)) {
                touch[0] = (struct sched_touch){sched_object_(&the_buffers), 0};
            } else {
                touch[0].writes = op->bits & SYNC_WRITES_ && finds_expected(op);
            }
            return touch[0].writes ? add_write(touch) : 1;
        case SCHED_FUTEX_WAIT:
            touch[0].writes = 0;
            touch[1].writes = 1;
            return 2;
        case SCHED_FUTEX_WAKE:
            // Waking one who could time out is as much of a time-out averted.
            touch[0].writes = first_sleeper(op->address) != SCHED_NOBODY;
            touch[1].object = sched_object_(&the_clock);
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
    if (buffer_size == 0) {
        return;
    }
    if (agent >= SYNC_SCHED_THREADS) {
        sched_follow_step_(
            agent, sched_buffer_oldest_step_(agent - SYNC_SCHED_THREADS));
        return;
    }
    const struct sched_op *op = &threads[agent].op;
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
    const struct sched_op *op = &threads[agent].op;
    snprintf(text, size, "%s %s%s%s %p at %s", names[op->kind],
             op->bits & SYNC_READS_ ? "r" : "",
             op->bits & SYNC_WRITES_ ? "w" : "",
             op->expected == NULL ? ""
             : finds_expected(op) ? " (succeeds)"
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
    buffer_size = options->tso;
    heavy_fence_is_missing = options->no_heavy_fence;
    n_threads = 0;
    ready = timed = sleeping = looking = 0;
    stopped = 0;
    current = SCHED_NOBODY;
    advancer = SCHED_NOBODY;
    n_writes = 0;
    fruitless = 0;
    n_sleeps = 0;
    now_ns = 1000000000;
    random_state = 0;
    sync_sched_self_ = SCHED_MAIN;
    threads[SCHED_MAIN].state = IDLE;
    threads[SCHED_MAIN].at_exit = NULL;
}

static const struct sched_test *running;

static void *run_test_thread(void *arg) {
    running->thread(running->arg, (int)(intptr_t)arg);
    return NULL;
}

void sched_run_(const struct sched_test *test) {
    running = test;
    for (int i = 0; i < test->n_threads; i++) {
        make_thread(run_test_thread, (void *)(intptr_t)i);
    }
    for (int i = 0; i < n_threads && !stopped; i++) {
        if (threads[i].state == ABSENT) {
            advance(i);
        }
    }
    if (!stopped) {
        schedule();
    }
}
