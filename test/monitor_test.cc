#include "sync/monitor.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "sync/error.h"
#include "test/support/thread.h"

namespace {

struct Freer {
    void operator()(sync_monitor *m) const {
        sync_monitor_free(m);
    }
};
using Monitor = std::unique_ptr<sync_monitor, Freer>;

Monitor New(bool own_thread, uint32_t max_ops = 0) {
    sync_monitor *m = nullptr;
    EXPECT_EQ(sync_monitor_new(own_thread, max_ops, &m), SYNC_OK);
    return Monitor(m);
}

// An operation that runs a function; a call is replied to by it.
struct Op : sync_op {
    template <typename Function>
    explicit Op(Function f, bool replies = true)
        : sync_op(), function(f), reply(replies) {
        run = [](sync_op *o) {
            Op *self = static_cast<Op *>(o);
            bool must_reply = self->reply;  // self may be gone after function
            self->function(self);
            if (must_reply) {
                sync_op_reply(o);
            }
        };
    }
    std::function<void(Op *)> function;
    bool reply;
};

bool Readable(int fd) {
    pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

TEST(Monitor, NeedsAPlaceToBePut) {
    EXPECT_EQ(sync_monitor_new(1, 0, nullptr), SYNC_EINVAL);
}

TEST(Monitor, CallRunsInItsThreadAndWaitsForTheReply) {
    Monitor m = New(true);
    int state = 0;
    for (int i = 1; i <= 100; i++) {
        Op add([&](Op *) {
            state++;
            EXPECT_TRUE(sync_monitor_is_mine(m.get()));
        });
        EXPECT_EQ(sync_monitor_call(m.get(), &add), SYNC_OK);
        EXPECT_EQ(state, i);
        EXPECT_FALSE(sync_monitor_is_mine(m.get()));
    }
}

TEST(Monitor, OperationsOfOneSenderRunInOrder) {
    Monitor m = New(true);
    std::vector<int> log;
    std::vector<std::unique_ptr<Op>> ops;
    for (int i = 0; i < 100; i++) {
        ops.push_back(
            std::make_unique<Op>([&, i](Op *) { log.push_back(i); }, false));
        EXPECT_EQ(sync_monitor_send(m.get(), ops.back().get()), SYNC_OK);
    }
    Op last([&](Op *) { EXPECT_EQ(log.size(), 100u); });
    EXPECT_EQ(sync_monitor_call(m.get(), &last), SYNC_OK);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(log[size_t(i)], i);
    }
}

TEST(Monitor, StateIsItsThreadsAlone) {
    Monitor m = New(true);
    int balance = 0;  // plain: TSan sees whoever else touches it
    std::vector<std::unique_ptr<Thread>> customers;
    for (int i = 0; i < 4; i++) {
        customers.push_back(std::make_unique<Thread>([&] {
            for (int n = 0; n < 200; n++) {
                Op deposit([&](Op *) { balance++; });
                EXPECT_EQ(sync_monitor_call(m.get(), &deposit), SYNC_OK);
            }
        }));
    }
    customers.clear();
    int seen = 0;
    Op look([&](Op *) { seen = balance; });
    sync_monitor_call(m.get(), &look);
    EXPECT_EQ(seen, 800);
}

TEST(Monitor, CallInItsOwnThreadRunsAtOnce) {
    Monitor m = New(true);
    bool inner_ran = false;
    Op outer([&](Op *) {
        Op inner([&](Op *) { inner_ran = true; });
        EXPECT_EQ(sync_monitor_call(m.get(), &inner), SYNC_OK);
        EXPECT_TRUE(inner_ran);
    });
    EXPECT_EQ(sync_monitor_call(m.get(), &outer), SYNC_OK);
    EXPECT_TRUE(inner_ran);
}

// Holds up a monitor's thread until it is destroyed.
class Holdup {
   public:
    explicit Holdup(sync_monitor *m)
        : op_(
              [this](Op *) {
                  sync_event_set(&held_);
                  sync_event_wait(&go_, SYNC_NEVER, nullptr);
                  sync_event_set(&gone_);
              },
              false) {
        sync_monitor_send(m, &op_);
        sync_event_wait(&held_, SYNC_NEVER, nullptr);
    }
    ~Holdup() {
        sync_event_set(&go_);
        sync_event_wait(&gone_, SYNC_NEVER, nullptr);
    }

