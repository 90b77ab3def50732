// Waiting without a thread: completions, tickets, queues in event loops, many
// keys at once, executors and limits (W1, W2, W3, F4, E3).
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uv.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "sync/note.h"
#include "test/support/cache.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Async);

// What completions have said, in order.
struct Said {
    std::mutex mu;
    std::vector<int> errors;
    std::vector<std::string> values;
    std::vector<uint32_t> from;

    size_t Count() {
        std::lock_guard<std::mutex> lock(mu);
        return errors.size();
    }
};

void Say(void *arg, int error, memo_value *value) {
    Said *said = static_cast<Said *>(arg);
    std::lock_guard<std::mutex> lock(said->mu);
    said->errors.push_back(error);
    said->values.emplace_back(static_cast<const char *>(value->data),
                              value->size);
    said->from.push_back(value->from);
    memo_release(value);
}

int GetAsync(memo *m, const std::string &key, Said *said,
             memo_ticket **ticket = nullptr) {
    return memo_get_async(m, key.data(), key.size(), nullptr, Say, said,
                          ticket);
}

// A load function whose loads wait to be finished by the test.
struct Held {
    std::mutex mu;
    std::vector<memo_load *> loads;

    LoadFunction Function() {
        return [this](memo_load *l) {
            std::lock_guard<std::mutex> lock(mu);
            loads.push_back(l);
            return int(MEMO_PENDING);
        };
    }
    memo_load *Await(size_t i) {
        ::Await([&] {
            std::lock_guard<std::mutex> lock(mu);
            return loads.size() > i;
        });
        return loads[i];
    }
};

TEST_P(Async, AHitCompletesAtOnce) {
    Cache cache(GetParam());
    Said said;

    EXPECT_EQ(cache.Put("k", "v"), 0);
    EXPECT_EQ(GetAsync(cache, "k", &said), 0);
    EXPECT_EQ(said.errors, std::vector<int>{0});
    EXPECT_EQ(said.values, std::vector<std::string>{"v"});
    EXPECT_EQ(said.from, std::vector<uint32_t>{MEMO_HIT});
}

// W1: blocking, by callback, by queue and in bulk, all on one flight.
TEST_P(Async, EveryStyleOfWaitingJoinsOneFlight) {
    Held held;
    Cache cache(GetParam(), held.Function());
    Said said;
    memo_queue *queue;
    ASSERT_EQ(memo_queue_new(&queue), 0);

    EXPECT_EQ(GetAsync(cache, "k", &said), 0);
    EXPECT_EQ(memo_get_queued(cache, "k", 1, nullptr, queue, &said, nullptr), 0);
    std::thread blocking([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });
    std::thread bulk([&] {
        memo_bytes key = {"k", 1};
        memo_value v;
        int error;
        EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, &v, &error), 0);
        EXPECT_EQ(v.from, uint32_t(MEMO_JOINED));
        memo_release(&v);
    });
    cache.AwaitJoins(3);
    memo_load *l = held.Await(0);
    EXPECT_EQ(Return(l, "v"), 0);
    EXPECT_EQ(memo_load_finish(l, 0), 0);
    blocking.join();
    bulk.join();
    EXPECT_EQ(said.errors, std::vector<int>{0});
    memo_completion c;
    EXPECT_EQ(memo_queue_next(queue, &c), 0);
    EXPECT_EQ(c.arg, &said);
    memo_release(&c.value);
    EXPECT_EQ(memo_queue_next(queue, &c), MEMO_ENOENT);
    memo_queue_free(queue);
    EXPECT_EQ(cache.Stats().loads, 1u);
}

// E1: the load's error reaches every completion as it is.
TEST_P(Async, AnErrorReachesEveryCompletion) {
    Held held;
    Cache cache(GetParam(), held.Function());
    Said said;

    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(GetAsync(cache, "k", &said), 0);
    }
    EXPECT_EQ(memo_load_finish(held.Await(0), 42), 0);
    EXPECT_EQ(said.errors, std::vector<int>(5, 42));
}

// W2: exactly one outcome.
TEST_P(Async, ACancelledWaitCompletesOnceAndAlone) {
    Held held;
    Cache cache(GetParam(), held.Function());
    Said gone, stays;
    memo_ticket *ticket;

    EXPECT_EQ(GetAsync(cache, "k", &stays), 0);
    EXPECT_EQ(GetAsync(cache, "k", &gone, &ticket), 0);
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);
    EXPECT_EQ(gone.errors, std::vector<int>{MEMO_ECANCELED});
    EXPECT_EQ(memo_ticket_cancel(ticket), MEMO_EALREADY);
    EXPECT_EQ(stays.Count(), 0u);
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
    EXPECT_EQ(stays.errors, std::vector<int>{0});
    EXPECT_EQ(gone.Count(), 1u);
    memo_ticket_free(ticket);
}

