// A fixture for fetch.h against an origin on 127.0.0.1.
#ifndef MEMO_TEST_SUPPORT_WITH_ORIGIN_H_
#define MEMO_TEST_SUPPORT_WITH_ORIGIN_H_

#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "fetch/fetch.h"
#include "fetch/origin.h"

// What options.ended was told.
struct Ended {
    std::string url, text;
    struct fetch_load load;
};

// Test is what gtest has a fixture be.
template <class Test>
class WithOrigin : public Test {
   protected:
    void SetUp() override {
        options_.size = sizeof options_;
        options_.proxy = "";
        options_.ended = Note;
        options_.ended_arg = this;
        origin_ = origin_new();
        ASSERT_NE(origin_, nullptr);
    }

    void TearDown() override {
        if (fetch_ != nullptr) {
            memo_check(fetch_memo(fetch_));
        }
        fetch_free(fetch_);
        origin_free(origin_);
    }

    // The fetch under test, made with options_ when first asked for.
    struct fetch *fetch() {
        if (fetch_ == nullptr) {
            EXPECT_EQ(fetch_new(&options_, &fetch_), 0);
        }
        return fetch_;
    }

    std::string Url(const std::string &path) const {
        return origin_base(origin_) + path;
    }

    uint64_t Requests(const std::string &path) {
        return origin_requests(origin_, path.c_str());
    }

    struct memo_stats Stats() {
        struct memo_stats stats = {};
        stats.size = sizeof stats;
        EXPECT_EQ(memo_stats(fetch_memo(fetch()), &stats), 0);
        return stats;
    }

    std::vector<Ended> ended() {
        std::lock_guard<std::mutex> lock(mu_);
        return ended_;
    }

    // The page of size bytes after it was changed n times.
    static std::string Page(size_t size, size_t n = 0) {
        std::string page(size, ' ');
        for (size_t i = 0; i < size; i++) {
            page[i] = origin_byte(i + n);
        }
        return page;
    }

    struct fetch_options options_ = {};
    struct origin *origin_ = nullptr;
    struct fetch *fetch_ = nullptr;

   private:
    static void Note(void *arg, const struct fetch_load *load) {
        WithOrigin *self = static_cast<WithOrigin *>(arg);
        std::lock_guard<std::mutex> lock(self->mu_);
        self->ended_.push_back(
            {std::string(load->url, load->url_size), load->text, *load});
    }

    std::mutex mu_;
    std::vector<Ended> ended_;
};

#endif  // MEMO_TEST_SUPPORT_WITH_ORIGIN_H_
