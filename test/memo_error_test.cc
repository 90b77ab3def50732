// Errors that are kept, and results that aren't: E2, C4.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(NotFound);
MEMO_SUITE(Backoff);
MEMO_SUITE(Pass);

int FindNothing(memo_load *l) {
    return memo_load_not_found(l);
}

// E2: the default.
TEST_P(NotFound, IsNotKeptUnlessAskedFor) {
    TimedCache cache(GetParam(), FindNothing, [](memo_options *) {});

    EXPECT_EQ(cache.GetPlain("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.GetPlain("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.loads, 2);
}

// E2
TEST_P(NotFound, IsKeptForItsTime) {
    TimedCache cache(GetParam(), FindNothing, [](memo_options *o) {
        o->negative_ttl_ns = 10 * kSecond;
    });
    memo_bytes key = {"k", 1};
    memo_value v;
    int error;

    EXPECT_EQ(cache.GetPlain("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.GetPlain("k"), Negative(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("k"), Negative(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("k"), Negative(MEMO_ENOENT));
    EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &v, &error), MEMO_ENOENT);
    EXPECT_EQ(v.from, uint32_t{MEMO_NEGATIVE});
    EXPECT_EQ(v.pin, nullptr);
    memo_release(&v);
    int done = 0;
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *n, int e, memo_value *got) {
                      EXPECT_EQ(e, MEMO_ENOENT);
                      EXPECT_EQ(got->from, uint32_t{MEMO_NEGATIVE});
                      ++*static_cast<int *>(n);
                  },
                  &done, nullptr),
              0);
    EXPECT_EQ(done, 1);
    EXPECT_EQ(cache.loads, 1);
    EXPECT_EQ(cache.Stats().negative, 5u);
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.loads, 2);
    cache.clock.Advance(10 * kSecond);
    cache.Maintain();
    EXPECT_EQ(cache.Stats().entries, 0u);
}

// MEMO_ENOENT, returned by the load, is the same thing.
TEST_P(NotFound, MayBeReturned) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return int{MEMO_ENOENT}; },
        [](memo_options *o) { o->negative_ttl_ns = kSecond; });

    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("k"), Negative(MEMO_ENOENT));
}

TEST_P(NotFound, OtherErrorsAreNotKept) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 3; },
        [](memo_options *o) { o->negative_ttl_ns = kSecond; });

    EXPECT_EQ(cache.Get("k"), Failed(3));
    EXPECT_EQ(cache.Get("k"), Failed(3));
}

// I1
TEST_P(NotFound, EndsWithInvalidationPutAndClear) {
    TimedCache cache(GetParam(), FindNothing, [](memo_options *o) {
        o->negative_ttl_ns = MEMO_NEVER;
    });

    cache.Get("k");
    EXPECT_EQ(cache.Get("k"), Negative(MEMO_ENOENT));
    EXPECT_EQ(cache.Put("k", "v"), 0);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("k"), Negative(MEMO_ENOENT));
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(memo_clear(cache), 0);
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ENOENT));
}

// Whatever is said last counts.
TEST_P(NotFound, TheLastWordCounts) {
    TimedCache cache(
        GetParam(),
        [](memo_load *l) {
            EXPECT_EQ(memo_load_not_found(l), 0);
            return Return(l, "found after all");
        },
        [](memo_options *) {});

    EXPECT_EQ(cache.Get("k"), Loaded("found after all"));
}

// C1: errors take room like anything else.
TEST_P(NotFound, IsBoundedToo) {
    TimedCache cache(GetParam(), FindNothing, [](memo_options *o) {
        o->negative_ttl_ns = MEMO_NEVER;
        o->max_entries = 100;
    });

    for (int i = 0; i < 1000; i++) {
        cache.Get(Key(i));
    }
    EXPECT_LE(cache.Stats().entries, 100u);
    EXPECT_GE(cache.Stats().evictions, 900u);
}

// ------------------------------------------------------------------ backoff

auto BackOff(int64_t first_ns, int64_t most_ns = 0) {
    return [=](memo_options *o) {
        o->backoff_ns = first_ns;
        o->backoff_max_ns = most_ns;
    };
}

