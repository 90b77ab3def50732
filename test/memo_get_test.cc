// memo_get(): one load per key, keys compared whole, and where an answer came
// from.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Get);

// V3
TEST_P(Get, SaysWhetherItLoadedOrHit) {
    Cache cache(GetParam());

    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(cache.Get("k"), Hit("<k>"));
    EXPECT_EQ(cache.GetPlain("k"), Hit("<k>"));
    EXPECT_EQ(cache.GetPlain("j"), Loaded("<j>"));
    EXPECT_EQ(cache.Put("p", "put"), 0);
    EXPECT_EQ(cache.GetPlain("p"), Hit("put"));
    EXPECT_EQ(cache.Peek("p"), Hit("put"));
}

// F1, V3
TEST_P(Get, EqualKeysRunLoadOnce) {
    Gate gate;
    std::atomic<int> loads{0};
    Cache cache(GetParam(), [&](memo_load *l) {
        loads++;
        gate.Wait();
        return LoadInBrackets(l);
    });
    std::atomic<int> loaded{0}, joined{0};
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < 16; i++) {
            threads.emplace_back(new Thread([&, i] {
                Seen seen = i % 2 ? cache.Get("k") : cache.GetPlain("k");
                loaded += seen == Loaded("<k>");
                joined += seen == Joined("<k>");
            }));
        }
        cache.AwaitJoins(15);
        EXPECT_EQ(cache.Stats().flights, 1u);
        gate.Open();
    }
    EXPECT_EQ(loads, 1);
    EXPECT_EQ(loaded, 1);
    EXPECT_EQ(joined, 15);
    EXPECT_EQ(cache.Stats().flights, 0u);
}

// F1: the winner looks again, and a result is there before its flight is gone.
TEST_P(Get, ThereIsNoInstantInWhichAFinishedKeyLooksAbsent) {
    const int kRounds = 3000, kThreads = 3;
    std::atomic<int> loads{0};
    Cache cache(GetParam(), [&](memo_load *l) {
        loads++;
        return LoadInBrackets(l);
    });
    std::atomic<int> misses{0};
    std::atomic<int> arrived{0};
    auto run = [&] {
        for (int round = 0; round < kRounds; round++) {
            std::string key = Key(round);
            arrived++;
            while (arrived < (round + 1) * kThreads) {
                std::this_thread::yield();
            }
            misses += cache.GetPlain(key).error != 0;
            misses += !(cache.Peek(key) == Hit("<" + key + ">"));
        }
    };
    {
        Thread a(run), b(run), c(run);
    }
    EXPECT_EQ(misses, 0);
    EXPECT_EQ(loads, kRounds);
    EXPECT_EQ(cache.Stats().loads, uint64_t(kRounds));
}

// F2: nothing of the cache is locked while a load runs.
TEST_P(Get, OtherKeysDontWaitForALoad) {
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "slow") {
            gate.Wait();
        }
        return LoadInBrackets(l);
    });
    Thread slow([&] { cache.Get("slow"); });

    Await([&] { return gate.Waiting() == 1; });
    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(cache.Get(Key(i)), Loaded("<" + Key(i) + ">"));
        EXPECT_EQ(cache.Get(Key(i)), Hit("<" + Key(i) + ">"));
        EXPECT_EQ(cache.Put(Key(i), "put"), 0);
        EXPECT_EQ(cache.Invalidate(Key(i)), 0);
    }
    memo_check(cache);
    gate.Open();
}

// F2: nor do loads wait for loads.
TEST_P(Get, LoadsOfDifferentKeysRunTogether) {
    const int kLoads = 8;
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        gate.Wait();
        return LoadInBrackets(l);
    });
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < kLoads; i++) {
        threads.emplace_back(new Thread([&, i] { cache.Get(Key(i)); }));
    }
    Await([&] { return gate.Waiting() == kLoads; });
    EXPECT_EQ(cache.Stats().flights, uint64_t(kLoads));
    gate.Open();
}

