#include "sync/chan.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"
#include "test/support/thread.h"

namespace {

struct Freer {
    void operator()(sync_chan *c) const {
        sync_chan_free(c);
    }
};
using Chan = std::unique_ptr<sync_chan, Freer>;

Chan New(size_t capacity) {
    return Chan(sync_chan_new(sizeof(int), capacity));
}

int Send(const Chan &c, int n, int64_t deadline_ns = SYNC_NEVER) {
    return sync_chan_send(c.get(), &n, deadline_ns, nullptr);
}

// What is received; or -1 for closed, -2 if that needs a wait.
int Recv(const Chan &c, int64_t deadline_ns = SYNC_NEVER) {
    int n = 0;
    int error = sync_chan_recv(c.get(), &n, deadline_ns, nullptr);
    return error == SYNC_OK ? n : error == SYNC_ECLOSED ? -1 : -2;
}

sync_select_case SendCase(const Chan &c, const int *n) {
    sync_select_case k = {};
    k.chan = c.get();
    k.send = n;
    return k;
}

sync_select_case RecvCase(const Chan &c, int *n) {
    sync_select_case k = {};
    k.chan = c.get();
    k.recv = n;
    return k;
}

TEST(Chan, BufferHoldsItsCapacityInOrder) {
    Chan c = New(3);
    EXPECT_EQ(sync_chan_capacity(c.get()), 3u);
    for (int round = 0; round < 5; round++) {
        EXPECT_EQ(Recv(c, SYNC_NOW), -2);
        for (int n = 1; n <= 3; n++) {
            EXPECT_EQ(Send(c, n, SYNC_NOW), SYNC_OK);
        }
        EXPECT_EQ(Send(c, 4, SYNC_NOW), SYNC_ETIMEDOUT);
        EXPECT_EQ(sync_chan_length(c.get()), 3u);
        for (int n = 1; n <= 3; n++) {
            EXPECT_EQ(Recv(c, SYNC_NOW), n);
        }
        Send(c, 7);  // so that the ring begins elsewhere
        EXPECT_EQ(Recv(c), 7);
    }
}

TEST(Chan, UnbufferedSenderWaitsForItsReceiver) {
    Chan c = New(0);
    bool received = false;
    EXPECT_EQ(Send(c, 1, SYNC_NOW), SYNC_ETIMEDOUT);
    EXPECT_EQ(Recv(c, SYNC_NOW), -2);
    Thread sender([&] { EXPECT_EQ(Send(c, 42), SYNC_OK); });
    sender.AwaitAsleep();
    sender.Interrupt(2);
    received = true;
    EXPECT_EQ(Recv(c), 42);
    sender.Join();
    EXPECT_TRUE(received);
}

TEST(Chan, UnbufferedReceiverWaitsForItsSender) {
    Chan c = New(0);
    Thread receiver([&] { EXPECT_EQ(Recv(c), 42); });
    receiver.AwaitAsleep();
    receiver.Interrupt(2);
    EXPECT_EQ(Send(c, 42, SYNC_NOW), SYNC_OK);
}

TEST(Chan, WaitingSendersFillTheRoomInOrder) {
    Chan c = New(1);
    Send(c, 1);
    Thread second([&] { EXPECT_EQ(Send(c, 2), SYNC_OK); });
    second.AwaitAsleep();
    Thread third([&] { EXPECT_EQ(Send(c, 3), SYNC_OK); });
    third.AwaitAsleep();
    for (int n = 1; n <= 3; n++) {
        EXPECT_EQ(Recv(c), n);
    }
}

TEST(Chan, DeadlineAndNoteEndTheWaitAndNothingIsSent) {
    Chan c = New(0);
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    int n = 1;
    int64_t soon = sync_clock_now_ns() + 1000000;
    EXPECT_EQ(sync_chan_send(c.get(), &n, soon, note), SYNC_ETIMEDOUT);
    EXPECT_EQ(sync_chan_recv(c.get(), &n, soon, note), SYNC_ETIMEDOUT);
    Thread sender([&] {
        EXPECT_EQ(sync_chan_send(c.get(), &n, SYNC_NEVER, note),
                  SYNC_ECANCELED);
    });
    sender.AwaitAsleep();
    sync_note_notify(note);
    sender.Join();
    EXPECT_EQ(Recv(c, SYNC_NOW), -2);
    EXPECT_EQ(Send(c, 1, SYNC_NOW), SYNC_ETIMEDOUT);
    sync_note_free(note);
}

TEST(Chan, WhatIsBufferedIsReceivedAfterClose) {
    Chan c = New(2);
    Send(c, 1);
    Send(c, 2);
    EXPECT_EQ(sync_chan_close(c.get()), SYNC_OK);
    EXPECT_EQ(Recv(c), 1);
    EXPECT_EQ(Recv(c), 2);
    EXPECT_EQ(Recv(c), -1);
    int n = 7;
    EXPECT_EQ(sync_chan_recv(c.get(), &n, SYNC_NEVER, nullptr), SYNC_ECLOSED);
    EXPECT_EQ(n, 0);
}

TEST(Chan, CloseWakesAllWhoWait) {
    Chan c = New(0), d = New(1);
    Send(d, 1);
    Thread a([&] { EXPECT_EQ(Recv(c), -1); });
    Thread b([&] { EXPECT_EQ(Recv(c), -1); });
    Thread e([&] { EXPECT_EQ(Send(d, 2), SYNC_ECLOSED); });
    Thread f([&] { EXPECT_EQ(Send(d, 3), SYNC_ECLOSED); });
    for (Thread *t : {&a, &b, &e, &f}) {
        t->AwaitAsleep();
    }
    EXPECT_EQ(sync_chan_close(c.get()), SYNC_OK);
    EXPECT_EQ(sync_chan_close(d.get()), SYNC_OK);
    for (Thread *t : {&a, &b, &e, &f}) {
        t->Join();
    }
    EXPECT_EQ(Recv(d), 1);
    EXPECT_EQ(Recv(d), -1);
}

TEST(Chan, MisuseIsAnError) {
    Chan c = New(1);
    int n = 1;
    EXPECT_EQ(sync_chan_close(nullptr), SYNC_EINVAL);
    EXPECT_EQ(sync_chan_close(c.get()), SYNC_OK);
    EXPECT_EQ(sync_chan_close(c.get()), SYNC_ECLOSED);
    EXPECT_EQ(Send(c, 1), SYNC_ECLOSED);
    EXPECT_EQ(sync_chan_send(c.get(), nullptr, SYNC_NEVER, nullptr),
              SYNC_EINVAL);
    sync_select_case both = RecvCase(c, &n);
    both.send = &n;
    EXPECT_EQ(sync_chan_select(&both, 1, SYNC_NEVER, nullptr), SYNC_EINVAL);
    EXPECT_EQ(sync_chan_select(&both, -1, SYNC_NEVER, nullptr), SYNC_EINVAL);
    EXPECT_EQ(sync_chan_select(nullptr, 1, SYNC_NEVER, nullptr), SYNC_EINVAL);
    EXPECT_EQ(sync_chan_new(SIZE_MAX / 4, 4), nullptr);
}

TEST(Chan, NoChannelIsNeverReady) {
    Chan none;
    EXPECT_EQ(Send(none, 1), SYNC_EDEADLK);
    EXPECT_EQ(Send(none, 1, SYNC_NOW), SYNC_ETIMEDOUT);
    EXPECT_EQ(Recv(none, sync_clock_now_ns() + 1000), -2);
    EXPECT_EQ(sync_chan_select(nullptr, 0, SYNC_NEVER, nullptr), SYNC_EDEADLK);
    Chan c = New(1);
    int n = 0;
    sync_select_case cases[] = {RecvCase(none, &n), RecvCase(c, &n)};
    EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NOW, nullptr), SYNC_ETIMEDOUT);
    Send(c, 5);
    EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 1);
    EXPECT_EQ(n, 5);
}

