// Events and notes under load: whoever waits gets exactly one answer, and
// whatever is freed is freed while others are on their way out.
#include "sync/event.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <vector>

#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"
#include "test/support/seed.h"
#include "test/support/thread.h"

namespace {

const int kRounds = 150;

// An event that is freed by the last of those who use it.
struct Shared {
    explicit Shared(int users) : refs(users) {
    }
    void Leave() {
        if (refs.fetch_sub(1) == 1) {
            delete this;
        }
    }
    sync_event event = {};
    std::atomic<int> refs;
    int result = 0;
};

// A user of a Shared: waits, in one way or another, and leaves.
void Wait(Shared *shared, unsigned way, sync_note *note) {
    int64_t soon = sync_clock_now_ns() + way % 1000 * 100;
    int error =
        way % 3 == 0   ? sync_event_wait(&shared->event, SYNC_NEVER, nullptr)
        : way % 3 == 1 ? sync_event_wait(&shared->event, soon, nullptr)
                       : sync_event_wait(&shared->event, soon * 2, note);
    if (error == SYNC_OK) {
        EXPECT_TRUE(sync_event_is_set(&shared->event));
        EXPECT_EQ(shared->result, 42);
    } else if (way % 3 == 1) {
        EXPECT_EQ(error, SYNC_ETIMEDOUT);
    } else {
        EXPECT_EQ(way % 3, 2u);
        EXPECT_EQ(error, SYNC_ECANCELED);
    }
    shared->Leave();
}

TEST(EventStress, EveryWaiterGetsOneAnswer) {
    std::minstd_rand random(Seed());
    for (int round = 0; round < kRounds; round++) {
        const int kWaiters = 6;
        auto *shared = new Shared(kWaiters + 1);
        sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < kWaiters; i++) {
            unsigned way = unsigned(random());
            threads.push_back(
                std::make_unique<Thread>([=] { Wait(shared, way, note); }));
        }
        Thread canceller([=] { sync_note_notify(note); });
        if (random() % 2 == 0) {
            std::this_thread::yield();
        }
        shared->result = 42;
        sync_event_set(&shared->event);
        shared->Leave();
        threads.clear();
        canceller.Join();
        sync_note_free(note);
    }
}

// A baton: an event on the stack of the one who waits, gone when set.
TEST(EventStress, StackOfTheOnlyWaiterIsReusedAtOnce) {
    std::atomic<sync_event *> baton{nullptr};
    std::atomic<bool> stop{false};
    Thread setter([&] {
        while (!stop) {
            if (sync_event *e = baton.exchange(nullptr)) {
                sync_event_set(e);
            } else {
                std::this_thread::yield();
            }
        }
    });
    std::minstd_rand random(Seed());
    for (int i = 0; i < 2000; i++) {
        auto e = std::make_unique<sync_event>();
        baton = e.get();
        if (random() % 2 == 0) {
            EXPECT_EQ(sync_event_wait(e.get(), SYNC_NEVER, nullptr), SYNC_OK);
        } else {
            while (!sync_event_is_set(e.get())) {
                std::this_thread::yield();
            }
        }
    }
    stop = true;
}

// Watchers come and go while the event is being set: each is called once, or
// was taken off, or came too late.
TEST(EventStress, WatchersAreCalledOnceOrTakenOff) {
    struct Watcher {
        sync_watcher watcher = {};
        std::atomic<int> calls{0};
    };
    std::minstd_rand random(Seed());
    for (int round = 0; round < kRounds; round++) {
        const int kWatchers = 200;
        sync_event e = SYNC_EVENT_INIT;
        std::vector<Watcher> watchers(2 * kWatchers);
        auto come_and_go = [&](int from, unsigned seed) {
            std::minstd_rand r(seed);
            int calls = 0;
            for (int i = from; i < from + kWatchers; i++) {
                Watcher *w = &watchers[size_t(i)];
                w->watcher.fn = [](sync_watcher *called) {
                    SYNC_CONTAINER(called, Watcher, watcher)->calls++;
                };
                calls = sync_event_watch(&e, &w->watcher);
                if (calls == 1 && r() % 2 == 0 &&
                    sync_event_unwatch(&e, &w->watcher)) {
                    calls = 0;
                }
                w->calls -= calls;  // zero when it has been called
            }
        };
        unsigned seed = unsigned(random());
        Thread a([&] { come_and_go(0, seed); });
        Thread b([&] { come_and_go(kWatchers, seed + 1); });
        Thread setter([&] { sync_event_set(&e); });
        Thread another([&] {
            sync_event_set(&e);
            EXPECT_TRUE(sync_event_is_set(&e));
        });
        a.Join();
        b.Join();
        setter.Join();
        another.Join();
        for (Watcher &w : watchers) {
            ASSERT_EQ(w.calls, 0);
        }
    }
}

// A watcher that can be waited for, if it is too late to take it off.
struct Called {
    Called() {
        watcher.fn = [](sync_watcher *w) {
            sync_event_set(&SYNC_CONTAINER(w, Called, watcher)->called);
        };
    }
    sync_watcher watcher = {};
    sync_event called = {};
};

// Trees of notes are built, notified, watched and freed by several threads.
TEST(NoteStress, TreesGrowAndFallWhileNotified) {
    std::minstd_rand random(Seed());
    for (int round = 0; round < kRounds; round++) {
        sync_note *root = sync_note_new(nullptr, SYNC_NEVER);
        auto grow = [=](unsigned seed) {
            std::minstd_rand r(seed);
            for (int i = 0; i < 50; i++) {
                sync_note *child = sync_note_new(root, SYNC_NEVER);
                sync_note *grandchild = sync_note_new(child, SYNC_NEVER);
                Called w;
                bool watched = sync_note_watch(grandchild, &w.watcher);
                if (r() % 8 == 0) {
                    sync_note_notify(child);
                    EXPECT_TRUE(sync_note_is_notified(child));
                }
                if (r() % 2 == 0) {
                    sync_note_free(child);
                    child = nullptr;
                }
                sync_note_free(grandchild);
                if (watched && !sync_note_unwatch(grandchild, &w.watcher)) {
                    sync_event_wait(&w.called, SYNC_NEVER, nullptr);
                }
                sync_note_free(child);
            }
        };
        unsigned seed = unsigned(random());
        Thread a([=] { grow(seed); });
        Thread b([=] { grow(seed + 1); });
        if (random() % 2 == 0) {
            std::this_thread::yield();
        }
        sync_note_notify(root);
        a.Join();
        b.Join();
        sync_note_free(root);
    }
}

}  // namespace
