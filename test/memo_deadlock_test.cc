// Loads that wait for loads: a wait that would never end is refused, and no
// other is (W4).
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <queue>
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

namespace {

MEMO_SUITE(Deadlock);

TEST_P(Deadlock, ALoadThatGetsItsOwnKeyIsTold) {
    Seen inner = {};
    Cache cache(GetParam(), [&](memo_load *l) {
        inner = cache.Get(KeyOf(l));
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(inner, Failed(MEMO_EDEADLK));
    EXPECT_EQ(cache.Get("k"), Hit("<k>"));
}

// A cycle of n loads, all on one thread.
void ExpectCycleFound(const Config &config, int n) {
    int told = 0;
    Cache cache(config, [&](memo_load *l) {
        int i = std::stoi(KeyOf(l));
        Seen seen = cache.Get(std::to_string((i + 1) % n));
        told += seen == Failed(MEMO_EDEADLK);
        EXPECT_EQ(seen.error, i == n - 1 ? MEMO_EDEADLK : 0) << i;
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Get("0"), Loaded("<0>"));
    EXPECT_EQ(told, 1);
    EXPECT_EQ(cache.Stats().loads, uint64_t(n));
}

TEST_P(Deadlock, ACycleOnOneThreadIsFound) {
    for (int n : {1, 2, 3, 10, 100}) {
        ExpectCycleFound(GetParam(), n);
    }
}

// n loads, each on a thread of its own; when all run, each gets the next.
void ExpectCycleAcrossThreadsFound(const Config &config, int n) {
    std::atomic<int> running{0}, told{0}, answered{0};
    Cache cache(config, [&](memo_load *l) {
        int i = std::stoi(KeyOf(l));
        running++;
        Await([&] { return running == n; });
        Seen seen = cache.Get(std::to_string((i + 1) % n));
        told += seen == Failed(MEMO_EDEADLK);
        answered += seen.error == 0;
        return LoadInBrackets(l);
    });
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < n; i++) {
            threads.emplace_back(new Thread([&, i] {
                std::string key = std::to_string(i);
                EXPECT_EQ(cache.Get(key), Loaded("<" + key + ">"));
            }));
        }
    }
    EXPECT_EQ(told, 1);
    EXPECT_EQ(answered, n - 1);
    EXPECT_EQ(cache.Stats().loads, uint64_t(n));
}

TEST_P(Deadlock, ACycleAcrossThreadsIsFound) {
    for (int n : {2, 3, 8}) {
        for (int round = 0; round < 20; round++) {
            ExpectCycleAcrossThreadsFound(GetParam(), n);
        }
    }
}

TEST_P(Deadlock, ACycleAcrossCachesIsFound) {
    Cache *other = nullptr;
    Seen seen = {};
    Cache a(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(other->Get(KeyOf(l)).error, 0);
        return LoadInBrackets(l);
    });
    Cache b(GetParam(), [&](memo_load *l) {
        seen = a.Get(KeyOf(l));
        return LoadInBrackets(l);
    });

    other = &b;
    EXPECT_EQ(a.Get("k"), Loaded("<k>"));
    EXPECT_EQ(seen, Failed(MEMO_EDEADLK));
}

TEST_P(Deadlock, ACycleAcrossCachesAndThreadsIsFound) {
    std::atomic<int> running{0}, told{0};
    Cache *other = nullptr;
    auto meet = [&] {
        running++;
        Await([&] { return running == 2; });
    };
    Cache a(GetParam(), [&](memo_load *l) {
        meet();
        told += other->Get("b") == Failed(MEMO_EDEADLK);
        return LoadInBrackets(l);
    });
    Cache b(GetParam(), [&](memo_load *l) {
        meet();
        told += a.Get("a") == Failed(MEMO_EDEADLK);
        return LoadInBrackets(l);
    });

    other = &b;
    Thread t([&] { EXPECT_EQ(a.Get("a"), Loaded("<a>")); });
    EXPECT_EQ(b.Get("b"), Loaded("<b>"));
    t.Join();
    EXPECT_EQ(told, 1);
}

// The outermost load is as much a part of the cycle as the innermost.
TEST_P(Deadlock, ACycleThroughNestedLoadsIsFound) {
    std::atomic<int> running{0}, told{0};
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "outer1" || key == "outer2") {
            cache.Get(key == "outer1" ? "inner1" : "inner2");
        } else {
            running++;
            Await([&] { return running == 2; });
            Seen seen = cache.Get(key == "inner1" ? "outer2" : "outer1");
            told += seen == Failed(MEMO_EDEADLK);
        }
        return LoadInBrackets(l);
    });
    Thread t([&] { EXPECT_EQ(cache.Get("outer1"), Loaded("<outer1>")); });

    EXPECT_EQ(cache.Get("outer2"), Loaded("<outer2>"));
    t.Join();
    EXPECT_EQ(told, 1);
}

