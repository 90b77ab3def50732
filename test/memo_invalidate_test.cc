// Invalidation is exact: by key, by put, by clear.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Invalidate);

// The ways to make what is known of "k" out of date.
struct Way {
    const char *name;
    int (*run)(Cache &cache);
};

const Way kWays[] = {
    {"invalidate", [](Cache &cache) { return cache.Invalidate("k"); }},
    {"put", [](Cache &cache) { return cache.Put("k", "put"); }},
    {"clear", [](Cache &cache) { return memo_clear(cache); }},
};

// What a call after way finds, where loads are PENDING.
Seen AfterWay(const Way &way) {
    return std::string(way.name) == "put" ? Hit("put") : Failed(MEMO_ENOENT);
}

// I1
TEST_P(Invalidate, DropsWhatIsResident) {
    for (const Way &way : kWays) {
        SCOPED_TRACE(way.name);
        Cache cache(GetParam());
        EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
        EXPECT_EQ(way.run(cache), 0);
        EXPECT_EQ(cache.Peek("k"), AfterWay(way));
        EXPECT_EQ(way.run(cache), 0);  // once more: fine
        EXPECT_EQ(cache.Peek("k"), AfterWay(way));
    }
}

// I1
TEST_P(Invalidate, LeavesOtherKeysAlone) {
    Cache cache(GetParam());

    cache.Get("j");
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.Put("k", "put"), 0);
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.Peek("j"), Hit("<j>"));
}

// I1, I2
TEST_P(Invalidate, DetachesTheFlight) {
    for (const Way &way : kWays) {
        SCOPED_TRACE(way.name);
        PendingCache cache(GetParam());
        Thread starter([&] { EXPECT_EQ(cache.Get("k"), Detached("old")); });
        Await([&] { return cache.loads == 1; });
        memo_load *l = cache.last;
        Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Detached("old")); });
        cache.AwaitJoins(1);
        EXPECT_EQ(way.run(cache), 0);
        EXPECT_EQ(cache.Stats().detached, 1u);
        EXPECT_EQ(cache.Stats().flights, 1u);  // it still runs
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        EXPECT_EQ(cache.Get("k", &no_load), AfterWay(way));
        cache.Finish(l, "old");
        starter.Join();
        joiner.Join();
        EXPECT_EQ(cache.Peek("k"), AfterWay(way));
        EXPECT_EQ(cache.loads, 1);
    }
}

// I2: later callers start anew, beside the load that still runs; I3: whose late
// result takes nothing away from them.
TEST_P(Invalidate, TheNextCallerStartsANewFlight) {
    PendingCache cache(GetParam());
    memo_load *old_load = cache.Start("k");
    EXPECT_EQ(cache.Invalidate("k"), 0);
    memo_load *new_load = cache.Start("k");
    EXPECT_NE(new_load, old_load);
    EXPECT_EQ(cache.Stats().flights, 2u);

    cache.Finish(old_load, "old");
    Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Joined("new")); });
    cache.AwaitJoins(1);
    cache.Finish(new_load, "new");
    joiner.Join();
    EXPECT_EQ(cache.Get("k"), Hit("new"));
    EXPECT_EQ(cache.loads, 2);
}

// I3: a late result is destroyed, once, and what is newer stays.
TEST_P(Invalidate, ALateResultOverwritesNothing) {
    for (const Way &way : kWays) {
        SCOPED_TRACE(way.name);
        PendingCache cache(GetParam());
        memo_load *old_load = cache.Start("k");
        EXPECT_EQ(way.run(cache), 0);
        if (std::string(way.name) != "put") {
            cache.Finish(cache.Start("k"), "new");
        }
        Seen newer = cache.Get("k");
        EXPECT_EQ(cache.objects.Adopt(old_load, "old"), 0);
        EXPECT_EQ(memo_load_finish(old_load, 0), 0);
        EXPECT_EQ(cache.objects.Destroyed(), 1);
        EXPECT_EQ(cache.Get("k"), newer);
    }
}

// I3: nor does a late error.
TEST_P(Invalidate, ALateErrorTakesNothingAway) {
    PendingCache cache(GetParam());
    memo_load *old_load = cache.Start("k");

    EXPECT_EQ(cache.Put("k", "put"), 0);
    EXPECT_EQ(memo_load_finish(old_load, 42), 0);
    EXPECT_EQ(cache.Get("k"), Hit("put"));
}

