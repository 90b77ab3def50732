// Who listens is told of each value that leaves, once, in order, with nothing
// locked (L4).
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "memo/memo.h"
#include "sync/clock.h"
#include "test/support/cache.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Listener);

struct Told {
    memo_cause cause;
    std::string key, bytes;

    bool operator==(const Told &other) const {
        return cause == other.cause && key == other.key && bytes == other.bytes;
    }
    bool operator<(const Told &other) const {
        return std::tie(cause, key, bytes) <
               std::tie(other.cause, other.key, other.bytes);
    }
};

std::ostream &operator<<(std::ostream &out, const Told &told) {
    return out << told.cause << " " << told.key << " " << told.bytes;
}

// Who listens to a cache, and writes down what he hears.
class Ear {
   public:
    // Called outside the ear's own lock.
    std::function<void(const Told &, const memo_value *)> then;

    std::function<void(memo_options *)> Listening(
        std::function<void(memo_options *)> tweak = nullptr) {
        return [this, tweak](memo_options *o) {
            hook_ = {[](void *self, memo_cause cause, const void *key,
                        size_t key_size, const memo_value *value) {
                         static_cast<Ear *>(self)->Hear(
                             {cause,
                              std::string(static_cast<const char *>(key),
                                          key_size),
                              std::string(
                                  static_cast<const char *>(value->data),
                                  value->size)},
                             value);
                     },
                     this};
            o->listener = &hook_;
            if (tweak) {
                tweak(o);
            }
        };
    }

    std::vector<Told> All() {
        std::lock_guard<std::mutex> lock(mu_);
        return all_;
    }

    size_t Count() {
        std::lock_guard<std::mutex> lock(mu_);
        return all_.size();
    }

    // Wait until so many things have been told: a monitor may take its time.
    std::vector<Told> Await(size_t n) {
        ::Await([&] { return Count() >= n; });
        return All();
    }

   private:
    void Hear(const Told &told, const memo_value *value) {
        {
            std::lock_guard<std::mutex> lock(mu_);
            all_.push_back(told);
        }
        if (then) {
            then(told, value);
        }
    }

    memo_listener hook_ = {};
    std::mutex mu_;
    std::vector<Told> all_;
};

TEST_P(Listener, IsToldEachCause) {
    Ear ear;
    {
        Cache cache(GetParam(), LoadInBrackets, ear.Listening());
        cache.Get("a");
        cache.Put("a", "new");
        EXPECT_EQ(ear.Await(1).back(), (Told{MEMO_REPLACED, "a", "<a>"}));
        cache.Invalidate("a");
        EXPECT_EQ(ear.Await(2).back(), (Told{MEMO_INVALIDATED, "a", "new"}));
        cache.Invalidate("a");
        cache.Get("b");
        memo_clear(cache);
        EXPECT_EQ(ear.Await(3).back(), (Told{MEMO_CLEARED, "b", "<b>"}));
        cache.Get("c");
        EXPECT_EQ(ear.Count(), 3u);
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        EXPECT_EQ(ear.Count(), 4u);
        EXPECT_EQ(ear.All().back(), (Told{MEMO_CLOSED, "c", "<c>"}));
    }
    EXPECT_EQ(ear.Count(), 4u);
}

TEST_P(Listener, IsToldOfEviction) {
    Ear ear;
    Cache cache(GetParam(), LoadInBrackets,
                ear.Listening([](memo_options *o) { o->max_entries = 10; }));
    for (int i = 0; i < 100; i++) {
        cache.Get(Key(i));
    }
    // Seldom a few more go than must: a key may be mistaken for one that comes back.
    size_t evictions = cache.Stats().evictions;
    EXPECT_GE(evictions, 90u);
    std::vector<Told> all = ear.Await(evictions);
    EXPECT_EQ(all.size(), evictions);
    EXPECT_EQ(cache.Stats().entries, 100 - evictions);
    std::set<std::string> keys;
    for (const Told &told : all) {
        EXPECT_EQ(told.cause, MEMO_EVICTED);
        EXPECT_EQ(told.bytes, "<" + told.key + ">");
        keys.insert(told.key);
        EXPECT_EQ(cache.Peek(told.key), Failed(MEMO_ENOENT));
    }
    EXPECT_EQ(keys.size(), evictions);
}

