// One word, and who moves it:
//
//   TODO ---- a caller, who then runs fn ------------> RUNNING
//   RUNNING ---- another caller, about to sleep -----> AWAITED
//   RUNNING, AWAITED ---- fn has returned -----------> DONE
//   RUNNING, AWAITED ---- fn will never return ------> TODO
//
// Only the thread that runs fn leaves RUNNING and AWAITED for DONE or TODO.
//
// Memory ordering.
//
//   ORDER(once)  end:A    release exchange of word, to DONE or TODO
//                done:A   acquire load of word
//                begin:A  acquire compare-and-swap of word
//       If done:A or begin:A reads DONE, what fn did is seen.  If begin:A
//       reads TODO, what an fn that failed did is seen by the next.
#include "sync/once.h"

#include <limits.h>

// The values of word.
enum once_state {
    ONCE_TODO = 0,
    ONCE_RUNNING = 1,
    ONCE_AWAITED = 2,
    ONCE_DONE = 3,
};

// One run of fn, as its frame's cleanup sees it.
struct once_run {
    struct sync_once *once;
    uint32_t outcome;  // TODO, until fn has returned
};

// Runs when fn has returned, and also when its thread is being unwound through.
static void end_run(struct once_run *run) {
    sync_atomic_u32 *word = &run->once->word;

    // ORDER(once) end:A
    if (SYNC_XCHG_ACQREL(word, run->outcome) == ONCE_AWAITED) {
        // LIFETIME: the once may be gone; its address is all that is used.
        (void)sync_futex_wake(word, INT_MAX);
    }
}

static void run_once(struct sync_once *o, void (*fn)(void *), void *arg) {
    SYNC_CLEANUP(end_run) struct once_run run = {o, ONCE_TODO};

    fn(arg);  // CALLBACK: nothing is locked
    run.outcome = ONCE_DONE;
}

int sync_once_is_done(struct sync_once *o) {
    return SYNC_LOAD_ACQ(&o->word) == ONCE_DONE;  // ORDER(once) done:A
}

// Run fn and return 1, or wait until another thread's fn has ended.
static int run_or_wait(struct sync_once *o, void (*fn)(void *), void *arg) {
    uint32_t state = ONCE_TODO;

    // ORDER(once) begin:A
    if (SYNC_CAS_ACQ(&o->word, &state, ONCE_RUNNING)) {
        run_once(o, fn, arg);
        return 1;
    }
    // A failed exchange says that the state is no longer RUNNING: fine.
    if (state == ONCE_RUNNING) {
        (void)SYNC_CAS(&o->word, &state, ONCE_AWAITED);
    }
    if (state != ONCE_DONE) {
        (void)sync_futex_wait(&o->word, ONCE_AWAITED, SYNC_NEVER);
    }
    return 0;
}

void sync_once_do(struct sync_once *o, void (*fn)(void *), void *arg) {
    while (!sync_once_is_done(o) && !run_or_wait(o, fn, arg)) {
    }
}
