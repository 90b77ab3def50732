// Bounded caches: the bounds hold after every store, and what goes is what is
// least worth keeping.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/object.h"
#include "test/support/thread.h"

namespace {

MEMO_LONG_SUITE(Bound);

std::string Key(uint64_t i) {
    return "k" + std::to_string(i);
}

// Options of a cache with a bound.
std::function<void(memo_options *)> Entries(uint64_t n) {
    return [n](memo_options *o) { o->max_entries = n; };
}

std::function<void(memo_options *)> Bytes(uint64_t n) {
    return [n](memo_options *o) { o->max_bytes = n; };
}

std::function<void(memo_options *)> Weight(uint64_t n) {
    return [n](memo_options *o) { o->max_weight = n; };
}

// What max_bytes bounds.
uint64_t BytesOf(const struct memo_stats &s) {
    return s.bytes + s.ghost_bytes;
}

// A load whose value is as many bytes as the key says after its first byte.
int LoadOfSize(memo_load *l) {
    std::string key = KeyOf(l);
    return Return(l,
                  std::string(std::stoul(key.substr(key.find(':') + 1)), 'x'));
}

std::string Sized(uint64_t i, size_t size) {
    return std::to_string(i) + ":" + std::to_string(size);
}

// C1
TEST_P(Bound, OfEntriesHoldsAfterEveryStore) {
    for (uint64_t n : {1, 2, 3, 4, 5, 7, 10, 100, 1000}) {
        Cache cache(GetParam(), LoadInBrackets, Entries(n));
        std::mt19937_64 random(n);
        for (uint64_t i = 0; i < 5 * n + 100; i++) {
            std::string key = Key(random() % (3 * n));
            EXPECT_EQ(cache.GetPlain(key).bytes, "<" + key + ">");
            ASSERT_LE(cache.Stats().entries, n);
        }
        EXPECT_GE(cache.Stats().entries + 1, n);  // one may have left main
        EXPECT_EQ(cache.Stats().max_entries, n);
        EXPECT_GT(cache.Stats().evictions, 0u);
    }
}

// C1: a cache of n keeps n, and what was stored last is there.
TEST_P(Bound, WhatWasJustStoredIsThere) {
    for (uint64_t n : {1, 2, 3, 8, 100}) {
        Cache cache(GetParam(), LoadInBrackets, Entries(n));
        std::mt19937_64 random(n);
        for (uint64_t i = 0; i < 2000; i++) {
            std::string key = Key(random() % (2 * n));
            cache.Get(key);
            ASSERT_EQ(cache.Peek(key), Hit("<" + key + ">")) << n;
        }
    }
}

TEST_P(Bound, ACacheOfOneHoldsTheLast) {
    Cache cache(GetParam(), LoadInBrackets, Entries(1));

    EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
    EXPECT_EQ(cache.Get("a"), Hit("<a>"));
    EXPECT_EQ(cache.Get("b"), Loaded("<b>"));
    EXPECT_EQ(cache.Get("b"), Hit("<b>"));
    EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
    EXPECT_EQ(cache.Put("c", "1"), 0);
    EXPECT_EQ(cache.Put("c", "2"), 0);
    EXPECT_EQ(cache.Get("c"), Hit("2"));
    EXPECT_EQ(cache.Invalidate("c"), 0);
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
}

TEST_P(Bound, NothingGoesBeforeItMust) {
    const uint64_t kEntries = 900;
    Cache cache(GetParam(), LoadInBrackets, Entries(kEntries));

    for (uint64_t i = 0; i < kEntries; i++) {
        cache.Get(Key(i));
    }
    for (uint64_t i = 0; i < kEntries; i++) {
        EXPECT_EQ(cache.Get(Key(i)), Hit("<" + Key(i) + ">"));
    }
    EXPECT_EQ(cache.Stats().evictions, 0u);
}

// A ghost is a part of a hash, so a key may be mistaken for another that comes back: one in
// some hundred.  That mustn't cost a small cache most of what it holds.
TEST_P(Bound, AMistakenKeyCostsLittle) {
    const uint64_t kEntries = 10;

    for (int i = 0; i < 200; i++) {
        Cache cache(GetParam(), LoadInBrackets, Entries(kEntries));
        for (uint64_t k = 0; k < 100; k++) {
            cache.GetPlain(Key(k));
            if (k >= kEntries) {
                ASSERT_GE(cache.Stats().entries, kEntries - 2);
            }
        }
    }
}

// However the parts of a small cache are shared out anew.
TEST_P(Bound, WhatIsUsedBetweenAnyTwoStoresStays) {
    int caches = GetParam().engine == MEMO_ENGINE_LOCK ? 300 : 60;
    for (int i = 0; i < caches; i++) {
        Cache cache(GetParam(), LoadInBrackets, [](memo_options *o) {
            o->max_entries = 20;
            o->shards = 1;
        });
        cache.GetPlain("hot");
        for (int k = 0; k < 1000; k++) {
            ASSERT_EQ(cache.GetPlain("hot"), Hit("<hot>"));
            EXPECT_EQ(cache.Put(Key(k % 40), "v"), 0);
            (void)cache.Peek(Key((k + 37) % 40));
        }
    }
}

// C1
TEST_P(Bound, OfBytesHoldsAfterEveryStore) {
    for (uint64_t n : {20000, 100000, 5000000}) {
        Cache cache(GetParam(), LoadOfSize, Bytes(n));
        std::mt19937_64 random(n);
        for (int i = 0; i < 6000; i++) {
            size_t size =
                random() % 100 == 0 ? random() % 4000 : random() % 300;
            cache.GetPlain(Sized(random() % 50000, size));
            if (i % 16 == 0) {
                ASSERT_LE(BytesOf(cache.Stats()), n);
            }
        }
        memo_check(cache);
        if (n < 1000000) {
            // It is used, too.
            EXPECT_GT(BytesOf(cache.Stats()), n - n / 4);
            EXPECT_GT(cache.Stats().evictions, 0u);
        }
    }
}

// C1: what is remembered of entries that came and went is bounded, too.
TEST_P(Bound, WhatCameAndWentIsForgotten) {
    const uint64_t kEntries = 1000, kTimes = 30000;
    Cache cache(GetParam(), LoadInBrackets, Entries(kEntries));

    for (uint64_t i = 0; i < kEntries / 2; i++) {
        cache.Get(Key(i));
    }
    for (uint64_t i = 0; i < kTimes; i++) {
        ASSERT_EQ(cache.Put(Key(kEntries + i), "v"), 0);
        ASSERT_EQ(cache.Invalidate(Key(kEntries + i)), 0);
    }
    EXPECT_LT(cache.Stats().ghost_bytes, kTimes);
    for (uint64_t i = 0; i < kTimes; i++) {
        ASSERT_EQ(cache.Put(Key(i % 10), "v"), 0);
    }
    EXPECT_LT(cache.Stats().ghost_bytes, kTimes);
    EXPECT_EQ(cache.Stats().evictions, 0u);
    EXPECT_EQ(cache.Stats().entries, kEntries / 2);
    memo_check(cache);
}

// T2: destructors may be slow, so no call runs more than a few; maintenance, too,
// and it says when there are more to run.
TEST_P(Bound, ACallRunsFewDestructors) {
    const int kEntries = 500, kMost = 16;
    Objects objects;
    std::thread::id caller = std::this_thread::get_id();
    int here = 0, most = 0;
    objects.on_destroy = [&](const std::string &) {
        if (std::this_thread::get_id() == caller) {
            here++;
        }
    };
    auto note = [&] {
        most = std::max(most, here);
        here = 0;
    };
    Cache cache(GetParam(), [&](memo_load *l) {
        return objects.Adopt(l, KeyOf(l));
    }, Entries(kEntries));

    for (int i = 0; i < 20 * kEntries; i++) {
        ASSERT_EQ(cache.Get(Key(uint64_t(i))), Loaded(Key(uint64_t(i))));
        note();
    }
    EXPECT_GE(objects.Adopted(), 20 * kEntries);
    ASSERT_EQ(memo_clear(cache), 0);
    note();
    while (memo_maintain(cache, 0) == 0) {
        note();
        memo_check(cache);
        note();
    }
    note();
    objects.AwaitDestroyed(objects.Adopted());
    EXPECT_LE(most, kMost * (GetParam().shards == 0 ? 64 : 1));
}

// L2: when memo_close() returns, all of them have run, however many there were.
TEST_P(Bound, CloseRunsAllDestructors) {
    const int kEntries = 1000;
    Objects objects;
    Cache cache(GetParam(), [&](memo_load *l) {
        return objects.Adopt(l, std::string(1024, 'x'));
    }, Entries(2 * kEntries));

    for (int i = 0; i < kEntries; i++) {
        cache.GetPlain(Key(uint64_t(i)));
    }
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(objects.Destroyed(), kEntries);
}

// C2: those that leave from the middle don't disturb the order of the others: the
// oldest that is of no use goes first.
TEST_P(Bound, WhatIsLeftGoesInItsOrder) {
    const uint64_t kEntries = 4000;
    const uint64_t seed[4] = {11, 22, 33, 44};
    std::vector<std::string> gone;
    memo_listener listener = {};
    auto window_of = [](int i) { return "w" + std::to_string(i); };

    listener.state = &gone;
    listener.removed = [](void *gone_keys, memo_cause cause, const void *key,
                          size_t size, const memo_value *) {
        std::string k(static_cast<const char *>(key), size);
        if (cause == MEMO_EVICTED && k[0] == 'k') {
            static_cast<std::vector<std::string> *>(gone_keys)->push_back(k);
        }
    };
    {
        Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
            o->max_entries = kEntries;
            o->shards = 1;
            o->hash_seed = seed;  // no two take each other's place
            o->listener = &listener;
        });
        for (uint64_t i = 0; i < kEntries * 9 / 10; i++) {
            cache.Get(Key(1000000 + i));
        }
        for (uint64_t i = 0; i < kEntries * 9 / 10; i++) {
            if (i % 8 != 0) {
                ASSERT_EQ(cache.Invalidate(Key(1000000 + i)), 0);
            }
        }
        for (uint64_t i = 0; i < kEntries * 8 / 10; i++) {
            cache.Get(Key(2000000 + i));
        }
        for (int i = 0; i < 15000; i++) {
            cache.Get(window_of(i));
            if (i >= 1000) {
                cache.Get(window_of(i - 1000));  // comes back, and is admitted
            }
        }
        memo_check(cache);
    }
    EXPECT_GT(gone.size(), kEntries / 2);
    EXPECT_TRUE(std::is_sorted(gone.begin(), gone.end()));
}