// By a tag, or by a key that it was made from, whoever finds out.
TEST_P(Listener, IsToldOfWhatHungOnSomething) {
    Ear ear;
    Cache cache(
        GetParam(),
        [](memo_load *l) {
            EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
            if (KeyOf(l) == "made") {
                EXPECT_EQ(memo_load_depend_key(l, "from", 4), 0);
            }
            return LoadInBrackets(l);
        },
        ear.Listening());
    cache.Get("a");
    cache.Get("made");
    EXPECT_EQ(cache.Invalidate("from"), 0);
    EXPECT_EQ(cache.Get("made"), Loaded("<made>"));
    EXPECT_EQ(ear.Await(1)[0], (Told{MEMO_INVALIDATED, "made", "<made>"}));
    EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
    EXPECT_EQ(cache.Put("a", "new"), 0);  // not replaced: it was gone
    EXPECT_EQ(ear.Await(2)[1], (Told{MEMO_INVALIDATED, "a", "<a>"}));
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(ear.Count(), 4u);
    EXPECT_EQ(cache.Stats().invalidated, 3u);  // "made" twice
}

TEST_P(Listener, IsToldOfExpiryByReadersAndByUpkeep) {
    Ear ear;
    TimedCache cache(GetParam(), ear.Listening([](memo_options *o) {
        o->ttl_ns = kSecond;
    }));
    cache.Get("a");
    cache.Get("b");
    cache.clock.Advance(kSecond);
    cache.Get("a");
    EXPECT_EQ(ear.Await(1)[0], (Told{MEMO_EXPIRED, "a", "a1"}));
    cache.Maintain();
    EXPECT_EQ(ear.Await(2)[1], (Told{MEMO_EXPIRED, "b", "b2"}));
    cache.clock.Advance(kSecond);
    cache.Maintain();
    EXPECT_EQ(ear.Await(3)[2], (Told{MEMO_EXPIRED, "a", "a3"}));
}

// Errors that are kept are no values; but they may take the place of one.
TEST_P(Listener, HearsNothingOfErrors) {
    Ear ear;
    bool fails = false;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) { return fails ? 7 : LoadInBrackets(l); },
        ear.Listening([](memo_options *o) {
            o->ttl_ns = kSecond;
            o->backoff_ns = kSecond;
            o->stale_if_error_ns = kSecond;
            o->negative_ttl_ns = kSecond;
        }));
    cache.Get("k");
    fails = true;
    cache.clock.Advance(kSecond * 3 / 2);
    EXPECT_EQ(cache.Get("k"), (Seen{0, MEMO_STALE, "<k>"}));
    EXPECT_EQ(ear.Count(), 0u);
    cache.clock.Advance(2 * kSecond);
    EXPECT_EQ(cache.Get("k").error, 7);
    EXPECT_EQ(ear.Await(1)[0], (Told{MEMO_EXPIRED, "k", "<k>"}));
    cache.clock.Advance(1000 * kSecond);
    cache.Maintain();
    memo_clear(cache);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(ear.Count(), 1u);
}

// The error that takes the place of a value whose time is over doesn't replace it.
TEST_P(Listener, IsToldOfExpiryThoughAnErrorFollows) {
    Ear ear;
    memo_load *later = nullptr;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            later = l;
            return int(MEMO_PENDING);
        },
        ear.Listening([](memo_options *o) {
            o->ttl_ns = kSecond;
            o->stale_if_error_ns = kSecond;
            o->backoff_ns = kSecond;
        }));
    // The others expire first, and are more than one write drops.
    for (uint64_t i = 0; i < 50; i++) {
        cache.Put(Key(i), "other");
    }
    cache.clock.Advance(kSecond / 4);
    cache.Put("k", "v");
    cache.clock.Advance(kSecond * 3 / 2);
    memo_wait at_once = Until(1);
    EXPECT_EQ(cache.Get("k", &at_once).error, MEMO_ETIMEDOUT);
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(memo_load_finish(later, 7), 0);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    for (const Told &told : ear.All()) {
        if (told.key == "k") {
            EXPECT_EQ(told, (Told{MEMO_EXPIRED, "k", "v"}));
        }
    }
    EXPECT_EQ(ear.Count(), 51u);
}