TEST_P(Async, CancelAndFinishRaceToOneOutcome) {
    Held held;
    Cache cache(GetParam(), held.Function());

    for (int i = 0; i < 300; i++) {
        std::string key = std::to_string(i);
        Said said;
        memo_ticket *ticket;
        ASSERT_EQ(GetAsync(cache, key, &said, &ticket), 0);
        memo_load *l = held.Await(size_t(i));
        std::thread finisher([&] {
            Return(l, "v");
            EXPECT_EQ(memo_load_finish(l, 0), 0);
        });
        int cancelled = memo_ticket_cancel(ticket);
        finisher.join();
        Await([&] { return said.Count() == 1; });
        EXPECT_EQ(said.errors[0], cancelled == 0 ? MEMO_ECANCELED : 0);
        memo_ticket_free(ticket);
    }
}

// W3: the load is told when nobody waits any more, a newcomer doesn't join it,
// and its result isn't kept.
TEST_P(Async, AnUnwantedLoadIsToldAndNotJoined) {
    Held held;
    Cache cache(GetParam(), held.Function(), [](memo_options *o) {
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    Said said;
    memo_ticket *a, *b;
    std::atomic<int> told{0};

    ASSERT_EQ(GetAsync(cache, "k", &said, &a), 0);
    ASSERT_EQ(GetAsync(cache, "k", &said, &b), 0);
    memo_load *dying = held.Await(0);
    EXPECT_EQ(memo_load_on_cancel(
                  dying,
                  [](void *arg, memo_load *) {
                      ++*static_cast<std::atomic<int> *>(arg);
                  },
                  &told),
              0);
    EXPECT_EQ(memo_ticket_cancel(a), 0);
    EXPECT_EQ(told, 0);
    EXPECT_EQ(memo_ticket_cancel(b), 0);
    EXPECT_EQ(told, 1);
    EXPECT_TRUE(memo_load_is_canceled(dying));
    // The newcomer starts a flight of its own.
    Said newcomer;
    ASSERT_EQ(GetAsync(cache, "k", &newcomer), 0);
    memo_load *fresh = held.Await(1);
    Return(dying, "outdated");
    EXPECT_EQ(memo_load_finish(dying, 0), 0);
    EXPECT_EQ(cache.Peek("k").error, MEMO_ENOENT);
    Return(fresh, "fresh");
    EXPECT_EQ(memo_load_finish(fresh, 0), 0);
    EXPECT_EQ(newcomer.values, std::vector<std::string>{"fresh"});
    EXPECT_EQ(cache.Peek("k"), Hit("fresh"));
    memo_ticket_free(a);
    memo_ticket_free(b);
}

TEST_P(Async, AWantedLoadIsNotToldByDefault) {
    Held held;
    Cache cache(GetParam(), held.Function());
    Said said;
    memo_ticket *ticket;

    ASSERT_EQ(GetAsync(cache, "k", &said, &ticket), 0);
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);
    memo_ticket_free(ticket);
    EXPECT_FALSE(memo_load_is_canceled(held.Await(0)));
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
    EXPECT_EQ(cache.Peek("k"), Hit("v"));  // F3: it was loaded for the cache
}

// L2
TEST_P(Async, ClosingCompletesEveryWait) {
    Held held;
    Cache cache(GetParam(), held.Function());
    Said said;

    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(GetAsync(cache, std::to_string(i % 3), &said), 0);
    }
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_EQ(said.errors, std::vector<int>(10, MEMO_ECLOSED));
    EXPECT_EQ(GetAsync(cache, "x", &said), MEMO_ECLOSED);
    for (int i = 0; i < 3; i++) {
        EXPECT_TRUE(memo_load_is_canceled(held.Await(size_t(i))));
        EXPECT_EQ(memo_load_finish(held.Await(size_t(i)), 0), 0);
    }
    EXPECT_EQ(said.Count(), 10u);
}

TEST_P(Async, ACompletionMayCallTheCache) {  // L4
    Held held;
    Cache cache(GetParam(), held.Function());
    struct Arg {
        Cache *cache;
        int error;
    } arg = {&cache, -1};

    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *p, int, memo_value *value) {
                      Arg *a = static_cast<Arg *>(p);
                      memo_release(value);
                      EXPECT_EQ(a->cache->Peek("k"), Hit("v"));
                      EXPECT_EQ(a->cache->Put("other", "w"), 0);
                      EXPECT_EQ(a->cache->Invalidate("k"), 0);
                      a->error = 0;
                  },
                  &arg, nullptr),
              0);
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
    EXPECT_EQ(arg.error, 0);
    EXPECT_EQ(cache.Peek("k").error, MEMO_ENOENT);
}

