// Entries are looked at when their time has come, whatever became of others; and what
// that takes up doesn't grow with what has gone.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "test/support/keys.h"
#include "test/support/seed.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_LONG_SUITE(Alarm);

constexpr int64_t kHour = 3600 * kSecond;

// Many, but fewer where everything is ten times slower, or each change is a message.
int Many(int n) {
    bool in_monitor =
        testing::UnitTest::GetInstance()->current_test_info()->value_param() ==
        std::string("monitor");

    return n / (MEMO_TEST_SANITIZED ? 10 : 1) / (in_monitor ? 5 : 1);
}

TimedCache::Tweak Fresh(int64_t ns, uint64_t max_entries = 0) {
    return [=](memo_options *o) {
        o->ttl_ns = ns;
        o->max_entries = max_entries;
        o->shards = 1;
    };
}

int PutFor(TimedCache &cache, const std::string &key, int64_t ttl_ns) {
    memo_put_options put = {sizeof(put), ttl_ns, 0, nullptr, 0};

    return memo_put_with(cache, key.data(), key.size(), "v", 1, &put);
}

// After so many times, and after very many more.
void ExpectNoMoreMemory(TimedCache &cache, int times,
                        const std::function<void(int)> &once) {
    uint64_t before = 0;

    for (int i = 0; i < times + Many(20000); i++) {
        if (i == times) {
            before = cache.Stats().table_bytes;
        }
        once(i);
    }
    memo_check(cache);
    // Of dead names there may be a few hundred at any time, in several slots.
    EXPECT_LE(cache.Stats().table_bytes, before + 16384);
}

TEST_P(Alarm, AKeyStoredAgainAndAgainTakesUpNoMore) {
    TimedCache cache(GetParam(), Fresh(kHour));

    ExpectNoMoreMemory(cache, 1000, [&](int i) {
        EXPECT_EQ(cache.Put("k", Key(i)), 0);
        cache.clock.Advance(1000);
    });
    EXPECT_EQ(cache.Stats().entries, 1u);
}

// Each for a shorter time than the one before.
TEST_P(Alarm, NorDoesOneWhoseTimeIsCutShort) {
    TimedCache cache(GetParam(), Fresh(kHour));

    ExpectNoMoreMemory(cache, 1000, [&](int i) {
        EXPECT_EQ(PutFor(cache, "k", kHour - 10 * kTick * i), 0);
    });
}

TEST_P(Alarm, NorDoOnesForgottenAndStoredAgain) {
    for (int keys : {1, 10, 255}) {
        for (int64_t step : {int64_t{0}, kTick / 300, kSecond}) {
            TimedCache cache(GetParam(), Fresh(kHour));
            EXPECT_EQ(cache.Put("stays", "v"), 0);
            ExpectNoMoreMemory(cache, 1000, [&](int i) {
                std::string key = Key(i % keys);
                cache.Invalidate(key);
                EXPECT_EQ(cache.Put(key, "v"), 0);
                cache.clock.Advance(step);
            });
        }
    }
}

TEST_P(Alarm, NorDoesWhatIsEvicted) {
    TimedCache cache(GetParam(), Fresh(kHour, 1000));

    ExpectNoMoreMemory(cache, 5000, [&](int i) {
        EXPECT_EQ(cache.Put(Key(i), "v"), 0);
        cache.clock.Advance(kSecond / 1000);
    });
    EXPECT_EQ(cache.Stats().entries, 1000u);
}

// H3: nor does it where the seed is known, and all have the same hash.
TEST_P(Alarm, NorDoKeysThatCollide) {
    WeakSeed seed = OddSeed(7);
    TimedCache cache(GetParam(), [&](memo_options *o) {
        Fresh(kHour)(o);
        seed(o);
    });

    // Half of these are there at a time, so that several have one name.
    ExpectNoMoreMemory(cache, 2000, [&](int i) {
        EXPECT_EQ(cache.Put(seed.Key(uint64_t(i) % 1500), "v"), 0);
        cache.Invalidate(seed.Key(uint64_t(i) * 7 % 1500));
    });
    EXPECT_GT(cache.Stats().entries, 600u);
    for (int i = 0; i < 8; i++) {
        cache.clock.Advance(kHour / 8);
        cache.Maintain();
        memo_check(cache);
    }
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Maintain(), MEMO_NEVER);
}

