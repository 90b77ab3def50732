// What memo_close() waits for, besides loads: whatever functions of the user's
// are being called in other threads (L2).
#include <gtest/gtest.h>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "sync/clock.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Callback);

// A function of the user's that stays until it is let go.
struct Stays {
    Gate entered, leave;

    void Run() {
        entered.Open();
        leave.Wait();
    }
};

void StayWhenDone(void *arg, int, memo_value *value) {
    memo_release(value);
    static_cast<Stays *>(arg)->Run();
}

void StayWhenDestroyed(void *arg, void *, size_t) {
    static_cast<Stays *>(arg)->Run();
}

void JustRelease(void *, int, memo_value *value) {
    memo_release(value);
}

int GetAsync(memo *m, const std::string &key, memo_done_fn *done, void *arg) {
    return memo_get_async(m, key.data(), key.size(), nullptr, done, arg,
                          nullptr);
}

// memo_close() doesn't return before what is being called does, nor after its
// deadline.
void ExpectAwaited(memo *m, Stays *stays) {
    std::atomic<bool> closed{false};

    stays->entered.Wait();
    EXPECT_EQ(memo_close(m, 1), MEMO_ETIMEDOUT);
    Thread closer([&] {
        EXPECT_EQ(memo_close(m, MEMO_NEVER), 0);
        closed = true;
    });
    closer.AwaitAsleep();
    EXPECT_FALSE(closed);
    stays->leave.Open();
    closer.Join();
    EXPECT_EQ(memo_close(m, 1), 0);
}

TEST_P(Callback, CompletionsAreAwaited) {
    Stays stays;
    PendingCache cache(GetParam());

    EXPECT_EQ(GetAsync(cache, "k", StayWhenDone, &stays), 0);
    Thread finisher([&] { cache.Finish(cache.last, "v"); });
    ExpectAwaited(cache, &stays);
}

// Those that one memo_close() calls are awaited by another, too.
TEST_P(Callback, CompletionsOfAnotherCloseAreAwaited) {
    Stays stays;
    PendingCache cache(GetParam());

    EXPECT_EQ(GetAsync(cache, "k", StayWhenDone, &stays), 0);
    Thread closer([&] { EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0); });
    stays.entered.Wait();
    cache.Finish(cache.last, "late");
    ExpectAwaited(cache, &stays);
}

// The load is finished, but its function hasn't returned.
TEST_P(Callback, FunctionsOfFinishedLoadsAreAwaited) {
    for (bool pending : {false, true}) {
        Stays stays;
        memo_load *l = nullptr;
        Cache cache(GetParam(), [&](memo_load *load) {
            l = load;
            if (!pending) {
                EXPECT_EQ(LoadInBrackets(l), 0);
                EXPECT_EQ(memo_load_finish(l, 0), 0);
            }
            stays.Run();
            return pending ? int{MEMO_PENDING} : 0;
        });
        Thread loader([&] { cache.Get("k"); });
        stays.entered.Wait();
        if (pending) {
            PendingCache::Finish(l, "v");
        }
        ExpectAwaited(cache, &stays);
    }
}

// With one call of a load function for many.
TEST_P(Callback, FunctionsOfFinishedBulkLoadsAreAwaited) {
    Stays stays;
    Cache cache(GetParam(), LoadInBrackets, [&](memo_options *o) {
        o->load_arg = &stays;
        o->load_many = [](void *arg, memo_load *const loads[], size_t n) {
            for (size_t i = 0; i < n; i++) {
                EXPECT_EQ(LoadInBrackets(loads[i]), 0);
                EXPECT_EQ(memo_load_finish(loads[i], 0), 0);
            }
            static_cast<Stays *>(arg)->Run();
            return 0;
        };
    });
    Thread loader([&] {
        memo_bytes keys[] = {{"a", 1}, {"b", 1}};
        memo_value out[2];
        int errors[2];
        EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors), 0);
        memo_release(&out[0]);
        memo_release(&out[1]);
    });
    ExpectAwaited(cache, &stays);
}

// W3
TEST_P(Callback, CancelFunctionsAreAwaited) {
    for (bool late : {false, true}) {
        Stays stays;
        PendingCache cache(GetParam(), [](memo_options *o) {
            o->flags = MEMO_CANCEL_UNWANTED;
        });
        memo_cancel_fn *stay = [](void *arg, memo_load *) {
            static_cast<Stays *>(arg)->Run();
        };
        memo_ticket *t = nullptr;

        EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, JustRelease, nullptr,
                                 &t),
                  0);
        memo_load *l = cache.last;
        if (!late) {
            EXPECT_EQ(memo_load_on_cancel(l, stay, &stays), 0);
        }
        Thread canceler([&] {
            EXPECT_EQ(memo_ticket_cancel(t), 0);
            if (late) {
                EXPECT_EQ(memo_load_on_cancel(l, stay, &stays), 0);
            }
        });
        stays.entered.Wait();
        EXPECT_EQ(memo_load_finish(l, 1), 0);
        ExpectAwaited(cache, &stays);
        canceler.Join();
        memo_ticket_free(t);
    }
}

