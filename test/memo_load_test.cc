// What a load function may do with its load, and how a load may end.
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Load);

// ------------------------------------------------------------------ values

TEST_P(Load, ReturnCopiesTheValue) {
    char bytes[] = "bytes";
    Cache cache(GetParam(),
                [&](memo_load *l) { return memo_load_return(l, bytes, 5); });
    Value v = cache.Hold("k");

    EXPECT_NE(v->data, bytes);
    bytes[0] = 'x';
    EXPECT_EQ(v.Bytes(), "bytes");
}

TEST_P(Load, ReserveIsRoomForTheValueItself) {
    void *room = nullptr;
    Cache cache(GetParam(), [&](memo_load *l) {
        room = memo_load_reserve(l, 5);
        memcpy(room, "bytes", 5);
        return 0;
    });
    Value v = cache.Hold("k");

    EXPECT_EQ(v->data, room);
    EXPECT_EQ(v.Bytes(), "bytes");
    EXPECT_EQ(cache.Hold("k")->data, room);
}

TEST_P(Load, ReservingAgainKeepsTheContents) {
    Cache cache(GetParam(), [&](memo_load *l) {
        char *room = static_cast<char *>(memo_load_reserve(l, 4));
        memcpy(room, "abcd", 4);
        room = static_cast<char *>(memo_load_reserve(l, 100000));
        EXPECT_EQ(std::string(room, 4), "abcd");
        memset(room + 4, 'x', 100000 - 4);
        room = static_cast<char *>(memo_load_reserve(l, 6));
        EXPECT_EQ(std::string(room, 6), "abcdxx");
        room = static_cast<char *>(memo_load_reserve(l, 0));
        EXPECT_NE(room, nullptr);
        room = static_cast<char *>(memo_load_reserve(l, 2));
        memcpy(room, "hi", 2);
        return 0;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("hi"));
}

TEST_P(Load, ReserveOfAnAbsurdSizeLeavesWhatWasThere) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(Return(l, "here"), 0);
        for (size_t size : {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX / 2 + 1}) {
            EXPECT_EQ(memo_load_reserve(l, size), nullptr);
            EXPECT_EQ(memo_load_return(l, "x", size), MEMO_ENOMEM);
        }
        return 0;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("here"));
    EXPECT_EQ(memo_put(cache, "k", 1, "x", SIZE_MAX), MEMO_ENOMEM);
    EXPECT_EQ(cache.Get("k"), Hit("here"));
}

TEST_P(Load, ReserveAfterAdoptKeepsTheContentsAndLetsTheObjectGo) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
        char *room = static_cast<char *>(memo_load_reserve(l, 3));
        EXPECT_EQ(std::string(room, 3), "obj");
        EXPECT_EQ(cache.objects.Destroyed(), 1);
        return 0;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("obj"));
}

TEST_P(Load, TheLastValueSetCounts) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(Return(l, "first"), 0);
        EXPECT_EQ(cache.objects.Adopt(l, "second"), 0);
        EXPECT_EQ(cache.objects.Adopt(l, "third"), 0);
        EXPECT_EQ(cache.objects.Destroyed(), 1);
        EXPECT_EQ(Return(l, "fourth"), 0);
        EXPECT_EQ(cache.objects.Destroyed(), 2);
        EXPECT_EQ(cache.objects.Adopt(l, "fifth"), 0);
        return 0;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("fifth"));
    EXPECT_EQ(cache.objects.Alive(), 1);
}

TEST_P(Load, AnObjectAdoptedIsTheValueItself) {
    static std::string object = "object";
    static int freed;
    freed = 0;
    {
        Cache cache(GetParam(), [&](memo_load *l) {
            return memo_load_adopt(
                l, &object[0], 6,
                [](void *arg, void *data, size_t size) {
                    EXPECT_EQ(arg, &freed);
                    EXPECT_EQ(data, &object[0]);
                    EXPECT_EQ(size, 6u);
                    freed++;
                },
                &freed);
        });
        EXPECT_EQ(cache.Hold("k")->data, &object[0]);
        EXPECT_EQ(cache.Hold("k")->data, &object[0]);
        EXPECT_EQ(cache.Get("k"), Hit("object"));
        EXPECT_EQ(freed, 0);
    }
    EXPECT_EQ(freed, 1);
}

