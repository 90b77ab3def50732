// fetch.h against an origin on 127.0.0.1.
#include "fetch/fetch.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fetch/origin.h"
#include "sync/clock.h"
#include "sync/note.h"
#include "test/support/raw_origin.h"
#include "test/support/with_origin.h"

namespace {

// libcurl's codes, as fetch.h promises to pass them on.
enum {
    kUnsupportedProtocol = 1,
    kMalformedUrl = 3,
    kCannotConnect = 7,
    kPartialFile = 18,
    kTimedOut = 28,
    kTooManyRedirects = 47,
    kGotNothing = 52,
    kBadEncoding = 61,
    kTooLarge = 63,
};

const int64_t kMillisecond = 1000000;

class Fetch : public WithOrigin<::testing::Test> {
   protected:
    // Get url and return the error; the body, if there is one, in *body.
    int Get(const std::string &url, std::string *body = nullptr) {
        struct memo_value v;
        int error = fetch_get(fetch(), url.c_str(), &v);

        EXPECT_EQ(error == 0, v.data != nullptr);
        if (error == 0 && body != nullptr) {
            size_t size;
            const char *data =
                static_cast<const char *>(fetch_response_body(&v, &size));
            body->assign(data, size);
            EXPECT_EQ(data[size], '\0');
        }
        memo_release(&v);
        return error;
    }
};

void Until(const std::function<bool()> &is_true) {
    while (!is_true()) {
        std::this_thread::yield();
    }
}

// ----------------------------------------------------------- what it is for

TEST_F(Fetch, HoweverManyThreadsAskTheUrlIsRequestedOnce) {
    const int kThreads = 32;
    const std::string url = Url("/page/5000/shared");
    std::atomic<int> loaded{0}, joined{0}, right{0};
    std::vector<std::thread> threads;

    fetch();
    origin_hold(origin_, "/page/5000/shared");
    for (int i = 0; i < kThreads; i++) {
        threads.emplace_back([&] {
            struct memo_value v;
            size_t size;
            EXPECT_EQ(fetch_get(fetch_, url.c_str(), &v), 0);
            loaded += v.from == MEMO_LOADED;
            joined += v.from == MEMO_JOINED;
            fetch_response_body(&v, &size);
            right += size == 5000;
            memo_release(&v);
        });
    }
    Until([&] { return Stats().joins == kThreads - 1; });
    origin_release(origin_, "/page/5000/shared");
    for (std::thread &t : threads) {
        t.join();
    }
    EXPECT_EQ(loaded, 1);
    EXPECT_EQ(joined, kThreads - 1);
    EXPECT_EQ(right, kThreads);
    EXPECT_EQ(Requests("/page/5000/shared"), 1u);
}

TEST_F(Fetch, TheSecondTimeItIsAHit) {
    struct memo_value v;

    EXPECT_EQ(Get(Url("/page/10")), 0);
    ASSERT_EQ(fetch_get(fetch(), Url("/page/10").c_str(), &v), 0);
    EXPECT_EQ(v.from, MEMO_HIT);
    memo_release(&v);
    EXPECT_EQ(Requests("/page/10"), 1u);
}

TEST_F(Fetch, OneUrlDoesNotWaitForAnother) {
    origin_hold(origin_, "/page/1/slow");
    std::thread slow([&] { EXPECT_EQ(Get(Url("/page/1/slow")), 0); });
    origin_wait(origin_, "/page/1/slow", 1);
    EXPECT_EQ(Get(Url("/page/1/other")), 0);
    origin_release(origin_, "/page/1/slow");
    slow.join();
}

TEST_F(Fetch, TheKeyIsTheUrlAsWritten) {
    EXPECT_EQ(Get(Url("/page/1#a")), 0);
    EXPECT_EQ(Get(Url("/page/1#b")), 0);
    EXPECT_EQ(Requests("/page/1"), 2u);
}

TEST_F(Fetch, AnInvalidatedUrlIsRequestedAgain) {
    const std::string url = Url("/page/1");

    EXPECT_EQ(Get(url), 0);
    EXPECT_EQ(memo_invalidate(fetch_memo(fetch()), url.data(), url.size()), 0);
    EXPECT_EQ(Get(url), 0);
    EXPECT_EQ(Requests("/page/1"), 2u);
}

// -------------------------------------------------------------- a response

TEST_F(Fetch, BodiesOfEverySizeArriveWhole) {
    for (const char *kind : {"/page/", "/chunked/"}) {
        for (size_t size : {0, 1, 52, 16383, 16384, 16385, 100000, 3000000}) {
            std::string body;
            EXPECT_EQ(Get(Url(kind + std::to_string(size)), &body), 0);
            EXPECT_EQ(body, Page(size)) << kind << size;
        }
    }
}

TEST_F(Fetch, AResponseTellsAboutItself) {
    struct memo_value v;

    ASSERT_EQ(fetch_get(fetch(), Url("/redirect/2").c_str(), &v), 0);
    EXPECT_EQ(fetch_response_status(&v), 200);
    EXPECT_STREQ(fetch_response_type(&v), "text/plain");
    EXPECT_EQ(fetch_response_url(&v), Url("/page/1000/last"));
    EXPECT_EQ(fetch_response_redirects(&v), 2);
    EXPECT_EQ(fetch_response_http_version(&v), 11);
    EXPECT_GT(fetch_response_load_ns(&v), 0);
    EXPECT_GT(fetch_response_wire_bytes(&v), 1000u);
    memo_release(&v);
}

TEST_F(Fetch, TheTypeOfARedirectIsNotThatOfThePage) {
    for (const char *type : {"", "Content-Type:\r\n", "Content-Type: a/b\r\n"}) {
        RawOrigin server({"HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n"
                          "Connection: close\r\nContent-Type: text/html\r\n\r\n",
                          std::string("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                                      "Connection: close\r\n") +
                              type + "\r\n"});
        struct memo_value v;

        ASSERT_EQ(fetch_get(fetch(), server.url().c_str(), &v), 0);
        EXPECT_STREQ(fetch_response_type(&v), strlen(type) > 15 ? "a/b" : "");
        memo_release(&v);
    }
}

// Without a word any encoding would be welcome (RFC 9110, 12.5.3), and what the
// body is encoded with isn't told.
TEST_F(Fetch, ABodyIsNotEncoded) {
    static const char kHello[] =
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 26\r\n\r\n"
        "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"
        "\xcb\x48\xcd\xc9\xc9\xe7\x02\x00\x20\x30\x3a\x36\x06\x00\x00\x00";
    RawOrigin server({std::string(kHello, sizeof kHello - 1),
                      "HTTP/1.1 200 OK\r\nContent-Encoding: x\r\n\r\nx"});
    std::string body;

    EXPECT_EQ(Get(server.url(), &body), 0);
    EXPECT_EQ(body, "hello\n");
    EXPECT_EQ(Get(server.url() + "x"), kBadEncoding);
    for (const std::string &request : server.requests()) {
        EXPECT_NE(request.find("\r\nAccept-Encoding: identity\r\n"),
                  std::string::npos)
            << request;
    }
}

TEST_F(Fetch, AResponseTakesNoMoreRoomThanItNeeds) {
    struct memo_value v;

    ASSERT_EQ(fetch_get(fetch(), Url("/chunked/100000").c_str(), &v), 0);
    EXPECT_LT(v.size, 100000u + 500u);
    memo_release(&v);
}

TEST_F(Fetch, AResponseOutlivesItsFetch) {
    struct memo_value v;
    size_t size;

    ASSERT_EQ(fetch_get(fetch(), Url("/page/1000").c_str(), &v), 0);
    fetch_free(fetch_);
    fetch_ = nullptr;
    const char *body =
        static_cast<const char *>(fetch_response_body(&v, &size));
    EXPECT_EQ(std::string(body, size), Page(1000));
    memo_release(&v);
}

TEST_F(Fetch, AValueOfSomebodyElseIsNoResponse) {
    struct memo_value v;
    size_t size = 1;
    const std::string long_text(500, 'x');

    for (const std::string &data : {std::string("x"), long_text}) {
        ASSERT_EQ(
            memo_put(fetch_memo(fetch()), "k", 1, data.data(), data.size()), 0);
        ASSERT_EQ(fetch_get(fetch(), "k", &v), 0);
        EXPECT_EQ(fetch_response_body(&v, &size), nullptr);
        EXPECT_EQ(size, 0u);
        EXPECT_EQ(fetch_response_status(&v), 0);
        EXPECT_EQ(fetch_response_type(&v), nullptr);
        EXPECT_EQ(fetch_response_url(&v), nullptr);
        EXPECT_EQ(fetch_response_load_ns(&v), 0);
        EXPECT_EQ(fetch_response_wire_bytes(&v), 0u);
        memo_release(&v);
    }
    EXPECT_EQ(fetch_response_body(&v, nullptr), nullptr);
    EXPECT_EQ(fetch_response_body(nullptr, nullptr), nullptr);
}

// ------------------------------------------------------------------ errors

TEST_F(Fetch, AnErrorOfTheTransferIsPassedThrough) {
    EXPECT_EQ(Get("http://127.0.0.1:1/"), kCannotConnect);
    EXPECT_EQ(Get(Url("/drop/10000")), kPartialFile);
    EXPECT_EQ(Get(Url("/silent")), kGotNothing);
}

TEST_F(Fetch, AStatusFrom400OnIsAnError) {
    EXPECT_EQ(Get(Url("/status/399")), 0);
    EXPECT_EQ(Get(Url("/status/400")), 400);
    EXPECT_EQ(Get(Url("/missing")), 404);
    EXPECT_EQ(Get(Url("/status/503")), 503);
}

TEST_F(Fetch, AStatusIsAResponseIfSoOrdered) {
    struct memo_value v;

    options_.flags = FETCH_ANY_STATUS;
    ASSERT_EQ(fetch_get(fetch(), Url("/missing").c_str(), &v), 0);
    EXPECT_EQ(fetch_response_status(&v), 404);
    EXPECT_STREQ(static_cast<const char *>(fetch_response_body(&v, nullptr)),
                 "no such page\n");
    memo_release(&v);
}

TEST_F(Fetch, ErrorsAreNotKept) {
    EXPECT_EQ(Get(Url("/status/500")), 500);
    EXPECT_EQ(Get(Url("/status/500")), 500);
    EXPECT_EQ(Requests("/status/500"), 2u);
}

TEST_F(Fetch, AnErrorGoesToEverybodyWhoWaits) {
    const int kThreads = 8;
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;

    fetch();
    origin_hold(origin_, "/status/500");
    for (int i = 0; i < kThreads; i++) {
        threads.emplace_back([&] { failed += Get(Url("/status/500")) == 500; });
    }
    Until([&] { return Stats().joins == kThreads - 1; });
    origin_release(origin_, "/status/500");
    for (std::thread &t : threads) {
        t.join();
    }
    EXPECT_EQ(failed, kThreads);
    EXPECT_EQ(Requests("/status/500"), 1u);
}

TEST_F(Fetch, AHeaderThatBreaksOffIsAnError) {
    const std::string whole = "HTTP/1.1 200 OK\r\nX: y\r\n\r\n";

    for (size_t size = 0; size <= whole.size(); size++) {
        RawOrigin server({whole.substr(0, size)});
        int error = Get(server.url());
        EXPECT_EQ(error == 0, size == whole.size()) << size << ": " << error;
    }
}

// A part of a page, and the news that one we haven't got hasn't changed.
TEST_F(Fetch, WhatWasntAskedForIsntKept) {
    for (const char *path : {"/status/206", "/status/304"}) {
        struct memo_value v;
        for (int i = 1; i <= 2; i++) {
            ASSERT_EQ(fetch_get(fetch(), Url(path).c_str(), &v), 0);
            EXPECT_EQ(v.from, MEMO_LOADED) << path;
            memo_release(&v);
        }
        EXPECT_EQ(Requests(path), 2u);
    }
    const std::string other = "HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\nx";
    RawOrigin server({other, other});
    EXPECT_EQ(Get(server.url()), 0);
    EXPECT_EQ(Get(server.url()), 0);
    EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(Fetch, OnlyHttpIsSpoken) {
    for (const char *url :
         {"file:///etc/passwd", "ftp://127.0.0.1:1/", "gopher://127.0.0.1:1/",
          "dict://127.0.0.1:1/x", "nonsense://127.0.0.1:1/"}) {
        EXPECT_EQ(Get(url), kUnsupportedProtocol) << url;
    }
}

TEST_F(Fetch, ARedirectDoesNotLeaveHttp) {
    EXPECT_EQ(Get(Url("/away")), kUnsupportedProtocol);
}

TEST_F(Fetch, AUrlWithoutASchemeMeansHttp) {
    EXPECT_EQ(Get(Url("/page/1").substr(strlen("http://"))), 0);
    EXPECT_EQ(Get("127.0.0.1:1"), kCannotConnect);
}

TEST_F(Fetch, ABadUrlIsAnError) {
    for (const char *url : {"", "http://", "http://[", "http://a b/",
                            "http://127.0.0.1:99999/", "http://x\n/"}) {
        EXPECT_EQ(Get(url), kMalformedUrl) << url;
    }
}

TEST_F(Fetch, AUrlThatIsTooLongForLibcurlIsBad) {
    EXPECT_EQ(Get(Url("/page/1/" + std::string(8000000, 'x'))), kMalformedUrl);
}

TEST_F(Fetch, AKeyWithAZeroByteIsNoUrl) {
    struct memo_value v;
    std::string key = Url("/page/1");

    key += '\0';
    key += "x";
    EXPECT_EQ(memo_get(fetch_memo(fetch()), key.data(), key.size(), &v),
              kMalformedUrl);
    EXPECT_EQ(origin_requests(origin_, nullptr), 0u);
    ASSERT_EQ(ended().size(), 1u);
    EXPECT_EQ(ended()[0].url, key);
    EXPECT_EQ(ended()[0].load.error, kMalformedUrl);
    EXPECT_NE(ended()[0].text, "");
}

TEST_F(Fetch, ErrorsHaveATextOfTheirOwn) {
    EXPECT_STREQ(fetch_error_text(0), "no error");
    EXPECT_STREQ(fetch_error_text(MEMO_ECLOSED), memo_error_text(MEMO_ECLOSED));
    EXPECT_NE(strstr(fetch_error_text(kCannotConnect), "connect"), nullptr);
    EXPECT_NE(strstr(fetch_error_text(404), "404"), nullptr);
    for (int error : {-1000, 399, 417, 599, 1000000}) {
        EXPECT_NE(fetch_error_text(error), nullptr);
    }
}

// ------------------------------------------------------------------ limits

TEST_F(Fetch, ABodyMayBeAsLargeAsTheLimitAndNoLarger) {
    options_.max_body_bytes = 20000;
    EXPECT_EQ(Get(Url("/page/20000")), 0);
    EXPECT_EQ(Get(Url("/page/20001")), kTooLarge);
    EXPECT_EQ(Get(Url("/chunked/20000")), 0);
    EXPECT_EQ(Get(Url("/chunked/20001")), kTooLarge);
}

TEST_F(Fetch, ABodyThatIsToldToBeTooLargeIsNotReceived) {
    options_.max_body_bytes = 20000;
    EXPECT_EQ(Get(Url("/page/20001")), kTooLarge);
    EXPECT_EQ(ended().back().load.body_bytes, 0u);
}

TEST_F(Fetch, HeadersMayBeAsLargeAsTheLimitAndNoLarger) {
    options_.max_header_bytes = 3000;
    EXPECT_EQ(Get(Url("/headers/2500")), 0);
    EXPECT_EQ(Get(Url("/headers/3001")), kTooLarge);
    EXPECT_NE(ended().back().text.find("headers"), std::string::npos);
}

TEST_F(Fetch, TheHeadersOfRedirectsCountToo) {
    options_.max_header_bytes = 1000;
    EXPECT_EQ(Get(Url("/redirect/1")), 0);
    EXPECT_EQ(Get(Url("/redirect/9")), kTooLarge);
}

TEST_F(Fetch, RedirectsAreFollowedUpToTheLimit) {
    options_.max_redirects = 3;
    EXPECT_EQ(Get(Url("/redirect/3")), 0);
    EXPECT_EQ(Get(Url("/redirect/4")), kTooManyRedirects);
    EXPECT_EQ(Get(Url("/loop")), kTooManyRedirects);
    EXPECT_EQ(Requests("/loop"), 4u);
}

TEST_F(Fetch, TenRedirectsAreTheDefault) {
    EXPECT_EQ(Get(Url("/redirect/10")), 0);
    EXPECT_EQ(Get(Url("/redirect/11")), kTooManyRedirects);
}

TEST_F(Fetch, NoRedirectIsFollowedIfSoOrdered) {
    options_.max_redirects = -1;
    EXPECT_EQ(Get(Url("/page/1")), 0);
    EXPECT_EQ(Get(Url("/redirect/1")), kTooManyRedirects);
    EXPECT_EQ(Requests("/page/1000/last"), 0u);
}

TEST_F(Fetch, ATransferThatTakesTooLongIsAnError) {
    options_.timeout_ns = 50 * kMillisecond;
    origin_hold(origin_, "/page/1");
    EXPECT_EQ(Get(Url("/page/1")), kTimedOut);
}

TEST_F(Fetch, TheTimeSpentWaitingForAConnectionCounts) {
    const int kUrls = 20;
    std::vector<std::thread> threads;

    options_.timeout_ns = 100 * kMillisecond;
    options_.max_connections_per_host = 1;
    fetch();
    for (int i = 0; i < kUrls; i++) {
        const std::string path = "/page/1/" + std::to_string(i);
        origin_hold(origin_, path.c_str());
        threads.emplace_back(
            [&, path] { EXPECT_EQ(Get(Url(path)), kTimedOut); });
    }
    for (std::thread &t : threads) {
        t.join();
    }
    // Had each its time from when it got the connection, all would have come.
    EXPECT_LT(origin_requests(origin_, nullptr), (uint64_t)kUrls);
}

// A port that accepts connections and never says a word.
class Mute {
   public:
    Mute() : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
        struct sockaddr_in address = {};
        socklen_t size = sizeof address;
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(bind(fd_, (struct sockaddr *)&address, size), 0);
        EXPECT_EQ(listen(fd_, 5), 0);
        getsockname(fd_, (struct sockaddr *)&address, &size);
        host_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    }
    ~Mute() {
        close(fd_);
    }
    const std::string &host() const {
        return host_;
    }

   private:
    int fd_;
    std::string host_;
};

TEST_F(Fetch, AConnectionThatTakesTooLongIsAnError) {
    Mute mute;

    // The handshake of TLS is part of connecting.
    options_.connect_timeout_ns = 50 * kMillisecond;
    options_.timeout_ns = 3600 * 1000 * kMillisecond;
    EXPECT_EQ(Get("https://" + mute.host() + "/"), kTimedOut);
}

// Get n different pages of o in as many threads, none of which is answered
// before as many as the limit allows are being asked for.  Return the number of
// connections that it took.
uint64_t GetAtOnce(struct fetch *f, struct origin *o, int n, int limit) {
    std::vector<std::string> paths;
    std::vector<std::thread> threads;

    for (int i = 0; i < n; i++) {
        paths.push_back("/page/1/" + std::to_string(i));
        origin_hold(o, paths[i].c_str());
    }
    for (const std::string &path : paths) {
        threads.emplace_back([=] {
            struct memo_value v;
            EXPECT_EQ(fetch_get(f, (origin_base(o) + path).c_str(), &v), 0);
            memo_release(&v);
        });
    }
    Until([&] { return origin_requests(o, nullptr) >= (uint64_t)limit; });
    for (const std::string &path : paths) {
        origin_release(o, path.c_str());
    }
    for (std::thread &t : threads) {
        t.join();
    }
    return origin_connections(o);
}

TEST_F(Fetch, AHostGetsNoMoreConnectionsThanTheLimit) {
    options_.max_connections_per_host = 2;
    EXPECT_EQ(GetAtOnce(fetch(), origin_, 8, 2), 2u);
}

TEST_F(Fetch, AllHostsTogetherGetNoMoreConnectionsThanTheLimit) {
    options_.max_connections = 3;
    EXPECT_EQ(GetAtOnce(fetch(), origin_, 8, 3), 3u);
}

TEST_F(Fetch, SixConnectionsPerHostAreTheDefault) {
    EXPECT_EQ(GetAtOnce(fetch(), origin_, 12, 6), 6u);
}

TEST_F(Fetch, AConnectionIsUsedAgain) {
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(Get(Url("/page/100/" + std::to_string(i))), 0);
    }
    EXPECT_EQ(origin_connections(origin_), 1u);
    EXPECT_EQ(ended().front().load.connections, 1u);
    EXPECT_EQ(ended().back().load.connections, 0u);
}

// ------------------------------------------------------ deadlines and notes

TEST_F(Fetch, ACallerWhoGivesUpLeavesTheTransferToTheOthers) {
    struct memo_wait wait = {};
    struct memo_value v;
    const std::string url = Url("/page/7");

    wait.size = sizeof wait;
    wait.deadline_ns = 1;
    origin_hold(origin_, "/page/7");
    EXPECT_EQ(fetch_get_wait(fetch(), url.c_str(), &wait, &v), MEMO_ETIMEDOUT);
    EXPECT_EQ(v.data, nullptr);
    origin_wait(origin_, "/page/7", 1);
    origin_release(origin_, "/page/7");
    EXPECT_EQ(Get(url), 0);
    EXPECT_EQ(Requests("/page/7"), 1u);
}

TEST_F(Fetch, ANoteEndsTheWait) {
    struct memo_wait wait = {};
    struct memo_value v;
    struct sync_note *note = sync_note_new(nullptr, SYNC_NEVER);

    wait.size = sizeof wait;
    wait.note = note;
    fetch();
    origin_hold(origin_, "/page/7");
    std::thread waiter([&] {
        EXPECT_EQ(fetch_get_wait(fetch(), Url("/page/7").c_str(), &wait, &v),
                  MEMO_ECANCELED);
    });
    origin_wait(origin_, "/page/7", 1);
    sync_note_notify(note);
    waiter.join();
    sync_note_free(note);
}

// ----------------------------------------------------- what nobody waits for

// With MEMO_CANCEL_UNWANTED (W3).
class FetchUnwanted : public Fetch {
   protected:
    void SetUp() override {
        Fetch::SetUp();
        cache_.size = sizeof cache_;
        cache_.flags = MEMO_CANCEL_UNWANTED;
        options_.cache = &cache_;
        options_.max_connections_per_host = 1;
    }

