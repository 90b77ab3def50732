// The table of resident values: it grows under its readers, keeps keys that
// collide, and forgets everything at once.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/seed.h"
#include "test/support/thread.h"

namespace {

MEMO_LONG_SUITE(Table);

// Many, but fewer where everything is ten times slower.
constexpr int Many(int n) {
    return MEMO_TEST_SANITIZED ? n / 10 : n;
}

// And fewer where each change is a message.
int ManyFor(const Config &config, int n) {
    return Many(config.engine == MEMO_ENGINE_LOCK ? n : n / 6);
}

// H2: whatever the owner is moving, a resident key is found, without waiting.
void ExpectNoMissWhileGrowing(Cache &cache, int n,
                              const std::function<std::string(int)> &key_of) {
    std::atomic<int> resident{0};
    std::atomic<int> misses{0};
    auto read = [&](unsigned seed) {
        std::mt19937 random(seed);
        for (int last = 0; last < n;) {
            last = resident.load();
            int i = int(random() % unsigned(last + 1));
            if (i < last && !(cache.Peek(key_of(i)) == Hit(Key(i)))) {
                misses++;
            }
        }
    };
    unsigned seed = Seed();
    Thread a([&] { read(seed); }), b([&] { read(seed + 1); });

    for (int i = 0; i < n; i++) {
        EXPECT_EQ(cache.Put(key_of(i), Key(i)), 0);
        resident = i + 1;
    }
    a.Join();
    b.Join();
    EXPECT_EQ(misses, 0);
    EXPECT_EQ(cache.Stats().entries, uint64_t(n));
}

TEST_P(Table, GrowsUnderItsReadersAndNoneMissesAKey) {
    const int kKeys = ManyFor(GetParam(), 300000);
    Cache cache(GetParam());

    ExpectNoMissWhileGrowing(cache, kKeys, [](int i) { return Key(i); });
    memo_check(cache);
    for (int i = 0; i < kKeys; i++) {
        ASSERT_EQ(cache.GetPlain(Key(i)), Hit(Key(i)));
    }
}

// H3: who knows no seed can't choose where keys land.  These all land in one of
// the shards for one who does, and there is no room for them; with a seed of the
// cache's own they spread.
TEST_P(Table, KeysMadeToCollideDoNot) {
    const int kKeys = 4096;
    WeakSeed known = OddSeed(5);
    for (bool told : {true, false}) {
        Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
            o->shards = 4;
            o->max_entries = 2 * kKeys;
            o->hash_seed = told ? known.word : nullptr;
        });
        for (int i = 0; i < kKeys; i++) {
            EXPECT_EQ(cache.Put(known.Key(uint64_t(i)), "v"), 0);
        }
        uint64_t n = cache.Stats().entries;
        if (told) {
            EXPECT_LE(n, uint64_t(kKeys / 2));
            EXPECT_GT(n, uint64_t(kKeys / 2) * 9 / 10);
        } else {
            EXPECT_EQ(n, uint64_t(kKeys));
        }
    }
}

// The same for who doesn't care for the seed, and keys that count up.
TEST_P(Table, AnySeedSpreadsKeys) {
    const uint64_t kKeys = 4096;
    for (const auto &seed : {std::array<uint64_t, 4>{0, 0, 0, 0},
                             std::array<uint64_t, 4>{1, 2, 3, 4}}) {
        for (size_t size : {8, 16, 24, 40, 64}) {
            Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
                o->shards = 4;
                o->max_entries = 2 * kKeys;
                o->hash_seed = seed.data();
            });
            for (uint64_t i = 0; i < kKeys; i++) {
                std::string key(size, '\0');
                std::memcpy(&key[0], &i, sizeof i);
                EXPECT_EQ(cache.Put(key, "v"), 0);
            }
            EXPECT_EQ(cache.Stats().entries, kKeys) << size;
        }
    }
}

// F5, H2: the same with keys whose hashes are all equal, and so lie in one chain.
TEST_P(Table, GrowsChainsUnderTheirReaders) {
    for (const WeakSeed &seed : {ZeroSeed(), OddSeed(1), OddSeed(2)}) {
        Cache cache(GetParam(), LoadInBrackets, seed);
        ExpectNoMissWhileGrowing(cache, Many(1500),
                                 [&](int i) { return seed.Key(i); });
        memo_check(cache);
    }
}

// F5, H2: readers find what lies in a chain while others come into it and go.
TEST_P(Table, ChainsShrinkUnderTheirReaders) {
    const int kStay = 40, kRounds = ManyFor(GetParam(), 60);
    WeakSeed seed = OddSeed(3);
    Cache cache(GetParam(), LoadInBrackets, seed);
    std::atomic<bool> stop{false};
    std::atomic<int> misses{0};
    auto key = [&](int i) { return seed.Key(uint64_t(i)); };

    for (int i = 0; i < kStay; i++) {
        EXPECT_EQ(cache.Put(key(i), Key(i)), 0);
    }
    Thread reader([&] {
        for (int i = 0; !stop; i = (i + 7) % kStay) {
            misses += !(cache.Peek(key(i)) == Hit(Key(i)));
        }
    });
    for (int round = 0; round < kRounds; round++) {
        for (int i = 0; i < 100; i++) {
            EXPECT_EQ(cache.Put(key(1000 + round * 100 + i), "guest"), 0);
            // Makes the table grow, so that chains are split and pulled up.
            EXPECT_EQ(cache.Put(Key(round * 100 + i), "filler"), 0);
        }
        memo_check(cache);
        for (int i = 0; i < 100; i++) {
            EXPECT_EQ(cache.Invalidate(key(1000 + round * 100 + i)), 0);
        }
    }
    stop = true;
    reader.Join();
    EXPECT_EQ(misses, 0);
    memo_check(cache);
}

