// Mutex and rwmutex under load: what they guard is checked by those inside.
#include "sync/mutex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <vector>

#include "sync/event.h"
#include "sync/rwmutex.h"
#include "test/support/seed.h"
#include "test/support/thread.h"

namespace {

const int kThreads = 4;

// Run body(random) in kThreads threads, at the same time.
template <typename Function>
void InThreads(Function body) {
    sync_event start = SYNC_EVENT_INIT;
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < kThreads; i++) {
        unsigned seed = Seed() + unsigned(i);
        threads.push_back(std::make_unique<Thread>([&, seed] {
            std::minstd_rand random(seed);
            sync_event_wait(&start, SYNC_NEVER, nullptr);
            body(random);
        }));
    }
    sync_event_set(&start);
}

TEST(MutexStress, OneAtATime) {
    const int kTurns = 20000;
    sync_mutex m = SYNC_MUTEX_INIT;
    int inside = 0;
    int turns = 0;
    InThreads([&](std::minstd_rand &random) {
        for (int i = 0; i < kTurns; i++) {
            if (random() % 4 != 0) {
                sync_mutex_lock(&m);
            } else if (!sync_mutex_trylock(&m)) {
                i--;
                continue;
            }
            ASSERT_EQ(++inside, 1);
            turns++;
            if (random() % 1000 == 0) {
                std::this_thread::yield();
            }
            inside--;
            sync_mutex_unlock(&m);
        }
    });
    EXPECT_EQ(turns, kThreads * kTurns);
    EXPECT_TRUE(sync_mutex_trylock(&m));
}

// The last to give up an object frees it, with the mutex in it, while the one
// before may still be on its way out of unlock.
TEST(MutexStress, LastToLeaveFreesIt) {
    struct Object {
        sync_mutex mu = {};
        int refs = 2;
        std::atomic<int> coming{2};
    };
    std::vector<Object *> objects(3000);
    for (Object *&o : objects) {
        o = new Object;
    }
    auto leave_all = [&] {
        for (Object *o : objects) {
            o->coming--;
            while (o->coming != 0) {
                std::this_thread::yield();
            }
            sync_mutex_lock(&o->mu);
            bool last = --o->refs == 0;
            sync_mutex_unlock(&o->mu);
            if (last) {
                delete o;
            }
        }
    };
    Thread a(leave_all), b(leave_all);
}

TEST(RwmutexStress, ReadersSeeWholeWrites) {
    const int kTurns = 10000;
    sync_rwmutex rw = SYNC_RWMUTEX_INIT;
    int first = 0;
    int second = 0;
    InThreads([&](std::minstd_rand &random) {
        for (int i = 0; i < kTurns; i++) {
            bool yields = random() % 1000 == 0;
            if (random() % 3 == 0) {
                sync_rwmutex_lock(&rw);
                first++;
                if (yields) {
                    std::this_thread::yield();
                }
                second++;
                sync_rwmutex_unlock(&rw);
            } else {
                sync_rwmutex_rlock(&rw);
                int seen = first;
                if (yields) {
                    std::this_thread::yield();
                }
                ASSERT_EQ(seen, second);
                sync_rwmutex_runlock(&rw);
            }
        }
    });
    sync_rwmutex_lock(&rw);
    EXPECT_EQ(first, second);
    sync_rwmutex_unlock(&rw);
}

}  // namespace
