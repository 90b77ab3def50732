// Outages of other caches, each of which stays away from this one: expiry,
// refreshes, errors that are kept.  The others: memo_regression_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Regression);

constexpr int64_t kHour = 3600 * kSecond;

// 10.  hot: when a refresh failed, the old value was written back with a new life,
// over what had been set meanwhile.
TEST_P(Regression, AFailedRefreshWritesNothing) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->refresh_after_ns = kSecond;
        o->ttl_ns = 10 * kSecond;
        o->stale_if_error_ns = kHour;
    });
    EXPECT_EQ(cache.Put("set", "old"), 0);
    EXPECT_EQ(cache.Put("left", "old"), 0);
    cache.clock.Advance(5 * kSecond);
    EXPECT_EQ(cache.Get("set"), Hit("old"));
    memo_load *l = cache.last;
    EXPECT_EQ(cache.Put("set", "newer"), 0);
    EXPECT_EQ(memo_load_finish(l, 7), 0);
    EXPECT_EQ(cache.Get("set"), Hit("newer"));
    // And an old value is no younger for it.
    EXPECT_EQ(cache.Get("left"), Hit("old"));
    EXPECT_EQ(memo_load_finish(cache.last, 7), 0);
    cache.clock.Advance(5 * kSecond);
    memo_wait at_once = Until(1);
    EXPECT_EQ(cache.Get("left", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(memo_load_finish(cache.last, 7), 0);
    EXPECT_EQ(cache.Peek("left"), Failed(MEMO_ENOENT));  // expired: not fresh
}

// 11.  Caffeine: the refresh of an absent key, overtaken by its invalidation,
// brought it back; here also that of a present one, and by tag and clear.
TEST_P(Regression, ARefreshThatWasInvalidatedResurrectsNothing) {
    for (int change = 0; change < 3; change++) {
        for (bool present : {false, true}) {
            LaterCache cache(GetParam(), RefreshAfter(kSecond, kHour));
            EXPECT_EQ(memo_invalidate_tag(cache, "other", 5), 0);
            if (present) {
                EXPECT_EQ(cache.Put("k", "old"), 0);
                cache.clock.Advance(kSecond);
                EXPECT_EQ(cache.Get("k"), Hit("old"));
            } else {
                EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
            }
            EXPECT_EQ(cache.loads, 1);
            EXPECT_EQ(memo_load_add_tag(cache.last, "t", 1), 0);
            EXPECT_EQ(change == 0   ? cache.Invalidate("k")
                      : change == 1 ? memo_clear(cache)
                                    : memo_invalidate_tag(cache, "t", 1),
                      0);
            cache.Finish("outdated");
            // The tag isn't the old value's, which may stay.
            EXPECT_EQ(cache.Peek("k"), change == 2 && present
                                           ? Hit("old")
                                           : Failed(MEMO_ENOENT));
        }
    }
}

// 12.  Caffeine #1970: somebody who looked during a refresh made its good result be
// discarded.
TEST_P(Regression, LookingDuringARefreshDoesNotDiscardItsResult) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond, kHour));
    EXPECT_EQ(cache.Put("k", "old"), 0);
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    EXPECT_EQ(cache.loads, 1);
    memo_wait no_load = Until(1);
    no_load.flags = MEMO_WAIT_NO_LOAD;
    EXPECT_EQ(cache.Peek("k"), Hit("old"));
    EXPECT_EQ(cache.GetPlain("k"), Hit("old"));
    EXPECT_EQ(cache.Get("k", &no_load), Hit("old"));
    EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
    memo_maintain(cache, cache.clock.Now());
    EXPECT_EQ(cache.loads, 1);
    cache.Finish("new");
    EXPECT_EQ(cache.Peek("k"), Hit("new"));
}

// 13.  Caffeine #120, #175: a refresh that took longer than the refresh interval
// was started again and again, and none ever counted.
TEST_P(Regression, ARefreshSlowerThanItsIntervalMakesProgress) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond, kHour));
    EXPECT_EQ(cache.Put("k", "0"), 0);
    for (int i = 1; i <= 5; i++) {
        cache.clock.Advance(kSecond);
        for (int j = 0; j < 10; j++) {
            EXPECT_EQ(cache.Get("k"), Hit(std::to_string(i - 1)));
            cache.clock.Advance(kSecond);
        }
        EXPECT_EQ(cache.loads, i);
        cache.Finish(std::to_string(i));
        EXPECT_EQ(cache.Get("k"), Hit(std::to_string(i)));
    }
}