TEST_P(Load, AnObjectMayBeNothingAndNeedNoDestructor) {
    static int freed;
    freed = 0;
    {
        Cache cache(GetParam(), [&](memo_load *l) {
            if (KeyOf(l) == "none") {
                return memo_load_adopt(l, nullptr, 0, nullptr, nullptr);
            }
            return memo_load_adopt(
                l, nullptr, 0,
                [](void *arg, void *data, size_t size) {
                    EXPECT_EQ(arg, &freed);
                    EXPECT_EQ(data, nullptr);
                    EXPECT_EQ(size, 0u);
                    freed++;
                },
                &freed);
        });
        Value v = cache.Hold("k");
        EXPECT_EQ(v->data, nullptr);
        EXPECT_EQ(v->size, 0u);
        EXPECT_NE(v->pin, nullptr);
        EXPECT_EQ(cache.Get("k"), Hit(""));
        EXPECT_EQ(cache.Get("none"), Loaded(""));
        EXPECT_EQ(cache.Get("none"), Hit(""));
    }
    EXPECT_EQ(freed, 1);
}

// E5
TEST_P(Load, BadValuesAreRefusedAndStayTheCallers) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(Return(l, "good"), 0);
        auto never = [](void *, void *, size_t) { FAIL(); };
        EXPECT_EQ(memo_load_return(l, nullptr, 1), MEMO_EINVAL);
        EXPECT_EQ(memo_load_adopt(l, nullptr, 1, never, nullptr), MEMO_EINVAL);
        return 0;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("good"));
}

// ------------------------------------------------------------------ errors

// E1, E2
TEST_P(Load, AnErrorGoesToEverybodyOfTheFlightAndIsNotKept) {
    Gate gate;
    std::atomic<int> loads{0}, told{0};
    Cache cache(GetParam(), [&](memo_load *l) {
        if (loads++ == 0) {
            gate.Wait();
            return 42;
        }
        return LoadInBrackets(l);
    });
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < 9; i++) {
            threads.emplace_back(
                new Thread([&] { told += cache.Get("k") == Failed(42); }));
        }
        cache.AwaitJoins(8);
        gate.Open();
    }
    EXPECT_EQ(told, 9);
    EXPECT_EQ(loads, 1);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(cache.Stats().load_failures, 1u);
}

// E1
TEST_P(Load, AnyErrorIsPassedOnAsItIs) {
    int error = 0;
    Cache cache(GetParam(), [&](memo_load *) { return error; });

    for (int e : {1, 2, INT32_MAX, INT32_MIN, -1, -1000, int(MEMO_EBUSY)}) {
        error = e;
        EXPECT_EQ(cache.Get("k"), Failed(e));
        EXPECT_EQ(cache.GetPlain("k"), Failed(e));
    }
}

// E1, V2
TEST_P(Load, AnErrorDestroysTheValueThatWasSet) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
        return 7;
    });

    EXPECT_EQ(cache.Get("k"), Failed(7));
    EXPECT_EQ(cache.objects.Destroyed(), 1);
}

// E3
TEST_P(Load, SuccessWithoutAValueIsAbandonment) {
    Cache cache(GetParam(), [&](memo_load *) { return 0; });

    EXPECT_EQ(cache.Get("k"), Failed(MEMO_EABANDONED));
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_EABANDONED));
    EXPECT_EQ(cache.Stats().loads, 2u);
    EXPECT_EQ(cache.Stats().load_failures, 2u);
}

// ------------------------------------------------------------------ death

// Have the first load of "k" die by die(), while others wait for it; then see
// that they were told, and that the key is free.
void ExpectAbandoned(const Config &config, std::function<void()> die) {
    Gate gate;
    std::atomic<int> loads{0}, told{0};
    Cache cache(config, [&](memo_load *l) {
        if (loads++ == 0) {
            EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
            gate.Wait();
            die();
            ADD_FAILURE() << "it lives";
        }
        return LoadInBrackets(l);
    });
    memo_value v = {};
    std::thread dying([&] {
        try {
            memo_get(cache, "k", 1, &v);
            ADD_FAILURE() << "memo_get returned";
        } catch (const std::runtime_error &) {
        }
        // Nothing of the load is left on this thread.
        EXPECT_EQ(cache.Get("j"), Loaded("<j>"));
    });
    {
        Await([&] { return gate.Waiting() == 1; });
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < 4; i++) {
            threads.emplace_back(new Thread(
                [&] { told += cache.Get("k") == Failed(MEMO_EABANDONED); }));
        }
        cache.AwaitJoins(4);
        gate.Open();
    }
    dying.join();
    EXPECT_EQ(told, 4);
    EXPECT_EQ(v.pin, nullptr);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
}

// E3
TEST_P(Load, EndingTheThreadAbandonsTheLoad) {
    ExpectAbandoned(GetParam(), [] { pthread_exit(nullptr); });
}

