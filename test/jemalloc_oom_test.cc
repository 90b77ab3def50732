// Whatever the system refuses, an arena and a cache in it come to MEMO_ENOMEM and
// leave nothing behind.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "memo/jemalloc.h"
#include "memo/memo.h"
#include "sync/fault.h"

namespace {

int Load(void *, memo_load *l) {
    return memo_load_return(l, "value", 5);
}

// Returns how far it got before something was refused, which is all that may
// go wrong.
int Scenario() {
    memo_jemalloc *j = nullptr;
    int error = memo_jemalloc_new(&j), got = 0;
    if (error != 0) {
        EXPECT_EQ(error, MEMO_ENOMEM);
        EXPECT_EQ(j, nullptr);
        return 0;
    }
    memo_allocator allocator = memo_jemalloc_allocator(j);
    memo_options options = {};
    memo *m = nullptr;
    options.size = sizeof(options);
    options.load = Load;
    options.allocator = &allocator;
    options.max_bytes = 1 << 20;
    options.policy = MEMO_POLICY_COST;
    error = memo_new(&options, &m);
    for (int i = 0; error == 0 && i < 50; i++) {
        std::string key = std::to_string(i);
        memo_value v = {};
        error = i % 2 == 0 ? memo_get(m, key.data(), key.size(), &v)
                           : memo_put(m, key.data(), key.size(), "v", 1);
        memo_release(&v);
        got += error == 0;
    }
    EXPECT_TRUE(error == 0 || error == MEMO_ENOMEM) << error;
    memo_free(m);
    EXPECT_EQ(memo_jemalloc_free(j), 0);
    return got;
}

// E4
TEST(JemallocOutOfMemory, IsAnErrorAndNothingElse) {
    for (int sticky = 0; sticky < 2; sticky++) {
        for (uint64_t n = 1;; n++) {
            sync_fault_set(n, sticky);
            int got = Scenario();
            uint64_t asked = sync_fault_count();
            sync_fault_set(0, 0);
            if (asked < n) {
                EXPECT_EQ(got, 50);
                break;
            }
            ASSERT_LT(n, 10000u);
        }
    }
}

}  // namespace
