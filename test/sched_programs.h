// Programs for sched_test.cc to explore: some right, most with one bug.
#ifndef MEMO_TEST_SCHED_PROGRAMS_H_
#define MEMO_TEST_SCHED_PROGRAMS_H_

#include "sync/sched.h"

#ifdef __cplusplus
extern "C" {
#endif

// How many operations each thread of a counted program makes.
extern int program_size;

// A new random program, for sched_test.thread = program_random.
void program_draw(uint64_t seed);

#define PROGRAMS(X)                                                            \
    X(apart)                                                                   \
    X(together)                                                                \
    X(readers) X(last_zero) X(random) X(wait_and_set) X(lost_wakeup)           \
        X(lost_beside_time_out) X(time_out_or_wake) X(time_passes) X(publish)  \
            X(publish_relaxed) X(publish_late) X(read_relaxed) X(publish_init) \
                X(sequence_of_adds) X(sequence_of_stores) X(sequence_broken)   \
                    X(store_buffering) X(store_buffering_xchg)                 \
                        X(store_buffering_fence) X(message) X(use_after_free)  \
                            X(free_unordered) X(use_after_return) X(overflow)  \
                                X(spin) X(livelock) X(deadlock)                \
                                    X(start_and_join) X(end_of_thread)         \
                                        X(locals) X(differs) X(many_threads)

#define PROGRAM_DECLARE_(name) extern const struct sched_test program_##name;
PROGRAMS(PROGRAM_DECLARE_)
#undef PROGRAM_DECLARE_

// Whether an execution of time_out_or_wake ended the one way and the other.
extern int program_timed_out, program_woken;

#ifdef __cplusplus
}
#endif

#endif  // MEMO_TEST_SCHED_PROGRAMS_H_