// E3
TEST_P(Load, CancelingTheThreadAbandonsTheLoad) {
#ifdef __SANITIZE_ADDRESS__
    GTEST_SKIP() << "gcc's AddressSanitizer takes the frames that cancellation "
                    "has unwound for live ones";
#endif
    ExpectAbandoned(GetParam(), [] {
        pthread_cancel(pthread_self());
        for (;;) {
            // Not a call that a sanitizer intercepts: it would never return
            // from it.
            pthread_testcancel();
        }
    });
}

// E3
TEST_P(Load, AnExceptionAbandonsTheLoadAndPassesThrough) {
    ExpectAbandoned(GetParam(), [] { throw std::runtime_error("thrown"); });
}

// E3: every load that the exception passes.
TEST_P(Load, AnExceptionAbandonsOuterLoadsToo) {
    bool fails = true, caught_within = false;
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "3" && fails) {
            throw std::runtime_error("thrown");
        }
        if (key == "1" || key == "2") {
            cache.Get(std::to_string(std::stoi(key) + 1));
        }
        if (key == "catches") {
            try {
                cache.Get("1");
            } catch (const std::runtime_error &) {
                caught_within = true;
            }
        }
        return LoadInBrackets(l);
    });

    EXPECT_THROW(cache.Get("1"), std::runtime_error);
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(cache.Stats().load_failures, 3u);
    EXPECT_EQ(cache.Get("catches"), Loaded("<catches>"));
    EXPECT_TRUE(caught_within);
    fails = false;
    EXPECT_EQ(cache.Get("1"), Loaded("<1>"));
    EXPECT_EQ(cache.Get("3"), Hit("<3>"));
}

// E3
TEST_P(Load, EndingTheThreadAbandonsOuterLoadsToo) {
    bool dies = true;
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "3" && dies) {
            pthread_exit(nullptr);
        }
        if (key == "1" || key == "2") {
            cache.Get(std::to_string(std::stoi(key) + 1));
        }
        return LoadInBrackets(l);
    });

    std::thread([&] { cache.Get("1"); }).join();
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(cache.Stats().load_failures, 3u);
    dies = false;
    EXPECT_EQ(cache.Get("1"), Loaded("<1>"));
}

// E3: the first answer counts, and dying later changes nothing.
TEST_P(Load, AThreadMayEndOnceItsLoadIsFinished) {
    Cache cache(GetParam(), [&](memo_load *l) -> int {
        EXPECT_EQ(LoadInBrackets(l), 0);
        EXPECT_EQ(memo_load_finish(l, 0), 0);
        pthread_exit(nullptr);
    });

    std::thread([&] { cache.Get("k"); }).join();
    EXPECT_EQ(cache.Peek("k"), Hit("<k>"));
}

// ------------------------------------------------------------------ finish

TEST_P(Load, AnotherThreadMayFinishIt) {
    PendingCache cache(GetParam());
    std::thread starter([&] { EXPECT_EQ(cache.Get("k"), Loaded("late")); });

    Await([&] { return cache.last != nullptr; });
    std::thread joiner([&] { EXPECT_EQ(cache.Get("k"), Joined("late")); });
    cache.AwaitJoins(1);
    EXPECT_EQ(Return(cache.last, "late"), 0);
    EXPECT_EQ(memo_load_finish(cache.last, 0), 0);
    starter.join();
    joiner.join();
    EXPECT_EQ(cache.Get("k"), Hit("late"));
}

TEST_P(Load, ItMayBeFinishedWithAnError) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    std::thread joiner([&] { EXPECT_EQ(cache.Get("k"), Failed(42)); });

    cache.AwaitJoins(1);
    EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
    EXPECT_EQ(memo_load_finish(l, 42), 0);
    joiner.join();
    EXPECT_EQ(cache.objects.Destroyed(), 1);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
}

// E3
TEST_P(Load, FinishingItWithoutAValueIsAbandonment) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    std::thread joiner(
        [&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_EABANDONED)); });

    cache.AwaitJoins(1);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    joiner.join();
}

TEST_P(Load, ItMayBeFinishedBeforeItsFunctionReturns) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(LoadInBrackets(l), 0);
        std::thread([&] { EXPECT_EQ(memo_load_finish(l, 0), 0); }).join();
        EXPECT_EQ(cache.Peek("k"), Hit("<k>"));
        return MEMO_PENDING;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
}

// I3: the first answer counts.
TEST_P(Load, WhatTheFunctionReturnsAfterFinishCountsForNothing) {
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(LoadInBrackets(l), 0);
        EXPECT_EQ(memo_load_finish(l, 0), 0);
        return 42;
    });

    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(cache.Stats().load_failures, 0u);
}

