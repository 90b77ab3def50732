// Closing a cache: who is refused, who is woken, who is waited for, and what
// lives on.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "sync/clock.h"
#include "sync/note.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

const int64_t kMs = 1000000;
const int64_t kLongNs = 600 * 1000 * kMs;

MEMO_SUITE(Close);

// L2
TEST_P(Close, RefusesNewCalls) {
    Cache cache(GetParam());
    memo_wait no_load = With(MEMO_WAIT_NO_LOAD);

    cache.Get("k");
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    for (const char *key : {"k", "new"}) {
        EXPECT_EQ(cache.Get(key), Failed(MEMO_ECLOSED));
        EXPECT_EQ(cache.GetPlain(key), Failed(MEMO_ECLOSED));
        EXPECT_EQ(cache.Get(key, &no_load), Failed(MEMO_ECLOSED));
        EXPECT_EQ(cache.Peek(key), Failed(MEMO_ECLOSED));
        EXPECT_EQ(cache.Put(key, "v"), MEMO_ECLOSED);
        EXPECT_EQ(cache.Invalidate(key), MEMO_ECLOSED);
    }
    EXPECT_EQ(memo_clear(cache), MEMO_ECLOSED);
    // And these go on.
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(memo_maintain(cache, 5), MEMO_NEVER);
    memo_check(cache);
}

// L2: no waiter, whatever his style, whether his flight is detached or not.
void ExpectAllWoken(const Config &config, bool detached) {
    PendingCache cache(config);
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    memo_wait deadline = Until(sync_clock_now_ns() + kLongNs);
    memo_wait canceled = With(note);
    memo_wait strict = With(MEMO_WAIT_STRICT);
    memo_load *l = nullptr;
    {
        Thread a([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });
        Await([&] { return cache.loads == 1; });
        l = cache.last;
        auto join = [&](const memo_wait *wait) {
            EXPECT_EQ(cache.Get("k", wait), Failed(MEMO_ECLOSED));
        };
        Thread b([&] { join(nullptr); });
        Thread c([&] { join(&deadline); });
        Thread d([&] { join(&canceled); });
        Thread e([&] { join(&strict); });
        cache.AwaitJoins(4);
        if (detached) {
            EXPECT_EQ(cache.Invalidate("k"), 0);
        }
        EXPECT_EQ(memo_load_is_canceled(l), 0);
        EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
        EXPECT_EQ(memo_load_is_canceled(l), 1);
    }
    // All threads are gone, and the load still runs.
    EXPECT_EQ(cache.Stats().flights, 1u);
    cache.Finish(l, "late");
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    sync_note_free(note);
}

TEST_P(Close, WakesEveryWaiterAndTellsTheLoad) {
    ExpectAllWoken(GetParam(), false);
}

TEST_P(Close, WakesWaitersOfDetachedFlightsToo) {
    ExpectAllWoken(GetParam(), true);
}

// L2, I2: those that no waiter is left of, and several of one key.
TEST_P(Close, EndsEveryFlightOfAKey) {
    PendingCache cache(GetParam());
    std::vector<memo_load *> loads;

    for (int i = 0; i < 6; i++) {
        loads.push_back(cache.Start("k"));
        EXPECT_EQ(i % 2 ? cache.Invalidate("k") : memo_clear(cache), 0);
    }
    loads.push_back(cache.Start("k"));
    cache.Finish(loads[2], "before");
    memo_check(cache);
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    memo_check(cache);
    for (size_t i = 0; i < loads.size(); i++) {
        if (i != 2) {
            EXPECT_EQ(memo_load_is_canceled(loads[i]), 1);
            EXPECT_EQ(cache.objects.Adopt(loads[i], "late"), 0);
            EXPECT_EQ(memo_load_finish(loads[i], 0), 0);
        }
    }
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(cache.objects.Destroyed(), 6);
}