// C1: what memo says it uses, and what the allocator has given.
TEST_P(Bound, StatsAgreeWithTheAllocator) {
    Cache cache(GetParam(), LoadOfSize, Bytes(1000000));
    int64_t empty = cache.allocator.LiveBytes();

    for (int i = 0; i < 20000; i++) {
        cache.GetPlain(Sized(uint64_t(i), size_t(i % 500)));
    }
    cache.AwaitNoneRetired();
    struct memo_stats stats = cache.Stats();
    int64_t given = cache.allocator.LiveBytes() - empty;
    EXPECT_EQ(stats.retired, 0u);
    EXPECT_EQ(int64_t(stats.bytes), given);
}

// C1: bytes are what good_size says.
TEST_P(Bound, BytesAreTheAllocatorsOwn) {
    Cache plain(GetParam(), LoadOfSize, Bytes(1000000));
    CountingAllocator allocator;
    memo_allocator hook = allocator.Hook();
    hook.good_size = [](void *, size_t size) { return size + 1000; };
    Cache rounded(GetParam(), LoadOfSize, [&](memo_options *o) {
        o->max_bytes = 1000000;
        o->allocator = &hook;
    });

    EXPECT_EQ(plain.Get(Sized(1, 10)).error, 0);
    EXPECT_EQ(rounded.Get(Sized(1, 10)).error, 0);
    EXPECT_EQ(plain.Stats().bytes + 1000, rounded.Stats().bytes);
}

