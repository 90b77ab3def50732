// Every allocation fails once, and from then on: MEMO_ENOMEM to who is concerned,
// and nothing else (E4).  Nothing leaks, nobody is forgotten, the next call works.
//
// Built from sources with SYNC_FAULT=1, so that the system's refusals (pages, a
// thread, a descriptor, memory of sync/) take their turn too.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "memo/memo.h"
#include "sync/fault.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_LONG_SUITE(Oom);

bool IsFine(int error) {
    return error == 0 || error == MEMO_ENOMEM;
}

// One of each thing that can be done; whatever fails must fail as it should.
// Returns the number of calls that were refused.
class Scenario {
   public:
    Scenario(const Config &config, CountingAllocator *allocator,
             Objects *objects)
        : objects_(objects) {
        memo_options options = OptionsOf(config);
        memo_allocator hook = allocator->Hook();
        memo_listener listener = {
            [](void *, memo_cause, const void *, size_t, const memo_value *) {},
            nullptr};
        options.load = Load;
        options.load_arg = this;
        options.load_many = LoadMany;
        options.allocator = &hook;
        options.listener = &listener;
        options.flags = MEMO_DEPEND_AUTO;
        memo_clock clock = clock_.Hook();
        options.clock = &clock;
        options.ttl_ns = 10000;
        options.refresh_after_ns = 1000;
        options.stale_if_error_ns = 1000;
        options.negative_ttl_ns = 1000;
        options.backoff_ns = 10;
        options.pass_ttl_ns = 1000;
        Check(memo_new(&options, &m_));
    }

    void Run() {
        if (m_ == nullptr) {
            return;
        }
        GetPutAndForget();
        LoadInEveryWay();
        LinkInEveryWay();
        WaitInEveryWay();
        ManyAtOnce();
        PassTime();
        LookOn();
        Grow();
        memo_check(m_);
    }

    // What must work as soon as memory is there again.
    void Works() {
        if (m_ == nullptr) {
            return;
        }
        memo_value v = {};
        EXPECT_EQ(memo_get(m_, "works", 5, &v), 0);
        EXPECT_EQ(std::string(static_cast<const char *>(v.data), v.size),
                  "<works>");
        memo_release(&v);
        struct memo_stats stats = {};
        stats.size = sizeof(stats);
        EXPECT_EQ(memo_stats(m_, &stats), 0);
        EXPECT_EQ(stats.flights, 0u) << "a load was forgotten";
        memo_free(m_);
    }

    uint64_t refused = 0;

   private:
    void Check(int error) {
        EXPECT_TRUE(IsFine(error)) << memo_error_name(error);
        refused += error != 0;
    }

    static int Load(void *arg, memo_load *l) {
        return static_cast<Scenario *>(arg)->Answer(l);
    }

    static int LoadMany(void *arg, memo_load *const loads[], size_t n) {
        for (size_t i = 0; i < n; i++) {
            int error = static_cast<Scenario *>(arg)->Answer(loads[i]);
            if (error != 0) {
                return error;
            }
        }
        return 0;
    }

    int Answer(memo_load *l) {
        std::string key = KeyOf(l), value = "<" + key + ">";
        if (key == "adopt") {
            return objects_->Adopt(l, value);
        }
        if (key == "reserve") {
            void *room = memo_load_reserve(l, 10);
            if (room == nullptr || memo_load_reserve(l, 1000) == nullptr) {
                return MEMO_ENOMEM;
            }
            return 0;
        }
        if (key == "nothing") {
            return memo_load_not_found(l);
        }
        if (key.compare(0, 4, "tag:") == 0) {
            return AnswerWithTags(l, key.substr(4));
        }
        if (key.find(':') == 4) {
            return AnswerFrom(l, key.substr(0, 4), key.substr(5));
        }
        if (key == "passes") {
            memo_load_pass(l);
        }
        if (key == "fails") {
            return 77;
        }
        if (key == "same" && memo_load_not_modified(l) == 0) {
            return 0;
        }
        if (key == "pending") {
            int error = memo_load_return(l, "v", 1);
            EXPECT_EQ(memo_load_finish(l, error), 0);
            return MEMO_PENDING;
        }
        return memo_load_return(l, value.data(), value.size());
    }

    // Tags before the value, or after it; many of them.
    int AnswerWithTags(memo_load *l, const std::string &how) {
        int error = how == "late" ? objects_->Adopt(l, "value") : 0;
        for (int i = 0; i < (how == "many" ? 20 : 1) && error == 0; i++) {
            std::string tag = "t" + std::to_string(i);
            error = memo_load_add_tag(l, tag.data(), tag.size());
        }
        if (error == 0 && how == "fails") {
            return MEMO_ENOENT;
        }
        return error != 0 || how == "late" ? error
                                           : objects_->Adopt(l, "value");
    }

    // A value made from another.
    int AnswerFrom(memo_load *l, const std::string &how,
                   const std::string &key) {
        memo_value v;
        int error = how == "from" ? memo_load_get(l, key.data(), key.size(),
                                                  nullptr, &v)
                                  : memo_get(m_, key.data(), key.size(), &v);
        if (error == 0 && how == "held") {
            error = memo_load_depend(l, &v);
        }
        if (error == 0) {
            error = memo_load_return(l, v.data, v.size);
        }
        memo_release(&v);
        return error;
    }

