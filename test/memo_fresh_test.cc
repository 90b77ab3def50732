// Staying fresh: T3, T4, T5.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <stdexcept>
#include <vector>

#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Refresh);
MEMO_SUITE(StaleIfError);
MEMO_SUITE(SoftDeadline);
MEMO_SUITE(RefreshNow);
MEMO_SUITE(EarlyRefresh);

// T3
TEST_P(Refresh, TheFirstPastItsTimeStartsOneAndAllGetTheOldValue) {
    LaterCache cache(GetParam(), RefreshAfter(10 * kSecond, 100 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond - 1);
    EXPECT_EQ(cache.GetPlain("k"), Hit("old"));
    EXPECT_EQ(cache.loads, 1);
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Peek("k"), Hit("old"));  // a peek starts nothing
    EXPECT_EQ(cache.loads, 1);
    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(cache.GetPlain("k"), Hit("old"));
        EXPECT_EQ(cache.Get("k"), Hit("old"));
    }
    EXPECT_EQ(cache.loads, 2);
    cache.Finish("new");
    EXPECT_EQ(cache.GetPlain("k"), Hit("new"));
    EXPECT_EQ(cache.loads, 2);
    EXPECT_EQ(cache.Stats().refreshes, 1u);
    // And again.
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.GetPlain("k"), Hit("new"));
    EXPECT_EQ(cache.loads, 3);
    cache.Finish("newer");
    EXPECT_EQ(cache.GetPlain("k"), Hit("newer"));
}

TEST_P(Refresh, IsStartedByEveryFormOfGet) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond));
    memo_bytes key = {"k", 1};
    memo_value v;
    int error;

    cache.Fill("k", "0");
    cache.clock.Advance(kSecond);
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *, int e, memo_value *got) {
                      EXPECT_EQ(e, 0);
                      EXPECT_EQ(got->from, uint32_t{MEMO_HIT});
                      memo_release(got);
                  },
                  nullptr, nullptr),
              0);
    EXPECT_EQ(cache.loads, 2);
    cache.Finish("1");
    cache.clock.Advance(kSecond);
    EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &v, &error), 0);
    EXPECT_EQ(v.from, uint32_t{MEMO_HIT});
    memo_release(&v);
    EXPECT_EQ(cache.loads, 3);
    cache.Finish("2");
    EXPECT_EQ(cache.Get("k"), Hit("2"));
}

// Without anybody else to run it, the first one does, and has the new value.
// What was about to be answered with, while it is refreshed, goes away before the
// refresh is started.
TEST_P(Refresh, OfAValueThatGoesMeanwhileStillAnswers) {
    constexpr uint64_t kAllocations = 4;  // of one get
    for (uint64_t n = 1; n <= 3 * kAllocations; n++) {
        TimedCache cache(GetParam(), RefreshAfter(kSecond));
        memo_bytes key = {"k", 1};
        Seen seen = {0, 0, ""};
        Value v;

        EXPECT_EQ(cache.Get("k"), Loaded("k1"));
        cache.clock.Advance(kSecond);
        cache.allocator.DoAt((n - 1) / 3 + 1, [&] {
            Thread other([&] { EXPECT_EQ(cache.Invalidate("k"), 0); });
        });
        if (n % 3 == 0) {
            seen = cache.Get("k");
        } else if (n % 3 == 1) {
            int error;
            memo_get_many(cache, &key, 1, nullptr, v.out(), &error);
            seen = v.Seen(error);
        } else {
            EXPECT_EQ(memo_get_async(
                          cache, "k", 1, nullptr,
                          [](void *arg, int error, memo_value *value) {
                              Value answer;
                              *answer.out() = *value;
                              *static_cast<Seen *>(arg) = answer.Seen(error);
                          },
                          &seen, nullptr),
                      0);
        }
        EXPECT_TRUE(seen.bytes == "k1" || seen.bytes == "k2") << seen;
        EXPECT_EQ(cache.Stats().flights, 0u);
        EXPECT_EQ(cache.Stats().hits, cache.Stats().refreshes);
    }
}