// I2: the error of a detached flight goes to those who had joined it.
TEST_P(Invalidate, ADetachedFlightMayFail) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Failed(42)); });

    cache.AwaitJoins(1);
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(memo_load_finish(l, 42), 0);
}

// I3: many generations of one key, ended in another order than begun.
TEST_P(Invalidate, ManyFlightsOfOneKeyDontMixUp) {
    const int kFlights = 12;
    PendingCache cache(GetParam());
    std::vector<memo_load *> loads;

    for (int i = 0; i < kFlights; i++) {
        loads.push_back(cache.Start("k"));
        if (i % 3 == 0) {
            EXPECT_EQ(memo_clear(cache), 0);
        } else if (i + 1 < kFlights) {
            EXPECT_EQ(cache.Invalidate("k"), 0);
        }
        memo_check(cache);
    }
    for (int i = 0; i < kFlights - 1; i++) {
        int which = (i * 5 + 3) % (kFlights - 1);
        cache.Finish(loads[which], "old");
        EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
        memo_check(cache);
    }
    cache.Finish(loads[kFlights - 1], "new");
    EXPECT_EQ(cache.Get("k"), Hit("new"));
    EXPECT_EQ(cache.Stats().detached, uint64_t(kFlights - 1));
}

// I2
TEST_P(Invalidate, StrictCallersLoadAgain) {
    PendingCache cache(GetParam());
    memo_wait strict = With(MEMO_WAIT_STRICT);
    Thread starter([&] {
        Seen seen = cache.Get("k", &strict);
        EXPECT_TRUE(seen == Loaded("new") || seen == Joined("new")) << seen;
    });
    Await([&] { return cache.loads == 1; });
    memo_load *old_load = cache.last;
    Thread joiner([&] {
        Seen seen = cache.Get("k", &strict);
        EXPECT_TRUE(seen == Loaded("new") || seen == Joined("new")) << seen;
    });
    Thread lenient([&] { EXPECT_EQ(cache.Get("k"), Detached("old")); });
    cache.AwaitJoins(2);
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.loads, 1);
    cache.Finish(old_load, "old");
    lenient.Join();
    Await([&] { return cache.loads == 2; });
    cache.AwaitJoins(3);
    cache.Finish(cache.last, "new");
    starter.Join();
    joiner.Join();
    EXPECT_EQ(cache.loads, 2);
    EXPECT_EQ(cache.Get("k"), Hit("new"));
}

// I2: also if the detached load failed, for its error is outdated too.
TEST_P(Invalidate, StrictCallersLoadAgainAfterAnErrorToo) {
    int loads = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (loads++ == 0) {
            EXPECT_EQ(cache.Invalidate("k"), 0);
            return 42;
        }
        return LoadInBrackets(l);
    });
    memo_wait strict = With(MEMO_WAIT_STRICT);

    EXPECT_EQ(cache.Get("k", &strict), Loaded("<k>"));
    EXPECT_EQ(loads, 2);
}

// I2: what was put meanwhile answers a strict caller.
TEST_P(Invalidate, StrictCallersTakeWhatWasPutMeanwhile) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(cache.Put("k", "put"), 0);
        return LoadInBrackets(l);
    });
    memo_wait strict = With(MEMO_WAIT_STRICT);

    EXPECT_EQ(cache.Get("k", &strict), Hit("put"));
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.Get("k"), Detached("<k>"));
    EXPECT_EQ(cache.Get("k"), Hit("put"));
}

// W2, I2
TEST_P(Invalidate, StrictCallersKeepTheirDeadline) {
    PendingCache cache(GetParam());
    memo_load *old_load = cache.Start("k");
    memo_wait strict = Until(1);
    strict.flags = MEMO_WAIT_STRICT;

    EXPECT_EQ(cache.Invalidate("k"), 0);
    memo_load *new_load = cache.Start("k");
    EXPECT_EQ(cache.Get("k", &strict), Failed(MEMO_ETIMEDOUT));
    cache.Finish(old_load, "old");
    EXPECT_EQ(cache.Get("k", &strict), Failed(MEMO_ETIMEDOUT));
    cache.Finish(new_load, "new");
    EXPECT_EQ(cache.Get("k", &strict), Hit("new"));
}

