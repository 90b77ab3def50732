// oneTBB's concurrent_hash_map.  Its accessor holds a reader's lock on the one
// element, which is how its documentation reads a value.
#include <oneapi/tbb/concurrent_hash_map.h>

#include <cstdlib>

#include "bench/peers/c/key.h"

const char subject_about[] = "C++ " PEER_VERSION;

namespace {

struct Compare {
    using is_transparent = void;

    size_t hash(std::string_view s) const {
        return hash_of(s);
    }
    bool equal(std::string_view a, std::string_view b) const {
        return a == b;
    }
};

using Map = oneapi::tbb::concurrent_hash_map<std::string, Value, Compare>;

Map *map;

}  // namespace

void subject_init(size_t) {
    map = new Map;
}

void subject_exit() {
    delete map;
}

void subject_put(const void *key, size_t size, const void *value) {
    map->emplace(std::string(view(key, size)), value_at(value));
}

void subject_thread_begin() {
}

void subject_thread_end() {
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        Map::const_accessor at;
        if (!map->find(at, view(key, subject_key_size(key, stride)))) {
            std::abort();
        }
        sum += sum_of(at->second.data());
    }
    return sum;
}
