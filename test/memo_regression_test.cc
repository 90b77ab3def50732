// Outages of other caches, each of which stays away from this one: flights,
// waits, limits, capacity.  Those that have to do with time:
// memo_regression_time_test.cc.  A comment names the report that told of it.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "sync/note.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Regression);

// What asynchronous waits came to.
struct Answers {
    std::atomic<int> values{0}, errors{0};
    std::atomic<int> last_error{0};

    int Ask(memo *m, const std::string &key, memo_ticket **ticket = nullptr) {
        return memo_get_async(
            m, key.data(), key.size(), nullptr,
            [](void *arg, int error, memo_value *v) {
                Answers *self = static_cast<Answers *>(arg);
                if (error != 0) {
                    self->last_error = error;
                }
                ++(error == 0 ? self->values : self->errors);
                memo_release(v);
            },
            this, ticket);
    }
};

// An allocator that does something once, when it is next called.
class Tripwire {
   public:
    memo_allocator Hook() {
        return {[](void *self, size_t size) {
                    Tripwire *t = static_cast<Tripwire *>(self);
                    if (t->armed.exchange(false)) {
                        t->action();
                    }
                    return malloc(size);
                },
                [](void *, void *p, size_t) { free(p); }, this, nullptr};
    }

    std::function<void()> action;
    std::atomic<bool> armed{false};
};

// 1.  otter #152: a load that finished between somebody's miss and his claim was
// run again.
TEST_P(Regression, AFlightFinishedBetweenMissAndStartIsNotLoadedTwice) {
    Tripwire tripwire;
    memo_allocator hook = tripwire.Hook();
    std::atomic<int> loads{0};
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            loads++;
            return LoadInBrackets(l);
        },
        [&](memo_options *o) { o->allocator = &hook; });
    // He who has missed asks for memory, so as to start a flight.
    tripwire.action = [&] {
        std::thread other([&] { EXPECT_EQ(cache.Get("k"), Loaded("<k>")); });
        other.join();
    };
    tripwire.armed = true;
    EXPECT_EQ(cache.GetPlain("k"), Hit("<k>"));
    EXPECT_FALSE(tripwire.armed);
    EXPECT_EQ(loads, 1);
}

// 2.  go #31420: the end of a forgotten call took the next call of the key along.
TEST_P(Regression, AForgottenLoadTakesNothingAlong) {
    PendingCache cache(GetParam());
    memo_load *forgotten = cache.Start("k");
    cache.Invalidate("k");
    memo_load *next = cache.Start("k");
    PendingCache::Finish(forgotten, "forgotten");

    Answers joined;
    EXPECT_EQ(joined.Ask(cache, "k"), 0);
    EXPECT_EQ(cache.loads, 2);
    PendingCache::Finish(next, "next");
    EXPECT_EQ(joined.values, 1);
    EXPECT_EQ(cache.Peek("k"), Hit("next"));
}

// 3.  go #33519, #41133, groupcache #139: after a panic in a load the key was
// locked for ever, and so were those who waited.
TEST_P(Regression, ALoadThatDiesLeavesNoKeyLockedAndNobodyWaiting) {
    enum { THROW, EXIT, CANCEL, LIVE };
    std::vector<int> ways = {THROW, EXIT};
#if !defined(__SANITIZE_ADDRESS__)  // takes unwound frames for live ones
    ways.push_back(CANCEL);
#endif
    for (int way : ways) {
        Gate joined;
        std::atomic<int> dies{way};
        Cache cache(GetParam(), [&](memo_load *l) {
            int now = dies;
            if (now == LIVE) {
                return LoadInBrackets(l);
            }
            joined.Wait();
            if (now == THROW) {
                throw std::runtime_error("a load dies");
            }
            if (now == CANCEL) {
                pthread_cancel(pthread_self());
                pthread_testcancel();
            }
            pthread_exit(nullptr);
        });
        std::thread leader([&] {
            Value v;
            try {
                memo_get(cache, "k", 1, v.out());
            } catch (const std::runtime_error &) {
                *v.out() = memo_value();
            }
        });
        Await([&] { return joined.Waiting() == 1; });
        Thread waiter([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_EABANDONED)); });
        cache.AwaitJoins(1);
        joined.Open();
        leader.join();
        waiter.Join();
        dies = LIVE;
        EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    }
}