// I1: clear reaches every key, and every flight, in one go.
TEST_P(Invalidate, ClearForgetsEverything) {
    const int kKeys = 5000, kFlights = 50;
    PendingCache cache(GetParam());
    std::vector<memo_load *> loads;

    for (int i = 0; i < kKeys; i++) {
        EXPECT_EQ(cache.Put(Key(i), "old"), 0);
    }
    for (int i = 0; i < kFlights; i++) {
        loads.push_back(cache.Start("flight" + Key(i)));
    }
    EXPECT_EQ(memo_clear(cache), 0);
    memo_check(cache);
    for (int i = 0; i < kKeys; i++) {
        ASSERT_EQ(cache.Peek(Key(i)), Failed(MEMO_ENOENT)) << i;
    }
    for (int i = 0; i < kFlights; i++) {
        cache.Finish(loads[i], "late");
        EXPECT_EQ(cache.Peek("flight" + Key(i)), Failed(MEMO_ENOENT));
    }
    EXPECT_EQ(cache.Stats().detached, uint64_t(kFlights));
    EXPECT_EQ(cache.Put(Key(0), "new"), 0);
    EXPECT_EQ(cache.Peek(Key(0)), Hit("new"));
}

TEST_P(Invalidate, StatsOfAClearedCacheAreZero) {
    Cache cache(GetParam());

    for (int i = 0; i < 20000; i++) {
        EXPECT_EQ(cache.Put(Key(i), "old"), 0);
    }
    EXPECT_EQ(cache.Stats().entries, 20000u);
    EXPECT_EQ(memo_clear(cache), 0);
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Stats().bytes, 0u);
    EXPECT_EQ(cache.Put("k", "new"), 0);
    EXPECT_EQ(cache.Stats().entries, 1u);
}

// However much there is to forget: clearing gives nothing back by itself, and a
// step of maintenance not more than some hundreds of values.  (Under a monitor
// another thread gives back, when it comes to it.)
TEST_P(Invalidate, ALargeCacheIsClearedInSmallSteps) {
    Cache cache(GetParam());

    for (int i = 0; i < 20000; i++) {
        EXPECT_EQ(cache.Put(Key(i), "old"), 0);
    }
    int64_t before = cache.allocator.LiveBlocks();
    EXPECT_EQ(memo_clear(cache), 0);
    EXPECT_GT(cache.allocator.LiveBlocks(), before - 1000);
    for (int64_t left = before, next = 0; next != MEMO_NEVER;) {
        next = memo_maintain(cache, 5);
        int64_t now = cache.allocator.LiveBlocks();
        if (OptionsOf(GetParam()).engine == MEMO_ENGINE_LOCK) {
            EXPECT_GT(now, left - 1000);
        }
        left = now;
    }
    Await([&] { return cache.allocator.LiveBlocks() < before - 19000; });
}

// L1: sweeping goes on with writes, or with maintenance, and comes to an end.
TEST_P(Invalidate, WhatWasClearedIsSweptByMaintenance) {
    Cache cache(GetParam());

    for (int i = 0; i < 20000; i++) {
        EXPECT_EQ(cache.Put(Key(i), "old"), 0);
    }
    EXPECT_EQ(memo_clear(cache), 0);
    int steps = 0;
    while (memo_maintain(cache, 5) != MEMO_NEVER) {
        steps++;
        ASSERT_LT(steps, 100000);
        memo_check(cache);
    }
    // A monitor destroys when it has nothing better to do.
    Await([&] { return cache.allocator.LiveBlocks() < 100; });
    EXPECT_EQ(memo_maintain(cache, 5), MEMO_NEVER);
    EXPECT_EQ(memo_maintain(nullptr, 5), MEMO_NEVER);
}

TEST_P(Invalidate, WhatWasClearedIsSweptByWrites) {
    Cache cache(GetParam());

    for (int i = 0; i < 20000; i++) {
        EXPECT_EQ(cache.Put(Key(i), "old"), 0);
    }
    EXPECT_EQ(memo_clear(cache), 0);
    for (int i = 0; i < 20000; i++) {
        EXPECT_EQ(cache.Put("n" + Key(i % 100), "new"), 0);
    }
    EXPECT_LT(cache.allocator.LiveBlocks(), 100 + 3 * 100 * 8);
}

}  // namespace
