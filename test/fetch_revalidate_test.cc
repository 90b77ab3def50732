// FETCH_FRESHNESS against an origin on 127.0.0.1: T2, T3, T4, C4 on real HTTP.
// Time is a fake clock's: a response ages only when a test says so.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fetch/fetch.h"
#include "fetch/origin.h"
#include "test/support/fake_clock.h"
#include "test/support/raw_origin.h"
#include "test/support/with_origin.h"

namespace {

const int64_t kSecond = 1000000000;

const char kUnavailable[] =
    "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

class Revalidate
    : public WithOrigin<::testing::TestWithParam<enum memo_engine>> {
   protected:
    // What a get came to.  Holds the value until the next one.
    struct Got {
        int error;
        uint32_t from;
        const void *data;
        std::string body;
    };

    void SetUp() override {
        clock_hook_ = clock_.Hook();
        cache_.size = sizeof cache_;
        cache_.clock = &clock_hook_;
        cache_.engine = GetParam();
        WithOrigin::SetUp();
        options_.flags = FETCH_FRESHNESS;
        options_.cache = &cache_;
    }

    void TearDown() override {
        memo_release(&value_);
        WithOrigin::TearDown();
    }

    Got Get(const std::string &path, const struct memo_wait *wait = nullptr) {
        return GetUrl(Url(path), wait);
    }

    Got GetUrl(const std::string &url, const struct memo_wait *wait = nullptr) {
        struct memo_value v;
        Got got = {};
        size_t size;

        got.error = fetch_get_wait(fetch(), url.c_str(), wait, &v);
        got.from = v.from;
        got.data = v.data;
        if (got.error == 0) {
            const char *body =
                static_cast<const char *>(fetch_response_body(&v, &size));
            got.body.assign(body, size);
        }
        // So that no address is used again while a test compares them.
        memo_release(&value_);
        if (v.data != nullptr) {
            EXPECT_EQ(memo_retain(&v, &value_), 0);
        }
        memo_release(&v);
        return got;
    }

    // Get it while it isn't answered; then let it be.
    Got GetAtOnce(const std::string &path) {
        origin_hold(origin_, path.c_str());
        Got got = Get(path);
        origin_release(origin_, path.c_str());
        return got;
    }

    void ExpectGot(const Got &got, uint32_t from, const std::string &body) {
        EXPECT_EQ(got.error, 0);
        EXPECT_EQ(got.from, from);
        EXPECT_EQ(got.body, body);
    }

    uint64_t Answers(unsigned status) {
        return origin_answers(origin_, status);
    }

    void Say(const std::string &path, const char *control) {
        origin_say(origin_, path.c_str(), control);
    }

    void Change(const std::string &path) {
        origin_change(origin_, path.c_str());
    }

    void Fail(const std::string &path, unsigned status) {
        origin_fail(origin_, path.c_str(), status);
    }

    // Wait until n loads have ended, and what they made is in the cache.
    void AwaitLoads(size_t n) {
        while (ended().size() < n || Stats().flights != 0) {
            std::this_thread::yield();
        }
    }

    FakeClock clock_;
    struct memo_clock clock_hook_ = {};
    struct memo_options cache_ = {};
    struct memo_value value_ = {};  // that was got last
};

// --------------------------------------------------------------- lifetimes

TEST_P(Revalidate, AResponseIsAHitForAsLongAsTheServerSays) {
    const std::string path = "/max-age/10/500";

    ExpectGot(Get(path), MEMO_LOADED, Page(500));
    clock_.Advance(10 * kSecond - 1);
    ExpectGot(Get(path), MEMO_HIT, Page(500));
    EXPECT_EQ(Requests(path), 1u);
    clock_.Advance(1);
    ExpectGot(Get(path), MEMO_LOADED, Page(500));
    EXPECT_EQ(Requests(path), 2u);
}

TEST_P(Revalidate, WithoutTheFlagServersArentHeard) {
    options_.flags = 0;
    for (const char *path : {"/max-age/10/1", "/no-store/1", "/etag/1"}) {
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
        clock_.Advance(1000 * kSecond);
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT);
    }
    // Nor has the cache any times, if it has none of its own.
    struct memo_put_options put = {};
    put.size = sizeof put;
    put.ttl_ns = kSecond;
    EXPECT_EQ(memo_put_with(fetch_memo(fetch()), "k", 1, "v", 1, &put),
              MEMO_EINVAL);
}

TEST_P(Revalidate, WithoutAWordOfTheServerTheCachesOptionsCount) {
    cache_.ttl_ns = 7 * kSecond;
    for (const char *path : {"/page/10", "/etag/10"}) {
        Say(path, "");
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED) << path;
        clock_.Advance(7 * kSecond - 1);
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT) << path;
        clock_.Advance(1);
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED) << path;
    }
}

TEST_P(Revalidate, WithoutAnyWordItIsKeptForEver) {
    EXPECT_EQ(Get("/page/10").from, (uint32_t)MEMO_LOADED);
    clock_.Advance(INT64_MAX / 2);
    EXPECT_EQ(Get("/page/10").from, (uint32_t)MEMO_HIT);
}

