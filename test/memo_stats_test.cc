// What is counted: histograms, causes, time saved, and all of it as text.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/exposition.h"
#include "test/support/fake_clock.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Stats);

struct memo_histogram HistogramOf(memo *m, int which) {
    struct memo_histogram h = {};
    h.size = sizeof(h);
    EXPECT_EQ(memo_stats_histogram(m, which, &h), 0);
    return h;
}

// A cache whose loads take as long as the test says.
class SlowCache : public TimedCache {
   public:
    explicit SlowCache(const Config &config)
        : TimedCache(
              config,
              [this](memo_load *l) {
                  clock.Advance(takes_ns);
                  return error != 0 ? error : LoadInBrackets(l);
              },
              [](memo_options *) {}) {
    }
    int64_t takes_ns = 0;
    int error = 0;
};

TEST_P(Stats, BucketsAreAtMostAnEighthWide) {
    int64_t before = 0;
    for (uint32_t b = 0; b < MEMO_HISTOGRAM_BUCKETS - 1; b++) {
        int64_t bound = memo_histogram_bound_ns(b);
        EXPECT_GT(bound, before);
        EXPECT_LE((bound - before - 1) * 8, before) << b;
        before = bound;
    }
    EXPECT_GT(before, 18 * 3600 * kSecond);
    EXPECT_EQ(memo_histogram_bound_ns(MEMO_HISTOGRAM_BUCKETS - 1), MEMO_NEVER);
    EXPECT_EQ(memo_histogram_bound_ns(MEMO_HISTOGRAM_BUCKETS), MEMO_NEVER);
}

// Each time is in the first bucket whose bound it doesn't exceed.
TEST_P(Stats, LoadsAreInTheirBuckets) {
    SlowCache cache(GetParam());
    std::vector<int64_t> times = {0, 1, 2, 7, 8, 9, 10, 15, 16, 17, 18, 19};
    for (int64_t t = 20; t < 100000 * kSecond; t = t * 9 / 8) {
        times.insert(times.end(), {t - 1, t, t + 1});
    }
    for (int shift = 5; shift < 47; shift++) {
        times.push_back(int64_t(1) << shift);
    }
    times.push_back(INT64_MAX / 4);
    std::vector<uint64_t> expected(MEMO_HISTOGRAM_BUCKETS);
    uint64_t sum = 0;
    for (size_t i = 0; i < times.size(); i++) {
        uint32_t b = 0;
        while (memo_histogram_bound_ns(b) < times[i]) {
            b++;
        }
        expected[b]++;
        sum += uint64_t(times[i]);
        cache.takes_ns = times[i];
        EXPECT_EQ(cache.Get("k" + std::to_string(i)).error, 0);
    }
    struct memo_histogram h = HistogramOf(cache, MEMO_HISTOGRAM_LOAD);
    EXPECT_EQ(std::vector<uint64_t>(h.count, h.count + MEMO_HISTOGRAM_BUCKETS),
              expected);
    EXPECT_EQ(h.n, times.size());
    EXPECT_EQ(h.sum_ns, sum);
    EXPECT_EQ(cache.Stats().load_ns, sum);
}

