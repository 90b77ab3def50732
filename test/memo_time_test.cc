// How long values are fresh: T1, T2, and what becomes of the others.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Ttl);

auto Fresh(int64_t ns) {
    return [ns](memo_options *o) { o->ttl_ns = ns; };
}

// T1
TEST_P(Ttl, ValuesAreFreshUntilTheDeadlineAndNoLonger) {
    TimedCache cache(GetParam(), Fresh(10 * kSecond));

    EXPECT_EQ(cache.GetPlain("k"), Loaded("k1"));
    EXPECT_EQ(cache.GetPlain("k"), Hit("k1"));
    cache.clock.Advance(10 * kSecond - 1);
    EXPECT_EQ(cache.GetPlain("k"), Hit("k1"));
    EXPECT_EQ(cache.Peek("k"), Hit("k1"));
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.GetPlain("k"), Loaded("k2"));
    EXPECT_EQ(cache.GetPlain("k"), Hit("k2"));
}

// T1, in every form of the call.
TEST_P(Ttl, NoFormOfTheCallReturnsWhatHasExpired) {
    TimedCache cache(GetParam(), Fresh(kSecond));
    memo_bytes key = {"k", 1};
    std::vector<Seen> seen;

    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(cache.Get("k").error, 0);
        cache.clock.Advance(kSecond);
        memo_value many;
        int error;
        EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &many, &error), 0);
        EXPECT_EQ(many.from, uint32_t{MEMO_LOADED});
        memo_release(&many);
        cache.clock.Advance(kSecond);
        EXPECT_EQ(memo_get_async(
                      cache, "k", 1, nullptr,
                      [](void *arg, int e, memo_value *v) {
                          EXPECT_EQ(e, 0);
                          static_cast<std::vector<Seen> *>(arg)->push_back(
                              {e, v->from, ""});
                          memo_release(v);
                      },
                      &seen, nullptr),
                  0);
        cache.clock.Advance(kSecond);
    }
    EXPECT_EQ(seen, (std::vector<Seen>{Loaded(""), Loaded("")}));
    EXPECT_EQ(cache.loads, 6);
}

// T2: not from when the load began.
TEST_P(Ttl, CountsFromTheEndOfTheLoad) {
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            self.clock.Advance(5 * kSecond);
            return Return(l, "v");
        },
        Fresh(3 * kSecond));

    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    cache.clock.Advance(3 * kSecond - 1);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
}

