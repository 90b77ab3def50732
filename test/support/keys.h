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

// Who knows the seed can make keys collide.  With this one all keys do, in all
// 64 bits, that are 24 bytes long and end with the second word and a zero.
struct WeakSeed {
    uint64_t word[4];

    // Set the seed in options.
    void operator()(memo_options *options) const {
        options->hash_seed = word;
    }

    std::string Key(uint64_t i) const {
        std::string key(24, '\0');
        std::memcpy(&key[0], &i, 8);
        std::memcpy(&key[8], &word[1], 8);
        return key;
    }
};

// All those keys then hash to 0.
inline WeakSeed ZeroSeed() {
    return {{0, 0, 0, 0}};
}

// All those keys then hash to something that looks random.
inline WeakSeed OddSeed(uint64_t n) {
    return {{0x0123456789abcdef + n, 0x1111111111111111,
             0x9e3779b97f4a7c15 * (2 * n + 1), 0xbf58476d1ce4e5b9 * (2 * n + 3)}};
}

#endif  // MEMO_TEST_SUPPORT_KEYS_H_