TEST_P(Alarm, AllThatCollideExpireInTheirTime) {
    const int kKeys = Many(1000);
    WeakSeed seed = OddSeed(8);
    TimedCache cache(GetParam(), [&](memo_options *o) {
        Fresh(kHour)(o);
        seed(o);
    });

    for (int i = 0; i < kKeys; i++) {
        PutFor(cache, seed.Key(uint64_t(i)), (i % 10 + 1) * 10 * kSecond);
    }
    for (int i = 1; i <= 10; i++) {
        memo_check(cache);
        cache.clock.Advance(10 * kSecond);
        cache.Maintain();
        EXPECT_EQ(cache.Stats().entries, uint64_t(kKeys / 10 * (10 - i)));
    }
    EXPECT_EQ(cache.Maintain(), MEMO_NEVER);
}

TEST_P(Alarm, WhatIsReplacedExpiresInItsOwnTime) {
    TimedCache cache(GetParam(), Fresh(kHour));

    PutFor(cache, "longer", 10 * kSecond);
    PutFor(cache, "shorter", 100 * kSecond);
    PutFor(cache, "for ever", 10 * kSecond);
    PutFor(cache, "no longer", MEMO_NEVER);
    PutFor(cache, "longer", 100 * kSecond);
    PutFor(cache, "shorter", 10 * kSecond);
    PutFor(cache, "for ever", MEMO_NEVER);
    PutFor(cache, "no longer", 10 * kSecond);
    memo_check(cache);
    EXPECT_EQ(cache.Stats().entries, 4u);
    cache.clock.Advance(10 * kSecond + kTick);
    EXPECT_LE(cache.Maintain(), cache.clock.Now() + 90 * kSecond + kTick);
    EXPECT_EQ(cache.Stats().entries, 2u);
    memo_check(cache);
    cache.clock.Advance(90 * kSecond);
    EXPECT_EQ(cache.Maintain(), MEMO_NEVER);
    EXPECT_EQ(cache.Stats().entries, 1u);
    EXPECT_EQ(cache.Peek("for ever"), Hit("v"));
}

TEST_P(Alarm, SoDoesWhatIsFoundUnchanged) {
    int64_t ttl = 0;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_set_ttl(l, ttl), 0);
            return memo_load_not_modified(l) == 0 ? 0 : Return(l, "v");
        },
        Fresh(kHour));

    for (auto times : {std::pair<int, int>{10, 100}, {100, 10}, {10, 10}}) {
        ttl = times.first * kSecond;
        EXPECT_EQ(cache.Get("k"), Loaded("v"));
        ttl = times.second * kSecond;
        EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
        memo_check(cache);
        EXPECT_EQ(cache.Stats().entries, 1u);
        cache.clock.Advance(ttl - 2 * kTick);
        cache.Maintain();
        EXPECT_EQ(cache.Stats().entries, 1u);
        cache.clock.Advance(3 * kTick);
        EXPECT_EQ(cache.Maintain(), MEMO_NEVER);
        EXPECT_EQ(cache.Stats().entries, 0u);
    }
    EXPECT_EQ(cache.Stats().not_modified, 3u);
}

// memo_maintain() is called again for what has gone, but not more often than for what
// stays.
TEST_P(Alarm, NobodyIsWokenForLongForWhatHasGone) {
    TimedCache cache(GetParam(), Fresh(kHour));

    EXPECT_EQ(PutFor(cache, "for ever", MEMO_NEVER), 0);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(PutFor(cache, Key(i), 10 * kSecond + i * 16 * kTick), 0);
    }
    for (int i = 0; i < 100; i++) {
        cache.Invalidate(Key(i));
    }
    EXPECT_EQ(cache.Maintain(), MEMO_NEVER);

    EXPECT_EQ(PutFor(cache, "stays", kHour), 0);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(PutFor(cache, Key(i), 10 * kSecond + i * 16 * kTick), 0);
        cache.Invalidate(Key(i));
    }
    int64_t end = cache.clock.Now() + kHour, next = cache.Maintain();
    int wakes = 0;
    for (; next != MEMO_NEVER; wakes++) {
        ASSERT_GT(next, cache.clock.Now());
        ASSERT_LE(next, end + kTick);
        cache.clock.Advance(next - cache.clock.Now());
        next = cache.Maintain();
    }
    EXPECT_LE(wakes, 40);  // a few slots, of 64 ticks each, and a level each
    EXPECT_EQ(cache.Stats().entries, 1u);
}