// T2
TEST_P(Ttl, TheLoadHasTheLastWord) {
    TimedCache cache(
        GetParam(),
        [](memo_load *l) {
            EXPECT_EQ(memo_load_set_ttl(l, -1), MEMO_EINVAL);
            if (KeyOf(l) != "default") {
                int64_t ttl = KeyOf(l) == "never" ? MEMO_NEVER
                                                  : std::stoll(KeyOf(l));
                EXPECT_EQ(memo_load_set_ttl(l, ttl), 0);
            }
            return Return(l, "v");
        },
        Fresh(10 * kSecond));

    for (const char *key : {"default", "never", "5000000000", "0"}) {
        EXPECT_EQ(cache.Get(key), Loaded("v"));
    }
    EXPECT_EQ(cache.Peek("0"), Failed(MEMO_ENOENT));  // delivered, not stored
    EXPECT_EQ(cache.Stats().entries, 3u);
    cache.clock.Advance(5 * kSecond);
    EXPECT_EQ(cache.Peek("5000000000"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("default"), Hit("v"));
    cache.clock.Advance(5 * kSecond);
    EXPECT_EQ(cache.Peek("default"), Failed(MEMO_ENOENT));
    cache.clock.Advance(int64_t{1} << 60);
    EXPECT_EQ(cache.Peek("never"), Hit("v"));
}

TEST_P(Ttl, APutMaySayItsOwn) {
    TimedCache cache(GetParam(), Fresh(10 * kSecond));
    memo_put_options put = {};
    put.size = sizeof(put);

    EXPECT_EQ(cache.Put("default", "v"), 0);
    put.ttl_ns = 2 * kSecond;
    EXPECT_EQ(memo_put_with(cache, "short", 5, "v", 1, &put), 0);
    put.ttl_ns = MEMO_NEVER;
    EXPECT_EQ(memo_put_with(cache, "never", 5, "v", 1, &put), 0);
    cache.clock.Advance(2 * kSecond);
    EXPECT_EQ(cache.Peek("short"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("default"), Hit("v"));
    cache.clock.Advance(8 * kSecond);
    EXPECT_EQ(cache.Peek("default"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("never"), Hit("v"));

    put.ttl_ns = -1;
    EXPECT_EQ(memo_put_with(cache, "k", 1, "v", 1, &put), MEMO_EINVAL);
    put.ttl_ns = 0;
    put.refresh_after_ns = 1;  // this cache has no place for it
    EXPECT_EQ(memo_put_with(cache, "k", 1, "v", 1, &put), MEMO_EINVAL);
    put.refresh_after_ns = 0;
    put.size = 3;
    EXPECT_EQ(memo_put_with(cache, "k", 1, "v", 1, &put), MEMO_EINVAL);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

TEST_P(Ttl, WithoutTimesNothingMayBeSaidOfThem) {
    Cache cache(GetParam(), [](memo_load *l) {
        EXPECT_EQ(memo_load_set_ttl(l, 1), MEMO_EINVAL);
        EXPECT_EQ(memo_load_set_refresh(l, 1), MEMO_EINVAL);
        return Return(l, "v");
    });
    memo_put_options put = {sizeof(put), 1, 0, nullptr, 0};

    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    EXPECT_EQ(memo_put_with(cache, "k", 1, "w", 1, &put), MEMO_EINVAL);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    EXPECT_EQ(memo_load_set_ttl(nullptr, 1), MEMO_EINVAL);
    EXPECT_EQ(memo_load_set_refresh(nullptr, 1), MEMO_EINVAL);
}

// The options that are no times.
TEST_P(Ttl, OptionsThatAreNone) {
    int64_t memo_options::*const times[] = {
        &memo_options::ttl_ns,           &memo_options::idle_ttl_ns,
        &memo_options::refresh_after_ns, &memo_options::stale_if_error_ns,
        &memo_options::keep_old_ns,
        &memo_options::negative_ttl_ns,  &memo_options::backoff_ns,
        &memo_options::backoff_max_ns,   &memo_options::pass_ttl_ns};
    memo *m;

    for (auto time : times) {
        memo_options o = OptionsOf(GetParam());
        o.load = [](void *, memo_load *) { return 1; };
        o.*time = -1;
        EXPECT_EQ(memo_new(&o, &m), MEMO_EINVAL);
        o.*time = MEMO_NEVER;
        EXPECT_EQ(memo_new(&o, &m), 0);
        memo_free(m);
    }
    memo_options o = OptionsOf(GetParam());
    o.load = [](void *, memo_load *) { return 1; };
    o.jitter_percent = 101;
    EXPECT_EQ(memo_new(&o, &m), MEMO_EINVAL);
    o.jitter_percent = 0;
    o.backoff_ns = 10;
    o.backoff_max_ns = 9;
    EXPECT_EQ(memo_new(&o, &m), MEMO_EINVAL);
    o.backoff_max_ns = 0;
    o.policy = MEMO_POLICY_COST + 1;
    EXPECT_EQ(memo_new(&o, &m), MEMO_EINVAL);
}

// T2: all times saturate.
TEST_P(Ttl, TheEndOfTimeIsNeverReached) {
    const int64_t kLast = std::numeric_limits<int64_t>::max();
    for (int64_t now : {kLast - 1, kLast - kSecond, int64_t{0}, int64_t{-5},
                        std::numeric_limits<int64_t>::min()}) {
        for (int64_t ttl : {int64_t{1}, kSecond, kLast - 1, kLast}) {
            TimedCache cache(
                GetParam(), [](memo_load *l) { return Return(l, "v"); },
                Fresh(ttl), now);
            EXPECT_EQ(cache.Get("k"), Loaded("v"));
            EXPECT_EQ(cache.Get("k"), Hit("v")) << now << " " << ttl;
            if (now < kLast - kSecond && ttl == 1) {
                cache.clock.Advance(1);
                EXPECT_EQ(cache.Get("k"), Loaded("v")) << now << " " << ttl;
            }
            memo_maintain(cache, cache.clock.Now());
        }
    }
}

// A clock that steps back keeps values longer; it breaks nothing.
TEST_P(Ttl, TheClockMayJump) {
    TimedCache cache(GetParam(), Fresh(10 * kSecond));

    EXPECT_EQ(cache.Get("a"), Loaded("a1"));
    cache.clock.Advance(-500 * kSecond);
    EXPECT_EQ(cache.Get("a"), Hit("a1"));
    EXPECT_EQ(cache.Get("b"), Loaded("b2"));
    cache.Maintain();
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.Get("b"), Loaded("b3"));
    cache.clock.Advance(int64_t{1} << 61);
    cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, 0u);
}

TEST_P(Ttl, ALoadThatEndsBeforeItBeganTookNoTime) {
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            self.clock.Advance(-kSecond);
            return LoadInBrackets(l);
        },
        Fresh(10 * kSecond));

    EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
    EXPECT_EQ(cache.Get("a"), Hit("<a>"));
    EXPECT_EQ(cache.Stats().load_ns, 0u);
    EXPECT_EQ(cache.Stats().saved_ns, 0u);
}