TEST(Chan, MayBeFreedByTheReceiverOfItsLastValue) {
    for (int i = 0; i < 200; i++) {
        sync_chan *c = sync_chan_new(sizeof(int), size_t(i % 2));
        Thread sender([c] {
            int n = 1;
            EXPECT_EQ(sync_chan_send(c, &n, SYNC_NEVER, nullptr), SYNC_OK);
        });
        if (i % 4 == 0) {
            sender.AwaitAsleep();
        }
        int n = 0;
        EXPECT_EQ(sync_chan_recv(c, &n, SYNC_NEVER, nullptr), SYNC_OK);
        sync_chan_free(c);
    }
}

TEST(Chan, ValuesMayBeOfNoSize) {
    Chan c(sync_chan_new(0, 2));
    char any = 0;
    EXPECT_EQ(sync_chan_send(c.get(), &any, SYNC_NOW, nullptr), SYNC_OK);
    EXPECT_EQ(sync_chan_recv(c.get(), nullptr, SYNC_NOW, nullptr), SYNC_OK);
    EXPECT_EQ(sync_chan_recv(c.get(), nullptr, SYNC_NOW, nullptr),
              SYNC_ETIMEDOUT);
}

TEST(Select, TakesWhatIsReadyElseTheDefault) {
    Chan in = New(1), out = New(1);
    int received = 0;
    const int sent = 9;
    sync_select_case cases[] = {RecvCase(in, &received), SendCase(out, &sent)};
    EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NOW, nullptr), 1);
    EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NOW, nullptr), SYNC_ETIMEDOUT);
    Send(in, 4);
    EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 0);
    EXPECT_EQ(received, 4);
    EXPECT_EQ(Recv(out), 9);
}