// 17.  moka #565, #548: values that expire and values that don't, by turns under one
// key, were used after they were freed.  For AddressSanitizer.
TEST_P(Regression, AKeyMayExpireAndNotExpireByTurns) {
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            int64_t ttl = self.loads % 3 == 0 ? MEMO_NEVER
                                               : self.loads % 3 * kSecond;
            EXPECT_EQ(memo_load_set_ttl(l, ttl), 0);
            return LoadInBrackets(l);
        },
        [](memo_options *o) {
            o->ttl_ns = MEMO_NEVER;
            o->max_entries = 50;
        });
    for (uint64_t i = 0; i < 2000; i++) {
        std::string key = Key(i * 7 % 60);
        EXPECT_EQ(cache.Get(key).error, 0);
        switch (i % 5) {
            case 0:
                cache.clock.Advance(kSecond);
                break;
            case 1:
                cache.Invalidate(key);
                break;
            case 2:
                EXPECT_EQ(memo_refresh(cache, key.data(), key.size()), 0);
                break;
            case 3:
                cache.Maintain();
        }
        if (i % 200 == 0) {
            memo_check(cache);
        }
    }
}

// 29.  FusionCache #218: a refresh that was cancelled kept its lock, and the next
// call hung.
TEST_P(Regression, ACancelledRefreshLeavesNoKeyLocked) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->refresh_after_ns = kSecond;
        o->ttl_ns = 10 * kSecond;
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    EXPECT_EQ(cache.Put("k", "old"), 0);
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    memo_load *refresh = cache.last;
    // Expired by now: who comes joins the refresh, and gives up.
    cache.clock.Advance(10 * kSecond);
    memo_wait at_once = Until(1);
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_FALSE(memo_load_is_canceled(refresh));
    cache.last = nullptr;
    EXPECT_EQ(memo_load_finish(refresh, MEMO_ECANCELED), 0);
    Thread waiter([&] { EXPECT_EQ(cache.Get("k"), Loaded("new")); });
    Await([&] { return cache.last != nullptr; });
    cache.Finish("new");
    waiter.Join();
    EXPECT_EQ(cache.Peek("k"), Hit("new"));
}

// 32.  sturdyc: the pause between attempts, doubled too often, overflowed: first to
// years, then to none at all.
TEST_P(Regression, ThePauseBetweenAttemptsNeverOverflows) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 42; },
        [](memo_options *o) {
            o->backoff_ns = 10 * 1000 * 1000;
            o->backoff_max_ns = kHour;
        });
    for (int failures = 1; failures <= 150; failures++) {
        EXPECT_EQ(cache.Get("k").error, 42);
        ASSERT_EQ(cache.loads, failures);
        int64_t pause = int64_t(std::min(
            double(kHour), 1e7 * std::pow(2.0, failures - 1)));
        // Shortened by up to a half, and no more.
        cache.clock.Advance(pause / 2 - 1);
        EXPECT_EQ(cache.Get("k").error, 42);
        ASSERT_EQ(cache.loads, failures);
        cache.clock.Advance(pause - (pause / 2 - 1));
    }
}

// 33.  hot: the jitter of expiry was none, for every setting.
TEST_P(Regression, JitterSpreadsExpiryOverItsWholeRange) {
    const int kEntries = 1000;
    TimedCache cache(GetParam(), [](memo_options *o) {
        o->ttl_ns = 1000 * kSecond;
        o->jitter_percent = 50;
    });
    for (int i = 0; i < kEntries; i++) {
        cache.Get(Key(uint64_t(i)));
    }
    cache.clock.Advance(500 * kSecond - 1);
    cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, uint64_t{kEntries});
    uint64_t before = kEntries;
    for (int tenth = 1; tenth <= 10; tenth++) {
        cache.clock.Advance(50 * kSecond);
        cache.Maintain();
        uint64_t now = cache.Stats().entries;
        // 100 each, give or take five standard deviations.
        EXPECT_GT(before - now, 50u) << tenth;
        EXPECT_LT(before - now, 150u) << tenth;
        before = now;
    }
}

