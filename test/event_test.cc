#include "sync/event.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <future>
#include <memory>
#include <vector>

#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"
#include "test/support/thread.h"

namespace {

const int64_t kMillisecond = 1000000;

TEST(Event, ZeroedIsUnset) {
    sync_event e = {};
    EXPECT_FALSE(sync_event_is_set(&e));
}

TEST(Event, InitMakesItUnset) {
    sync_event e;
    memset(&e, 0xff, sizeof e);
    sync_event_init(&e);
    EXPECT_FALSE(sync_event_is_set(&e));
    sync_event_set(&e);
    EXPECT_TRUE(sync_event_is_set(&e));
}

TEST(Event, IsSetForEver) {
    sync_event e = SYNC_EVENT_INIT;
    sync_event_set(&e);
    sync_event_set(&e);
    EXPECT_TRUE(sync_event_is_set(&e));
    EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, nullptr), SYNC_OK);
}

TEST(Event, SetWinsOverDeadlineAndNote) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, 0);
    sync_note_notify(note);
    sync_event_set(&e);
    EXPECT_EQ(sync_event_wait(&e, 0, note), SYNC_OK);
    sync_note_free(note);
}

TEST(Event, DeadlineInThePastIsALook) {
    sync_event e = SYNC_EVENT_INIT;
    EXPECT_EQ(sync_event_wait(&e, 0, nullptr), SYNC_ETIMEDOUT);
    EXPECT_EQ(sync_event_wait(&e, INT64_MIN, nullptr), SYNC_ETIMEDOUT);
}

TEST(Event, DeadlineEndsTheWait) {
    sync_event e = SYNC_EVENT_INIT;
    int64_t deadline_ns = sync_clock_now_ns() + kMillisecond;
    EXPECT_EQ(sync_event_wait(&e, deadline_ns, nullptr), SYNC_ETIMEDOUT);
    EXPECT_GE(sync_clock_now_ns(), deadline_ns);
}

TEST(Event, NotifiedNoteIsALook) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    sync_note_notify(note);
    EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, note), SYNC_ECANCELED);
    sync_note_free(note);
}

TEST(Event, NoteEndsTheWait) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    Thread sleeper([&] {
        EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, note), SYNC_ECANCELED);
    });
    sleeper.AwaitAsleep();
    sync_note_notify(note);
    sync_note_free(note);  // the wait has begun: it keeps what it needs
    sleeper.Join();
    sync_event_set(&e);  // and left nothing behind on e
}

TEST(Event, EarlierOfDeadlineAndNotesDeadlineEndsTheWait) {
    sync_event e = SYNC_EVENT_INIT;
    int64_t now_ns = sync_clock_now_ns();
    sync_note *soon = sync_note_new(nullptr, now_ns + kMillisecond);
    sync_note *late = sync_note_new(nullptr, now_ns + 3600000 * kMillisecond);
    EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, soon), SYNC_ECANCELED);
    EXPECT_EQ(sync_event_wait(&e, now_ns + kMillisecond, late), SYNC_ETIMEDOUT);
    sync_note_free(soon);
    sync_note_free(late);
}

TEST(Event, GivingUpDoesNotDisturbTheOthers) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    Thread plain(
        [&] { EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, nullptr), SYNC_OK); });
    Thread noted(
        [&] { EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, note), SYNC_OK); });
    plain.AwaitAsleep();
    noted.AwaitAsleep();
    EXPECT_EQ(sync_event_wait(&e, 0, nullptr), SYNC_ETIMEDOUT);
    EXPECT_EQ(sync_event_wait(&e, 0, note), SYNC_ETIMEDOUT);
    sync_event_set(&e);
    plain.Join();
    noted.Join();
    sync_note_free(note);
}

TEST(Event, SetWakesEverybodyAndShowsWhatCameBefore) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    int result = 0;
    std::vector<std::unique_ptr<Thread>> sleepers;
    for (int i = 0; i < 12; i++) {
        sleepers.push_back(std::make_unique<Thread>([&, i] {
            sync_note *n = i % 3 == 0 ? note : nullptr;
            EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, n), SYNC_OK);
            EXPECT_EQ(result, 42);
        }));
    }
    for (auto &s : sleepers) {
        s->AwaitAsleep();
    }
    result = 42;
    sync_event_set(&e);
    sleepers.clear();
    sync_note_free(note);
}

TEST(Event, SignalsDoNotEndTheWait) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    Thread plain([&] {
        EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, nullptr), SYNC_OK);
        EXPECT_TRUE(sync_event_is_set(&e));
    });
    Thread noted([&] {
        EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, note), SYNC_OK);
        EXPECT_TRUE(sync_event_is_set(&e));
    });
    plain.AwaitAsleep();
    noted.AwaitAsleep();
    plain.Interrupt(3);
    noted.Interrupt(3);
    sync_event_set(&e);
    plain.Join();
    noted.Join();
    sync_note_free(note);
}