// 4.  otter: Goexit in a load stored the zero value as a success.
TEST_P(Regression, ALoadThatEndsItsThreadStoresNothing) {
    Cache cache(GetParam(), [&](memo_load *l) -> int {
        EXPECT_EQ(Return(l, "half"), 0);
        pthread_exit(nullptr);
    });
    std::thread leader([&] {
        memo_value v;
        memo_get(cache, "k", 1, &v);
        ADD_FAILURE() << "the thread should have ended";
    });
    leader.join();
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Stats().load_failures, 1u);
}

// 5.  tailscale #18919: who came when the last waiter had cancelled joined the
// dying call, and got its cancellation.
TEST_P(Regression, NobodyJoinsALoadThatTheLastHasCancelled) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    Answers gone, newcomer;
    memo_ticket *ticket;
    ASSERT_EQ(gone.Ask(cache, "k", &ticket), 0);
    memo_load *dying = cache.last;
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);
    memo_ticket_free(ticket);
    EXPECT_TRUE(memo_load_is_canceled(dying));
    ASSERT_EQ(newcomer.Ask(cache, "k"), 0);
    EXPECT_EQ(cache.loads, 2);
    EXPECT_EQ(memo_load_finish(dying, MEMO_ECANCELED), 0);
    EXPECT_EQ(newcomer.errors, 0);
    PendingCache::Finish(cache.last, "fresh");
    EXPECT_EQ(newcomer.values, 1);
    EXPECT_EQ(cache.Peek("k"), Hit("fresh"));
}

// 6.  janos/singleflight #4: the cancellation of any waiter freed the key, so that
// a second load ran beside the first.
TEST_P(Regression, OneCancellationAllowsNoSecondLoad) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    Answers stays, goes, comes;
    memo_ticket *ticket;
    ASSERT_EQ(stays.Ask(cache, "k"), 0);
    ASSERT_EQ(goes.Ask(cache, "k", &ticket), 0);
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);
    memo_ticket_free(ticket);
    ASSERT_EQ(comes.Ask(cache, "k"), 0);
    EXPECT_EQ(cache.loads, 1);
    PendingCache::Finish(cache.last, "v");
    EXPECT_EQ(stays.values + comes.values, 2);
}

// 7.  Caffeine #870: cancelling one's own future cancelled the load for all.
TEST_P(Regression, OneCancellationFailsNobodyElse) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    Answers first, second;
    memo_ticket *ticket;
    ASSERT_EQ(first.Ask(cache, "k", &ticket), 0);
    ASSERT_EQ(second.Ask(cache, "k"), 0);
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);  // the one who started it
    memo_ticket_free(ticket);
    EXPECT_FALSE(memo_load_is_canceled(cache.last));
    PendingCache::Finish(cache.last, "v");
    EXPECT_EQ(first.last_error, int(MEMO_ECANCELED));
    EXPECT_EQ(second.values, 1);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));
}

// Start a load of "k", tagged "t", in one of three ways.
memo_load *StartIn(int form, PendingCache *cache, Answers *answers,
                   std::thread *thread) {
    int before = cache->loads;
    switch (form) {
        case 0:
            *thread = std::thread([cache] { cache->Get("k"); });
            break;
        case 1:
            EXPECT_EQ(answers->Ask(*cache, "k"), 0);
            break;
        default:
            *thread = std::thread([cache] {
                memo_bytes key = {"k", 1};
                Value v;
                int error;
                memo_get_many(*cache, &key, 1, nullptr, v.out(), &error);
            });
    }
    Await([&] { return cache->loads > before; });
    EXPECT_EQ(memo_load_add_tag(cache->last, "t", 1), 0);
    return cache->last;
}