// E2
TEST_P(Backoff, TheLastErrorIsThereAtOnce) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 42; }, BackOff(10 * kSecond));

    EXPECT_EQ(cache.GetPlain("k"), Failed(42));
    EXPECT_EQ(cache.GetPlain("k"), Negative(42));
    EXPECT_EQ(cache.Peek("k"), Negative(42));
    cache.clock.Advance(5 * kSecond - 1);
    EXPECT_EQ(cache.GetPlain("k"), Negative(42));
    EXPECT_EQ(cache.loads, 1);
    cache.clock.Advance(5 * kSecond + 1);
    EXPECT_EQ(cache.GetPlain("k"), Failed(42));
    EXPECT_EQ(cache.loads, 2);
}

// The pauses double, each shortened by up to a half, up to the most.
TEST_P(Backoff, PausesGrowUpToTheMost) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 42; },
        BackOff(8 * kSecond, 100 * kSecond));
    int64_t full = 8 * kSecond;

    cache.Get("k");
    for (int i = 0; i < 70; i++) {
        int64_t pause = 0, step = kSecond / 4;
        int loads = cache.loads;
        while (cache.loads == loads) {
            pause += step;
            cache.clock.Advance(step);
            cache.Get("k");
        }
        EXPECT_GE(pause, full / 2) << i;
        EXPECT_LE(pause, full + step) << i;
        full = std::min(2 * full, 100 * kSecond);
    }
}

TEST_P(Backoff, FailuresAreForgottenInTime) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 42; },
        BackOff(8 * kSecond, 64 * kSecond));

    for (int i = 0; i < 5; i++) {
        cache.Get("k");
        cache.clock.Advance(64 * kSecond);
    }
    cache.clock.Advance(64 * kSecond);  // as long again
    int loads = cache.loads;
    EXPECT_EQ(cache.Get("k"), Failed(42));
    cache.clock.Advance(8 * kSecond);
    EXPECT_EQ(cache.Get("k"), Failed(42));
    EXPECT_EQ(cache.loads, loads + 2);
}

// Saturating: no number of failures, and no pause, is too large.
TEST_P(Backoff, NothingOverflows) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 42; },
        BackOff(int64_t{1} << 61, MEMO_NEVER), 0);

    for (int i = 0; i < 3; i++) {
        cache.Get("k");
        EXPECT_EQ(cache.Get("k"), Negative(42));
        cache.clock.Advance(int64_t{1} << 61);
    }
}

// One tries; the others get the error until he is through.
TEST_P(Backoff, OneProbeEndsIt) {
    PendingCache *self;
    FakeClock clock;
    memo_clock hook = clock.Hook();
    PendingCache cache(GetParam(), [&](memo_options *o) {
        o->clock = &hook;
        o->backoff_ns = 10 * kSecond;
    });
    self = &cache;

    memo_load *l = self->Start("k");
    EXPECT_EQ(memo_load_finish(l, 9), 0);
    clock.Advance(10 * kSecond);
    l = self->Start("k");  // the probe
    EXPECT_EQ(cache.GetPlain("k"), Negative(9));
    EXPECT_EQ(cache.Get("k"), Negative(9));
    EXPECT_EQ(cache.loads, 2);
    PendingCache::Finish(l, "v");
    EXPECT_EQ(cache.GetPlain("k"), Hit("v"));
    // The failures are forgotten: the next pause is the first.
    EXPECT_EQ(cache.Invalidate("k"), 0);
    l = self->Start("k");
    EXPECT_EQ(memo_load_finish(l, 9), 0);
    clock.Advance(10 * kSecond);
    l = self->Start("k");
    PendingCache::Finish(l, "v");
}