// C1
TEST_P(Bound, OfWeightHoldsAfterEveryStore) {
    uint64_t n = 10000;
    Cache cache(
        GetParam(),
        [](memo_load *l) {
            EXPECT_EQ(memo_load_set_weight(l, uint32_t(std::stoul(KeyOf(l)))),
                      0);
            return Return(l, "v");
        },
        Weight(n));
    std::mt19937_64 random(1);

    for (int i = 0; i < 4000; i++) {
        cache.GetPlain(std::to_string(random() % 300));
        ASSERT_LE(cache.Stats().weight, n);
    }
    EXPECT_GT(cache.Stats().weight, n - 600);
    EXPECT_EQ(cache.Stats().max_weight, n);
}

TEST_P(Bound, ValuesAreWeighed) {
    std::atomic<int> weighed{0};
    Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
        o->max_weight = 100;
        o->weight_arg = &weighed;
        o->weight = [](void *arg, const void *key, size_t key_size,
                       const void *data, size_t size) {
            ++*static_cast<std::atomic<int> *>(arg);
            EXPECT_EQ(std::string(static_cast<const char *>(key), key_size),
                      "k");
            EXPECT_EQ(std::string(static_cast<const char *>(data), size).size(),
                      size);
            return uint32_t(size);
        };
    });

    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(cache.Stats().weight, 3u);
    EXPECT_EQ(cache.Put("k", "12345"), 0);
    EXPECT_EQ(cache.Stats().weight, 5u);
    EXPECT_EQ(weighed, 2);
    EXPECT_EQ(cache.Put("k", std::string(101, 'x')), 0);
    EXPECT_EQ(cache.Stats().weight, 0u);
    EXPECT_EQ(cache.Stats().too_large, 1u);
}

