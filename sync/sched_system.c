// What threads ask of the system that is modelled: to sleep and to wake, the
// time, threads.
#include <stdlib.h>
#include <string.h>

#include "sync/fault.h"
#include "sync/machine.h"
#include "sync/sched_internal.h"

static uint32_t n_sleeps;
static uint64_t random_state;
static int heavy_fence_is_missing;

void sched_system_reset_(const struct sched_options *options) {
    n_sleeps = 0;
    random_state = 0;
    heavy_fence_is_missing = options->no_heavy_fence;
    sched_now_ns_ = 1000000000;
    sched_threads_[SCHED_MAIN].at_exit = NULL;
}

// Futexes --------------------------------------------------------------------

// The queue of those who sleep on word.
static struct sched_object *queue_of(const volatile void *word) {
    return sched_object_((const volatile char *)word + 1);
}

int sync_sched_futex_wait_(sync_atomic_u32 *word, uint32_t expected,
                           int64_t deadline_ns, const char *where) {
    int self = sync_sched_self_;
    struct sched_thread *t = &sched_threads_[self];
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
    sched_schedule_();
    sched_access_(self, &t->op);
    if (!sched_finds_expected_(&t->op)) {
        return SYNC_OK;
    }
    t->op.kind = SCHED_TIMEOUT;
    t->op.expected = NULL;
    t->op.object = t->op.second;
    t->op.second = sched_object_(&sched_the_clock_);
    t->deadline_ns = deadline_ns;
    t->came = n_sleeps++;
    t->timed_out = 0;
    sched_set_state_(self, SCHED_SLEEPING);
    sched_schedule_();
    return t->timed_out ? SYNC_ETIMEDOUT : SYNC_OK;
}

int sync_sched_futex_wake_(sync_atomic_u32 *word, int n, const char *where) {
    int self = sync_sched_self_;
    if (self == SCHED_MAIN) {
        return 0;
    }
    sched_begin_(SCHED_FUTEX_WAKE, word, queue_of(word), where);
    int woken[SYNC_SCHED_THREADS];
    int n_woken = 0;
    while (n_woken < n) {
        int i = sched_first_sleeper_(word);
        if (i == SCHED_NOBODY) {
            break;
        }
        woken[n_woken++] = i;
        if (sched_threads_[i].deadline_ns != SYNC_NEVER) {
            sched_might_time_out_(i);
        }
        sched_follow_(i, self);
        sched_set_state_(i, SCHED_READY);
    }
    for (int i = 0; i < n_woken; i++) {
        sched_advance_(woken[i]);
    }
    return n_woken;
}

// Fences and time ------------------------------------------------------------

int sync_heavy_fence_available(void) {
    return !heavy_fence_is_missing;
}

void sync_sched_heavy_fence_(const char *where) {
    int self = sync_sched_self_;
    if (self == SCHED_MAIN || sched_buffer_size_ == 0) {
        return;
    }
    struct sched_thread *t = sched_begin_(
        SCHED_FENCE, NULL, sched_object_(&sched_the_buffers_), where);
    if (heavy_fence_is_missing) {
        return;
    }
    for (int i = 0; i < sched_n_threads_; i++) {
        t->fence_up_to[i] = sched_buffer_entered_(i);
    }
    if (!sched_fence_is_done_(self)) {
        sched_set_state_(self, SCHED_FENCING);
        sched_schedule_();
    }
    for (int i = 0; i < sched_n_threads_; i++) {
        sched_follow_(self, sched_buffer_of_(i));
    }
}

int64_t sync_clock_now_ns(void) {
    if (sync_sched_self_ != SCHED_MAIN) {
        sched_begin_(SCHED_NOW, NULL, sched_object_(&sched_the_clock_),
                     "sync_clock_now_ns");
    }
    return sched_now_ns_;
}

void sched_advance_ns(int64_t ns) {
    if (sync_sched_self_ != SCHED_MAIN) {
        sched_begin_(SCHED_ADVANCE, NULL, sched_object_(&sched_the_clock_),
                     "sched_advance_ns");
    }
    sched_now_ns_ = sync_clock_add_ns(sched_now_ns_, ns);
}