// T2, T3: after a failure the next is tried as late as the options say, or as was said
// for the value.
TEST_P(Refresh, ThatFailsIsTriedAgainWhenTheCacheOrItsValueSays) {
    for (int64_t of_cache : {int64_t{0}, 2 * kSecond}) {
        int64_t pause = of_cache != 0 ? of_cache : 9 * kSecond;
        for (bool put : {false, true}) {
            TimedCache cache(
                GetParam(),
                [](TimedCache &self, memo_load *l) {
                    EXPECT_EQ(memo_load_set_refresh(l, 9 * kSecond), 0);
                    return self.loads > 1 ? 42 : Return(l, "v");
                },
                [=](memo_options *o) {
                    o->refresh_after_ns = of_cache;
                    o->stale_if_error_ns = kSecond;
                });
            memo_put_options how = {};
            how.size = sizeof(how);
            how.refresh_after_ns = 9 * kSecond;

            EXPECT_EQ(cache.Get("k"), Loaded("v"));
            if (put) {
                EXPECT_EQ(memo_put_with(cache, "k", 1, "v", 1, &how), 0);
            }
            for (int tries = 1; tries < 4; tries++) {
                cache.clock.Advance(tries == 1 ? 9 * kSecond : pause - 1000);
                EXPECT_EQ(cache.Get("k").bytes, "v");
                EXPECT_EQ(cache.loads, tries + (tries == 1));
                cache.clock.Advance(2000 * (tries > 1));
                EXPECT_EQ(cache.Get("k").bytes, "v");
                EXPECT_EQ(cache.loads, tries + 1);
            }
        }
    }
}

// W4: it comes after the answer; so who gets that, and waits for the new value, must
// load it himself, and so must a load that he waits for; if nobody else can.
TEST_P(Refresh, CanBeWaitedForByWhoGetsTheAnswer) {
    static std::vector<std::pair<void (*)(void *), void *>> tasks;
    static const memo_executor later = {
        [](void *, void (*run)(void *), void *task) {
            tasks.emplace_back(run, task);
            return 0;
        },
        nullptr};
    struct Asks {
        TimedCache *cache;
        std::string key;
        Seen seen;
    };
    for (bool executor : {false, true}) {
        for (std::string key : {"k", "made from k"}) {
            TimedCache cache(
                GetParam(),
                [](TimedCache &self, memo_load *l) {
                    if (KeyOf(l) == "made from k") {
                        return Return(l, self.Get("k").bytes);
                    }
                    return Return(l, KeyOf(l) + std::to_string(self.loads));
                },
                [&](memo_options *o) {
                    RefreshAfter(kSecond, 10 * kSecond)(o);
                    o->executor = executor ? &later : nullptr;
                });
            Asks asks = {&cache, key, {}};

            EXPECT_EQ(cache.Get("k"), Loaded("k1"));
            cache.clock.Advance(kSecond);
            EXPECT_EQ(memo_get_async(
                          cache, "k", 1, nullptr,
                          [](void *arg, int error, memo_value *v) {
                              Asks *a = static_cast<Asks *>(arg);
                              EXPECT_EQ(error, 0);
                              memo_release(v);
                              a->cache->clock.Advance(10 * kSecond);
                              a->seen = a->cache->Get(a->key);
                          },
                          &asks, nullptr),
                      0);
            EXPECT_EQ(asks.seen, key == "k" ? Joined("k2") : Loaded("k3"));
            for (auto &task : std::exchange(tasks, {})) {
                task.first(task.second);  // there is nothing left to do
            }
            EXPECT_EQ(cache.Stats().flights, 0u);
            EXPECT_EQ(cache.Stats().refreshes, 1u);
            EXPECT_EQ(cache.Get("k").from, uint32_t{MEMO_HIT});
        }
    }
}

// E3: it comes after the answer; who gets that may throw.
TEST_P(Refresh, IsAbandonedWhenTheAnswerThrows) {
    TimedCache cache(GetParam(), RefreshAfter(kSecond));

    EXPECT_EQ(cache.Get("k"), Loaded("k1"));
    cache.clock.Advance(kSecond);
    EXPECT_THROW(memo_get_async(
                     cache, "k", 1, nullptr,
                     [](void *, int, memo_value *v) {
                         memo_release(v);
                         throw std::runtime_error("thrown");
                     },
                     nullptr, nullptr),
                 std::runtime_error);
    EXPECT_EQ(cache.Stats().flights, 0u);
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Loaded("k2"));
}