// What another call has taken out, or is the first to let go of.
TEST_P(Callback, DestructorsInOtherCallsAreAwaited) {
    Stays stays;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            static char data;
            return memo_load_adopt(l, &data, 1, StayWhenDestroyed, &stays);
        },
        LetDestructorsWait);

    EXPECT_EQ(cache.Get("k").error, 0);
    Thread changer([&] { EXPECT_EQ(cache.Put("k", "v"), 0); });
    ExpectAwaited(cache, &stays);
}

// The thread of a pool is the last to let go of a load, and so of its result.
TEST_P(Callback, DestructorsInThePoolAreAwaited) {
    Stays stays;
    Gate asked;  // else who asks may be the last
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            static char data;
            asked.Wait();
            EXPECT_EQ(memo_load_pass(l), 0);
            return memo_load_adopt(l, &data, 1, StayWhenDestroyed, &stays);
        },
        [](memo_options *o) { o->threads = 1; });

    EXPECT_EQ(GetAsync(cache, "k", JustRelease, nullptr), 0);
    asked.Open();
    ExpectAwaited(cache, &stays);
}

// So deep that their end is left to one further out.
TEST_P(Callback, DestructorsThatArePutOffAreAwaited) {
    if (GetParam().engine != MEMO_ENGINE_LOCK) {
        return;  // the reaper's own
    }
    const int kDeep = 40;
    struct Chain {
        memo *m;
        int next;
        Stays stays;
    } chain = {};
    Cache cache(GetParam(), [&](memo_load *l) {
        static char data;
        return memo_load_adopt(
            l, &data, 1,
            [](void *arg, void *, size_t) {
                Chain *self = static_cast<Chain *>(arg);
                if (self->next == kDeep) {
                    self->stays.Run();
                    return;
                }
                std::string key = Key(uint64_t(self->next++));
                int error = memo_invalidate(self->m, key.data(), key.size());
                EXPECT_TRUE(error == 0 || error == MEMO_ECLOSED);
            },
            &chain);
    });

    chain.m = cache;
    for (int i = 0; i < kDeep; i++) {
        cache.Get(Key(uint64_t(i)));
    }
    chain.next = 1;
    Thread changer([&] { EXPECT_EQ(cache.Invalidate(Key(0)), 0); });
    ExpectAwaited(cache, &chain.stays);
}

// ------------------------------------------------- and for what it doesn't wait

struct Closes {
    memo *m = nullptr;
    std::atomic<int> running{0};
    std::atomic<int> n{1};

    static void WhenDone(void *arg, int, memo_value *value) {
        Closes *self = static_cast<Closes *>(arg);
        memo_release(value);
        self->running++;
        Await([&] { return self->running >= self->n; });
        EXPECT_EQ(memo_close(self->m, MEMO_NEVER), 0);
    }
};

// L4: for itself, nor for others that may wait for it.
TEST_P(Callback, CompletionsMayCloseTogether) {
    for (int round = 0; round < 50; round++) {
        Closes closes;
        std::vector<memo_load *> loads;
        Cache cache(GetParam(), KeepIn(&loads));

        closes.m = cache;
        closes.n = 2;
        EXPECT_EQ(GetAsync(cache, "a", Closes::WhenDone, &closes), 0);
        EXPECT_EQ(GetAsync(cache, "b", Closes::WhenDone, &closes), 0);
        Thread a([&] { EXPECT_EQ(memo_load_finish(loads[0], 1), 0); });
        Thread b([&] { EXPECT_EQ(memo_load_finish(loads[1], 1), 0); });
        Await([&] { return closes.running == 2; });
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    }
}

// L4: nor do callbacks of two caches that close each the other's.
TEST_P(Callback, CompletionsMayCloseEachOthersCaches) {
    Closes one, two;
    std::vector<memo_load *> loads;
    Cache a(GetParam(), KeepIn(&loads)), b(GetParam(), KeepIn(&loads));

    one.m = b;
    two.m = a;
    EXPECT_EQ(GetAsync(a, "k", Closes::WhenDone, &one), 0);
    EXPECT_EQ(GetAsync(b, "k", Closes::WhenDone, &two), 0);
    Thread first([&] { EXPECT_EQ(memo_load_finish(loads[0], 1), 0); });
    Thread second([&] { EXPECT_EQ(memo_load_finish(loads[1], 1), 0); });
}