// 8.  Caffeine #193, FusionCache #628, lakekeeper #1843, otter #137: what was read
// before an invalidation came back after it, and a revoked right with it.
TEST_P(Regression, NothingLoadedBeforeAnInvalidationIsStoredAfterIt) {
    for (int form = 0; form < 3; form++) {
        for (int change = 0; change < 4; change++) {
            PendingCache cache(GetParam());
            Answers answers;
            std::thread thread;
            // The first tag makes the cache one with tags.
            EXPECT_EQ(memo_invalidate_tag(cache, "other", 5), 0);
            memo_load *l = StartIn(form, &cache, &answers, &thread);
            EXPECT_EQ(change == 0   ? cache.Invalidate("k")
                      : change == 1 ? cache.Put("k", "put")
                      : change == 2 ? memo_clear(cache)
                                    : memo_invalidate_tag(cache, "t", 1),
                      0);
            EXPECT_EQ(Return(l, "outdated"), 0);
            EXPECT_EQ(memo_load_finish(l, 0), 0);
            if (thread.joinable()) {
                thread.join();
            }
            EXPECT_EQ(cache.Peek("k"),
                      change == 1 ? Hit("put") : Failed(MEMO_ENOENT))
                << form << " " << change;
        }
    }
}

// 9.  foyer #1310: a load that was slower than a write overwrote it.
TEST_P(Regression, AWriteDuringALoadWins) {
    PendingCache cache(GetParam());
    Answers before;
    ASSERT_EQ(before.Ask(cache, "k"), 0);
    EXPECT_EQ(cache.Put("k", "written"), 0);
    EXPECT_EQ(cache.Get("k"), Hit("written"));
    PendingCache::Finish(cache.last, "loaded");
    EXPECT_EQ(before.values, 1);
    EXPECT_EQ(cache.Get("k"), Hit("written"));
}

// 14.  Caffeine #89, #160, #712, #729, #960: loads that ask for each other, or for
// themselves, hung, on one thread and on several.
TEST_P(Regression, LoadsThatWaitForEachOtherAreTold) {
    std::function<int(memo_load *)> load;
    Cache cache(GetParam(), [&](memo_load *l) { return load(l); });
    std::atomic<int> deadlocks{0};
    auto ask = [&](memo_load *l, const std::string &key) {
        int error = cache.Get(key).error;
        deadlocks += error == MEMO_EDEADLK;
        return error == MEMO_EDEADLK ? Return(l, "alone") : LoadInBrackets(l);
    };
    load = [&](memo_load *l) { return ask(l, KeyOf(l)); };
    EXPECT_EQ(cache.Get("self"), Loaded("alone"));
    EXPECT_EQ(deadlocks, 1);

    // a -> b -> c -> a, all in their loads before any asks.
    std::atomic<int> inside{0};
    load = [&](memo_load *l) {
        std::string key = KeyOf(l);
        inside++;
        Await([&] { return inside == 3; });
        return ask(l, key == "a" ? "b" : key == "b" ? "c" : "a");
    };
    std::vector<std::thread> threads;
    for (const char *key : {"a", "b", "c"}) {
        threads.emplace_back([&, key] { EXPECT_EQ(cache.Get(key).error, 0); });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    EXPECT_EQ(deadlocks, 2);

    // top -> left, right -> bottom is none.
    load = [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "top") {
            EXPECT_EQ(cache.Get("left").error, 0);
            EXPECT_EQ(cache.Get("right").error, 0);
        } else if (key != "bottom") {
            EXPECT_EQ(cache.Get("bottom").error, 0);
        }
        return LoadInBrackets(l);
    };
    EXPECT_EQ(cache.Get("top"), Loaded("<top>"));
}

// 15.  moka #298, Caffeine #1062: a listener that called the cache from within its
// maintenance deadlocked, or maintenance was entered twice.
TEST_P(Regression, AListenerCalledByMaintenanceMayCallMaintenance) {
    struct State {
        Cache *cache;
        std::atomic<int> calls;
    } state = {nullptr, {0}};
    memo_listener listener = {
        [](void *arg, memo_cause, const void *key, size_t key_size,
           const memo_value *) {
            State *s = static_cast<State *>(arg);
            std::string k(static_cast<const char *>(key), key_size);
            s->calls++;
            if (k.size() < 8) {
                memo_maintain(*s->cache, 0);
                EXPECT_EQ(s->cache->Put(k + "x", "v"), 0);
                EXPECT_EQ(s->cache->Get(k + "x"), Hit("v"));
                EXPECT_EQ(s->cache->Invalidate(k + "x"), 0);
                memo_maintain(*s->cache, 0);
            }
        },
        &state};
    TimedCache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
        o->listener = &listener;
        o->ttl_ns = kSecond;
    });
    state.cache = &cache;
    cache.Get("k");
    cache.clock.Advance(kSecond);
    cache.Maintain();
    Await([&] { return state.calls == 8; });
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(state.calls, 8);
}

