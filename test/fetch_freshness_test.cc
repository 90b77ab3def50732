// What headers say of how long a response is good: RFC 9111, RFC 5861.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

extern "C" {
#include "fetch/freshness.h"
}

namespace {

const int64_t kUnsaid = FETCH_UNSAID;
const int64_t kNever = INT64_MAX;
const int64_t kSecond = 1000000000;
const int64_t kNow = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT

// Take the lines, each of which gets its end, and the end of the header.
struct fetch_header Take(const std::vector<std::string> &lines,
                         const std::string &status = "HTTP/1.1 200 OK") {
    struct fetch_header h = {};
    std::vector<std::string> all = {status};

    all.insert(all.end(), lines.begin(), lines.end());
    all.push_back("");
    for (const std::string &line : all) {
        // A copy of just that size, so that reading beyond it shows.
        std::vector<char> bytes(line.begin(), line.end());
        bytes.insert(bytes.end(), {'\r', '\n'});
        bytes.shrink_to_fit();
        fetch_header_take_(&h, bytes.data(), bytes.size(), kNow);
    }
    return h;
}

struct fetch_terms Terms(const std::vector<std::string> &lines) {
    struct fetch_header h = Take(lines);
    return fetch_terms_of_(&h.said, h.age_s);
}

struct Case {
    std::vector<std::string> lines;
    int64_t fresh_s, usable_s, error_s;  // kUnsaid and kNever are themselves
    bool no_store;
};

int64_t Ns(int64_t s) {
    return s == kUnsaid || s == kNever ? s : s * kSecond;
}

class Freshness : public ::testing::TestWithParam<Case> {};

TEST_P(Freshness, IsWhatTheHeaderSays) {
    const Case &c = GetParam();
    struct fetch_terms terms = Terms(c.lines);
    std::string all;

    for (const std::string &line : c.lines) {
        all += line + "\n";
    }
    EXPECT_EQ(terms.fresh_ns, Ns(c.fresh_s)) << all;
    EXPECT_EQ(terms.usable_ns, Ns(c.usable_s)) << all;
    EXPECT_EQ(terms.error_ns, Ns(c.error_s)) << all;
    EXPECT_EQ(terms.no_store != 0, c.no_store) << all;
}

const std::string kControl = "Cache-Control: ";
const std::string kDate = "Date: Sun, 06 Nov 1994 08:49:37 GMT";

const Case kCases[] = {
    // Nothing.
    {{}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"Pragma: no-cache"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"Content-Length: 5", "Server: x"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"Cache-Control:"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{kControl + "public, private, immutable, no-transform"},
     kUnsaid,
     kUnsaid,
     kUnsaid,
     false},
    {{kControl + "s-maxage=5, proxy-revalidate"},
     kUnsaid,
     kUnsaid,
     kUnsaid,
     false},
    // max-age.
    {{kControl + "max-age=5"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=0"}, 0, 0, kUnsaid, false},
    {{"cache-control:MAX-AGE=5"}, 5, 5, kUnsaid, false},
    {{"CACHE-CONTROL:\t max-age=5 \t"}, 5, 5, kUnsaid, false},
    {{kControl + "s-maxage=9, max-age=5"}, 5, 5, kUnsaid, false},
    {{kControl + ",, ,max-age=5,,"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=005"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=\"5\""}, 5, 5, kUnsaid, false},
    {{kControl + "max-age = 5"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=5;no-store"}, 0, 0, kUnsaid, false},
    // Of several the first.
    {{kControl + "max-age=5, max-age=9"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=5", kControl + "max-age=9"}, 5, 5, kUnsaid, false},
    {{kControl + "public", kControl + "max-age=9"}, 9, 9, kUnsaid, false},
    // What can't be read is over.
    {{kControl + "max-age"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age="}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=x"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=-5"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=+5"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=5.5"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=0x5"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=5 6"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=\"5"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=\"5\"6"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=x, max-age=5"}, 0, 0, kUnsaid, false},
    // What is too large is for ever.
    {{kControl + "max-age=9223372036"}, 9223372036, 9223372036, kUnsaid, false},
    {{kControl + "max-age=9223372037"}, kNever, kNever, kUnsaid, false},
    {{kControl + "max-age=9223372036854775807"},
     kNever,
     kNever,
     kUnsaid,
     false},
    {{kControl + "max-age=9223372036854775808"},
     kNever,
     kNever,
     kUnsaid,
     false},
    {{kControl + "max-age=" + std::string(5000, '9')},
     kNever,
     kNever,
     kUnsaid,
     false},
    {{kControl + "max-age=9223372036, stale-while-revalidate=9223372036"},
     9223372036,
     kNever,
     kUnsaid,
     false},
    // Age.
    {{kControl + "max-age=5", "Age: 2"}, 3, 3, kUnsaid, false},
    {{"Age: 2", kControl + "max-age=5"}, 3, 3, kUnsaid, false},
    {{kControl + "max-age=5", "Age: 5"}, 0, 0, kUnsaid, false},
    {{kControl + "max-age=5", "Age: 99999999999999999999"},
     0,
     0,
     kUnsaid,
     false},
    {{kControl + "max-age=5", "Age: 2, 4"}, 3, 3, kUnsaid, false},
    {{kControl + "max-age=5", "Age: 2", "Age: 4"}, 3, 3, kUnsaid, false},
    {{kControl + "max-age=5", "Age: -2"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=5", "Age: x"}, 5, 5, kUnsaid, false},
    {{"Age: 2"}, kUnsaid, kUnsaid, kUnsaid, false},
    // no-store, no-cache.
    {{kControl + "no-store"}, 0, 0, 0, true},
    {{kControl + "max-age=5, No-Store"}, 0, 0, 0, true},
    {{kControl + "no-store, max-age=5, stale-if-error=5"}, 0, 0, 0, true},
    {{kControl + "max-age=5", kControl + "no-store"}, 0, 0, 0, true},
    {{kControl + "no-store=5"}, 0, 0, 0, true},
    {{kControl + "no-cache"}, 0, 0, 0, false},
    {{kControl + "max-age=5, no-cache"}, 0, 0, 0, false},
    {{kControl + "no-cache, stale-while-revalidate=5, stale-if-error=5"},
     0,
     0,
     0,
     false},
    {{kControl + "no-cache=\"Set-Cookie, max-age=5\""}, 0, 0, 0, false},
    {{kControl + "no-stored, no-cached, max-age=5"}, 5, 5, kUnsaid, false},
    // Quotes.
    {{kControl + "x=\"no-store, no-cache\", max-age=5"}, 5, 5, kUnsaid, false},
    {{kControl + "x=\"\\\", no-store\", max-age=5"}, 5, 5, kUnsaid, false},
    {{kControl + "x=\"\\\\\", no-store"}, 0, 0, 0, true},
    {{kControl + "x=\"no end, no-store"}, 0, 0, 0, true},
    {{kControl + "x=\",no-store,\", max-age=5"}, 5, 5, kUnsaid, false},
    {{kControl + "x=\"\\\",no-store,\\\"\", max-age=5"}, 5, 5, kUnsaid, false},
    {{kControl + "x=\"\\"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{kControl + "\"no-store\""}, kUnsaid, kUnsaid, kUnsaid, false},
    // A line that goes on.
    {{kControl + "max-age=5,", "  no-store"}, 0, 0, 0, true},
    {{"X: y", "  Cache-Control: no-store"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"X: y", "  no-store"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{kControl + "max-age=5", "X: y", "  no-store"}, 5, 5, kUnsaid, false},
    // Names that aren't quite it.
    {{"X-Cache-Control: no-store"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"Cache-Controls: no-store"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"Cache-Control : no-store"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{"no-store"}, kUnsaid, kUnsaid, kUnsaid, false},
    // stale-while-revalidate and stale-if-error.
    {{kControl + "max-age=5, stale-while-revalidate=3"}, 5, 8, kUnsaid, false},
    {{kControl + "max-age=0, stale-while-revalidate=3"}, 0, 3, kUnsaid, false},
    {{kControl + "stale-while-revalidate=3"}, kUnsaid, kUnsaid, kUnsaid, false},
    {{kControl + "max-age=5, stale-while-revalidate=x"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=5, stale-if-error=3"}, 5, 5, 3, false},
    {{kControl + "stale-if-error=3"}, kUnsaid, kUnsaid, 3, false},
    {{kControl + "max-age=5, stale-if-error=x"}, 5, 5, 0, false},
    {{kControl + "max-age=5, stale-if-error=3, stale-while-revalidate=4",
      "Age: 6"},
     0,
     3,
     2,
     false},
    {{kControl + "max-age=5, stale-if-error=3", "Age: 60"}, 0, 0, 0, false},
    {{kControl + "max-age=5, stale-if-error=99999999999999999999", "Age: 60"},
     0,
     0,
     kNever,
     false},
    // must-revalidate.
    {{kControl + "must-revalidate"}, kUnsaid, kUnsaid, 0, false},
    {{kControl + "max-age=5, must-revalidate, stale-if-error=3, "
                 "stale-while-revalidate=3"},
     5,
     5,
     0,
     false},
    // Expires.
    {{kDate, "Expires: Sun, 06 Nov 1994 08:49:47 GMT"}, 10, 10, kUnsaid, false},
    {{kDate, "Expires: Sunday, 06-Nov-94 08:49:47 GMT"},
     10,
     10,
     kUnsaid,
     false},
    {{kDate, "Expires: Sun Nov  6 08:49:47 1994"}, 10, 10, kUnsaid, false},
    {{"Expires: Sun, 06 Nov 1994 08:49:47 GMT",
      "Date: Sun, 06 Nov 1994 08:49:46 GMT"},
     1,
     1,
     kUnsaid,
     false},
    {{"Expires: Sun, 06 Nov 1994 08:49:47 GMT"}, 10, 10, kUnsaid, false},
    {{"Date: nonsense", "Expires: Sun, 06 Nov 1994 08:49:47 GMT"},
     10,
     10,
     kUnsaid,
     false},
    {{kDate, "Expires: Sun, 06 Nov 1994 08:49:37 GMT"}, 0, 0, kUnsaid, false},
    {{kDate, "Expires: Sun, 06 Nov 1993 08:49:37 GMT"}, 0, 0, kUnsaid, false},
    {{kDate, "Expires: 0"}, 0, 0, kUnsaid, false},
    {{kDate, "Expires: -1"}, 0, 0, kUnsaid, false},
    {{kDate, "Expires:"}, 0, 0, kUnsaid, false},
    {{kDate, "Expires: " + std::string(500, '9')}, 0, 0, kUnsaid, false},
    {{kDate, "Expires: 0", "Expires: Sun, 06 Nov 1994 08:49:47 GMT"},
     0,
     0,
     kUnsaid,
     false},
    {{kDate, "Expires: Sun, 06 Nov 1994 08:49:47 GMT", kControl + "max-age=5"},
     5,
     5,
     kUnsaid,
     false},
    {{kDate, "Expires: 0", kControl + "max-age=5"}, 5, 5, kUnsaid, false},
    {{kDate, "Expires: Sun, 06 Nov 1994 08:49:47 GMT", "Age: 4"},
     6,
     6,
     kUnsaid,
     false},
    {{kDate, "Expires: Sun, 06 Nov 1994 08:49:47 GMT",
      kControl + "stale-while-revalidate=3"},
     10,
     13,
     kUnsaid,
     false},
    // Vary.
    {{kControl + "max-age=5", "Vary: Accept-Encoding"}, 5, 5, kUnsaid, false},
    {{kControl + "max-age=5", "Vary: Cookie, *"}, 0, 0, 0, false},
    {{kControl + "max-age=5", "Vary: Cookie,", " *"}, 0, 0, 0, false},
    {{kControl + "max-age=5", "Vary: Cookie", "X: y", " *"},
     5,
     5,
     kUnsaid,
     false},
    {{"Vary: *"}, 0, 0, 0, false},
};

INSTANTIATE_TEST_SUITE_P(Headers, Freshness, ::testing::ValuesIn(kCases));

// ------------------------------------------------------------- validators

TEST(Header, ValidatorsAreKeptAsTheyAre) {
    struct fetch_header h =
        Take({"etag: W/\"a, b\" ", "LAST-MODIFIED:yesterday"});
    EXPECT_STREQ(h.etag, "W/\"a, b\"");
    EXPECT_STREQ(h.last_modified, "yesterday");
}

TEST(Header, ValidatorsThatCannotBeSentBackAreLeftOut) {
    EXPECT_STREQ(Take({"ETag: \"a\x01\""}).etag, "");
    EXPECT_STREQ(Take({"ETag: \"a\rb\""}).etag, "");
    EXPECT_STREQ(Take({"ETag: \"a\x7f\""}).etag, "");
    EXPECT_STREQ(Take({std::string("ETag: \"a\0b\"", 11)}).etag, "");
    EXPECT_STREQ(Take({"ETag: " + std::string(FETCH_ETAG_SIZE, 'x')}).etag, "");
    const std::string longest(FETCH_ETAG_SIZE - 1, 'x');
    EXPECT_EQ(Take({"ETag: " + longest}).etag, longest);
}

TEST(Header, OfSeveralValidatorsTheFirstCounts) {
    EXPECT_STREQ(Take({"ETag: \"1\"", "ETag: \"2\""}).etag, "\"1\"");
}

// ---------------------------------------------------- several in a row

struct fetch_header TakeAll(const std::vector<std::string> &lines) {
    struct fetch_header h = {};

    for (const std::string &line : lines) {
        fetch_header_take_(&h, (line + "\n").data(), line.size() + 1, kNow);
    }
    return h;
}

TEST(Header, OnlyTheLastResponseCounts) {
    for (const char *status : {"HTTP/1.1 100 Continue", "HTTP/1.1 103 Hints",
                               "HTTP/1.1 200 Connection established"}) {
        struct fetch_header h =
            TakeAll({status, kControl + "no-store", "ETag: \"0\"", "Age: 7", "",
                     "HTTP/1.1 200 OK", "ETag: \"1\"", ""});
        EXPECT_FALSE(h.said.no_store) << status;
        EXPECT_FALSE(h.has_before) << status;
        EXPECT_EQ(h.age_s, 0) << status;
        EXPECT_STREQ(h.etag, "\"1\"") << status;
    }
}

TEST(Header, RedirectsAreRememberedByTheStrictest) {
    struct fetch_header h = TakeAll(
        {"HTTP/2 301 ", kControl + "max-age=5, stale-if-error=9", "Age: 1", "",
         "HTTP/2 302 ", kControl + "max-age=7, stale-while-revalidate=7", "",
         "HTTP/2 302 ", "", "HTTP/2 200 ", kControl + "max-age=100", ""});
    EXPECT_TRUE(h.has_before);
    EXPECT_EQ(h.before.fresh_ns, 4 * kSecond);
    EXPECT_EQ(h.before.usable_ns, 4 * kSecond);
    EXPECT_EQ(h.before.error_ns, 9 * kSecond);
    EXPECT_FALSE(h.before.no_store);
    EXPECT_EQ(h.said.max_age_s, 100);
}

TEST(Header, SomeStatusesAreForTheMomentUnlessTheySayOtherwise) {
    for (const char *status : {"200", "204", "301", "304", "308", "404", "410"}) {
        struct fetch_header h = Take({}, std::string("HTTP/2 ") + status);
        EXPECT_FALSE(fetch_header_is_momentary_(&h)) << status;
    }
    for (const char *status : {"201", "302", "307", "400", "403", "500", "503"}) {
        const std::string line = std::string("HTTP/2 ") + status;
        struct fetch_header silent = Take({}, line);
        struct fetch_header said = Take({kControl + "max-age=0"}, line);
        EXPECT_TRUE(fetch_header_is_momentary_(&silent)) << status;
        EXPECT_FALSE(fetch_header_is_momentary_(&said)) << status;
    }
}

TEST(Header, ATemporaryRedirectThatDoesntSayHowLongIsNoted) {
    for (const char *status : {"301", "302", "303", "307", "308"}) {
        const bool is_temporary = status[2] != '1' && status[2] != '8';
        const std::string first = std::string("HTTP/2 ") + status + " ";
        for (const char *control : {"", "max-age=5", "no-cache", "public"}) {
            struct fetch_header h =
                TakeAll({first, kControl + control, "", "HTTP/2 301 ", "",
                         "HTTP/2 200 ", ""});
            EXPECT_EQ(h.has_detour != 0,
                      is_temporary && (*control == '\0' || *control == 'p'))
                << status << control;
        }
    }
}

TEST(Header, TrailersAreNoHeaders) {
    struct fetch_header h =
        TakeAll({"HTTP/1.1 200 OK", kControl + "max-age=5", "",
                 kControl + "no-store", "ETag: \"late\"", ""});
    EXPECT_FALSE(h.said.no_store);
    EXPECT_STREQ(h.etag, "");
}

// ------------------------------------------------------------------- terms

TEST(Terms, JoinedAreTheStrictestOfEach) {
    struct fetch_terms a = {0, 5, 9, kUnsaid, 2}, b = {1, 7, 8, 3, 1};
    struct fetch_terms none = {0, kUnsaid, kUnsaid, kUnsaid, 0};
    struct fetch_terms both = fetch_terms_join_(&a, &b);

    EXPECT_EQ(both.fresh_ns, 5);
    EXPECT_EQ(both.usable_ns, 8);
    EXPECT_EQ(both.error_ns, 3);
    EXPECT_EQ(both.stale_ns, 2);
    EXPECT_TRUE(both.no_store);
    both = fetch_terms_join_(&none, &a);
    EXPECT_EQ(both.fresh_ns, 5);
    EXPECT_EQ(both.usable_ns, 9);
    EXPECT_EQ(both.error_ns, kUnsaid);
    EXPECT_FALSE(both.no_store);
}

TEST(Terms, TimeGoesByForAll) {
    struct fetch_terms t = {0, 5, 9, 4, 0};

    fetch_terms_later_(&t, 3);
    EXPECT_EQ(t.fresh_ns, 2);
    EXPECT_EQ(t.usable_ns, 6);
    EXPECT_EQ(t.error_ns, 4);
    EXPECT_EQ(t.stale_ns, 0);
    fetch_terms_later_(&t, 3);
    EXPECT_EQ(t.fresh_ns, 0);
    EXPECT_EQ(t.usable_ns, 3);
    EXPECT_EQ(t.error_ns, 3);
    EXPECT_EQ(t.stale_ns, 1);
    fetch_terms_later_(&t, kNever);
    EXPECT_EQ(t.stale_ns, kNever);
    t = {0, kNever, kNever, kNever, 0};
    fetch_terms_later_(&t, kNever);
    EXPECT_EQ(t.fresh_ns, kNever);
    EXPECT_EQ(t.usable_ns, kNever);
    EXPECT_EQ(t.error_ns, kNever);
    EXPECT_EQ(t.stale_ns, 0);
    t = {0, kUnsaid, kUnsaid, 4, 0};
    fetch_terms_later_(&t, 100);
    EXPECT_EQ(t.fresh_ns, kUnsaid);
    EXPECT_EQ(t.usable_ns, kUnsaid);
    EXPECT_EQ(t.error_ns, 4);
}

// From its Date to its Expires, in seconds.
int64_t ExpiresIn(struct fetch_said said) {
    said.max_age_s = kUnsaid;
    said.no_cache = said.varies = 0;
    return fetch_terms_of_(&said, 0).fresh_ns / kSecond;
}

TEST(Terms, WhatA304SaysStandsInsteadAndTheRestStays) {
    const std::string expires = "Expires: Sun, 06 Nov 1994 08:49:47 GMT";
    struct fetch_said said =
        Take({kControl + "max-age=5, stale-if-error=3", expires}).said;
    struct fetch_said before = said;

    struct fetch_said nothing = Take({}).said;
    fetch_said_update_(&said, &nothing);
    EXPECT_EQ(said.max_age_s, 5);
    EXPECT_EQ(said.stale_if_error_s, 3);
    EXPECT_EQ(ExpiresIn(said), 10);

    struct fetch_said control = Take({kControl + "no-cache"}).said;
    fetch_said_update_(&said, &control);
    EXPECT_EQ(said.max_age_s, kUnsaid);
    EXPECT_EQ(said.stale_if_error_s, kUnsaid);
    EXPECT_TRUE(said.no_cache);
    EXPECT_EQ(ExpiresIn(said), 10);

    struct fetch_said dates = Take({kDate, "Expires: 0", "Vary: *"}).said;
    said = before;
    fetch_said_update_(&said, &dates);
    EXPECT_EQ(said.max_age_s, 5);
    EXPECT_EQ(ExpiresIn(said), 0);
    EXPECT_TRUE(said.varies);
}

TEST(Terms, AnExpiresThatA304DoesntRepeatIsStillThatMoment) {
    const std::string expires = "Expires: Sun, 06 Nov 1994 08:49:47 GMT";
    struct fetch_said before = Take({kDate, expires}).said;
    struct fetch_said said = before;

    EXPECT_EQ(ExpiresIn(said), 10);
    struct fetch_said later =
        Take({"Date: Sun, 06 Nov 1994 08:49:43 GMT", kControl + "public"}).said;
    fetch_said_update_(&said, &later);
    EXPECT_EQ(ExpiresIn(said), 4);
    later = Take({"Date: Sun, 06 Nov 1994 08:49:48 GMT"}).said;
    fetch_said_update_(&said, &later);
    EXPECT_EQ(ExpiresIn(said), 0);
    later = Take({"Date: Sun, 06 Nov 1994 08:49:48 GMT",
                  "Expires: Sun, 06 Nov 1994 08:50:00 GMT"})
                .said;
    fetch_said_update_(&said, &later);
    EXPECT_EQ(ExpiresIn(said), 12);
    // By this time of day, if it has no date.
    said = before;
    later = Take({}).said;
    fetch_said_update_(&said, &later);
    EXPECT_EQ(ExpiresIn(said), 10);
}

// ----------------------------------------------------------------- garbage

// Lines put together from pieces that matter, and from any bytes.
std::string Garbage(std::mt19937 *random) {
    static const std::string pieces[] = {
        "Cache-Control",
        ":",
        " ",
        "max-age",
        "=",
        "5",
        "\"",
        "\\",
        ",",
        "no-store",
        "no-cache",
        "Expires: ",
        "Age: ",
        "Vary: *",
        "ETag: ",
        "HTTP/1.1 200 OK",
        "HTTP/",
        "\r",
        "\n",
        "\t",
        "-1",
        "99999999999999999999",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Date: ",
        "stale-if-error",
        "stale-while-revalidate",
        std::string(1, '\0'),
    };
    const size_t n_pieces = sizeof pieces / sizeof pieces[0];
    std::string line;

    for (size_t n = (*random)() % 12; n > 0; n--) {
        size_t i = (*random)() % (n_pieces + 3);
        line += i < n_pieces
                    ? pieces[i]
                    : std::string(1, static_cast<char>((*random)() % 256));
    }
    return line;
}

bool IsSpan(int64_t s) {
    return s == kUnsaid || s >= 0;
}

TEST(Header, GarbageDoesNoHarm) {
    std::mt19937 random(9111);
    struct fetch_header h = {};

    for (int i = 0; i < 200000; i++) {
        std::string line = Garbage(&random);
        std::vector<char> bytes(line.begin(), line.end());

        bytes.shrink_to_fit();
        if (i % 20 == 0) {
            fetch_header_take_(&h, "\r\n", 2, kNow);
            fetch_header_take_(&h, "HTTP/1.1 200 OK\r\n", 17, kNow);
        }
        fetch_header_take_(&h, bytes.data(), bytes.size(), kNow);
        struct fetch_terms t = fetch_terms_of_(&h.said, h.age_s);
        fetch_terms_later_(&t, static_cast<int64_t>(random()));
        ASSERT_TRUE(IsSpan(t.fresh_ns) && IsSpan(t.error_ns)) << line;
        ASSERT_GE(t.usable_ns, t.fresh_ns) << line;
        ASSERT_GE(h.age_s, 0) << line;
        ASSERT_LT(strlen(h.etag), sizeof h.etag) << line;
    }
}

}  // namespace