// Whatever a completion waits for, it isn't that a wait comes after it.
TEST_P(Async, ACompletionThatWaitsHoldsUpNobodyWhoWaits) {
    Held held;
    Cache cache(GetParam(), held.Function());
    sync_note *note = sync_note_new(nullptr, SYNC_NEVER);
    memo_wait with_note = {};
    std::promise<void> over;

    with_note.size = sizeof(with_note);
    with_note.note = note;
    EXPECT_EQ(memo_get_async(
                  cache, "k", 1, nullptr,
                  [](void *arg, int, memo_value *value) {
                      auto *other = static_cast<std::promise<void> *>(arg);
                      EXPECT_EQ(other->get_future().wait_for(
                                    std::chrono::seconds(10)),
                                std::future_status::ready);
                      memo_release(value);
                  },
                  &over, nullptr),
              0);
    Thread waiter([&] {
        memo_value v;
        EXPECT_EQ(memo_get_wait(cache, "k", 1, &with_note, &v), 0);
        memo_release(&v);
        over.set_value();
    });
    cache.AwaitJoins(1);
    waiter.AwaitAsleep();
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
    waiter.Join();
    sync_note_free(note);
}

TEST_P(Async, BadArgumentsAreRefused) {  // E5
    Cache cache(GetParam());
    Said said;
    memo_wait deadline = {};
    memo_ticket *ticket = reinterpret_cast<memo_ticket *>(1);
    memo_completion c;

    deadline.size = sizeof(deadline);
    deadline.deadline_ns = 1;
    EXPECT_EQ(memo_get_async(nullptr, "k", 1, nullptr, Say, &said, &ticket),
              MEMO_EINVAL);
    EXPECT_EQ(ticket, nullptr);
    EXPECT_EQ(memo_get_async(cache, nullptr, 1, nullptr, Say, &said, nullptr),
              MEMO_EINVAL);
    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, nullptr, &said, nullptr),
              MEMO_EINVAL);
    EXPECT_EQ(memo_get_async(cache, "k", 1, &deadline, Say, &said, nullptr),
              MEMO_EINVAL);
    EXPECT_EQ(memo_ticket_cancel(nullptr), MEMO_EINVAL);
    memo_ticket_free(nullptr);
    EXPECT_EQ(memo_queue_new(nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_queue_fd(nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_queue_next(nullptr, &c), MEMO_EINVAL);
    EXPECT_EQ(memo_get_queued(cache, "k", 1, nullptr, nullptr, nullptr, nullptr),
              MEMO_EINVAL);
    memo_queue_free(nullptr);
    EXPECT_EQ(memo_get_many(cache, nullptr, 1, nullptr, nullptr, nullptr),
              MEMO_EINVAL);
    EXPECT_EQ(memo_get_many(cache, nullptr, 0, nullptr, nullptr, nullptr), 0);
    EXPECT_EQ(said.Count(), 0u);
}

// ---- queues

TEST_P(Async, AQueueWorksInAnEpollLoop) {
    Cache cache(GetParam(), LoadInBrackets,
                [](memo_options *o) { o->threads = 2; });
    memo_queue *queue;
    int fetched = 0;
    ASSERT_EQ(memo_queue_new(&queue), 0);
    int loop = epoll_create1(0);
    epoll_event event = {};
    event.events = EPOLLIN;
    ASSERT_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, memo_queue_fd(queue), &event), 0);

    for (int i = 0; i < 200; i++) {
        std::string key = std::to_string(i % 100);
        ASSERT_EQ(memo_get_queued(cache, key.data(), key.size(), nullptr, queue,
                                  nullptr, nullptr),
                  0);
    }
    while (fetched < 200) {
        ASSERT_EQ(epoll_wait(loop, &event, 1, -1), 1);
        memo_completion c;
        while (memo_queue_next(queue, &c) == 0) {
            EXPECT_EQ(c.error, 0);
            memo_release(&c.value);
            fetched++;
        }
    }
    EXPECT_EQ(epoll_wait(loop, &event, 1, 0), 0) << "readable with nothing left";
    close(loop);
    memo_queue_free(queue);
}

TEST_P(Async, AQueueWorksInALibuvLoop) {
    Cache cache(GetParam(), LoadInBrackets,
                [](memo_options *o) { o->threads = 2; });
    struct State {
        memo_queue *queue;
        int fetched;
    } state = {nullptr, 0};
    uv_loop_t loop;
    uv_poll_t poll;
    ASSERT_EQ(memo_queue_new(&state.queue), 0);
    ASSERT_EQ(uv_loop_init(&loop), 0);
    ASSERT_EQ(uv_poll_init(&loop, &poll, memo_queue_fd(state.queue)), 0);
    poll.data = &state;

    for (int i = 0; i < 100; i++) {
        std::string key = std::to_string(i);
        ASSERT_EQ(memo_get_queued(cache, key.data(), key.size(), nullptr,
                                  state.queue, nullptr, nullptr),
                  0);
    }
    uv_poll_start(&poll, UV_READABLE, [](uv_poll_t *p, int, int) {
        State *s = static_cast<State *>(p->data);
        memo_completion c;
        while (memo_queue_next(s->queue, &c) == 0) {
            memo_release(&c.value);
            s->fetched++;
        }
        if (s->fetched == 100) {
            uv_close(reinterpret_cast<uv_handle_t *>(p), nullptr);
        }
    });
    uv_run(&loop, UV_RUN_DEFAULT);
    EXPECT_EQ(state.fetched, 100);
    uv_loop_close(&loop);
    memo_queue_free(state.queue);
}