// 16.  moka #590: under pressure, keys evicted and stored again by turns left the
// sum of weights wrong, and the cache shrank for ever.
TEST_P(Regression, TheSumOfWeightsConvergesUnderPressure) {
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_set_weight(l, uint32_t(KeyOf(l).back()) % 7), 0);
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->max_weight = 40; });
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            for (uint64_t i = 0; i < 1500; i++) {
                std::string key = Key((i * 7 + uint64_t(t)) % 23);
                i % 5 == 0 ? (void)cache.Invalidate(key) : (void)cache.Get(key);
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    EXPECT_LE(cache.Stats().weight, 40u);
    memo_check(cache);  // the sum is that of a walk
    // And it is no smaller than it was: what fits comes in.
    memo_clear(cache);
    memo_maintain(cache, 0);
    EXPECT_EQ(cache.Stats().weight, 0u);
    for (uint64_t i = 0; i < 5; i++) {
        cache.Get(Key(i));
    }
    EXPECT_EQ(cache.Stats().entries, 5u);
}

// 18.  moka #155: clear missed what had just been stored; or hit what came after.
TEST_P(Regression, ClearForgetsWhatWasJustStoredAndNothingLater) {
    Cache cache(GetParam());
    for (uint64_t i = 0; i < 200; i++) {
        EXPECT_EQ(cache.Put(Key(i), "old"), 0);
        EXPECT_EQ(memo_clear(cache), 0);
        EXPECT_EQ(cache.Peek(Key(i)), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Put(Key(i), "new"), 0);
        EXPECT_EQ(cache.Peek(Key(i)), Hit("new"));
        memo_maintain(cache, 0);
        EXPECT_EQ(cache.Peek(Key(i)), Hit("new"));
    }
}

// 19.  quick_cache #40: a write and the end of a load of the same key, at the same
// time, panicked.
TEST_P(Regression, AWriteAndTheEndOfALoadMayMeet) {
    PendingCache cache(GetParam());
    for (uint64_t i = 0; i < 200; i++) {
        memo_load *l = cache.Start(Key(i));
        std::thread writer([&] { EXPECT_EQ(cache.Put(Key(i), "written"), 0); });
        PendingCache::Finish(l, "loaded");
        writer.join();
        EXPECT_EQ(cache.Peek(Key(i)), Hit("written"));
    }
    memo_check(cache);
}

// 20.  quick_cache #104: one who waited a second time wasn't woken, for he was
// still registered as he was the first time.
TEST_P(Regression, WhoWaitsAgainIsWoken) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    memo_wait at_once = Until(1);
    Answers answers;
    for (int i = 0; i < 10; i++) {
        memo_ticket *ticket;
        EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
        EXPECT_EQ(answers.Ask(cache, "k", &ticket), 0);
        EXPECT_EQ(memo_ticket_cancel(ticket), 0);
        memo_ticket_free(ticket);
    }
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    Thread waiter([&] {
        EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
        EXPECT_EQ(cache.Get("k"), Joined("v"));
    });
    cache.AwaitJoins(23);
    waiter.AwaitAsleep();
    PendingCache::Finish(l, "v");
    waiter.Join();
    EXPECT_EQ(answers.errors, 10);
    EXPECT_EQ(answers.values, 1);
}

// 21.  quick_cache #120: a load that was given up leaked its placeholder.
TEST_P(Regression, LoadsThatComeToNothingLeaveNothing) {
    int way = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_NE(memo_load_reserve(l, 1000), nullptr);
        if (way == 1) {
            EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
        } else if (way == 2) {
            throw std::runtime_error("given up");
        }
        return 7;
    });
    EXPECT_EQ(cache.Get("warm").error, 7);
    cache.AwaitNoneRetired();
    int64_t blocks = cache.allocator.LiveBlocks();
    for (way = 0; way < 3; way++) {
        for (uint64_t i = 0; i < 50; i++) {
            Value v;
            try {
                std::string key = Key(i);
                memo_get(cache, key.data(), key.size(), v.out());
            } catch (const std::runtime_error &) {
                *v.out() = memo_value();
            }
        }
    }
    Await([&] { return cache.allocator.LiveBlocks() <= blocks; });
    EXPECT_EQ(cache.objects.Alive(), 0);
}

