// Makes a GoogleTest of every scenario of a protocol test.
//
// A failure prints SCHED_REPLAY=...; with that in the environment, and the
// scenario picked by --gtest_filter, just the execution that failed is run and
// told step by step.  With --long, searches that are bounded go further.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "test/support/sched_cases.h"

namespace {

bool is_long;

class Explore : public testing::Test {
   public:
    explicit Explore(const sched_case &c) : case_(c) {
    }

    void TestBody() override {
        sched_options options = case_.options;
        sched_result result;
        options.replay = std::getenv("SCHED_REPLAY");
        options.trace = options.replay != nullptr ? stdout : nullptr;
        if (is_long) {
            options.max_executions *= 300;
            options.bound += options.mode == SCHED_BOUNDED;
        }
        sched_explore(&options, &case_.test, &result);
        std::string name = std::string(sched_suite) + "." + case_.name;
        sched_print(name.c_str(), &result);
        EXPECT_FALSE(result.failed) << result.verdict << "\n" << result.replay;
        if (options.replay == nullptr && options.max_executions == 0) {
            EXPECT_TRUE(result.failed || result.complete);
        }
    }

   private:
    sched_case case_;
};

}  // namespace

int main(int argc, char **argv) {
    testing::InitGoogleTest(&argc, argv);
    is_long = argc > 1 && std::strcmp(argv[1], "--long") == 0;
    for (int i = 0; i < sched_n_cases; i++) {
        const sched_case &c = sched_cases[i];
        testing::RegisterTest(
            sched_suite, c.name, nullptr, nullptr, __FILE__, __LINE__,
            [&c]() -> testing::Test * { return new Explore(c); });
    }
    return RUN_ALL_TESTS();
}
