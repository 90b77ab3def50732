// fork() in the middle of everything (L3): the child keeps what is resident, the
// flights it inherited fail with MEMO_EFORKED, nothing is stuck, and the parent
// notices nothing.
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

extern "C" uint32_t sync_pin_records(void);  // sync/pin.h

namespace {

// ThreadSanitizer has locks of its own that fork() leaves stuck, and doesn't know
// threads in a child: there, what is looked at is what a fork does in the parent.
#if defined(__SANITIZE_THREAD__)
constexpr bool kChildrenMayDoAnything = false;
#else
constexpr bool kChildrenMayDoAnything = true;
#endif
// Nor does AddressSanitizer's allocator survive a fork while others use it.
constexpr bool kAllocatorForks = !MEMO_TEST_SANITIZED;

MEMO_SUITE(Fork);

// Run it in a child, which ends with it.
template <typename Function>
pid_t Start(Function run) {
    fflush(nullptr);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(100);  // a child that hangs is to be seen
        run();
        fflush(nullptr);
        _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    return pid;
}

void Join(pid_t pid) {
    int status = -1;
    ASSERT_GT(pid, 0);
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

template <typename Function>
void InChild(Function run) {
    Join(Start(run));
}

// What every child must be able to do, "k" being resident.
void UseAll(Cache &cache) {
    EXPECT_EQ(cache.GetPlain("k"), Hit("<k>"));
    EXPECT_EQ(cache.Get("new"), Loaded("<new>"));
    EXPECT_EQ(cache.Get("new"), Hit("<new>"));
    EXPECT_EQ(cache.Put("put", "v"), 0);
    EXPECT_EQ(cache.Peek("put"), Hit("v"));
    EXPECT_EQ(cache.Invalidate("put"), 0);
    EXPECT_EQ(cache.Peek("put"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Stats().flights, 0u);
    memo_maintain(cache, 0);
    memo_check(cache);
    EXPECT_EQ(memo_clear(cache), 0);
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED));
    memo_free(cache);
}

// L3
TEST_P(Fork, TheChildKeepsResidentValues) {
    const int kKeys = 1000;
    Cache cache(GetParam());

    cache.Get("k");
    for (int i = 0; i < kKeys; i++) {
        cache.Get(Key(i));
    }
    InChild([&] {
        for (int i = 0; i < kKeys; i++) {
            EXPECT_EQ(cache.GetPlain(Key(i)), Hit("<" + Key(i) + ">"));
        }
        UseAll(cache);
    });
    for (int i = 0; i < kKeys; i++) {
        EXPECT_EQ(cache.GetPlain(Key(i)), Hit("<" + Key(i) + ">"));
    }
    EXPECT_EQ(cache.Get("new"), Loaded("<new>"));
}

// L3: a load in another thread isn't waited for, not even by close.
TEST_P(Fork, LoadsStayInTheParent) {
    Gate gate;
    std::atomic<bool> waits{true};
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "slow" && waits) {
            gate.Wait();
        }
        return LoadInBrackets(l);
    });

    cache.Get("k");
    Thread loader([&] { EXPECT_EQ(cache.Get("slow"), Loaded("<slow>")); });
    Await([&] { return gate.Waiting() == 1; });
    Thread joiner([&] { EXPECT_EQ(cache.Get("slow"), Joined("<slow>")); });
    cache.AwaitJoins(1);
    InChild([&] {
        waits = false;
        EXPECT_EQ(cache.Stats().flights, 0u);
        EXPECT_EQ(cache.Get("slow"), Loaded("<slow>"));
        UseAll(cache);
    });
    InChild([&] { UseAll(cache); });
    InChild([&] { EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0); });
    gate.Open();
    loader.Join();
    joiner.Join();
    EXPECT_EQ(cache.Peek("slow"), Hit("<slow>"));
}

struct Answer {
    std::atomic<int> times{0};
    std::atomic<int> error{0};

