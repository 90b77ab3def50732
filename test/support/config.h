// The configurations that all conformance tests run in, and the one place that
// makes options of them.
#ifndef MEMO_TEST_SUPPORT_CONFIG_H_
#define MEMO_TEST_SUPPORT_CONFIG_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "memo/memo.h"

struct Config {
    const char *name;
    uint32_t shards;
    uint32_t engine;
};

inline std::vector<Config> Configs() {
    return {{"lock_one_shard", 1, MEMO_ENGINE_LOCK},
            {"lock", 0, MEMO_ENGINE_LOCK},
            {"monitor", 0, MEMO_ENGINE_MONITOR}};
}

// With the monitor in a loop too: the same code, but a miss takes long, for the
// loop has to come round.
inline std::vector<Config> ConfigsWithLoop() {
    return {{"lock_one_shard", 1, MEMO_ENGINE_LOCK},
            {"lock", 0, MEMO_ENGINE_LOCK},
            {"monitor", 0, MEMO_ENGINE_MONITOR},
            {"loop", 0, MEMO_ENGINE_LOOP}};
}

inline std::string NameOf(const testing::TestParamInfo<Config> &tested) {
    return tested.param.name;
}

inline void PrintTo(const Config &config, std::ostream *out) {
    *out << config.name;
}

inline memo_options OptionsOf(const Config &config) {
    memo_options options = {};
    options.size = sizeof(options);
    options.shards = config.shards;
    options.engine = config.engine;
    return options;
}

#endif  // MEMO_TEST_SUPPORT_CONFIG_H_
