#include "sync/rwmutex.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "sync/event.h"
#include "test/support/thread.h"

namespace {

TEST(Rwmutex, ZeroedAndInitialisedIsFree) {
    sync_rwmutex zeroed = {}, made;
    memset(&made, 0xff, sizeof made);
    sync_rwmutex_init(&made);
    for (sync_rwmutex *rw : {&zeroed, &made}) {
        sync_rwmutex_lock(rw);
        sync_rwmutex_unlock(rw);
        sync_rwmutex_rlock(rw);
        sync_rwmutex_runlock(rw);
        sync_rwmutex_lock(rw);
        sync_rwmutex_unlock(rw);
    }
}

TEST(Rwmutex, ReadersAreInsideTogether) {
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    sync_event inside[2] = {};
    auto read = [&](int self) {
        sync_rwmutex_rlock(&rw);
        sync_event_set(&inside[self]);
        sync_event_wait(&inside[1 - self], SYNC_NEVER, nullptr);
        sync_rwmutex_runlock(&rw);
    };
    Thread a([&] { read(0); });
    Thread b([&] { read(1); });
}

TEST(Rwmutex, WriterWaitsForReadersAndSeesThatTheyAreGone) {
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    int reading = 2;
    sync_rwmutex_rlock(&rw);
    sync_rwmutex_rlock(&rw);  // two readers; no writer is waiting yet
    Thread writer([&] {
        sync_rwmutex_lock(&rw);
        EXPECT_EQ(reading, 0);
        sync_rwmutex_unlock(&rw);
    });
    writer.AwaitAsleep();
    writer.Interrupt(2);
    reading--;
    sync_rwmutex_runlock(&rw);
    writer.AwaitAsleep();
    reading--;
    sync_rwmutex_runlock(&rw);
}

TEST(Rwmutex, ReadersAndWritersWaitForAWriter) {
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    int written = 0;
    std::vector<std::unique_ptr<Thread>> waiting;
    sync_rwmutex_lock(&rw);
    for (int i = 0; i < 3; i++) {
        waiting.push_back(std::make_unique<Thread>([&] {
            sync_rwmutex_rlock(&rw);
            EXPECT_GE(written, 1);
            sync_rwmutex_runlock(&rw);
        }));
        waiting.push_back(std::make_unique<Thread>([&] {
            sync_rwmutex_lock(&rw);
            written++;
            sync_rwmutex_unlock(&rw);
        }));
    }
    for (auto &t : waiting) {
        t->AwaitAsleep();
        t->Interrupt(1);
    }
    written++;
    sync_rwmutex_unlock(&rw);
    waiting.clear();
    EXPECT_EQ(written, 4);
}

TEST(Rwmutex, WaitingWriterGoesBeforeReadersThatComeLater) {
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    bool written = false;
    sync_rwmutex_rlock(&rw);
    Thread writer([&] {
        sync_rwmutex_lock(&rw);
        written = true;
        sync_rwmutex_unlock(&rw);
    });
    writer.AwaitAsleep();
    Thread reader([&] {
        sync_rwmutex_rlock(&rw);
        EXPECT_TRUE(written);
        sync_rwmutex_runlock(&rw);
    });
    reader.AwaitAsleep();
    sync_rwmutex_runlock(&rw);
}

TEST(Rwmutex, WaitingReadersGoBeforeTheNextWriter) {
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    int written = 0;
    sync_rwmutex_lock(&rw);
    Thread reader([&] {
        sync_rwmutex_rlock(&rw);
        EXPECT_EQ(written, 1);
        sync_rwmutex_runlock(&rw);
    });
    reader.AwaitAsleep();
    Thread writer([&] {
        sync_rwmutex_lock(&rw);
        written++;
        sync_rwmutex_unlock(&rw);
    });
    writer.AwaitAsleep();
    written++;
    sync_rwmutex_unlock(&rw);
}

TEST(RwmutexDeathTest, UnlockingAFreeOneFails) {
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    EXPECT_DEATH(sync_rwmutex_unlock(&rw), "RWMUTEX_WRITER");
    EXPECT_DEATH(sync_rwmutex_runlock(&rw), "RWMUTEX_WRITER");
}

}  // namespace