// E1: a thousand on a failing load are one load.
TEST_P(Backoff, ManyWaitersAreOneLoad) {
    PendingCache cache(GetParam(),
                       [](memo_options *o) { o->backoff_ns = MEMO_NEVER; });
    std::atomic<int> failed{0};

    for (int i = 0; i < 1000; i++) {
        EXPECT_EQ(memo_get_async(
                      cache, "k", 1, nullptr,
                      [](void *n, int e, memo_value *) {
                          *static_cast<std::atomic<int> *>(n) += e == 5;
                      },
                      &failed, nullptr),
                  0);
    }
    EXPECT_EQ(memo_load_finish(cache.last, 5), 0);
    EXPECT_EQ(failed, 1000);
    EXPECT_EQ(cache.Get("k"), Negative(5));
    EXPECT_EQ(cache.loads, 1);
}

TEST_P(Backoff, InvalidationEndsIt) {
    TimedCache cache(
        GetParam(), [](memo_load *) { return 42; }, BackOff(10 * kSecond));

    cache.Get("k");
    EXPECT_EQ(cache.Get("k"), Negative(42));
    cache.Invalidate("k");
    EXPECT_EQ(cache.Get("k"), Failed(42));
    memo_clear(cache);
    EXPECT_EQ(cache.Get("k"), Failed(42));
    EXPECT_EQ(cache.loads, 3);
}

// So does asking for it.
TEST_P(Backoff, RefreshTriesAtOnce) {
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            return self.loads == 1 ? 42 : Return(l, "v");
        },
        BackOff(10 * kSecond));

    cache.Get("k");
    EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
}

// W3: a probe that nobody wants any more mustn't keep the others from trying.
TEST_P(Backoff, ACanceledProbeLetsOthersTry) {
    FakeClock clock;
    memo_clock hook = clock.Hook();
    PendingCache cache(GetParam(), [&](memo_options *o) {
        o->clock = &hook;
        o->backoff_ns = 10 * kSecond;
        o->flags = MEMO_CANCEL_UNWANTED;
    });

    memo_load *l = nullptr;
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *, int e, memo_value *) { EXPECT_EQ(e, 9); },
                  nullptr, nullptr),
              0);
    EXPECT_EQ(memo_load_finish(cache.last, 9), 0);
    clock.Advance(10 * kSecond);
    l = cache.Start("k");
    EXPECT_TRUE(memo_load_is_canceled(l));
    memo_load *next = cache.Start("k");
    EXPECT_NE(next, l);
    EXPECT_EQ(memo_load_finish(l, 1), 0);
    EXPECT_EQ(memo_load_finish(next, 1), 0);
}

// E4: a failure that can't be kept for want of memory is not kept; nor does the one
// before it go on being the answer.
TEST_P(Backoff, WithoutMemoryEndsAtOnce) {
    bool no_memory = false;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *) {
            if (no_memory) {
                self.allocator.FailAt(1);
            }
            return 40 + self.loads;
        },
        [](memo_options *o) { o->backoff_ns = kSecond; });

    EXPECT_EQ(cache.Get("k"), Failed(41));
    EXPECT_EQ(cache.Get("k"), Negative(41));
    cache.clock.Advance(kSecond);
    no_memory = true;
    EXPECT_EQ(cache.Get("k"), Failed(42));
    cache.allocator.FailAt(0);
    no_memory = false;
    EXPECT_EQ(cache.Get("k"), Failed(43));
    EXPECT_EQ(cache.Get("k"), Negative(43));
}

// ------------------------------------------------------------------ pass

// C4: the value is for who started the load; the others load in parallel.
TEST_P(Pass, WaitersLoadInParallel) {
    const int kWaiters = 8;
    Gate first, all;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            int n = self.loads;
            EXPECT_EQ(memo_load_pass(l), 0);
            (n == 1 ? first : all).Wait();
            return Return(l, std::to_string(n));
        },
        [](memo_options *) {});
    std::atomic<int> loaded{0};
    std::vector<std::unique_ptr<Thread>> threads;

    for (int i = 0; i < kWaiters; i++) {
        threads.emplace_back(new Thread([&] {
            Seen seen = cache.Get("k");
            EXPECT_EQ(seen.error, 0);
            EXPECT_EQ(seen.from, uint32_t{MEMO_LOADED});
            loaded++;
        }));
    }
    cache.AwaitJoins(kWaiters - 1);
    first.Open();
    // All the others are in their loads at the same time.
    Await([&] { return all.Waiting() == kWaiters - 1; });
    all.Open();
    threads.clear();
    EXPECT_EQ(loaded, kWaiters);
    EXPECT_EQ(cache.loads, kWaiters);
    EXPECT_EQ(cache.Stats().entries, 0u);
    EXPECT_EQ(cache.Stats().passes, uint64_t{kWaiters});
}

