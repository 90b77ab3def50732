// The programs of the chapter do what the book says of them.
#include "test/gopl/gopl.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "sync/event.h"
#include "test/support/thread.h"

namespace {

// Run body(i) in n threads at once, and wait for them.
template <typename Function>
void InThreads(int n, Function body) {
    sync_event start = SYNC_EVENT_INIT;
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < n; i++) {
        threads.push_back(std::make_unique<Thread>([&, i] {
            sync_event_wait(&start, SYNC_NEVER, nullptr);
            body(i);
        }));
    }
    sync_event_set(&start);
}

class Counter : public ::testing::TestWithParam<counter_kind> {};

TEST_P(Counter, LosesNoUpdate) {
    counter *c = counter_new(GetParam());
    InThreads(4, [&](int) {
        int last = 0;
        for (int i = 0; i < 500; i++) {
            counter_add(c);
            int now = counter_value(c);
            EXPECT_GT(now, last);
            last = now;
        }
    });
    EXPECT_EQ(counter_value(c), 2000);
    counter_free(c);
}

INSTANTIATE_TEST_SUITE_P(ThreeWays, Counter,
                         ::testing::Values(COUNTER_MUTEX, COUNTER_RWMUTEX,
                                           COUNTER_ATOMIC));

class Bank : public ::testing::TestWithParam<bank_kind> {};

// 9.1: Alice deposits $200 and looks, Bob deposits $100.
TEST_P(Bank, AliceAndBob) {
    bank *b = bank_open(GetParam());
    int seen = 0;
    InThreads(2, [&](int i) {
        if (i == 0) {
            bank_deposit(b, 200);
            seen = bank_balance(b);
        } else {
            bank_deposit(b, 100);
        }
    });
    EXPECT_TRUE(seen == 200 || seen == 300);
    EXPECT_EQ(bank_balance(b), 300);
    bank_close(b);
}

// Exercise 9.1.
TEST_P(Bank, WithdrawalsSucceedWhileThereIsEnough) {
    bank *b = bank_open(GetParam());
    bank_deposit(b, 100);
    EXPECT_TRUE(bank_withdraw(b, 60));
    EXPECT_FALSE(bank_withdraw(b, 60));
    EXPECT_EQ(bank_balance(b), 40);
    EXPECT_TRUE(bank_withdraw(b, 40));
    EXPECT_EQ(bank_balance(b), 0);
    bank_close(b);
}

TEST_P(Bank, TheSumIsAlwaysRight) {
    bank *b = bank_open(GetParam());
    std::atomic<int> sum{0};
    InThreads(4, [&](int i) {
        for (int n = 0; n < 200; n++) {
            if ((i + n) % 3 == 0) {
                sum -= bank_withdraw(b, 5) * 5;
            } else {
                bank_deposit(b, 3);
                sum += 3;
            }
            EXPECT_GE(bank_balance(b), 0);
        }
    });
    EXPECT_EQ(bank_balance(b), sum);
    bank_close(b);
}

INSTANTIATE_TEST_SUITE_P(ThreeWays, Bank,
                         ::testing::Values(BANK_MONITOR, BANK_MUTEX,
                                           BANK_RWMUTEX));

TEST(Icons, AreLoadedOnceByWhoeverIsFirst) {
    icons *all = icons_new();
    EXPECT_EQ(icons_loads(all), 0);
    InThreads(4, [&](int) {
        EXPECT_STREQ(icons_lazy(all, "hearts.png"), "♥");
        EXPECT_EQ(icons_lazy(all, "jokers.png"), nullptr);
    });
    EXPECT_EQ(icons_loads(all), 1);
    icons_free(all);
}

TEST(Icons, OfTheEagerTableNeedNoLock) {
    InThreads(4, [&](int) { EXPECT_STREQ(icons_eager("clubs.png"), "♣"); });
}

TEST(Thumbnails, AreAllMadeBeforeTheTotalIsTold) {
    EXPECT_EQ(thumbnails_total([](int i) { return i; }, 20), 190);
    EXPECT_EQ(thumbnails_total([](int) { return 1; }, 0), 0);
}

// ------------------------------------------------------------ memo1 to memo5

