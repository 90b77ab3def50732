// libcuckoo's cuckoohash_map.  find_fn() reads the value in place, under the
// locks of its two buckets.
#include <libcuckoo/cuckoohash_map.hh>

#include <cstdlib>

#include "bench/peers/c/key.h"

const char subject_about[] = "C++ " PEER_VERSION;

namespace {

struct Hash {
    size_t operator()(std::string_view s) const {
        return hash_of(s);
    }
};

using Map = libcuckoo::cuckoohash_map<std::string, Value, Hash,
                                      std::equal_to<std::string_view>>;

Map *map;

}  // namespace

void subject_init(size_t) {
    map = new Map;
}

void subject_exit() {
    delete map;
}

void subject_put(const void *key, size_t size, const void *value) {
    map->insert(std::string(view(key, size)), value_at(value));
}

void subject_thread_begin() {
}

void subject_thread_end() {
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        if (!map->find_fn(
                view(key, subject_key_size(key, stride)),
                [&sum](const Value &v) { sum += sum_of(v.data()); })) {
            std::abort();
        }
    }
    return sum;
}
