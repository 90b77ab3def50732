// Windows: what the ticks say is never ahead of what the clock says.
#include "sync/ticks.h"

#include <gtest/gtest.h>

#include "memo/memo.h"
#include "sync/clock.h"

namespace {

TEST(Ticks, NeverSayThatItIsBeforeWhatTheClockHasShown) {
    sync_ticks_window w = {};
    for (int reading = 0; reading < 50; reading++) {
        (void)sync_ticks_read_clock(&w);
        for (int i = 0; i < 10000; i++) {
            int64_t shown = sync_clock_now_ns();
            ASSERT_FALSE(sync_ticks_before(&w, shown));
        }
    }
}

TEST(Ticks, SayNothingBeforeTheClockIsRead) {
    sync_ticks_window w = {};
    EXPECT_FALSE(sync_ticks_before(&w, SYNC_NEVER));
}

TEST(Ticks, ReadTheClock) {
    sync_ticks_window w = {};
    int64_t before = sync_clock_now_ns();
    int64_t read = sync_ticks_read_clock(&w);
    int64_t after = sync_clock_now_ns();
    EXPECT_LE(before, read);
    EXPECT_LE(read, after);
}

TEST(Ticks, AreOfUseIfTheKernelMakesItsClockOfThem) {
    sync_ticks_window w = {};
    (void)sync_ticks_read_clock(&w);
    if (w.limit_ns == 0) {
        GTEST_SKIP() << "this machine's clock is made of something else";
    }
    // Another process may have its turn between two lines, but not always.
    int said_so = 0;
    for (int i = 0; i < 1000; i++) {
        int64_t now = sync_ticks_read_clock(&w);
        said_so += sync_ticks_before(&w, now + 1000000000);
    }
    EXPECT_GT(said_so, 0);
}

// T1: with the system's own clock, and as short a life as there is.
TEST(Ticks, NoValueIsAHitAfterItsTime) {
    memo_options options = {};
    options.size = sizeof(options);
    options.ttl_ns = 300000;
    options.load = [](void *, memo_load *l) {
        return memo_load_return(l, "value", 5);
    };
    memo *m;
    ASSERT_EQ(0, memo_new(&options, &m));
    int64_t loaded_by = 0;
    int hits = 0;
    for (int i = 0; i < 300000; i++) {
        int64_t asked = sync_clock_now_ns();
        memo_value v;
        ASSERT_EQ(0, memo_get(m, "0123456789abcdef", 16, &v));
        if (v.from == MEMO_HIT) {
            ASSERT_LT(asked, loaded_by + options.ttl_ns);
            hits++;
        } else {
            loaded_by = sync_clock_now_ns();
        }
        memo_release(&v);
    }
    EXPECT_GT(hits, 0);
    memo_free(m);
}

}  // namespace