// 22.  quick_cache #106: a cache of one stored nothing.
TEST_P(Regression, ACacheOfOneHoldsOne) {
    Cache cache(GetParam(), LoadInBrackets,
                [](memo_options *o) { o->max_entries = 1; });
    for (uint64_t i = 0; i < 20; i++) {
        EXPECT_EQ(cache.Get(Key(i)).error, 0);
        EXPECT_EQ(cache.Peek(Key(i)), Hit("<" + Key(i) + ">"));
        EXPECT_EQ(cache.Stats().entries, 1u);
    }
}

// 23.  lru-cache #320, #274, vltpkg #1781: one load more than the cache holds
// entries, and a load was aborted to make room.
TEST_P(Regression, MoreLoadsThanTheCacheHoldsAllSucceed) {
    PendingCache cache(GetParam(), [](memo_options *o) { o->max_entries = 3; });
    Answers answers;
    std::vector<memo_load *> loads;
    for (uint64_t i = 0; i < 4; i++) {
        EXPECT_EQ(answers.Ask(cache, Key(i)), 0);
        loads.push_back(cache.last);
    }
    for (memo_load *l : loads) {
        EXPECT_FALSE(memo_load_is_canceled(l));
        PendingCache::Finish(l, "v");
    }
    EXPECT_EQ(answers.values, 4);
    EXPECT_EQ(cache.Stats().entries, 3u);
}

// 24.  lru-cache #270, #388: a key that was loading was evicted, and the cache
// corrupted.
TEST_P(Regression, EvictionDoesNotTouchWhatIsLoading) {
    PendingCache cache(GetParam(), [](memo_options *o) { o->max_entries = 3; });
    Answers answers;
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    memo_load *l = cache.last;
    for (uint64_t i = 0; i < 100; i++) {
        EXPECT_EQ(cache.Put(Key(i), "v"), 0);
    }
    EXPECT_GE(cache.Stats().evictions, 97u);
    EXPECT_EQ(answers.Ask(cache, "k"), 0);  // still there to be joined
    EXPECT_EQ(cache.loads, 1);
    PendingCache::Finish(l, "loaded");
    EXPECT_EQ(answers.values, 2);
    EXPECT_EQ(cache.Peek("k"), Hit("loaded"));
    memo_check(cache);
}

// 25.  h2o, lru-cache 7.12.1: an item larger than the cache evicted everything, and
// then itself.
TEST_P(Regression, AnOversizeResultEvictsNothing) {
    std::string large(2 << 20, 'x');
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            return KeyOf(l) == "large" ? Return(l, large) : LoadInBrackets(l);
        },
        [](memo_options *o) { o->max_bytes = 1 << 20; });
    for (uint64_t i = 0; i < 10; i++) {
        cache.Get(Key(i));
    }
    EXPECT_EQ(cache.Get("large"), Loaded(large));
    EXPECT_EQ(cache.Put("large", large), 0);
    EXPECT_EQ(cache.Peek("large"), Failed(MEMO_ENOENT));
    for (uint64_t i = 0; i < 10; i++) {
        EXPECT_EQ(cache.Peek(Key(i)).error, 0);
    }
    EXPECT_EQ(cache.Stats().evictions, 0u);
}

