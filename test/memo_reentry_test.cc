// Loads and destructors may call any function of the cache (L4): nothing is
// locked around them, and nobody waits for what waits for them.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "sync/clock.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Reentry);

// Call everything.  What keys there are doesn't matter, except that "resident"
// is.  If another thread is clearing the cache, what was put may be gone.
void CallEverything(Cache &cache, bool clearing = false) {
    Value v;

    EXPECT_EQ(cache.Get("resident").error, 0);
    EXPECT_EQ(cache.GetPlain("plain").error, 0);
    EXPECT_EQ(cache.Put("put", "v"), 0);
    EXPECT_EQ(cache.Put("put", "w"), 0);
    Seen put = cache.Peek("put");
    EXPECT_TRUE(put == Hit("w") || (clearing && put == Failed(MEMO_ENOENT)))
        << put;
    EXPECT_EQ(cache.Invalidate("put"), 0);
    EXPECT_EQ(memo_get(cache, "kept", 4, v.out()), 0);
    Value again;
    EXPECT_EQ(memo_retain(&*v, again.out()), 0);
    EXPECT_EQ(memo_clear(cache), 0);
    EXPECT_EQ(cache.Get("resident").error, 0);
    EXPECT_GE(cache.Stats().loads, 1u);
    memo_maintain(cache, 5);
    memo_check(cache);
}

TEST_P(Reentry, ALoadMayCallEverything) {
    int depth = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "k") {
            depth++;
            CallEverything(cache);
            EXPECT_EQ(cache.Put("k", "put"), 0);
            EXPECT_EQ(cache.Get("k"), Hit("put"));
            EXPECT_EQ(cache.Invalidate("k"), 0);
        }
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Get("k"), Detached("<k>"));
    EXPECT_EQ(cache.Get("k"), Detached("<k>"));
    EXPECT_EQ(depth, 2);
}

// What makes a destructor of "object" run, where nobody holds it.
struct Occasion {
    const char *name;
    void (*run)(Cache &cache);
};

const Occasion kOccasions[] = {
    {"put", [](Cache &cache) { EXPECT_EQ(cache.Put("object", "v"), 0); }},
    {"invalidate", [](Cache &cache) { cache.Invalidate("object"); }},
    {"clear", [](Cache &cache) { EXPECT_EQ(memo_clear(cache), 0); }},
    {"close",
     [](Cache &cache) { EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0); }},
};

struct ObjectCache : Cache {
    explicit ObjectCache(const Config &config, LoadFunction load = LoadInBrackets)
        : Cache(
              config,
              [this, load](memo_load *l) {
                  return KeyOf(l).substr(0, 6) == "object"
                             ? objects.Adopt(l, KeyOf(l))
                             : load(l);
              },
              LetDestructorsWait) {
    }
};

// V2, L4
TEST_P(Reentry, ADestructorMayCallEverything) {
    for (const Occasion &occasion : kOccasions) {
        SCOPED_TRACE(occasion.name);
        ObjectCache cache(GetParam());
        std::atomic<int> calls{0};
        cache.objects.on_destroy = [&](const std::string &) {
            calls++;
            if (cache.Peek("resident").error != MEMO_ECLOSED) {
                CallEverything(cache, occasion.name == std::string("clear"));
            }
        };
        EXPECT_EQ(cache.Get("resident").error, 0);
        EXPECT_EQ(cache.Get("object"), Loaded("object"));
        occasion.run(cache);
        cache.objects.AwaitDestroyed(1);
        EXPECT_EQ(calls, 1);
    }
}

// L4: also if the call that runs it is the one that is to load that.
TEST_P(Reentry, ADestructorMayGetWhatIsAboutToBeLoaded) {
    for (bool many : {false, true}) {
        const int kObjects = 200;  // more than a few calls destroy
        std::atomic<int> failures{0};
        std::atomic<bool> gets{false};
        ObjectCache cache(GetParam());
        memo_bytes keys[] = {{"k", 1}, {"l", 1}};
        memo_value out[2];
        int errors[2];

        cache.objects.on_destroy = [&](const std::string &) {
            memo_wait a_minute = Until(sync_clock_now_ns() + 60000000000);
            failures += gets && cache.Get("k", &a_minute).error != 0;
        };
        for (int i = 0; i < kObjects; i++) {
            EXPECT_EQ(cache.Get("object" + Key(i)).error, 0);
        }
        memo_clear(cache);
        cache.allocator.DoAt(many ? 2 : 1, [&] { gets = true; });
        if (many) {
            EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 0);
            memo_release(&out[0]);
            memo_release(&out[1]);
        } else {
            EXPECT_EQ(cache.Get("k").bytes, "<k>");
        }
        EXPECT_EQ(failures, 0);
        gets = false;
    }
}

