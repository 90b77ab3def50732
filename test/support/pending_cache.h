// A cache whose loads are all finished later, by the test.
#ifndef MEMO_TEST_SUPPORT_PENDING_CACHE_H_
#define MEMO_TEST_SUPPORT_PENDING_CACHE_H_

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"

// Ways to wait.
inline memo_wait Until(int64_t deadline_ns) {
    return {sizeof(memo_wait), deadline_ns, nullptr, 0, 0, 0};
}
inline memo_wait With(struct sync_note *note) {
    return {sizeof(memo_wait), 0, note, 0, 0, 0};
}
inline memo_wait With(uint32_t flags) {
    return {sizeof(memo_wait), 0, nullptr, flags, 0, 0};
}

// Have loads kept there, for the test to finish.
inline LoadFunction KeepIn(std::vector<memo_load *> *loads) {
    return [loads](memo_load *l) {
        loads->push_back(l);
        return int{MEMO_PENDING};
    };
}

class PendingCache : public Cache {
   public:
    explicit PendingCache(const Config &config,
                          std::function<void(memo_options *)> tweak = nullptr)
        : Cache(
              config,
              [this](memo_load *l) {
                  last = l;
                  loads++;
                  return MEMO_PENDING;
              },
              tweak) {
    }

    // Start a load and return it.
    memo_load *Start(const std::string &key) {
        memo_wait at_once = Until(1);
        int before = loads;
        EXPECT_EQ(Get(key, &at_once), Failed(MEMO_ETIMEDOUT));
        Await([&] { return loads > before; });  // an executor may run it
        return last;
    }

    static void Finish(memo_load *l, const std::string &bytes) {
        EXPECT_EQ(Return(l, bytes), 0);
        EXPECT_EQ(memo_load_finish(l, 0), 0);
    }

    std::atomic<memo_load *> last{nullptr};
    std::atomic<int> loads{0};
};

#endif  // MEMO_TEST_SUPPORT_PENDING_CACHE_H_
