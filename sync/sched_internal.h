// Shared by the parts of the scheduler:
//
//   sched.c            the exploration: who is next, what to run next; verdicts
//   sched_order.c      the same for SCHED_ALL: which steps commute
//   sched_machine.c    the machine that is modelled: steps, atomics
//   sched_system.c     its system: futexes, time, threads
//   sched_memory.c     its memory: visibility, store buffers, data races
//   sched_coroutine.c  stacks
//
// The machine asks the exploration before every operation.  What can be chosen
// is an agent: a thread, or the store buffer of a thread, which drains by
// itself.
#ifndef MEMO_SYNC_SCHED_INTERNAL_H_
#define MEMO_SYNC_SCHED_INTERNAL_H_

#ifndef SYNC_SCHED
#error "the scheduler is for sources compiled with SYNC_SCHED=1"
#endif

#include <stddef.h>
#include <stdint.h>
#include <unwind.h>

#include "sync/atomic.h"
#include "sync/sched.h"

#if !defined(__x86_64__) || defined(SCHED_BY_UCONTEXT)
#include <ucontext.h>
#endif

enum {
    SCHED_AGENTS = 2 * SYNC_SCHED_THREADS,
    SCHED_MAIN = SYNC_SCHED_THREADS,  // setup(), check() and the exploration
    SCHED_NOBODY = -1,
    SCHED_MAX_STEPS = 30000,  // an index of a step fits a clock
    SCHED_BUFFER = 4,
};

// A set of agents: threads are the low half.
typedef uint32_t sched_set;

static inline sched_set sched_bit_(int agent) {
    return (sched_set)1 << agent;
}

static inline int sched_first_(sched_set set) {
    return __builtin_ctz(set);
}

static inline int sched_buffer_of_(int thread) {
    return thread + SYNC_SCHED_THREADS;
}

// Clocks.  signed: SSE2 has a maximum of signed 16-bit numbers.
struct sched_clock {
    int16_t at[SYNC_SCHED_THREADS];
};

// What operations touch: an atomic or annotated data at its address; a queue of
// sleepers on a futex; or one of the few things there is one of.
struct sched_object {
    const volatile void *address;
    uint64_t execution;  // in which the rest is valid

    // Memory order.
    int8_t released_by;  // who stored released last
    int8_t written_by;   // the last plain write, or SCHED_NOBODY
    int16_t written_at;  //   its time
    const char *written_where;
    const char *read_where;
    struct sched_clock released;  // what reading it with acquire makes visible
    struct sched_clock read;      // each thread's last access of another kind

    // Partial order: the steps that touched it.
    int16_t writer;                // the last step that wrote, or 0
    sched_set readers;             // who has read since
    int16_t reader[SCHED_AGENTS];  // the last step in which each did
};

// How an operation touches an object.  Two touches of one object commute unless
// one of them writes.
struct sched_touch {
    struct sched_object *object;
    int writes;
};

enum sched_kind {
    SCHED_ATOMIC,
    SCHED_FUTEX_WAIT,
    SCHED_FUTEX_WAKE,
    SCHED_TIMEOUT,
    SCHED_START,
    SCHED_FENCE,
    SCHED_NOW,
    SCHED_ADVANCE,
    SCHED_LOOK,
};

// What a thread does next.
struct sched_op {
    enum sched_kind kind;
    int bits;  // SYNC_READS_ ...
    const volatile void *address;
    size_t size;
    const void *expected;  // of a compare-and-swap and a futex wait
    const char *where;
    struct sched_object *object;
    struct sched_object *second;
};

// sched_coroutine.c -----------------------------------------------------------

#if defined(__x86_64__) && !defined(SCHED_BY_UCONTEXT)
#define SCHED_BY_HAND 1
struct sched_coroutine {
    void *sp;
};
#else
// Slower: each switch is a system call.
struct sched_coroutine {
    ucontext_t context;
};
#endif

// Make a coroutine, on the stack of thread, that will run fn, for ever.
void sched_coroutine_make_(struct sched_coroutine *c, int thread,
                           void (*fn)(void));

// Leave from, which is running; return when somebody switches to it.
void sched_coroutine_switch_(struct sched_coroutine *from,
                             struct sched_coroutine *to);

// Whose stack address is in, or SCHED_NOBODY.
int sched_stack_owner_(const volatile void *address);

// Return whether address is below a stack, where nothing may be.
int sched_is_guard_(const volatile void *address);

// sched_memory.c -------------------------------------------------------------

void sched_memory_reset_(int buffer_size);

// Return the object at address.
struct sched_object *sched_object_(const volatile void *address);

// What a thread did is visible to another: from is its starter, or has ended.
void sched_clock_join_(int thread, int from);

// Carry out what op means for memory order; the machine then does it to memory,
// except that a store into a buffer is only visible to its thread.
void sched_access_(int thread, const struct sched_op *op);

// Store buffers.  The stores in a thread's buffer are laid over memory while
// that thread runs, and lifted while anybody else does: then memory holds what
// all can see.
int sched_buffer_count_(int thread);
int sched_buffer_is_full_(int thread);
void sched_buffer_lay_(int thread);
void sched_buffer_lift_(int thread);
// The oldest store leaves the buffer.
void sched_buffer_drain_(int thread);
// What the oldest will touch, and the step that made it.
struct sched_object *sched_buffer_oldest_(int thread);
int sched_buffer_oldest_step_(int thread);
// The step in which the store left whose place the next to enter takes.
int sched_buffer_place_left_in_(int thread);
// How many stores have entered and have left since the start.
uint32_t sched_buffer_entered_(int thread);
uint32_t sched_buffer_left_(int thread);