// F3
TEST_P(Get, ALoadGoesOnWithoutItsFirstCaller) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Joined("late")); });

    cache.AwaitJoins(1);
    cache.Finish(l, "late");
    joiner.Join();
    EXPECT_EQ(cache.Get("k"), Hit("late"));
    EXPECT_EQ(cache.loads, 1);
}

// F3: for the cache, if for nobody else.
TEST_P(Get, ALoadThatNobodyWaitsForIsKept) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");

    cache.Finish(l, "late");
    EXPECT_EQ(cache.Peek("k"), Hit("late"));
}

// ------------------------------------------------------------------ keys

// F5
TEST_P(Get, KeysOfEachLengthDifferInEachByte) {
    Cache cache(GetParam(), [](memo_load *l) { return Return(l, KeyOf(l)); });

    for (size_t size = 0; size <= 100; size++) {
        std::string key(size, 'x');
        EXPECT_EQ(cache.GetPlain(key), Loaded(key));
        for (size_t i = 0; i < size; i++) {
            std::string other = key;
            other[i] ^= char(1u << (i % 8));
            ASSERT_EQ(cache.GetPlain(other), Loaded(other)) << size << " " << i;
            ASSERT_EQ(cache.GetPlain(other), Hit(other)) << size << " " << i;
        }
        EXPECT_EQ(cache.GetPlain(key), Hit(key));
    }
}

// F5: the same, with the hashes of all keys with one byte that isn't 0 equal, so that
// only comparing tells them apart.  (Of short keys that byte must be one of those that
// the first 8 don't have.)
TEST_P(Get, EqualHashesDontMixUpKeysOfAnyLength) {
    Cache cache(GetParam(), [](memo_load *l) { return Return(l, KeyOf(l)); },
                ZeroSeed());

    for (size_t size = 8; size <= 100; size++) {
        std::string key(size, '\0');
        EXPECT_EQ(cache.GetPlain(key), Loaded(key));
        for (size_t i = size <= 16 ? 8 : 0; i < size; i++) {
            std::string other = key;
            other[i] ^= char(1u << (i % 8));
            ASSERT_EQ(cache.GetPlain(other), Loaded(other)) << size << " " << i;
            ASSERT_EQ(cache.GetPlain(other), Hit(other)) << size << " " << i;
        }
        EXPECT_EQ(cache.GetPlain(key), Hit(key));
    }
}

// F5: flights too are told apart by the whole key.
TEST_P(Get, EqualHashesDontMixUpFlights) {
    const int kFlights = 64;
    WeakSeed seed = ZeroSeed();
    PendingCache cache(GetParam(), seed);
    std::vector<memo_load *> pending;

    for (int i = 0; i < kFlights; i++) {
        pending.push_back(cache.Start(seed.Key(i)));
    }
    memo_check(cache);
    // End them from the middle outwards, looking at the others now and then.
    for (int i = 0; i < kFlights; i++) {
        int which = (i * 37) % kFlights;
        EXPECT_EQ(KeyOf(pending[which]), seed.Key(which));
        cache.Finish(pending[which], Key(which));
        memo_check(cache);
        EXPECT_EQ(cache.Get(seed.Key(which)), Hit(Key(which)));
    }
    for (int i = 0; i < kFlights; i++) {
        EXPECT_EQ(cache.Peek(seed.Key(i)), Hit(Key(i)));
    }
    EXPECT_EQ(cache.loads, kFlights);
}

TEST_P(Get, AKeyMayBeEmpty) {
    Cache cache(GetParam());
    Value v;

    EXPECT_EQ(cache.Get(""), Loaded("<>"));
    EXPECT_EQ(memo_get(cache, nullptr, 0, v.out()), 0);
    EXPECT_EQ(v.Seen(0), Hit("<>"));
    EXPECT_EQ(memo_invalidate(cache, nullptr, 0), 0);
    EXPECT_EQ(memo_peek(cache, nullptr, 0, v.out()), MEMO_ENOENT);
    EXPECT_EQ(memo_put(cache, nullptr, 0, nullptr, 0), 0);
    EXPECT_EQ(cache.Get(""), Hit(""));
}