   private:
    sync_event held_ = {};
    sync_event go_ = {};
    sync_event gone_ = {};
    Op op_;
};

TEST(Monitor, FullQueueIsBusy) {
    Monitor m = New(true, 2);
    int ran = 0;
    auto count = [&](Op *) { ran++; };
    Op a(count, false), b(count, false), c(count, false), d(count);
    {
        Holdup holdup(m.get());
        EXPECT_EQ(sync_monitor_send(m.get(), &a), SYNC_OK);
        EXPECT_EQ(sync_monitor_send(m.get(), &b), SYNC_OK);
        EXPECT_EQ(sync_monitor_send(m.get(), &c), SYNC_EBUSY);
        EXPECT_EQ(sync_monitor_call(m.get(), &d), SYNC_EBUSY);
    }
    m.reset();
    EXPECT_EQ(ran, 2);  // run or dropped, once each; not those refused
}

TEST(Monitor, CloseAnswersThoseWhoWait) {
    Monitor m = New(true);
    std::atomic<int> refused{0};
    bool dropped = false;
    Op sent([&](Op *self) { dropped = sync_op_is_dropped(self); }, false);
    std::vector<std::unique_ptr<Thread>> callers;
    std::unique_ptr<Thread> closer;
    {
        Holdup holdup(m.get());
        for (int i = 0; i < 3; i++) {
            callers.push_back(std::make_unique<Thread>([&] {
                Op op([](Op *) { ADD_FAILURE() << "run after close"; });
                if (sync_monitor_call(m.get(), &op) == SYNC_ECLOSED) {
                    refused++;
                }
            }));
            callers.back()->AwaitAsleep();
        }
        EXPECT_EQ(sync_monitor_send(m.get(), &sent), SYNC_OK);
        closer = std::make_unique<Thread>([&] { sync_monitor_close(m.get()); });
        closer->AwaitAsleep();  // it waits for the operation that runs
        Op late([](Op *) { ADD_FAILURE() << "run after close"; });
        EXPECT_EQ(sync_monitor_send(m.get(), &late), SYNC_ECLOSED);
    }
    closer->Join();
    callers.clear();
    EXPECT_EQ(refused, 3);
    EXPECT_TRUE(dropped);
    sync_monitor_close(m.get());  // again: nothing
}

TEST(Monitor, MayBeClosedByItsOwnThread) {
    for (int i = 0; i < 50; i++) {
        Monitor m = New(true);
        Op close([&](Op *) { sync_monitor_close(m.get()); });
        EXPECT_EQ(sync_monitor_call(m.get(), &close), SYNC_OK);
        Op late([](Op *) { ADD_FAILURE() << "run after close"; });
        EXPECT_EQ(sync_monitor_call(m.get(), &late), SYNC_ECLOSED);
        m.reset();  // while the thread may still be on its way out
    }
}

TEST(Monitor, LoopSeesWorkOnTheDescriptor) {
    Monitor m = New(false);
    int fd = sync_monitor_fd(m.get());
    int ran = 0;
    auto count = [&](Op *) { ran++; };
    Op a(count, false), b(count, false), c(count, false);
    EXPECT_FALSE(Readable(fd));
    EXPECT_EQ(sync_monitor_run(m.get(), 10), 0);
    EXPECT_FALSE(Readable(fd));
    for (Op *op : {&a, &b, &c}) {
        EXPECT_EQ(sync_monitor_send(m.get(), op), SYNC_OK);
    }
    EXPECT_TRUE(Readable(fd));
    EXPECT_EQ(sync_monitor_run(m.get(), 2), 2);
    EXPECT_TRUE(Readable(fd));  // one is left
    EXPECT_EQ(sync_monitor_run(m.get(), 2), 1);
    EXPECT_EQ(ran, 3);
    EXPECT_FALSE(Readable(fd));
    EXPECT_EQ(sync_monitor_send(m.get(), &a), SYNC_OK);
    EXPECT_TRUE(Readable(fd));
    EXPECT_EQ(sync_monitor_run(m.get(), 2), 1);
}

TEST(Monitor, LoopServesOtherThreads) {
    Monitor m = New(false);
    int n = 0;
    std::atomic<int> callers{4};
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < 4; i++) {
        threads.push_back(std::make_unique<Thread>([&] {
            for (int k = 0; k < 100; k++) {
                Op op([&](Op *) { n++; });
                EXPECT_EQ(sync_monitor_call(m.get(), &op), SYNC_OK);
            }
            callers--;
        }));
    }
    // An event loop: sleeps on the descriptor, works in bounded steps.
    for (int served = 0; served < 400;) {
        pollfd p = {sync_monitor_fd(m.get()), POLLIN, 0};
        EXPECT_EQ(poll(&p, 1, -1), 1);
        served += sync_monitor_run(m.get(), 3);
    }
    threads.clear();
    EXPECT_EQ(n, 400);
}