TimedCache::Tweak Small(uint64_t max_bytes) {
    return [=](memo_options *o) {
        o->ttl_ns = kHour;
        o->max_bytes = max_bytes;
        o->shards = 1;
    };
}

// C1: those of all times take up more than those of one.
TEST_P(Alarm, NamesCountInMaxBytes) {
    std::mt19937_64 random(Seed());
    TimedCache of_one(GetParam(), Small(128 << 10));
    TimedCache of_all(GetParam(), Small(128 << 10));

    for (int i = 0; i < 2000; i++) {
        int64_t ttl = 1 + int64_t(random() >> (1 + random() % 42));
        EXPECT_EQ(PutFor(of_one, Key(i), kHour), 0);
        EXPECT_EQ(PutFor(of_all, Key(i), ttl), 0);
    }
    EXPECT_LT(of_all.Stats().entries + 100, of_one.Stats().entries);
}

// C1: when their time comes near, those of one slot are spread over as many as there
// are on a level.
TEST_P(Alarm, NamesMayNeedMoreRoomAsTimePasses) {
    const int64_t kLongSlot = kTick << 18;
    TimedCache cache(
        GetParam(), [](memo_load *l) { return Return(l, "v"); },
        Small(32 << 10), 20 * kLongSlot - kHour);
    int n = 0;

    while (cache.Stats().evictions == 0) {
        EXPECT_EQ(PutFor(cache, Key(n), kHour - 1), 0);
        cache.clock.Advance(kLongSlot / 512);
        n++;
    }
    ASSERT_LT(n, 512);
    cache.clock.Advance(20 * kLongSlot - cache.clock.Now());
    for (int i = 0; i < 10; i++) {
        memo_maintain(cache, cache.clock.Now());
        memo_check(cache);
    }
    EXPECT_GT(cache.Stats().evictions, 5u);
    EXPECT_LT(cache.Stats().expired, 5u);
}

// As Ttl.TheWheelAgreesWithAnOracle, but few keys, so that most names are dead; and all
// that can happen to an entry.
TEST_P(Alarm, FewAgreeWithAnOracle) {
    std::mt19937_64 random(Seed());
    std::map<std::string, int64_t> expires;
    int64_t ttl = 0;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_set_ttl(l, ttl), 0);
            return random() % 2 == 0 && memo_load_not_modified(l) == 0
                       ? 0
                       : Return(l, "v");
        },
        [](memo_options *o) {
            o->ttl_ns = MEMO_NEVER;
            o->shards = 1;
        },
        int64_t(random() % (1000 * kSecond)));

    for (int i = 0; i < Many(60000); i++) {
        std::string key = Key(random() % 30);
        int64_t now = cache.clock.Now();
        ttl = 1 + int64_t(random() >> (1 + random() % 62));
        int64_t end = ttl > MEMO_NEVER - now ? MEMO_NEVER : now + ttl;
        switch (random() % 16) {
            case 0:
                cache.clock.Advance(int64_t(random() >> (20 + random() % 43)));
                break;
            case 1:
                ASSERT_NO_FATAL_FAILURE(MaintainBeside(&cache, expires));
                break;
            case 2:
            case 3:
            case 4:
                cache.Invalidate(key);
                expires.erase(key);
                break;
            case 5:
                if (random() % 64 == 0) {
                    EXPECT_EQ(memo_clear(cache), 0);
                    expires.clear();
                }
                break;
            case 6:
            case 7:
                EXPECT_EQ(memo_refresh(cache, key.data(), key.size()), 0);
                expires[key] = end;
                break;
            case 8:
            case 9:
                if (expires.count(key) == 0 || expires[key] <= now) {
                    EXPECT_EQ(cache.Get(key), Loaded("v"));
                    expires[key] = end;
                }
                break;
            default:
                EXPECT_EQ(PutFor(cache, key, ttl), 0);
                expires[key] = end;
        }
        bool is_fresh = expires.count(key) != 0 &&
                        expires[key] > cache.clock.Now();
        ASSERT_EQ(cache.Peek(key).error, is_fresh ? 0 : MEMO_ENOENT);
        if (i % 100 == 0) {
            memo_check(cache);
        }
    }
    // Names of 30 entries, and a few hundred dead ones, in any of 512 slots.
    EXPECT_LE(cache.Stats().table_bytes, uint64_t{48} << 10);
}

}  // namespace