// 26.  unbound #232, #227: a counter of running queries went below zero, or didn't
// come down, and then all service was refused.
TEST_P(Regression, LimitsAreFreeAgainWhateverBecameOfTheLoads) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->max_loads = 2;
        o->max_waiters = 2;
        o->max_waiters_per_key = 2;
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    for (int round = 0; round < 3; round++) {
        for (int way = 0; way < 6; way++) {
            Answers answers;
            memo_ticket *ticket, *waits;
            EXPECT_EQ(answers.Ask(cache, "k", &ticket), 0);
            memo_load *l = cache.last;
            EXPECT_EQ(answers.Ask(cache, "k", &waits), 0);
            if (way == 1) {
                cache.Invalidate("k");
            } else if (way == 2) {
                memo_ticket_cancel(ticket);
            } else if (way == 3) {
                memo_ticket_cancel(ticket);
                memo_ticket_cancel(waits);
            } else if (way == 4) {
                memo_clear(cache);
            }
            if (way % 2 == 0) {
                PendingCache::Finish(l, "v");
            } else {
                EXPECT_EQ(memo_load_finish(l, way == 5 ? 0 : 7), 0);
            }
            memo_ticket_free(ticket);
            memo_ticket_free(waits);
            EXPECT_EQ(answers.values + answers.errors, 2);
            cache.Invalidate("k");
        }
        // Exactly as much as is allowed, not less and not more.
        Answers answers;
        EXPECT_EQ(answers.Ask(cache, "a"), 0);
        memo_load *a = cache.last;
        EXPECT_EQ(answers.Ask(cache, "b"), 0);
        memo_load *b = cache.last;
        EXPECT_EQ(answers.Ask(cache, "c"), MEMO_EBUSY);
        EXPECT_EQ(answers.Ask(cache, "a"), 0);
        EXPECT_EQ(answers.Ask(cache, "b"), 0);
        EXPECT_EQ(answers.Ask(cache, "a"), MEMO_EBUSY);
        PendingCache::Finish(a, "v");
        EXPECT_EQ(memo_load_finish(b, 7), 0);
        EXPECT_EQ(answers.values + answers.errors, 4);
        cache.Invalidate("a");
        EXPECT_EQ(cache.Stats().flights, 0u);
    }
}

// 27.  DNSBomb (CVE-2024-33655), Varnish #3461: any number of requests piled up on
// one slow key, to be answered in one pulse.
TEST_P(Regression, NotMoreWaitThanAreAllowedTo) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->max_waiters_per_key = 10;
    });
    Answers answers;
    int busy = 0;
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    memo_load *slow = cache.last;
    for (int i = 0; i < 1000; i++) {
        int error = answers.Ask(cache, "k");
        EXPECT_TRUE(error == 0 || error == MEMO_EBUSY);
        busy += error != 0;
    }
    EXPECT_EQ(busy, 990);
    EXPECT_EQ(answers.Ask(cache, "other"), 0);  // the others go on
    PendingCache::Finish(cache.last, "v");
    EXPECT_EQ(answers.values, 1);
    PendingCache::Finish(slow, "v");
    EXPECT_EQ(answers.values, 12);
    cache.Invalidate("k");
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    for (int i = 0; i < 11; i++) {
        EXPECT_EQ(answers.Ask(cache, "k"), i < 10 ? 0 : int(MEMO_EBUSY));
    }
    PendingCache::Finish(cache.last, "v");
    EXPECT_EQ(answers.values, 23);
}

// F4: nor when the one who started the load has gone.
TEST_P(Regression, NotMoreWaitThanAreAllowedToThoughTheFirstHasLeft) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->max_waiters_per_key = 2;
    });
    Answers answers;
    memo_ticket *first, *waits;
    EXPECT_EQ(answers.Ask(cache, "k", &first), 0);
    EXPECT_EQ(answers.Ask(cache, "k", &waits), 0);
    EXPECT_EQ(memo_ticket_cancel(first), 0);
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    EXPECT_EQ(answers.Ask(cache, "k"), MEMO_EBUSY);
    EXPECT_EQ(memo_ticket_cancel(waits), 0);
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    EXPECT_EQ(answers.Ask(cache, "k"), MEMO_EBUSY);
    PendingCache::Finish(cache.last, "v");
    EXPECT_EQ(answers.values, 2);
    memo_ticket_free(first);
    memo_ticket_free(waits);
}

