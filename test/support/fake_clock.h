// A clock that stands still until a test moves it.
#ifndef MEMO_TEST_SUPPORT_FAKE_CLOCK_H_
#define MEMO_TEST_SUPPORT_FAKE_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "memo/memo.h"

class FakeClock {
   public:
    explicit FakeClock(int64_t now_ns = 1000) : now_ns_(now_ns) {
    }

    int64_t Now() const {
        return now_ns_.load();
    }

    void Advance(int64_t ns) {
        now_ns_.fetch_add(ns);
    }

    memo_clock Hook() {
        return {[](void *self) {
                    return static_cast<FakeClock *>(self)->Now();
                },
                this};
    }

   private:
    std::atomic<int64_t> now_ns_;
};

#endif  // MEMO_TEST_SUPPORT_FAKE_CLOCK_H_