// A thread that is to be cancelled isn't while it has a lock, or is half way in.
TEST_P(Async, NoCallIsACancellationPoint) {
    Cache cache(GetParam());
    memo_queue *queue;
    memo_completion c = {};
    int calls = 0;

    ASSERT_EQ(memo_queue_new(&queue), 0);
    {
        Thread canceled([&] {
            pthread_cancel(pthread_self());
            EXPECT_EQ(cache.Put("k", "v"), 0);
            calls++;
            EXPECT_EQ(memo_get_queued(cache, "k", 1, nullptr, queue, nullptr,
                                      nullptr),
                      0);
            calls++;
            EXPECT_EQ(memo_queue_next(queue, &c), 0);
            memo_release(&c.value);
            calls++;
        });
    }
    ASSERT_EQ(calls, 3);  // else the queue is locked
    memo_queue_free(queue);
}

TEST_P(Async, ClosingIsNoCancellationPoint) {
    Cache cache(GetParam());
    bool closed = false;

    {
        Thread canceled([&] {
            pthread_cancel(pthread_self());
            EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
            closed = true;
        });
    }
    EXPECT_TRUE(closed);
}

TEST_P(Async, AFreedQueueReleasesWhatStillComes) {
    Held held;
    Cache cache(GetParam(), held.Function());
    memo_queue *queue;
    ASSERT_EQ(memo_queue_new(&queue), 0);

    ASSERT_EQ(memo_get_queued(cache, "k", 1, nullptr, queue, nullptr, nullptr),
              0);
    memo_queue_free(queue);
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
}

// ---- many

int GetMany(memo *m, const std::vector<std::string> &keys,
            std::vector<Seen> *seen) {
    std::vector<memo_bytes> bytes;
    for (const std::string &key : keys) {
        bytes.push_back({key.data(), key.size()});
    }
    std::vector<memo_value> values(keys.size());
    std::vector<int> errors(keys.size());
    int error = memo_get_many(m, bytes.data(), keys.size(), nullptr,
                              values.data(), errors.data());
    for (size_t i = 0; i < keys.size(); i++) {
        Value v;
        *v.out() = values[i];
        seen->push_back(v.Seen(errors[i]));
    }
    return error;
}

TEST_P(Async, ManyKeysAreLoadedByOneBulkLoad) {
    int bulks = 0;
    static int *counter;
    counter = &bulks;
    Cache cache(GetParam(), LoadInBrackets, [](memo_options *o) {
        o->load_many = [](void *, memo_load *const loads[], size_t n) {
            ++*counter;
            for (size_t i = 0; i < n; i++) {
                if (KeyOf(loads[i])[0] != 'x') {
                    LoadInBrackets(loads[i]);
                }
            }
            return 0;
        };
    });
    std::vector<Seen> seen;

    EXPECT_EQ(cache.Put("a", "put"), 0);
    EXPECT_EQ(GetMany(cache, {"a", "b", "xc", "b", ""}, &seen), MEMO_ENOENT);
    EXPECT_EQ(seen[0], Hit("put"));
    EXPECT_EQ(seen[1], Loaded("<b>"));
    EXPECT_EQ(seen[2], Failed(MEMO_ENOENT));
    EXPECT_EQ(seen[3].error, 0);  // the same key twice is one load
    EXPECT_EQ(bulks, 1);
    EXPECT_EQ(cache.Stats().loads, 3u);
}

// Claim all, then load, then wait: opposite orders don't wait for each other.
TEST_P(Async, OppositeOrdersDoNotDeadlock) {
    Cache cache(GetParam());
    std::vector<std::string> keys, reversed;
    for (int i = 0; i < 200; i++) {
        keys.push_back(std::to_string(i));
        reversed.insert(reversed.begin(), std::to_string(i));
    }
    for (int round = 0; round < 20; round++) {
        std::vector<Seen> a, b;
        std::thread other([&] { EXPECT_EQ(GetMany(cache, reversed, &b), 0); });
        EXPECT_EQ(GetMany(cache, keys, &a), 0);
        other.join();
        for (size_t i = 0; i < keys.size(); i++) {
            EXPECT_EQ(a[i].bytes, b[keys.size() - 1 - i].bytes);
        }
        EXPECT_EQ(memo_clear(cache), 0);
    }
}

