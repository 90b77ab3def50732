// What the header promises of structs that grow, and of bad arguments (E5).
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <type_traits>

#include "memo/memo.h"

namespace {

int Load(void *, memo_load *l) {
    return memo_load_return(l, "v", 1);
}

memo_options Options() {
    memo_options options = {};
    options.size = sizeof(options);
    options.load = Load;
    return options;
}

int New(const memo_options &options) {
    memo *m = reinterpret_cast<memo *>(1);
    int error = memo_new(&options, &m);
    EXPECT_EQ(error == 0, m != nullptr);
    memo_free(m);
    return error;
}

TEST(Abi, StructsAreOfPlainLayout) {
    EXPECT_TRUE(std::is_standard_layout<memo_options>::value);
    EXPECT_TRUE(std::is_trivial<memo_value>::value);
    EXPECT_EQ(sizeof(memo_value), 32u);
}

// A program compiled against an older, shorter struct.
TEST(Abi, ShorterOptionsMeanDefaults) {
    memo_options options = Options();
    options.size = offsetof(memo_options, allocator);
    std::memset(reinterpret_cast<char *>(&options) + options.size, 0xff,
                sizeof(options) - options.size);
    EXPECT_EQ(New(options), 0);
}

// A program compiled against a newer, longer struct.
TEST(Abi, LongerOptionsMustBeZero) {
    struct {
        memo_options options;
        unsigned char future[64];
    } newer = {Options(), {0}};
    newer.options.size = sizeof(newer);
    EXPECT_EQ(New(newer.options), 0);
    for (unsigned char &byte : newer.future) {
        byte = 1;
        EXPECT_EQ(New(newer.options), MEMO_EINVAL);
        byte = 0;
    }
}

TEST(Abi, NonsenseInOptionsIsRefused) {
    memo_options o = Options();
    memo *m;
    memo_allocator half = {};
    memo_clock no_clock = {nullptr, nullptr};
    memo_executor no_executor = {nullptr, nullptr};
    memo_listener deaf = {};

    EXPECT_EQ(memo_new(nullptr, &m), MEMO_EINVAL);
    EXPECT_EQ(m, nullptr);
    EXPECT_EQ(memo_new(&o, nullptr), MEMO_EINVAL);
#define REFUSED(field, value)            \
    o = Options();                       \
    o.field = value;                     \
    EXPECT_EQ(New(o), MEMO_EINVAL) << #field
    REFUSED(size, 0);
    REFUSED(size, 7);
    REFUSED(size, sizeof(o) - 1);  // ends inside a field
    REFUSED(size, sizeof(o) + 4);
    REFUSED(size, SIZE_MAX);
    REFUSED(load, nullptr);
    REFUSED(flags, 0x80000000u);
    REFUSED(shards, 3);
    REFUSED(shards, 8192);
    REFUSED(engine, 99);
    REFUSED(threads, 1000000);
    REFUSED(allocator, &half);
    REFUSED(clock, &no_clock);
    REFUSED(executor, &no_executor);
    REFUSED(listener, &deaf);
    REFUSED(policy, 3);
    REFUSED(jitter_percent, 101);
    REFUSED(ttl_ns, -1);
    REFUSED(idle_ttl_ns, -1);
    REFUSED(refresh_after_ns, INT64_MIN);
    REFUSED(stale_if_error_ns, -1);
    REFUSED(keep_old_ns, -1);
    REFUSED(negative_ttl_ns, -1);
    REFUSED(backoff_ns, -1);
    REFUSED(backoff_max_ns, -1);
    REFUSED(pass_ttl_ns, -1);
#undef REFUSED
}

TEST(Abi, NullsAreRefused) {
    memo_options o = Options();
    memo_value v, w;
    memo_wait wait = {};
    memo *m = nullptr;
    ASSERT_EQ(memo_new(&o, &m), 0);

    EXPECT_EQ(memo_get(nullptr, "k", 1, &v), MEMO_EINVAL);
    EXPECT_EQ(v.pin, nullptr);
    EXPECT_EQ(memo_get(m, nullptr, 1, &v), MEMO_EINVAL);
    EXPECT_EQ(memo_get(m, nullptr, 16, &v), MEMO_EINVAL);
    EXPECT_EQ(memo_get(m, "k", 1, nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_get(m, "k", MEMO_KEY_MAX + 1, &v), MEMO_EINVAL);
    EXPECT_EQ(memo_get(m, nullptr, 0, &v), 0);  // the empty key is a key
    memo_release(&v);
    EXPECT_EQ(memo_get_wait(m, "k", 1, &wait, &v), MEMO_EINVAL);  // no size
    wait.size = sizeof(wait);
    wait.flags = 1u << 30;
    EXPECT_EQ(memo_get_wait(m, "k", 1, &wait, &v), MEMO_EINVAL);
    wait.flags = 0;
    wait.zero = 1;
    EXPECT_EQ(memo_get_wait(m, "k", 1, &wait, &v), MEMO_EINVAL);
    EXPECT_EQ(memo_get_wait(nullptr, "k", 1, nullptr, &v), MEMO_EINVAL);
    EXPECT_EQ(memo_peek(nullptr, "k", 1, &v), MEMO_EINVAL);
    EXPECT_EQ(memo_peek(m, "k", 1, nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_put(nullptr, "k", 1, "v", 1), MEMO_EINVAL);
    EXPECT_EQ(memo_put(m, "k", 1, nullptr, 1), MEMO_EINVAL);
    EXPECT_EQ(memo_put(m, nullptr, 1, "v", 1), MEMO_EINVAL);
    EXPECT_EQ(memo_put(m, "k", MEMO_KEY_MAX + 1, "v", 1), MEMO_EINVAL);
    EXPECT_EQ(memo_invalidate(nullptr, "k", 1), MEMO_EINVAL);
    EXPECT_EQ(memo_invalidate(m, nullptr, 1), MEMO_EINVAL);
    EXPECT_EQ(memo_clear(nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_retain(nullptr, &w), MEMO_EINVAL);
    EXPECT_EQ(w.pin, nullptr);
    EXPECT_EQ(memo_retain(&v, nullptr), MEMO_EINVAL);
    memo_release(nullptr);
    EXPECT_EQ(memo_stats(nullptr, nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_stats(m, nullptr), MEMO_EINVAL);
    struct memo_stats stats = {};
    EXPECT_EQ(memo_stats(m, &stats), MEMO_EINVAL);  // no size
    EXPECT_EQ(memo_close(nullptr, 0), MEMO_EINVAL);
    EXPECT_EQ(memo_load_finish(nullptr, 0), MEMO_EINVAL);
    EXPECT_EQ(memo_load_return(nullptr, "v", 1), MEMO_EINVAL);
    EXPECT_EQ(memo_load_adopt(nullptr, nullptr, 0, nullptr, nullptr),
              MEMO_EINVAL);
    EXPECT_EQ(memo_load_reserve(nullptr, 1), nullptr);
    EXPECT_EQ(memo_load_on_cancel(nullptr, nullptr, nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_load_is_canceled(nullptr), 0);
    memo_load_retain(nullptr);
    memo_load_release(nullptr);
    memo_check(nullptr);
    memo_check(m);
    memo_free(m);
    memo_free(nullptr);
}

// Programs built with an older or newer header: structs grow at the end.
TEST(Abi, StructsOfOtherVersionsAreTaken) {
    memo_options options = {};
    options.size = sizeof(options);
    options.load = [](void *, memo_load *l) {
        return memo_load_return(l, "v", 1);
    };
    memo *m = nullptr;
    memo_value v;
    ASSERT_EQ(memo_new(&options, &m), 0);

    struct {
        memo_wait wait;
        char more[16];
    } wait = {};
    wait.wait.size = sizeof(wait);
    EXPECT_EQ(memo_get_wait(m, "a", 1, &wait.wait, &v), 0);
    memo_release(&v);
    wait.more[15] = 1;
    EXPECT_EQ(memo_get_wait(m, "a", 1, &wait.wait, &v), MEMO_EINVAL);
    wait.wait.size = offsetof(memo_wait, soft_deadline_ns);
    wait.wait.soft_deadline_ns = -1;  // not part of it
    EXPECT_EQ(memo_get_wait(m, "a", 1, &wait.wait, &v), 0);
    memo_release(&v);
    wait.wait.size = offsetof(memo_wait, flags);
    EXPECT_EQ(memo_get_wait(m, "a", 1, &wait.wait, &v), MEMO_EINVAL);
    wait.wait.size = sizeof(memo_wait) - 1;
    EXPECT_EQ(memo_get_wait(m, "a", 1, &wait.wait, &v), MEMO_EINVAL);
    wait.wait.size = size_t(1) << 40;
    EXPECT_EQ(memo_get_wait(m, "a", 1, &wait.wait, &v), MEMO_EINVAL);

    struct {
        memo_put_options put;
        char more[16];
    } put = {};
    put.put.size = sizeof(put);
    EXPECT_EQ(memo_put_with(m, "b", 1, "v", 1, &put.put), 0);
    put.more[0] = 1;
    EXPECT_EQ(memo_put_with(m, "b", 1, "v", 1, &put.put), MEMO_EINVAL);
    put.put.size = sizeof(memo_put_options) - 8;
    EXPECT_EQ(memo_put_with(m, "b", 1, "v", 1, &put.put), MEMO_EINVAL);

    struct {
        struct memo_stats stats;
        uint64_t more[2];
    } stats;
    std::memset(&stats, 0xff, sizeof(stats));
    stats.stats.size = sizeof(stats);
    EXPECT_EQ(memo_stats(m, &stats.stats), 0);
    EXPECT_EQ(stats.stats.size, sizeof(struct memo_stats));
    EXPECT_EQ(stats.stats.hits, 1u);
    EXPECT_EQ(stats.more[1], 0u);
    std::memset(&stats, 0xff, sizeof(stats));
    stats.stats.size = offsetof(struct memo_stats, loads);
    EXPECT_EQ(memo_stats(m, &stats.stats), 0);
    EXPECT_EQ(stats.stats.size, offsetof(struct memo_stats, loads));
    EXPECT_EQ(stats.stats.hits, 1u);
    EXPECT_EQ(stats.stats.loads, UINT64_MAX);
    stats.stats.size = sizeof(struct memo_stats) - 1;
    EXPECT_EQ(memo_stats(m, &stats.stats), MEMO_EINVAL);
    stats.stats.size = size_t(1) << 40;
    EXPECT_EQ(memo_stats(m, &stats.stats), MEMO_EINVAL);
    memo_free(m);
}

TEST(Abi, EveryErrorHasANameAndAText) {
#define NAMED(name, code, text)                   \
    EXPECT_STREQ(memo_error_name(code), #name); \
    EXPECT_STREQ(memo_error_text(code), text);
    MEMO_ERRORS(NAMED)
#undef NAMED
    EXPECT_STREQ(memo_error_name(0), "MEMO_OK");
    EXPECT_STREQ(memo_error_name(-99), "unknown");
    EXPECT_STREQ(memo_error_name(7), "unknown");
    EXPECT_NE(memo_error_text(7), nullptr);
}

}  // namespace