TEST_P(Refresh, RunInTheCallersThreadAnswersWithItsResult) {
    TimedCache cache(GetParam(), RefreshAfter(kSecond));

    EXPECT_EQ(cache.Get("k"), Loaded("k1"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Loaded("k2"));
    EXPECT_EQ(cache.Get("k"), Hit("k2"));
}

// I2: unless it is out of date, and the caller won't have that.
TEST_P(Refresh, ThatIsDetachedIsNoAnswerToAStrictCaller) {
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            int n = self.loads;
            if (n == 2 || n == 4) {
                EXPECT_EQ(self.Invalidate("k"), 0);
            }
            return Return(l, std::to_string(n));
        },
        RefreshAfter(kSecond));
    memo_wait strict = With(MEMO_WAIT_STRICT);

    EXPECT_EQ(cache.Get("k"), Loaded("1"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k", &strict), Loaded("3"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Detached("4"));
}

// And if that fails, has the old one.
TEST_P(Refresh, FailingInTheCallersThreadAnswersWithTheOldValue) {
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            return self.loads > 1 ? 7 : Return(l, "old");
        },
        RefreshAfter(kSecond));

    EXPECT_EQ(cache.Get("k"), Loaded("old"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    EXPECT_EQ(cache.loads, 2);
}

// What is evicted meanwhile can't be kept on, but is still an answer.
TEST_P(Refresh, NotModifiedOfWhatWasEvicted) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->refresh_after_ns = kSecond;
        o->max_entries = 1;
    });

    for (bool fails : {false, true}) {
        cache.Fill("k", "v");
        cache.clock.Advance(kSecond);
        EXPECT_EQ(cache.Get("k"), Hit("v"));
        memo_load *refresh = cache.last.exchange(nullptr);
        EXPECT_EQ(cache.Put("other", "w"), 0);
        Thread waiter([&] {
            Seen seen = cache.Get("k");
            EXPECT_EQ(seen, fails ? Failed(7) : Joined("v"));
        });
        cache.AwaitJoins(fails ? 2 : 1);
        if (!fails) {
            EXPECT_EQ(memo_load_not_modified(refresh), 0);
        }
        EXPECT_EQ(memo_load_finish(refresh, fails ? 7 : 0), 0);
        waiter.Join();
        memo_check(cache);
        EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Get("other"), Hit("w"));
        cache.Invalidate("other");
        if (!fails) {
            cache.clock.Advance(kSecond);
        }
    }
}

TEST_P(Refresh, OfManyRunsOnTheExecutorToo) {
    Gate gate;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            if (self.loads >= 2) {
                gate.Wait();
            }
            return Return(l, KeyOf(l));
        },
        [](memo_options *o) {
            o->refresh_after_ns = kSecond;
            o->threads = 1;
        });
    memo_bytes key = {"k", 1};
    memo_value v;
    int error;

    EXPECT_EQ(cache.Get("k"), Loaded("k"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &v, &error), 0);
    EXPECT_EQ(v.from, uint32_t{MEMO_HIT});
    memo_release(&v);
    gate.Open();
}

TEST_P(Refresh, RunsOnTheExecutor) {
    Gate gate;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            if (self.loads == 2) {
                gate.Wait();
            }
            return Return(l, std::to_string(self.loads));
        },
        [](memo_options *o) {
            o->refresh_after_ns = kSecond;
            o->threads = 1;
        });

    EXPECT_EQ(cache.Get("k"), Loaded("1"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("1"));  // and doesn't wait for the gate
    gate.Open();
    Await([&] { return cache.Peek("k") == Hit("2"); });
}

// T3: a request that depends on the old value.
TEST_P(Refresh, TheLoadHasTheOldValueInHand) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond));
    memo_value old;

    cache.at_once = [&](memo_load *l) {
        EXPECT_EQ(memo_load_old(l, &old), MEMO_ENOENT);
        EXPECT_EQ(memo_load_not_modified(l), MEMO_EINVAL);
        return Return(l, "etag1");
    };
    EXPECT_EQ(cache.Get("k"), Loaded("etag1"));
    cache.at_once = nullptr;
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("etag1"));
    EXPECT_EQ(memo_load_old(cache.last, &old), 0);
    EXPECT_EQ(std::string(static_cast<const char *>(old.data), old.size),
              "etag1");
    cache.Finish("etag2");
    EXPECT_EQ(cache.Get("k"), Hit("etag2"));
    EXPECT_EQ(std::string(static_cast<const char *>(old.data), old.size),
              "etag1");  // V1
    memo_release(&old);
    EXPECT_EQ(memo_load_old(nullptr, &old), MEMO_EINVAL);
    EXPECT_EQ(memo_load_not_modified(nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_load_not_found(nullptr), MEMO_EINVAL);
}

// The same object stays; nothing is copied.
TEST_P(Refresh, NotModifiedKeepsTheValueItself) {
    LaterCache cache(GetParam(), RefreshAfter(10 * kSecond, 15 * kSecond));

    cache.Fill("k", "v");
    const void *data = cache.Hold("k")->data;
    for (int i = 0; i < 5; i++) {
        cache.clock.Advance(10 * kSecond);
        EXPECT_EQ(cache.Get("k"), Hit("v"));
        EXPECT_EQ(memo_load_not_modified(cache.last), 0);
        EXPECT_EQ(memo_load_finish(cache.last.exchange(nullptr), 0), 0);
        EXPECT_EQ(cache.Hold("k")->data, data);
    }
    EXPECT_EQ(cache.Stats().not_modified, 5u);
    // It is as fresh as a new one, not fresher.
    cache.clock.Advance(15 * kSecond - 1);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

// Who waits for an expired value gets the old one, if that is still good.
TEST_P(Refresh, NotModifiedAnswersWhoWaits) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->ttl_ns = kSecond;
        o->stale_if_error_ns = kSecond;
    });

    cache.Fill("k", "v");
    cache.clock.Advance(kSecond);
    cache.at_once = [](memo_load *l) { return memo_load_not_modified(l); };
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    EXPECT_EQ(cache.Get("k"), Hit("v"));
}