    static void Done(void *arg, int error, memo_value *value) {
        Answer *a = static_cast<Answer *>(arg);
        a->error = error;
        a->times++;
        memo_release(value);
    }
};

// L3, W2: whoever waits without a thread is told once, in either process; in the
// child when it calls the cache, and not before.
TEST_P(Fork, InheritedWaitsFail) {
    const int kWaits = 1000;
    PendingCache cache(GetParam());
    Answer answer[kWaits], detached;

    auto get = [&](const std::string &key, Answer *a) {
        EXPECT_EQ(memo_get_async(cache, key.data(), key.size(), nullptr,
                                 Answer::Done, a, nullptr),
                  0);
    };
    get("other", &detached);
    memo_load *other = cache.last;
    EXPECT_EQ(cache.Invalidate("other"), 0);
    for (Answer &a : answer) {
        get("k", &a);
    }
    memo_load *l = cache.last;
    InChild([&] {
        EXPECT_EQ(answer[0].times, 0);
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));
        for (Answer &a : answer) {
            EXPECT_EQ(a.times, 1);
            EXPECT_EQ(a.error, MEMO_EFORKED);
        }
        EXPECT_EQ(detached.times, 1);
        EXPECT_EQ(detached.error, MEMO_EFORKED);
        // It may be that the child knows how to finish it: too late.
        EXPECT_EQ(Return(l, "v"), 0);
        EXPECT_EQ(memo_load_finish(l, 0), 0);
        EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Stats().flights, 0u);
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    });
    for (Answer &a : answer) {
        EXPECT_EQ(a.times, 0);
    }
    cache.Finish(l, "v");
    cache.Finish(other, "v");
    EXPECT_EQ(detached.times, 1);
    for (Answer &a : answer) {
        EXPECT_EQ(a.times, 1);
        EXPECT_EQ(a.error, 0);
    }
}

// Completions of the child may use the cache, and wait for its own loads.
TEST_P(Fork, CompletionsInTheChildMayCallTheCache) {
    struct {
        Cache *cache;
        bool is_child;
        int calls;
    } now = {nullptr, false, 0};
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), [&](memo_load *l) {
        loads.push_back(l);
        return now.is_child ? LoadInBrackets(l) : int(MEMO_PENDING);
    });
    now.cache = &cache;
    auto done = [](void *arg, int error, memo_value *) {
        auto *n = static_cast<decltype(now) *>(arg);
        n->calls++;
        EXPECT_EQ(error, n->is_child ? MEMO_EFORKED : MEMO_ECLOSED);
        if (n->is_child) {
            EXPECT_EQ(n->cache->Get("a").bytes, "<a>");
        }
    };

    const int kWaits = MEMO_TEST_SANITIZED ? 1000 : 30000;
    for (int i = 0; i < kWaits; i++) {
        EXPECT_EQ(memo_get_async(cache, Key(i).data(), Key(i).size(), nullptr,
                                 done, &now, nullptr),
                  0);
    }
    InChild([&] {
        now.is_child = true;
        EXPECT_EQ(cache.Get(Key(0)), Loaded("<" + Key(0) + ">"));
        EXPECT_EQ(now.calls, kWaits);
        EXPECT_EQ(cache.Get("a"), Hit("<a>"));
    });
    EXPECT_EQ(now.calls, 0);
    EXPECT_EQ(memo_close(cache, 1), MEMO_ETIMEDOUT);
    EXPECT_EQ(now.calls, kWaits);
    for (memo_load *l : loads) {
        EXPECT_EQ(memo_load_finish(l, 1), 0);
    }
}