// Nothing is lost that was stored in a past which the cache has seen end.
TEST_P(Ttl, WhatExpiresInThePastGoesAtOnce) {
    TimedCache cache(GetParam(), Fresh(kSecond));

    for (int i = 0; i < 100; i++) {
        cache.Get("a" + Key(i));
    }
    cache.Maintain();
    cache.clock.Advance(-100 * kSecond);
    for (int i = 0; i < 100; i++) {
        cache.Get("b" + Key(i));
        cache.clock.Advance(kSecond / 2);
    }
    cache.clock.Advance(51 * kSecond);
    cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, 0u);
}

// More in one slot of the wheel than one step looks at, and others come meanwhile.
TEST_P(Ttl, ManyMayExpireTogether) {
    std::mt19937_64 random(7);
    TimedCache cache(GetParam(), Fresh(100000 * kSecond));

    for (int i = 0; i < 3000; i++) {
        cache.Get(Key(i));
    }
    cache.clock.Advance(100000 * kSecond);
    for (int i = 0; i < 300; i++) {
        memo_put_options put = {sizeof(put), int64_t(random() >> (14 + i % 40)),
                                0, nullptr, 0};
        memo_put_with(cache, ("n" + Key(i)).data(), Key(i).size() + 1, "v", 1,
                      &put);
        cache.clock.Advance(int64_t(random() % kSecond));
        memo_maintain(cache, cache.clock.Now());
        memo_check(cache);
    }
    cache.clock.Advance(int64_t{1} << 62);
    EXPECT_EQ(cache.Maintain(), MEMO_NEVER);
    EXPECT_EQ(cache.Stats().entries, 0u);
}

// What has expired goes by itself: with upkeep...
TEST_P(Ttl, MaintenanceDropsWhatHasExpired) {
    TimedCache cache(GetParam(), Fresh(10 * kSecond));

    for (int i = 0; i < 1000; i++) {
        cache.Get(Key(i));
        cache.clock.Advance(kSecond / 1000);
    }
    int64_t next = cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, 1000u);
    EXPECT_LE(next, cache.clock.Now() + 9 * kSecond + kSecond / 500);
    EXPECT_GT(next, cache.clock.Now());
    cache.clock.Advance(9 * kSecond + kSecond / 2);
    cache.Maintain();
    EXPECT_NEAR(cache.Stats().entries, 500, 3);
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Maintain(), MEMO_NEVER);
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Stats().expired, 1000u);
}

// ...and without: writes pay for it.
TEST_P(Ttl, WritesDropWhatHasExpired) {
    TimedCache cache(GetParam(), Fresh(kSecond));

    for (int i = 0; i < 20000; i++) {
        cache.Get(Key(i));
        cache.clock.Advance(kSecond / 100);
    }
    // Some 100 are fresh at any time.  Shards that nobody writes to wait.
    EXPECT_LE(cache.Stats().entries, 300u);
}