// E3: a thread that dies in the middle of a bulk abandons what it claimed.
TEST_P(Async, ADeadBulkLeavesNoKeyStuck) {
    Cache cache(GetParam(), [](memo_load *l) {
        if (KeyOf(l) == "2") {
            pthread_exit(nullptr);
        }
        return LoadInBrackets(l);
    });
    pthread_t thread;
    auto run = [](void *arg) -> void * {
        std::vector<memo_bytes> keys = {{"1", 1}, {"2", 1}, {"3", 1}};
        static memo_value out[3];
        static int errors[3];
        memo_get_many(*static_cast<Cache *>(arg), keys.data(), 3, nullptr, out,
                      errors);
        return nullptr;
    };
    ASSERT_EQ(pthread_create(&thread, nullptr, run, &cache), 0);
    pthread_join(thread, nullptr);
    EXPECT_EQ(cache.Get("1"), Hit("<1>"));
    EXPECT_EQ(cache.Get("3"), Loaded("<3>"));
    EXPECT_EQ(cache.Stats().flights, 0u);
}

// E3, W2: a wait may begin a load anew in the thread that has ended the one before.
// If that dies, the other waits and the cache don't notice.
TEST_P(Async, ALoadThatDiesInACompletionLeavesNobodyWaiting) {
    const size_t kWaits = 5;
    std::vector<memo_load *> loads;
    Said said;
    Cache cache(GetParam(), [&](memo_load *l) {
        loads.push_back(l);
        if (loads.size() == 2) {
            throw std::runtime_error("thrown");
        }
        return int{MEMO_PENDING};
    });

    for (size_t i = 0; i < kWaits; i++) {
        EXPECT_EQ(GetAsync(cache, "k", &said), 0);
    }
    EXPECT_EQ(memo_load_pass(loads[0]), 0);
    EXPECT_EQ(Return(loads[0], "v"), 0);
    EXPECT_THROW(memo_load_finish(loads[0], 0), std::runtime_error);
    EXPECT_EQ(loads.size(), kWaits);
    EXPECT_EQ(said.Count(), 2u);
    for (size_t i = 2; i < loads.size(); i++) {
        EXPECT_EQ(memo_load_finish(loads[i], 7), 0);
    }
    EXPECT_EQ(said.errors, (std::vector<int>{0, MEMO_EABANDONED, 7, 7, 7}));
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
}

// F4, W3: nor does it wait any more for what others load.
TEST_P(Async, ADeadBulkWaitsForNothing) {
    memo_load *l = nullptr;
    Cache cache(
        GetParam(),
        [&](memo_load *load) {
            if (KeyOf(load) == "dies") {
                throw std::runtime_error("thrown");
            }
            l = load;
            return int{MEMO_PENDING};
        },
        [](memo_options *o) {
            o->max_waiters = 1;
            o->flags = MEMO_CANCEL_UNWANTED;
        });
    memo_wait at_once = Until(1);
    std::vector<Seen> seen;

    for (int round = 0; round < 2; round++) {
        Said said;
        memo_ticket *ticket;
        EXPECT_EQ(GetAsync(cache, "k", &said, &ticket), 0);
        EXPECT_THROW(GetMany(cache, {"k", "dies"}, &seen), std::runtime_error);
        EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
        EXPECT_FALSE(memo_load_is_canceled(l));
        EXPECT_EQ(memo_ticket_cancel(ticket), 0);
        EXPECT_TRUE(memo_load_is_canceled(l));
        EXPECT_EQ(memo_load_finish(l, 1), 0);
        memo_ticket_free(ticket);
    }
}

// W2, W3: whoever is told that the load isn't wanted.
TEST_P(Async, ACancelFunctionThatThrowsCancelsAllTheSame) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->flags = MEMO_CANCEL_UNWANTED;
    });
    Said said;
    memo_ticket *ticket = nullptr;

    EXPECT_EQ(GetAsync(cache, "k", &said, &ticket), 0);
    EXPECT_EQ(memo_load_on_cancel(
                  cache.last, [](void *, memo_load *) { throw 1; }, nullptr),
              0);
    EXPECT_THROW(memo_ticket_cancel(ticket), int);
    EXPECT_EQ(said.errors, std::vector<int>{MEMO_ECANCELED});
    EXPECT_EQ(memo_ticket_cancel(ticket), MEMO_EALREADY);
    memo_ticket_free(ticket);
    EXPECT_EQ(memo_load_finish(cache.last, 1), 0);
    EXPECT_EQ(said.errors.size(), 1u);
}

// ---- executors and limits

TEST_P(Async, AnExecutorThatRefusesAbandonsTheLoad) {  // E3
    static const memo_executor refuses = {
        [](void *, void (*)(void *), void *) { return 1; }, nullptr};
    Cache cache(GetParam(), LoadInBrackets,
                [](memo_options *o) { o->executor = &refuses; });
    Said said;

    EXPECT_EQ(GetAsync(cache, "k", &said), 0);
    EXPECT_EQ(said.errors, std::vector<int>{MEMO_EABANDONED});
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));  // not stuck
}