// The verdict is remembered: nobody waits for anybody.
TEST_P(Pass, IsRememberedForItsTime) {
    Gate gate;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            int n = self.loads;
            EXPECT_EQ(memo_load_pass(l), 0);
            if (n == 2 || n == 3) {
                gate.Wait();
            }
            return Return(l, std::to_string(n));
        },
        [](memo_options *o) { o->pass_ttl_ns = 10 * kSecond; });

    EXPECT_EQ(cache.GetPlain("k"), Loaded("1"));
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    {
        Thread one([&] { EXPECT_EQ(cache.Get("k").error, 0); });
        Thread two([&] { EXPECT_EQ(cache.Get("k").error, 0); });
        Await([&] { return gate.Waiting() == 2; });
        gate.Open();
    }
    EXPECT_EQ(cache.Stats().joins, 0u);
    EXPECT_EQ(cache.Stats().entries, 1u);
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.Get("k"), Loaded("4"));
    memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
    EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));
}

TEST_P(Pass, AsynchronousAndBulkWaitersLoadTheirOwn) {
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), KeepIn(&loads));
    std::vector<std::string> got;
    auto done = [](void *arg, int e, memo_value *v) {
        EXPECT_EQ(e, 0);
        EXPECT_EQ(v->from, uint32_t{MEMO_LOADED});
        static_cast<std::vector<std::string> *>(arg)->push_back(
            std::string(static_cast<const char *>(v->data), v->size));
        memo_release(v);
    };

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, done, &got, nullptr), 0);
    }
    ASSERT_EQ(loads.size(), 1u);
    EXPECT_EQ(memo_load_pass(loads[0]), 0);
    Return(loads[0], "0");
    EXPECT_EQ(memo_load_finish(loads[0], 0), 0);
    ASSERT_EQ(loads.size(), 3u);
    for (int i = 1; i < 3; i++) {
        Return(loads[i], std::to_string(i));
        EXPECT_EQ(memo_load_finish(loads[i], 0), 0);
    }
    EXPECT_EQ(got, (std::vector<std::string>{"0", "1", "2"}));
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

// A wait without a thread, and the errors that it has been answered with.
struct TicketWait {
    memo_ticket *ticket = nullptr;
    std::vector<int> errors;

    explicit TicketWait(memo *m) {
        auto done = [](void *arg, int error, memo_value *v) {
            static_cast<TicketWait *>(arg)->errors.push_back(error);
            memo_release(v);
        };
        EXPECT_EQ(memo_get_async(m, "k", 1, nullptr, done, this, &ticket), 0);
    }
    ~TicketWait() {
        Free();
    }
    void Free() {
        memo_ticket_free(std::exchange(ticket, nullptr));
    }
    void Cancel() {
        EXPECT_EQ(memo_ticket_cancel(ticket), 0);
        EXPECT_EQ(errors, std::vector<int>{MEMO_ECANCELED});
        EXPECT_EQ(memo_ticket_cancel(ticket), MEMO_EALREADY);
    }
};

void CancelUnwanted(memo_options *o) {
    o->flags = MEMO_CANCEL_UNWANTED;
}

// W2, W3: who loads his own may give that wait up as he might have the first.
TEST_P(Pass, AWaitForALoadOfItsOwnCanBeCanceled) {
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), KeepIn(&loads), CancelUnwanted);
    TicketWait starts(cache), stays(cache), leaves(cache);

    ASSERT_EQ(loads.size(), 1u);
    EXPECT_EQ(memo_load_pass(loads[0]), 0);
    EXPECT_EQ(Return(loads[0], "v"), 0);
    EXPECT_EQ(memo_load_finish(loads[0], 0), 0);
    ASSERT_EQ(loads.size(), 3u);
    leaves.Cancel();
    EXPECT_FALSE(memo_load_is_canceled(loads[1]));
    EXPECT_TRUE(memo_load_is_canceled(loads[2]));
    PendingCache::Finish(loads[2], "unwanted");
    PendingCache::Finish(loads[1], "w");
    EXPECT_EQ(leaves.errors.size(), 1u);
    EXPECT_EQ(stays.errors, std::vector<int>{0});
    EXPECT_EQ(memo_ticket_cancel(stays.ticket), MEMO_EALREADY);
}