    // Begin to get path, and give it up once it is being asked for, or at once.
    void GiveUp(const std::string &path, bool is_asked_for) {
        struct memo_ticket *ticket = nullptr;
        std::string url = Url(path);

        EXPECT_EQ(memo_get_async(fetch_memo(fetch()), url.data(), url.size(),
                                 nullptr, ExpectCanceled, nullptr, &ticket),
                  0);
        if (is_asked_for) {
            origin_wait(origin_, path.c_str(), 1);
        }
        EXPECT_EQ(memo_ticket_cancel(ticket), 0);
        memo_ticket_free(ticket);
    }

    void AwaitEnded(size_t n) {
        Until([&] { return ended().size() == n && Stats().flights == 0; });
    }

    struct memo_options cache_ = {};

   private:
    static void ExpectCanceled(void *, int error, struct memo_value *) {
        EXPECT_EQ(error, MEMO_ECANCELED);
    }
};

TEST_F(FetchUnwanted, ATransferIsBrokenOffAtOnce) {
    const std::string path = "/page/1/a";

    origin_hold(origin_, path.c_str());
    GiveUp(path, true);
    AwaitEnded(1);
    EXPECT_EQ(ended()[0].load.error, MEMO_ECANCELED);
    EXPECT_EQ(ended()[0].text, "nobody waits for it any more");
    // Its place is free, and it can be asked for again.
    EXPECT_EQ(Get(Url("/page/1/b")), 0);
    origin_release(origin_, path.c_str());
    EXPECT_EQ(Get(Url(path)), 0);
    EXPECT_EQ(Requests(path), 2u);
}

TEST_F(FetchUnwanted, ATransferWhoseTurnHasNotComeIsNeverMade) {
    const std::string path = "/page/1/b", first = "/page/1/a";

    fetch();
    origin_hold(origin_, first.c_str());
    std::thread getter([&] { EXPECT_EQ(Get(Url(first)), 0); });
    origin_wait(origin_, first.c_str(), 1);
    GiveUp(path, false);
    Until([&] { return ended().size() == 1; });
    EXPECT_EQ(ended()[0].url, Url(path));
    EXPECT_EQ(ended()[0].load.error, MEMO_ECANCELED);
    origin_release(origin_, first.c_str());
    getter.join();
    EXPECT_EQ(Requests(path), 0u);
}

TEST_F(FetchUnwanted, ATransferThatSomebodyWaitsForGoesOn) {
    const std::string path = "/page/1/a";

    fetch();
    origin_hold(origin_, path.c_str());
    std::thread getter([&] { EXPECT_EQ(Get(Url(path)), 0); });
    origin_wait(origin_, path.c_str(), 1);
    GiveUp(path, true);
    // So does its thread, meanwhile.
    GiveUp("/page/1/b", false);
    Until([&] { return ended().size() == 1; });
    origin_release(origin_, path.c_str());
    getter.join();
    EXPECT_EQ(ended().back().load.error, 0);
    EXPECT_EQ(Requests(path), 1u);
}

TEST_F(FetchUnwanted, ClosingTheCacheBreaksOffTransfersToo) {
    const std::string path = "/page/1/a";

    fetch();
    origin_hold(origin_, path.c_str());
    std::thread getter([&] { EXPECT_EQ(Get(Url(path)), MEMO_ECLOSED); });
    origin_wait(origin_, path.c_str(), 1);
    EXPECT_EQ(memo_close(fetch_memo(fetch_), MEMO_NEVER), 0);
    getter.join();
    ASSERT_EQ(ended().size(), 1u);
    EXPECT_EQ(ended()[0].load.error, MEMO_ECANCELED);
}

TEST_F(FetchUnwanted, GivingUpInTheMiddleOfEverything) {
    for (int round = 0; round < 10; round++) {
        struct fetch *f;
        std::vector<std::thread> threads;
        std::atomic<int> n_done{0};

        options_.max_connections_per_host = 2;
        ASSERT_EQ(fetch_new(&options_, &f), 0);
        for (int i = 0; i < 4; i++) {
            threads.emplace_back([&, i, f] {
                for (int error = 0, k = 0; error != MEMO_ECLOSED; k++) {
                    struct memo_wait wait = {};
                    struct memo_value v;
                    std::string url = Url("/page/100/" + std::to_string(k / 3) +
                                          "/" + std::to_string(i / 2));
                    wait.size = sizeof wait;
                    wait.deadline_ns = sync_clock_now_ns() + k % 5 * 100000;
                    error = fetch_get_wait(f, url.c_str(), &wait, &v);
                    EXPECT_TRUE(error == 0 || error == MEMO_ETIMEDOUT ||
                                error == MEMO_ECLOSED)
                        << error;
                    memo_release(&v);
                    n_done++;
                }
            });
        }
        Until([&] { return n_done >= 100 * round; });
        EXPECT_EQ(fetch_close(f), 0);
        for (std::thread &t : threads) {
            t.join();
        }
        memo_check(fetch_memo(f));
        fetch_free(f);
    }
}

// ----------------------------------------------------------------- closing

TEST_F(Fetch, ClosingEndsTheTransfersAndTheWaits) {
    const int kUrls = 10;  // more than there are connections to a host
    std::vector<std::thread> threads;
    std::atomic<int> closed{0};

    fetch();
    for (int i = 0; i < kUrls; i++) {
        const std::string path = "/page/1/" + std::to_string(i);
        origin_hold(origin_, path.c_str());
        threads.emplace_back(
            [&, path] { closed += Get(Url(path)) == MEMO_ECLOSED; });
    }
    Until([&] { return Stats().loads == kUrls; });
    Until([&] { return origin_requests(origin_, nullptr) == 6; });
    EXPECT_EQ(fetch_close(fetch_), 0);
    for (std::thread &t : threads) {
        t.join();
    }
    EXPECT_EQ(closed, kUrls);
    ASSERT_EQ(ended().size(), (size_t)kUrls);
    for (const Ended &e : ended()) {
        EXPECT_EQ(e.load.error, MEMO_ECLOSED);
    }
}

TEST_F(Fetch, AClosedFetchRefusesCalls) {
    EXPECT_EQ(Get(Url("/page/1")), 0);
    EXPECT_EQ(fetch_close(fetch_), 0);
    EXPECT_EQ(Get(Url("/page/1")), MEMO_ECLOSED);
    EXPECT_EQ(Get(Url("/page/2")), MEMO_ECLOSED);
    EXPECT_EQ(fetch_close(fetch_), 0);
}

TEST_F(Fetch, SeveralMayCloseAtOnce) {
    std::vector<std::thread> threads;

    fetch();
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([&] { EXPECT_EQ(fetch_close(fetch_), 0); });
    }
    for (std::thread &t : threads) {
        t.join();
    }
}