// L3, W2: nor does one that throws keep the others from being told.
TEST_P(Fork, CompletionsInTheChildMayThrow) {
    struct {
        bool is_child;
        int calls;
    } now = {false, 0};
    std::vector<memo_load *> loads;
    Cache cache(GetParam(), [&](memo_load *l) {
        loads.push_back(l);
        return int{MEMO_PENDING};
    });
    auto done = [](void *arg, int, memo_value *) {
        auto *n = static_cast<decltype(now) *>(arg);
        n->calls++;
        if (n->is_child && n->calls % 2 != 0) {
            throw n->calls;
        }
    };

    for (const char *key : {"a", "a", "b", "b", "c", "c"}) {
        EXPECT_EQ(memo_get_async(cache, key, 1, nullptr, done, &now, nullptr), 0);
    }
    InChild([&] {
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        now.is_child = true;
        for (int flight = 1; flight <= 3; flight++) {
            EXPECT_THROW(cache.Get("a", &no_load), int);
            EXPECT_EQ(now.calls, 2 * flight);
        }
        EXPECT_EQ(cache.Get("a", &no_load), Failed(MEMO_ENOENT));
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    });
    for (memo_load *l : loads) {
        EXPECT_EQ(memo_load_finish(l, 1), 0);
    }
    EXPECT_EQ(now.calls, 6);
}

TEST_P(Fork, TicketsCanBeCanceledInTheChild) {
    PendingCache cache(GetParam());
    Answer answer;
    memo_ticket *ticket = nullptr;

    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, Answer::Done, &answer,
                             &ticket),
              0);
    InChild([&] {
        EXPECT_EQ(memo_ticket_cancel(ticket), 0);
        EXPECT_EQ(answer.error, MEMO_ECANCELED);
        EXPECT_EQ(cache.Put("a", "v"), 0);
        EXPECT_EQ(answer.times, 1);
        memo_ticket_free(ticket);
    });
    InChild([&] {
        EXPECT_EQ(cache.Put("a", "v"), 0);
        EXPECT_EQ(answer.error, MEMO_EFORKED);
        EXPECT_EQ(memo_ticket_cancel(ticket), MEMO_EALREADY);
        EXPECT_EQ(answer.times, 1);
    });
    cache.Finish(cache.last, "v");
    EXPECT_EQ(memo_ticket_cancel(ticket), MEMO_EALREADY);
    memo_ticket_free(ticket);
    EXPECT_EQ(answer.times, 1);
}

// A thread that a signal has stopped, wherever it was, until a fork is over: so that
// a fork comes in the middle of anything.  If it holds what the fork waits for, it
// goes on after a while.
std::atomic<bool> is_stopped{false}, fork_is_over{false};

void StayUntilForkIsOver(int) {
    is_stopped = true;
    for (int i = 0; i < 500 && !fork_is_over; i++) {
        sched_yield();
    }
}

// L3: nobody waits in the child for what ends a flight in the parent, stopped in the
// middle of that.
TEST_P(Fork, TicketsCanBeCanceledWhileTheirFlightEnds) {
    const int kForks = kAllocatorForks ? 500 : 20;
    PendingCache cache(GetParam());
    Answer answer;
    std::atomic<bool> stop{false};
    std::atomic<memo_ticket *> current{nullptr};
    struct sigaction action = {}, before = {};
    action.sa_handler = StayUntilForkIsOver;
    sigaction(SIGUSR1, &action, &before);

    Thread ender([&] {
        memo_ticket *last = nullptr;
        while (!stop) {
            memo_ticket *ticket = nullptr;
            EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, Answer::Done, &answer,
                                     &ticket),
                      0);
            current = ticket;
            memo_ticket_free(last);  // a child may see it until here
            last = ticket;
            EXPECT_EQ(memo_load_finish(cache.last, 1), 0);
        }
        memo_ticket_free(last);
    });
    Await([&] { return current != nullptr; });
    for (int n = 0; n < kForks && !HasFailure(); n++) {
        is_stopped = fork_is_over = false;
        ender.Signal(SIGUSR1);
        Await([] { return is_stopped.load(); });
        pid_t pid = Start([&] {
            if (kAllocatorForks) {
                int error = memo_ticket_cancel(current);
                EXPECT_TRUE(error == 0 || error == MEMO_EALREADY);
            }
        });
        fork_is_over = true;
        Join(pid);
    }
    stop = true;
    ender.Join();
    sigaction(SIGUSR1, &before, nullptr);
}

