// A cache under test: made from a configuration, with an allocator and values
// that count; and ended with everything verified that can be.
#ifndef MEMO_TEST_SUPPORT_CACHE_H_
#define MEMO_TEST_SUPPORT_CACHE_H_

#include <gtest/gtest.h>

#include <poll.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "memo/memo.h"
#include "test/support/config.h"
#include "test/support/counting_allocator.h"
#include "test/support/gate.h"
#include "test/support/object.h"
#include "test/support/value.h"

using LoadFunction = std::function<int(memo_load *)>;

inline std::string KeyOf(const memo_load *l) {
    size_t size = 0;
    const void *key = memo_load_key(l, &size);
    return std::string(static_cast<const char *>(key), size);
}

inline int Return(memo_load *l, const std::string &bytes) {
    return memo_load_return(l, bytes.data(), bytes.size());
}

// The load function that most tests can do with: "k" becomes "<k>".
inline int LoadInBrackets(memo_load *l) {
    return Return(l, "<" + KeyOf(l) + ">");
}

// Let destructors wait for whatever they like: a loop has no place for that but
// an executor.
inline void LetDestructorsWait(memo_options *options) {
    if (options->engine == MEMO_ENGINE_LOOP) {
        options->threads = 2;
    }
}

// A thread that is the event loop of a cache under MEMO_ENGINE_LOOP.
class Loop {
   public:
    explicit Loop(memo *m) : m_(m), thread_([this] { Run(); }) {
        Await([this] { return running_.load(); });
    }

    // From now on the calling thread is the monitor's.
    ~Loop() {
        stop_ = true;
        thread_.join();
        EXPECT_EQ(memo_monitor_run(m_, 0), 0);
    }

   private:
    void Run() {
        while (!stop_) {
            pollfd fd = {memo_monitor_fd(m_), POLLIN, 0};
            poll(&fd, 1, 1);
            EXPECT_GE(memo_monitor_run(m_, 64), 0);
            running_ = true;
        }
    }

    memo *m_;
    std::atomic<bool> stop_{false};
    std::atomic<bool> running_{false};
    std::thread thread_;
};

class Cache {
   public:
    explicit Cache(const Config &config, LoadFunction load = LoadInBrackets,
                   std::function<void(memo_options *)> tweak = nullptr)
        : load_(std::move(load)) {
        memo_options options = OptionsOf(config);
        memo_allocator hook = allocator.Hook();
        options.load = [](void *self, memo_load *l) {
            return static_cast<Cache *>(self)->load_(l);
        };
        options.load_arg = this;
        options.allocator = &hook;
        if (tweak) {
            tweak(&options);
        }
        EXPECT_EQ(memo_new(&options, &m_), 0);
        if (config.engine == MEMO_ENGINE_LOOP && config.shards == 0) {
            loop_.reset(new Loop(m_));
        }
    }

    ~Cache() {
        Free();
        EXPECT_EQ(allocator.LiveBlocks(), 0);
        EXPECT_EQ(allocator.LiveBytes(), 0);
        EXPECT_EQ(objects.Destroyed(), objects.Adopted());
    }

    // End the cache before its time.
    void Free() {
        loop_.reset();
        memo_check(m_);
        memo_free(std::exchange(m_, nullptr));
    }

    operator memo *() {
        return m_;
    }

    // Get, look, and let go.
    Seen Get(const std::string &key, const memo_wait *wait = nullptr) {
        Value v;
        int error = memo_get_wait(m_, key.data(), key.size(), wait, v.out());
        return v.Seen(error);
    }

    // The same through memo_get(), which has a way of its own to the hits.
    Seen GetPlain(const std::string &key) {
        Value v;
        int error = memo_get(m_, key.data(), key.size(), v.out());
        return v.Seen(error);
    }

    Seen Peek(const std::string &key) {
        Value v;
        int error = memo_peek(m_, key.data(), key.size(), v.out());
        return v.Seen(error);
    }

    // Get and keep.
    Value Hold(const std::string &key) {
        Value v;
        EXPECT_EQ(memo_get(m_, key.data(), key.size(), v.out()), 0);
        return v;
    }

    int Put(const std::string &key, const std::string &bytes) {
        return memo_put(m_, key.data(), key.size(), bytes.data(), bytes.size());
    }

    int Invalidate(const std::string &key) {
        return memo_invalidate(m_, key.data(), key.size());
    }

    struct memo_stats Stats() {
        struct memo_stats stats = {};
        stats.size = sizeof(stats);
        EXPECT_EQ(memo_stats(m_, &stats), 0);
        return stats;
    }

    // Do all that was put off; of a cache without times, that ends.
    void CatchUp() {
        while (memo_maintain(m_, 0) != MEMO_NEVER) {
        }
    }

    // Wait until n calls in all have joined another's load.
    void AwaitJoins(uint64_t n) {
        Await([&] { return Stats().joins >= n; });
    }

    // Wait until all that is no longer resident is destroyed: whoever reclaims
    // it may take his time.
    void AwaitNoneRetired() {
        Await([&] {
            memo_maintain(m_, 0);
            return Stats().retired == 0;
        });
    }

    CountingAllocator allocator;
    Objects objects;

   private:
    LoadFunction load_;
    memo *m_ = nullptr;
    std::unique_ptr<Loop> loop_;
};

// A suite of tests that every configuration must pass:
//     MEMO_SUITE(Load);
//     TEST_P(Load, EqualKeysRunOnce) { Cache cache(GetParam(), ...); ... }
#define MEMO_SUITE(suite) MEMO_SUITE_IN(suite, ConfigsWithLoop())

// One that would take too long in a loop.
#define MEMO_LONG_SUITE(suite) MEMO_SUITE_IN(suite, Configs())

#define MEMO_SUITE_IN(suite, configs)                       \
    class suite : public testing::TestWithParam<Config> {}; \
    INSTANTIATE_TEST_SUITE_P(Engines, suite, testing::ValuesIn(configs), NameOf)

#endif  // MEMO_TEST_SUPPORT_CACHE_H_