TEST_P(Revalidate, TheTimeThatTheTransferTookCounts) {
    const std::string path = "/max-age/10/5";

    fetch();
    origin_hold(origin_, path.c_str());
    std::thread getter([&] { EXPECT_EQ(Get(path).error, 0); });
    origin_wait(origin_, path.c_str(), 1);
    clock_.Advance(4 * kSecond);
    origin_release(origin_, path.c_str());
    getter.join();
    clock_.Advance(6 * kSecond - 1);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT);
    clock_.Advance(1);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
}

TEST_P(Revalidate, FreshUntilIsTold) {
    struct memo_value v;

    ASSERT_EQ(fetch_get(fetch(), Url("/max-age/10/5").c_str(), &v), 0);
    int64_t until = fetch_response_fresh_until(&v);
    EXPECT_EQ(until, clock_.Now() + 10 * kSecond);
    clock_.Advance(11 * kSecond);
    EXPECT_EQ(Get("/max-age/10/5").error, 0);
    // The same response, found good meanwhile.
    EXPECT_EQ(fetch_response_fresh_until(&v), until + 11 * kSecond);
    memo_release(&v);
    ASSERT_EQ(fetch_get(fetch(), Url("/page/5").c_str(), &v), 0);
    EXPECT_EQ(fetch_response_fresh_until(&v), MEMO_NEVER);
    memo_release(&v);
    EXPECT_EQ(fetch_response_fresh_until(&v), 0);
    EXPECT_EQ(fetch_response_etag(&v), nullptr);
    EXPECT_EQ(fetch_response_last_modified(&v), nullptr);
}

// ------------------------------------------------------------- conditional

TEST_P(Revalidate, ValidatorsAreInTheResponse) {
    struct memo_value v;

    options_.flags = 0;
    ASSERT_EQ(fetch_get(fetch(), Url("/etag/5").c_str(), &v), 0);
    EXPECT_STREQ(fetch_response_etag(&v), "\"v0\"");
    EXPECT_STREQ(fetch_response_last_modified(&v), "");
    memo_release(&v);
    ASSERT_EQ(fetch_get(fetch(), Url("/dated/5").c_str(), &v), 0);
    EXPECT_STREQ(fetch_response_etag(&v), "");
    EXPECT_STREQ(fetch_response_last_modified(&v),
                 "Sun, 06 Nov 1994 08:49:00 GMT");
    EXPECT_EQ(fetch_response_fresh_until(&v), 0);
    memo_release(&v);
}

TEST_P(Revalidate, WhatHasntChangedStaysTheSameObject) {
    for (const char *path : {"/etag/5000", "/dated/5000", "/max-age/0/5000"}) {
        uint64_t before = Answers(304);
        Got first = Get(path);
        ExpectGot(first, MEMO_LOADED, Page(5000));
        for (uint64_t i = 1; i <= 5; i++) {
            clock_.Advance(1);
            Got again = Get(path);
            ExpectGot(again, MEMO_LOADED, Page(5000));
            EXPECT_EQ(again.data, first.data) << path;
            EXPECT_EQ(Answers(304), before + i) << path;
        }
    }
    EXPECT_EQ(Answers(200), 3u);
    EXPECT_EQ(Stats().not_modified, 15u);
    EXPECT_EQ(origin_bytes(origin_), 15000u);
    EXPECT_EQ(ended()[0].load.not_modified, 0u);
    EXPECT_EQ(ended()[1].load.not_modified, 1u);
    EXPECT_EQ(ended()[1].load.status, 304);
    EXPECT_EQ(ended()[1].load.error, 0);
    EXPECT_EQ(ended()[1].load.body_bytes, 0u);
}

TEST_P(Revalidate, WhatHasChangedIsReplaced) {
    for (const char *path : {"/etag/500", "/dated/500"}) {
        Got first = Get(path);
        clock_.Advance(1);
        Change(path);
        Got second = Get(path);
        ExpectGot(second, MEMO_LOADED, Page(500, 1));
        EXPECT_NE(second.data, first.data);
        clock_.Advance(1);
        EXPECT_EQ(Get(path).data, second.data);
    }
    EXPECT_EQ(Answers(200), 4u);
    EXPECT_EQ(Answers(304), 2u);
}

TEST_P(Revalidate, A304RenewsTheLifetimeByWhatItSays) {
    const std::string path = "/max-age/10/5";

    Get(path);
    clock_.Advance(10 * kSecond);
    Say(path, "max-age=3");
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
    EXPECT_EQ(Answers(304), 1u);
    clock_.Advance(3 * kSecond - 1);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT);
    clock_.Advance(1);
    // It says nothing: what was said last still holds.
    Say(path, "");
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
    EXPECT_EQ(Answers(304), 2u);
    clock_.Advance(3 * kSecond - 1);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT);
    clock_.Advance(1);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
    EXPECT_EQ(Answers(200), 1u);
}

TEST_P(Revalidate, A304ThatSaysNoStoreIsAskedAboutEachTime) {
    const std::string path = "/max-age/10/5";
    Got first = Get(path);

    clock_.Advance(10 * kSecond);
    Say(path, "no-store");
    for (int i = 0; i < 3; i++) {
        Got again = Get(path);
        ExpectGot(again, MEMO_LOADED, Page(5));
        EXPECT_EQ(again.data, first.data);
        clock_.Advance(1);
    }
    EXPECT_EQ(Answers(304), 3u);
}