    void InvalidateTag(const char *tag) {
        int error = memo_invalidate_tag(m_, tag, strlen(tag));
        memo_value v;
        Check(error);
        for (const char *key : {"tag:early", "from:tag:many", "held:tag:late",
                                "auto:from:tag:early"}) {
            int found = memo_peek(m_, key, strlen(key), &v);
            EXPECT_TRUE(error != 0 || found == MEMO_ENOENT ||
                        found == MEMO_ENOMEM)
                << key;
            memo_release(&v);
        }
    }

    void LinkInEveryWay() {
        const memo_bytes tags[] = {{"t0", 2}, {"u", 1}};
        memo_put_options put = {};
        put.size = sizeof(put);
        put.tags = tags;
        put.n_tags = 2;
        for (int i = 0; i < 2; i++) {
            for (const char *key :
                 {"tag:late", "tag:early", "tag:many", "from:tag:many",
                  "held:tag:late", "auto:from:tag:early"}) {
                Get(key);
            }
            memo_value v;
            int error = memo_get(m_, "tag:fails", 9, &v);
            EXPECT_TRUE(error == MEMO_ENOENT || error == MEMO_ENOMEM);
            memo_release(&v);
            InvalidateTag("t0");
            Check(memo_put_with(m_, "put", 3, "v", 1, &put));
            for (int n = 0; n < 100; n++) {
                std::string key = "absent" + std::to_string(n);
                EXPECT_EQ(memo_invalidate(m_, key.data(), key.size()), 0);
            }
        }
    }

    void Get(const std::string &key) {
        memo_value v;
        Check(memo_get(m_, key.data(), key.size(), &v));
        if (v.pin != nullptr) {
            memo_value again;
            EXPECT_EQ(memo_retain(&v, &again), 0);
            memo_release(&again);
        }
        memo_release(&v);
    }

    void GetPutAndForget() {
        memo_value held;
        Get("a");
        Get("a");
        Check(memo_get(m_, "held", 4, &held));
        Check(memo_put(m_, "a", 1, "new", 3));
        Check(memo_put(m_, "b", 1, nullptr, 0));
        EXPECT_EQ(memo_invalidate(m_, "held", 4), 0);
        EXPECT_EQ(memo_invalidate(m_, "absent", 6), 0);
        EXPECT_EQ(memo_clear(m_), 0);
        memo_release(&held);
        memo_maintain(m_, 1);
    }

    void LoadInEveryWay() {
        for (const char *key : {"adopt", "reserve", "pending", "", "plain"}) {
            Get(key);
        }
    }

    void WaitInEveryWay() {
        int calls = 0, answers = 0;
        memo_ticket *ticket = nullptr;
        memo_queue *queue = nullptr;
        memo_done_fn *done = [](void *arg, int error, memo_value *value) {
            EXPECT_TRUE(IsFine(error)) << memo_error_name(error);
            ++*static_cast<int *>(arg);
            memo_release(value);
        };
        int error = memo_get_async(m_, "async", 5, nullptr, done, &answers,
                                   &ticket);
        Check(error);
        calls += error == 0;
        memo_ticket_free(ticket);
        EXPECT_EQ(answers, calls);  // W2
        Check(memo_queue_new(&queue));
        if (queue != nullptr) {
            memo_completion c;
            error = memo_get_queued(m_, "queued", 6, nullptr, queue, nullptr,
                                    nullptr);
            Check(error);
            EXPECT_EQ(memo_queue_next(queue, &c),
                      error == 0 ? 0 : int(MEMO_ENOENT));
            memo_release(&c.value);
            memo_queue_free(queue);
        }
    }

    void ManyAtOnce() {
        std::vector<memo_bytes> keys = {{"m1", 2}, {"m2", 2}, {"a", 1}};
        memo_value out[3];
        int errors[3];
        Check(memo_get_many(m_, keys.data(), 3, nullptr, out, errors));
        for (int i = 0; i < 3; i++) {
            EXPECT_TRUE(IsFine(errors[i])) << memo_error_name(errors[i]);
            EXPECT_EQ(errors[i] == 0, out[i].pin != nullptr);
            memo_release(&out[i]);
        }
    }

    // With times: markers, refreshes, what is put with a time.
    void PassTime() {
        memo_put_options put = {sizeof(put), 500, 0, nullptr, 0};
        for (int i = 0; i < 3; i++) {
            memo_value v;
            int error = memo_get(m_, "nothing", 7, &v);
            EXPECT_TRUE(error == MEMO_ENOENT || error == MEMO_ENOMEM);
            error = memo_get(m_, "fails", 5, &v);
            EXPECT_TRUE(error == 77 || error == MEMO_ENOMEM);
            refused += error == MEMO_ENOMEM;
            Get("passes");
            Get("same");
            Check(memo_refresh(m_, "plain", 5));
            Check(memo_put_with(m_, "brief", 5, "v", 1, &put));
            clock_.Advance(1000);
            memo_maintain(m_, clock_.Now());
        }
    }

