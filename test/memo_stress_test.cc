// Everything at once, at random, on a few keys: values are what they say they
// are from the moment they are got until they are released, and invalidation is
// exact.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/seed.h"
#include "test/support/thread.h"

namespace {

MEMO_LONG_SUITE(Stress);

constexpr int kThreads = 4;
constexpr int kKeys = 64;
constexpr int kHeld = 40;  // more than a thread has hazard slots
constexpr int kLoadError = 7;

// What a value consists of, before some filling.
struct Stamp {
    uint64_t key;
    uint64_t version;  // of the key, when the load began
    uint64_t sum;
};

uint64_t SumOf(const Stamp &stamp, size_t size) {
    return (stamp.key * 0x9e3779b97f4a7c15 + stamp.version) *
               0xbf58476d1ce4e5b9 + size;
}

std::string Make(uint64_t key, uint64_t version, size_t filling) {
    Stamp stamp = {key, version, 0};
    std::string bytes(sizeof(stamp) + filling, char(key));

    stamp.sum = SumOf(stamp, bytes.size());
    std::memcpy(&bytes[0], &stamp, sizeof(stamp));
    return bytes;
}

// Whether the bytes are those of a value; fills *stamp if so.
bool Parse(const void *data, size_t size, Stamp *stamp) {
    const char *bytes = static_cast<const char *>(data);

    if (size < sizeof(*stamp)) {
        return false;
    }
    std::memcpy(stamp, bytes, sizeof(*stamp));
    for (size_t i = sizeof(*stamp); i < size; i++) {
        if (bytes[i] != char(stamp->key)) {
            return false;
        }
    }
    return stamp->sum == SumOf(*stamp, size);
}

// Even keys are only loaded, and are invalidated by everybody.  Odd keys are
// also put, and only by one thread, which alone invalidates them: so the order
// of what happens to them is known.
bool MayChange(int thread, int key) {
    return key % 2 == 0 || key / 2 % kThreads == thread;
}

class Everything {
   public:
    Everything(const Config &config, std::function<void(memo_options *)> tweak,
               bool timed = false)
        : timed_(timed),
          cache_(config, [this](memo_load *l) { return Load(l); }, tweak) {
        cache_.objects.on_destroy = [this](const std::string &bytes) {
            Stamp stamp;
            Require(Parse(bytes.data(), bytes.size(), &stamp), "at its end");
        };
    }

    void Run(std::chrono::milliseconds time) {
        std::atomic<bool> done{false};
        Thread finisher([&] {
            while (!done || FinishOne()) {
                FinishOne();
                std::this_thread::yield();
            }
        });
        {
            auto end = std::chrono::steady_clock::now() + time;
            std::vector<std::unique_ptr<Thread>> threads;
            for (int i = 0; i < kThreads; i++) {
                threads.emplace_back(new Thread([this, i, end] {
                    Worker worker(this, i);
                    while (std::chrono::steady_clock::now() < end) {
                        worker.Step();
                    }
                }));
            }
        }
        // Refreshes may still be running that nobody waits for.
        Await([&] { return cache_.Stats().flights == 0; });
        done = true;
        finisher.Join();
        for (Value &v : mailbox_) {
            ReleaseValue(&v);
        }
        mailbox_.clear();
        Await([&] { return answers_ == asked_async_; });
        EXPECT_EQ(cache_.Stats().flights, 0u);
        EXPECT_EQ(wrong_, 0);
        EXPECT_GT(checked_, 0);
        EXPECT_GT(asked_async_, 0);
        cache_.Free();
    }

   private:
    // An asynchronous wait, until it is answered.
    struct Question {
        Everything *all;
        int key;
        uint64_t floor;
        int answers;
    };

    void Require(bool holds, const char *what) {
        if (!holds && wrong_++ < 10) {
            ADD_FAILURE() << what;
        }
    }

    // ------------------------------------------------------------ loads

