// A cache on a clock that the test moves, whose loads answer as they are told.
#ifndef MEMO_TEST_SUPPORT_TIMED_CACHE_H_
#define MEMO_TEST_SUPPORT_TIMED_CACHE_H_

#include <atomic>
#include <functional>
#include <string>

#include "test/support/cache.h"
#include "test/support/fake_clock.h"

constexpr int64_t kSecond = 1000000000;

// The clock is there before the cache is.
struct WithClock {
    explicit WithClock(int64_t now_ns) : clock(now_ns) {
    }
    FakeClock clock;
};

class TimedCache : public WithClock, public Cache {
   public:
    using Tweak = std::function<void(memo_options *)>;

    TimedCache(const Config &config, LoadFunction load, Tweak tweak,
               int64_t now_ns = 1000 * kSecond)
        : WithClock(now_ns),
          Cache(
              config,
              [this, load](memo_load *l) {
                  loads++;
                  return load(l);
              },
              [this, tweak](memo_options *o) {
                  hook_ = clock.Hook();
                  o->clock = &hook_;
                  tweak(o);
              }) {
    }

    // "k" becomes "k1", "k2", ...: how many loads there were.
    TimedCache(const Config &config, Tweak tweak)
        : TimedCache(
              config,
              [this](memo_load *l) {
                  return Return(l, KeyOf(l) + std::to_string(loads));
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

#endif  // MEMO_TEST_SUPPORT_TIMED_CACHE_H_