TEST_P(Get, AKeyMayHoldAnyBytes) {
    Cache cache(GetParam());
    std::string all;

    for (int i = 0; i < 256; i++) {
        all.push_back(char(i));
        std::string zeros(size_t(i), '\0');
        EXPECT_EQ(cache.Get(zeros), Loaded("<" + zeros + ">"));
    }
    EXPECT_EQ(cache.Get(all), Loaded("<" + all + ">"));
    EXPECT_EQ(cache.Get(all), Hit("<" + all + ">"));
}

TEST_P(Get, AKeyMayBeAsLongAsTheHeaderSaysAndNoLonger) {
    Cache cache(GetParam(), [](memo_load *l) {
        return Return(l, std::to_string(KeyOf(l).size()));
    });
    std::string longest(MEMO_KEY_MAX, 'x');

    EXPECT_EQ(cache.GetPlain(longest), Loaded("16777215"));
    EXPECT_EQ(cache.GetPlain(longest), Hit("16777215"));
    longest.back() = 'y';
    EXPECT_EQ(cache.GetPlain(longest), Loaded("16777215"));
    EXPECT_EQ(cache.Invalidate(longest), 0);
    EXPECT_EQ(cache.Peek(longest), Failed(MEMO_ENOENT));

    longest += 'x';
    EXPECT_EQ(cache.GetPlain(longest), Failed(MEMO_EINVAL));
    EXPECT_EQ(cache.Get(longest), Failed(MEMO_EINVAL));
    EXPECT_EQ(cache.Peek(longest), Failed(MEMO_EINVAL));
    EXPECT_EQ(cache.Put(longest, ""), MEMO_EINVAL);
    EXPECT_EQ(cache.Invalidate(longest), MEMO_EINVAL);
}

TEST_P(Get, AKeyIsCopiedAndLoadsSeeAZeroByteBehindIt) {
    std::string seen;
    Cache cache(GetParam(), [&](memo_load *l) {
        size_t size = 99;
        seen = static_cast<const char *>(memo_load_key(l, &size));
        EXPECT_EQ(size, 3u);
        EXPECT_EQ(memo_load_key(l, nullptr), memo_load_key(l, &size));
        return LoadInBrackets(l);
    });
    char key[] = {'a', 'b', 'c', 'd'};
    Value v;

    EXPECT_EQ(memo_get(cache, key, 3, v.out()), 0);
    EXPECT_EQ(seen, "abc");
    key[0] = 'x';
    EXPECT_EQ(cache.Get("abc"), Hit("<abc>"));
}

// ------------------------------------------------------------------ values

TEST_P(Get, AValueMayHaveAnySize) {
    Cache cache(GetParam(), [](memo_load *l) {
        return Return(l, std::string(std::stoul(KeyOf(l)), 'v'));
    });

    for (size_t size : {0, 1, 2, 15, 16, 17, 4095, 4096, 65537, 16 << 20}) {
        std::string key = std::to_string(size), value(size, 'v');
        EXPECT_EQ(cache.Get(key), Loaded(value));
        EXPECT_EQ(cache.Get(key), Hit(value));
        value.assign(size, 'p');
        EXPECT_EQ(cache.Put("p" + key, value), 0);
        EXPECT_EQ(cache.Get("p" + key), Hit(value));
    }
}

TEST_P(Get, AValueIsAlignedForAnyTypeWhateverItsKey) {
    Cache cache(GetParam(), [](memo_load *l) {
        if (KeyOf(l).size() % 2) {
            EXPECT_EQ(uintptr_t(memo_load_reserve(l, 3)) % 16, 0u);
            return 0;
        }
        return Return(l, "xyz");
    });

    for (size_t size = 0; size < 70; size++) {
        std::string key(size, 'k');
        EXPECT_EQ(uintptr_t(cache.Hold(key)->data) % 16, 0u);  // loaded
        EXPECT_EQ(uintptr_t(cache.Hold(key)->data) % 16, 0u);  // hit
        EXPECT_EQ(cache.Put(key, "abc"), 0);
        EXPECT_EQ(uintptr_t(cache.Hold(key)->data) % 16, 0u);
    }
}

