#include "sync/once.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <vector>

#include "sync/event.h"
#include "test/support/thread.h"

namespace {

void Increment(void *n) {
    ++*static_cast<int *>(n);
}

TEST(Once, DoesItOnce) {
    sync_once o = SYNC_ONCE_INIT;
    int n = 0;
    EXPECT_FALSE(sync_once_is_done(&o));
    sync_once_do(&o, Increment, &n);
    sync_once_do(&o, Increment, &n);
    EXPECT_TRUE(sync_once_is_done(&o));
    EXPECT_EQ(n, 1);
}

TEST(Once, WhatItDidIsSeenByAllWhoFindItDone) {
    sync_once o = SYNC_ONCE_INIT;
    int n = 0;
    Thread first([&] { sync_once_do(&o, Increment, &n); });
    while (!sync_once_is_done(&o)) {
        std::this_thread::yield();
    }
    EXPECT_EQ(n, 1);
}

// What a function that holds others up works with.
struct Gate {
    sync_once once = {};
    sync_event entered = {};
    sync_event leave = {};
    int calls = 0;
};

void EnterAndWait(void *arg) {
    Gate *gate = static_cast<Gate *>(arg);
    gate->calls++;
    sync_event_set(&gate->entered);
    sync_event_wait(&gate->leave, SYNC_NEVER, nullptr);
}

TEST(Once, OthersWaitUntilItIsDone) {
    Gate gate;
    Thread first([&] { sync_once_do(&gate.once, EnterAndWait, &gate); });
    sync_event_wait(&gate.entered, SYNC_NEVER, nullptr);
    std::vector<std::unique_ptr<Thread>> others;
    for (int i = 0; i < 4; i++) {
        others.push_back(std::make_unique<Thread>([&] {
            sync_once_do(&gate.once, EnterAndWait, &gate);
            EXPECT_TRUE(sync_event_is_set(&gate.leave));
            EXPECT_EQ(gate.calls, 1);
        }));
    }
    for (auto &t : others) {
        t->AwaitAsleep();
        t->Interrupt(2);
    }
    EXPECT_FALSE(sync_once_is_done(&gate.once));
    sync_event_set(&gate.leave);
}

// A function that is left other than by returning leaves the once undone: those
// who wait, and those who come later, are not stranded.
class OnceLeftBy : public ::testing::Test {
   protected:
    // Run leave in a thread inside the once, with another thread waiting.
    template <typename Function>
    void TestLeaving(Function in_thread) {
        int n = 0;
        Thread first(in_thread);
        sync_event_wait(&gate.entered, SYNC_NEVER, nullptr);
        Thread second([&] { sync_once_do(&gate.once, Increment, &n); });
        second.AwaitAsleep();
        EXPECT_FALSE(sync_once_is_done(&gate.once));
        sync_event_set(&gate.leave);
        second.Join();
        first.Join();
        EXPECT_TRUE(sync_once_is_done(&gate.once));
        EXPECT_EQ(n, 1);
        EXPECT_EQ(gate.calls, 1);
    }

    static Gate gate;
};
Gate OnceLeftBy::gate;

TEST_F(OnceLeftBy, ThreadExit) {
    new (&gate) Gate;
    TestLeaving([&] {
        pthread_t id;
        auto body = [](void *) -> void * {
            auto fn = [](void *arg) {
                EnterAndWait(arg);
                pthread_exit(nullptr);
            };
            sync_once_do(&gate.once, fn, &gate);
            ADD_FAILURE() << "the thread should have ended";
            return nullptr;
        };
        ASSERT_EQ(pthread_create(&id, nullptr, body, nullptr), 0);
        pthread_join(id, nullptr);
    });
}

TEST_F(OnceLeftBy, Cancellation) {
    new (&gate) Gate;
    TestLeaving([&] {
        pthread_t id;
        auto body = [](void *) -> void * {
            auto fn = [](void *arg) {
                EnterAndWait(arg);
                for (;;) {
                    pthread_testcancel();
                }
            };
            sync_once_do(&gate.once, fn, &gate);
            return nullptr;
        };
        ASSERT_EQ(pthread_create(&id, nullptr, body, nullptr), 0);
        pthread_cancel(id);
        pthread_join(id, nullptr);
    });
}

TEST_F(OnceLeftBy, Exception) {
    new (&gate) Gate;
    TestLeaving([&] {
        auto fn = [](void *arg) {
            EnterAndWait(arg);
            throw std::runtime_error("no icons");
        };
        EXPECT_THROW(sync_once_do(&gate.once, fn, &gate), std::runtime_error);
    });
}

}  // namespace