    int Load(memo_load *l) {
        thread_local std::minstd_rand random{unsigned(gettid())};
        int key = std::stoi(KeyOf(l).substr(1));
        uint64_t version = version_[key];
        std::string bytes = Make(uint64_t(key), version, random() % 40);
        int error;

        for (unsigned i = random() % 16; i > 0; i--) {
            std::this_thread::yield();
        }
        if (random() % 16 == 0) {
            return kLoadError;
        }
        if (timed_) {
            switch (random() % 16) {
            case 0:
                return memo_load_not_found(l);
            case 1:
                if (memo_load_not_modified(l) == 0) {
                    return 0;
                }
                break;
            case 2:
                memo_load_pass(l);
                break;
            case 3:
                memo_load_set_ttl(l, int64_t(random() % 3) * 20000);
                break;
            }
        }
        error = random() % 2 == 0 ? cache_.objects.Adopt(l, bytes)
                                  : Return(l, bytes);
        if (error == 0 && random() % 4 == 0) {
            std::lock_guard<std::mutex> lock(mu_);
            pending_.push_back(l);
            return MEMO_PENDING;
        }
        return error;
    }

    // Finish a load that is pending.
    bool FinishOne() {
        memo_load *l;
        {
            std::lock_guard<std::mutex> lock(mu_);
            if (pending_.empty()) {
                return false;
            }
            l = pending_.front();
            pending_.erase(pending_.begin());
        }
        memo_load_retain(l);
        Require(memo_load_finish(l, 0) == 0, "finished before");
        Require(memo_load_finish(l, 1) == MEMO_EALREADY, "finished twice");
        memo_load_release(l);
        return true;
    }

    // ------------------------------------------------------------ answers

    // The version that a get of key, if it starts now, may return at least.
    uint64_t Floor(int key) const {
        return floor_[key];
    }

    // I1
    void CheckAnswer(int key, uint64_t floor, int error, const memo_value &v) {
        Stamp stamp;

        if (error != 0) {
            Require(error == kLoadError || error == MEMO_ETIMEDOUT ||
                        error == MEMO_ENOENT || error == MEMO_ECANCELED,
                    "unexpected error");
            Require(v.pin == nullptr, "error and value");
            return;
        }
        checked_++;
        if (!Parse(v.data, v.size, &stamp)) {
            Require(false, "not a value");
            return;
        }
        Require(stamp.key == uint64_t(key), "of another key");
        Require(stamp.version >= floor, "outdated");
    }

    // V1
    void ReleaseValue(Value *v) {
        Stamp stamp;

        if ((*v)->pin != nullptr) {
            Require(Parse((*v)->data, (*v)->size, &stamp), "changed in hand");
        }
        v->Release();
    }

    static void Answer(void *arg, int error, memo_value *v) {
        auto *q = static_cast<Question *>(arg);

        q->all->Require(q->answers++ == 0, "answered twice");
        q->all->CheckAnswer(q->key, q->floor, error, *v);
        memo_release(v);
        q->all->answers_++;
    }

    // ------------------------------------------------------------ changes

    // Have change() make every older result of the keys invalid.
    template <typename Change>
    void Outdate(int first, int end, int step, Change change) {
        uint64_t version[kKeys];

        for (int key = first; key < end; key += step) {
            version[key] = ++version_[key];
        }
        change(version[first]);
        for (int key = first; key < end; key += step) {
            uint64_t floor = floor_[key];
            while (floor < version[key] &&
                   !floor_[key].compare_exchange_weak(floor, version[key])) {
            }
        }
    }

    class Worker {
       public:
        Worker(Everything *all, int id)
            : all_(all),
              id_(id),
              random_(Seed() * unsigned(kThreads) + unsigned(id)) {
        }

        ~Worker() {
            while (!held_.empty()) {
                LetGo();
            }
        }