// ------------------------------------------------------------ no other call

// top needs left and right, which both need bottom; all at the same time.
TEST_P(Deadlock, ADiamondIsNoCycle) {
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "bottom") {
            gate.Wait();
        } else if (key == "top") {
            Thread left([&] { EXPECT_EQ(cache.Get("left").error, 0); });
            EXPECT_EQ(cache.Get("right").error, 0);
        } else {
            EXPECT_EQ(cache.Get("bottom").error, 0);
        }
        return LoadInBrackets(l);
    });
    Thread top([&] { EXPECT_EQ(cache.Get("top"), Loaded("<top>")); });

    cache.AwaitJoins(1);  // left or right waits for the other's bottom
    gate.Open();
}

TEST_P(Deadlock, OneThreadMayGetADiamond) {
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "top") {
            EXPECT_EQ(cache.Get("left").error, 0);
            EXPECT_EQ(cache.Get("right").error, 0);
        } else if (key != "bottom") {
            EXPECT_EQ(cache.Get("bottom").error, 0);
        }
        return LoadInBrackets(l);
    });
    EXPECT_EQ(cache.Get("top"), Loaded("<top>"));
    EXPECT_EQ(cache.Stats().loads, 4u);
}

// Many loads wait for the same one, and that one for another.
TEST_P(Deadlock, ATreeOfWaitsIsNoCycle) {
    const int kThreads = 6;
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "root") {
            gate.Wait();
        } else {
            EXPECT_EQ(cache.Get(key == "trunk" ? "root" : "trunk").error, 0);
        }
        return LoadInBrackets(l);
    });
    std::vector<std::unique_ptr<Thread>> threads;

    for (int i = 0; i < kThreads; i++) {
        threads.emplace_back(
            new Thread([&, i] { EXPECT_EQ(cache.Get(Key(i)).error, 0); }));
    }
    cache.AwaitJoins(kThreads - 1);
    gate.Open();
}

TEST_P(Deadlock, ACallOutsideLoadsMayWaitForAnything) {
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        gate.Wait();
        return LoadInBrackets(l);
    });
    Thread a([&] { EXPECT_EQ(cache.Get("k").error, 0); });
    Thread b([&] { EXPECT_EQ(cache.Get("k").error, 0); });
    Thread c([&] { EXPECT_EQ(cache.Get("k").error, 0); });

    cache.AwaitJoins(2);
    gate.Open();
}

TEST_P(Deadlock, AsDeepAsItGoesIsNoCycle) {
    const int kDepth = MEMO_TEST_SANITIZED ? 2000 : 10000;
    Cache cache(GetParam(), [&](memo_load *l) {
        int i = std::stoi(KeyOf(l));
        if (i + 1 < kDepth) {
            EXPECT_EQ(cache.Get(std::to_string(i + 1)).error, 0);
        }
        return LoadInBrackets(l);
    });
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, size_t(kDepth) * 16384);
    auto run = [](void *arg) -> void * {
        EXPECT_EQ(static_cast<Cache *>(arg)->Get("0"), Loaded("<0>"));
        return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, &attr, run, &cache), 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attr);
    EXPECT_EQ(cache.Stats().loads, uint64_t(kDepth));
}

// A wait that was given up leaves no edge behind.
TEST_P(Deadlock, AWaitThatHasEndedIsForgotten) {
    PendingCache pending(GetParam());
    memo_load *p = pending.Start("p");
    Gate waited, go_on;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "a") {
            memo_wait no_time = Until(1);
            EXPECT_EQ(pending.Get("p", &no_time), Failed(MEMO_ETIMEDOUT));
            EXPECT_EQ(cache.Get("c"), Loaded("<c>"));
            waited.Open();
            go_on.Wait();
        } else if (KeyOf(l) == "b") {
            go_on.Open();
            EXPECT_EQ(cache.Get("a").error, 0);
            EXPECT_EQ(cache.Get("c"), Hit("<c>"));
        }
        return LoadInBrackets(l);
    });
    Thread a([&] { EXPECT_EQ(cache.Get("a"), Loaded("<a>")); });

    waited.Wait();
    EXPECT_EQ(cache.Get("b"), Loaded("<b>"));
    a.Join();
    pending.Finish(p, "v");
}

