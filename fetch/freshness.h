// freshness: what a response's header says of how long it is good, and how to
// ask whether it still is.
//
// RFC 9111 (HTTP caching) as it concerns a cache of one's own, and RFC 5861
// (stale-while-revalidate, stale-if-error).  Whatever is unclear is read as the
// shorter time.  Functions here depend on nothing but their arguments.
#ifndef MEMO_FETCH_FRESHNESS_H_
#define MEMO_FETCH_FRESHNESS_H_

#include <stddef.h>
#include <stdint.h>

// What nothing is said of.
#define FETCH_UNSAID INT64_C(-1)

// What one response says.  Seconds are 0 or more, or FETCH_UNSAID.
struct fetch_said {
    int64_t max_age_s;
    int64_t stale_while_revalidate_s;
    int64_t stale_if_error_s;
    int64_t expires_s;          // its Expires, in seconds since 1970
    int64_t date_s;             // its Date, or when it came; likewise
    unsigned char has_control;  // there is a Cache-Control
    unsigned char no_store;
    unsigned char no_cache;
    unsigned char must_revalidate;
    unsigned char varies;  // in ways that a cache can't tell
};

// What that comes to.  Nanoseconds are 0 or more, or FETCH_UNSAID.
struct fetch_terms {
    int no_store;
    int64_t fresh_ns;   // how long it is fresh from now on
    int64_t usable_ns;  // the same, and how long it may be used while it is
                        // asked for again; said if fresh_ns is
    int64_t error_ns;   // how long past fresh_ns it may stand in for errors
    int64_t stale_ns;   // how long it hasn't been fresh, which error_ns is less by
};

// What else of a header is of interest, each with its final zero byte.  Longer
// ones are left out.
#define FETCH_ETAG_SIZE 512
#define FETCH_LAST_MODIFIED_SIZE 64

// A header that is being received: that of the last response, and the terms of
// the redirects before it.  Zeroed, it is empty.
struct fetch_header {
    struct fetch_said said;
    int64_t age_s;              // as told by its Age; 0 if it isn't
    int has_before;             // there were redirects
    struct fetch_terms before;  // the strictest of each
    int has_detour;             // one was for the moment, see below
    int is_open;                // its end has not come
    int has_type;               // it tells a Content-Type
    char etag[FETCH_ETAG_SIZE];
    char last_modified[FETCH_LAST_MODIFIED_SIZE];

    // Private.
    int status;
    int is_control;  // the line before was of a Cache-Control
    int is_vary;     // likewise
    int has_age;
};

// Take a line of the header, with the end of the line; it may be anything.
// Trailers, which come after the header, are left out.  now is the time of day,
// in seconds since 1970.
void fetch_header_take_(struct fetch_header *h, const char *line, size_t size,
                        int64_t now);

// Whether the response, or a redirect before it, has a status with which it isn't
// to be used again unless it says for how long, and doesn't say that.
int fetch_header_is_momentary_(const struct fetch_header *h);

// Whether a response that says that, and was last changed then, came so long after
// that it is what there was at the end of that second (RFC 9110, 8.8.2.2).
int fetch_is_settled_(const struct fetch_said *said, const char *last_modified);

// What a cached response says after it was asked about again, and now came: its
// Cache-Control and its Expires each stand instead of those before, if they are
// there, and its Date in any case.
void fetch_said_update_(struct fetch_said *said, const struct fetch_said *now);

// What said comes to for a response that is age_s old by its own account.
struct fetch_terms fetch_terms_of_(const struct fetch_said *said,
                                   int64_t age_s);

// Let ns go by.
void fetch_terms_later_(struct fetch_terms *terms, int64_t ns);

// The strictest of each of the two, which may be the same.
struct fetch_terms fetch_terms_join_(const struct fetch_terms *a,
                                     const struct fetch_terms *b);

// What is left of a span, of which age_ns is over.  For ever is for ever.
int64_t fetch_left_of_(int64_t span_ns, int64_t age_ns);

// Two spans together, of which either may be for ever (INT64_MAX).
int64_t fetch_add_ns_(int64_t a_ns, int64_t b_ns);

#endif  // MEMO_FETCH_FRESHNESS_H_
