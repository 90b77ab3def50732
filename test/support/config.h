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
};

inline std::vector<Config> Configs() {
    return {{"lock_one_shard", 1}, {"lock", 0}};
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
    return options;
}

#endif  // MEMO_TEST_SUPPORT_CONFIG_H_