std::string Answer(const std::string &status, const std::string &fields,
                   const std::string &body = "") {
    return "HTTP/1.1 " + status + "\r\nConnection: close\r\nCache-Control: " +
           "no-cache\r\n" + fields +
           (status == "304" ? ""
                            : "Content-Length: " + std::to_string(body.size()) +
                                  "\r\n") +
           "\r\n" + body;
}

const std::string k1994 = "Sun, 06 Nov 1994 08:49:37 GMT";
const std::string k1995 = "Mon, 06 Nov 1995 08:49:37 GMT";

TEST_P(Revalidate, A304RenewsValidatorsByWhatItSays) {
    const std::string body(100000, 'x');
    RawOrigin server({
        Answer("200", "Last-Modified: " + k1994 + "\r\n", body),
        Answer("304", "ETag: W/\"a\"\r\n"),
        Answer("304", "ETag: \"a\"\r\nLast-Modified: " + k1995 +
                          "\r\nContent-Type: text/x\r\n"),
        Answer("304", "ETag: \"a\"\r\n"),
        Answer("304", ""),
    });
    struct memo_value first;

    ASSERT_EQ(fetch_get(fetch(), server.url().c_str(), &first), 0);
    Got before = {};
    for (size_t i = 1; i <= 4; i++) {
        clock_.Advance(1);
        Got got = GetUrl(server.url());
        ExpectGot(got, MEMO_LOADED, body);
        // The same object, if all is as it was.
        EXPECT_EQ(got.data == before.data, i >= 3) << i;
        EXPECT_EQ(ended()[i].load.not_modified, 1u);
        before = got;
    }
    // The old one is as it was for who has it.
    EXPECT_STREQ(fetch_response_etag(&first), "");
    EXPECT_STREQ(fetch_response_last_modified(&first), k1994.c_str());
    EXPECT_STREQ(fetch_response_type(&first), "");
    EXPECT_STREQ(fetch_response_etag(&value_), "\"a\"");
    EXPECT_STREQ(fetch_response_last_modified(&value_), k1995.c_str());
    EXPECT_STREQ(fetch_response_type(&value_), "text/x");
    EXPECT_EQ(fetch_response_status(&value_), 200);
    EXPECT_EQ(fetch_response_wire_bytes(&value_),
              fetch_response_wire_bytes(&first));
    memo_release(&first);

    std::vector<std::string> requests = server.requests();
    ASSERT_EQ(requests.size(), 5u);
    auto says = [&](size_t i, const std::string &line) {
        return requests[i].find("\r\n" + line + "\r\n") != std::string::npos;
    };
    EXPECT_EQ(requests[1].find("If-None-Match"), std::string::npos);
    EXPECT_TRUE(says(1, "If-Modified-Since: " + k1994)) << requests[1];
    EXPECT_TRUE(says(2, "If-None-Match: W/\"a\"")) << requests[2];
    EXPECT_TRUE(says(2, "If-Modified-Since: " + k1994)) << requests[2];
    for (size_t i : {3, 4}) {
        EXPECT_TRUE(says(i, "If-None-Match: \"a\"")) << requests[i];
        EXPECT_TRUE(says(i, "If-Modified-Since: " + k1995)) << requests[i];
    }
}

// It was changed in the second in which it was sent, perhaps after that: then the
// ETag is another version's.
TEST_P(Revalidate, AnETagOfA304IsntGivenToWhatMayBeAnOlderVersion) {
    const std::string dates =
        "Date: " + k1994 + "\r\nLast-Modified: " + k1994 + "\r\n";
    RawOrigin server({Answer("200", dates, "x"),
                      Answer("304", "ETag: \"b\"\r\n" + dates)});

    EXPECT_EQ(GetUrl(server.url()).error, 0);
    clock_.Advance(1);
    ExpectGot(GetUrl(server.url()), MEMO_LOADED, "x");
    EXPECT_STREQ(fetch_response_etag(&value_), "");
}

TEST_P(Revalidate, ManyWhoAskAreOneConditionalRequest) {
    const std::string path = "/etag/50";
    std::vector<std::thread> threads;
    std::atomic<int> right{0};

    Get(path);
    clock_.Advance(1);
    origin_hold(origin_, path.c_str());
    for (int i = 0; i < 8; i++) {
        threads.emplace_back([&] {
            struct memo_value v;
            EXPECT_EQ(fetch_get(fetch_, Url(path).c_str(), &v), 0);
            right += v.from == MEMO_LOADED || v.from == MEMO_JOINED;
            memo_release(&v);
        });
    }
    while (Stats().joins != 7) {
        std::this_thread::yield();
    }
    origin_release(origin_, path.c_str());
    for (std::thread &t : threads) {
        t.join();
    }
    EXPECT_EQ(right, 8);
    EXPECT_EQ(Requests(path), 2u);
    EXPECT_EQ(Answers(304), 1u);
}

TEST_P(Revalidate, AnInvalidatedResponseIsLoadedWithoutConditions) {
    const std::string url = Url("/etag/50");

    Get("/etag/50");
    EXPECT_EQ(memo_invalidate(fetch_memo(fetch_), url.data(), url.size()), 0);
    ExpectGot(Get("/etag/50"), MEMO_LOADED, Page(50));
    EXPECT_EQ(Answers(304), 0u);
}