TEST_P(Async, AnExecutorThatThrowsAbandonsTheLoad) {  // E3
    static const memo_executor throws = {
        [](void *, void (*)(void *), void *) -> int { throw 1; }, nullptr};
    Cache cache(GetParam(), LoadInBrackets,
                [](memo_options *o) { o->executor = &throws; });
    Said said;
    memo_wait no_time = {};

    no_time.size = sizeof(no_time);
    no_time.deadline_ns = 1;
    EXPECT_THROW(GetAsync(cache, "k", &said), int);
    EXPECT_EQ(said.errors, std::vector<int>{MEMO_EABANDONED});
    EXPECT_THROW(cache.Get("k", &no_time), int);
    EXPECT_EQ(cache.Stats().flights, 0u);
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));  // not stuck
}

// E3, V2: it is asked for a place for destructors, too, but not in the middle of what
// the loop's own thread does; and nothing is lost.
TEST(LoopAsync, AnExecutorThatThrowsIsDoneWithout) {
    bool throws = false;
    memo_executor executor = {[](void *state, void (*run)(void *), void *task) {
                                  if (*static_cast<bool *>(state)) {
                                      throw 1;
                                  }
                                  run(task);
                                  return 0;
                              },
                              &throws};
    memo_load *pending = nullptr;
    const std::string large(16 << 20, 'x');  // it is reclaimed when it goes
    Cache cache(
        {"loop", 1, MEMO_ENGINE_LOOP},
        [&](memo_load *l) {
            if (KeyOf(l) == "pending") {
                pending = l;
                return int{MEMO_PENDING};
            }
            return cache.objects.Adopt(l, large);
        },
        [&](memo_options *o) {
            o->executor = &executor;
            o->max_entries = 1;
        });
    Said said;

    EXPECT_EQ(cache.Get("a"), Loaded(large));
    EXPECT_EQ(GetAsync(cache, "pending", &said), 0);
    throws = true;
    EXPECT_EQ(Return(pending, "v"), 0);
    EXPECT_THROW(memo_load_finish(pending, 0), int);
    EXPECT_EQ(said.errors, std::vector<int>{0});
    EXPECT_EQ(cache.Put("b", "v"), 0);  // who writes helps
    cache.objects.AwaitDestroyed(1);
}

// F4, E3: who waits for a load, and runs it instead, waits no more when that throws.
TEST_P(Async, AWaitThatRunsWhatThrowsIsOver) {
    memo_load *later = nullptr;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            if (KeyOf(l) == "a") {
                EXPECT_THROW(cache.Get("b"), int);
            } else if (KeyOf(l) == "b") {
                throw 1;
            } else if (KeyOf(l) == "later") {
                later = l;
                return int{MEMO_PENDING};
            }
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->max_waiters = 1; });
    memo_bytes keys[] = {{"a", 1}, {"b", 1}};
    memo_value out[2];
    int errors[2];
    Said first, second;

    for (int i = 0; i < 3; i++) {
        EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, out, errors),
                  MEMO_EABANDONED);
        EXPECT_EQ(errors[0], 0);
        memo_release(&out[0]);
        EXPECT_EQ(cache.Invalidate("a"), 0);
    }
    EXPECT_EQ(GetAsync(cache, "later", &first), 0);
    EXPECT_EQ(GetAsync(cache, "later", &second), 0);  // not MEMO_EBUSY
    EXPECT_EQ(memo_load_finish(later, 1), 0);
}

TEST_P(Async, ACallerMayLeaveALoadThatAPoolRuns) {  // F3, W2
    Gate gate;
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            gate.Wait();
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->threads = 1; });
    memo_wait no_time = {};

    no_time.size = sizeof(no_time);
    no_time.deadline_ns = 1;
    EXPECT_EQ(cache.Get("k", &no_time), Failed(MEMO_ETIMEDOUT));
    gate.Open();
    Await([&] { return cache.Peek("k") == Hit("<k>"); });
}