TEST_F(Fetch, FreeingEndsATransferThatNobodyWaitsFor) {
    struct memo_wait wait = {};
    struct memo_value v;

    wait.size = sizeof wait;
    wait.deadline_ns = 1;
    origin_hold(origin_, "/page/7");
    EXPECT_EQ(fetch_get_wait(fetch(), Url("/page/7").c_str(), &wait, &v),
              MEMO_ETIMEDOUT);
    origin_wait(origin_, "/page/7", 1);
    fetch_free(fetch_);
    fetch_ = nullptr;
    ASSERT_EQ(ended().size(), 1u);
    EXPECT_EQ(ended()[0].load.error, MEMO_ECLOSED);
}

TEST_F(Fetch, ClosingInTheMiddleOfEverything) {
    for (int round = 0; round < 20; round++) {
        struct fetch *f;
        std::vector<std::thread> threads;
        std::atomic<int> n_done{0};

        ASSERT_EQ(fetch_new(&options_, &f), 0);
        for (int i = 0; i < 4; i++) {
            threads.emplace_back([&, i, f] {
                for (int error = 0, k = 0; error != MEMO_ECLOSED; k++) {
                    struct memo_value v;
                    std::string url = Url("/page/" + std::to_string(k) + "/" +
                                          std::to_string(i));
                    error = fetch_get(f, url.c_str(), &v);
                    EXPECT_TRUE(error == 0 || error == MEMO_ECLOSED) << error;
                    memo_release(&v);
                    n_done++;
                }
            });
        }
        Until([&] { return n_done >= round; });
        EXPECT_EQ(fetch_close(f), 0);
        for (std::thread &t : threads) {
            t.join();
        }
        fetch_free(f);
    }
}