TEST_P(Listener, IsToldOfWhatIsNotStored) {
    Ear ear;
    PendingCache cache(GetParam(), ear.Listening([](memo_options *o) {
        o->max_bytes = 1 << 20;
        o->pass_ttl_ns = kSecond;
    }));
    memo_load *l = cache.Start("detached");
    cache.Invalidate("detached");
    PendingCache::Finish(l, "v");
    EXPECT_EQ(ear.Await(1)[0], (Told{MEMO_REJECTED, "detached", "v"}));
    l = cache.Start("passed");
    EXPECT_EQ(memo_load_pass(l), 0);
    PendingCache::Finish(l, "v");
    EXPECT_EQ(ear.Await(2)[1], (Told{MEMO_REJECTED, "passed", "v"}));
    l = cache.Start("alone");
    cache.Start("passed");
    PendingCache::Finish(cache.last, "w");
    EXPECT_EQ(ear.Await(3)[2], (Told{MEMO_REJECTED, "passed", "w"}));
    PendingCache::Finish(l, "v");
    l = cache.Start("shortlived");
    EXPECT_EQ(memo_load_set_ttl(l, 0), 0);
    PendingCache::Finish(l, "v");
    EXPECT_EQ(ear.Await(4)[3], (Told{MEMO_REJECTED, "shortlived", "v"}));
    cache.Put("alone", std::string(2 << 20, 'x'));
    EXPECT_EQ(ear.Await(6)[4], (Told{MEMO_REPLACED, "alone", "v"}));
    EXPECT_EQ(ear.All()[5].cause, MEMO_REJECTED);
    // A failure has no result.
    l = cache.Start("failed");
    EXPECT_EQ(Return(l, "v"), 0);
    EXPECT_EQ(memo_load_finish(l, 7), 0);
    // What comes too late isn't told.
    l = cache.Start("late");
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    PendingCache::Finish(l, "v");
    EXPECT_EQ(ear.Count(), 6u);
}

TEST_P(Listener, TellsWhatWasClearedFromWhatWasClosed) {
    Ear ear;
    Cache cache(GetParam(), LoadInBrackets, ear.Listening());
    // More than one step of upkeep sweeps.
    const int n = 20000;
    for (int i = 0; i < n; i++) {
        cache.Put(Key(i), "old");
    }
    memo_clear(cache);
    for (int i = 0; i < 10; i++) {
        cache.Put(Key(i), "new");
    }
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    std::vector<Told> all = ear.All();
    EXPECT_EQ(all.size(), size_t(n) + 10);
    for (const Told &told : all) {
        EXPECT_EQ(told.bytes, told.cause == MEMO_CLEARED ? "old" : "new");
        EXPECT_TRUE(told.cause == MEMO_CLEARED || told.cause == MEMO_CLOSED);
    }
}

TEST_P(Listener, IsToldThoughTheValueIsHeldAndMayHoldItToo) {
    Ear ear;
    Value kept;
    Cache cache(
        GetParam(),
        [&](memo_load *l) { return cache.objects.Adopt(l, "object"); },
        ear.Listening());
    std::atomic<bool> done{false};
    ear.then = [&](const Told &, const memo_value *value) {
        EXPECT_EQ(memo_retain(value, kept.out()), 0);
        done = true;
    };
    Value held = cache.Hold("k");
    cache.Invalidate("k");
    Await([&] { return done.load(); });
    EXPECT_EQ(kept.Bytes(), "object");
    held.Release();
    EXPECT_EQ(cache.objects.Destroyed(), 0);
    EXPECT_EQ(cache.Stats().retired, 1u);
    kept.Release();
    cache.AwaitNoneRetired();
    EXPECT_EQ(cache.objects.Destroyed(), 1);
}