TEST_P(Bound, AValueWithoutAWeightWeighsOne) {
    Cache cache(GetParam(), LoadInBrackets, Weight(10));

    for (int i = 0; i < 100; i++) {
        cache.Get(Key(i));
    }
    EXPECT_EQ(cache.Stats().weight, 10u);
    EXPECT_EQ(cache.Stats().entries, 10u);
}

TEST_P(Bound, AWeightOfZeroTakesNoRoom) {
    Cache cache(
        GetParam(),
        [](memo_load *l) {
            EXPECT_EQ(memo_load_set_weight(l, 0), 0);
            return LoadInBrackets(l);
        },
        Weight(1));

    for (int i = 0; i < 100; i++) {
        cache.Get(Key(i));
    }
    EXPECT_EQ(cache.Stats().entries, 100u);
}

// C2
TEST_P(Bound, WhatIsTooLargeIsDeliveredAndEvictsNothing) {
    Cache cache(GetParam(), LoadOfSize, Bytes(100000));

    for (int i = 0; i < 100; i++) {
        cache.Get(Sized(uint64_t(i), 100));
    }
    struct memo_stats before = cache.Stats();
    Seen seen = cache.Get("large:200000");
    EXPECT_EQ(seen.from, MEMO_LOADED);
    EXPECT_EQ(seen.bytes.size(), 200000u);
    EXPECT_EQ(cache.Get("large:200000").from, MEMO_LOADED);
    struct memo_stats after = cache.Stats();
    EXPECT_EQ(after.entries, before.entries);
    EXPECT_EQ(after.evictions, before.evictions);
    EXPECT_EQ(after.too_large, 2u);
}