// V2, L4: the last release runs it, wherever that is.
TEST_P(Reentry, ADestructorMayCallEverythingAtTheLastRelease) {
    for (bool hit : {false, true}) {
        ObjectCache cache(GetParam());
        std::atomic<int> calls{0};
        cache.objects.on_destroy = [&](const std::string &) {
            calls++;
            CallEverything(cache);
        };
        if (hit) {
            cache.Get("object");
        }
        Value held = cache.Hold("object");
        EXPECT_EQ(cache.Invalidate("object"), 0);
        EXPECT_EQ(calls, 0);
        Thread([&] { held.Release(); }).Join();
        cache.objects.AwaitDestroyed(1);
        EXPECT_EQ(calls, 1);
    }
}

// V2: it may get its own key back, over and over.
TEST_P(Reentry, ADestructorMayGetItsKeyAgain) {
    ObjectCache cache(GetParam());
    std::atomic<int> left{10};
    cache.objects.on_destroy = [&](const std::string &key) {
        if (left-- > 0) {
            EXPECT_EQ(cache.Get(key), Loaded(key));
            EXPECT_EQ(cache.Invalidate(key), 0);
        }
    };

    EXPECT_EQ(cache.Get("object"), Loaded("object"));
    EXPECT_EQ(cache.Invalidate("object"), 0);
    cache.objects.AwaitDestroyed(11);
}

// L2, L4
TEST_P(Reentry, ADestructorMayCloseTheCache) {
    ObjectCache cache(GetParam());
    cache.objects.on_destroy = [&](const std::string &) {
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    };

    cache.Get("object");
    cache.Get("object too");
    EXPECT_EQ(cache.Invalidate("object"), 0);
    cache.objects.AwaitDestroyed(2);
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED));
}

// A value that an error makes unwanted goes when its flight has ended: its
// destructor may get the key, from the thread that finished it too.
TEST_P(Reentry, ADestructorOfAFailedLoadMayGetTheKey) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    cache.objects.on_destroy = [&](const std::string &) {
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));
    };

    EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
    EXPECT_EQ(memo_load_finish(l, 42), 0);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
}

// So does one that comes too late.
TEST_P(Reentry, ADestructorOfALateResultMayClose) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    cache.objects.on_destroy = [&](const std::string &) {
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    };

    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
}

// The end of one flight may destroy the value of another key.  Those who wait
// for the flight don't wait for that.
TEST_P(Reentry, NobodyWaitsForADestructorThatIsNotHis) {
    Gate gate, destroying;
    PendingCache cache(GetParam(), LetDestructorsWait);
    cache.objects.on_destroy = [&](const std::string &) {
        destroying.Open();
        gate.Wait();
    };

    memo_load *l = cache.Start("object");
    EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    l = cache.Start("k");
    Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });
    cache.AwaitJoins(1);
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate("object"), 0); });
    destroying.Wait();
    cache.Finish(l, "v");
    joiner.Join();
    gate.Open();
}

// H2, F2: a thread that is stopped in a destructor stops nobody else.
TEST_P(Reentry, NothingIsLockedWhileADestructorRuns) {
    Gate gate, destroying;
    ObjectCache cache(GetParam());
    cache.objects.on_destroy = [&](const std::string &) {
        destroying.Open();
        gate.Wait();
    };

    cache.Get("resident");
    cache.Get("object");
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate("object"), 0); });
    destroying.Wait();
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(cache.Get("resident"), Hit("<resident>"));
    }
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(cache.Get(Key(i)), Loaded("<" + Key(i) + ">"));
        EXPECT_EQ(cache.Put(Key(i), "v"), 0);
        EXPECT_EQ(cache.Invalidate(Key(i)), 0);
    }
    gate.Open();
}

