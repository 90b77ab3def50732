#include "sync/note.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "sync/atomic.h"
#include "sync/clock.h"
#include "sync/error.h"
#include "test/support/thread.h"

namespace {

const int64_t kMillisecond = 1000000;

struct Freer {
    void operator()(sync_note *n) const {
        sync_note_free(n);
    }
};
using Note = std::unique_ptr<sync_note, Freer>;

Note New(sync_note *parent = nullptr, int64_t deadline_ns = SYNC_NEVER) {
    return Note(sync_note_new(parent, deadline_ns));
}

TEST(Note, IsNotifiedOnceAndForEver) {
    Note n = New();
    EXPECT_FALSE(sync_note_is_notified(n.get()));
    EXPECT_EQ(sync_note_wait(n.get(), 0), SYNC_ETIMEDOUT);
    sync_note_notify(n.get());
    sync_note_notify(n.get());
    EXPECT_TRUE(sync_note_is_notified(n.get()));
    EXPECT_EQ(sync_note_wait(n.get(), 0), SYNC_OK);
}

TEST(Note, FreeingNullDoesNothing) {
    sync_note_free(nullptr);
}

TEST(Note, NotifyWakesThoseWhoWait) {
    Note n = New();
    Thread a([&] { EXPECT_EQ(sync_note_wait(n.get(), SYNC_NEVER), SYNC_OK); });
    Thread b([&] { EXPECT_EQ(sync_note_wait(n.get(), SYNC_NEVER), SYNC_OK); });
    a.AwaitAsleep();
    b.AwaitAsleep();
    a.Interrupt(2);
    sync_note_notify(n.get());
}

TEST(Note, DeadlineIsANotificationThatNobodySends) {
    int64_t soon = sync_clock_now_ns() + kMillisecond;
    Note n = New(nullptr, soon);
    EXPECT_EQ(sync_note_deadline(n.get()), soon);
    EXPECT_EQ(sync_note_wait(n.get(), SYNC_NEVER), SYNC_OK);
    EXPECT_GE(sync_clock_now_ns(), soon);
    EXPECT_TRUE(sync_note_is_notified(n.get()));
    EXPECT_EQ(sync_note_wait(n.get(), 0), SYNC_OK);
}

TEST(Note, EarliestDeadlineOfTheAncestorsCounts) {
    Note root = New(nullptr, 1000);
    Note late = New(root.get(), 2000);
    Note early = New(root.get(), 500);
    Note grandchild = New(late.get());
    EXPECT_EQ(sync_note_deadline(late.get()), 1000);
    EXPECT_EQ(sync_note_deadline(early.get()), 500);
    EXPECT_EQ(sync_note_deadline(grandchild.get()), 1000);
    EXPECT_EQ(sync_note_deadline(New().get()), SYNC_NEVER);
}

TEST(Note, NotifyingAParentNotifiesItsDescendantsAndNobodyElse) {
    Note root = New();
    Note child = New(root.get());
    Note grandchild = New(child.get());
    Note sibling = New(root.get());
    sync_note_notify(child.get());
    EXPECT_TRUE(sync_note_is_notified(child.get()));
    EXPECT_TRUE(sync_note_is_notified(grandchild.get()));
    EXPECT_FALSE(sync_note_is_notified(root.get()));
    EXPECT_FALSE(sync_note_is_notified(sibling.get()));
    sync_note_notify(root.get());
    EXPECT_TRUE(sync_note_is_notified(sibling.get()));
}

TEST(Note, ChildOfANotifiedParentIsBornNotified) {
    Note parent = New();
    sync_note_notify(parent.get());
    Note child = New(parent.get());
    EXPECT_TRUE(sync_note_is_notified(child.get()));
}

TEST(Note, NotifyingReachesThroughAFreedNote) {
    Note root = New();
    Note child = New(root.get());
    Note grandchild = New(child.get());
    child.reset();
    EXPECT_FALSE(sync_note_is_notified(grandchild.get()));
    sync_note_notify(root.get());
    EXPECT_TRUE(sync_note_is_notified(grandchild.get()));
}

TEST(Note, MayBeFreedInAnyOrder) {
    for (int order = 0; order < 6; order++) {
        for (int notified = 0; notified < 4; notified++) {
            Note n[3];
            n[0] = New();
            n[1] = New(n[0].get());
            n[2] = New(n[1].get());
            if (notified < 3) {
                sync_note_notify(n[notified].get());
            }
            int first = order % 3;
            int second = (first + 1 + order / 3) % 3;
            n[first].reset();
            n[second].reset();
            n[3 - first - second].reset();
        }
    }
}

struct Counter {
    Counter() {
        watcher.fn = [](sync_watcher *w) {
            SYNC_CONTAINER(w, Counter, watcher)->calls++;
        };
    }
    sync_watcher watcher = {};
    int calls = 0;
};

TEST(Note, WatcherIsCalledOnce) {
    Note parent = New();
    Note n = New(parent.get());
    Counter c;
    EXPECT_TRUE(sync_note_watch(n.get(), &c.watcher));
    EXPECT_EQ(c.calls, 0);
    sync_note_notify(parent.get());
    sync_note_notify(n.get());
    EXPECT_EQ(c.calls, 1);
    EXPECT_FALSE(sync_note_unwatch(n.get(), &c.watcher));
}

TEST(Note, WatcherTakenOffOrTooLateIsNotCalled) {
    Note n = New();
    Counter off, late;
    EXPECT_TRUE(sync_note_watch(n.get(), &off.watcher));
    EXPECT_TRUE(sync_note_unwatch(n.get(), &off.watcher));
    sync_note_notify(n.get());
    EXPECT_FALSE(sync_note_watch(n.get(), &late.watcher));
    EXPECT_EQ(off.calls, 0);
    EXPECT_EQ(late.calls, 0);
}

TEST(Note, MayBeFreedWhileWatched) {
    sync_note *n = sync_note_new(nullptr, SYNC_NEVER);
    Counter c;
    sync_note_watch(n, &c.watcher);
    sync_note_free(n);
    EXPECT_TRUE(sync_note_unwatch(n, &c.watcher));
    EXPECT_EQ(c.calls, 0);
}

TEST(Note, WatchersOfAFreedNoteAreStillReachedByItsParent) {
    Note parent = New();
    sync_note *n = sync_note_new(parent.get(), SYNC_NEVER);
    Counter c;
    sync_note_watch(n, &c.watcher);
    sync_note_free(n);
    sync_note_notify(parent.get());
    EXPECT_EQ(c.calls, 1);
    EXPECT_FALSE(sync_note_unwatch(n, &c.watcher));
}

TEST(Note, WatcherMayEndTheNote) {
    struct Owner {
        sync_watcher watcher = {};
        sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    };
    Owner owner;
    owner.watcher.fn = [](sync_watcher *w) {
        Owner *self = SYNC_CONTAINER(w, Owner, watcher);
        EXPECT_TRUE(sync_note_is_notified(self->note));
        EXPECT_FALSE(sync_note_unwatch(self->note, w));
        sync_note_free(self->note);
    };
    sync_note_watch(owner.note, &owner.watcher);
    sync_note_notify(owner.note);
}

TEST(Note, MayBeFreedByAThreadThatWaitedWhileNotifyReturns) {
    for (int i = 0; i < 100; i++) {
        sync_note *n = sync_note_new(nullptr, SYNC_NEVER);
        sync_note *child = sync_note_new(n, SYNC_NEVER);
        Thread waiter([&] {
            EXPECT_EQ(sync_note_wait(child, SYNC_NEVER), SYNC_OK);
            sync_note_free(child);
            sync_note_free(n);
        });
        sync_note_notify(n);
    }
}

// A watcher that throws, or ends its thread, keeps nothing from the others.
TEST(Note, DescendantsAreNotifiedThoughAWatcherThrows) {
    for (int throws = 0; throws < 4; throws++) {
        Note n[4];  // a tree: the first one's children are the second and third
        for (int i = 0; i < 4; i++) {
            n[i] = New(i == 0 ? nullptr : n[i == 3].get());
        }
        sync_watcher w = {};
        w.fn = [](sync_watcher *) { throw 1; };
        EXPECT_TRUE(sync_note_watch(n[throws].get(), &w));
        EXPECT_THROW(sync_note_notify(n[0].get()), int);
        for (const Note &each : n) {
            EXPECT_TRUE(sync_note_is_notified(each.get()));
        }
        EXPECT_FALSE(sync_note_unwatch(n[throws].get(), &w));
    }
}

TEST(Note, DescendantsAreNotifiedThoughAWatcherEndsTheThread) {
    Note root = New();
    Note child = New(root.get());
    sync_watcher w = {};
    sync_thread t;
    w.fn = [](sync_watcher *) { sync_thread_exit(); };
    EXPECT_TRUE(sync_note_watch(root.get(), &w));
    EXPECT_EQ(sync_thread_start(
                  &t,
                  [](void *n) -> void * {
                      sync_note_notify(static_cast<sync_note *>(n));
                      return nullptr;
                  },
                  root.get()),
              SYNC_OK);
    sync_thread_join(&t);
    EXPECT_TRUE(sync_note_is_notified(child.get()));
    EXPECT_FALSE(sync_note_unwatch(root.get(), &w));
}

// However deep the tree is, notifying it takes no more stack than a flat one.
TEST(Note, DeepTreesAreNotified) {
    const int kDepth = 200000;
    std::vector<sync_note *> notes = {sync_note_new(nullptr, SYNC_NEVER)};
    for (int i = 1; i < kDepth; i++) {
        notes.push_back(sync_note_new(notes.back(), SYNC_NEVER));
    }
    sync_note_notify(notes[0]);
    for (sync_note *n : notes) {
        EXPECT_TRUE(sync_note_is_notified(n));
    }
    for (sync_note *n : notes) {
        sync_note_free(n);
    }
}

}  // namespace