TEST_P(Refresh, GoneDropsTheOldValue) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond));

    cache.Fill("k", "v");
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    EXPECT_EQ(memo_load_not_found(cache.last), 0);
    EXPECT_EQ(memo_load_finish(cache.last.exchange(nullptr), 0), 0);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

// T4: nobody hears of it, and it makes nothing young.
TEST_P(Refresh, AFailureLeavesTheOldValueAndItsAge) {
    LaterCache cache(GetParam(), RefreshAfter(10 * kSecond, 35 * kSecond));

    cache.Fill("k", "v");
    for (int i = 0; i < 3; i++) {
        cache.clock.Advance(10 * kSecond);
        EXPECT_EQ(cache.Get("k"), Hit("v"));
        EXPECT_EQ(cache.loads, 2 + i);
        cache.Fail(7);
        EXPECT_EQ(cache.Get("k"), Hit("v"));  // no attempt right away
        EXPECT_EQ(cache.loads, 2 + i);
    }
    EXPECT_EQ(cache.Stats().refresh_failures, 3u);
    cache.clock.Advance(5 * kSecond);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

// T4: whatever a refresh comes to, a newer value stays.
TEST_P(Refresh, NeverReplacesANewerValue) {
    for (int verdict = 0; verdict < 4; verdict++) {
        LaterCache cache(GetParam(), RefreshAfter(kSecond));
        cache.Fill("k", "old");
        cache.clock.Advance(kSecond);
        EXPECT_EQ(cache.Get("k"), Hit("old"));
        EXPECT_EQ(cache.Put("k", "newer"), 0);
        memo_load *l = cache.last.exchange(nullptr);
        int error = 0;
        if (verdict == 0) {
            Return(l, "late");
        } else if (verdict == 1) {
            EXPECT_EQ(memo_load_not_modified(l), 0);
        } else if (verdict == 2) {
            EXPECT_EQ(memo_load_not_found(l), 0);
        } else {
            error = 5;
        }
        EXPECT_EQ(memo_load_finish(l, error), 0);
        EXPECT_EQ(cache.Get("k"), Hit("newer"));
    }
}

// I1: nothing comes back to life.
TEST_P(Refresh, InvalidationEndsIt) {
    for (bool clear : {false, true}) {
        for (bool modified : {false, true}) {
            LaterCache cache(GetParam(), RefreshAfter(kSecond));
            cache.Fill("k", "old");
            cache.clock.Advance(kSecond);
            EXPECT_EQ(cache.Get("k"), Hit("old"));
            EXPECT_EQ(clear ? memo_clear(cache) : cache.Invalidate("k"), 0);
            EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
            if (modified) {
                cache.Finish("late");
            } else {
                EXPECT_EQ(memo_load_not_modified(cache.last), 0);
                memo_load_finish(cache.last.exchange(nullptr), 0);
            }
            EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
        }
    }
}

// Slower than its own interval, and than the value's life: it gets somewhere.
TEST_P(Refresh, SlowerThanItsIntervalStillMakesProgress) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond, 5 * kSecond));

    cache.Fill("k", "0");
    for (int i = 1; i <= 3; i++) {
        cache.clock.Advance(kSecond);
        EXPECT_EQ(cache.Get("k"), Hit(std::to_string(i - 1)));
        for (int j = 0; j < 4; j++) {
            cache.clock.Advance(kSecond);
            if (j < 3) {
                EXPECT_EQ(cache.Get("k"), Hit(std::to_string(i - 1)));
            }
        }
        // It has expired, and its refresh goes on: who comes now joins it.
        memo_wait at_once = Until(1);
        EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
        EXPECT_EQ(cache.loads, 1 + i);
        cache.Finish(std::to_string(i));
        EXPECT_EQ(cache.Get("k"), Hit(std::to_string(i)));
    }
}

// W3: the one who started it never waited, so he can't lose interest.
TEST_P(Refresh, IsNotUnwantedForBeingAlone) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->refresh_after_ns = kSecond;
        o->ttl_ns = 2 * kSecond;
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    memo_wait at_once = Until(1);

    cache.Fill("k", "old");
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_FALSE(memo_load_is_canceled(cache.last));
    cache.Finish("new");
    EXPECT_EQ(cache.Get("k"), Hit("new"));
}