        void Step() {
            int key = Below(4) == 0 ? Below(4) : Below(kKeys);

            switch (Below(32)) {
            case 0:
            case 1:
                Invalidate(key);
                break;
            case 2:
                Put(key);
                break;
            case 3:
                if (Below(16) == 0) {
                    Clear();
                }
                break;
            case 4:
            case 5:
            case 6:
                Async(key);
                break;
            case 7:
            case 8:
                Many();
                break;
            case 9:
            case 10:
            case 11:
            case 12:
                GetWait(key);
                break;
            case 13:
            case 14:
                Keep(key, [&](memo_value *out) {
                    std::string k = Key(uint64_t(key));
                    return memo_peek(all_->cache_, k.data(), k.size(), out);
                });
                break;
            case 15:
                SendOrTake();
                break;
            case 16:
                memo_maintain(all_->cache_, MEMO_NEVER);
                break;
            case 17:
                all_->Require(memo_refresh(all_->cache_, Key(uint64_t(key)).data(),
                                           Key(uint64_t(key)).size()) == 0,
                              "refresh");
                break;
            default:
                Keep(key, [&](memo_value *out) {
                    std::string k = Key(uint64_t(key));
                    return memo_get(all_->cache_, k.data(), k.size(), out);
                });
            }
        }

       private:
        int Below(int n) {
            return int(random_() % unsigned(n));
        }

        // Get, check, and hold, or let go of one held for long.
        template <typename Get>
        void Keep(int key, Get get) {
            uint64_t floor = all_->Floor(key);
            Value v;

            all_->CheckAnswer(key, floor, get(v.out()), *v);
            held_.push_back(std::move(v));
            while (int(held_.size()) > Below(kHeld + 1)) {
                LetGo();
            }
        }

        void LetGo() {
            size_t i = size_t(Below(int(held_.size())));

            std::swap(held_[i], held_.back());
            all_->ReleaseValue(&held_.back());
            held_.pop_back();
        }

        void GetWait(int key) {
            int64_t now = std::chrono::steady_clock::now().time_since_epoch() /
                          std::chrono::nanoseconds(1);
            memo_wait wait = Until(now + Below(200000));

            wait.soft_deadline_ns = Below(2) * (now + Below(100000));
            wait.flags = Below(4) == 0 ? MEMO_WAIT_STRICT
                         : Below(4) == 0 ? MEMO_WAIT_NO_LOAD : 0;
            Keep(key, [&](memo_value *out) {
                std::string k = Key(uint64_t(key));
                return memo_get_wait(all_->cache_, k.data(), k.size(), &wait, out);
            });
        }

        void Many() {
            memo_bytes keys[8];
            memo_value out[8];
            int errors[8], key[8];
            uint64_t floor[8];
            std::string k[8];
            size_t n = size_t(Below(9));

            for (size_t i = 0; i < n; i++) {
                key[i] = Below(kKeys);
                k[i] = Key(uint64_t(key[i]));
                keys[i] = {k[i].data(), k[i].size()};
                floor[i] = all_->Floor(key[i]);
            }
            memo_get_many(all_->cache_, keys, n, nullptr, out, errors);
            for (size_t i = 0; i < n; i++) {
                all_->CheckAnswer(key[i], floor[i], errors[i], out[i]);
                memo_release(&out[i]);
            }
        }

        // Ask, and perhaps want no answer.
        void Async(int key) {
            std::string k = Key(uint64_t(key));
            memo_ticket *ticket = nullptr;
            bool kept = Below(2) == 0;

            questions_.emplace_back(
                new Question{all_, key, all_->Floor(key), 0});
            all_->asked_async_++;
            all_->Require(
                memo_get_async(all_->cache_, k.data(), k.size(), nullptr, Answer,
                               questions_.back().get(),
                               kept ? &ticket : nullptr) == 0,
                "asked in vain");
            if (ticket != nullptr && Below(2) == 0) {
                int error = memo_ticket_cancel(ticket);
                all_->Require(error == 0 || error == MEMO_EALREADY, "cancel");
                all_->Require(memo_ticket_cancel(ticket) == MEMO_EALREADY,
                              "cancelled twice");
            }
            memo_ticket_free(ticket);
        }

