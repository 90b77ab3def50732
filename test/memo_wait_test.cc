// Waiting for a load: every style, on one flight; and what ends a wait.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "sync/clock.h"
#include "sync/note.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

const int64_t kMs = 1000000;
const int64_t kLongNs = 600 * 1000 * kMs;

MEMO_SUITE(Wait);

// W1
TEST_P(Wait, EveryStyleOfWaitingSharesOneFlight) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    memo_wait deadline = Until(sync_clock_now_ns() + kLongNs);
    memo_wait canceled = With(note);
    memo_wait both = With(note);
    both.deadline_ns = deadline.deadline_ns;
    {
        Thread a([&] { EXPECT_EQ(cache.GetPlain("k"), Joined("v")); });
        Thread b([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });
        Thread c([&] { EXPECT_EQ(cache.Get("k", &deadline), Joined("v")); });
        Thread d([&] { EXPECT_EQ(cache.Get("k", &canceled), Joined("v")); });
        Thread e([&] { EXPECT_EQ(cache.Get("k", &both), Joined("v")); });
        cache.AwaitJoins(5);
        cache.Finish(l, "v");
    }
    EXPECT_EQ(cache.loads, 1);
    sync_note_free(note);
}

// W2
TEST_P(Wait, ADeadlineRemovesThatWaiterAlone) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    Thread stays([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });

    cache.AwaitJoins(1);
    memo_wait soon = Until(sync_clock_now_ns() + 2 * kMs);
    EXPECT_EQ(cache.Get("k", &soon), Failed(MEMO_ETIMEDOUT));
    EXPECT_GE(sync_clock_now_ns(), soon.deadline_ns);
    for (int64_t past : {INT64_MIN, int64_t(-1), int64_t(1)}) {
        memo_wait at_once = Until(past);
        EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
    }
    cache.Finish(l, "v");
}

// W2
TEST_P(Wait, ANoteRemovesThatWaiterAlone) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    memo_wait canceled = With(note);
    Thread stays([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });
    Thread goes(
        [&] { EXPECT_EQ(cache.Get("k", &canceled), Failed(MEMO_ECANCELED)); });

    cache.AwaitJoins(2);
    goes.AwaitAsleep();
    sync_note_notify(note);
    goes.Join();
    // And whoever comes with it from now on.
    EXPECT_EQ(cache.Get("k", &canceled), Failed(MEMO_ECANCELED));
    cache.Finish(l, "v");
    stays.Join();
    sync_note_free(note);
}

// W2: a note's own deadline, and its parent's, are cancellations.
TEST_P(Wait, ANoteMayEndByItself) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    sync_note *note = sync_note_new(nullptr, sync_clock_now_ns() + 2 * kMs);
    sync_note *child = sync_note_new(note, SYNC_NEVER);
    memo_wait canceled = With(child);

    EXPECT_EQ(cache.Get("k", &canceled), Failed(MEMO_ECANCELED));
    sync_note_free(child);
    sync_note_free(note);
    cache.Finish(l, "v");
}

// W2: one of value, timeout, cancellation; never two, never none.
TEST_P(Wait, AnAnswerAndADeadlineRaceAndOneWins) {
    const int kRounds = 400;
    PendingCache cache(GetParam());

    for (int round = 0; round < kRounds; round++) {
        std::string key = Key(round);
        memo_load *l = cache.Start(key);
        sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
        memo_wait wait = With(note);
        std::atomic<int> ready{0};
        if (round % 2) {
            wait.deadline_ns = sync_clock_now_ns() + (round % 50) * 1000;
        }
        Thread waiter([&] {
            ready++;
            Seen seen = cache.Get(key, &wait);
            EXPECT_TRUE(seen == Joined("v") || seen == Hit("v") ||
                        seen == Failed(MEMO_ETIMEDOUT) ||
                        seen == Failed(MEMO_ECANCELED))
                << seen;
        });
        Thread canceler([&] {
            ready++;
            if (round % 3 == 0) {
                sync_note_notify(note);
            }
        });
        while (ready < 2) {
            std::this_thread::yield();
        }
        cache.Finish(l, "v");
        waiter.Join();
        canceler.Join();
        sync_note_free(note);
        EXPECT_EQ(cache.Get(key), Hit("v"));
    }
}

TEST_P(Wait, AnAnswerThatIsThereNeedsNoTime) {
    Cache cache(GetParam());
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    memo_wait none = Until(1);

    sync_note_notify(note);
    none.note = note;
    // A load in one's own thread isn't interrupted either.
    EXPECT_EQ(cache.Get("k", &none), Loaded("<k>"));
    EXPECT_EQ(cache.Get("k", &none), Hit("<k>"));
    sync_note_free(note);
}