// L2, W2: of whose completions one throws, or ends the thread, the others are told
// all the same.
TEST_P(Close, CompletionsMayThrow) {
    int calls = 0;
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), [&](memo_load *l) {
        loads.push_back(l);
        return int{MEMO_PENDING};
    });
    memo_done_fn *done = [](void *arg, int error, memo_value *) {
        EXPECT_EQ(error, MEMO_ECLOSED);
        if (++*static_cast<int *>(arg) == 1) {
            throw 1;
        }
    };

    for (const char *key : {"a", "b", "c"}) {
        EXPECT_EQ(memo_get_async(cache, key, 1, nullptr, done, &calls, nullptr),
                  0);
    }
    EXPECT_THROW(memo_close(cache, 1), int);
    EXPECT_EQ(calls, 3);
    for (memo_load *l : loads) {
        EXPECT_TRUE(memo_load_is_canceled(l));
        EXPECT_EQ(memo_load_finish(l, 1), 0);
    }
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// L2: waits for a load whose function runs, however its flight stands.
TEST_P(Close, WaitsForRunningLoads) {
    for (bool detached : {false, true}) {
        Gate gate;
        Cache cache(GetParam(), [&](memo_load *l) {
            gate.Wait();
            return LoadInBrackets(l);
        });
        std::atomic<bool> closed{false};
        Thread loader([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });
        Await([&] { return gate.Waiting() == 1; });
        if (detached) {
            EXPECT_EQ(cache.Invalidate("k"), 0);
        }
        Thread closer([&] {
            EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
            closed = true;
        });
        closer.AwaitAsleep();
        EXPECT_FALSE(closed);
        // Closing again waits again.
        EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
        EXPECT_EQ(memo_close(cache, sync_clock_now_ns() + 2 * kMs),
                  MEMO_ETIMEDOUT);
        EXPECT_FALSE(closed);
        gate.Open();
        closer.Join();
    }
}

// L2, T2
TEST_P(Close, ItsDeadlineIsOnTheCachesClock) {
    FakeClock clock(1000);
    memo_clock hook = clock.Hook();
    PendingCache cache(
        GetParam(), [&](memo_options *options) { options->clock = &hook; });
    memo_load *l = cache.Start("k");
    std::atomic<bool> closed{false};
    Thread closer([&] {
        EXPECT_EQ(memo_close(cache, 2000), MEMO_ETIMEDOUT);
        closed = true;
    });

    clock.Advance(999);
    closer.AwaitAsleep();
    EXPECT_FALSE(closed);
    clock.Advance(1);
    closer.Join();
    cache.Finish(l, "late");
}

// L2: every destructor of what was resident runs before it returns.
TEST_P(Close, DestroysWhatIsResident) {
    Cache cache(GetParam(),
                [&](memo_load *l) { return cache.objects.Adopt(l, "object"); });

    for (int i = 0; i < 3000; i++) {
        cache.Get(Key(i));
    }
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    cache.objects.AwaitDestroyed(3000);
}

// L2, V1: whatever pins them.
TEST_P(Close, ValuesHeldOutliveIt) {
    Cache cache(GetParam(), [&](memo_load *l) {
        return cache.objects.Adopt(l, "object " + KeyOf(l));
    });
    std::vector<Value> held;

    for (int i = 0; i < 40; i++) {
        held.push_back(cache.Hold(Key(i)));  // loaded
        held.push_back(cache.Hold(Key(i)));  // hit
    }
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    for (int i = 0; i < 80; i++) {
        EXPECT_EQ(held[i].Bytes(), "object " + Key(i / 2));
    }
    EXPECT_EQ(cache.objects.Destroyed(), 0);
    cache.Free();
    for (int i = 0; i < 80; i++) {
        EXPECT_EQ(held[i].Bytes(), "object " + Key(i / 2));
        Value again;
        EXPECT_EQ(memo_retain(&*held[i], again.out()), 0);
        held[i].Release();
        EXPECT_EQ(again.Bytes(), "object " + Key(i / 2));
        EXPECT_EQ(cache.objects.Destroyed(), i / 2);
    }
    EXPECT_EQ(cache.objects.Destroyed(), 40);
}

// ------------------------------------------------------------ inside a load

// L2, L4
TEST_P(Close, MayBeCalledInsideALoad) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        EXPECT_EQ(memo_load_is_canceled(l), 1);
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        EXPECT_EQ(cache.Get("other"), Failed(MEMO_ECLOSED));
        return cache.objects.Adopt(l, "object");
    });

    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED));
    EXPECT_EQ(cache.objects.Destroyed(), 1);
}

// L2: several loads deep.
TEST_P(Close, MayBeCalledInsideNestedLoads) {
    Cache *other = nullptr;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "innermost") {
            EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
            return LoadInBrackets(l);
        }
        if (KeyOf(l) == "outermost") {
            EXPECT_EQ(other->Get("between"), Loaded("<between>"));
        } else {
            EXPECT_EQ(cache.Get("innermost"), Failed(MEMO_ECLOSED));
        }
        return LoadInBrackets(l);
    });
    Cache between(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(cache.Get("inner"), Failed(MEMO_ECLOSED));
        return LoadInBrackets(l);
    });

    other = &between;
    EXPECT_EQ(cache.Get("outermost"), Failed(MEMO_ECLOSED));
}