TEST_P(Revalidate, AResponseIsKeptForSoLongPastItsTime) {
    options_.keep_ns = 5 * kSecond;
    Get("/etag/50");
    clock_.Advance(5 * kSecond);
    Get("/etag/50");
    EXPECT_EQ(Answers(304), 1u);
    clock_.Advance(5 * kSecond + 1);
    Get("/etag/50");
    EXPECT_EQ(Answers(304), 1u);
    EXPECT_EQ(Answers(200), 2u);
}

TEST_P(Revalidate, AValueOfSomebodyElseMakesNoConditions) {
    const std::string url = Url("/etag/50");

    cache_.ttl_ns = kSecond;
    ASSERT_EQ(memo_put(fetch_memo(fetch()), url.data(), url.size(), "x", 1), 0);
    clock_.Advance(kSecond);
    ExpectGot(Get("/etag/50"), MEMO_LOADED, Page(50));
    EXPECT_EQ(Answers(304), 0u);
    // Nor does it stand in for anything.
    ASSERT_EQ(memo_put(fetch_memo(fetch()), url.data(), url.size(), "x", 1), 0);
    clock_.Advance(kSecond);
    Fail("/etag/50", 500);
    EXPECT_EQ(Get("/etag/50").error, 500);
}

TEST_P(Revalidate, A304OfAnotherVersionIsNoAnswer) {
    const std::string path = "/careless/50";

    Get(path);
    clock_.Advance(1);
    ExpectGot(Get(path), MEMO_LOADED, Page(50));
    EXPECT_EQ(Answers(304), 1u);
    clock_.Advance(1);
    Change(path);
    ExpectGot(Get(path), MEMO_LOADED, Page(50, 1));
    EXPECT_EQ(Answers(304), 2u);
    EXPECT_EQ(Answers(200), 2u);
    EXPECT_EQ(ended().back().load.not_modified, 0u);
}

TEST_P(Revalidate, AValueOfSomebodyElseOutlivesARefreshThatGetsNoAnswer) {
    const std::string path = "/etag/50", url = Url(path);
    struct memo_value v;

    ASSERT_EQ(memo_put(fetch_memo(fetch()), url.data(), url.size(), "x", 1), 0);
    size_t n = 0;
    for (unsigned status : {500u, 503u, 404u}) {
        Fail(path, status);
        clock_.Advance(10 * kSecond);
        EXPECT_EQ(fetch_get(fetch_, url.c_str(), &v), 0);
        EXPECT_EQ(v.from, (uint32_t)MEMO_HIT);
        memo_release(&v);
        AwaitLoads(++n);
        EXPECT_EQ(memo_peek(fetch_memo(fetch_), url.data(), url.size(), &v),
                  status == 404 ? MEMO_ENOENT : 0)
            << status;
        memo_release(&v);
    }
}

// --------------------------------------------------------------- redirects

TEST_P(Revalidate, RedirectsAreFollowedWithConditions) {
    origin_redirect(origin_, "/page/1/from", "/etag/50");
    Got first = Get("/page/1/from");
    clock_.Advance(1);
    Got again = Get("/page/1/from");
    ExpectGot(again, MEMO_LOADED, Page(50));
    EXPECT_EQ(again.data, first.data);
    EXPECT_EQ(Answers(302), 2u);
    EXPECT_EQ(Answers(304), 1u);
    EXPECT_EQ(ended()[1].load.redirects, 1u);
}

TEST_P(Revalidate, A304OfAnotherPageIsNoAnswer) {
    origin_redirect(origin_, "/page/1/from", "/etag/50/a");
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(50));
    clock_.Advance(1);
    // Its ETag is the same, by chance.
    origin_redirect(origin_, "/page/1/from", "/etag/70/b");
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(70));
    EXPECT_EQ(Answers(304), 1u);
    EXPECT_EQ(Requests("/etag/70/b"), 2u);
    ASSERT_EQ(ended().size(), 2u);
    EXPECT_EQ(ended()[1].load.not_modified, 0u);
    clock_.Advance(1);
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(70));
    EXPECT_EQ(Answers(304), 2u);
}

TEST_P(Revalidate, OfARedirectAndItsPageTheStricterCounts) {
    for (const char *path : {"/page/1/a", "/page/1/b"}) {
        const bool redirect_is_stricter = path[8] == 'a';
        const std::string to =
            redirect_is_stricter ? "/max-age/10/5" : "/max-age/4/5";
        origin_redirect(origin_, path, to.c_str());
        Say(path, redirect_is_stricter ? "max-age=4" : "max-age=10");
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
        clock_.Advance(4 * kSecond - 1);
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT);
        clock_.Advance(1);
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
    }
}

// RFC 9110, 15.4: a client should go on asking the address that it was given.
TEST_P(Revalidate, ATemporaryRedirectIsAskedEachTimeUnlessItSaysHowLongItIsGood) {
    origin_redirect(origin_, "/page/1/from", "/max-age/100/50/a");
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(50));
    clock_.Advance(1);
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(50));
    EXPECT_EQ(Answers(304), 1u);
    origin_redirect(origin_, "/page/1/from", "/max-age/100/70/b");
    clock_.Advance(1);
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(70));
    Say("/page/1/from", "max-age=5");
    clock_.Advance(1);
    ExpectGot(Get("/page/1/from"), MEMO_LOADED, Page(70));
    clock_.Advance(5 * kSecond - 1);
    ExpectGot(Get("/page/1/from"), MEMO_HIT, Page(70));
}