// Whatever size is said of it.
TEST_P(Bound, WhatIsAbsurdlyLargeIsTooLarge) {
    static char byte;
    size_t size = 0;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            return memo_load_adopt(l, &byte, size, nullptr, nullptr);
        },
        Bytes(100000));

    for (size_t less = 0; less < 4096; less += 16) {
        size = SIZE_MAX - less;
        Value v = cache.Hold("k");
        EXPECT_EQ(v->from, uint32_t{MEMO_LOADED});
        EXPECT_EQ(v->size, size);
    }
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Stats().too_large, 256u);
}

// C2, I1: a value too large to be stored still takes the old one's place.
TEST_P(Bound, PutOfWhatIsTooLargeDropsWhatWasThere) {
    Cache cache(GetParam(), LoadInBrackets, Bytes(100000));

    EXPECT_EQ(cache.Put("k", "small"), 0);
    EXPECT_EQ(cache.Put("k", std::string(200000, 'x')), 0);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
}

TEST_P(Bound, SeveralBoundsHoldTogether) {
    Cache cache(GetParam(), LoadOfSize, [](memo_options *o) {
        o->max_entries = 100;
        o->max_bytes = 50000;
        o->max_weight = 90;
    });
    std::mt19937_64 random(1);

    for (int i = 0; i < 5000; i++) {
        cache.Get(Sized(random() % 1000, random() % 2000));
        struct memo_stats stats = cache.Stats();
        ASSERT_LE(stats.entries, 90u);
        ASSERT_LE(BytesOf(stats), 50000u);
        ASSERT_LE(stats.weight, 90u);
    }
}

// F4: loads in progress occupy nothing.
TEST_P(Bound, MoreLoadsThanEntriesRunAtOnce) {
    const int kEntries = 3, kLoads = 8;
    Gate gate;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            gate.Wait();
            return LoadInBrackets(l);
        },
        Entries(kEntries));
    std::atomic<int> right{0};
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < kLoads; i++) {
            threads.emplace_back(new Thread([&, i] {
                right += cache.GetPlain(Key(i)) == Loaded("<" + Key(i) + ">");
            }));
        }
        Await([&] { return gate.Waiting() == kLoads; });
        EXPECT_EQ(cache.Stats().flights, uint64_t(kLoads));
        gate.Open();
    }
    EXPECT_EQ(right, kLoads);
    EXPECT_EQ(cache.Stats().entries, uint64_t(kEntries));
}

// V2: pinned values are evicted like others, and stay valid.
TEST_P(Bound, PinnedValuesDontBlockEviction) {
    Cache cache(GetParam(), LoadInBrackets, Entries(10));
    std::vector<Value> held;

    for (int i = 0; i < 100; i++) {
        held.push_back(cache.Hold(Key(i)));
        held.push_back(cache.Hold(Key(i)));
        ASSERT_LE(cache.Stats().entries, 10u);
    }
    memo_maintain(cache, 0);
    EXPECT_EQ(cache.Stats().entries, 10u);
    EXPECT_EQ(cache.Stats().retired, 90u);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(held[size_t(2 * i)].Bytes(), "<" + Key(i) + ">");
    }
    held.clear();
    cache.AwaitNoneRetired();
}

// V2
TEST_P(Bound, EvictedObjectsAreDestroyedOnce) {
    Cache *self = nullptr;
    Cache cache(
        GetParam(),
        [&](memo_load *l) { return self->objects.Adopt(l, KeyOf(l)); },
        Entries(10));
    self = &cache;
    std::mt19937_64 random(1);

    for (int i = 0; i < 3000; i++) {
        cache.GetPlain(Key(random() % 40));
    }
    while (memo_maintain(cache, 0) == 0) {
    }
    Await([&] { return cache.objects.Alive() == 10; });
    EXPECT_EQ(uint64_t(cache.objects.Destroyed()), cache.Stats().evictions);
}