TEST_P(Wait, WithoutLoadingOneJoinsOrGoesAway) {
    PendingCache cache(GetParam());
    memo_wait no_load = With(MEMO_WAIT_NO_LOAD);

    EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.loads, 0);
    memo_load *l = cache.Start("k");
    Thread joiner([&] { EXPECT_EQ(cache.Get("k", &no_load), Joined("v")); });
    cache.AwaitJoins(1);
    cache.Finish(l, "v");
    joiner.Join();
    EXPECT_EQ(cache.Get("k", &no_load), Hit("v"));
    EXPECT_EQ(cache.loads, 1);
}

// T2: deadlines are on the cache's clock, wherever it goes.
TEST_P(Wait, DeadlinesAreOnTheCachesClock) {
    FakeClock clock(1000);
    memo_clock hook = clock.Hook();
    PendingCache cache(
        GetParam(), [&](memo_options *options) { options->clock = &hook; });
    memo_load *l = cache.Start("k");
    memo_wait later = Until(2000);
    std::atomic<bool> ended{false};
    Thread waiter([&] {
        EXPECT_EQ(cache.Get("k", &later), Failed(MEMO_ETIMEDOUT));
        ended = true;
    });

    cache.AwaitJoins(1);
    clock.Advance(999);
    waiter.AwaitAsleep();
    EXPECT_FALSE(ended);
    clock.Advance(1);
    waiter.Join();

    memo_wait never = Until(INT64_MAX - 1);
    Thread patient([&] { EXPECT_EQ(cache.Get("k", &never), Joined("v")); });
    cache.AwaitJoins(2);
    cache.Finish(l, "v");
}

// W5
TEST_P(Wait, SurvivesSignals) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    memo_wait deadline = Until(sync_clock_now_ns() + kLongNs);
    memo_wait canceled = With(note);
    Thread a([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });
    Thread b([&] { EXPECT_EQ(cache.Get("k", &deadline), Joined("v")); });
    Thread c([&] { EXPECT_EQ(cache.Get("k", &canceled), Joined("v")); });

    cache.AwaitJoins(3);
    for (Thread *t : {&a, &b, &c}) {
        t->AwaitAsleep();
        t->Interrupt(100);
    }
    cache.Finish(l, "v");
    a.Join();
    b.Join();
    c.Join();
    sync_note_free(note);
}

// W5, L2
TEST_P(Wait, ClosingSurvivesSignals) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    std::atomic<bool> closed{false};
    Thread closer([&] {
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        closed = true;
    });

    closer.AwaitAsleep();
    closer.Interrupt(100);
    EXPECT_FALSE(closed);
    cache.Finish(l, "late");
}

// W5: a storm of signals, into everything that the cache does.
TEST_P(Wait, SurvivesAStormOfSignals) {
    Cache cache(GetParam());
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // and no SA_RESTART
    sigaction(SIGUSR1, &action, nullptr);

    for (int t = 0; t < 3; t++) {
        threads.emplace_back([&, t] {
            for (int i = 0; !stop; i++) {
                std::string key = Key(i % 7);
                memo_wait wait = Until(sync_clock_now_ns() + kLongNs);
                Seen seen = cache.Get(key, i % 2 ? &wait : nullptr);
                EXPECT_EQ(seen.error, 0);
                EXPECT_EQ(seen.bytes, "<" + key + ">");
                if ((i + t) % 3 == 0) {
                    EXPECT_EQ(cache.Invalidate(key), 0);
                }
            }
        });
    }
    for (int i = 0; i < 6000; i++) {
        pthread_kill(threads[i % 3].native_handle(), SIGUSR1);
    }
    stop = true;
    for (std::thread &t : threads) {
        t.join();
    }
}

// The loop's own thread waits for what others need the loop for.
TEST(WaitInTheLoop, DoesItsWorkMeanwhile) {
    Gate gate;
    Config loop = {"loop", 1, MEMO_ENGINE_LOOP};
    Cache cache(
        loop,
        [&](memo_load *l) {
            gate.Wait();
            return Return(l, "v");
        },
        [](memo_options *o) { o->threads = 1; });
    std::atomic<int> answers{0};
    auto done = [](void *n, int error, memo_value *v) {
        EXPECT_TRUE(error == 0 || error == MEMO_ECLOSED);
        memo_release(v);
        ++*static_cast<std::atomic<int> *>(n);
    };

    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, done, &answers, nullptr),
              0);
    gate.Open();
    EXPECT_EQ(cache.Get("k").bytes, "v");  // its load ends by a message
    EXPECT_EQ(memo_get_async(cache, "late", 4, nullptr, done, &answers, nullptr),
              0);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    // The pool's thread may be about to give the first.
    Await([&] { return answers == 2; });
}

}  // namespace
