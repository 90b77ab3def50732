#include "sync/mutex.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "test/support/thread.h"

namespace {

TEST(Mutex, IsFourBytesAndZeroIsFree) {
    EXPECT_EQ(sizeof(sync_mutex), 4u);
    sync_mutex m = {};
    EXPECT_TRUE(sync_mutex_trylock(&m));
    sync_mutex_unlock(&m);
}

TEST(Mutex, InitMakesItFree) {
    sync_mutex m;
    memset(&m, 0xff, sizeof m);
    sync_mutex_init(&m);
    EXPECT_TRUE(sync_mutex_trylock(&m));
}

TEST(Mutex, TrylockTakesOnlyAFreeOne) {
    sync_mutex m = SYNC_MUTEX_INIT;
    EXPECT_TRUE(sync_mutex_trylock(&m));
    EXPECT_FALSE(sync_mutex_trylock(&m));
    sync_mutex_unlock(&m);
    sync_mutex_lock(&m);
    EXPECT_FALSE(sync_mutex_trylock(&m));
    sync_mutex_unlock(&m);
    EXPECT_TRUE(sync_mutex_trylock(&m));
}

TEST(Mutex, UnlockWakesOneWhoSleeps) {
    sync_mutex m = SYNC_MUTEX_INIT;
    int n = 0;
    sync_mutex_lock(&m);
    Thread sleeper([&] {
        sync_mutex_lock(&m);
        EXPECT_EQ(n, 1);  // what the holder wrote is seen
        sync_mutex_unlock(&m);
    });
    sleeper.AwaitAsleep();
    n = 1;
    sync_mutex_unlock(&m);
    sleeper.Join();
}

TEST(Mutex, AllWhoSleepGetTheirTurn) {
    sync_mutex m = SYNC_MUTEX_INIT;
    int n = 0;
    std::vector<std::unique_ptr<Thread>> sleepers;
    sync_mutex_lock(&m);
    for (int i = 0; i < 6; i++) {
        sleepers.push_back(std::make_unique<Thread>([&] {
            sync_mutex_lock(&m);
            n++;
            sync_mutex_unlock(&m);
        }));
    }
    for (auto &s : sleepers) {
        s->AwaitAsleep();
    }
    sync_mutex_unlock(&m);
    sleepers.clear();
    EXPECT_EQ(n, 6);
    EXPECT_TRUE(sync_mutex_trylock(&m));
}

TEST(Mutex, SignalsDoNotEndTheWait) {
    sync_mutex m = SYNC_MUTEX_INIT;
    bool inside = true;
    sync_mutex_lock(&m);
    Thread sleeper([&] {
        sync_mutex_lock(&m);
        EXPECT_FALSE(inside);
        sync_mutex_unlock(&m);
    });
    sleeper.AwaitAsleep();
    sleeper.Interrupt(3);
    inside = false;
    sync_mutex_unlock(&m);
}

TEST(MutexDeathTest, AssertHeldFailsOnAFreeOne) {
    sync_mutex m = SYNC_MUTEX_INIT;
    sync_mutex_lock(&m);
    sync_mutex_assert_held(&m);
    sync_mutex_unlock(&m);
    EXPECT_DEATH(sync_mutex_assert_held(&m), "MUTEX_FREE");
    EXPECT_DEATH(sync_mutex_unlock(&m), "MUTEX_FREE");
}

}  // namespace