// Loads that wait for loads which the only thread of a pool has yet to begin, or
// close the cache before that.
TEST_P(Async, ALoadOfAPoolDoesntWaitForThePool) {
    for (bool closes : {false, true}) {
        Gate gate;
        Said said;
        int closed = 1;
        Seen seen = {};
        {
            Cache cache(
                GetParam(),
                [&](memo_load *l) {
                    if (KeyOf(l) == "a") {
                        gate.Wait();
                        if (closes) {
                            closed = memo_close(cache, MEMO_NEVER);
                        } else {
                            seen = cache.Get("b");
                        }
                    }
                    return LoadInBrackets(l);
                },
                [](memo_options *o) { o->threads = 1; });
            EXPECT_EQ(GetAsync(cache, "a", &said), 0);
            Await([&] { return gate.Waiting() == 1; });
            EXPECT_EQ(GetAsync(cache, "b", &said), 0);
            gate.Open();
            Await([&] { return said.Count() == 2 && cache.Stats().flights == 0; });
        }
        if (closes) {
            EXPECT_EQ(closed, 0);
            EXPECT_EQ(said.errors, (std::vector<int>{MEMO_ECLOSED, MEMO_ECLOSED}));
        } else {
            EXPECT_EQ(seen, Joined("<b>"));
            EXPECT_EQ(said.values, (std::vector<std::string>{"<b>", "<a>"}));
        }
    }
}

TEST_P(Async, ThreadsOfAPoolAreReplacedWhenALoadEndsThem) {
    Cache cache(
        GetParam(),
        [](memo_load *l) {
            if (KeyOf(l)[0] == 'x') {
                pthread_exit(nullptr);
            }
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->threads = 1; });
    Said said;

    for (int i = 0; i < 5; i++) {
        EXPECT_EQ(GetAsync(cache, "x" + std::to_string(i), &said), 0);
    }
    EXPECT_EQ(GetAsync(cache, "k", &said), 0);
    Await([&] { return said.Count() == 6; });
    EXPECT_EQ(said.errors[5], 0);
    EXPECT_EQ(said.errors[0], MEMO_EABANDONED);
}

// The allocator is the caller's again when memo_free() has returned: until then it
// waits for a thread that has taken another's place, too.
TEST_P(Async, FreeWaitsForThreadsOfAPoolThatReplaceOthers) {
    static std::atomic<bool> holds;
    static Gate *held;
    static const memo_allocator slow = {
        [](void *, size_t size) { return std::malloc(size); },
        [](void *, void *p, size_t) {
            if (holds.exchange(false)) {
                held->Wait();
            }
            std::free(p);
        },
        nullptr, nullptr};
    Gate gate;
    std::atomic<bool> freed{false};
    Cache cache(
        GetParam(),
        [](memo_load *l) {
            if (KeyOf(l) == "dies") {
                pthread_exit(nullptr);
            }
            return LoadInBrackets(l);
        },
        [](memo_options *o) {
            o->threads = 1;
            o->allocator = &slow;
        });
    Said said;
    auto done = [](void *arg, int error, memo_value *v) {
        Say(arg, error, v);
        holds = true;  // when the ticket is freed, in this thread
    };

    held = &gate;
    EXPECT_EQ(GetAsync(cache, "dies", &said), 0);
    Await([&] { return said.Count() == 1; });
    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, done, &said, nullptr), 0);
    Await([&] { return gate.Waiting() == 1; });
    {
        Thread thread([&] {
            cache.Free();
            freed = true;
            gate.Wait();
        });
        thread.AwaitAsleep();
        EXPECT_FALSE(freed);
        gate.Open();
    }
    EXPECT_TRUE(freed);
}

TEST_P(Async, LimitsAnswerBusy) {  // F4
    Held held;
    Cache cache(GetParam(), held.Function(), [](memo_options *o) {
        o->max_loads = 2;
        o->max_waiters_per_key = 1;
    });
    Said said;

    EXPECT_EQ(GetAsync(cache, "a", &said), 0);
    EXPECT_EQ(GetAsync(cache, "b", &said), 0);
    EXPECT_EQ(GetAsync(cache, "c", &said), MEMO_EBUSY);
    EXPECT_EQ(GetAsync(cache, "a", &said), 0);  // the one waiter
    EXPECT_EQ(GetAsync(cache, "a", &said), MEMO_EBUSY);
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
    EXPECT_EQ(GetAsync(cache, "c", &said), 0);  // there is room again
    for (size_t i = 1; i < 3; i++) {
        EXPECT_EQ(memo_load_finish(held.Await(i), 7), 0);
    }
    EXPECT_EQ(said.Count(), 4u);
}

// "Goroutines and threads": as many callers as you like on a handful of threads.
TEST_P(Async, AMillionCallersWaitOnOneFlight) {
    Held held;
    Cache cache(GetParam(), held.Function());
    std::atomic<size_t> answered{0};
    // Joining costs a message with the monitor: fewer will do.
    const size_t n = MEMO_TEST_SANITIZED                      ? 10000
                     : GetParam().engine == MEMO_ENGINE_LOCK ? 1000000
                                                              : 50000;

    for (size_t i = 0; i < n; i++) {
        ASSERT_EQ(memo_get_async(
                      cache, "k", 1, nullptr,
                      [](void *arg, int error, memo_value *v) {
                          EXPECT_EQ(error, 0);
                          memo_release(v);
                          ++*static_cast<std::atomic<size_t> *>(arg);
                      },
                      &answered, nullptr),
                  0);
    }
    Return(held.Await(0), "v");
    EXPECT_EQ(memo_load_finish(held.Await(0), 0), 0);
    EXPECT_EQ(answered, n);
    EXPECT_EQ(cache.Stats().loads, 1u);
}

