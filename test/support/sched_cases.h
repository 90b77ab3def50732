// A protocol test: a table of scenarios to explore on the scheduler.
//
// The table is C, for what it uses is atomic; support/sched_main.cc makes a
// GoogleTest of each row, and support/sched_mutant.c looks for one that fails.
#ifndef MEMO_TEST_SUPPORT_SCHED_CASES_H_
#define MEMO_TEST_SUPPORT_SCHED_CASES_H_

#include "sync/sched.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sched_case {
    const char *name;
    struct sched_test test;
    struct sched_options options;
};

// Defined by the test.
extern const char sched_suite[];
extern const struct sched_case sched_cases[];
extern const int sched_n_cases;

#define SCHED_CASES(...)                                   \
    const struct sched_case sched_cases[] = {__VA_ARGS__}; \
    const int sched_n_cases = sizeof sched_cases / sizeof sched_cases[0]

#ifdef __cplusplus
}
#endif

#endif  // MEMO_TEST_SUPPORT_SCHED_CASES_H_
