// The seed of a randomised test: --gtest_random_seed=N, or drawn; printed.
#ifndef MEMO_TEST_SUPPORT_SEED_H_
#define MEMO_TEST_SUPPORT_SEED_H_

#include <gtest/gtest.h>

#include <cstdio>
#include <random>

inline unsigned Seed() {
    static const unsigned seed = [] {
        unsigned given = unsigned(GTEST_FLAG_GET(random_seed));
        unsigned drawn =
            given != 0 ? given : std::random_device{}() % 99999 + 1;
        std::printf("to repeat: --gtest_random_seed=%u\n", drawn);
        return drawn;
    }();
    return seed;
}

#endif  // MEMO_TEST_SUPPORT_SEED_H_