// 37.  Varnish #2754, #3461: those who waited for what couldn't be cached were let
// go one by one.
TEST_P(Regression, UncacheableResultsDoNotSerialiseWaiters) {
    const int kWaiters = 10;
    Gate first, others;
    std::atomic<int> begun{0};
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_pass(l), 0);
            (begun++ == 0 ? first : others).Wait();
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->pass_ttl_ns = kSecond; });
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < kWaiters; i++) {
        threads.emplace_back(new Thread(
            [&] { EXPECT_EQ(cache.Get("k"), Loaded("<k>")); }));
    }
    cache.AwaitJoins(kWaiters - 1);
    first.Open();
    Await([&] { return others.Waiting() == kWaiters - 1; });  // all at once
    others.Open();
    threads.clear();
    EXPECT_EQ(cache.loads, kWaiters);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

// 38.  Caffeine, otter 2.1: a timer wheel that went round, or that was turned from
// within its own turning, lost timers or freed them twice.
TEST_P(Regression, TheWheelMayGoRoundAndBeTurnedFromWithin) {
    struct State {
        TimedCache *cache;
        std::atomic<int> expired;
    } state = {nullptr, {0}};
    memo_listener listener = {
        [](void *arg, memo_cause cause, const void *, size_t,
           const memo_value *) {
            State *s = static_cast<State *>(arg);
            s->expired += cause == MEMO_EXPIRED;
            memo_maintain(*s->cache, s->cache->clock.Now());
        },
        &state};
    TimedCache cache(
        GetParam(),
        [](memo_load *l) {
            // From a nanosecond to a century.
            int64_t ttl = int64_t{1} << std::stoi(KeyOf(l).substr(1)) % 62;
            EXPECT_EQ(memo_load_set_ttl(l, ttl), 0);
            return LoadInBrackets(l);
        },
        [&](memo_options *o) {
            o->ttl_ns = kSecond;
            o->listener = &listener;
        });
    state.cache = &cache;
    for (uint64_t i = 0; i < 310; i++) {
        cache.Get(Key(i));
    }
    for (int shift = 20; shift < 62; shift++) {
        cache.clock.Advance(int64_t{1} << (shift - 1));
        cache.Maintain();
        for (uint64_t i = 0; i < 62; i++) {
            bool fresh = int64_t{1} << i > cache.clock.Now() - 1000 * kSecond;
            EXPECT_EQ(cache.Peek(Key(i)).error, fresh ? 0 : MEMO_ENOENT);
        }
        memo_check(cache);
    }
    cache.clock.Advance(int64_t{1} << 61);
    cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(state.expired, 310);
}

// 39.  unbound #159, and clocks as they are: steps back, starts at 0, and times
// beyond the end of time.
TEST_P(Regression, ClocksMayStepBackAndTimesMayBeHuge) {
    for (int64_t start : {int64_t{0}, int64_t{1}, 1000 * kSecond,
                          MEMO_NEVER / 2, MEMO_NEVER - 10 * kSecond}) {
        for (int64_t ttl : {5 * kSecond, MEMO_NEVER - 1, MEMO_NEVER}) {
            TimedCache cache(
                GetParam(), LoadInBrackets,
                [&](memo_options *o) {
                    o->ttl_ns = ttl;
                    o->stale_if_error_ns = MEMO_NEVER;
                    o->refresh_after_ns = MEMO_NEVER - 1;
                    o->backoff_ns = MEMO_NEVER / 2;
                    o->negative_ttl_ns = MEMO_NEVER - 1;
                    o->jitter_percent = 10;
                },
                start);
            EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
            EXPECT_EQ(cache.Get("k"), Hit("<k>"));
            cache.clock.Advance(-std::min(start, 500 * kSecond));
            EXPECT_EQ(cache.Get("k"), Hit("<k>"));
            EXPECT_EQ(cache.Get("back"), Loaded("<back>"));
            cache.Maintain();
            EXPECT_EQ(cache.Get("back"), Hit("<back>"));
            cache.clock.Advance(std::min(start, 500 * kSecond) + 6 * kSecond);
            cache.Maintain();
            EXPECT_EQ(cache.Get("k").from,
                      ttl == 5 * kSecond ? MEMO_LOADED : MEMO_HIT);
            memo_check(cache);
        }
    }
}

}  // namespace