// F4: when no load may be started, the old value does.
TEST_P(Refresh, LimitsAreNoErrorWhereThereIsAnAnswer) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->refresh_after_ns = kSecond;
        o->max_loads = 1;
    });

    cache.Fill("k", "old");
    memo_wait at_once = Until(1);
    EXPECT_EQ(cache.Get("other", &at_once), Failed(MEMO_ETIMEDOUT));
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    memo_bytes key = {"k", 1};
    memo_value v;
    int error;
    EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &v, &error), 0);
    EXPECT_EQ(v.from, uint32_t{MEMO_HIT});
    memo_release(&v);
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *, int e, memo_value *got) {
                      EXPECT_EQ(e, 0);
                      memo_release(got);
                  },
                  nullptr, nullptr),
              0);
    EXPECT_EQ(cache.loads, 2);
    cache.Finish("x");
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    EXPECT_EQ(cache.loads, 3);
    cache.Finish("new");
}

TEST_P(Refresh, TheLoadSaysWhen) {
    TimedCache cache(
        GetParam(),
        [](memo_load *l) {
            EXPECT_EQ(memo_load_set_refresh(l, -1), MEMO_EINVAL);
            EXPECT_EQ(memo_load_set_refresh(
                          l, KeyOf(l) == "never" ? 0 : 2 * kSecond),
                      0);
            return Return(l, "v");
        },
        RefreshAfter(5 * kSecond));

    cache.Get("k");
    cache.Get("never");
    cache.clock.Advance(2 * kSecond);
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    cache.clock.Advance(1000 * kSecond);
    EXPECT_EQ(cache.Get("never"), Hit("v"));
}

// L2
TEST_P(Refresh, CloseEndsIt) {
    LaterCache cache(GetParam(), RefreshAfter(kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_TRUE(memo_load_is_canceled(cache.last));
    cache.Finish("late");
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// ------------------------------------------------------------------ errors

auto StandIn(int64_t ttl_ns, int64_t stale_ns, int64_t backoff_ns = 0) {
    return [=](memo_options *o) {
        o->ttl_ns = ttl_ns;
        o->stale_if_error_ns = stale_ns;
        o->backoff_ns = backoff_ns;
    };
}

// T4
TEST_P(StaleIfError, TheOldValueStandsInForSoLong) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.at_once = [](memo_load *) { return 7; };
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));  // T1
    EXPECT_EQ(cache.GetPlain("k"), Stale("old"));
    EXPECT_EQ(cache.Get("k"), Stale("old"));
    EXPECT_EQ(cache.loads, 3);  // E2: each has tried
    cache.clock.Advance(5 * kSecond - 1);
    EXPECT_EQ(cache.Get("k"), Stale("old"));
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Get("k"), Failed(7));
    EXPECT_EQ(cache.Stats().stale, 3u);
}

TEST_P(StaleIfError, ASuccessIsBetter) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(11 * kSecond);
    cache.Fill("k", "new");
    EXPECT_EQ(cache.Get("k"), Hit("new"));
}

TEST_P(StaleIfError, EverybodyWhoWaitedGetsIt) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));
    std::vector<std::unique_ptr<Thread>> threads;

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    for (int i = 0; i < 4; i++) {
        threads.emplace_back(new Thread(
            [&] { EXPECT_EQ(cache.Get("k"), Stale("old")); }));
    }
    cache.AwaitJoins(3);
    cache.Fail(7);
    threads.clear();
    EXPECT_EQ(cache.loads, 2);
}

// I1: not what was invalidated.
TEST_P(StaleIfError, NotWhatWasInvalidatedMeanwhile) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    cache.at_once = [&](memo_load *) {
        EXPECT_EQ(cache.Invalidate("k"), 0);
        return 7;
    };
    EXPECT_EQ(cache.Get("k"), Failed(7));
    EXPECT_EQ(cache.Get("k"), Failed(7));
}