// ----------------------------------------------------------------- options

TEST_F(Fetch, TheEndOfEachLoadIsTold) {
    EXPECT_EQ(Get(Url("/redirect/1")), 0);
    EXPECT_EQ(Get(Url("/redirect/1")), 0);
    EXPECT_EQ(Get(Url("/status/500")), 500);
    EXPECT_EQ(Get("http://127.0.0.1:1/"), kCannotConnect);
    ASSERT_EQ(ended().size(), 3u);
    const Ended good = ended()[0], bad = ended()[1], refused = ended()[2];
    EXPECT_EQ(good.load.size, sizeof good.load);
    EXPECT_EQ(good.url, Url("/redirect/1"));
    EXPECT_EQ(good.load.error, 0);
    EXPECT_EQ(good.text, "");
    EXPECT_EQ(good.load.status, 200);
    EXPECT_EQ(good.load.body_bytes, 1000u);
    EXPECT_GT(good.load.header_bytes, 0u);
    EXPECT_EQ(good.load.redirects, 1u);
    EXPECT_GE(good.load.end_ns, good.load.start_ns);
    EXPECT_EQ(bad.load.error, 500);
    EXPECT_EQ(bad.load.status, 500);
    EXPECT_NE(bad.text.find("500"), std::string::npos);
    EXPECT_EQ(refused.load.error, kCannotConnect);
    EXPECT_EQ(refused.load.status, 0);
    EXPECT_NE(refused.text.find("127.0.0.1"), std::string::npos);
}