// L3: nor does a call that goes on in the child.
TEST_P(Fork, WaitsGoOnInTheChildThoughAnotherWasClosing) {
    const int kOthers = 20;
    std::vector<memo_load *> loads;
    Gate runs, gate;
    pid_t pid = -1;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "forks") {
            runs.Open();
            Await([&] { return gate.Waiting() == 1; });
            fflush(nullptr);
            pid = fork();
            alarm(pid == 0 ? 100 : 0);
            if (pid != 0) {
                gate.Open();
            }
        } else {
            loads.push_back(l);
        }
        return KeyOf(l) == "forks" ? LoadInBrackets(l) : int{MEMO_PENDING};
    });
    auto done = [](void *arg, int error, memo_value *) {
        if (error == MEMO_ECLOSED) {
            static_cast<Gate *>(arg)->Wait();
        }
    };
    memo_bytes keys[2] = {{"joined", 6}, {"forks", 5}};
    memo_value values[2];
    int errors[2];
    memo_wait at_once = Until(1);

    EXPECT_EQ(cache.Get("joined", &at_once), Failed(MEMO_ETIMEDOUT));
    for (int i = 0; i < kOthers; i++) {
        EXPECT_EQ(memo_get_async(cache, Key(i).data(), Key(i).size(), nullptr, done,
                                 &gate, nullptr),
                  0);
    }
    Thread closer([&] {
        runs.Wait();
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    });
    EXPECT_NE(memo_get_many(cache, keys, 2, nullptr, values, errors), 0);
    if (pid == 0) {
        EXPECT_TRUE(errors[0] == MEMO_ECLOSED || errors[0] == MEMO_EFORKED);
        fflush(nullptr);
        _exit(HasFailure() ? 1 : 0);
    }
    Join(pid);
    memo_release(&values[1]);  // if its shard wasn't closed yet
    for (memo_load *l : loads) {
        EXPECT_EQ(memo_load_finish(l, 1), 0);
    }
}

int Poll(memo_queue *q) {
    pollfd fd = {memo_queue_fd(q), POLLIN, 0};
    return poll(&fd, 1, 0);
}

// L3: descriptors aren't shared: what the child takes, the parent still has.
TEST_P(Fork, QueuesAreEachProcesssOwn) {
    PendingCache cache(GetParam());
    memo_queue *q = nullptr;
    memo_completion c;
    int a = 0, b = 0;

    ASSERT_EQ(memo_queue_new(&q), 0);
    EXPECT_EQ(cache.Put("there", "v"), 0);
    EXPECT_EQ(memo_get_queued(cache, "k", 1, nullptr, q, &a, nullptr), 0);
    EXPECT_EQ(Poll(q), 0);
    InChild([&] {
        EXPECT_EQ(Poll(q), 1);  // look what there is
        EXPECT_EQ(memo_queue_next(q, &c), 0);
        EXPECT_EQ(c.arg, &a);
        EXPECT_EQ(c.error, MEMO_EFORKED);
        EXPECT_EQ(memo_queue_next(q, &c), MEMO_ENOENT);
        EXPECT_EQ(Poll(q), 0);
        EXPECT_EQ(memo_get_queued(cache, "there", 5, nullptr, q, &b, nullptr),
                  0);
        EXPECT_EQ(Poll(q), 1);
    });
    EXPECT_EQ(Poll(q), 0);
    cache.Finish(cache.last, "v");
    EXPECT_EQ(Poll(q), 1);
    InChild([&] {
        EXPECT_EQ(memo_queue_next(q, &c), 0);
        EXPECT_EQ(c.error, 0);
        memo_release(&c.value);
        EXPECT_EQ(Poll(q), 0);
        memo_queue_free(q);
    });
    EXPECT_EQ(Poll(q), 1);
    EXPECT_EQ(memo_queue_next(q, &c), 0);
    EXPECT_EQ(c.error, 0);
    memo_release(&c.value);
    EXPECT_EQ(Poll(q), 0);
    memo_queue_free(q);
}

