#include "sync/waitgroup.h"

#include <gtest/gtest.h>

#include <climits>
#include <memory>
#include <vector>

#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"
#include "test/support/thread.h"

namespace {

TEST(Waitgroup, ZeroDoesNotWait) {
    sync_waitgroup wg = SYNC_WAITGROUP_INIT;
    EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, nullptr), SYNC_OK);
    EXPECT_EQ(sync_waitgroup_wait(&wg, 0, nullptr), SYNC_OK);
}

TEST(Waitgroup, WaitsForAll) {
    sync_waitgroup wg = SYNC_WAITGROUP_INIT;
    int done[3] = {};
    sync_waitgroup_add(&wg, 3);
    Thread waiter([&] {
        EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, nullptr), SYNC_OK);
        EXPECT_EQ(done[0] + done[1] + done[2], 3);
    });
    waiter.AwaitAsleep();
    std::vector<std::unique_ptr<Thread>> workers;
    for (int i = 0; i < 3; i++) {
        waiter.Interrupt(1);
        workers.push_back(std::make_unique<Thread>([&, i] {
            done[i] = 1;
            EXPECT_EQ(sync_waitgroup_done(&wg), SYNC_OK);
        }));
    }
}

TEST(Waitgroup, AllWhoWaitAreWoken) {
    sync_waitgroup wg = SYNC_WAITGROUP_INIT;
    sync_waitgroup_add(&wg, 1);
    std::vector<std::unique_ptr<Thread>> waiters;
    for (int i = 0; i < 5; i++) {
        waiters.push_back(std::make_unique<Thread>([&] {
            EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, nullptr), SYNC_OK);
        }));
        waiters.back()->AwaitAsleep();
    }
    sync_waitgroup_done(&wg);
}

TEST(Waitgroup, DeadlineAndNoteEndTheWait) {
    sync_waitgroup wg = SYNC_WAITGROUP_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    sync_waitgroup_add(&wg, 1);
    EXPECT_EQ(sync_waitgroup_wait(&wg, 0, nullptr), SYNC_ETIMEDOUT);
    EXPECT_EQ(sync_waitgroup_wait(&wg, sync_clock_now_ns() + 1000, note),
              SYNC_ETIMEDOUT);
    Thread waiter([&] {
        EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, note), SYNC_ECANCELED);
    });
    waiter.AwaitAsleep();
    sync_note_notify(note);
    waiter.Join();
    // Those who gave up are forgotten; the group still works.
    sync_waitgroup_done(&wg);
    EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, note), SYNC_OK);
    sync_note_free(note);
}

TEST(Waitgroup, MisuseIsAnErrorAndChangesNothing) {
    sync_waitgroup wg = SYNC_WAITGROUP_INIT;
    EXPECT_EQ(sync_waitgroup_done(&wg), SYNC_EINVAL);
    EXPECT_EQ(sync_waitgroup_add(&wg, -1), SYNC_EINVAL);
    EXPECT_EQ(sync_waitgroup_add(&wg, INT_MAX), SYNC_OK);
    EXPECT_EQ(sync_waitgroup_add(&wg, 1), SYNC_EINVAL);
    EXPECT_EQ(sync_waitgroup_add(&wg, INT_MIN), SYNC_EINVAL);
    EXPECT_EQ(sync_waitgroup_wait(&wg, 0, nullptr), SYNC_ETIMEDOUT);
    EXPECT_EQ(sync_waitgroup_add(&wg, -INT_MAX), SYNC_OK);
    EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, nullptr), SYNC_OK);
}

TEST(Waitgroup, CanBeUsedAgain) {
    sync_waitgroup wg = SYNC_WAITGROUP_INIT;
    for (int round = 0; round < 100; round++) {
        sync_waitgroup_add(&wg, 2);
        Thread a([&] { sync_waitgroup_done(&wg); });
        Thread b([&] { sync_waitgroup_done(&wg); });
        EXPECT_EQ(sync_waitgroup_wait(&wg, SYNC_NEVER, nullptr), SYNC_OK);
    }
}

TEST(Waitgroup, MayBeFreedByTheOneWhoWaited) {
    for (int i = 0; i < 100; i++) {
        auto wg = std::make_unique<sync_waitgroup>();
        sync_waitgroup *p = wg.get();
        sync_waitgroup_add(p, 1);
        Thread worker([p] { sync_waitgroup_done(p); });
        EXPECT_EQ(sync_waitgroup_wait(p, SYNC_NEVER, nullptr), SYNC_OK);
        wg.reset();
    }
}

}  // namespace