TEST_P(Get, AValuePutIsCopied) {
    Cache cache(GetParam());
    char bytes[] = "bytes";

    EXPECT_EQ(memo_put(cache, "k", 1, bytes, 5), 0);
    bytes[0] = 'x';
    EXPECT_EQ(cache.Get("k"), Hit("bytes"));
}

// ------------------------------------------------------------------ peek

TEST_P(Get, PeekNeverLoadsNorWaits) {
    Gate gate;
    int loads = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        loads++;
        gate.Wait();
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    Thread loader([&] { cache.Get("k"); });
    Await([&] { return gate.Waiting() == 1; });
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    gate.Open();
    loader.Join();
    EXPECT_EQ(cache.Peek("k"), Hit("<k>"));
    EXPECT_EQ(loads, 1);
}

// ------------------------------------------------------------------ counting

TEST_P(Get, StatsCountEachCallOnce) {
    Cache cache(GetParam(), [](memo_load *l) {
        return KeyOf(l) == "bad" ? 7 : LoadInBrackets(l);
    });
    struct memo_stats before = cache.Stats();

    EXPECT_EQ(before.size, sizeof(before));
    EXPECT_EQ(before.hits + before.joins + before.loads + before.entries, 0u);
    EXPECT_GT(before.table_bytes, 0u);
    cache.Get("a");
    cache.Get("b");
    for (int i = 0; i < 10; i++) {
        cache.GetPlain("a");
        cache.Get("b");
        cache.Peek("a");
    }
    cache.Peek("c");
    cache.Get("bad");
    cache.Put("p", "put");
    EXPECT_EQ(cache.Stats().hits, 30u);
    EXPECT_EQ(cache.Stats().joins, 0u);
    EXPECT_EQ(cache.Stats().loads, 3u);
    EXPECT_EQ(cache.Stats().load_failures, 1u);
    EXPECT_EQ(cache.Stats().detached, 0u);
    EXPECT_EQ(cache.Stats().entries, 3u);
    EXPECT_GE(cache.Stats().bytes, 3 * (1 + 3));
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(cache.Stats().retired, 0u);
    cache.Invalidate("a");
    cache.Invalidate("b");
    cache.Invalidate("p");
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Stats().bytes, 0u);
}

// V2: the bytes of what is held are reported, however it is held: by a hit, by
// who loaded it, a second time.
TEST_P(Get, WhatIsHeldWithoutBeingResidentIsCounted) {
    Cache cache(GetParam());
    std::vector<Value> held;

    for (int i = 0; i < 30; i++) {
        held.push_back(cache.Hold(Key(i % 10)));
    }
    held.emplace_back();
    EXPECT_EQ(memo_retain(&*held[0], held.back().out()), 0);
    struct memo_stats before = cache.Stats();
    EXPECT_EQ(before.retired, 0u);
    EXPECT_EQ(before.retired_bytes, 0u);
    EXPECT_EQ(memo_clear(cache), 0);
    for (int i = 0; i < 2; i++) {
        memo_maintain(cache, 0);
        EXPECT_EQ(cache.Stats().bytes, 0u);
        EXPECT_EQ(cache.Stats().retired, 10u);
        EXPECT_EQ(cache.Stats().retired_bytes, before.bytes);
    }
    held.resize(1);
    Await([&] {
        memo_maintain(cache, 0);
        return cache.Stats().retired == 1;
    });
    held.clear();
    cache.AwaitNoneRetired();
    EXPECT_EQ(cache.Stats().retired_bytes, 0u);
}