// 28.  FusionCache #647: a factory that failed before it started kept its lock.
TEST_P(Regression, ALoadThatCouldNotBeStartedFreesItsKey) {
    static std::atomic<bool> refuses;
    refuses = true;
    memo_executor executor = {[](void *, void (*run)(void *), void *task) {
                                  if (refuses) {
                                      return -1;
                                  }
                                  std::thread(run, task).detach();
                                  return 0;
                              },
                              nullptr};
    Cache cache(GetParam(), LoadInBrackets,
                [&](memo_options *o) { o->executor = &executor; });
    Answers answers;
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(answers.Ask(cache, "k"), 0);
        EXPECT_EQ(answers.last_error, int(MEMO_EABANDONED));
        memo_wait later = Until(MEMO_NEVER - 1);
        EXPECT_EQ(cache.Get("k", &later), Failed(MEMO_EABANDONED));
    }
    EXPECT_EQ(cache.Stats().flights, 0u);
    refuses = false;
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    Await([&] { return answers.values == 1; });
    EXPECT_EQ(cache.Peek("k"), Hit("<k>"));
}

// 30.  pingora: the key was its 64-bit hash, so that a collision gave another key's
// value.
TEST_P(Regression, EqualHashesAreNotEqualKeys) {
    WeakSeed seed = ZeroSeed();
    Cache cache(GetParam(), LoadInBrackets, seed);
    for (uint64_t i = 0; i < 50; i++) {
        EXPECT_EQ(cache.Get(seed.Key(i)), Loaded("<" + seed.Key(i) + ">"));
    }
    for (uint64_t i = 0; i < 50; i++) {
        EXPECT_EQ(cache.Get(seed.Key(i)), Hit("<" + seed.Key(i) + ">"));
    }
    cache.Invalidate(seed.Key(7));
    EXPECT_EQ(cache.Peek(seed.Key(7)), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek(seed.Key(8)).error, 0);
}

// 31.  pingora: a first caller who went away left the key locked for ever.
TEST_P(Regression, AFirstCallerWhoLeavesLeavesNoKeyLocked) {
    PendingCache cache(GetParam());
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    ASSERT_NE(note, nullptr);
    sync_note_notify(note);
    memo_wait canceled = With(note);
    EXPECT_EQ(cache.Get("k", &canceled), Failed(MEMO_ECANCELED));
    sync_note_free(note);
    memo_load *l = cache.last;
    Answers answers;
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    EXPECT_EQ(cache.loads, 1);
    PendingCache::Finish(l, "v");
    EXPECT_EQ(answers.values, 1);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
}

// 34.  hot: the shards of a sharded cache had no locks.  For ThreadSanitizer, in
// each configuration, here with many shards and with one.
TEST_P(Regression, EveryShardIsGuarded) {
    for (uint32_t shards : {1u, 16u}) {
        Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
            o->shards = shards;
            o->max_entries = 16 * 1024;
        });
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; t++) {
            threads.emplace_back([&, t] {
                for (uint64_t i = 0; i < 300; i++) {
                    std::string key = Key((i + uint64_t(t)) % 50);
                    EXPECT_EQ(cache.Get(key).error, 0);
                    cache.Peek(key);
                    i % 3 == 0 ? cache.Put(key, "put") : cache.Invalidate(key);
                    if (i % 100 == 0) {
                        memo_clear(cache);
                        memo_maintain(cache, 0);
                        cache.Stats();
                    }
                }
            });
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
        memo_check(cache);
    }
}

// 35.  GOPL memo5: Close while a Get was waiting panicked.
TEST_P(Regression, ClosingWhileSomebodyWaitsEndsHisWait) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    Answers answers;
    EXPECT_EQ(answers.Ask(cache, "k"), 0);
    Thread waiter([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });
    cache.AwaitJoins(2);
    waiter.AwaitAsleep();
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    waiter.Join();
    EXPECT_EQ(answers.last_error, int(MEMO_ECLOSED));
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED));
    PendingCache::Finish(l, "late");
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// 36.  groupcache: a value stored twice was counted twice, and the cache shrank.
TEST_P(Regression, AValueStoredTwiceIsCountedOnce) {
    PendingCache cache(GetParam());
    cache.Put("k", "value");
    uint64_t bytes = cache.Stats().bytes;
    for (int i = 0; i < 10; i++) {
        cache.Put("k", "value");
    }
    EXPECT_EQ(cache.Stats().bytes, bytes);
    EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
    PendingCache::Finish(cache.last, "value");
    EXPECT_EQ(cache.Stats().bytes, bytes);
    EXPECT_EQ(cache.Stats().entries, 1u);
    cache.Invalidate("k");
    EXPECT_EQ(cache.Stats().bytes, 0u);
}