// L2: they don't wait for each other to have closed.
TEST_P(Close, LoadsMayCloseTogether) {
    for (int round = 0; round < 200; round++) {
        const int kLoads = 3;
        std::atomic<int> running{0};
        Cache cache(GetParam(), [&](memo_load *l) {
            running++;
            Await([&] { return running == kLoads; });
            EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
            return LoadInBrackets(l);
        });
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < kLoads; i++) {
            threads.emplace_back(new Thread([&, i] {
                EXPECT_EQ(cache.Get(Key(i)), Failed(MEMO_ECLOSED));
            }));
        }
    }
}

// L2: but a load that closes waits for those that don't.
// L2, L4: loads that are to run later in the same thread aren't waited for.
TEST_P(Close, ALoadOfManyMayClose) {
    int loads = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        loads++;
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        return LoadInBrackets(l);
    });
    memo_bytes keys[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    memo_value out[3];
    int errors[3];

    EXPECT_EQ(memo_get_many(cache, keys, 3, nullptr, out, errors),
              MEMO_ECLOSED);
    for (int error : errors) {
        EXPECT_EQ(error, MEMO_ECLOSED);
    }
    EXPECT_EQ(loads, 1);
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// L2, L4: a refresh that is to begin after a completion isn't waited for by that.
TEST_P(Close, MayBeCalledInTheCompletionOfWhatIsRefreshed) {
    struct Closes {
        memo *m;
        int error;
    };
    TimedCache cache(GetParam(), RefreshAfter(kSecond));
    Closes closes = {cache, 1};

    EXPECT_EQ(cache.Get("k"), Loaded("k1"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *arg, int error, memo_value *v) {
                      Closes *self = static_cast<Closes *>(arg);
                      EXPECT_EQ(error, 0);
                      memo_release(v);
                      self->error = memo_close(self->m, 1);
                  },
                  &closes, nullptr),
              0);
    EXPECT_EQ(closes.error, 0);
    EXPECT_EQ(cache.loads, 1);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

TEST_P(Close, ALoadThatClosesWaitsForTheOthers) {
    Gate gate, in_vain;
    std::atomic<bool> closed{false};
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "other") {
            gate.Wait();
        } else {
            EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
            in_vain.Open();
            EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
            closed = true;
        }
        return LoadInBrackets(l);
    });
    Thread other([&] { EXPECT_EQ(cache.Get("other"), Failed(MEMO_ECLOSED)); });
    Await([&] { return gate.Waiting() == 1; });
    Thread closer([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });
    in_vain.Wait();
    closer.AwaitAsleep();
    EXPECT_FALSE(closed);
    gate.Open();
}

// L2, L4: also when a destructor that runs meanwhile, in whatever step, closes, too.
TEST_P(Close, ALoadAndADestructorMayClose) {
    const int kObjects = 40;  // more than one step destroys
    for (int nth = 1; nth <= kObjects; nth++) {
        std::atomic<int> destroyed{0};
        Cache cache(GetParam(), [&](memo_load *l) {
            if (KeyOf(l) != "k") {
                return cache.objects.Adopt(l, "object");
            }
            memo_clear(cache);
            EXPECT_EQ(memo_close(cache, sync_clock_now_ns() + 5000 * kMs), 0);
            return LoadInBrackets(l);
        });

        cache.objects.on_destroy = [&](const std::string &) {
            if (++destroyed == nth) {
                memo_close(cache, 1);
            }
        };
        for (int i = 0; i < kObjects; i++) {
            cache.Get(Key(uint64_t(i)));
        }
        int error = cache.Get("k").error;
        EXPECT_TRUE(error == 0 || error == MEMO_ECLOSED);
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        EXPECT_EQ(destroyed, kObjects);
    }
}