// The load of a detached flight and the one that took its place are two.
TEST_P(Deadlock, ADetachedLoadMayGetItsKeyAnew) {
    int loads = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (loads++ == 0) {
            EXPECT_EQ(cache.Invalidate("k"), 0);
            EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
        }
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Get("k"), Detached("<k>"));
    EXPECT_EQ(loads, 2);
}

// Who waits for a load that is finished waits no more, even if he has not
// noticed yet.  x waits for a; a is finished from elsewhere, while its function
// goes on and waits for b; b gets x: that is no cycle.
std::atomic<bool> held, let_go;

TEST_P(Deadlock, AFinishedLoadIsNoPartOfACycle) {
    Gate x_waits, a_goes_on, a_finished;
    memo_load *load_of_a = nullptr;
    Gate a_runs, b_runs;
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "x") {
            EXPECT_EQ(cache.Get("a").error, 0);
        } else if (key == "a") {
            memo_load_retain(l);
            load_of_a = l;
            EXPECT_EQ(LoadInBrackets(l), 0);
            a_runs.Open();
            a_goes_on.Wait();
            EXPECT_EQ(cache.Get("b").error, 0);
            memo_load_release(l);
            return 0;
        } else if (key == "b") {
            b_runs.Open();
            a_finished.Wait();
            EXPECT_EQ(cache.Get("x").error, 0);
        }
        return LoadInBrackets(l);
    });
    struct sigaction action = {};
    action.sa_handler = [](int) {
        held = true;
        while (!let_go) {
            sched_yield();
        }
    };
    sigaction(SIGUSR2, &action, nullptr);
    held = let_go = false;

    Thread a([&] { EXPECT_EQ(cache.Get("a").error, 0); });
    a_runs.Wait();
    std::thread x([&] { EXPECT_EQ(cache.Get("x").error, 0); });
    cache.AwaitJoins(1);
    Thread b([&] { EXPECT_EQ(cache.Get("b").error, 0); });
    b_runs.Wait();
    a_goes_on.Open();
    cache.AwaitJoins(2);
    a.AwaitAsleep();
    // Hold x where it is, so that it doesn't notice that a is finished.
    pthread_kill(x.native_handle(), SIGUSR2);
    Await([] { return bool(held); });
    EXPECT_EQ(memo_load_finish(load_of_a, 0), 0);
    a_finished.Open();
    cache.AwaitJoins(3);
    b.AwaitAsleep();
    let_go = true;
    x.join();
}

// W4: of several keys claimed by one call, which loads them in turn, a load may ask
// for one whose turn has not come: that is no cycle.
TEST_P(Deadlock, ALoadMayAskForALaterKeyOfItsBulk) {
    Seen inner = {};
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "a") {
            inner = cache.Get("b");
        }
        return LoadInBrackets(l);
    });
    memo_bytes keys[] = {{"a", 1}, {"b", 1}};
    memo_value out[2];
    int errors[2];

    EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 0);
    EXPECT_EQ(inner, Joined("<b>"));
    EXPECT_EQ(out[1].from, uint32_t(MEMO_LOADED));
    memo_release(&out[0]);
    memo_release(&out[1]);
    EXPECT_EQ(cache.Stats().loads, 2u);
}

// W4: and so may a load in another thread, which the bulk waits for.
TEST_P(Deadlock, ALoadMayAskForALaterKeyOfABulkThatWaitsForIt) {
    Gate bulk_runs, other_runs;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "a") {
            bulk_runs.Open();
            other_runs.Wait();
            EXPECT_EQ(cache.Get("other"), Joined("<other>"));
        } else if (KeyOf(l) == "other") {
            other_runs.Open();
            bulk_runs.Wait();
            cache.AwaitJoins(1);
            EXPECT_EQ(cache.Get("b"), Joined("<b>"));
        }
        return LoadInBrackets(l);
    });
    Thread other([&] { EXPECT_EQ(cache.Get("other"), Loaded("<other>")); });
    memo_bytes keys[] = {{"a", 1}, {"b", 1}};
    memo_value out[2];
    int errors[2];

    EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 0);
    memo_release(&out[0]);
    memo_release(&out[1]);
    EXPECT_EQ(cache.Stats().loads, 3u);
}