// I3
TEST_P(Load, FinishingItTwiceIsAlready) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");

    memo_load_retain(l);
    EXPECT_EQ(memo_load_finish(l, MEMO_PENDING), MEMO_EINVAL);
    EXPECT_EQ(Return(l, "first"), 0);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    EXPECT_EQ(memo_load_finish(l, 0), MEMO_EALREADY);
    EXPECT_EQ(memo_load_finish(l, 42), MEMO_EALREADY);
    EXPECT_EQ(Return(l, "second"), MEMO_EALREADY);
    EXPECT_EQ(cache.objects.Adopt(l, "third"), MEMO_EALREADY);
    EXPECT_EQ(memo_load_reserve(l, 6), nullptr);
    EXPECT_EQ(KeyOf(l), "k");
    EXPECT_EQ(cache.Get("k"), Hit("first"));
    memo_load_release(l);
}

// I3
TEST_P(Load, FinishingWhatItsFunctionHasFinishedIsAlready) {
    memo_load *retained = nullptr;
    Cache cache(GetParam(), [&](memo_load *l) {
        memo_load_retain(l);
        retained = l;
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(memo_load_finish(retained, 42), MEMO_EALREADY);
    EXPECT_EQ(cache.Get("k"), Hit("<k>"));
    memo_load_release(retained);
}

// I3: an answer and a timeout race; one is first.
TEST_P(Load, OneOfManyWhoFinishItIsFirst) {
    PendingCache cache(GetParam());

    for (int round = 0; round < 300; round++) {
        memo_load *l = cache.Start(Key(round));
        std::atomic<int> first{0}, already{0}, ready{0};
        auto finish = [&] {
            ready++;
            while (ready < 3) {
                std::this_thread::yield();
            }
            int error = memo_load_finish(l, 42);
            first += error == 0;
            already += error == MEMO_EALREADY;
            memo_load_release(l);
        };
        for (int i = 0; i < 3; i++) {
            memo_load_retain(l);
        }
        std::thread a(finish), b(finish), c(finish);
        a.join();
        b.join();
        c.join();
        EXPECT_EQ(first, 1);
        EXPECT_EQ(already, 2);
    }
}

TEST_P(Load, ItMayBeFinishedAfterTheCacheIsClosed) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");

    EXPECT_EQ(memo_load_is_canceled(l), 0);
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_EQ(memo_load_is_canceled(l), 1);
    EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

TEST_P(Load, ItMayBeFinishedAfterTheCacheIsFreed) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k"), *retained = cache.Start("j");

    memo_load_retain(retained);
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    cache.Free();
    EXPECT_EQ(KeyOf(l), "k");
    EXPECT_EQ(cache.objects.Adopt(l, "object"), 0);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
    EXPECT_EQ(cache.objects.Adopt(retained, "object"), 0);
    EXPECT_EQ(memo_load_finish(retained, 0), 0);
    EXPECT_EQ(memo_load_finish(retained, 0), MEMO_EALREADY);
    EXPECT_EQ(memo_load_is_canceled(retained), 1);
    EXPECT_EQ(cache.objects.Destroyed(), 2);
    memo_load_release(retained);
}

TEST_P(Load, ALoadRetainedOutlivesTheCache) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("key");

    memo_load_retain(l);
    memo_load_retain(l);
    EXPECT_EQ(memo_load_finish(l, 42), 0);
    cache.Free();
    EXPECT_EQ(KeyOf(l), "key");
    memo_load_release(l);
    EXPECT_EQ(memo_load_finish(l, 0), MEMO_EALREADY);
    memo_load_release(l);
}

// E3: a value that can't be weighed.
TEST_P(Load, AWeightFunctionThatThrowsAbandonsTheLoad) {
    static bool throws;
    Cache cache(
        GetParam(),
        [&](memo_load *l) { return cache.objects.Adopt(l, "v"); },
        [](memo_options *o) {
            o->max_weight = 1000000;
            o->weight = [](void *, const void *, size_t, const void *,
                           size_t) -> uint32_t {
                if (throws) {
                    throw 1;
                }
                return 1;
            };
        });
    memo_wait no_load = {sizeof(memo_wait), 0, nullptr, MEMO_WAIT_NO_LOAD, 0, 0};

    throws = true;
    EXPECT_THROW(cache.Get("k"), int);
    EXPECT_EQ(cache.objects.Destroyed(), 1);
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(cache.Stats().load_failures, 1u);
    EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));  // not stuck
    EXPECT_THROW(cache.Put("k", "v"), int);
    throws = false;
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
}

}  // namespace