// A yield is an operation that can be chosen once somebody has written since
// the thread's last one: looking again before that would show nothing new.
void sync_sched_yield_(const char *where) {
    int self = sync_sched_self_;
    if (self != SCHED_MAIN) {
        sched_mind_writes_();
        if (sched_threads_[self].seen == sched_n_writes_) {
            sched_set_state_(self, SCHED_LOOKING);
        }
        sched_begin_(SCHED_LOOK, NULL, sched_object_(&sched_the_writes_),
                     where);
        sched_threads_[self].seen = sched_n_writes_;
    }
}

// Nobody forks here.
int sync_at_fork(void (*before)(void), void (*in_parent)(void),
                 void (*in_child)(void)) {
    (void)before;
    (void)in_parent;
    (void)in_child;
    return SYNC_OK;
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
    struct sched_thread *t = &sched_threads_[sync_sched_self_];
    struct sched_at_exit *a = sync_alloc(sizeof *a);
    if (a == NULL) {
        return SYNC_ENOMEM;
    }
    *a = (struct sched_at_exit){t->at_exit, fn, arg};
    t->at_exit = a;
    return SYNC_OK;
}

SYNC_NORETURN static void end_thread(void) {
    int self = sync_sched_self_;
    struct sched_thread *t = &sched_threads_[self];
    while (t->at_exit != NULL) {
        struct sched_at_exit *a = t->at_exit;
        t->at_exit = a->next;
        a->fn(a->arg);
        sync_free(a);
    }
    sched_set_state_(self, SCHED_ENDED);
    if (sched_has_ended_(self)) {
        sched_advance_joiners_(self);
    }
    sched_schedule_();
    abort();
}

static void thread_main(void) {
    struct sched_thread *t = &sched_threads_[sync_sched_self_];
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
    _Unwind_ForcedUnwind(&sched_threads_[sync_sched_self_].unwinding,
                         stop_unwinding, NULL);
    abort();
}

int sched_make_thread_(void *(*fn)(void *), void *arg) {
    if (sched_n_threads_ == SYNC_SCHED_THREADS) {
        sched_failf_("too large: more than %d threads", SYNC_SCHED_THREADS);
    }
    int thread = sched_n_threads_++;
    sched_threads_[thread] = (struct sched_thread){.fn = fn, .arg = arg};
    sched_coroutine_make_(&sched_threads_[thread].coroutine, thread,
                          thread_main);
    return thread;
}

int sync_sched_thread_start_(struct sync_thread *t, void *(*fn)(void *),
                             void *arg, const char *where) {
    int self = sync_sched_self_;
    if (sync_fault_()) {
        return SYNC_EAGAIN;
    }
    if (self == SCHED_MAIN) {
        t->handle = (uintptr_t)sched_make_thread_(fn, arg);
        return SYNC_OK;
    }
    sched_begin_(SCHED_START, NULL, sched_object_(&sched_the_threads_), where);
    int thread = sched_make_thread_(fn, arg);
    t->handle = (uintptr_t)thread;
    sched_clock_join_(thread, self);
    sched_follow_(thread, self);
    sched_advance_(thread);
    return SYNC_OK;
}

void *sync_sched_thread_join_(struct sync_thread *t, const char *where) {
    int self = sync_sched_self_;
    int joined = (int)t->handle;
    if (!sched_has_ended_(joined)) {
        if (self == SCHED_MAIN) {
            sched_failf_("lost wakeup: outside of all threads, at %s", where);
        }
        sched_threads_[self].joined = joined;
        sched_threads_[self].op.where = where;
        sched_set_state_(self, SCHED_JOINING);
        sched_schedule_();
    }
    if (self != SCHED_MAIN) {
        sched_clock_join_(self, joined);
        sched_follow_(self, joined);
        sched_follow_(self, sched_buffer_of_(joined));
    }
    return sched_threads_[joined].result;
}

void sync_thread_detach(struct sync_thread *t) {
    (void)t;
}