// A caller who is wrong about the time does no harm.
TEST_P(Ttl, MaintenanceExpiresNothingBeforeItsTime) {
    TimedCache cache(GetParam(), Fresh(kSecond));

    cache.Get("k");
    EXPECT_GT(memo_maintain(cache, MEMO_NEVER), 0);
    EXPECT_GT(memo_maintain(cache, 0), 0);
    EXPECT_EQ(cache.Get("k"), Hit("k1"));
}

// T2: drawn for each entry, evenly over its range.
TEST_P(Ttl, JitterIsEvenlyDistributed) {
    const int kEntries = 4000;
    TimedCache cache(GetParam(), [](memo_options *o) {
        o->ttl_ns = 1000 * kSecond;
        o->jitter_percent = 20;
    });
    double worst = 0;

    for (int i = 0; i < kEntries; i++) {
        cache.Get(Key(i));
    }
    cache.clock.Advance(800 * kSecond);
    cache.Maintain();
    EXPECT_GE(cache.Stats().entries, uint64_t{kEntries - 1});
    for (int step = 1; step <= 20; step++) {
        cache.clock.Advance(10 * kSecond);
        cache.Maintain();
        double left = double(cache.Stats().entries) / kEntries;
        worst = std::max(worst, std::abs(left - (1 - step / 20.0)));
    }
    EXPECT_EQ(cache.Stats().entries, 0u);
    // Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand times;
    // this bound, once in 10^9.
    EXPECT_LT(worst, 3.3 / std::sqrt(kEntries));
}

// The wheel against an oracle: a sorted map of when each key expires.
TEST_P(Ttl, TheWheelAgreesWithAnOracle) {
    std::mt19937_64 random(20240601);
    std::map<std::string, int64_t> expires;
    TimedCache cache(
        GetParam(), [](memo_load *l) { return Return(l, "v"); },
        Fresh(MEMO_NEVER), int64_t(random() % (1000 * kSecond)));

    for (int i = 0; i < 6000; i++) {
        // Spans of all magnitudes, from a nanosecond to centuries.
        int64_t ns = 1 + int64_t(random() >> (1 + random() % 62));
        std::string key = Key(random() % 500);
        switch (random() % 8) {
            case 0:
                cache.clock.Advance(int64_t(random() >> (14 + random() % 49)));
                break;
            case 1:
                ASSERT_NO_FATAL_FAILURE(MaintainBeside(&cache, expires));
                break;
            case 2:
                cache.Invalidate(key);
                expires.erase(key);
                break;
            default: {
                memo_put_options put = {sizeof(put), ns, 0, nullptr, 0};
                int64_t now = cache.clock.Now();
                ASSERT_EQ(memo_put_with(cache, key.data(), key.size(), "v", 1,
                                        &put),
                          0);
                expires[key] = ns > MEMO_NEVER - now ? MEMO_NEVER : now + ns;
            }
        }
        std::string probe = Key(random() % 500);
        bool is_fresh = expires.count(probe) != 0 &&
                        expires[probe] > cache.clock.Now();
        ASSERT_EQ(cache.Peek(probe).error, is_fresh ? 0 : MEMO_ENOENT);
        if (i % 100 == 0) {
            memo_check(cache);
        }
    }
}

// Under a bound, what has expired goes before anything else does.
TEST_P(Ttl, TheExpiredMakeRoomFirst) {
    TimedCache cache(GetParam(), [](memo_options *o) {
        o->ttl_ns = MEMO_NEVER;
        o->max_entries = 1000;
        o->shards = 1;
    });
    memo_put_options brief = {sizeof(brief), kSecond, 0, nullptr, 0};

    for (int i = 0; i < 500; i++) {
        cache.Put(Key(i), "stays");
        memo_put_with(cache, Key(1000 + i).data(), 5, "goes", 4, &brief);
    }
    cache.clock.Advance(2 * kSecond);
    for (int i = 0; i < 400; i++) {
        cache.Put(Key(2000 + i), "new");
    }
    EXPECT_EQ(cache.Stats().evictions, 0u);
    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(cache.Peek(Key(i)), Hit("stays"));
    }
}