// With a backoff nobody waits for an attempt but the one who makes it.
TEST_P(StaleIfError, WithBackoffItIsThereAtOnce) {
    LaterCache cache(GetParam(),
                     StandIn(10 * kSecond, 1000 * kSecond, 4 * kSecond));

    cache.Fill("k", "old");
    cache.at_once = [](memo_load *) { return 7; };
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.GetPlain("k"), Stale("old"));
    EXPECT_EQ(cache.loads, 2);
    cache.clock.Advance(2 * kSecond - 1);  // a half of it at least
    EXPECT_EQ(cache.GetPlain("k"), Stale("old"));
    EXPECT_EQ(cache.Peek("k"), Stale("old"));
    EXPECT_EQ(cache.loads, 2);
    cache.clock.Advance(2 * kSecond + 1);
    cache.at_once = nullptr;
    memo_wait at_once = Until(1);
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));  // the probe
    EXPECT_EQ(cache.loads, 3);
    EXPECT_EQ(cache.GetPlain("k"), Stale("old"));  // the others
    EXPECT_EQ(cache.loads, 3);
    cache.Finish("new");
    EXPECT_EQ(cache.GetPlain("k"), Hit("new"));
}

// T4: it stands in for no longer, whenever the next attempt is to be.
TEST_P(StaleIfError, BackoffDoesNotProlongIt) {
    LaterCache cache(GetParam(),
                     StandIn(10 * kSecond, 5 * kSecond, 100 * kSecond));

    cache.Fill("k", "old");
    cache.at_once = [](memo_load *) { return 7; };
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.GetPlain("k"), Stale("old"));
    cache.clock.Advance(5 * kSecond - 1);
    EXPECT_EQ(cache.GetPlain("k"), Stale("old"));
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.GetPlain("k"), Failed(7));
}

// An answer makes good for all failures before it.
TEST_P(StaleIfError, NotModifiedEndsIt) {
    LaterCache cache(GetParam(),
                     StandIn(10 * kSecond, 1000 * kSecond, 4 * kSecond));

    cache.Fill("k", "v");
    for (int round = 0; round < 3; round++) {
        cache.clock.Advance(10 * kSecond);
        cache.at_once = [](memo_load *) { return 7; };
        EXPECT_EQ(cache.GetPlain("k"), Stale("v"));
        int loads = cache.loads;
        cache.clock.Advance(4 * kSecond);  // the first pause, in each round
        cache.at_once = [](memo_load *l) { return memo_load_not_modified(l); };
        EXPECT_EQ(cache.GetPlain("k"), Loaded("v"));
        EXPECT_EQ(cache.loads, loads + 1);
        EXPECT_EQ(cache.GetPlain("k"), Hit("v"));
    }
}

// A probe that nobody wants any more mustn't keep all others from trying.
TEST_P(StaleIfError, ACanceledProbeLetsOthersTry) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        StandIn(10 * kSecond, 1000 * kSecond, kSecond)(o);
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    memo_wait at_once = Until(1);

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    cache.at_once = [](memo_load *) { return 7; };
    EXPECT_EQ(cache.Get("k"), Stale("old"));
    cache.at_once = nullptr;
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    memo_load *canceled = cache.last.exchange(nullptr);
    EXPECT_TRUE(memo_load_is_canceled(canceled));
    cache.at_once = [](memo_load *l) { return Return(l, "new"); };
    EXPECT_EQ(cache.Get("k"), Loaded("new"));
    memo_load_finish(canceled, 1);
    EXPECT_EQ(cache.Get("k"), Hit("new"));
}

// In hand for a conditional request, and for nothing else.
TEST_P(StaleIfError, WhatIsKeptForLoadsOnlyIsNotHandedOut) {
    LaterCache cache(GetParam(), [](memo_options *o) {
        o->ttl_ns = 10 * kSecond;
        o->keep_old_ns = 20 * kSecond;
        o->stale_if_error_ns = 5 * kSecond;
    });

    cache.Fill("k", "v");
    cache.clock.Advance(16 * kSecond);
    cache.at_once = [](memo_load *) { return 7; };
    EXPECT_EQ(cache.Get("k"), Failed(7));
    memo_wait soft = Until(2);
    soft.soft_deadline_ns = 1;
    cache.at_once = nullptr;
    EXPECT_EQ(cache.Get("k", &soft), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(memo_load_not_modified(cache.last), 0);
    EXPECT_EQ(memo_load_finish(cache.last.exchange(nullptr), 0), 0);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    cache.clock.Advance(30 * kSecond);
    EXPECT_EQ(cache.Get("k", &soft), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(memo_load_not_modified(cache.last), MEMO_EINVAL);
    cache.Finish("new");
}

TEST_P(StaleIfError, TheLoadMayForbidIt) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond, kSecond));

    cache.at_once = [](memo_load *l) {
        EXPECT_EQ(memo_load_must_revalidate(l), 0);
        return Return(l, "v");
    };
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    cache.clock.Advance(10 * kSecond);
    cache.at_once = nullptr;
    memo_wait soft = Until(2);
    soft.soft_deadline_ns = 1;
    EXPECT_EQ(cache.Get("k", &soft), Failed(MEMO_ETIMEDOUT));
    cache.Fail(7);
    EXPECT_EQ(cache.Get("k"), Negative(7));
    EXPECT_EQ(memo_load_must_revalidate(nullptr), MEMO_EINVAL);
}