// Values that are large, dropped and held don't make each write look at all pins:
// what is retired after them waits until it is worth while.
TEST_P(Get, ALargeHeldValueDoesntMakeWritesDear) {
    Cache cache(GetParam(), [](memo_load *l) {
        return Return(l, std::string(KeyOf(l) == "large" ? 1 << 20 : 1, 'x'));
    });
    cache.Get("large");
    Value held = cache.Hold("large");
    EXPECT_EQ(cache.Invalidate("large"), 0);
    memo_maintain(cache, 0);
    uint64_t most = 0;
    for (int i = 0; i < 30; i++) {
        cache.Get("small");
        EXPECT_EQ(cache.Invalidate("small"), 0);
        most = std::max(most, cache.Stats().retired);
    }
    EXPECT_GE(most, 20u);  // not reclaimed one by one
    held.Release();
    cache.AwaitNoneRetired();
}

// V2: also while its destructor runs.
// However much is replaced meanwhile, a reader who sleeps on a value keeps that
// value from being given back, and no other; what waits for its turn is bounded.
TEST_P(Get, ASleepingReaderHoldsBackItsOwnValueOnly) {
    Cache cache(GetParam());
    Value held = cache.Hold(Key(0));
    std::string seen(static_cast<const char *>(held->data), held->size);
    uint64_t most = 0;

    for (int i = 0; i < 20000; i++) {
        EXPECT_EQ(cache.Put(Key(i % 10), "new"), 0);
        most = std::max(most, cache.Stats().retired);
    }
    if (OptionsOf(GetParam()).engine == MEMO_ENGINE_LOCK) {
        // A batch in each shard, and one more for each thread there ever was at once.
        EXPECT_LE(most, 2000u);
    }
    Await([&] {
        memo_maintain(cache, 0);
        return cache.Stats().retired == 1;
    });
    EXPECT_EQ(std::string(static_cast<const char *>(held->data), held->size),
              seen);
}

TEST_P(Get, WhatIsBeingDestroyedIsCounted) {
    Gate gate;
    Cache cache(
        GetParam(),
        [&](memo_load *l) { return cache.objects.Adopt(l, "object"); },
        LetDestructorsWait);
    cache.objects.on_destroy = [&](const std::string &) { gate.Wait(); };

    cache.Get("k");
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate("k"), 0); });
    Await([&] { return gate.Waiting() == 1; });
    EXPECT_EQ(cache.Stats().retired, 1u);
    gate.Open();
    dropper.Join();
    cache.AwaitNoneRetired();
}

TEST_P(Get, HitsOfAllThreadsAreCounted) {
    const int kThreads = 40, kHits = 1000;
    Cache cache(GetParam());
    std::vector<std::unique_ptr<Thread>> threads;

    cache.Get("k");
    for (int i = 0; i < kThreads; i++) {
        threads.emplace_back(new Thread([&] {
            for (int n = 0; n < kHits; n++) {
                cache.GetPlain("k");
            }
        }));
    }
    threads.clear();
    EXPECT_EQ(cache.Stats().hits, uint64_t(kThreads * kHits));
    {
        Cache another(GetParam());  // counts its own
        another.Get("k");
        another.Get("k");
        EXPECT_EQ(another.Stats().hits, 1u);
    }
    EXPECT_EQ(cache.Stats().hits, uint64_t(kThreads * kHits));
}

TEST_P(Get, ManyCachesCountApart) {
    std::vector<std::unique_ptr<Cache>> caches;

    for (int i = 0; i < 130; i++) {
        caches.emplace_back(new Cache(GetParam()));
        caches.back()->Put("k", Key(i));
    }
    for (int i = 0; i < 130; i++) {
        for (int n = 0; n <= i; n++) {
            EXPECT_EQ(caches[i]->GetPlain("k"), Hit(Key(i)));
        }
    }
    for (int i = 0; i < 130; i++) {
        EXPECT_EQ(caches[i]->Stats().hits, uint64_t(i + 1));
    }
}

TEST_P(Get, TheClockSaysHowLongLoadsTook) {
    FakeClock clock;
    memo_clock hook = clock.Hook();
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            clock.Advance(500);
            return LoadInBrackets(l);
        },
        [&](memo_options *options) { options->clock = &hook; });

    cache.Get("a");
    cache.Get("b");
    EXPECT_EQ(cache.Stats().load_ns, 1000u);
}

}  // namespace