TEST_F(Fetch, TheUserAgentIsMemoOrAsOrdered) {
    std::string agent;

    EXPECT_EQ(Get(Url("/agent"), &agent), 0);
    EXPECT_EQ(agent.rfind("memo/", 0), 0u) << agent;
    fetch_free(fetch_);
    fetch_ = nullptr;
    options_.user_agent = "somebody else";
    EXPECT_EQ(Get(Url("/agent"), &agent), 0);
    EXPECT_EQ(agent, "somebody else");
}

TEST_F(Fetch, ProxiesOfTheEnvironmentCountUnlessToldOtherwise) {
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    unsetenv("no_proxy");
    EXPECT_EQ(Get(Url("/page/1")), 0);
    fetch_free(fetch_);
    fetch_ = nullptr;
    options_.proxy = nullptr;
    EXPECT_EQ(Get(Url("/page/1")), kCannotConnect);
    unsetenv("http_proxy");
}

TEST_F(Fetch, NoOptionsAreTheDefaults) {
    ASSERT_EQ(fetch_new(nullptr, &fetch_), 0);
    EXPECT_EQ(Get("http://127.0.0.1:1/"), kCannotConnect);
}

TEST_F(Fetch, OptionsOfAnOlderVersionAreShorter) {
    options_.size = offsetof(struct fetch_options, max_redirects);
    memset(&options_.max_redirects, 0xff,
           sizeof options_ - offsetof(struct fetch_options, max_redirects));
    ASSERT_EQ(fetch_new(&options_, &fetch_), 0);
}