// V1, L3: what was got in another thread stays valid in the child too.
TEST_P(Fork, ValuesOfOtherThreadsStayValid) {
    Cache cache(GetParam(),
                [&](memo_load *l) { return cache.objects.Adopt(l, KeyOf(l)); });
    Gate got, end;
    Value hit, first;

    cache.Get("k");
    Thread holder([&] {
        hit = cache.Hold("k");
        first = cache.Hold("j");
        Value own = cache.Hold("k");
        got.Open();
        end.Wait();
    });
    got.Wait();
    InChild([&] {
        EXPECT_EQ(cache.Invalidate("k"), 0);
        EXPECT_EQ(cache.Invalidate("j"), 0);
        memo_maintain(cache, 0);
        EXPECT_EQ(hit.Bytes(), "k");
        EXPECT_EQ(first.Bytes(), "j");
        EXPECT_EQ(cache.objects.Destroyed(), 0);
        first.Release();
        EXPECT_EQ(cache.objects.Destroyed(), 1);
        hit.Release();  // that of the thread which isn't there is still held
        EXPECT_EQ(cache.Stats().retired, 1u);
        for (int i = 0; i < 100; i++) {
            EXPECT_EQ(cache.Hold(Key(i)).Bytes(), Key(i));
        }
    });
    EXPECT_EQ(cache.objects.Destroyed(), 0);
    end.Open();
    holder.Join();
    hit.Release();
    first.Release();
    EXPECT_EQ(cache.Invalidate("k"), 0);
    cache.AwaitNoneRetired();
}

// L3: threads of the child get pins of those that are gone.
TEST_P(Fork, TheChildMayStartThreads) {
    Cache cache(GetParam());
    Gate end;
    std::atomic<int> held{0};
    std::vector<std::unique_ptr<Thread>> holders;

    cache.Get("k");
    for (int i = 0; i < 20; i++) {
        holders.emplace_back(new Thread([&] {
            Value v = cache.Hold("k");
            held++;
            end.Wait();
        }));
    }
    Await([&] { return held == 20; });
    uint32_t records = sync_pin_records();
    InChild([&] {
        if (!kChildrenMayDoAnything) {
            return;
        }
        std::atomic<int> right{0};
        std::vector<std::unique_ptr<Thread>> threads;
        for (int i = 0; i < 8; i++) {
            threads.emplace_back(new Thread([&, i] {
                Value v = cache.Hold("k");
                Value w = cache.Hold(Key(i % 2));
                right += v.Bytes() == "<k>" && w.Bytes() == "<" + Key(i % 2) + ">";
            }));
        }
        threads.clear();
        EXPECT_EQ(right, 8);
        EXPECT_EQ(sync_pin_records(), records);
        UseAll(cache);
    });
    end.Open();
}