// L4: a destructor stores, which evicts, which destroys.
TEST_P(Bound, DestructorsMayStore) {
    Cache *self = nullptr;
    Cache cache(
        GetParam(),
        [&](memo_load *l) { return self->objects.Adopt(l, KeyOf(l)); },
        Entries(4));
    std::atomic<int> depth{0};
    self = &cache;
    cache.objects.on_destroy = [&](const std::string &key) {
        if (depth.fetch_add(1) < 1000) {
            EXPECT_EQ(cache.Put("from " + key, "x"), 0);
        }
    };
    for (int i = 0; i < 500; i++) {
        cache.GetPlain(Key(i));
    }
    EXPECT_LE(cache.Stats().entries, 4u);
    depth = 1000;
}

// What is asked for again and again gets through, however many others come.
TEST_P(Bound, WhatIsWantedComesToStay) {
    Cache cache(GetParam(), LoadInBrackets, Entries(100));

    for (int i = 0; i < 20000; i++) {
        cache.GetPlain("other" + std::to_string(i));
        if (i % 3 == 0) {
            cache.GetPlain(Key(i / 3 % 50));
        }
    }
    struct memo_stats before = cache.Stats();
    for (int i = 0; i < 50; i++) {
        cache.GetPlain(Key(i));
    }
    EXPECT_GE(cache.Stats().hits - before.hits, 35u);
}

// A scan of keys never seen again does no harm to what is in use.
TEST_P(Bound, AScanPassesByWhatIsInUse) {
    const int kHot = 800;
    Cache cache(GetParam(), LoadInBrackets, Entries(1000));

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < kHot; i++) {
            cache.GetPlain(Key(i));
        }
    }
    for (int i = 0; i < 20000; i++) {
        cache.GetPlain("scan" + std::to_string(i));
    }
    struct memo_stats before = cache.Stats();
    for (int i = 0; i < kHot; i++) {
        cache.GetPlain(Key(i));
    }
    EXPECT_GE(cache.Stats().hits - before.hits, uint64_t(kHot) * 9 / 10);
}

// A loop a little longer than the cache is the worst case of LRU and FIFO: they
// never hit.
TEST_P(Bound, ALoopLongerThanTheCacheHits) {
    const int kLoop = 1000, kEntries = 800, kRounds = 60;
    Cache cache(GetParam(), LoadInBrackets, Entries(kEntries));

    for (int i = 0; i < kRounds * kLoop; i++) {
        cache.GetPlain(Key(i % kLoop));
    }
    EXPECT_GE(cache.Stats().hits, uint64_t(kRounds * kEntries) * 8 / 10);
}

// Up and down through all keys, of which half fit: what came back by its
// ghost is never of use, for a shorter way back than it came would have to
// follow.  One queue for all is best, which hits what it holds in each round.
TEST_P(Bound, GoingToAndFroHits) {
    const int kKeys = 6000, kEntries = 3000, kRounds = 20;
    Cache cache(GetParam(), LoadInBrackets, Entries(kEntries));

    for (int round = 0; round < kRounds; round++) {
        for (int i = 0; i < kKeys; i++) {
            cache.GetPlain(Key(round % 2 == 0 ? i : kKeys - 1 - i));
        }
    }
    EXPECT_GE(cache.Stats().hits, uint64_t(kRounds * kEntries) * 8 / 10);
}

// What is wanted lately, and never again: the window must become large.
TEST_P(Bound, WhatIsNewIsKeptIfThatIsWhatIsWanted) {
    const uint64_t kEntries = 400, kRequests = 20000;
    Cache cache(GetParam(), LoadInBrackets, Entries(kEntries));
    std::mt19937_64 random(1);

    for (uint64_t i = 0; i < kRequests; i++) {
        uint64_t newest = i / 3, back = random() % (kEntries * 8 / 10);
        cache.GetPlain(Key(newest < back ? newest : newest - back));
    }
    // FIFO would hit about 63 % of these, what keeps old keys far less.
    EXPECT_GE(cache.Stats().hits, kRequests / 2);
}