// A completion that has closed is waited for all the same.
TEST_P(Callback, FreeingWaitsForTheCompletionThatClosed) {
    struct ClosesAndStays {
        memo *m;
        Stays stays;
        std::atomic<bool> ended;
    } closes = {};
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), KeepIn(&loads));

    closes.m = cache;
    EXPECT_EQ(GetAsync(
                  cache, "k",
                  [](void *arg, int, memo_value *) {
                      ClosesAndStays *self = static_cast<ClosesAndStays *>(arg);
                      EXPECT_EQ(memo_close(self->m, MEMO_NEVER), 0);
                      self->stays.Run();
                      self->ended = true;
                  },
                  &closes),
              0);
    Thread finisher([&] { EXPECT_EQ(memo_load_finish(loads[0], 1), 0); });
    closes.stays.entered.Wait();
    memo_check(cache);
    Thread freer([&] {
        cache.Free();
        EXPECT_TRUE(closes.ended);
    });
    freer.AwaitAsleep();
    closes.stays.leave.Open();
}

// A completion may free the cache, and those of others may go on.
TEST_P(Callback, ACompletionMayFree) {
    if (GetParam().engine == MEMO_ENGINE_LOOP) {
        return;  // the fixture's loop is one that runs it
    }
    Stays stays;
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), KeepIn(&loads));

    EXPECT_EQ(GetAsync(cache, "other", StayWhenDone, &stays), 0);
    EXPECT_EQ(GetAsync(
                  cache, "k",
                  [](void *arg, int, memo_value *) {
                      static_cast<Cache *>(arg)->Free();
                  },
                  &cache),
              0);
    Thread other([&] { EXPECT_EQ(memo_load_finish(loads[0], 1), 0); });
    stays.entered.Wait();
    Thread frees([&] { EXPECT_EQ(memo_load_finish(loads[1], 1), 0); });
    frees.Join();
    stays.leave.Open();
}

// E3: those that throw, or end their thread, have ended.
TEST_P(Callback, WhatThrowsHasEnded) {
    for (bool exits : {false, true}) {
        std::vector<memo_load *> loads;
        Cache cache(GetParam(), KeepIn(&loads));
        memo_done_fn *done =
            exits ? [](void *, int, memo_value *) { pthread_exit(nullptr); }
                  : [](void *, int, memo_value *) { throw 1; };

        EXPECT_EQ(GetAsync(cache, "k", done, nullptr), 0);
        pthread_t thread;
        auto finish = [](void *l) -> void * {
            EXPECT_THROW(memo_load_finish(static_cast<memo_load *>(l), 1), int);
            return nullptr;
        };
        auto finish_and_exit = [](void *l) -> void * {
            (void)memo_load_finish(static_cast<memo_load *>(l), 1);
            ADD_FAILURE();
            return nullptr;
        };
        ASSERT_EQ(pthread_create(&thread, nullptr,
                                 exits ? +finish_and_exit : +finish, loads[0]),
                  0);
        pthread_join(thread, nullptr);
        EXPECT_EQ(memo_close(cache, 1), 0);
    }
}

// L3: the child of a fork has no such threads.
TEST_P(Callback, AChildDoesNotWaitForItsParents) {
    Stays stays, destroyed;
    PendingCache cache(GetParam(), LetDestructorsWait);
    static char data;

    EXPECT_EQ(GetAsync(cache, "object", JustRelease, nullptr), 0);
    Await([&] { return cache.loads == 1; });
    EXPECT_EQ(memo_load_adopt(cache.last, &data, 1, StayWhenDestroyed,
                              &destroyed),
              0);
    EXPECT_EQ(memo_load_finish(cache.last, 0), 0);
    Thread changer([&] { EXPECT_EQ(cache.Invalidate("object"), 0); });
    destroyed.entered.Wait();
    EXPECT_EQ(GetAsync(cache, "k", StayWhenDone, &stays), 0);
    Await([&] { return cache.loads == 2; });
    Thread finisher([&] { cache.Finish(cache.last, "v"); });
    stays.entered.Wait();

    pid_t child = fork();
    if (child == 0) {
        _exit(memo_close(cache, MEMO_NEVER) == 0 ? 0 : 1);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    destroyed.leave.Open();
    stays.leave.Open();
}

#if !defined(__SANITIZE_THREAD__)  // which starts no thread in such a child
// L3: but one that was forked in a callback still is in it.
TEST_P(Callback, AChildWaitsForItsOwn) {
    static Cache *shared;
    PendingCache cache(GetParam());

    shared = &cache;
    EXPECT_EQ(GetAsync(
                  cache, "k",
                  [](void *, int, memo_value *value) {
                      memo_release(value);
                      pid_t child = fork();
                      if (child == 0) {
                          int error = 0;
                          std::thread closer([&] {
                              error = memo_close(*shared, 1);
                          });
                          closer.join();
                          _exit(error == MEMO_ETIMEDOUT &&
                                        memo_close(*shared, 1) == 0
                                    ? 0
                                    : 1);
                      }
                      int status = -1;
                      EXPECT_EQ(waitpid(child, &status, 0), child);
                      EXPECT_EQ(status, 0);
                  },
                  nullptr),
              0);
    cache.Finish(cache.last, "v");
}
#endif

}  // namespace