// L3: forks at any moment of writers, readers, growth and eviction.
TEST_P(Fork, WhileOthersAreAtIt) {
    const int kForks = 25;
    for (uint64_t max_entries : {uint64_t(0), uint64_t(500)}) {
        Cache cache(
            GetParam(),
            [&](memo_load *l) {
                return KeyOf(l).size() % 3 == 0
                           ? cache.objects.Adopt(l, "<" + KeyOf(l) + ">")
                           : LoadInBrackets(l);
            },
            [&](memo_options *o) {
                o->max_entries = max_entries;
                o->max_waiters = 1000;
                o->max_loads = 1000;
            });
        std::atomic<bool> stop{false};
        std::vector<std::unique_ptr<Thread>> threads;
        for (int t = 0; t < 3; t++) {
            threads.emplace_back(new Thread([&, t] {
                for (int i = t; !stop; i += 3) {
                    cache.GetPlain(Key(i % 20000));
                    cache.Put(Key(i % 777), "<" + Key(i % 777) + ">");
                    Value v = cache.Hold(Key(i / 2 % 20000));
                    cache.Invalidate(Key(i % 555));
                    if (i % 3000 == 0) {
                        memo_clear(cache);
                    }
                }
            }));
        }
        for (int n = 0; n < kForks; n++) {
            InChild([&] {
                for (int i = 0; kAllocatorForks && i < 300; i++) {
                    EXPECT_EQ(cache.Get(Key(i)).bytes, "<" + Key(i) + ">");
                }
                if (kAllocatorForks) {
                    cache.Get("k");
                    UseAll(cache);
                }
            });
        }
        stop = true;
    }
}

// A load forks, as those do that run a program: most children exec or exit.
TEST_P(Fork, ALoadMayFork) {
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "forks") {
            InChild([&] {
                EXPECT_EQ(cache.Get("inside"), Loaded("<inside>"));
                EXPECT_EQ(cache.Get("forks again").bytes, "<forks again>");
            });
        }
        return LoadInBrackets(l);
    });

    EXPECT_EQ(cache.Get("forks"), Loaded("<forks>"));
    EXPECT_EQ(cache.Get("forks"), Hit("<forks>"));
}

// One may also go on in the child: its flight is the parent's.
TEST_P(Fork, ALoadMayGoOnInBothProcesses) {
    pid_t pid = -1;
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "forks") {
            fflush(nullptr);
            pid = fork();
        }
        return LoadInBrackets(l);
    });

    Seen seen = cache.Get("forks");
    if (pid == 0) {
        alarm(100);
        EXPECT_EQ(seen, Failed(MEMO_EFORKED));
        EXPECT_EQ(cache.Peek("forks"), Failed(MEMO_ENOENT));
        cache.Get("k");
        UseAll(cache);
        fflush(nullptr);
        _exit(HasFailure() ? 1 : 0);
    }
    EXPECT_EQ(seen, Loaded("<forks>"));
    Join(pid);
}

TEST_P(Fork, ADestructorMayFork) {
    Cache cache(GetParam(),
                [&](memo_load *l) {
                    return KeyOf(l) == "object" ? cache.objects.Adopt(l, "o")
                                                : LoadInBrackets(l);
                },
                LetDestructorsWait);
    std::atomic<pid_t> pid{-1};
    cache.objects.on_destroy = [&](const std::string &) {
        pid = Start([&] { UseAll(cache); });
    };

    cache.Get("k");
    cache.Get("object");
    EXPECT_EQ(cache.Invalidate("object"), 0);
    cache.objects.AwaitDestroyed(1);
    Join(pid);
}

// What waits for its destructor at the fork is destroyed in both.
TEST_P(Fork, DestructorsThatWaitRunInTheChildToo) {
    const int kObjects = 50;
    Gate gate;
    std::atomic<bool> blocks{true};
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            return KeyOf(l) == "k" || KeyOf(l) == "new"
                       ? LoadInBrackets(l)
                       : cache.objects.Adopt(l, "object");
        },
        [](memo_options *o) {
            // One thread for them: another might be at one during the fork.
            o->threads = o->engine == MEMO_ENGINE_LOOP;
        });
    cache.objects.on_destroy = [&](const std::string &) {
        if (blocks.exchange(false)) {
            gate.Wait();
        }
    };
    cache.Get("k");
    for (int i = 0; i < kObjects; i++) {
        cache.Get(Key(i));
    }
    // One is being destroyed, alone: what is taken to be destroyed next to it by a
    // thread that the child doesn't have stays allocated there.
    Thread dropper([&] { EXPECT_EQ(cache.Invalidate(Key(0)), 0); });
    Await([&] { return gate.Waiting() == 1; });
    if (GetParam().engine != MEMO_ENGINE_LOCK) {
        dropper.Join();
        for (int i = 1; i < kObjects; i++) {
            EXPECT_EQ(cache.Invalidate(Key(i)), 0);
        }
        cache.Stats();  // what the monitor did after its last reply is done
    }
    InChild([&] {
        for (int i = 0; i < kObjects; i++) {
            cache.Invalidate(Key(i));
        }
        Await([&] {
            memo_maintain(cache, 0);
            return cache.Stats().retired <= 1;
        });
        EXPECT_GE(cache.objects.Destroyed(), kObjects - 1);
        UseAll(cache);
    });
    EXPECT_EQ(cache.objects.Destroyed(), 0);
    gate.Open();
}