TEST(Select, WaitsForTheFirstAndLeavesTheOthers) {
    Chan a = New(0), b = New(0);
    int n = 0;
    Thread selector([&] {
        sync_select_case cases[] = {RecvCase(a, &n), RecvCase(b, &n)};
        EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 1);
        EXPECT_EQ(cases[1].error, SYNC_OK);
        EXPECT_EQ(n, 3);
    });
    selector.AwaitAsleep();
    selector.Interrupt(2);
    EXPECT_EQ(Send(b, 3), SYNC_OK);
    EXPECT_EQ(Send(a, 4, SYNC_NOW), SYNC_ETIMEDOUT);  // nobody waits there
    selector.Join();
    EXPECT_EQ(Send(a, 4, SYNC_NOW), SYNC_ETIMEDOUT);
    EXPECT_EQ(Send(b, 4, SYNC_NOW), SYNC_ETIMEDOUT);
}

TEST(Select, ClosedChannelIsReady) {
    Chan a = New(0), b = New(0);
    int n = 7;
    sync_chan_close(b.get());
    sync_select_case cases[] = {RecvCase(a, &n), RecvCase(b, &n)};
    EXPECT_EQ(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 1);
    EXPECT_EQ(cases[1].error, SYNC_ECLOSED);
    EXPECT_EQ(n, 0);
    Thread selector([&] {
        sync_select_case waiting[] = {RecvCase(a, &n), SendCase(a, &n)};
        EXPECT_EQ(sync_chan_select(waiting, 1, SYNC_NEVER, nullptr), 0);
        EXPECT_EQ(waiting[0].error, SYNC_ECLOSED);
    });
    selector.AwaitAsleep();
    sync_chan_close(a.get());
}

TEST(Select, DoesNotMeetItself) {
    Chan c = New(0);
    int n = 0;
    const int one = 1;
    sync_select_case cases[] = {RecvCase(c, &n), SendCase(c, &one),
                                RecvCase(c, &n)};
    EXPECT_EQ(sync_chan_select(cases, 3, sync_clock_now_ns() + 1000, nullptr),
              SYNC_ETIMEDOUT);
    EXPECT_EQ(Recv(c, SYNC_NOW), -2);
}

TEST(Select, MeetsAnotherSelect) {
    Chan a = New(0), b = New(0);
    int n = 0;
    Thread selector([&] {
        sync_select_case cases[] = {RecvCase(a, &n), RecvCase(b, &n)};
        EXPECT_GE(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 0);
        EXPECT_EQ(n, 1);
    });
    const int one = 1;
    sync_select_case cases[] = {SendCase(b, &one), SendCase(a, &one)};
    EXPECT_GE(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 0);
}

TEST(Select, EveryReadyCaseHasItsChance) {
    const int kTurns = 3000;
    Chan c[3] = {New(1), New(1), New(1)};
    int chosen[3] = {};
    for (int i = 0; i < kTurns; i++) {
        int n = 0;
        sync_select_case cases[3];
        for (int k = 0; k < 3; k++) {
            Send(c[k], k, SYNC_NOW);
            cases[k] = RecvCase(c[k], &n);
        }
        chosen[sync_chan_select(cases, 3, SYNC_NOW, nullptr)]++;
    }
    for (int k = 0; k < 3; k++) {
        EXPECT_GT(chosen[k], kTurns / 4);
    }
}

// Many senders and receivers, selecting among three channels in different
// orders: every value arrives once.
TEST(ChanStress, EveryValueArrivesOnce) {
    const int kSenders = 3, kReceivers = 3, kEach = 1500;
    Chan c[3] = {New(0), New(1), New(4)};
    std::vector<std::atomic<int>> arrived(kSenders * kEach);
    std::vector<std::unique_ptr<Thread>> senders, receivers;
    for (int i = 0; i < kReceivers; i++) {
        receivers.push_back(std::make_unique<Thread>([&, i] {
            int open = 3;
            Chan *mine[3] = {&c[i], &c[(i + 1) % 3], &c[(i + 2) % 3]};
            sync_select_case cases[3];
            int n[3] = {};
            for (int k = 0; k < 3; k++) {
                cases[k] = RecvCase(*mine[k], &n[k]);
            }
            while (open > 0) {
                int64_t deadline_ns = SYNC_NEVER;
                if (open == 3 && n[0] % 7 == 0) {
                    deadline_ns = sync_clock_now_ns() + 20000;
                }
                int k = sync_chan_select(cases, 3, deadline_ns, nullptr);
                if (k >= 0 && cases[k].error == SYNC_OK) {
                    arrived[size_t(n[k])]++;
                } else if (k >= 0) {
                    cases[k].chan = nullptr;  // as in Go: c = nil
                    open--;
                }
            }
        }));
    }
    for (int i = 0; i < kSenders; i++) {
        senders.push_back(std::make_unique<Thread>([&, i] {
            for (int j = 0; j < kEach; j++) {
                int n = i * kEach + j;
                sync_select_case cases[] = {SendCase(c[2 - i], &n),
                                            SendCase(c[j % 3], &n)};
                EXPECT_GE(sync_chan_select(cases, 2, SYNC_NEVER, nullptr), 0);
            }
        }));
    }
    senders.clear();
    for (Chan &each : c) {
        sync_chan_close(each.get());
    }
    receivers.clear();
    for (std::atomic<int> &n : arrived) {
        ASSERT_EQ(n, 1);
    }
}

}  // namespace