// A destructor may wait for a load that another thread runs.
TEST_P(Reentry, ADestructorMayWaitForALoad) {
    Gate gate;
    ObjectCache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "slow") {
            gate.Wait();
        }
        return LoadInBrackets(l);
    });
    cache.objects.on_destroy = [&](const std::string &) {
        EXPECT_EQ(cache.Get("slow").bytes, "<slow>");
    };

    cache.Get("object");
    Thread slow([&] { cache.Get("slow"); });
    Await([&] { return gate.Waiting() == 1; });
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate("object"), 0); });
    cache.AwaitJoins(1);
    gate.Open();
    dropper.Join();
    cache.objects.AwaitDestroyed(1);
}

// One destructor makes the next one run, and so on: however many, the stack
// doesn't grow with them.
TEST_P(Reentry, DestructorsThatFollowFromEachOtherDontNest) {
    const int kObjects = 20000;
    ObjectCache cache(GetParam());
    cache.objects.on_destroy = [&](const std::string &key) {
        volatile char much[4096];
        much[0] = much[4095] = 0;
        int i = std::stoi(key.substr(6));
        EXPECT_EQ(cache.Invalidate("object" + std::to_string(i + 1)), 0);
    };

    for (int i = 0; i < kObjects; i++) {
        EXPECT_EQ(cache.Get("object" + std::to_string(i)).error, 0);
    }
    EXPECT_EQ(cache.Invalidate("object0"), 0);
    cache.objects.AwaitDestroyed(kObjects);
    cache.AwaitNoneRetired();
}

// ------------------------------------------------- destructors, by a monitor

// V2: who invalidates doesn't wait for a destructor, nor does who reads, nor the
// monitor itself.
TEST_P(Reentry, AMonitorsCallersDontWaitForDestructors) {
    Gate gate;
    ObjectCache cache(GetParam());
    cache.objects.on_destroy = [&](const std::string &) { gate.Wait(); };

    if (GetParam().engine == MEMO_ENGINE_LOCK) {
        return;  // there it is the one who invalidates that runs it
    }
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(cache.Get("object"), Loaded("object"));
        EXPECT_EQ(cache.Invalidate("object"), 0);
    }
    EXPECT_EQ(cache.objects.Destroyed(), 0);
    EXPECT_EQ(cache.Stats().retired, 100u);
    gate.Open();
    cache.objects.AwaitDestroyed(100);
}

// When destructors are too slow, who writes helps: what waits for them is bounded.
TEST_P(Reentry, WhatWaitsForDestructorsIsBounded) {
    const int kWrites = 5000;
    Gate gate, first;
    ObjectCache cache(GetParam());
    cache.objects.on_destroy = [&](const std::string &key) {
        if (key == "object") {
            first.Open();
            gate.Wait();
        }
    };

    cache.Get("object");
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate("object"), 0); });
    first.Wait();
    for (int i = 0; i < kWrites; i++) {
        EXPECT_EQ(cache.Get("object too"), Loaded("object too"));
        EXPECT_EQ(cache.Invalidate("object too"), 0);
        EXPECT_LE(cache.Stats().retired, 1200u);
    }
    EXPECT_GE(cache.objects.Destroyed(), kWrites - 1200);
    gate.Open();
    dropper.Join();
    cache.AwaitNoneRetired();
}

// L2: close runs every destructor that is left to run, and waits for those that
// run elsewhere, up to its deadline.
TEST_P(Reentry, CloseWaitsForDestructors) {
    Gate gate, first;
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            return self.objects.Adopt(l, KeyOf(l));
        },
        LetDestructorsWait);
    cache.objects.on_destroy = [&](const std::string &key) {
        if (key == "0") {
            first.Open();
            gate.Wait();
        }
    };

    for (int i = 0; i < 300; i++) {
        cache.Get(std::to_string(i));
    }
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate("0"), 0); });
    first.Wait();
    if (GetParam().engine != MEMO_ENGINE_LOCK) {
        EXPECT_EQ(memo_close(cache, cache.clock.Now()), MEMO_ETIMEDOUT);
        EXPECT_EQ(cache.objects.Destroyed(), 299);
    }
    gate.Open();
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    dropper.Join();
    EXPECT_EQ(cache.objects.Destroyed(), 300);
    EXPECT_EQ(cache.Stats().retired, 0u);
}

