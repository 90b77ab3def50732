// sched: a deterministic scheduler, for proving protocols by running them.
//
// Sources compiled with SYNC_SCHED=1 run their threads as coroutines of one
// thread, and every operation of sync/atomic.h is a switch point: before it,
// any thread that can run may run.  sched_explore() runs a test again and
// again, each time in another order, until it has seen all orders (or those
// that were asked for), or one that fails:
//
//     static void setup(void *arg);            // a fresh object
//     static void thread(void *arg, int id);   // what each thread does
//     static void check(void *arg);            // what must hold at the end
//
//     struct sched_test test = {3, setup, thread, check, NULL};
//     struct sched_options options = {.mode = SCHED_ALL};
//     struct sched_result result;
//     sched_explore(&options, &test, &result);
//
// What is a failure:
//   assertion      SCHED_ASSERT() was false
//   lost wakeup    nobody can run, and somebody has not finished
//   livelock       max_steps were not enough, or all threads wait by looking
//   data race      two accesses, one a write, of what SYNC_DATA_READ(),
//                  SYNC_DATA_WRITE() or SYNC_INIT() names, and no chain of
//                  release and acquire between them: C11's rule, checked by
//                  vector clocks, whatever the order that they ran in
//   use after free of memory from sync_alloc(); use after return of a variable
//                  on the stack of another thread
//   too large      more threads, memory or objects than there is room for
//
// Which memory model.  Atomics are sequentially consistent, or, with tso, as on
// x86: every store waits in a buffer of its thread, and when it leaves is a
// choice of the scheduler.  Read-modify-writes and futex calls empty their own
// thread's buffer first; sync_heavy_fence() waits until all buffers have been
// emptied of what was in them.  Weaker orders show as data races.
//
// Time is virtual.  It moves when a wait with a deadline times out, which can
// happen at any moment; a wait with SYNC_NEVER never does, so that a wake-up
// that doesn't come is found even beside others that time out.
//
// A test must be deterministic: the same choices, the same run.  setup() must
// bring everything back, save what SYNC_GLOBAL and SYNC_THREAD_LOCAL name, and
// memory from sync_alloc(): those are brought back before it.  An execution may
// be cut short; nothing of it is unwound, so memory from elsewhere leaks then.
#ifndef MEMO_SYNC_SCHED_H_
#define MEMO_SYNC_SCHED_H_

#include <stdint.h>
#include <stdio.h>

#include "sync/annotate.h"

#ifdef __cplusplus
extern "C" {
#endif

// Which orders to run.
enum sched_mode {
    // All, but one only of those that differ in the order of operations that
    // don't touch the same thing (dynamic partial-order reduction: Abdulla,
    // Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction",
    // POPL 2014, source sets and sleep sets).  A test must then see order by
    // atomics alone, and not write plain logs.
    SCHED_ALL,
    // All, every single one.
    SCHED_EVERY,
    // Every one with at most bound preemptions, a preemption being a switch
    // away from a thread that could go on.
    SCHED_BOUNDED,
    // Any, each switch drawn by lot.
    SCHED_RANDOM,
    // Priorities drawn by lot that change bound - 1 times: finds a bug that
    // needs bound orderings with known probability (Burckhardt, Kothari,
    // Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic
    // Guarantees of Finding Bugs", ASPLOS 2010).
    SCHED_PCT,
};

struct sched_options {
    enum sched_mode mode;
    int bound;                // of SCHED_BOUNDED; the depth of SCHED_PCT
    uint64_t seed;            // of SCHED_RANDOM and SCHED_PCT
    uint64_t max_executions;  // 0: no limit, or 100000 for the random modes
    uint32_t max_steps;       // of one execution; 0: 5000
    int tso;                  // stores that a buffer holds, up to 4; 0: none
    int count_classes;        // of SCHED_EVERY: see struct sched_result
    int no_heavy_fence;       // sync_heavy_fence_available() returns 0
    const char *replay;       // NULL, or the replay of a failure: run just that
    FILE *trace;              // NULL, or where a replay tells its every step
};

struct sched_test {
    int n_threads;
    void (*setup)(void *arg);           // may be NULL
    void (*thread)(void *arg, int id);  // id: 0 to n_threads - 1
    void (*check)(void *arg);           // may be NULL; all threads have ended
    void *arg;
};

struct sched_result {
    uint64_t executions;  // that ran to their end
    uint64_t redundant;   // given up: the like had been run
    uint64_t classes;     // if count_classes: those that SCHED_ALL tells apart
    uint64_t steps;
    double seconds;
    int complete;       // 1: all orders of the mode have been run
    int failed;         // 1: the last execution failed
    char verdict[256];  // "ok", or what failed and where
    char replay[256];   // SCHED_REPLAY=... of the failure
};

// Explore test as options say, up to the first failure, which is also printed
// to stderr, with its replay.  Not to be called from two threads at once.
void sched_explore(const struct sched_options *options,
                   const struct sched_test *test, struct sched_result *result);

// Print name, verdict, number of executions and rate to stdout, in one line.
void sched_print(const char *name, const struct sched_result *result);

// Fail the execution, in a thread, setup() or check(), unless x is true.
#define SCHED_ASSERT(x) \
    ((x) ? (void)0 : sched_fail_("assertion", SCHED_HERE_ ": " #x))

// Let virtual time pass.  A switch point.
void sched_advance_ns(int64_t ns);

// Return how many blocks of sync_alloc() are not freed.
int sched_live_blocks(void);

#define SCHED_TEXT_(x) #x
#define SCHED_LINE_(x) SCHED_TEXT_(x)
#define SCHED_HERE_ __FILE__ ":" SCHED_LINE_(__LINE__)
SYNC_NORETURN void sched_fail_(const char *what, const char *where);

#ifdef __cplusplus
}
#endif

#endif  // MEMO_SYNC_SCHED_H_