TEST_F(Fetch, OptionsOfALaterVersionMustBeZeroWhereUnknown) {
    struct {
        struct fetch_options options;
        char later[8];
    } both = {};

    both.options.size = sizeof both;
    ASSERT_EQ(fetch_new(&both.options, &fetch_), 0);
    fetch_free(fetch_);
    both.later[7] = 1;
    EXPECT_EQ(fetch_new(&both.options, &fetch_), MEMO_EINVAL);
    EXPECT_EQ(fetch_, nullptr);
}

TEST_F(Fetch, BadOptionsAreRefused) {
    struct memo_options cache = {};
    auto refused = [&](const std::function<void()> &spoil) {
        struct fetch_options good = options_;
        spoil();
        fetch_ = reinterpret_cast<struct fetch *>(this);
        EXPECT_EQ(fetch_new(&options_, &fetch_), MEMO_EINVAL);
        EXPECT_EQ(fetch_, nullptr);
        options_ = good;
    };

    refused([&] { options_.size = 0; });
    refused([&] { options_.size = 8; });
    refused([&] { options_.flags = 4; });
    refused([&] { options_.timeout_ns = -1; });
    refused([&] { options_.connect_timeout_ns = -1; });
    options_.cache = &cache;
    refused([&] { cache.size = 1; });
    cache.size = sizeof cache;
    refused([&] { cache.load_arg = this; });
    cache.load_arg = nullptr;
    refused([&] { cache.load = [](void *, struct memo_load *) { return 1; }; });
    cache.load = nullptr;
    EXPECT_EQ(Get(Url("/page/1")), 0);
}