// L4: anything; it doesn't nest, and what it causes is told too.
TEST_P(Listener, MayCallEverything) {
    Ear ear;
    Cache cache(GetParam(), LoadInBrackets, ear.Listening());
    static thread_local int depth;
    ear.then = [&](const Told &told, const memo_value *) {
        EXPECT_EQ(depth++, 0);
        if (told.cause != MEMO_CLOSED && told.key.size() < 20) {
            std::string more = told.key + "x";
            EXPECT_EQ(cache.Get(told.key).error, 0);
            EXPECT_EQ(cache.Put(more, "v"), 0);
            EXPECT_EQ(cache.Peek(more), Hit("v"));
            EXPECT_EQ(cache.Invalidate(more), 0);
            memo_maintain(cache, 0);
            memo_check(cache);
            cache.Stats();
        }
        depth--;
    };
    cache.Get("k");
    cache.Invalidate("k");
    EXPECT_EQ(ear.Await(20).back().key, "k" + std::string(19, 'x'));
    EXPECT_EQ(ear.Count(), 20u);
}

// L4: whichever call it is that tells it, that has run what it has to load by then.
TEST_P(Listener, MayGetWhatIsAboutToBeLoaded) {
    for (const char *key : {"k", "other"}) {
        Ear ear;
        TimedCache cache(
            GetParam(),
            [](TimedCache &self, memo_load *l) {
                EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
                return Return(l, KeyOf(l) + std::to_string(self.loads));
            },
            ear.Listening([](memo_options *o) {
                o->ttl_ns = kSecond;
                o->keep_old_ns = kSecond;
                LetDestructorsWait(o);
            }));
        memo_bytes keys[] = {{"other", 5}, {"k", 1}};
        std::thread::id caller = std::this_thread::get_id();
        memo_wait at_once = Until(1);
        memo_value out[2];
        int errors[2];

        ear.then = [&](const Told &told, const memo_value *) {
            if (told.cause == MEMO_INVALIDATED) {
                bool here = std::this_thread::get_id() == caller;
                EXPECT_EQ(cache.Get(key, here ? &at_once : nullptr).error, 0);
            }
        };
        EXPECT_EQ(cache.Get("k"), Loaded("k1"));
        cache.clock.Advance(kSecond);
        // Between two looks it goes; the second starts the load and drops it.
        cache.allocator.DoAt(1 + (key[0] == 'o'), [&] {
            EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
        });
        if (key[0] == 'k') {
            EXPECT_EQ(cache.Get("k"), Loaded("k2"));
        } else {
            EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 0);
            memo_release(&out[0]);
            memo_release(&out[1]);
        }
        ear.Await(1);
    }
}

TEST_P(Listener, MayCloseTheCache) {
    Ear ear;
    Cache cache(GetParam(), LoadInBrackets, ear.Listening());
    ear.then = [&](const Told &, const memo_value *) {
        memo_close(cache, MEMO_NEVER);
    };
    for (int i = 0; i < 100; i++) {
        cache.Get(Key(i));
    }
    cache.Invalidate(Key(0));
    EXPECT_EQ(ear.Await(100).size(), 100u);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// Nobody waits for a listener, but memo_close().
TEST_P(Listener, NothingIsLockedWhileItRuns) {
    Ear ear;
    Gate gate;
    std::atomic<int> inside{0};
    Cache cache(GetParam(), LoadInBrackets, ear.Listening(LetDestructorsWait));
    ear.then = [&](const Told &, const memo_value *) {
        inside++;
        gate.Wait();
    };
    cache.Get("k");
    std::thread remover([&] { cache.Invalidate("k"); });
    Await([&] { return inside == 1; });
    // The same key, and others of all shards.
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(cache.Get(Key(i)), Loaded("<" + Key(i) + ">"));
    }
    std::atomic<bool> closed{false};
    std::thread closer([&] {
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        closed = true;
    });
    Await([&] { return cache.Peek("k") == Failed(MEMO_ECLOSED); });
    EXPECT_FALSE(closed);
    gate.Open();
    remover.join();
    closer.join();
    EXPECT_EQ(ear.Count(), 102u);
}