// W2: also while memory for that load is found, and while it begins.
TEST_P(Pass, AWaitCanBeCanceledWhileItBeginsAgain) {
    for (bool in_load : {false, true}) {
        std::unique_ptr<TicketWait> waits;
        std::vector<memo_load *> loads;
        Cache cache(
            GetParam(),
            [&](memo_load *l) {
                loads.push_back(l);
                if (in_load && loads.size() == 2) {
                    waits->Cancel();
                }
                return int{MEMO_PENDING};
            },
            CancelUnwanted);

        TicketWait starts(cache);
        waits.reset(new TicketWait(cache));
        EXPECT_EQ(memo_load_pass(loads[0]), 0);
        EXPECT_EQ(Return(loads[0], "v"), 0);
        if (!in_load) {
            cache.allocator.DoAt(1, [&] { waits->Cancel(); });
        }
        EXPECT_EQ(memo_load_finish(loads[0], 0), 0);
        ASSERT_EQ(loads.size(), 2u);
        EXPECT_TRUE(memo_load_is_canceled(loads[1]));
        PendingCache::Finish(loads[1], "w");
        EXPECT_EQ(waits->errors.size(), 1u);
        waits.reset();
    }
}

// W2
TEST_P(Pass, CancelAndBeginningAgainRaceToOneOutcome) {
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), KeepIn(&loads));

    for (int i = 0; i < 200; i++) {
        loads.clear();
        TicketWait starts(cache), waits(cache);
        EXPECT_EQ(memo_load_pass(loads[0]), 0);
        EXPECT_EQ(Return(loads[0], "v"), 0);
        bool cancels = i % 2 == 0;
        {
            Thread finisher(
                [&] { EXPECT_EQ(memo_load_finish(loads[0], 0), 0); });
            if (cancels) {
                EXPECT_EQ(memo_ticket_cancel(waits.ticket), 0);
            } else {
                waits.Free();
            }
        }
        EXPECT_EQ(waits.errors, std::vector<int>(cancels, MEMO_ECANCELED));
        for (size_t j = 1; j < loads.size(); j++) {
            PendingCache::Finish(loads[j], "w");
        }
        EXPECT_EQ(waits.errors.size(), 1u);
    }
}

// A bulk get that has joined loads for itself, too.
TEST_P(Pass, ABulkWaiterLoadsItsOwn) {
    Gate gate;
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            int n = self.loads;
            EXPECT_EQ(memo_load_pass(l), 0);
            if (n == 1) {
                gate.Wait();
            }
            return Return(l, std::to_string(n));
        },
        [](memo_options *) {});

    Thread starter([&] { EXPECT_EQ(cache.Get("k"), Loaded("1")); });
    Await([&] { return gate.Waiting() == 1; });
    Thread bulk([&] {
        memo_bytes key = {"k", 1};
        memo_value v;
        int error;
        EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &v, &error), 0);
        EXPECT_EQ(std::string(static_cast<const char *>(v.data), v.size), "2");
        EXPECT_EQ(v.from, uint32_t{MEMO_LOADED});
        memo_release(&v);
    });
    cache.AwaitJoins(1);
    gate.Open();
}