TEST_P(Revalidate, ATemporaryRedirectIsGoodForTheCachesTimeIfThatIsSet) {
    cache_.ttl_ns = 5 * kSecond;
    origin_redirect(origin_, "/page/1/from", "/max-age/100/50/a");
    Get("/page/1/from");
    clock_.Advance(5 * kSecond - 1);
    EXPECT_EQ(Get("/page/1/from").from, (uint32_t)MEMO_HIT);
    clock_.Advance(1);
    EXPECT_EQ(Get("/page/1/from").from, (uint32_t)MEMO_LOADED);
}

TEST_P(Revalidate, APermanentRedirectIsGoodForAsLongAsItsPage) {
    for (const char *status : {"301", "308"}) {
        RawOrigin server({std::string("HTTP/1.1 ") + status +
                          " X\r\nConnection: close\r\nContent-Length: 0\r\n"
                          "Location: " +
                          Url("/max-age/100/50") + "\r\n\r\n"});
        const std::string url = server.url() + status;
        EXPECT_EQ(GetUrl(url).error, 0);
        clock_.Advance(100 * kSecond - 1);
        EXPECT_EQ(GetUrl(url).from, (uint32_t)MEMO_HIT);
    }
}

TEST_P(Revalidate, LimitsHoldAsEver) {
    options_.max_body_bytes = 1000;
    options_.max_redirects = 2;
    EXPECT_EQ(Get("/etag/1000").error, 0);
    EXPECT_EQ(Get("/etag/1001").error, 63);
    origin_redirect(origin_, "/page/1/loop", "/page/1/loop");
    EXPECT_EQ(Get("/page/1/loop").error, 47);
    EXPECT_EQ(Requests("/page/1/loop"), 3u);
}

// ---------------------------------------------------------------- no-store

TEST_P(Revalidate, WhatIsntToBeStoredIsntKept) {
    for (int i = 0; i < 3; i++) {
        ExpectGot(Get("/no-store/40"), MEMO_LOADED, Page(40));
    }
    EXPECT_EQ(Requests("/no-store/40"), 3u);
    EXPECT_EQ(Stats().passes, 3u);
}

TEST_P(Revalidate, NobodyWaitsForATransferThatIsntToBeStored) {
    const std::string path = "/no-store/40";

    Get(path);
    origin_hold(origin_, path.c_str());
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([&] {
            struct memo_value v;
            EXPECT_EQ(fetch_get(fetch_, Url(path).c_str(), &v), 0);
            EXPECT_EQ(v.from, (uint32_t)MEMO_LOADED);
            memo_release(&v);
        });
    }
    // All at once, before any is answered.
    origin_wait(origin_, path.c_str(), 5);
    origin_release(origin_, path.c_str());
    for (std::thread &t : threads) {
        t.join();
    }
}

TEST_P(Revalidate, APageThatBecomesNoStoreGoes) {
    Get("/etag/50");
    clock_.Advance(1);
    Change("/etag/50");
    Say("/etag/50", "no-store");
    ExpectGot(Get("/etag/50"), MEMO_LOADED, Page(50, 1));
    ExpectGot(Get("/etag/50"), MEMO_LOADED, Page(50, 1));
    EXPECT_EQ(Answers(304), 0u);
    EXPECT_EQ(Answers(200), 3u);
}

TEST_P(Revalidate, WhatWasntAskedForIsntKept) {
    // A part of a page, and the news that one we haven't got hasn't changed.
    for (const char *path : {"/status/206", "/status/304"}) {
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED) << path;
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED) << path;
        EXPECT_EQ(Requests(path), 2u);
    }
}

// ---------------------------------------------------------- stale-if-error

TEST_P(Revalidate, ServersMayLetAnOldResponseStandInForErrors) {
    const std::string path = "/flaky/50";
    Got first = Get(path);

    Fail(path, 503);
    clock_.Advance(60 * kSecond - 1);
    Got stale = Get(path);
    ExpectGot(stale, MEMO_STALE, Page(50));
    EXPECT_EQ(stale.data, first.data);
    EXPECT_EQ(ended()[1].load.error, 503);
    EXPECT_EQ(ended()[1].load.stale, 1u);
    clock_.Advance(1);
    // A failure makes nothing young.
    EXPECT_EQ(Get(path).error, 503);
    EXPECT_EQ(ended()[2].load.stale, 0u);
    Fail(path, 0);
    ExpectGot(Get(path), MEMO_LOADED, Page(50));
}

TEST_P(Revalidate, NoAnswerAtAllIsAnErrorToo) {
    origin_redirect(origin_, "/page/1/x", "/flaky/50");
    Get("/page/1/x");
    clock_.Advance(1);
    for (const char *to : {"/silent", "/drop/1000", "http://127.0.0.1:1/"}) {
        origin_redirect(origin_, "/page/1/x", to);
        ExpectGot(Get("/page/1/x"), MEMO_STALE, Page(50));
        clock_.Advance(1);
    }
}