// What was counted as queued is queued, or the loop would look for it for ever.
TEST(Monitor, ASenderIsNotCancelledHalfWay) {
    Monitor m = New(false);
    int ran = 0;
    bool sent = false;
    Op op([&](Op *) { ran++; }, false);
    Thread sender([&] {
        pthread_cancel(pthread_self());
        EXPECT_EQ(sync_monitor_send(m.get(), &op), SYNC_OK);
        sent = true;
    });
    sender.Join();
    EXPECT_TRUE(sent);
    EXPECT_TRUE(Readable(sync_monitor_fd(m.get())));
    EXPECT_EQ(sync_monitor_run(m.get(), 2), 1);
    EXPECT_EQ(ran, 1);
    if (ran == 0) {
        (void)m.release();  // which can't be freed
    }
}

TEST(Monitor, ACloserIsNotCancelledHalfWay) {
    Monitor m = New(true);
    bool closed = false;
    Thread closer([&] {
        pthread_cancel(pthread_self());
        sync_monitor_close(m.get());
        closed = true;
    });
    closer.Join();
    EXPECT_TRUE(closed);
}

TEST(Monitor, LoopIsClosedWhileOthersWait) {
    Monitor m = New(false);
    Thread caller([&] {
        Op op([](Op *) { ADD_FAILURE() << "nobody runs it"; });
        EXPECT_EQ(sync_monitor_call(m.get(), &op), SYNC_ECLOSED);
    });
    caller.AwaitAsleep();
    sync_monitor_close(m.get());
    caller.Join();
    EXPECT_EQ(sync_monitor_run(m.get(), 1), 0);
}

// Who polls it for good would never sleep again.
TEST(Monitor, LoopsDescriptorIsSilentOnceClosed) {
    for (bool waits : {false, true}) {
        Monitor m = New(false);
        Op op([](Op *) {}, false);
        if (waits) {
            EXPECT_EQ(sync_monitor_send(m.get(), &op), SYNC_OK);
            EXPECT_TRUE(Readable(sync_monitor_fd(m.get())));
        }
        sync_monitor_close(m.get());
        EXPECT_FALSE(Readable(sync_monitor_fd(m.get())));
        EXPECT_EQ(sync_monitor_run(m.get(), 1), 0);
        EXPECT_FALSE(Readable(sync_monitor_fd(m.get())));
    }
}