// F5: a chain of hundreds of groups, moved as a whole when its own is split.
TEST_P(Table, ALongChainSurvivesGrowth) {
    if (GetParam().shards != 1) {
        GTEST_SKIP() << "quadratic, and the same in every shard";
    }
    const int kKeys = Many(5000), kFillers = Many(10000);
    WeakSeed seed = OddSeed(11);
    Cache cache(GetParam(), LoadInBrackets, seed);

    for (int i = 0; i < kKeys; i++) {
        ASSERT_EQ(cache.Put(seed.Key(i), Key(i)), 0);
    }
    for (int i = 0; i < kFillers; i++) {
        ASSERT_EQ(cache.Put(Key(i), "filler"), 0);
    }
    EXPECT_EQ(cache.Stats().entries, uint64_t(kKeys + kFillers));
    for (int i = 0; i < kKeys; i += 97) {
        ASSERT_EQ(cache.GetPlain(seed.Key(i)), Hit(Key(i))) << i;
        ASSERT_EQ(cache.Peek(seed.Key(i)), Hit(Key(i))) << i;
        ASSERT_EQ(cache.Invalidate(seed.Key(i)), 0);
        ASSERT_EQ(cache.Peek(seed.Key(i)), Failed(MEMO_ENOENT)) << i;
    }
}

// ------------------------------------------------------------------ clear

// I1: a clear in the middle of growth, again and again.
TEST_P(Table, MayBeClearedWhileItGrows) {
    Cache cache(GetParam());

    for (int round = 0; round < 30; round++) {
        int n = ManyFor(GetParam(), 1000 + round * 137);
        for (int i = 0; i < n; i++) {
            ASSERT_EQ(cache.Put(Key(i), Key(round)), 0);
        }
        EXPECT_EQ(cache.Stats().entries, uint64_t(n));
        EXPECT_EQ(memo_clear(cache), 0);
        EXPECT_EQ(cache.Stats().entries, 0u);
        for (int i = 0; i < n; i += 11) {
            ASSERT_EQ(cache.Peek(Key(i)), Failed(MEMO_ENOENT));
            ASSERT_EQ(cache.Get(Key(i)), Loaded("<" + Key(i) + ">"));
            ASSERT_EQ(cache.Get(Key(i)), Hit("<" + Key(i) + ">"));
        }
        memo_check(cache);
    }
}

// What has been swept makes room for others, which come home, and from a chain to where
// the sweep has been.  Here, one in the odd bucket goes, and all others stay that are
// in the buckets of the group.
TEST_P(Table, ASweepMissesNothingThatMovesMeanwhile) {
    const uint64_t kInBuckets = 13;
    for (uint64_t n = 0; n < 8; n++) {
        WeakSeed seed = OddSeed(n);
        Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
            seed(o);
            o->shards = 1;
        });
        // Many groups, to be swept by and by, and then they are empty.
        for (int i = 0; i < 1000; i++) {
            ASSERT_EQ(cache.Put(Key(i), "filler"), 0);
        }
        ASSERT_EQ(memo_clear(cache), 0);
        cache.CatchUp();
        for (uint64_t i = 0; i < kInBuckets + 2; i++) {
            ASSERT_EQ(cache.Put(seed.Key(i), "old"), 0);
        }
        ASSERT_EQ(memo_clear(cache), 0);
        for (uint64_t i = 1; i < kInBuckets; i++) {
            ASSERT_EQ(cache.Put(seed.Key(i), "new"), 0);
        }
        cache.CatchUp();
        memo_check(cache);
        EXPECT_EQ(cache.Stats().entries, kInBuckets - 1);
    }
}

// I1: sweeping is put off, and generations are counted in few bits: what was
// left over doesn't come back when they start again.
TEST_P(Table, NothingComesBackAfterManyClears) {
    if (GetParam().shards != 1) {
        GTEST_SKIP() << "long, and the same in every shard";
    }
    const int kKeys = 12000, kClears = 66000;
    Cache cache(GetParam());

    for (int i = 0; i < kKeys; i++) {
        ASSERT_EQ(cache.Put(Key(i), "old"), 0);
    }
    for (int n = 0; n < kClears; n++) {
        ASSERT_EQ(memo_clear(cache), 0);
        if (n < 3 || (n > 65530 && n < 65540) || n == kClears - 1) {
            for (int i = 0; i < kKeys; i++) {
                ASSERT_EQ(cache.Peek(Key(i)), Failed(MEMO_ENOENT)) << n;
            }
        }
    }
    memo_check(cache);
    EXPECT_EQ(cache.Stats().entries, 0u);
}

// ------------------------------------------------------------------ limits

// E4: little address space means a small table, not none.
void CacheInLittleSpace() {
    rlimit limit = {size_t(64) << 20, size_t(64) << 20};
    setrlimit(RLIMIT_AS, &limit);
    {
        Cache cache(Configs()[0]);
        int error = 0, n = 0;
        while (error == 0 && n < 100000) {
            error = cache.Put(Key(n++), "v");
        }
        EXPECT_TRUE(error == 0 || error == MEMO_ENOMEM) << error;
        EXPECT_EQ(cache.Get(Key(0)), Hit("v"));
        EXPECT_EQ(cache.Get(Key(n / 2)), Hit("v"));
        memo_check(cache);
    }
    exit(testing::Test::HasFailure());
}

TEST(TableDeathTest, AStarvedProcessStillCaches) {
    if (MEMO_TEST_SANITIZED) {
        GTEST_SKIP() << "a sanitizer needs all the address space it can get";
    }
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_EXIT(CacheInLittleSpace(), testing::ExitedWithCode(0), "");
}

}  // namespace