// In whatever form they had joined.
TEST_P(Pass, WaitersWhoMayNotLoadGoAway) {
    for (int form = 0; form < 3; form++) {
        PendingCache cache(GetParam());
        memo_load *l = cache.Start("k");
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        std::atomic<int> error{0};

        Thread joiner([&] {
            memo_bytes key = {"k", 1};
            Value v;
            int e = 0;
            if (form == 0) {
                error = cache.Get("k", &no_load).error;
            } else if (form == 1) {
                memo_get_many(cache, &key, 1, &no_load, v.out(), &e);
                error = e;
            } else {
                EXPECT_EQ(memo_get_async(
                              cache, "k", 1, &no_load,
                              [](void *arg, int said, memo_value *) {
                                  *static_cast<std::atomic<int> *>(arg) = said;
                              },
                              &error, nullptr),
                          0);
            }
        });
        cache.AwaitJoins(1);
        EXPECT_EQ(memo_load_pass(l), 0);
        PendingCache::Finish(l, "v");
        Await([&] { return error != 0 || cache.loads > 1; });
        EXPECT_EQ(error, MEMO_ENOENT);
        if (cache.loads > 1) {
            PendingCache::Finish(cache.last, "not to be loaded");
        }
    }
}

// C4 before I2: that the load is detached doesn't make its result anybody else's.
TEST_P(Pass, HoldsForADetachedLoadToo) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    std::atomic<bool> answered{false};

    Thread joiner([&] {
        EXPECT_EQ(cache.Get("k"), Loaded("his"));
        answered = true;
    });
    cache.AwaitJoins(1);
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(memo_load_pass(l), 0);
    PendingCache::Finish(l, "the first one's");
    Await([&] { return cache.loads == 2 || answered; });
    if (cache.loads == 2) {
        PendingCache::Finish(cache.last, "his");
    }
}

// I2, V3: a load that is alone is detached as any other, by whatever changes its key;
// and by no change of another.
TEST_P(Pass, LoadsThatAreAloneAreDetached) {
    enum Change { kInvalidate, kPut, kClear, kNone };
    for (Change change : {kInvalidate, kPut, kClear, kNone}) {
        for (int64_t pass_ttl_ns : {int64_t{0}, MEMO_NEVER}) {
            const size_t kAlone = 5;
            std::vector<memo_load *> loads;
            std::vector<uint32_t> from;
            Cache cache(
                GetParam(),
                KeepIn(&loads),
                [&](memo_options *o) { o->pass_ttl_ns = pass_ttl_ns; });
            auto done = [](void *arg, int error, memo_value *v) {
                EXPECT_EQ(error, 0);
                static_cast<std::vector<uint32_t> *>(arg)->push_back(v->from);
                memo_release(v);
            };

            for (size_t i = 0; i < kAlone + 1; i++) {
                EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, done, &from,
                                         nullptr),
                          0);
            }
            EXPECT_EQ(memo_load_pass(loads[0]), 0);
            PendingCache::Finish(loads[0], "v");
            ASSERT_EQ(loads.size(), kAlone + 1);
            from.clear();
            // The first, and one in the middle, end before.
            PendingCache::Finish(loads[1], "v");
            PendingCache::Finish(loads[3], "v");
            memo_check(cache);
            EXPECT_EQ(cache.Invalidate("j"), 0);
            EXPECT_EQ(change == kInvalidate ? cache.Invalidate("k")
                      : change == kPut      ? cache.Put("k", "put")
                      : change == kClear    ? memo_clear(cache)
                                            : 0,
                      0);
            memo_check(cache);
            for (size_t i : {5, 2, 4}) {
                PendingCache::Finish(loads[i], "v");
            }
            uint32_t as = change == kNone ? MEMO_LOADED : MEMO_DETACHED;
            EXPECT_EQ(from, (std::vector<uint32_t>{MEMO_LOADED, MEMO_LOADED, as,
                                                   as, as}));
            EXPECT_EQ(cache.Stats().detached, change == kNone ? 0u : 3u);
            EXPECT_EQ(cache.Peek("k"),
                      change == kPut ? Hit("put") : Failed(MEMO_ENOENT));
        }
    }
}

