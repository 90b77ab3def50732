// ThreadSanitizer catches the chapter's races: these tests fail if it stays
// silent.  Built without it there is nothing to ask.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "sync/annotate.h"
#include "sync/event.h"
#include "test/gopl/gopl.h"
#include "test/support/thread.h"

#if SYNC_TSAN

namespace {

// In a child process, which TSan ends with its own exit code if it has seen a
// race.
const int kTsanExitCode = 66;

class RacyDeathTest : public ::testing::Test {
   protected:
    RacyDeathTest() {
        GTEST_FLAG_SET(death_test_style, "threadsafe");
    }
};

#define EXPECT_RACE(statement) \
    EXPECT_EXIT(               \
        {                      \
            statement;         \
            std::exit(0);      \
        },                     \
        ::testing::ExitedWithCode(kTsanExitCode), "data race")

TEST_F(RacyDeathTest, CounterWithoutALock) {
    EXPECT_RACE(racy_counter());
}

TEST_F(RacyDeathTest, LazyTableWithoutAOnce) {
    EXPECT_RACE(racy_icons());
}

int Length(void *, const char *key) {
    return int(strlen(key));
}

TEST_F(RacyDeathTest, Memo1) {
    EXPECT_RACE({
        stage *s = memo1.make(Length, nullptr);
        {
            Thread a([&] { memo1.get(s, "a"); });
            Thread b([&] { memo1.get(s, "b"); });
        }
        memo1.end(s);
    });
}

// The detector is not just crying: the same with a lock is quiet.
TEST_F(RacyDeathTest, Memo2IsQuiet) {
    EXPECT_EXIT(
        {
            stage *s = memo2.make(Length, nullptr);
            {
                Thread a([&] { memo2.get(s, "a"); });
                Thread b([&] { memo2.get(s, "b"); });
            }
            memo2.end(s);
            std::exit(0);
        },
        ::testing::ExitedWithCode(0), "");
}

}  // namespace

#else

TEST(Racy, NeedsThreadSanitizer) {
    GTEST_SKIP() << "built without -fsanitize=thread";
}

#endif