#if !defined(__SANITIZE_THREAD__)  // its own locks don't survive a fork
// 40.  A process that forked during loads had their keys locked in the child for
// ever: no cache had an answer to that.
TEST_P(Regression, AForkDuringALoadLeavesNoKeyLockedAndNobodyWaiting) {
    PendingCache cache(GetParam());
    EXPECT_EQ(cache.Put("resident", "v"), 0);
    memo_load *l = cache.Start("k");
    Answers before;
    EXPECT_EQ(before.Ask(cache, "k"), 0);
    fflush(nullptr);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        Answers after;
        EXPECT_EQ(cache.Peek("resident"), Hit("v"));
        EXPECT_EQ(after.Ask(cache, "k"), 0);
        EXPECT_EQ(before.last_error, int(MEMO_EFORKED));
        EXPECT_EQ(cache.loads, 2);
        PendingCache::Finish(cache.last, "child's");
        EXPECT_EQ(after.values, 1);
        EXPECT_EQ(cache.Peek("k"), Hit("child's"));
        _exit(HasFailure() ? 1 : 0);
    }
    int status = -1;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    EXPECT_EQ(cache.loads, 1);
    PendingCache::Finish(l, "parent's");
    EXPECT_EQ(before.values, 1);
    EXPECT_EQ(cache.Peek("k"), Hit("parent's"));
}
#endif

// 41.  Each his own deadline, signals, and wake-ups that mean nothing.
TEST_P(Regression, DeadlinesOfOneFlightAreEachTheirOwn) {
    FakeClock clock;
    memo_clock hook = clock.Hook();
    PendingCache cache(GetParam(), [&](memo_options *o) { o->clock = &hook; });
    memo_load *l = cache.Start("k");
    std::atomic<int> timed_out{0}, answered{0};
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < 6; i++) {
        threads.emplace_back(new Thread([&, i] {
            memo_wait wait =
                i == 5 ? Until(MEMO_NEVER) : Until(2000 + 1000 * i);
            Seen seen = cache.Get("k", &wait);
            EXPECT_TRUE(seen == Failed(MEMO_ETIMEDOUT) || seen == Joined("v"));
            (seen.error != 0 ? timed_out : answered)++;
        }));
    }
    cache.AwaitJoins(6);
    threads[5]->AwaitAsleep();
    threads[5]->Interrupt(20);
    EXPECT_EQ(timed_out, 0);
    clock.Advance(2000);  // past the first two
    Await([&] { return timed_out == 2; });
    threads[5]->Interrupt(20);
    PendingCache::Finish(l, "v");
    threads.clear();
    EXPECT_EQ(timed_out, 2);
    EXPECT_EQ(answered, 4);
}

// 42.  foyer 0.20.0, moka #34: values destroyed twice, too early or never.
TEST_P(Regression, EachValueIsDestroyedOnceWhateverHappensToIt) {
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            std::string key = KeyOf(l);
            int error = cache.objects.Adopt(l, key);
            return key.back() == '3' ? 7 : error;
        },
        [](memo_options *o) {
            o->max_entries = 20;
            o->flags = MEMO_CANCEL_UNWANTED;
            o->threads = 2;
        });
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++) {
        threads.emplace_back([&, t] {
            std::vector<Value> held(5);
            memo_wait at_once = Until(1);
            for (uint64_t i = 0; i < 500; i++) {
                std::string key = Key((i * 5 + uint64_t(t)) % 60);
                Value v;
                memo_get_wait(cache, key.data(), key.size(),
                              i % 4 == 0 ? &at_once : nullptr, v.out());
                if (v->pin != nullptr) {
                    EXPECT_EQ(v.Bytes(), key);
                    held[i % 5] = std::move(v);
                }
                if (i % 7 == 0) {
                    cache.Invalidate(key);
                } else if (i % 97 == 0) {
                    memo_clear(cache);
                }
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    cache.Free();
    EXPECT_EQ(cache.objects.Destroyed(), cache.objects.Adopted());
}

}  // namespace