// L2: and for those that run in a call which helps, for they have fallen behind.
TEST_P(Reentry, CloseWaitsForDestructorsThatOthersHelpWith) {
    Gate gate, worker, help, helping;
    std::atomic<std::thread::id> helper{};
    std::atomic<bool> helped{false}, done{false};
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            return self.objects.Adopt(l, KeyOf(l));
        },
        LetDestructorsWait);
    cache.objects.on_destroy = [&](const std::string &key) {
        if (key == "first") {
            worker.Open();
            gate.Wait();
        } else if (helper == std::this_thread::get_id() && !helped) {
            helped = true;
            helping.Open();
            help.Wait();
            done = true;
        }
    };

    if (GetParam().engine == MEMO_ENGINE_LOCK) {
        return;  // there is nobody to help
    }
    EXPECT_EQ(cache.Get("first").error, 0);
    EXPECT_EQ(cache.Invalidate("first"), 0);
    worker.Wait();
    for (int i = 0; i < 1002; i++) {  // more than wait before others help
        EXPECT_EQ(cache.Get("object").error, 0);
        EXPECT_EQ(cache.Invalidate("object"), 0);
    }
    Thread thread([&] {
        helper = std::this_thread::get_id();
        while (!helped) {
            cache.Get("object");
            cache.Invalidate("object");  // the cache may be closed by now
        }
    });
    helping.Wait();
    gate.Open();
    Await([&] { return cache.Stats().retired == 1; });
    EXPECT_EQ(memo_close(cache, cache.clock.Now()), MEMO_ETIMEDOUT);
    help.Open();
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_TRUE(done);
    thread.Join();  // it may hold the value that it was getting meanwhile
    EXPECT_EQ(cache.Stats().retired, 0u);
}

TEST_P(Reentry, FreeRunsEveryDestructor) {
    for (int n : {1, 100, 3000}) {
        ObjectCache cache(GetParam());
        for (int i = 0; i < n; i++) {
            cache.Get("object" + std::to_string(i));
            cache.Get("plain" + std::to_string(i));
        }
        EXPECT_EQ(memo_clear(cache), 0);
        cache.Free();
        EXPECT_EQ(cache.objects.Destroyed(), n);
        EXPECT_EQ(cache.allocator.LiveBlocks(), 0);
    }
}

// Without an executor a loop has but its idle time.
TEST(LoopReentry, DestructorsRunInTheLoop) {
    std::thread::id where;
    Cache cache({"loop", 1, MEMO_ENGINE_LOOP},
                [&](memo_load *l) { return cache.objects.Adopt(l, "object"); });
    cache.objects.on_destroy = [&](const std::string &) {
        where = std::this_thread::get_id();
    };

    EXPECT_EQ(cache.Get("k"), Loaded("object"));
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.objects.Destroyed(), 0);
    EXPECT_EQ(memo_monitor_run(cache, 10), 1);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
    EXPECT_EQ(where, std::this_thread::get_id());
    EXPECT_EQ(memo_monitor_run(cache, 10), 0);
}

// L4: but, past a bound, when a call of its own is over; then it may get what that has
// loaded.
TEST(LoopReentry, ADestructorMayGetWhatIsAboutToBeLoaded) {
    const int kObjects = 3000;
    Cache cache({"loop", 1, MEMO_ENGINE_LOOP},
                [&](memo_load *l) { return cache.objects.Adopt(l, KeyOf(l)); });
    std::string loading;
    int failures = 0;

    for (int i = 0; i < kObjects; i++) {
        EXPECT_EQ(cache.Get(std::to_string(i)).error, 0);
    }
    EXPECT_EQ(memo_clear(cache), 0);
    cache.objects.on_destroy = [&](const std::string &) {
        memo_wait soon = Until(sync_clock_now_ns() + 1000000);
        failures += cache.Get(loading, &soon).error != 0;
    };
    for (int i = 0; i < kObjects; i++) {
        loading = std::to_string(i);
        EXPECT_EQ(cache.Get(loading).error, 0);
        EXPECT_LE(cache.Stats().retired, 1200u);
    }
    EXPECT_EQ(failures, 0);
    EXPECT_GE(cache.objects.Destroyed(), kObjects - 1200);
    cache.objects.on_destroy = nullptr;
}

}  // namespace
