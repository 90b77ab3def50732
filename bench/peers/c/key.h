// Keys of the C++ peers: std::string in the table, std::string_view to look up.
#ifndef MEMO_BENCH_PEERS_C_KEY_H_
#define MEMO_BENCH_PEERS_C_KEY_H_

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "bench/subject.h"
#include "bench/value.h"

using Value = std::array<unsigned char, VALUE_SIZE>;

inline size_t hash_of(std::string_view s) {
    return bench_hash(reinterpret_cast<const unsigned char *>(s.data()),
                      s.size());
}

inline std::string_view view(const void *key, size_t size) {
    return {static_cast<const char *>(key), size};
}

inline Value value_at(const void *value) {
    Value v;

    std::memcpy(v.data(), value, VALUE_SIZE);
    return v;
}

#endif  // MEMO_BENCH_PEERS_C_KEY_H_