// W4, L4: and so may a destructor that runs between two loads.
TEST_P(Deadlock, ADestructorMayAskForALaterKeyOfTheBulkItRunsIn) {
    struct Asks {
        memo *m;
        Seen seen;
    } asks = {};
    Cache cache(GetParam(), [&](memo_load *l) {
        static char data;
        if (KeyOf(l) != "a") {
            return LoadInBrackets(l);
        }
        EXPECT_EQ(memo_load_adopt(
                      l, &data, 1,
                      [](void *arg, void *, size_t) {
                          Asks *self = static_cast<Asks *>(arg);
                          Value v;
                          int error = memo_get(self->m, "b", 1, v.out());
                          self->seen = v.Seen(error);
                      },
                      &asks),
                  0);
        return 42;  // what it made isn't wanted
    });
    memo_bytes keys[] = {{"a", 1}, {"b", 1}};
    memo_value out[2];
    int errors[2];

    asks.m = cache;
    EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 42);
    EXPECT_EQ(asks.seen, Joined("<b>"));
    EXPECT_EQ(errors[1], 0);
    memo_release(&out[1]);
}

// W4, L4: a completion runs in the thread of a load that is done, but perhaps inside
// one that isn't, which is a cycle; or before another, which isn't.
TEST_P(Deadlock, ACompletionThatAsksForWhatItsThreadIsAtIsTold) {
    struct Asks {
        memo *m;
        std::string key;
        memo_wait wait;
        Seen seen;
    };
    Asks asks = {};
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "outer") {
            EXPECT_EQ(cache.Get("inner"), Loaded("<inner>"));
        } else if (KeyOf(l) == "inner" || KeyOf(l) == "a") {
            EXPECT_EQ(memo_get_async(
                          cache, KeyOf(l).data(), KeyOf(l).size(), nullptr,
                          [](void *arg, int, memo_value *value) {
                              Asks *self = static_cast<Asks *>(arg);
                              Value v;
                              memo_release(value);
                              int error = memo_get_wait(
                                  self->m, self->key.data(), self->key.size(),
                                  &self->wait, v.out());
                              self->seen = v.Seen(error);
                          },
                          &asks, nullptr),
                      0);
        }
        return LoadInBrackets(l);
    });
    memo_bytes keys[] = {{"a", 1}, {"b", 1}};
    memo_value out[2];
    int errors[2];

    asks = {cache, "outer", Until(1), {}};  // not to hang
    EXPECT_EQ(cache.Get("outer"), Loaded("<outer>"));
    EXPECT_EQ(asks.seen, Failed(MEMO_EDEADLK));
    asks = {cache, "b", Until(sync_clock_now_ns() + 5 * INT64_C(1000000000)), {}};
    EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 0);
    EXPECT_EQ(asks.seen, Joined("<b>"));
    memo_release(&out[0]);
    memo_release(&out[1]);
}

// Executors with one thread: memo's own, and one of the user's.
class OneThread {
   public:
    OneThread() : thread_([this] { Run(); }) {
    }
    ~OneThread() {
        Put(nullptr);
        thread_.join();
    }

    memo_executor Hook() {
        return {[](void *self, void (*run)(void *), void *task) {
                    static_cast<OneThread *>(self)->Put([=] { run(task); });
                    return 0;
                },
                this};
    }

    // Wait until all that was put has been run.
    void Drain() {
        Gate drained;
        Put([&] { drained.Open(); });
        drained.Wait();
    }

   private:
    void Put(std::function<void()> task) {
        std::lock_guard<std::mutex> lock(mu_);
        tasks_.push(std::move(task));
        news_.notify_one();
    }

    std::function<void()> Take() {
        std::unique_lock<std::mutex> lock(mu_);
        news_.wait(lock, [this] { return !tasks_.empty(); });
        std::function<void()> task = std::move(tasks_.front());
        tasks_.pop();
        return task;
    }

    void Run() {
        while (std::function<void()> task = Take()) {
            task();
        }
    }

    std::mutex mu_;
    std::condition_variable news_;
    std::queue<std::function<void()>> tasks_;
    std::thread thread_;
};