TEST_F(Fetch, BadArgumentsAreRefused) {
    struct memo_value v;

    EXPECT_EQ(fetch_new(&options_, nullptr), MEMO_EINVAL);
    EXPECT_EQ(fetch_close(nullptr), MEMO_EINVAL);
    fetch_free(nullptr);
    memset(&v, 0xff, sizeof v);
    EXPECT_EQ(fetch_get(nullptr, "x", &v), MEMO_EINVAL);
    EXPECT_EQ(v.data, nullptr);
    memset(&v, 0xff, sizeof v);
    EXPECT_EQ(fetch_get(fetch(), nullptr, &v), MEMO_EINVAL);
    EXPECT_EQ(v.data, nullptr);
    EXPECT_EQ(fetch_get(fetch(), "x", nullptr), MEMO_EINVAL);
    EXPECT_EQ(fetch_memo(nullptr), nullptr);
}

// ----------------------------------------------------------- out of memory

// Refuses whatever is larger than a limit.
struct Miser {
    size_t limit;
    std::atomic<int> n_live{0};
};

TEST_F(Fetch, OutOfMemoryInTheMiddleOfABodyIsAnErrorAndNoMore) {
    Miser miser{50000};
    struct memo_allocator allocator = {};
    struct memo_options cache = {};

    allocator.state = &miser;
    allocator.alloc = [](void *state, size_t size) -> void * {
        Miser *m = static_cast<Miser *>(state);
        void *p = size <= m->limit ? malloc(size) : nullptr;
        m->n_live += p != nullptr;
        return p;
    };
    allocator.free = [](void *state, void *p, size_t) {
        static_cast<Miser *>(state)->n_live--;
        free(p);
    };
    cache.size = sizeof cache;
    cache.allocator = &allocator;
    // So that the cache's own tables are small.
    cache.shards = 1;
    options_.cache = &cache;
    EXPECT_EQ(Get(Url("/page/100000")), MEMO_ENOMEM);
    EXPECT_EQ(Get(Url("/chunked/100000")), MEMO_ENOMEM);
    EXPECT_EQ(Get(Url("/page/1000")), 0);
    fetch_free(fetch_);
    fetch_ = nullptr;
    EXPECT_EQ(miser.n_live, 0);
}

}  // namespace