TEST_P(Bound, ClearMakesRoom) {
    Cache cache(GetParam(), LoadInBrackets, Entries(5000));

    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 5000; i++) {
            std::string key = Key(round) + Key(i);
            EXPECT_EQ(cache.Get(key), Loaded("<" + key + ">"));
            ASSERT_LE(cache.Stats().entries, 5000u);
        }
        EXPECT_EQ(memo_clear(cache), 0);
    }
}

TEST_P(Bound, OptionsThatAreNone) {
    Cache cache(GetParam(), LoadInBrackets, Entries(1));
    memo_load *none = nullptr;

    EXPECT_EQ(memo_load_set_weight(none, 1), MEMO_EINVAL);
    EXPECT_EQ(cache.Stats().max_bytes, 0u);
    EXPECT_EQ(cache.Stats().max_weight, 0u);
}

// E4
TEST_P(Bound, OutOfMemoryIsAnErrorAndNothingElse) {
    Cache cache(GetParam(), LoadInBrackets, Entries(50));
    std::mt19937_64 random(1);
    int failed = 0;

    for (int i = 0; i < 3000; i++) {
        std::string key = Key(random() % 100);
        cache.allocator.FailAt(random() % 4);
        Seen seen = i % 3 == 0 ? Failed(cache.Put(key, "<" + key + ">"))
                               : cache.GetPlain(key);
        cache.allocator.FailAt(0);
        if (i % 3 != 0 && seen.error == 0) {
            EXPECT_EQ(seen.bytes, "<" + key + ">");
        } else if (seen.error != 0) {
            EXPECT_EQ(seen.error, MEMO_ENOMEM);
            failed++;
        }
        if (i % 100 == 0) {
            memo_check(cache);
        }
    }
    EXPECT_GT(failed, 100);
    EXPECT_EQ(cache.Stats().entries, 50u);
}

// Everything at once: gets, puts, invalidations, clears, held values.
TEST_P(Bound, HoldsUnderStress) {
    const int kThreads = 4, kOps = 20000;
    const uint64_t kSeed = 20240229;
    for (auto bound : {Entries(64), Bytes(30000), Weight(64)}) {
        Cache *self = nullptr;
        Cache cache(
            GetParam(),
            [&](memo_load *l) {
                std::string key = KeyOf(l);
                if (key.size() % 2 == 0) {
                    return self->objects.Adopt(l, "<" + key + ">");
                }
                return LoadInBrackets(l);
            },
            bound);
        self = &cache;
        std::atomic<int> wrong{0};
        {
            std::vector<std::unique_ptr<Thread>> threads;
            for (int t = 0; t < kThreads; t++) {
                threads.emplace_back(new Thread([&, t] {
                    std::mt19937_64 random(kSeed + uint64_t(t));
                    std::vector<Value> held;
                    for (int i = 0; i < kOps; i++) {
                        uint64_t r = random();
                        std::string key =
                            Key(std::min(r % 256, (r >> 8) % 256));
                        unsigned what = unsigned(r >> 32) % 100;
                        if (what < 85) {
                            Value v = cache.Hold(key);
                            wrong += v.Bytes() != "<" + key + ">";
                            if (what < 10) {
                                held.push_back(std::move(v));
                            }
                        } else if (what < 94) {
                            wrong += cache.Put(key, "<" + key + ">") != 0;
                        } else if (what < 99) {
                            wrong += cache.Invalidate(key) != 0;
                        } else if (r >> 40 == 0 || i % 1000 == 0) {
                            wrong += memo_clear(cache) != 0;
                        } else {
                            memo_check(cache);
                        }
                        if (held.size() > 20) {
                            held.clear();
                        }
                    }
                }));
            }
        }
        EXPECT_EQ(wrong, 0);
        struct memo_stats stats = cache.Stats();
        EXPECT_TRUE(stats.max_entries == 0 || stats.entries <= 64);
        EXPECT_TRUE(stats.max_bytes == 0 || BytesOf(stats) <= 30000);
        EXPECT_TRUE(stats.max_weight == 0 || stats.weight <= 64);
    }
}

}  // namespace