TEST_P(Revalidate, IfTheServerSaysNothingOfItTheCachesOptionCounts) {
    const std::string path = "/max-age/10/5";

    cache_.stale_if_error_ns = 5 * kSecond;
    Get(path);
    Fail(path, 500);
    clock_.Advance(15 * kSecond - 1);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_STALE);
    clock_.Advance(1);
    EXPECT_EQ(Get(path).error, 500);
}

// It counts from when the response was no longer fresh, which is where it comes
// from: in a cache on the way.
TEST_P(Revalidate, SomeOfThatMayBeOverWhenTheResponseComes) {
    for (int64_t age_s : {12, 15, 99}) {
        RawOrigin server(
            {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n"
             "Cache-Control: max-age=10\r\nAge: " +
                 std::to_string(age_s) + "\r\n\r\nx",
             kUnavailable, kUnavailable});
        const std::string url = server.url() + std::to_string(age_s);
        cache_.stale_if_error_ns = 15 * kSecond;
        EXPECT_EQ(GetUrl(url).error, 0);
        int64_t left_s = 25 - age_s;
        if (left_s > 0) {
            clock_.Advance(left_s * kSecond - 1);
            EXPECT_EQ(GetUrl(url).from, (uint32_t)MEMO_STALE);
        }
        clock_.Advance(1);
        EXPECT_EQ(GetUrl(url).error, 503) << age_s;
    }
}

TEST_P(Revalidate, UnlessAllowedAnErrorIsTheAnswer) {
    const std::string path = "/max-age/10/5";

    Get(path);
    Fail(path, 500);
    clock_.Advance(10 * kSecond);
    EXPECT_EQ(Get(path).error, 500);
    EXPECT_EQ(ended()[1].load.stale, 0u);
}

TEST_P(Revalidate, AFailureLeavesTheOldResponseThereToBeAskedAbout) {
    for (const char *path : {"/max-age/10/5", "/etag/5"}) {
        uint64_t pages = Answers(200), same = Answers(304);
        Get(path);
        clock_.Advance(10 * kSecond);
        for (unsigned status : {500u, 503u}) {
            Fail(path, status);
            EXPECT_EQ(Get(path).error, (int)status);
        }
        Fail(path, 0);
        ExpectGot(Get(path), MEMO_LOADED, Page(5));
        EXPECT_EQ(Answers(200), pages + 1) << path;
        EXPECT_EQ(Answers(304), same + 1) << path;
    }
}

TEST_P(Revalidate, ServersMayForbidIt) {
    cache_.stale_if_error_ns = 1000 * kSecond;
    for (const char *control :
         {"max-age=1, must-revalidate", "no-cache",
          "max-age=1, stale-if-error=0",
          "max-age=1, must-revalidate, stale-if-error=9"}) {
        const std::string path = std::string("/etag/50/") + control[8];
        Say(path, control);
        Fail(path, 0);
        EXPECT_EQ(Get(path).error, 0);
        clock_.Advance(kSecond);
        Fail(path, 500);
        EXPECT_EQ(Get(path).error, 500) << control;
    }
}

TEST_P(Revalidate, AnAnswerThatItIsGoneIsNoFailure) {
    for (unsigned status : {404u, 410u, 403u}) {
        const std::string path = "/flaky/50/" + std::to_string(status);
        Get(path);
        clock_.Advance(1);
        Fail(path, status);
        EXPECT_EQ(Get(path).error, (int)status);
        // It is gone for good, and doesn't come back with the next failure.
        Fail(path, 500);
        EXPECT_EQ(Get(path).error, 500);
    }
}

TEST_P(Revalidate, AFailureThatComesLateLeavesWhatIsNewerThere) {
    const std::string path = "/etag/50", url = Url(path);
    struct memo_value v;

    Get(path);
    clock_.Advance(1);
    Fail(path, 404);
    origin_hold(origin_, path.c_str());
    std::thread getter([&] {
        struct memo_value none;
        EXPECT_EQ(fetch_get(fetch_, url.c_str(), &none), 404);
    });
    origin_wait(origin_, path.c_str(), 2);
    EXPECT_EQ(memo_put(fetch_memo(fetch_), url.data(), url.size(), "new", 3),
              0);
    origin_release(origin_, path.c_str());
    getter.join();
    ASSERT_EQ(memo_peek(fetch_memo(fetch_), url.data(), url.size(), &v), 0);
    EXPECT_EQ(std::string(static_cast<const char *>(v.data), v.size), "new");
    memo_release(&v);
}

TEST_P(Revalidate, ATransferThatIsBrokenOffLeavesTheOldResponseThere) {
    const std::string path = "/max-age/10/5";
    struct memo_wait wait = {};

    cache_.flags = MEMO_CANCEL_UNWANTED;
    wait.size = sizeof wait;
    wait.deadline_ns = 1;
    Get(path);
    clock_.Advance(10 * kSecond);
    origin_hold(origin_, path.c_str());
    EXPECT_EQ(Get(path, &wait).error, MEMO_ETIMEDOUT);
    AwaitLoads(2);
    EXPECT_EQ(ended()[1].load.error, MEMO_ECANCELED);
    origin_release(origin_, path.c_str());
    ExpectGot(Get(path), MEMO_LOADED, Page(5));
    EXPECT_EQ(Answers(200), 1u);
}