// Threads ---------------------------------------------------------------------

enum sched_state {
    SCHED_ABSENT,
    SCHED_READY,     // can be chosen: op is next
    SCHED_SLEEPING,  // on op.address; can be chosen if it has a deadline
    SCHED_LOOKING,   // has yielded: can be chosen when somebody has written
    SCHED_JOINING,   // until joined has ended
    SCHED_FENCING,   // until the buffers have been drained up to fence_up_to
    SCHED_ENDED,
    SCHED_IDLE,  // main, while threads run
};

struct sched_at_exit {
    struct sched_at_exit *next;
    void (*fn)(void *);
    void *arg;
};

struct sched_thread {
    struct sched_coroutine coroutine;
    enum sched_state state;
    struct sched_op op;
    int64_t deadline_ns;
    uint32_t came;  // sleepers: in which order
    uint32_t seen;  // sched_n_writes_ when it looked last
    int timed_out;
    int joined;
    uint32_t fence_up_to[SYNC_SCHED_THREADS];
    void *(*fn)(void *);
    void *arg;
    void *result;
    struct sched_at_exit *at_exit;
    struct _Unwind_Exception unwinding;  // not on the stack that is unwound
};

extern struct sched_thread sched_threads_[];  // the last is main
extern int sched_n_threads_;
extern int64_t sched_now_ns_;
extern int sched_buffer_size_;    // 0: stores go to memory at once
extern uint32_t sched_n_writes_;  // to any atomic

// Addresses for what there is one of.
extern char sched_the_clock_, sched_the_threads_, sched_the_buffers_,
    sched_the_writes_;

// sched_system.c --------------------------------------------------------------

void sched_system_reset_(const struct sched_options *options);

// Make a thread that is to be brought to its first operation; return its
// number.
int sched_make_thread_(void *(*fn)(void *), void *arg);

// sched_machine.c ------------------------------------------------------------

// Bring the machine to where every execution starts.
void sched_reset_(const struct sched_options *options);

// Make the threads of test, and let them run until nobody can or the execution
// is stopped.
void sched_run_(const struct sched_test *test);

void sched_set_state_(int thread, enum sched_state state);

// Return when it is the calling thread's turn: to carry out its op, if it is
// SCHED_READY; to go on, if it waited for something.
void sched_schedule_(void);

// Say what the calling thread's next operation is, and wait for its turn.
struct sched_thread *sched_begin_(enum sched_kind kind,
                                  const volatile void *address,
                                  struct sched_object *object,
                                  const char *where);

// Thread is free to go on: bring it to its next operation.
void sched_advance_(int thread);
// The same for those who wait for thread to end.
void sched_advance_joiners_(int thread);

// Whether thread has ended, and its last store is visible.
int sched_has_ended_(int thread);
// Whether all stores have left their buffers that the fence of thread waits
// for.
int sched_fence_is_done_(int thread);
// Whether a compare-and-swap or a futex wait finds what it expects.
int sched_finds_expected_(const struct sched_op *op);
// The one that has slept longest on word, or SCHED_NOBODY.
int sched_first_sleeper_(const volatile void *word);

// Stop the execution, from within it: sched_run_() returns.  Not in main.
SYNC_NORETURN void sched_stop_(void);

// Return whether address is on the stack of another thread, which has left the
// function whose variable was there.
int sched_is_left_(const volatile void *address);

// What the next operation of agent would touch in this state; returns how many.
int sched_touches_(int agent, struct sched_touch touch[2]);

// The next operation of agent is chosen: say what it follows.
void sched_prepare_(int agent);

// Describe the next operation of agent.
void sched_describe_(int agent, char *text, size_t size);

// sched_order.c ---------------------------------------------------------------

// An exploration begins; an execution begins.
void sched_order_begin_(enum sched_mode mode, int count_classes);
void sched_order_reset_(void);

// Choose an agent; or SCHED_NOBODY: all this has been run in another order.
int sched_order_choose_(sched_set enabled, int usual);

// Another mode has chosen agent.
void sched_order_choice_(int agent);

// Whether the execution has ended before it came to what was to be new in it.
int sched_order_was_short_(void);

// Prepare the next execution; return 0 if there is none.
int sched_order_next_(void);

// What agent a does from now on happens after what b has done, by the rules of
// the machine and not because of what both touch.
void sched_follow_(int a, int b);
// ... after the given step.
void sched_follow_step_(int a, int earlier);
// The number of the step being made.
int sched_step_(void);
// The sleep of thread could also have timed out before this step woke it.
void sched_might_time_out_(int thread);

// Count the class of the execution that has ended; forget all, and return how
// many there were.
void sched_classes_count_(void);
size_t sched_classes_forget_(void);

// sched.c ---------------------------------------------------------------------

// Choose whose operation is next among the enabled agents, of which there is at
// least one.  current is the thread that ran last.
int sched_choose_(sched_set enabled, int current);

// Writes matter to threads that yield, and are counted if a test has any.  The
// first to yield starts the exploration anew.
extern int sched_minds_writes_;
void sched_mind_writes_(void);

// Fail the execution.
SYNC_NORETURN void sched_failf_(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
// ... for a step of it is not what it was in the last execution.
SYNC_NORETURN void sched_fail_differs_(void);

#endif  // MEMO_SYNC_SCHED_INTERNAL_H_