    void LookOn() {
        const char *name = "name";
        size_t need;
        int error = memo_stats_prometheus(&m_, &name, 1, nullptr, 0, &need);
        EXPECT_TRUE(error == MEMO_ENOSPC || error == MEMO_ENOMEM)
            << memo_error_name(error);
    }

    // Enough for each shard to double a few times: commits of pages may fail.
    void Grow() {
        for (int i = 0; i < 300; i++) {
            std::string key = "grow" + std::to_string(i);
            Check(memo_put(m_, key.data(), key.size(), "v", 1));
        }
    }

    FakeClock clock_;
    Objects *objects_;
    memo *m_ = nullptr;
};

uint64_t points = 0;

// Fail the nth request, of the cache's allocator or of the system; return
// whether one failed.
bool FailsAt(const Config &config, uint64_t n, bool sticky, bool of_system) {
    CountingAllocator allocator;
    Objects objects;
    bool failed;
    if (of_system) {
        sync_fault_set(n, sticky);
    } else {
        allocator.FailAt(n, sticky);
    }
    {
        Scenario scenario(config, &allocator, &objects);
        scenario.Run();
        failed = of_system ? sync_fault_count() >= n : allocator.Asked() >= n;
        sync_fault_set(0, 0);
        allocator.FailAt(0);
        scenario.Works();
    }
    EXPECT_EQ(allocator.LiveBlocks(), 0) << "n = " << n;
    EXPECT_EQ(objects.Destroyed(), objects.Adopted()) << "n = " << n;
    points += failed;
    return failed && !testing::Test::HasFailure();
}

// T3, E4: the value is delivered, and the next call works: the old one isn't taken
// for one that is being refreshed.
TEST_P(Oom, ARefreshThatCouldNotBeStoredIsRepeated) {
    const int kEntries = 512;  // as many as there is room for without more pages
    Config config = GetParam();
    bool no_pages = false;

    config.shards = 1;
    TimedCache cache(
        config,
        [&](TimedCache &self, memo_load *l) {
            if (no_pages) {
                sync_fault_set(1, 1);
            }
            return Return(l, std::to_string(self.loads));
        },
        RefreshAfter(kSecond));
    for (int i = 1; i < kEntries; i++) {
        EXPECT_EQ(cache.Put(std::to_string(i), "v"), 0);
    }
    EXPECT_EQ(cache.Get("k"), Loaded("1"));
    cache.clock.Advance(kSecond);
    no_pages = true;
    EXPECT_EQ(cache.Get("k"), Loaded("2"));
    EXPECT_EQ(sync_fault_count(), 1u);
    no_pages = false;
    sync_fault_set(0, 0);
    EXPECT_EQ(cache.Get("k"), Loaded("3"));
    EXPECT_EQ(cache.Get("k"), Hit("3"));
}

// T3, E4: a value that was found unchanged is delivered; if there is no room to note when
// it is to expire now, which is sooner, it stays as old as it was.
TEST_P(Oom, WhatCannotBeNotedIsStillDelivered) {
    const int kTimes = 1000;  // each needs four bytes
    Config config = GetParam();
    int64_t ttl = 10 * kTimes * kSecond;
    bool no_pages = false;
    int refused = 0;

    config.shards = 1;
    TimedCache cache(
        config,
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_set_ttl(l, ttl), 0);
            if (no_pages) {
                sync_fault_set(1, 1);
            }
            return memo_load_not_modified(l) == 0 ? 0 : Return(l, "v");
        },
        RefreshAfter(kSecond, 100 * ttl));
    for (int i = 0; i < 300; i++) {
        EXPECT_EQ(cache.Put(std::to_string(i), "v"), 0);
    }
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    no_pages = true;
    for (int i = 0; i < kTimes && refused == 0; i++) {
        ttl -= 2 * kSecond;
        cache.clock.Advance(kSecond);
        EXPECT_EQ(cache.Get("k"), Loaded("v"));
        refused += sync_fault_count() != 0;
        sync_fault_set(0, 0);
        memo_check(cache);
    }
    EXPECT_EQ(refused, 1);
    no_pages = false;
    EXPECT_EQ(cache.Get("k"), Loaded("v"));
    EXPECT_EQ(cache.Get("k"), Hit("v"));
    memo_check(cache);
}

TEST_P(Oom, AnyAllocationMayFailOnce) {
    for (uint64_t n = 1; FailsAt(GetParam(), n, false, false); n++) {
    }
}

TEST_P(Oom, AllAllocationsMayFailFromAnyOneOn) {
    for (uint64_t n = 1; FailsAt(GetParam(), n, true, false); n++) {
    }
}

TEST_P(Oom, TheSystemMayRefuseOnce) {
    for (uint64_t n = 1; FailsAt(GetParam(), n, false, true); n++) {
    }
}

TEST_P(Oom, TheSystemMayRefuseFromAnyRequestOn) {
    for (uint64_t n = 1; FailsAt(GetParam(), n, true, true); n++) {
    }
    printf("%llu fault points so far\n", static_cast<unsigned long long>(points));
}

}  // namespace