// ------------------------------------------------------------------ idle

MEMO_SUITE(IdleTtl);

auto FreshWhileUsed(int64_t ns) {
    return [ns](memo_options *o) { o->idle_ttl_ns = ns; };
}

TEST_P(IdleTtl, UseProlongsAValue) {
    TimedCache cache(GetParam(), FreshWhileUsed(64 * kSecond));

    EXPECT_EQ(cache.GetPlain("k"), Loaded("k1"));
    for (int i = 0; i < 100; i++) {
        cache.clock.Advance(62 * kSecond);
        EXPECT_EQ(cache.GetPlain("k"), Hit("k1"));
        cache.Maintain();
    }
    cache.clock.Advance(64 * kSecond);
    EXPECT_EQ(cache.GetPlain("k"), Loaded("k2"));
}

TEST_P(IdleTtl, EveryFormOfUseCounts) {
    TimedCache cache(GetParam(), FreshWhileUsed(64 * kSecond));
    memo_bytes key = {"k", 1};

    EXPECT_EQ(cache.Get("k"), Loaded("k1"));
    for (int i = 0; i < 10; i++) {
        cache.clock.Advance(60 * kSecond);
        EXPECT_EQ(cache.Peek("k"), Hit("k1"));
        cache.clock.Advance(60 * kSecond);
        EXPECT_EQ(cache.Get("k"), Hit("k1"));
        cache.clock.Advance(60 * kSecond);
        memo_value many;
        int error;
        EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &many, &error), 0);
        EXPECT_EQ(many.from, uint32_t{MEMO_HIT});
        memo_release(&many);
    }
}

// So does one that finds it due to be refreshed, whether that is done or not.
TEST_P(IdleTtl, UseCountsThoughTheValueIsToBeRefreshed) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->idle_ttl_ns = 64 * kSecond;
        o->refresh_after_ns = 32 * kSecond;
    });

    cache.Fill("k", "v");
    for (int i = 0; i < 4; i++) {
        cache.clock.Advance(40 * kSecond);
        EXPECT_EQ(cache.Peek("k"), Hit("v"));
    }
    memo_wait at_once = Until(1);
    EXPECT_EQ(cache.Get("k", &at_once), Hit("v"));
    cache.clock.Advance(60 * kSecond);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
    cache.Finish("w");
    EXPECT_EQ(cache.Get("k"), Hit("w"));
}

TEST_P(IdleTtl, UseCountsThoughALoadHasJustBegun) {
    LaterCache cache(GetParam(), FreshWhileUsed(64 * kSecond));

    cache.Fill("k", "v");
    cache.clock.Advance(60 * kSecond);
    EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
    cache.clock.Advance(60 * kSecond);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
    cache.Fail(1);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
    cache.clock.Advance(60 * kSecond);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
}

TEST_P(IdleTtl, NotUsedIsGoneAndUpkeepSeesIt) {
    TimedCache cache(GetParam(), FreshWhileUsed(10 * kSecond));

    cache.Get("used");
    cache.Get("idle");
    for (int i = 0; i < 4; i++) {
        cache.clock.Advance(4 * kSecond);
        EXPECT_EQ(cache.Get("used"), Hit("used1"));
        cache.Maintain();
    }
    EXPECT_EQ(cache.Stats().entries, 1u);
    EXPECT_EQ(cache.Peek("idle"), Failed(MEMO_ENOENT));
    cache.clock.Advance(10 * kSecond);
    cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, 0u);
}

TEST_P(IdleTtl, DoesNotOutliveTheTtl) {
    TimedCache cache(GetParam(), [](memo_options *o) {
        o->idle_ttl_ns = 10 * kSecond;
        o->ttl_ns = 25 * kSecond;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("k1"));
    for (int i = 0; i < 8; i++) {
        cache.clock.Advance(3 * kSecond);
        EXPECT_EQ(cache.Get("k"), Hit("k1"));
    }
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Loaded("k2"));
}

}  // namespace