TEST_P(Revalidate, TheCacheItselfKnowsWhatMustNeverStandIn) {
    struct memo_wait wait = {};
    const std::string path = "/etag/50", url = Url(path);

    wait.size = sizeof wait;
    for (const char *control :
         {"max-age=1, must-revalidate", "max-age=1, stale-if-error=0",
          "max-age=1"}) {
        clock_.Advance(kSecond);
        Say(path, control);
        EXPECT_EQ(Get(path).error, 0);
        // Also one that was found good.
        clock_.Advance(kSecond);
        EXPECT_EQ(Get(path).from, (uint32_t)MEMO_LOADED);
        clock_.Advance(kSecond);
        wait.soft_deadline_ns = clock_.Now();
        wait.deadline_ns = clock_.Now();
        origin_hold(origin_, path.c_str());
        struct memo_value v;
        EXPECT_EQ(memo_get_wait(fetch_memo(fetch_), url.data(), url.size(),
                                &wait, &v),
                  MEMO_ETIMEDOUT)
            << control;
        memo_release(&v);
        origin_release(origin_, path.c_str());
        EXPECT_EQ(Get(path).error, 0);
    }
}

TEST_P(Revalidate, ASoftDeadlineDoesntServeWhatMayNotStandIn) {
    struct memo_wait wait = {};
    const std::string path = "/etag/50";

    wait.size = sizeof wait;
    for (bool may : {true, false}) {
        Say(path, may ? "max-age=0, stale-if-error=60"
                      : "max-age=0, stale-if-error=1");
        clock_.Advance(1);
        EXPECT_EQ(Get(path).error, 0);
        clock_.Advance(kSecond);
        wait.soft_deadline_ns = clock_.Now();
        uint64_t before = Requests(path);
        origin_hold(origin_, path.c_str());
        std::atomic<bool> got{false};
        std::thread getter([&] {
            EXPECT_EQ(Get(path, &wait).from,
                      (uint32_t)(may ? MEMO_STALE : MEMO_JOINED));
            got = true;
        });
        origin_wait(origin_, path.c_str(), before + 1);
        while (may && !got) {
            std::this_thread::yield();
        }
        while (!may && Stats().joins == 0) {
            std::this_thread::yield();
        }
        EXPECT_EQ(got, may);
        origin_release(origin_, path.c_str());
        getter.join();
        AwaitLoads(may ? 2 : 4);
    }
}

TEST_P(Revalidate, APauseAfterFailuresDoesntServeWhatMayNotStandInAnyMore) {
    const std::string path = "/flaky/50";

    cache_.backoff_ns = 1000 * kSecond;
    Get(path);
    Fail(path, 500);
    clock_.Advance(59 * kSecond);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_STALE);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_STALE);
    EXPECT_EQ(Requests(path), 2u);
    clock_.Advance(kSecond);
    EXPECT_EQ(Get(path).error, 500);
    EXPECT_EQ(Requests(path), 3u);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_NEGATIVE);
    EXPECT_EQ(Requests(path), 3u);
}

// -------------------------------------------------- stale-while-revalidate

TEST_P(Revalidate, WhileItIsAskedForAgainTheOldOneIsReturnedAtOnce) {
    const std::string path = "/swr/10/500";
    Got first = Get(path);

    clock_.Advance(10 * kSecond);
    Change(path);
    // Nobody waits for it: it isn't answered.
    origin_hold(origin_, path.c_str());
    for (int i = 0; i < 3; i++) {
        ExpectGot(Get(path), MEMO_HIT, Page(500));
    }
    origin_wait(origin_, path.c_str(), 2);
    origin_release(origin_, path.c_str());
    AwaitLoads(2);
    ExpectGot(Get(path), MEMO_HIT, Page(500, 1));
    EXPECT_EQ(Requests(path), 2u);
    EXPECT_EQ(Stats().refreshes, 1u);
}

TEST_P(Revalidate, ARefreshIsConditionalToo) {
    const std::string path = "/swr/10/500";
    Got first = Get(path);

    clock_.Advance(19 * kSecond);
    EXPECT_EQ(GetAtOnce(path).from, (uint32_t)MEMO_HIT);
    AwaitLoads(2);
    EXPECT_EQ(Answers(304), 1u);
    // And it is as good as new.
    clock_.Advance(10 * kSecond - 1);
    Got again = Get(path);
    EXPECT_EQ(again.from, (uint32_t)MEMO_HIT);
    EXPECT_EQ(again.data, first.data);
    EXPECT_EQ(Requests(path), 2u);
}

TEST_P(Revalidate, PastThatTimeToo) {
    Get("/swr/10/500");
    clock_.Advance(20 * kSecond);
    EXPECT_EQ(Get("/swr/10/500").from, (uint32_t)MEMO_LOADED);
    EXPECT_EQ(Answers(304), 1u);
}

TEST_P(Revalidate, OfSwrWithoutALifetimeEachGetRefreshes) {
    Say("/etag/5", "max-age=0, stale-while-revalidate=100");
    Get("/etag/5");
    for (size_t i = 2; i < 5; i++) {
        clock_.Advance(kSecond);
        EXPECT_EQ(GetAtOnce("/etag/5").from, (uint32_t)MEMO_HIT);
        AwaitLoads(i);
        EXPECT_EQ(Answers(304), i - 1);
    }
}

