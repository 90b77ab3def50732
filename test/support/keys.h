// Keys that are awkward.
#ifndef MEMO_TEST_SUPPORT_KEYS_H_
#define MEMO_TEST_SUPPORT_KEYS_H_

#include <cstdint>
#include <cstring>
#include <string>

#include "memo/memo.h"

// "k0", "k1", "k2", ...
inline std::string Key(uint64_t i) {
    return "k" + std::to_string(i);
}

// What is mixed to these words, and so is a hash's seed: see memo/hash.h.
inline void UnmixSeed(const uint64_t mixed[4], uint64_t word[4]) {
    auto inverse = [](uint64_t x) {  // of an odd number; each turn doubles its bits
        uint64_t y = x;
        for (int i = 0; i < 6; i++) {
            y *= 2 - x * y;
        }
        return y;
    };
    for (int i = 0; i < 4; i++) {
        uint64_t x = mixed[i];
        x = (x ^ x >> 31 ^ x >> 62) * inverse(0x94d049bb133111eb);
        x = (x ^ x >> 27 ^ x >> 54) * inverse(0xbf58476d1ce4e5b9);
        x = x ^ x >> 30 ^ x >> 60;
        word[i] = x - uint64_t(i + 1) * 0x9e3779b97f4a7c15;
    }
}

// Who knows the seed can make keys collide.  With this one all keys do, in all
// 64 bits, that are 24 bytes long and end with the second word, mixed, and a zero.
struct WeakSeed {
    uint64_t mixed[4];
    uint64_t word[4];

    WeakSeed(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
        : mixed{a, b, c, d} {
        UnmixSeed(mixed, word);
    }

    // Set the seed in options.
    void operator()(memo_options *options) const {
        options->hash_seed = word;
    }

    std::string Key(uint64_t i) const {
        std::string key(24, '\0');
        std::memcpy(&key[0], &i, 8);
        std::memcpy(&key[8], &mixed[1], 8);
        return key;
    }
};

// All those keys then hash to 0.
inline WeakSeed ZeroSeed() {
    return WeakSeed(0, 0, 0, 0);
}

// All those keys then hash to something that looks random.
inline WeakSeed OddSeed(uint64_t n) {
    return WeakSeed(0x0123456789abcdef + n, 0x1111111111111111,
                    0x9e3779b97f4a7c15 * (2 * n + 1),
                    0xbf58476d1ce4e5b9 * (2 * n + 3));
}

#endif  // MEMO_TEST_SUPPORT_KEYS_H_