// L2: a load that is finished already is none to be counted, though its function
// still runs.
TEST_P(Close, AFinishedLoadThatClosesWaitsForTheOthers) {
    memo_load *other = nullptr;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "other") {
            other = l;
            return int(MEMO_PENDING);
        }
        EXPECT_EQ(LoadInBrackets(l), 0);
        EXPECT_EQ(memo_load_finish(l, 0), 0);
        EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
        return 0;
    });
    memo_wait no_time = Until(1);

    EXPECT_EQ(cache.Get("other", &no_time), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_EQ(memo_load_finish(other, 42), 0);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// L2: who comes while another is closing, shard after shard, doesn't return
// before that is done.
TEST_P(Close, WhoClosesSecondWaitsForAllToo) {
    const int kRounds = GetParam().engine == MEMO_ENGINE_LOCK ? 20 : 3;
    for (int round = 0; round < kRounds; round++) {
        memo_load *other = nullptr;
        Gate loading;
        Cache cache(
            GetParam(),
            [&](memo_load *l) {
                if (KeyOf(l) == "other") {
                    other = l;
                    return int(MEMO_PENDING);
                }
                loading.Open();
                while (cache.Peek("k").error != MEMO_ECLOSED) {
                }
                EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
                return LoadInBrackets(l);
            },
            [](memo_options *options) { options->shards = 1024; });
        memo_wait no_time = Until(1);

        EXPECT_EQ(cache.Get("other", &no_time), Failed(MEMO_ETIMEDOUT));
        Thread loader([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });
        loading.Wait();
        EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
        loader.Join();
        EXPECT_EQ(memo_load_finish(other, 42), 0);
    }
}

// ------------------------------------------------------------------ races

// L2: a get that races with closing is answered or refused; none is lost.
TEST_P(Close, MayRaceWithAnything) {
    for (int round = 0; round < 100; round++) {
        Cache cache(GetParam(), [&](memo_load *l) {
            return KeyOf(l) == "k3" ? cache.objects.Adopt(l, "<k3>")
                                    : LoadInBrackets(l);
        });
        std::atomic<int> started{0};
        std::vector<std::unique_ptr<Thread>> threads;
        for (int t = 0; t < 4; t++) {
            threads.emplace_back(new Thread([&, t] {
                started++;
                for (int i = 0;; i++) {
                    std::string key = Key(uint64_t(i + t) % 5);
                    Seen seen = i % 2 ? cache.Get(key) : cache.GetPlain(key);
                    if (seen == Failed(MEMO_ECLOSED)) {
                        return;
                    }
                    EXPECT_EQ(seen.error, 0);
                    EXPECT_EQ(seen.bytes, "<" + key + ">");
                    int error = i % 3 ? 0 : cache.Invalidate(key);
                    EXPECT_TRUE(error == 0 || error == MEMO_ECLOSED);
                    if (i % 50 == 0) {
                        error = memo_clear(cache);
                        EXPECT_TRUE(error == 0 || error == MEMO_ECLOSED);
                    }
                }
            }));
        }
        Await([&] { return started == 4; });
        Thread another([&] { EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0); });
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    }
}

// L2: waits that memo_close() has woken count as over, so the cache may go.
TEST_P(Close, TheCacheMayBeFreedWhileWokenWaitersStillReturn) {
    for (int round = 0; round < 100; round++) {
        PendingCache cache(GetParam());
        memo_load *l = cache.Start("k");
        std::vector<std::unique_ptr<Thread>> threads;
        for (int t = 0; t < 3; t++) {
            threads.emplace_back(new Thread([&] {
                // Not through the fixture, which is about to lose its cache.
                memo_value v;
                memo *m = cache;
                EXPECT_EQ(memo_get(m, "k", 1, &v), MEMO_ECLOSED);
            }));
        }
        cache.AwaitJoins(3);
        if (round % 2) {
            EXPECT_EQ(cache.Invalidate("k"), 0);
        }
        EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
        cache.Free();
        cache.Finish(l, "late");
    }
}

// E3: completions that never come don't keep anybody waiting.
TEST_P(Close, FreesWithoutThoseWhoNeverFinish) {
    PendingCache cache(GetParam());
    memo_load *forgotten = cache.Start("k");
    Thread waiter([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });

    cache.AwaitJoins(1);
    EXPECT_EQ(memo_close(cache, sync_clock_now_ns() + kMs), MEMO_ETIMEDOUT);
    waiter.Join();
    cache.Free();
    // Only so that the allocator's books balance in the end.
    EXPECT_EQ(memo_load_finish(forgotten, 42), 0);
}

TEST(CloseNothing, IsRefusedAndFreeingNothingIsFine) {
    EXPECT_EQ(memo_close(nullptr, MEMO_NEVER), MEMO_EINVAL);
    memo_free(nullptr);
}

}  // namespace