// "a" asks, in its load or when it is done, for "b", whose load is queued behind it.
void ExpectNoStarving(const Config &config, bool own, bool completion) {
    struct Asks {
        Cache *cache;
        Seen seen;
        std::atomic<bool> asked;
    } asks = {};
    OneThread one_thread;
    memo_executor executor = one_thread.Hook();
    Gate queued;
    Cache cache(
        config,
        [&](memo_load *l) {
            if (KeyOf(l) == "a") {
                queued.Wait();
                if (!completion) {
                    memo_wait not_for_ever =
                        Until(sync_clock_now_ns() + 5 * INT64_C(1000000000));
                    asks.seen = cache.Get("b", &not_for_ever);
                    asks.asked = true;
                }
            }
            return LoadInBrackets(l);
        },
        [&](memo_options *o) {
            o->threads = own ? 1 : 0;
            o->executor = own ? nullptr : &executor;
        });
    memo_done_fn *ask = [](void *arg, int, memo_value *value) {
        Asks *self = static_cast<Asks *>(arg);
        memo_wait not_for_ever =
            Until(sync_clock_now_ns() + 5 * INT64_C(1000000000));
        memo_release(value);
        self->seen = self->cache->Get("b", &not_for_ever);
        self->asked = true;
    };
    memo_done_fn *release = [](void *, int, memo_value *value) {
        memo_release(value);
    };

    asks.cache = &cache;
    EXPECT_EQ(memo_get_async(cache, "a", 1, nullptr,
                             completion ? ask : release, &asks, nullptr),
              0);
    EXPECT_EQ(memo_get_async(cache, "b", 1, nullptr, release, nullptr, nullptr),
              0);
    queued.Open();
    Await([&] { return bool(asks.asked); });
    EXPECT_EQ(asks.seen, Joined("<b>"));
    one_thread.Drain();
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

TEST_P(Deadlock, AThreadOfThePoolMayWaitForWhatIsQueued) {
    ExpectNoStarving(GetParam(), true, false);
    ExpectNoStarving(GetParam(), true, true);
}

TEST_P(Deadlock, AThreadOfAnExecutorMayWaitForWhatIsQueued) {
    ExpectNoStarving(GetParam(), false, false);
    ExpectNoStarving(GetParam(), false, true);
}

// W2: but not when his time is over.
TEST_P(Deadlock, WhoHasNoTimeRunsNothing) {
    OneThread one_thread;
    memo_executor executor = one_thread.Hook();
    Gate queued, asked;
    Seen seen = {};
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            if (KeyOf(l) == "a") {
                memo_wait no_time = Until(1);
                queued.Wait();
                seen = cache.Get("b", &no_time);
                asked.Open();
            }
            return LoadInBrackets(l);
        },
        [&](memo_options *o) { o->executor = &executor; });
    memo_done_fn *release = [](void *, int, memo_value *value) {
        memo_release(value);
    };

    EXPECT_EQ(memo_get_async(cache, "a", 1, nullptr, release, nullptr, nullptr),
              0);
    EXPECT_EQ(memo_get_async(cache, "b", 1, nullptr, release, nullptr, nullptr),
              0);
    queued.Open();
    asked.Wait();
    EXPECT_EQ(seen, Failed(MEMO_ETIMEDOUT));
    one_thread.Drain();
}

// L2: memo_close() doesn't wait for a load that lies in the queue of an executor, of
// which this may be the only thread.
TEST_P(Deadlock, AThreadOfAnExecutorMayClose) {
    OneThread one_thread;
    memo_executor executor = one_thread.Hook();
    Gate queued, closed;
    struct Closes {
        memo *m;
        Gate *queued, *closed;
        int error;
    } closes = {};
    Cache cache(GetParam(), LoadInBrackets,
                [&](memo_options *o) { o->executor = &executor; });

    closes = {cache, &queued, &closed, 1};
    EXPECT_EQ(executor.submit(executor.state,
                              [](void *arg) {
                                  Closes *self = static_cast<Closes *>(arg);
                                  self->queued->Wait();
                                  self->error = memo_close(
                                      self->m, sync_clock_now_ns() +
                                                   5 * INT64_C(1000000000));
                                  self->closed->Open();
                              },
                              &closes),
              0);
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *, int error, memo_value *) {
                      EXPECT_EQ(error, MEMO_ECLOSED);
                  },
                  nullptr, nullptr),
              0);
    queued.Open();
    closed.Wait();
    EXPECT_EQ(closes.error, 0);
    one_thread.Drain();
}

}  // namespace