TEST_P(Async, AHundredThousandKeysAreLoadedAtOnce) {
    Held held;
    Cache cache(GetParam(), held.Function());
    std::atomic<size_t> answered{0};
    const size_t n = MEMO_TEST_SANITIZED                      ? 2000
                     : GetParam().engine == MEMO_ENGINE_LOCK ? 100000
                                                              : 10000;
    for (size_t i = 0; i < n; i++) {
        std::string key = std::to_string(i);
        ASSERT_EQ(memo_get_async(
                      cache, key.data(), key.size(), nullptr,
                      [](void *arg, int, memo_value *v) {
                          memo_release(v);
                          ++*static_cast<std::atomic<size_t> *>(arg);
                      },
                      &answered, nullptr),
                  0);
    }
    EXPECT_EQ(cache.Stats().flights, n);
    for (size_t i = 0; i < n; i++) {
        Return(held.loads[i], "v");
        EXPECT_EQ(memo_load_finish(held.loads[i], 0), 0);
    }
    EXPECT_EQ(answered, n);
    EXPECT_EQ(cache.Stats().entries, n);
}

// ---- the monitor in the caller's loop

LoadFunction Brackets() {
    return LoadInBrackets;
}

TEST(Loop, AnEpollLoopIsTheMonitor) {
    Cache cache({"loop", 1, MEMO_ENGINE_LOOP}, Brackets());
    int loop = epoll_create1(0);
    epoll_event event = {};
    std::atomic<bool> done{false};
    event.events = EPOLLIN;
    ASSERT_EQ(epoll_ctl(loop, EPOLL_CTL_ADD, memo_monitor_fd(cache), &event), 0);

    EXPECT_EQ(cache.Get("own"), Loaded("<own>"));  // needs no loop
    std::thread other([&] {
        for (int i = 0; i < 100; i++) {
            std::string key = std::to_string(i % 50);
            EXPECT_EQ(cache.Get(key).bytes, "<" + key + ">");
        }
        EXPECT_EQ(cache.Invalidate("1"), 0);
        done = true;
    });
    while (!done) {
        if (epoll_wait(loop, &event, 1, 1) == 1) {
            EXPECT_GE(memo_monitor_run(cache, 10), 0);
        }
    }
    other.join();
    EXPECT_EQ(cache.Peek("1").error, MEMO_ENOENT);
    EXPECT_EQ(cache.Peek("2"), Hit("<2>"));
    close(loop);
}

TEST(Loop, ALibuvLoopIsTheMonitor) {
    Cache cache({"loop", 1, MEMO_ENGINE_LOOP}, Brackets());
    struct State {
        Cache *cache;
        std::atomic<bool> done;
    } state = {&cache, {false}};
    uv_loop_t loop;
    uv_poll_t poll;
    uv_async_t stop;
    ASSERT_EQ(uv_loop_init(&loop), 0);
    ASSERT_EQ(uv_poll_init(&loop, &poll, memo_monitor_fd(cache)), 0);
    poll.data = &state;
    stop.data = &poll;
    uv_poll_start(&poll, UV_READABLE, [](uv_poll_t *p, int, int) {
        EXPECT_GE(memo_monitor_run(*static_cast<State *>(p->data)->cache, 4), 0);
    });
    uv_async_init(&loop, &stop, [](uv_async_t *a) {
        uv_close(static_cast<uv_handle_t *>(a->data), nullptr);
        uv_close(reinterpret_cast<uv_handle_t *>(a), nullptr);
    });
    std::thread other([&] {
        for (int i = 0; i < 100; i++) {
            EXPECT_EQ(cache.Get(std::to_string(i)).error, 0);
        }
        uv_async_send(&stop);
    });
    uv_run(&loop, UV_RUN_DEFAULT);
    other.join();
    uv_loop_close(&loop);
    EXPECT_EQ(cache.Stats().entries, 100u);
}

TEST(Loop, OnlyALoopHasADescriptor) {
    Cache lock({"lock", 0, MEMO_ENGINE_LOCK});
    Cache monitor({"monitor", 0, MEMO_ENGINE_MONITOR});

    EXPECT_EQ(memo_monitor_fd(lock), MEMO_EINVAL);
    EXPECT_EQ(memo_monitor_fd(monitor), MEMO_EINVAL);
    EXPECT_EQ(memo_monitor_run(lock, 1), MEMO_EINVAL);
    EXPECT_EQ(memo_monitor_run(monitor, 1), MEMO_EINVAL);
    EXPECT_EQ(memo_monitor_run(nullptr, 1), MEMO_EINVAL);
}

}  // namespace
