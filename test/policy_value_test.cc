// Bounded caches that look at what a value is worth: how long it took to load,
// and how much room it takes.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"

namespace {

MEMO_SUITE(Worth);

const uint64_t kEntries = 300;

// A cache whose loads take as long, and whose values are as large, as the key
// says: "ns:size:name".
struct Valued {
    Valued(const Config &config, uint32_t policy,
           std::function<void(memo_options *)> bound)
        : cache(
              config,
              [this](memo_load *l) {
                  std::string key = KeyOf(l);
                  size_t colon = key.find(':');
                  int64_t ns = std::stoll(key);
                  clock.Advance(ns);
                  spent += ns;
                  return Return(
                      l, std::string(std::stoul(key.substr(colon + 1)), 'x'));
              },
              [&](memo_options *o) {
                  o->clock = &hook;
                  o->policy = policy;
                  bound(o);
              }) {
    }

    FakeClock clock;
    memo_clock hook = clock.Hook();
    int64_t spent = 0;
    Cache cache;
};

std::string Key(int64_t ns, size_t size, uint64_t i) {
    return std::to_string(ns) + ":" + std::to_string(size) + ":" +
           std::to_string(i);
}

std::function<void(memo_options *)> Entries(uint64_t n) {
    return [n](memo_options *o) { o->max_entries = n; };
}

std::function<void(memo_options *)> Bytes(uint64_t n) {
    return [n](memo_options *o) { o->max_bytes = n; };
}

// Ask for many keys, all as often, twice as many as fit; one in ten is dear.
// Returns the time spent in loads, after all has settled.
int64_t TimeWithDearKeys(const Config &config, uint32_t policy) {
    Valued v(config, policy, Entries(kEntries));
    std::mt19937_64 random(1);
    int64_t before = 0;

    for (int i = 0; i < 20000; i++) {
        uint64_t k = random() % (2 * kEntries);
        v.cache.GetPlain(Key(k % 10 == 0 ? 100000 : 1000, 1, k));
        if (i == 10000) {
            before = v.spent;
        }
    }
    memo_check(v.cache);
    return v.spent - before;
}

// C3
TEST_P(Worth, LoadsTakeLessTimeIfTheirCostCounts) {
    int64_t blind = TimeWithDearKeys(GetParam(), MEMO_POLICY_USE);
    int64_t aware = TimeWithDearKeys(GetParam(), MEMO_POLICY_COST);

    EXPECT_LT(aware, blind / 2);
}

// What is dear stays as long as it is worth it, not for ever.
TEST_P(Worth, DearKeysThatNobodyWantsGoInTheEnd) {
    Valued v(GetParam(), MEMO_POLICY_COST, Entries(100));
    std::mt19937_64 random(1);

    for (uint64_t i = 0; i < 50; i++) {
        v.cache.GetPlain(Key(100000, 1, i));
    }
    for (uint64_t i = 0; i < 60000; i++) {
        v.cache.GetPlain(Key(1000, 1, 100 + random() % 200));
    }
    int left = 0;
    for (uint64_t i = 0; i < 50; i++) {
        left += v.cache.Peek(Key(100000, 1, i)).error == 0;
    }
    EXPECT_EQ(left, 0);
}

// The same, where what comes to main in their place is never used there.
TEST_P(Worth, DearKeysGoEvenForWhatIsNotUsedAgain) {
    Valued v(GetParam(), MEMO_POLICY_COST, Entries(100));
    std::mt19937_64 random(1);

    for (uint64_t i = 0; i < 50; i++) {
        v.cache.GetPlain(Key(100000, 1, i));
    }
    for (uint64_t i = 100; i < 20000; i++) {
        v.cache.GetPlain(Key(1000, 1, i));
        v.cache.GetPlain(Key(1000, 1, i - random() % 100));
    }
    int left = 0;
    for (uint64_t i = 0; i < 50; i++) {
        left += v.cache.Peek(Key(100000, 1, i)).error == 0;
    }
    EXPECT_EQ(left, 0);
}

// Hits, of small and large values that are asked for as often.
uint64_t HitsOfAllSizes(const Config &config, uint32_t policy) {
    Valued v(config, policy, Bytes(300000));
    std::mt19937_64 random(1);
    uint64_t before = 0;

    for (int i = 0; i < 16000; i++) {
        uint64_t k = random() % 600;
        v.cache.GetPlain(Key(1000, k % 5 == 0 ? 5000 : 100, k));
        if (i == 8000) {
            before = v.cache.Stats().hits;
        }
    }
    memo_check(v.cache);
    return v.cache.Stats().hits - before;
}

// C3
TEST_P(Worth, MoreHitsIfTheirSizeCounts) {
    uint64_t blind = HitsOfAllSizes(GetParam(), MEMO_POLICY_USE);
    uint64_t by_size = HitsOfAllSizes(GetParam(), MEMO_POLICY_SIZE);
    uint64_t by_cost = HitsOfAllSizes(GetParam(), MEMO_POLICY_COST);

    EXPECT_GT(by_size, blind * 11 / 10);
    EXPECT_GT(by_cost, blind * 11 / 10);  // all loads take as long
}

// C1
TEST_P(Worth, BoundsHoldWhateverCounts) {
    for (uint32_t policy : {MEMO_POLICY_SIZE, MEMO_POLICY_COST}) {
        Valued v(GetParam(), policy, [policy](memo_options *o) {
            o->max_entries = 300;
            o->max_bytes = 200000;
            o->max_weight = 400;
            o->ttl_ns = int64_t(1) << 44;
            o->refresh_after_ns = policy == MEMO_POLICY_COST ? o->ttl_ns / 2 : 0;
            o->weight = [](void *, const void *, size_t, const void *,
                           size_t size) { return uint32_t(size % 4); };
        });
        std::mt19937_64 random(policy);
        for (int i = 0; i < 6000; i++) {
            std::string key = Key(int64_t(1) << random() % 40,
                                  random() % 2000, random() % 1000);
            switch (random() % 16) {
                case 0:
                    v.cache.Put(key, std::string(random() % 3000, 'p'));
                    break;
                case 1:
                    v.cache.Invalidate(key);
                    break;
                default:
                    v.cache.GetPlain(key);
            }
            if (i % 1000 == 0) {
                memo_clear(v.cache);
            }
            struct memo_stats stats = v.cache.Stats();
            ASSERT_LE(stats.entries, 300u);
            ASSERT_LE(stats.bytes + stats.ghost_bytes, 200000u);
            ASSERT_LE(stats.weight, 400u);
            if (i % 100 == 0) {
                memo_check(v.cache);
            }
        }
    }
}

// A clock that stands still, or is coarse, is no reason to keep nothing.
TEST_P(Worth, LoadsThatTakeNoTimeAreAllAlike) {
    for (uint64_t n : {1, 2, 3, 100}) {
        Valued v(GetParam(), MEMO_POLICY_COST, Entries(n));
        for (uint64_t i = 0; i < 1000; i++) {
            std::string key = Key(0, 10, i % (2 * n));
            v.cache.GetPlain(key);
            ASSERT_EQ(v.cache.Peek(key).from, MEMO_HIT);
            ASSERT_LE(v.cache.Stats().entries, n);
        }
    }
}

// Costs of every magnitude, and what was put and so has none.
TEST_P(Worth, WhatWasJustStoredIsThere) {
    Valued v(GetParam(), MEMO_POLICY_COST, Entries(8));
    std::mt19937_64 random(1);

    for (int i = 0; i < 5000; i++) {
        std::string key =
            Key(int64_t(1) << random() % 46, 10, random() % 100);
        if (i % 4 == 0) {
            ASSERT_EQ(v.cache.Put(key, "put"), 0);
        } else {
            v.cache.GetPlain(key);
        }
        ASSERT_EQ(v.cache.Peek(key).from, MEMO_HIT);
        memo_check(v.cache);
    }
}

TEST_P(Worth, WhatWasJustStoredIsThereWhateverItWeighs) {
    Valued v(GetParam(), MEMO_POLICY_COST, [](memo_options *o) {
        o->max_weight = 60;
        o->weight = [](void *, const void *, size_t, const void *,
                       size_t size) { return uint32_t(size); };
    });
    std::mt19937_64 random(1);

    for (int i = 0; i < 20000; i++) {
        uint64_t k = random() % 40;
        std::string key = Key(int64_t(1) << k % 11, k % 20 + 1, k);
        v.cache.GetPlain(key);
        ASSERT_EQ(v.cache.Peek(key).from, MEMO_HIT);
    }
}

// E5
TEST(WorthOptions, APolicyThatIsNoneIsRefused) {
    memo_options options = {};
    memo *m = nullptr;
    options.size = sizeof(options);
    options.load = [](void *, memo_load *l) { return LoadInBrackets(l); };
    options.max_entries = 10;

    options.policy = MEMO_POLICY_COST + 1;
    EXPECT_EQ(memo_new(&options, &m), MEMO_EINVAL);
    options.policy = MEMO_POLICY_COST;
    EXPECT_EQ(memo_new(&options, &m), 0);
    memo_free(m);
    options.max_entries = 0;  // nothing ever has to go
    EXPECT_EQ(memo_new(&options, &m), 0);
    memo_free(m);
}

}  // namespace