TEST_P(Revalidate, ARefreshThatFailsIsTriedAgainAfterAPause) {
    const std::string path = "/swr/100/5";

    Get(path);
    Fail(path, 500);
    clock_.Advance(100 * kSecond);
    EXPECT_EQ(GetAtOnce(path).from, (uint32_t)MEMO_HIT);
    AwaitLoads(2);
    EXPECT_EQ(Get(path).from, (uint32_t)MEMO_HIT);
    EXPECT_EQ(Requests(path), 2u);
    clock_.Advance(10 * kSecond);
    EXPECT_EQ(GetAtOnce(path).from, (uint32_t)MEMO_HIT);
    AwaitLoads(3);
    EXPECT_EQ(Requests(path), 3u);
    clock_.Advance(90 * kSecond);
    EXPECT_EQ(Get(path).error, 500);
}

TEST_P(Revalidate, ThatPauseIsTheSameHoweverLongItWasFresh) {
    Say("/etag/5", "max-age=0, stale-while-revalidate=100");
    Get("/etag/5");
    Fail("/etag/5", 500);
    clock_.Advance(kSecond);
    EXPECT_EQ(GetAtOnce("/etag/5").from, (uint32_t)MEMO_HIT);
    AwaitLoads(2);
    clock_.Advance(10 * kSecond - 1);
    EXPECT_EQ(Get("/etag/5").from, (uint32_t)MEMO_HIT);
    AwaitLoads(2);
    EXPECT_EQ(Requests("/etag/5"), 2u);
    clock_.Advance(1);
    EXPECT_EQ(GetAtOnce("/etag/5").from, (uint32_t)MEMO_HIT);
    AwaitLoads(3);
    EXPECT_EQ(Requests("/etag/5"), 3u);
}

TEST_P(Revalidate, ARefreshThatFindsItGoneIsHeard) {
    const std::string path = "/swr/10/5";

    Get(path);
    Fail(path, 404);
    clock_.Advance(10 * kSecond);
    EXPECT_EQ(GetAtOnce(path).from, (uint32_t)MEMO_HIT);
    AwaitLoads(2);
    EXPECT_EQ(Get(path).error, 404);
}

TEST_P(Revalidate, TheCachesRefreshCountsWhereTheServerLeavesTime) {
    cache_.refresh_after_ns = 3 * kSecond;
    Get("/max-age/10/5");
    Get("/page/5");
    clock_.Advance(3 * kSecond);
    EXPECT_EQ(GetAtOnce("/max-age/10/5").from, (uint32_t)MEMO_HIT);
    EXPECT_EQ(GetAtOnce("/page/5").from, (uint32_t)MEMO_HIT);
    AwaitLoads(4);
    EXPECT_EQ(Answers(304), 1u);
    EXPECT_EQ(Requests("/page/5"), 2u);
}

// ---------------------------------------------------------- other statuses

TEST_P(Revalidate, ErrorsAreKeptOnlyAsTheCacheIsTold) {
    EXPECT_EQ(Get("/status/404").error, 404);
    EXPECT_EQ(Get("/status/404").error, 404);
    EXPECT_EQ(Requests("/status/404"), 2u);
}

TEST_P(Revalidate, AStatusThatIsAResponseIsKeptAsTheServerSays) {
    options_.flags |= FETCH_ANY_STATUS;
    Fail("/etag/5", 404);
    Say("/etag/5", "max-age=5");
    ExpectGot(Get("/etag/5"), MEMO_LOADED, "not now\n");
    Fail("/etag/5", 0);
    clock_.Advance(5 * kSecond - 1);
    ExpectGot(Get("/etag/5"), MEMO_HIT, "not now\n");
    clock_.Advance(1);
    ExpectGot(Get("/etag/5"), MEMO_LOADED, Page(5));
}

TEST_P(Revalidate, AFailureThatIsAResponseIsKeptOnlyIfItSaysSo) {
    options_.flags |= FETCH_ANY_STATUS;
    Say("/etag/5", "");
    for (unsigned status : {500u, 503u, 429u}) {
        Fail("/etag/5", status);
        clock_.Advance(1);
        ExpectGot(Get("/etag/5"), MEMO_LOADED, "not now\n");
    }
    // That there is no such page is an answer like others.
    EXPECT_EQ(Get("/missing").from, (uint32_t)MEMO_LOADED);
    clock_.Advance(1);
    EXPECT_EQ(Get("/missing").from, (uint32_t)MEMO_HIT);
}

TEST_P(Revalidate, BadTimesAreRefused) {
    options_.keep_ns = -1;
    EXPECT_EQ(fetch_new(&options_, &fetch_), MEMO_EINVAL);
    options_.keep_ns = 0;
    cache_.stale_if_error_ns = -1;
    EXPECT_EQ(fetch_new(&options_, &fetch_), MEMO_EINVAL);
    cache_.stale_if_error_ns = 0;
    cache_.ttl_ns = -1;
    EXPECT_EQ(fetch_new(&options_, &fetch_), MEMO_EINVAL);
}

INSTANTIATE_TEST_SUITE_P(Engines, Revalidate,
                         ::testing::Values(MEMO_ENGINE_LOCK,
                                           MEMO_ENGINE_MONITOR));

}  // namespace
