// E4 for fetch: each allocation fails in turn, those of libcurl included.
//
// Linked so that malloc() and the like, called by what isn't a shared library,
// come here.
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "fetch/fetch.h"
#include "fetch/origin.h"
#include "test/support/fake_clock.h"

namespace {

// Relaxed, all of it: what orders threads hides races.
std::atomic<uint64_t> n_asked{0}, fail_at{0};
std::atomic<bool> is_sticky{false};

void FailAt(uint64_t n, bool sticky = false) {
    is_sticky = sticky;
    n_asked = 0;
    fail_at = n;
}

bool Fails() {
    uint64_t mine = n_asked.fetch_add(1, std::memory_order_relaxed) + 1;
    uint64_t n = fail_at.load(std::memory_order_relaxed);
    return n != 0 &&
           (mine == n || (mine > n && is_sticky.load(std::memory_order_relaxed)));
}

}  // namespace

extern "C" {
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size) {
    return Fails() ? nullptr : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size) {
    return Fails() ? nullptr : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size) {
    return Fails() ? nullptr : __real_realloc(p, size);
}
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return Fails() ? nullptr : __real_aligned_alloc(alignment, size);
}
int __wrap_asprintf(char **out, const char *format, ...);
int __wrap_asprintf(char **out, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = Fails() ? -1 : vasprintf(out, format, args);
    va_end(args);
    return n;
}

static char *Duplicate(const char *text) {
    size_t size = strlen(text) + 1;
    void *copy = __wrap_malloc(size);
    return static_cast<char *>(copy == nullptr ? copy
                                               : memcpy(copy, text, size));
}

// libcurl's own, but for where its memory comes from.
CURLcode curl_global_init(long flags) {
    return Fails() ? CURLE_OUT_OF_MEMORY
                   : curl_global_init_mem(flags, __wrap_malloc, free,
                                          __wrap_realloc, Duplicate,
                                          __wrap_calloc);
}
}

namespace {

// An origin in a process of its own, whose allocations don't count.
class OriginApart {
   public:
    OriginApart() {
        int base[2], end[2];
        char text[64] = "";

        EXPECT_EQ(pipe(base), 0);
        EXPECT_EQ(pipe(end), 0);
        if (fork() == 0) {
            struct origin *o = origin_new();
            close(end[1]);
            (void)!write(base[1], origin_base(o), strlen(origin_base(o)) + 1);
            (void)!read(end[0], text, 1);
            _exit(0);
        }
        close(base[1]);
        close(end[0]);
        EXPECT_GT(read(base[0], text, sizeof text), 0);
        close(base[0]);
        end_ = end[1];
        base_ = text;
    }
    ~OriginApart() {
        close(end_);
    }
    std::string Url(const std::string &path) const {
        return base_ + path;
    }

   private:
    int end_;
    std::string base_;
};

OriginApart *origin_apart;

// The first in this process to need libcurl, which is initialised once.
TEST(FetchOomAtFirst, WhatCouldNotBeInitialisedIsTheNextTime) {
    struct fetch *f;
    int error;
    uint64_t n = 0;

    do {
        FailAt(++n);
        error = fetch_new(nullptr, &f);
        EXPECT_TRUE(error == 0 || error == MEMO_ENOMEM) << n;
        fetch_free(f);
    } while (n_asked >= n);
    FailAt(0);
    EXPECT_EQ(error, 0);
}

class FetchOom : public ::testing::TestWithParam<bool> {
   protected:
    void SetUp() override {
        clock_hook_ = clock_.Hook();
        cache_.size = sizeof cache_;
        cache_.clock = &clock_hook_;
        cache_.shards = 1;
        options_.size = sizeof options_;
        options_.proxy = "";
        options_.cache = &cache_;
    }

    // Where libcurl has no memory for an address, it says that there is none;
    // and where it has none for that of a redirect, that it is a bad one.
    static bool IsCurlsMistake(int error) {
        return error == CURLE_COULDNT_RESOLVE_HOST ||
               error == CURLE_URL_MALFORMAT;
    }

    // Get path: a page of that size, or an error.
    int Get(struct fetch *f, const std::string &path, size_t size) {
        struct memo_value v;
        size_t n = 0;
        int error = fetch_get(f, origin_apart->Url(path).c_str(), &v);

        fetch_response_body(&v, &n);
        EXPECT_EQ(n, error == 0 ? size : 0);
        memo_release(&v);
        return error;
    }

    // Make a fetch and get path several times over, while the nth allocation
    // fails; then all is well.
    void Try(uint64_t n, const std::string &path, size_t size) {
        struct fetch *f;

        FailAt(n, GetParam());
        int error = fetch_new(&options_, &f);
        if (error != 0) {
            EXPECT_EQ(error, MEMO_ENOMEM) << n;
            FailAt(0);
            EXPECT_EQ(fetch_new(&options_, &f), 0) << n;
            fetch_free(f);
            return;
        }
        for (int i = 0; i < 2; i++) {
            error = Get(f, path, size);
            EXPECT_TRUE(error == 0 || error == MEMO_ENOMEM ||
                        IsCurlsMistake(error))
                << n << ": " << error;
            clock_.Advance(1);
        }
        n_ = n_asked;
        FailAt(0);
        EXPECT_EQ(Get(f, path, size), 0) << n;
        memo_check(fetch_memo(f));
        fetch_free(f);
    }

    void TryAll(const std::string &path, size_t size) {
        uint64_t n = 0;

        do {
            n_ = UINT64_MAX;
            Try(++n, path, size);
        } while (n_ >= n);
        FailAt(0);
        RecordProperty("allocations", std::to_string(n));
    }

    FakeClock clock_;
    struct memo_clock clock_hook_ = {};
    struct memo_options cache_ = {};
    struct fetch_options options_ = {};
    uint64_t n_ = 0;  // allocations of the last try
};

TEST_P(FetchOom, APage) {
    TryAll("/page/1000", 1000);
}

TEST_P(FetchOom, APageOfUnknownLength) {
    TryAll("/chunked/40000", 40000);
}

TEST_P(FetchOom, ARedirect) {
    TryAll("/redirect/1", 1000);
}

TEST_P(FetchOom, APageThatIsAskedForAgain) {
    options_.flags = FETCH_FRESHNESS;
    TryAll("/etag/500", 500);
}

INSTANTIATE_TEST_SUITE_P(
    Once, FetchOom, ::testing::Values(false, true),
    [](const auto &test) { return test.param ? "AndAllAfterIt" : "Alone"; });

}  // namespace

int main(int argc, char **argv) {
    ::testing::InitGoogleTest(&argc, argv);
    OriginApart origin;
    origin_apart = &origin;
    return RUN_ALL_TESTS();
}