TEST_P(Stats, QuantilesAreWithinASixteenth) {
    SlowCache cache(GetParam());
    std::vector<int64_t> times;
    for (int i = 0; i < 1000; i++) {
        times.push_back(int64_t(i) * i * 1000 + i);
        cache.takes_ns = times.back();
        cache.Get("k" + std::to_string(i));
    }
    struct memo_histogram h = HistogramOf(cache, MEMO_HISTOGRAM_LOAD);
    for (double q : {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
        double exact = double(times[size_t(std::max(0.0, q * 1000 - 1))]);
        double seen = double(memo_histogram_quantile(&h, q));
        EXPECT_LE(std::abs(seen - exact), exact / 16 + 1) << q;
    }
    // Where buckets hold one time each, it is exact.
    struct memo_histogram four = {};
    four.n = 4;
    for (int i = 0; i < 4; i++) {
        four.count[i] = 1;  // 1, 2, 3, 4 ns
    }
    EXPECT_EQ(memo_histogram_quantile(&four, 0), 1);
    EXPECT_EQ(memo_histogram_quantile(&four, 0.25), 1);
    EXPECT_EQ(memo_histogram_quantile(&four, 0.26), 2);
    EXPECT_EQ(memo_histogram_quantile(&four, 0.5), 2);
    EXPECT_EQ(memo_histogram_quantile(&four, 0.51), 3);
    EXPECT_EQ(memo_histogram_quantile(&four, 1), 4);
    EXPECT_EQ(memo_histogram_quantile(&h, 0), memo_histogram_quantile(&h, 1e-9));
    EXPECT_EQ(memo_histogram_quantile(&h, -0.1), MEMO_EINVAL);
    EXPECT_EQ(memo_histogram_quantile(&h, 1.1), MEMO_EINVAL);
    EXPECT_EQ(memo_histogram_quantile(nullptr, 0.5), MEMO_EINVAL);
    h.n = 0;
    EXPECT_EQ(memo_histogram_quantile(&h, 0.5), 0);
}

TEST_P(Stats, FailuresAreLoadsToo) {
    SlowCache cache(GetParam());
    cache.takes_ns = 1000;
    cache.error = 7;
    EXPECT_EQ(cache.Get("k"), Failed(7));
    EXPECT_EQ(HistogramOf(cache, MEMO_HISTOGRAM_LOAD).n, 1u);
}

// Every way to wait counts, and only for those who wait for another's load.
TEST_P(Stats, WaitsAreTimedForThoseWhoJoin) {
    FakeClock clock;
    memo_clock hook = clock.Hook();
    PendingCache cache(GetParam(),
                       [&](memo_options *o) { o->clock = &hook; });
    memo_load *l = cache.Start("k");
    int answers = 0;
    memo_done_fn *done = [](void *arg, int, memo_value *v) {
        ++*static_cast<int *>(arg);
        memo_release(v);
    };
    memo_ticket *ticket;
    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, done, &answers, nullptr),
              0);
    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, done, &answers, &ticket),
              0);
    Thread blocking([&] { EXPECT_EQ(cache.Get("k"), Joined("v")); });
    Thread bulk([&] {
        memo_bytes key = {"k", 1};
        Value v;
        int error;
        EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, v.out(), &error), 0);
    });
    cache.AwaitJoins(4);
    // They may have been counted as joined an instant before they look at the
    // clock.
    blocking.AwaitAsleep();
    bulk.AwaitAsleep();
    clock.Advance(1000);
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);  // giving up ends a wait
    memo_ticket_free(ticket);
    clock.Advance(1000);
    PendingCache::Finish(l, "v");
    blocking.Join();
    bulk.Join();

    struct memo_histogram waits = HistogramOf(cache, MEMO_HISTOGRAM_WAIT);
    EXPECT_EQ(answers, 2);
    EXPECT_EQ(waits.n, 4u);
    EXPECT_EQ(waits.sum_ns, 7000u);
    EXPECT_EQ(cache.Stats().wait_ns, 7000u);
    EXPECT_EQ(HistogramOf(cache, MEMO_HISTOGRAM_LOAD).n, 1u);
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    EXPECT_EQ(HistogramOf(cache, MEMO_HISTOGRAM_WAIT).n, 4u);
}

TEST_P(Stats, HitsSaveWhatLoadsTakeOnAverage) {
    SlowCache cache(GetParam());
    EXPECT_EQ(cache.Stats().saved_ns, 0u);
    cache.takes_ns = 1000;
    cache.Get("a");
    cache.takes_ns = 3000;
    cache.Get("b");
    for (int i = 0; i < 5; i++) {
        cache.Get("a");
    }
    EXPECT_EQ(cache.Stats().saved_ns, 10000u);
}