// Also of what is told by another thread, and has been put back in between.
TEST_P(Listener, ClosingWaitsUntilAllIsTold) {
    for (int round = 0; round < 100; round++) {
        Ear ear;
        Cache cache(GetParam(), LoadInBrackets,
                    ear.Listening(LetDestructorsWait));
        ear.then = [&](const Told &, const memo_value *) {
            for (int i = 0; i < round % 10; i++) {
                std::this_thread::yield();
            }
        };
        for (int i = 0; i < 10; i++) {
            cache.Put(Key(i), "v");
        }
        std::thread other([&] {
            for (int i = 0; i < 5; i++) {
                cache.Invalidate(Key(i));
            }
        });
        cache.Invalidate(Key(9));
        other.join();
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        EXPECT_EQ(ear.Count(), 10u);
    }
}

TEST_P(Listener, ClosingGivesUpAtItsDeadline) {
    Ear ear;
    Gate gate;
    FakeClock clock;
    memo_clock hook = clock.Hook();
    Cache cache(GetParam(), LoadInBrackets,
                ear.Listening([&](memo_options *o) {
                    o->clock = &hook;
                    LetDestructorsWait(o);
                }));
    ear.then = [&](const Told &, const memo_value *) { gate.Wait(); };
    cache.Get("k");
    std::thread remover([&] { cache.Invalidate("k"); });
    Await([&] { return gate.Waiting() == 1; });
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    gate.Open();
    remover.join();
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(ear.Count(), 1u);
}

// Each once, those of a key in order, and none forgotten, whoever removes it.
TEST_P(Listener, HearsEachValueOnceAndInOrder) {
    const int n_threads = 4, n_rounds = 3000, n_keys = 20;
    Ear ear;
    std::atomic<int> next{0};
    std::map<std::string, std::vector<int>> heard;
    {
        Cache cache(GetParam(),
                    [&](memo_load *l) {
                        return Return(l, std::to_string(next++));
                    },
                    ear.Listening([](memo_options *o) { o->max_entries = 10; }));
        std::vector<std::thread> threads;
        for (int t = 0; t < n_threads; t++) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < n_rounds; i++) {
                    std::string key = Key(uint64_t(i * 7 + t) % n_keys);
                    switch ((i + t) % 5) {
                        case 0:
                            cache.Invalidate(key);
                            break;
                        case 1:
                            if (i % 100 == 1) {
                                memo_clear(cache);
                            }
                            break;
                        default:
                            cache.Get(key);
                    }
                }
            });
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
    }
    std::set<int> values;
    for (const Told &told : ear.All()) {
        int value = std::stoi(told.bytes);
        EXPECT_TRUE(values.insert(value).second) << "twice: " << value;
        // Rejected results never were in the line of those that were resident.
        if (told.cause != MEMO_REJECTED) {
            heard[told.key].push_back(value);
        }
    }
    EXPECT_EQ(values.size(), size_t(next));
    for (auto &of : heard) {
        EXPECT_TRUE(std::is_sorted(of.second.begin(), of.second.end()))
            << of.first;
    }
}

TEST_P(Listener, WithoutRemovedIsRefused) {
    memo_options options = OptionsOf(GetParam());
    memo_listener none = {};
    memo *m;
    options.load = [](void *, memo_load *l) {
        return memo_load_return(l, "v", 1);
    };
    options.listener = &none;
    EXPECT_EQ(memo_new(&options, &m), MEMO_EINVAL);
}

// L2, L4: what a listener does to another cache is told when it has returned, whoever
// it was called by.
TEST_P(Listener, MayChangeAnotherCacheThatIsListenedTo) {
    for (const Config &config : Configs()) {
        Ear ear, other_ear;
        Cache other(config, LoadInBrackets, other_ear.Listening());
        Cache cache(GetParam(), LoadInBrackets, ear.Listening());

        ear.then = [&](const Told &, const memo_value *) {
            EXPECT_EQ(other.Put("k", "v"), 0);
            EXPECT_EQ(other.Put("k", "w"), 0);
        };
        EXPECT_EQ(cache.Put("k", "v"), 0);
        EXPECT_EQ(cache.Invalidate("k"), 0);
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        EXPECT_EQ(memo_close(other, sync_clock_now_ns() + 5 * INT64_C(1000000000)),
                  0);
    }
}

}  // namespace
