// memo_get(): one load per key, whole keys, and where an answer came from.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
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
}

// F1
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
            threads.emplace_back(new Thread([&] {
                Seen seen = cache.Get("k");
                loaded += seen == Loaded("<k>");
                joined += seen == Joined("<k>");
            }));
        }
        cache.AwaitJoins(15);
        gate.Open();
    }
    EXPECT_EQ(loads, 1);
    EXPECT_EQ(loaded, 1);
    EXPECT_EQ(joined, 15);
}

}  // namespace