// ------------------------------------------------------------------ waiting

memo_wait SoftUntil(int64_t soft_ns, int64_t deadline_ns = 0) {
    memo_wait wait = Until(deadline_ns);
    wait.soft_deadline_ns = soft_ns;
    return wait;
}

TEST_P(SoftDeadline, TakesTheStaleValueInsteadOfWaiting) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    memo_wait past = SoftUntil(1);
    EXPECT_EQ(cache.Get("k", &past), Stale("old"));
    EXPECT_EQ(cache.loads, 2);  // which goes on
    EXPECT_EQ(cache.Get("k", &past), Stale("old"));
    EXPECT_EQ(cache.loads, 2);
    cache.Finish("new");
    EXPECT_EQ(cache.Get("k", &past), Hit("new"));
}

TEST_P(SoftDeadline, WithNothingToTakeTheWaitGoesOn) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    memo_wait both = SoftUntil(1, 2);
    EXPECT_EQ(cache.Get("k", &both), Failed(MEMO_ETIMEDOUT));
    cache.Finish("old");
    cache.clock.Advance(15 * kSecond);  // too old to stand in
    EXPECT_EQ(cache.Get("k", &both), Failed(MEMO_ETIMEDOUT));
    memo_wait soft = SoftUntil(1);
    Thread waiter([&] { EXPECT_EQ(cache.Get("k", &soft), Joined("new")); });
    cache.AwaitJoins(1);
    cache.Finish("new");
}

TEST_P(SoftDeadline, TheHardOneIsNotSoft) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    memo_wait hard = SoftUntil(cache.clock.Now() + kSecond, 1);
    EXPECT_EQ(cache.Get("k", &hard), Failed(MEMO_ETIMEDOUT));
    cache.Finish("new");
    memo_wait bad = SoftUntil(-1);
    EXPECT_EQ(cache.Get("k", &bad), Failed(MEMO_EINVAL));
}

TEST_P(SoftDeadline, PassesWhileWaiting) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    memo_wait soft = SoftUntil(cache.clock.Now() + kSecond);
    Thread waiter([&] { EXPECT_EQ(cache.Get("k", &soft), Stale("old")); });
    Await([&] { return cache.loads == 2; });
    cache.clock.Advance(kSecond);
    waiter.Join();
    cache.Finish("new");
}

// There was something to take, but it is too old by now.
TEST_P(SoftDeadline, WhatIsTooOldIsNotTaken) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    memo_wait soft = SoftUntil(cache.clock.Now() + kSecond);
    Thread waiter([&] { EXPECT_EQ(cache.Get("k", &soft), Loaded("new")); });
    Await([&] { return cache.loads == 2; });
    cache.clock.Advance(5 * kSecond);
    memo_wait late = SoftUntil(1, 2);
    EXPECT_EQ(cache.Get("k", &late), Failed(MEMO_ETIMEDOUT));
    cache.Finish("new");
}

TEST_P(SoftDeadline, HoldsForManyToo) {
    LaterCache cache(GetParam(), StandIn(10 * kSecond, 5 * kSecond));
    memo_bytes keys[] = {{"k", 1}, {"new", 3}};
    memo_value v[2];
    int errors[2];

    cache.Fill("k", "old");
    cache.clock.Advance(10 * kSecond);
    memo_wait wait = SoftUntil(1, 2);
    EXPECT_EQ(memo_get_many(cache, keys, 2, &wait, v, errors), MEMO_ETIMEDOUT);
    EXPECT_EQ(errors[0], 0);
    EXPECT_EQ(v[0].from, uint32_t{MEMO_STALE});
    EXPECT_EQ(errors[1], MEMO_ETIMEDOUT);
    memo_release(&v[0]);
    memo_release(&v[1]);
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_EQ(cache.loads, 3);
    cache.FinishAll();
}

// ------------------------------------------------------------------ on demand

int RefreshKey(memo *m, const std::string &key) {
    return memo_refresh(m, key.data(), key.size());
}

TEST_P(RefreshNow, LoadsWhatIsFresh) {
    Cache cache(GetParam());
    int loads = 0;
    Cache counted(GetParam(), [&](memo_load *l) {
        return Return(l, std::to_string(++loads));
    });

    EXPECT_EQ(RefreshKey(counted, "k"), 0);
    EXPECT_EQ(counted.Get("k"), Hit("1"));
    EXPECT_EQ(RefreshKey(counted, "k"), 0);
    EXPECT_EQ(counted.Get("k"), Hit("2"));
    EXPECT_EQ(memo_refresh(nullptr, "k", 1), MEMO_EINVAL);
    EXPECT_EQ(memo_refresh(cache, nullptr, 1), MEMO_EINVAL);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(RefreshKey(cache, "k"), MEMO_ECLOSED);
}