        // V1: values are released on another thread than they were got on.
        void SendOrTake() {
            Value v;
            {
                std::lock_guard<std::mutex> lock(all_->mu_);
                if (!held_.empty() && Below(2) == 0) {
                    all_->mailbox_.push_back(std::move(held_.back()));
                    held_.pop_back();
                } else if (!all_->mailbox_.empty()) {
                    v = std::move(all_->mailbox_.back());
                    all_->mailbox_.pop_back();
                }
            }
            all_->ReleaseValue(&v);
        }

        void Invalidate(int key) {
            if (MayChange(id_, key)) {
                all_->Outdate(key, key + 1, 1, [&](uint64_t) {
                    all_->Require(all_->cache_.Invalidate(Key(uint64_t(key))) == 0,
                                  "invalidate");
                });
            }
        }

        void Put(int key) {
            if (key % 2 == 1 && MayChange(id_, key)) {
                all_->Outdate(key, key + 1, 1, [&](uint64_t version) {
                    std::string bytes =
                        Make(uint64_t(key), version, size_t(Below(40)));
                    all_->Require(
                        all_->cache_.Put(Key(uint64_t(key)), bytes) == 0, "put");
                });
            }
        }

        void Clear() {
            all_->Outdate(0, kKeys, 2, [&](uint64_t) {
                all_->Require(memo_clear(all_->cache_) == 0, "clear");
            });
        }

        Everything *all_;
        int id_;
        std::minstd_rand random_;
        std::vector<Value> held_;
        std::vector<std::unique_ptr<Question>> &questions_ =
            all_->questions_[id_];
    };

    bool timed_;
    std::atomic<uint64_t> version_[kKeys] = {};  // raised before it is asked for
    std::atomic<uint64_t> floor_[kKeys] = {};    // raised when it is done
    std::atomic<int> wrong_{0}, checked_{0}, asked_async_{0}, answers_{0};
    std::mutex mu_;
    std::vector<memo_load *> pending_;  // guarded by mu_
    std::vector<Value> mailbox_;        // guarded by mu_
    std::vector<std::unique_ptr<Question>> questions_[kThreads];
    Cache cache_;
};

std::chrono::milliseconds HalfTheTime() {
    return std::chrono::milliseconds(MEMO_TEST_SANITIZED ? 400 : 750);
}

// I1, V1, V2, W2
TEST_P(Stress, ValuesAreSoundAndNeverOutdated) {
    Everything all(GetParam(), [](memo_options *) {});

    all.Run(HalfTheTime());
}

// The same, and W3
TEST_P(Stress, ValuesAreSoundAndNeverOutdatedThoughLoadsAreCanceled) {
    Everything all(GetParam(), [](memo_options *o) {
        o->flags = MEMO_CANCEL_UNWANTED;
    });

    all.Run(HalfTheTime());
}

// The same, while values expire, are refreshed, stand in, and errors are kept.
void PassQuickly(memo_options *o) {
    o->ttl_ns = 300000;
    o->idle_ttl_ns = 100000;
    o->refresh_after_ns = 50000;
    o->stale_if_error_ns = 200000;
    o->negative_ttl_ns = 50000;
    o->backoff_ns = 10000;
    o->pass_ttl_ns = 50000;
    o->jitter_percent = 50;
    o->max_entries = 48;
}

TEST_P(Stress, ValuesAreSoundAndNeverOutdatedThoughTimePasses) {
    Everything all(GetParam(), PassQuickly, true);

    all.Run(HalfTheTime());
}

TEST_P(Stress, ValuesAreSoundThoughThreadsRefreshThemAndLoadsAreCanceled) {
    Everything all(
        GetParam(),
        [](memo_options *o) {
            PassQuickly(o);
            o->threads = 2;
            o->flags = MEMO_CANCEL_UNWANTED;
        },
        true);

    all.Run(HalfTheTime());
}

}  // namespace
