// A cache on a clock that the test moves, whose loads answer as they are told.
#ifndef MEMO_TEST_SUPPORT_TIMED_CACHE_H_
#define MEMO_TEST_SUPPORT_TIMED_CACHE_H_

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/gate.h"

constexpr int64_t kSecond = 1000000000;
constexpr int64_t kTick = 1 << 20;  // of the timer wheel

// The clock is there before the cache is.
struct WithClock {
    explicit WithClock(int64_t now_ns) : clock(now_ns) {
    }
    FakeClock clock;
};

class TimedCache : public WithClock, public Cache {
   public:
    using Tweak = std::function<void(memo_options *)>;
    using LoadInFunction = std::function<int(TimedCache &, memo_load *)>;

    // Loads may ask the cache for its clock, and how many they are.
    TimedCache(const Config &config, LoadInFunction load, Tweak tweak,
               int64_t now_ns = 1000 * kSecond)
        : WithClock(now_ns),
          Cache(
              config,
              [this, load](memo_load *l) {
                  loads++;
                  return load(*this, l);
              },
              [this, tweak](memo_options *o) {
                  hook_ = clock.Hook();
                  o->clock = &hook_;
                  tweak(o);
              }) {
    }

    TimedCache(const Config &config, LoadFunction load, Tweak tweak,
               int64_t now_ns = 1000 * kSecond)
        : TimedCache(
              config, [load](TimedCache &, memo_load *l) { return load(l); },
              tweak, now_ns) {
    }

    // "k" becomes "k1", "k2", ...: how many loads there were.
    TimedCache(const Config &config, Tweak tweak)
        : TimedCache(
              config,
              [](TimedCache &self, memo_load *l) {
                  return Return(l, KeyOf(l) + std::to_string(self.loads));
              },
              tweak) {
    }

    // Do what upkeep there is, and return when there will be more.
    int64_t Maintain() {
        int64_t next;
        do {
            next = memo_maintain(*this, clock.Now());
        } while (next <= clock.Now());
        return next;
    }

    std::atomic<int> loads{0};

   private:
    memo_clock hook_;
};

// A timed cache whose loads the test finishes, in any order.
class LaterCache : public TimedCache {
   public:
    LaterCache(const Config &config, Tweak tweak)
        : TimedCache(
              config,
              [this](memo_load *l) {
                  if (at_once) {
                      return at_once(l);
                  }
                  last = l;
                  all.push_back(l);
                  return int{MEMO_PENDING};
              },
              tweak) {
    }

    // Make key resident.
    void Fill(const std::string &key, const std::string &bytes) {
        at_once = [bytes](memo_load *l) { return Return(l, bytes); };
        EXPECT_EQ(Get(key), Loaded(bytes));
        at_once = nullptr;
    }

    // The last load, once it runs: others may have joined it before.
    memo_load *Running() {
        Await([&] { return last != nullptr; });
        return last.exchange(nullptr);
    }

    void Finish(const std::string &bytes) {
        memo_load *l = Running();
        EXPECT_EQ(Return(l, bytes), 0);
        EXPECT_EQ(memo_load_finish(l, 0), 0);
    }

    void Fail(int error) {
        memo_load *l = Running();
        EXPECT_EQ(memo_load_finish(l, error), 0);
    }

    // Those that are running; for tests with one thread.
    void FinishAll() {
        for (memo_load *l : all) {
            EXPECT_EQ(memo_load_finish(l, 1), 0);
        }
    }

    std::atomic<memo_load *> last{nullptr};
    std::vector<memo_load *> all;
    LoadFunction at_once;
};

// Do what upkeep there is, of a cache of which is known when each key expires: it drops
// all that has expired but for the last tick, and nothing else.
inline void MaintainBeside(TimedCache *cache,
                           const std::map<std::string, int64_t> &expires) {
    int64_t next = cache->Maintain(), now = cache->clock.Now();
    int64_t first = MEMO_NEVER;
    uint64_t most = 0, least = 0;

    for (const auto &e : expires) {
        most += e.second > now - kTick;
        least += e.second > now;
        if (e.second > now) {
            first = std::min(first, e.second);
        }
    }
    ASSERT_LE(cache->Stats().entries, most);
    ASSERT_GE(cache->Stats().entries, least);
    // Nobody is called too late.
    ASSERT_LE(next, first > MEMO_NEVER - kTick ? MEMO_NEVER : first + kTick);
}

inline TimedCache::Tweak RefreshAfter(int64_t refresh_ns, int64_t ttl_ns = 0) {
    return [=](memo_options *o) {
        o->refresh_after_ns = refresh_ns;
        o->ttl_ns = ttl_ns;
    };
}

#endif  // MEMO_TEST_SUPPORT_TIMED_CACHE_H_