// L3, L1: an executor of memo's own starts threads in the child when it needs them.
TEST_P(Fork, TheChildsExecutorWorks) {
    Gate gate;
    std::atomic<bool> waits{true};
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            if (waits) {
                gate.Wait();
            }
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->threads = 2; });
    Answer answer[10];

    for (int i = 0; i < 10; i++) {
        EXPECT_EQ(memo_get_async(cache, Key(i).data(), Key(i).size(), nullptr,
                                 Answer::Done, &answer[i], nullptr),
                  0);
    }
    Await([&] { return gate.Waiting() == 2; });
    InChild([&] {
        if (!kChildrenMayDoAnything) {
            return;
        }
        waits = false;
        Answer own;
        EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, Answer::Done, &own,
                                 nullptr),
                  0);
        for (Answer &a : answer) {
            EXPECT_EQ(a.times, 1);
            EXPECT_EQ(a.error, MEMO_EFORKED);
        }
        Await([&] { return own.times == 1; });
        EXPECT_EQ(own.error, 0);
        UseAll(cache);
    });
    InChild([&] {
        waits = false;
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        memo_free(cache);
    });
    gate.Open();
    Await([&] { return answer[9].times == 1; });
    EXPECT_EQ(answer[9].error, 0);
}

// The parent's loads and waiters don't count against the child's limits.
TEST_P(Fork, LimitsStartAnew) {
    PendingCache cache(GetParam(), [](memo_options *o) {
        o->max_loads = 2;
        o->max_waiters = 2;
    });
    Answer answer[2];
    memo_wait at_once = Until(1);
    memo_load *a = cache.Start("a");
    memo_load *b = cache.Start("b");

    for (Answer &waiter : answer) {
        EXPECT_EQ(memo_get_async(cache, "a", 1, nullptr, Answer::Done, &waiter,
                                 nullptr),
                  0);
    }
    EXPECT_EQ(cache.Get("c", &at_once), Failed(MEMO_EBUSY));
    InChild([&] {
        memo_load *c = cache.Start("c");
        EXPECT_EQ(answer[0].error, MEMO_EFORKED);
        memo_load *d = cache.Start("d");
        EXPECT_EQ(cache.Get("e", &at_once), Failed(MEMO_EBUSY));
        // What was the parent's makes no room here.
        EXPECT_EQ(memo_load_finish(a, 1), 0);
        EXPECT_EQ(cache.Get("e", &at_once), Failed(MEMO_EBUSY));
        Answer own[3];
        for (int i = 0; i < 3; i++) {
            EXPECT_EQ(memo_get_async(cache, "c", 1, nullptr, Answer::Done,
                                     &own[i], nullptr),
                      i < 2 ? 0 : MEMO_EBUSY);
        }
        cache.Finish(c, "v");
        EXPECT_EQ(cache.Get("e", &at_once), Failed(MEMO_ETIMEDOUT));
        cache.Finish(d, "v");
        EXPECT_EQ(cache.Stats().flights, 1u);
    });
    EXPECT_EQ(cache.Get("c", &at_once), Failed(MEMO_EBUSY));
    EXPECT_EQ(answer[0].times, 0);
    cache.Finish(a, "v");
    cache.Finish(b, "v");
    EXPECT_EQ(answer[1].times, 1);
}

