// The scheduler itself: it counts what is known, finds what is planted, and
// repeats what it has found.
#include "sync/sched.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "test/sched_programs.h"

namespace {

sched_options Options(sched_mode mode, int tso = 0) {
    sched_options options = {};
    options.mode = mode;
    options.tso = tso;
    options.max_executions = 2000000;
    return options;
}

sched_result Explore(const sched_test &test, const sched_options &options) {
    sched_result result;
    sched_explore(&options, &test, &result);
    return result;
}

sched_result Explore(const sched_test &test, sched_mode mode, int tso = 0) {
    return Explore(test, Options(mode, tso));
}

// All modes agree that nothing is wrong.
void ExpectRight(const sched_test &test, int tso = 0) {
    for (sched_mode mode : {SCHED_ALL, SCHED_EVERY}) {
        sched_result result = Explore(test, mode, tso);
        EXPECT_STREQ(result.verdict, "ok");
        EXPECT_TRUE(result.complete);
    }
}

// Every mode finds what is wrong, and its replay finds it at once.
void ExpectWrong(const std::string &verdict, const sched_test &test,
                 int tso = 0) {
    for (sched_mode mode :
         {SCHED_ALL, SCHED_EVERY, SCHED_BOUNDED, SCHED_RANDOM, SCHED_PCT}) {
        sched_options options = Options(mode, tso);
        options.bound = 3;
        sched_result result = Explore(test, options);
        ASSERT_TRUE(result.failed) << "mode " << mode;
        EXPECT_EQ(std::string(result.verdict).substr(0, verdict.size()),
                  verdict);
        EXPECT_LE(std::string(result.replay).size(), 64u);

        options.replay = result.replay;
        sched_result again = Explore(test, options);
        EXPECT_EQ(again.executions, 1u);
        EXPECT_STREQ(again.verdict, result.verdict);
    }
}

TEST(Sched, CountsEveryInterleaving) {
    program_size = 2;
    EXPECT_EQ(Explore(program_apart, SCHED_EVERY).executions, 90u);
    EXPECT_EQ(Explore(program_together, SCHED_EVERY).executions, 90u);
    program_size = 4;  // 12! / 4!^3
    EXPECT_EQ(Explore(program_apart, SCHED_EVERY).executions, 34650u);
}

TEST(Sched, RunsOneOfThoseThatCommute) {
    program_size = 4;
    EXPECT_EQ(Explore(program_apart, SCHED_ALL).executions, 1u);
    program_size = 2;
    EXPECT_EQ(Explore(program_together, SCHED_ALL).executions, 90u);
    EXPECT_EQ(Explore(program_readers, SCHED_ALL).executions, 256u);
    EXPECT_EQ(Explore(program_last_zero, SCHED_ALL).executions, 64u);
}

TEST(Sched, CountsPreemptions) {
    program_size = 2;
    sched_options options = Options(SCHED_BOUNDED);
    EXPECT_EQ(Explore(program_apart, options).executions, 6u);  // 3!
    options.bound = 1;
    // And one of three interrupted in its middle: by either of the others, with
    // its rest before or after the third (4); or, if it comes second, by the
    // third (2).
    EXPECT_EQ(Explore(program_apart, options).executions, 6u + 3 * (4 + 2));
    options.bound = 3;
    EXPECT_EQ(Explore(program_apart, options).executions, 90u);
}

// The reduction against the truth: of random programs, as many executions are
// run as there are classes when all are run.
TEST(Sched, ReductionLeavesNothingOut) {
    for (int seed = 0; seed < 300; seed++) {
        int tso = seed % 3;
        sched_test test = program_random;
        program_draw(static_cast<uint64_t>(seed));
        test.n_threads = tso != 0 ? 2 : 3;
        program_size = tso != 0 ? 3 : 2 + seed % 2;
        sched_options options = Options(SCHED_EVERY, tso);
        options.max_executions = 50000;
        options.count_classes = 1;
        sched_result every = Explore(test, options);
        sched_result all = Explore(test, SCHED_ALL, tso);
        EXPECT_EQ(every.failed, all.failed) << seed;
        if (every.complete) {
            EXPECT_EQ(every.classes, all.executions) << seed;
        }
    }
}

TEST(Sched, FindsLostWakeups) {
    ExpectRight(program_wait_and_set);
    ExpectRight(program_wait_and_set, 2);
    ExpectWrong("lost wakeup: a at test/sched_programs.c", program_lost_wakeup);
    ExpectWrong("lost wakeup: c at", program_lost_beside_time_out);
    ExpectWrong("lost wakeup: a at", program_deadlock);
}

TEST(Sched, TimesOutAndDoesNot) {
    program_timed_out = program_woken = 0;
    ExpectRight(program_time_out_or_wake);
    EXPECT_TRUE(program_timed_out);
    EXPECT_TRUE(program_woken);
    ExpectRight(program_time_passes);
    EXPECT_EQ(Explore(program_time_passes, SCHED_ALL).executions, 3u);
}

TEST(Sched, WaitsByLooking) {
    ExpectRight(program_spin);
    ExpectRight(program_spin, 2);
    ExpectWrong("livelock", program_livelock);
}

TEST(Sched, FindsMissingOrder) {
    ExpectRight(program_publish);
    ExpectRight(program_publish, 2);
    ExpectRight(program_sequence_of_adds);
    ExpectRight(program_sequence_of_stores);
    ExpectWrong("data race", program_publish_relaxed);
    ExpectWrong("data race", program_publish_late);
    ExpectWrong("data race", program_read_relaxed);
    ExpectWrong("data race", program_publish_init);
    ExpectWrong("data race", program_sequence_broken);
    ExpectWrong("data race", program_publish_relaxed, 2);
}

TEST(Sched, BuffersStores) {
    ExpectRight(program_store_buffering);
    ExpectWrong("assertion", program_store_buffering, 1);
    ExpectWrong("assertion", program_store_buffering, 2);
    ExpectRight(program_store_buffering_xchg, 2);
    ExpectRight(program_store_buffering_fence, 2);
    ExpectRight(program_message, 2);
    ExpectRight(program_message, 4);
}

TEST(Sched, NeedsTheHeavyFence) {
    sched_options options = Options(SCHED_ALL, 2);
    options.no_heavy_fence = 1;
    EXPECT_TRUE(Explore(program_store_buffering_fence, options).failed);
}

TEST(Sched, FindsUseOfWhatIsGone) {
    ExpectWrong("", program_use_after_free);
    ExpectWrong("data race", program_free_unordered);
    ExpectWrong("use after return", program_use_after_return);
}

TEST(Sched, StartsAndEndsThreads) {
    ExpectRight(program_start_and_join);
    ExpectRight(program_end_of_thread);
    ExpectRight(program_end_of_thread, 2);
}

TEST(Sched, KeepsWhatIsThreadsOwnApart) {
    ExpectRight(program_locals);
}

TEST(Sched, SaysWhenATestIsNotForIt) {
    EXPECT_TRUE(Explore(program_differs, SCHED_EVERY).failed);
    EXPECT_STREQ(Explore(program_many_threads, SCHED_ALL).verdict,
                 "too large: more than 16 threads");
}

TEST(SchedDeathTest, SaysWhichExecutionOverflowsItsStack) {
    EXPECT_DEATH(Explore(program_overflow, SCHED_ALL),
                 "stack overflow\n    SCHED_REPLAY=0");
}

// How many executions a second: for people, who see this with --test_output.
TEST(Sched, Rate) {
    program_size = 4;
    sched_result result = Explore(program_apart, SCHED_EVERY);
    sched_print("three threads, four steps each", &result);
}

}  // namespace