// What a refresh came to is counted, though it is detached.
TEST_P(Stats, DetachedRefreshesAreRefreshesToo) {
    TimedCache cache(
        GetParam(),
        [](TimedCache &self, memo_load *l) {
            int n = self.loads;
            if (n == 2 || n == 4) {
                EXPECT_EQ(self.Invalidate("k"), 0);
            }
            return n == 2   ? 7
                   : n == 4 ? memo_load_not_modified(l)
                            : Return(l, "v");
        },
        RefreshAfter(kSecond));

    for (int i = 0; i < 2; i++) {
        EXPECT_EQ(cache.Get("k"), Loaded("v"));
        cache.clock.Advance(kSecond);
        EXPECT_EQ(cache.Get("k").error, 0);
    }
    EXPECT_EQ(cache.Stats().refreshes, 2u);
    EXPECT_EQ(cache.Stats().load_failures, 1u);
    EXPECT_EQ(cache.Stats().refresh_failures, 1u);
    EXPECT_EQ(cache.Stats().not_modified, 1u);
}

TEST_P(Stats, CausesAreCounted) {
    PendingCache cache(GetParam());
    for (const char *key : {"a", "b", "c", "d"}) {
        cache.Put(key, "v");
    }
    cache.Put("a", "w");
    cache.Invalidate("b");
    cache.Invalidate("nothing");
    memo_load *l = cache.Start("late");
    cache.Invalidate("late");
    PendingCache::Finish(l, "late");
    struct memo_stats stats = cache.Stats();
    EXPECT_EQ(stats.replaced, 1u);
    EXPECT_EQ(stats.invalidated, 1u);
    EXPECT_EQ(stats.rejected, 1u);
    EXPECT_EQ(stats.cleared, 0u);
    memo_clear(cache);
    memo_maintain(cache, 0);
    EXPECT_EQ(cache.Stats().cleared, 3u);
}