// L3, L2
TEST_P(Fork, WhileTheCacheIsBeingClosed) {
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        gate.Wait();
        return LoadInBrackets(l);
    });
    Thread loader([&] { EXPECT_EQ(cache.Get("k"), Failed(MEMO_ECLOSED)); });
    Await([&] { return gate.Waiting() == 1; });
    Thread closer([&] { EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0); });
    memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
    no_load.deadline_ns = 1;
    Await([&] { return cache.Get("k", &no_load) == Failed(MEMO_ECLOSED); });
    InChild([&] {
        EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        memo_free(cache);
    });
    gate.Open();
}

// The child of a child.
TEST_P(Fork, Twice) {
    PendingCache cache(GetParam());
    Answer answer;

    EXPECT_EQ(cache.Put("k", "<k>"), 0);
    EXPECT_EQ(memo_get_async(cache, "a", 1, nullptr, Answer::Done, &answer,
                             nullptr),
              0);
    InChild([&] {
        InChild([&] {
            EXPECT_EQ(cache.GetPlain("k"), Hit("<k>"));
            EXPECT_EQ(cache.Put("b", "v"), 0);
            EXPECT_EQ(answer.times, 1);
            EXPECT_EQ(answer.error, MEMO_EFORKED);
        });
        EXPECT_EQ(answer.times, 0);
        EXPECT_EQ(cache.Put("b", "v"), 0);
        EXPECT_EQ(answer.times, 1);
        InChild([&] {
            EXPECT_EQ(cache.Peek("b"), Hit("v"));
            memo_check(cache);
            EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
        });
        EXPECT_EQ(cache.Peek("b"), Hit("v"));
    });
    EXPECT_EQ(answer.times, 0);
    cache.Finish(cache.last, "v");
    EXPECT_EQ(answer.times, 1);
}

// Caches made after a fork, and freed before one, have nothing to do with it.
TEST_P(Fork, OfManyCaches) {
    std::vector<std::unique_ptr<Cache>> caches;

    for (int i = 0; i < 20; i++) {
        caches.emplace_back(new Cache(GetParam()));
        caches.back()->Get("k");
        if (i % 3 == 0) {
            caches.erase(caches.begin());
        }
    }
    InChild([&] {
        if (kChildrenMayDoAnything) {
            Cache own(GetParam());
            EXPECT_EQ(own.Get("k"), Loaded("<k>"));
        }
        for (auto &cache : caches) {
            UseAll(*cache);
        }
    });
}

TEST(LoopFork, TheChildsDescriptorIsItsOwn) {
    Cache cache({"loop", 1, MEMO_ENGINE_LOOP});
    auto readable = [&] {
        pollfd fd = {memo_monitor_fd(cache), POLLIN, 0};
        return poll(&fd, 1, 0);
    };

    cache.Get("k");
    int fd = memo_monitor_fd(cache);
    Thread other([&] { EXPECT_EQ(cache.Get("j"), Loaded("<j>")); });
    Await([&] { return readable() == 1; });
    InChild([&] {
        EXPECT_EQ(memo_monitor_fd(cache), fd);
        EXPECT_EQ(readable(), 0);
        EXPECT_EQ(memo_monitor_run(cache, 10), 0);
        UseAll(cache);
    });
    EXPECT_EQ(readable(), 1);
    std::atomic<bool> done{false};
    Thread loop([&] {
        while (!done) {
            EXPECT_GE(memo_monitor_run(cache, 10), 0);
        }
    });
    other.Join();
    done = true;
    loop.Join();
    EXPECT_EQ(memo_monitor_run(cache, 0), 0);
}

}  // namespace