// A slow function: it counts its calls, says that it was entered, and returns
// when it is let go.
struct Slow {
    static int Call(void *arg, const char *key) {
        Slow *self = static_cast<Slow *>(arg);
        int i = key[0] - 'a';
        if (self->calls[i]++ == 0) {
            sync_event_set(&self->entered[i]);
        } else {
            sync_event_set(&self->entered_again);
        }
        sync_event_wait(&self->go[i], SYNC_NEVER, nullptr);
        return i + 1;
    }
    std::atomic<int> calls[2] = {};
    sync_event entered[2] = {};
    sync_event entered_again = {};
    sync_event go[2] = {};
};

void Await(sync_event *e) {
    sync_event_wait(e, SYNC_NEVER, nullptr);
}

class Memo : public ::testing::TestWithParam<const memo_stage *> {
   protected:
    Memo() : stage(GetParam()), s(stage->make(Slow::Call, &slow)) {
    }
    ~Memo() override {
        stage->end(s);
    }
    int Get(const char *key) {
        return stage->get(s, key);
    }
    Slow slow;
    const memo_stage *stage;
    struct stage *s;
};

TEST_P(Memo, CallsTheFunctionOncePerKeyInSequence) {
    sync_event_set(&slow.go[0]);
    sync_event_set(&slow.go[1]);
    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(Get("a"), 1);
        EXPECT_EQ(Get("b"), 2);
    }
    EXPECT_EQ(slow.calls[0], 1);
    EXPECT_EQ(slow.calls[1], 1);
}

INSTANTIATE_TEST_SUITE_P(AllStages, Memo,
                         ::testing::Values(&memo1, &memo2, &memo3, &memo4,
                                           &memo5));

// memo1, two threads at once: see racy_test.cc.

class Serialising : public Memo {};

TEST_P(Serialising, ASlowKeyHoldsUpAnother) {
    Thread a([&] { EXPECT_EQ(Get("a"), 1); });
    Await(&slow.entered[0]);
    Thread b([&] { EXPECT_EQ(Get("b"), 2); });
    b.AwaitAsleep();
    EXPECT_EQ(slow.calls[1], 0);  // b waits, but not for its own function
    sync_event_set(&slow.go[1]);
    sync_event_set(&slow.go[0]);
}

INSTANTIATE_TEST_SUITE_P(Memo2, Serialising, ::testing::Values(&memo2));

class Parallel : public Memo {};

TEST_P(Parallel, ASlowKeyHoldsUpNoOther) {
    Thread a([&] { EXPECT_EQ(Get("a"), 1); });
    Await(&slow.entered[0]);
    sync_event_set(&slow.go[1]);
    EXPECT_EQ(Get("b"), 2);
    sync_event_set(&slow.go[0]);
}

INSTANTIATE_TEST_SUITE_P(From3On, Parallel,
                         ::testing::Values(&memo3, &memo4, &memo5));

class Duplicating : public Memo {};

TEST_P(Duplicating, TwoAtOnceLoadAKeyTwice) {
    Thread a([&] { EXPECT_EQ(Get("a"), 1); });
    Thread again([&] { EXPECT_EQ(Get("a"), 1); });
    Await(&slow.entered[0]);
    Await(&slow.entered_again);  // both are in the function
    EXPECT_EQ(slow.calls[0], 2);
    sync_event_set(&slow.go[0]);
}

INSTANTIATE_TEST_SUITE_P(Memo3, Duplicating, ::testing::Values(&memo3));

class Suppressing : public Memo {};

TEST_P(Suppressing, AnyNumberAtOnceLoadAKeyOnce) {
    std::vector<std::unique_ptr<Thread>> threads;
    for (int i = 0; i < 5; i++) {
        threads.push_back(
            std::make_unique<Thread>([&] { EXPECT_EQ(Get("a"), 1); }));
    }
    Await(&slow.entered[0]);
    for (auto &t : threads) {
        t->AwaitAsleep();  // in the function, or waiting for it
    }
    sync_event_set(&slow.go[0]);
    threads.clear();
    EXPECT_EQ(slow.calls[0], 1);
}

INSTANTIATE_TEST_SUITE_P(From4On, Suppressing,
                         ::testing::Values(&memo4, &memo5));

}  // namespace