// F1: it joins and is joined.
TEST_P(RefreshNow, OfAnAbsentKeyIsOneFlightWithGets) {
    LaterCache cache(GetParam(), [](memo_options *o) { o->ttl_ns = kSecond; });
    memo_wait at_once = Until(1);

    EXPECT_EQ(RefreshKey(cache, "a"), 0);
    EXPECT_EQ(cache.Get("a", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(RefreshKey(cache, "a"), 0);
    EXPECT_EQ(cache.loads, 1);
    Thread waiter([&] { EXPECT_EQ(cache.Get("a"), Joined("v")); });
    cache.AwaitJoins(2);
    cache.Finish("v");
    waiter.Join();
    EXPECT_EQ(cache.Get("b", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(RefreshKey(cache, "b"), 0);
    EXPECT_EQ(cache.loads, 2);
    cache.Finish("v");
}

TEST_P(RefreshNow, TheOldValueIsServedMeanwhileAndAfterAFailure) {
    LaterCache cache(GetParam(), [](memo_options *) {});

    cache.Fill("k", "old");
    EXPECT_EQ(RefreshKey(cache, "k"), 0);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    cache.Fail(3);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    EXPECT_EQ(RefreshKey(cache, "k"), 0);
    EXPECT_EQ(memo_load_not_modified(cache.last), 0);
    EXPECT_EQ(memo_load_finish(cache.last.exchange(nullptr), 0), 0);
    EXPECT_EQ(cache.Get("k"), Hit("old"));
    EXPECT_EQ(RefreshKey(cache, "k"), 0);
    EXPECT_EQ(memo_load_not_found(cache.last), 0);
    EXPECT_EQ(memo_load_finish(cache.last.exchange(nullptr), 0), 0);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

TEST_P(RefreshNow, OfAnAbsentKeyThatIsInvalidatedResurrectsNothing) {
    LaterCache cache(GetParam(), [](memo_options *) {});

    EXPECT_EQ(RefreshKey(cache, "k"), 0);
    EXPECT_EQ(cache.Invalidate("k"), 0);
    cache.Finish("late");
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

TEST_P(RefreshNow, MindsTheLimits) {
    LaterCache cache(GetParam(), [](memo_options *o) { o->max_loads = 1; });

    EXPECT_EQ(RefreshKey(cache, "a"), 0);
    EXPECT_EQ(RefreshKey(cache, "b"), MEMO_EBUSY);
    cache.Finish("v");
}

// ------------------------------------------------------------------ early

// T5: the time at which it comes is before the deadline by a span distributed
// exponentially, with what the load takes as its mean.
TEST_P(EarlyRefresh, IsTheEarlierTheDearerTheLoad) {
    const int kKeys = 4000;
    const int64_t kCost = kSecond;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            self.clock.Advance(kCost);
            return Return(l, "v");
        },
        [](memo_options *o) {
            o->ttl_ns = 1000000 * kSecond;
            o->flags = MEMO_EARLY_REFRESH;
        });

    for (int i = 0; i < kKeys; i++) {
        // At the same time, as seen by the clock.
        EXPECT_EQ(cache.Get(Key(i)).error, 0);
        cache.clock.Advance(-kCost);
    }
    cache.clock.Advance(kCost + 1000000 * kSecond - 10 * kCost);
    double worst = 0;
    std::vector<bool> early(kKeys);
    for (int left = 10; left > 1; left--) {
        int n = 0;
        for (int i = 0; i < kKeys; i++) {
            if (!early[i]) {
                int before = cache.loads;
                Seen seen = cache.Get(Key(i));
                early[i] = cache.loads != before;
                cache.clock.Advance(early[i] ? -kCost : 0);
                EXPECT_EQ(seen.error, 0);
            }
            n += early[i];
        }
        double expected = std::exp(-left);
        worst = std::max(worst, std::abs(double(n) / kKeys - expected));
        cache.clock.Advance(kCost);
    }
    EXPECT_LT(worst, 3.3 / std::sqrt(kKeys) + 0.01);
}

TEST_P(EarlyRefresh, NeverIsAfterTheDeadline) {
    TimedCache cache(GetParam(), [](memo_options *o) {
        o->ttl_ns = 10;
        o->flags = MEMO_EARLY_REFRESH;
    });

    for (int i = 0; i < 100; i++) {
        cache.Get("k");
        cache.clock.Advance(10);
        EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    }
}

}  // namespace