// A watcher that writes its number into a log.
struct Watcher {
    Watcher(int n, std::vector<int> *l) : number(n), log(l) {
        watcher.fn = [](sync_watcher *w) {
            Watcher *self = SYNC_CONTAINER(w, Watcher, watcher);
            self->log->push_back(self->number);
        };
    }
    sync_watcher watcher = {};
    int number;
    std::vector<int> *log;
};

TEST(Event, WatchersAreCalledOnceInOrder) {
    sync_event e = SYNC_EVENT_INIT;
    std::vector<int> log;
    Watcher a(1, &log), b(2, &log), c(3, &log);
    EXPECT_TRUE(sync_event_watch(&e, &a.watcher));
    EXPECT_TRUE(sync_event_watch(&e, &b.watcher));
    EXPECT_TRUE(sync_event_watch(&e, &c.watcher));
    EXPECT_TRUE(log.empty());
    sync_event_set(&e);
    sync_event_set(&e);
    EXPECT_EQ(log, (std::vector<int>{1, 2, 3}));
}

TEST(Event, WatcherOfASetEventIsNotCalled) {
    sync_event e = SYNC_EVENT_INIT;
    std::vector<int> log;
    Watcher a(1, &log);
    sync_event_set(&e);
    EXPECT_FALSE(sync_event_watch(&e, &a.watcher));
    EXPECT_FALSE(sync_event_unwatch(&e, &a.watcher));
    EXPECT_TRUE(log.empty());
}

TEST(Event, WatcherTakenOffIsNotCalled) {
    sync_event e = SYNC_EVENT_INIT;
    std::vector<int> log;
    Watcher a(1, &log), b(2, &log), c(3, &log);
    sync_event_watch(&e, &a.watcher);
    sync_event_watch(&e, &b.watcher);
    sync_event_watch(&e, &c.watcher);
    EXPECT_TRUE(sync_event_unwatch(&e, &b.watcher));
    sync_event_set(&e);
    EXPECT_EQ(log, (std::vector<int>{1, 3}));
    EXPECT_FALSE(sync_event_unwatch(&e, &a.watcher));
}

TEST(Event, WatcherIsCalledWhenTheEventIsSetWithNothingLocked) {
    struct Probe {
        sync_watcher watcher = {};
        sync_event *event = nullptr;
        int calls = 0;
    };
    sync_event e = SYNC_EVENT_INIT;
    Probe probe;
    probe.event = &e;
    probe.watcher.fn = [](sync_watcher *w) {
        Probe *self = SYNC_CONTAINER(w, Probe, watcher);
        sync_watcher another = {};
        self->calls++;
        EXPECT_TRUE(sync_event_is_set(self->event));
        EXPECT_EQ(sync_event_wait(self->event, 0, nullptr), SYNC_OK);
        EXPECT_FALSE(sync_event_watch(self->event, &another));
        EXPECT_FALSE(sync_event_unwatch(self->event, w));
        sync_event_set(self->event);
    };
    sync_event_watch(&e, &probe.watcher);
    sync_event_set(&e);
    EXPECT_EQ(probe.calls, 1);
}

// What it waits for mustn't come after it.
struct WatcherThatWaits {
    WatcherThatWaits() {
        watcher.fn = [](sync_watcher *w) {
            auto *self = SYNC_CONTAINER(w, WatcherThatWaits, watcher);
            EXPECT_EQ(self->over.get_future().wait_for(std::chrono::seconds(10)),
                      std::future_status::ready);
        };
    }
    sync_watcher watcher;  // first: C++ has no offsets in other classes
    std::promise<void> over;
};

TEST(Event, AWatcherThatWaitsHoldsUpNobodyWhoWaits) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    WatcherThatWaits first;
    ASSERT_TRUE(sync_event_watch(&e, &first.watcher));
    Thread waiter([&] {
        EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, note), SYNC_OK);
        first.over.set_value();
    });
    waiter.AwaitAsleep();
    sync_event_set(&e);
    waiter.Join();
    sync_note_free(note);
}

TEST(Event, AWatcherOfTheNoteHoldsUpNobodyWhoWaits) {
    sync_event e = SYNC_EVENT_INIT;
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    WatcherThatWaits first;
    ASSERT_TRUE(sync_note_watch(note, &first.watcher));
    Thread waiter([&] {
        EXPECT_EQ(sync_event_wait(&e, SYNC_NEVER, note), SYNC_ECANCELED);
        first.over.set_value();
    });
    waiter.AwaitAsleep();
    sync_note_notify(note);
    waiter.Join();
    sync_note_unwatch(note, &first.watcher);
    sync_note_free(note);
}

TEST(Event, WatcherMayFreeItselfAndTheEvent) {
    struct Both {
        sync_watcher watchers[2] = {};
        sync_event event = {};
    };
    Both *both = new Both;
    both->watchers[0].fn = [](sync_watcher *) {};
    both->watchers[1].fn = [](sync_watcher *w) {
        delete reinterpret_cast<Both *>(w - 1);
    };
    sync_event_watch(&both->event, &both->watchers[0]);
    sync_event_watch(&both->event, &both->watchers[1]);
    sync_event_set(&both->event);
}

}  // namespace