// I2
TEST_P(Pass, AStrictCallerWhoIsAloneLoadsAgain) {
    Cache *self = nullptr;
    int loads = 0;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            loads++;
            if (loads == 1) {
                EXPECT_EQ(memo_load_pass(l), 0);
            } else if (loads == 2) {
                EXPECT_EQ(self->Invalidate("k"), 0);
            }
            return Return(l, std::to_string(loads));
        },
        [](memo_options *o) { o->pass_ttl_ns = MEMO_NEVER; });
    memo_wait strict = With(MEMO_WAIT_STRICT);

    self = &cache;
    EXPECT_EQ(cache.Get("k"), Loaded("1"));
    EXPECT_EQ(cache.Get("k", &strict), Loaded("3"));
}

// F1: alone only as long as PASS is remembered.
TEST_P(Pass, WhoLoadsAgainIsNotAloneAnyMore) {
    std::mutex mu;
    std::vector<memo_load *> loads;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            std::lock_guard<std::mutex> lock(mu);
            loads.push_back(l);
            return int{MEMO_PENDING};
        },
        [](memo_options *o) { o->pass_ttl_ns = MEMO_NEVER; });
    auto load = [&](size_t n) {
        Await([&] {
            std::lock_guard<std::mutex> lock(mu);
            return loads.size() >= n;
        });
        return loads[n - 1];
    };
    memo_wait strict = With(MEMO_WAIT_STRICT), at_once = Until(1);

    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(memo_load_pass(load(1)), 0);
    PendingCache::Finish(load(1), "v");
    Thread again([&] { EXPECT_EQ(cache.Get("k", &strict), Loaded("new")); });
    memo_load *alone = load(2);
    EXPECT_EQ(cache.Invalidate("k"), 0);
    PendingCache::Finish(alone, "old");
    memo_load *shared = load(3);
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(loads.size(), 3u);
    for (size_t i = 4; i <= loads.size(); i++) {
        PendingCache::Finish(load(i), "not needed");
    }
    PendingCache::Finish(shared, "new");
    again.Join();
    EXPECT_EQ(cache.Peek("k"), Hit("new"));
}

// Statistics are of values: one that stays is not passed on, whatever else its load
// said, and an error that can't be kept is not one that is too large.
TEST_P(Pass, CountsValuesThatAreNotToBeKept) {
    TimedCache cache(
        GetParam(),
        [](TimedCache &, memo_load *l) {
            if (KeyOf(l).size() > 1) {
                return memo_load_not_found(l);
            }
            if (memo_load_not_modified(l) == 0) {
                return memo_load_pass(l);
            }
            return Return(l, "v");
        },
        [](memo_options *o) {
            o->negative_ttl_ns = o->refresh_after_ns = kSecond;
            o->max_bytes = 1 << 20;
        });

    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    EXPECT_EQ(cache.Stats().not_modified, 1u);
    EXPECT_EQ(cache.Stats().passes, 0u);
    EXPECT_EQ(cache.Get(std::string(2 << 20, 'x')), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Stats().too_large, 0u);
    EXPECT_EQ(cache.Put("k", std::string(2 << 20, 'x')), 0);
    EXPECT_EQ(cache.Stats().too_large, 1u);
}

TEST_P(Pass, DropsWhatWasThere) {
    TimedCache cache(
        GetParam(),
        [&](TimedCache &self, memo_load *l) {
            if (self.loads > 1) {
                EXPECT_EQ(memo_load_pass(l), 0);
            }
            return Return(l, std::to_string(self.loads));
        },
        [](memo_options *o) { o->refresh_after_ns = kSecond; });

    cache.Get("k");
    cache.clock.Advance(kSecond);
    EXPECT_EQ(cache.Get("k"), Loaded("2"));
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(memo_load_pass(nullptr), MEMO_EINVAL);
}

// L2
TEST_P(Pass, CloseEndsLoadsThatAreAlone) {
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), KeepIn(&loads),
                [](memo_options *o) { o->pass_ttl_ns = MEMO_NEVER; });
    memo_wait at_once = Until(1);

    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    memo_load_pass(loads[0]);
    Return(loads[0], "v");
    memo_load_finish(loads[0], 0);
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    ASSERT_EQ(loads.size(), 3u);
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_TRUE(memo_load_is_canceled(loads[1]));
    memo_load_finish(loads[1], 1);
    memo_load_finish(loads[2], 1);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

}  // namespace