// What throws, or ends its thread, doesn't run any more.
TEST(Monitor, LoopGoesOnWhenAnOperationThrows) {
    Monitor m = New(false);
    Op throws([](Op *) { throw 1; }, false), exits([](Op *) { pthread_exit(nullptr); },
                                                   false);
    int ran = 0;
    Op op([&](Op *) { ran++; }, false), call([&](Op *) { ran++; });

    EXPECT_EQ(sync_monitor_send(m.get(), &throws), SYNC_OK);
    EXPECT_EQ(sync_monitor_send(m.get(), &op), SYNC_OK);
    EXPECT_THROW(sync_monitor_run(m.get(), 2), int);
    EXPECT_THROW(sync_monitor_call(m.get(), &throws), int);
    pthread_t thread;
    EXPECT_EQ(sync_monitor_run(m.get(), 1), 1);
    EXPECT_EQ(sync_monitor_send(m.get(), &exits), SYNC_OK);
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void *loop) -> void * {
                      sync_monitor_run(static_cast<sync_monitor *>(loop), 1);
                      ADD_FAILURE();
                      return nullptr;
                  },
                  m.get()),
              0);
    pthread_join(thread, nullptr);
    EXPECT_EQ(sync_monitor_run(m.get(), 0), 0);
    EXPECT_EQ(sync_monitor_call(m.get(), &call), SYNC_OK);
    EXPECT_EQ(ran, 2);
    sync_monitor_close(m.get());
}

// A thread that was the monitor's runs its own calls itself, but never while another
// runs the loop: confinement holds.
TEST(Monitor, TwoThreadsThatTakeTurnsNeverOverlap) {
    const int kCalls = 20000;
    Monitor m = New(false);
    std::atomic<bool> stop{false};
    std::atomic<int> inside{0}, overlaps{0};
    std::atomic<int> callers{2};
    std::vector<std::unique_ptr<Thread>> threads;

    for (int t = 0; t < 2; t++) {
        threads.push_back(std::make_unique<Thread>([&] {
            for (int i = 0; i < kCalls; i++) {
                int ran = sync_monitor_run(m.get(), 0);  // it is mine now
                EXPECT_TRUE(ran == 0 || ran == SYNC_EBUSY);
                Op op([&](Op *) {
                    overlaps += inside++ != 0;
                    inside--;
                });
                EXPECT_EQ(sync_monitor_call(m.get(), &op), SYNC_OK);
            }
            callers--;
        }));
    }
    threads.push_back(std::make_unique<Thread>([&] {
        while (callers != 0) {
            sync_monitor_run(m.get(), 10);
        }
    }));
    threads.clear();
    EXPECT_EQ(overlaps, 0);
    EXPECT_EQ(sync_monitor_run(m.get(), 0), 0);
}

TEST(Monitor, MisuseIsAnError) {
    Monitor threaded = New(true), loop = New(false);
    EXPECT_EQ(sync_monitor_fd(nullptr), SYNC_EINVAL);
    EXPECT_EQ(sync_monitor_fd(threaded.get()), SYNC_EINVAL);
    EXPECT_EQ(sync_monitor_run(threaded.get(), 1), SYNC_EINVAL);
    EXPECT_EQ(sync_monitor_run(loop.get(), -1), SYNC_EINVAL);
    Op reenter(
        [&](Op *) { EXPECT_EQ(sync_monitor_run(loop.get(), 1), SYNC_EBUSY); },
        false);
    sync_monitor_send(loop.get(), &reenter);
    EXPECT_EQ(sync_monitor_run(loop.get(), 1), 1);
    sync_monitor_free(nullptr);
}

TEST(MonitorStress, CloseMeetsCallersAtAnyMoment) {
    for (int round = 0; round < 20; round++) {
        Monitor m = New(true, round % 3 == 0 ? 2 : 0);
        int ran = 0;
        int answered = 0;
        std::vector<std::unique_ptr<Thread>> callers;
        std::atomic<int> ok{0};
        for (int i = 0; i < 3; i++) {
            callers.push_back(std::make_unique<Thread>([&] {
                int error;
                do {
                    Op op([&](Op *) { ran++; });
                    error = sync_monitor_call(m.get(), &op);
                    ok += error == SYNC_OK;
                } while (error != SYNC_ECLOSED);
            }));
        }
        for (int i = 0; i < round % 50; i++) {
            std::this_thread::yield();
        }
        sync_monitor_close(m.get());
        callers.clear();
        answered = ok;
        EXPECT_EQ(ran, answered);
    }
}

}  // namespace