TEST_P(Stats, BadArgumentsAreRefused) {
    Cache cache(GetParam());
    memo *m = cache;
    struct memo_histogram h = {};
    char buf[10];
    size_t need = 0;
    const char *name = "name", *none = nullptr;
    memo *two[] = {m, m}, *half[] = {m, nullptr};
    const char *same[] = {"x", "x"}, *names[] = {"x", "y"};

    EXPECT_EQ(memo_stats_histogram(m, 0, &h), MEMO_EINVAL);  // no size
    h.size = sizeof(h);
    EXPECT_EQ(memo_stats_histogram(nullptr, 0, &h), MEMO_EINVAL);
    EXPECT_EQ(memo_stats_histogram(m, 0, nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_stats_histogram(m, -1, &h), MEMO_EINVAL);
    EXPECT_EQ(memo_stats_histogram(m, MEMO_HISTOGRAMS, &h), MEMO_EINVAL);

    auto write = [&](memo *const *caches, const char *const *labels, size_t n,
                     char *to, size_t size) {
        return memo_stats_prometheus(caches, labels, n, to, size, &need);
    };
    EXPECT_EQ(write(nullptr, &name, 1, buf, 10), MEMO_EINVAL);
    EXPECT_EQ(write(&m, nullptr, 1, buf, 10), MEMO_EINVAL);
    EXPECT_EQ(write(&m, &none, 1, buf, 10), MEMO_EINVAL);
    EXPECT_EQ(write(&m, &name, 0, buf, 10), MEMO_EINVAL);
    EXPECT_EQ(write(&m, &name, 1, nullptr, 10), MEMO_EINVAL);
    EXPECT_EQ(write(half, names, 2, buf, 10), MEMO_EINVAL);
    EXPECT_EQ(write(two, same, 2, buf, 10), MEMO_EINVAL);
    EXPECT_EQ(write(two, names, 2, buf, 10), MEMO_ENOSPC);
    for (const char *bad : {"\x80", "a\xff", "\xc0\xaf", "\xe0\x80\x80", "\xc3",
                            "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5",
                            "\xf0\x80\x80\x80", "\xe2\x82"}) {
        EXPECT_EQ(write(&m, &bad, 1, buf, 10), MEMO_EINVAL) << bad;
    }
    for (const char *good : {"", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf",
                             "\xf0\x9f\x92\xa9", "\xf4\x8f\xbf\xbf"}) {
        EXPECT_EQ(write(&m, &good, 1, buf, 10), MEMO_ENOSPC) << good;
    }
}

std::string Prometheus(const std::vector<memo *> &caches,
                       const std::vector<const char *> &names) {
    size_t need = 0;
    EXPECT_EQ(memo_stats_prometheus(caches.data(), names.data(), caches.size(),
                                    nullptr, 0, &need),
              MEMO_ENOSPC);
    std::string text(need, 'x');
    EXPECT_EQ(memo_stats_prometheus(caches.data(), names.data(), caches.size(),
                                    &text[0], need, nullptr),
              0);
    EXPECT_EQ(text.back(), '\0');
    text.pop_back();
    EXPECT_EQ(text.find('\0'), std::string::npos);
    return text;
}

TEST_P(Stats, TextIsAsPrometheusWantsIt) {
    const char *name = "a \"b\" \\ c\nd \xc3\xa9";
    SlowCache one(GetParam()), two(GetParam());
    one.takes_ns = kSecond + 1;
    one.Get("k");
    one.takes_ns = 1024;  // just not more than the first bound
    one.Get("l");
    one.Get("k");
    one.Put("k", "w");

    Exposition all(Prometheus({one, two}, {name, "two"}));
    Exposition::Labels label = {{"cache", name}};
    auto with = [&](const char *key, const char *value) {
        Exposition::Labels more = label;
        more[key] = value;
        return more;
    };
    EXPECT_EQ(all.Value("memo_hits_total", label), 1);
    EXPECT_EQ(all.Value("memo_hits_total", {{"cache", "two"}}), 0);
    EXPECT_EQ(all.Value("memo_loads_total", label), 2);
    EXPECT_EQ(all.Value("memo_entries", label), 2);
    EXPECT_EQ(all.Value("memo_removed_total", with("cause", "replaced")), 1);
    EXPECT_DOUBLE_EQ(all.Value("memo_saved_seconds", label),
                     0.500000512);
    EXPECT_EQ(all.Value("memo_load_seconds_count", label), 2);
    EXPECT_DOUBLE_EQ(all.Value("memo_load_seconds_sum", label), 1.000001025);
    EXPECT_EQ(all.Value("memo_load_seconds_bucket", with("le", "0.000001024")),
              1);
    EXPECT_EQ(all.Value("memo_load_seconds_bucket", with("le", "0.536870912")),
              1);
    EXPECT_EQ(all.Value("memo_load_seconds_bucket", with("le", "1.073741824")),
              2);
    EXPECT_EQ(all.Value("memo_wait_seconds_count", label), 0);
    EXPECT_EQ(all.Types().at("memo_bytes"), "gauge");
}

// Nothing half-written, nothing behind the end.
TEST_P(Stats, ABufferThatIsTooSmallIsLeftEmpty) {
    Cache cache(GetParam());
    std::string whole = Prometheus({cache}, {"name"});
    for (size_t size : {size_t(1), size_t(2), size_t(100), whole.size() / 2,
                        whole.size() - 1, whole.size(), whole.size() + 1}) {
        std::string buf(size + 1, 'x');
        memo *m = cache;
        const char *name = "name";
        size_t need = 0;
        int error =
            memo_stats_prometheus(&m, &name, 1, &buf[0], size, &need);
        EXPECT_EQ(error, size > whole.size() ? 0 : int(MEMO_ENOSPC));
        EXPECT_EQ(need, whole.size() + 1);
        EXPECT_EQ(std::strlen(buf.c_str()), error == 0 ? whole.size() : 0u);
        EXPECT_EQ(buf[size], 'x');
    }
}

TEST_P(Stats, TextNeedsMemoryAndSaysSo) {
    Cache cache(GetParam());
    memo *m = cache;
    const char *name = "name";
    cache.allocator.FailAt(1);
    EXPECT_EQ(memo_stats_prometheus(&m, &name, 1, nullptr, 0, nullptr),
              MEMO_ENOMEM);
    cache.allocator.FailAt(0);
}

}  // namespace
