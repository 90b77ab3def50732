// fetch: URLs, fetched once.
//
// A fetch is a memo cache whose load is an HTTP GET by libcurl: however many
// threads ask for a URL at the same time, it is requested once, and from then
// on its response is resident.
//
//     struct fetch *f;
//     struct memo_value v;
//
//     if (fetch_new(NULL, &f) == 0) {
//         int error = fetch_get(f, "https://example.org/", &v);
//         if (error == 0) {
//             size_t size;
//             const char *body = fetch_response_body(&v, &size);
//             fwrite(body, 1, size, stdout);
//             memo_release(&v);
//         } else {
//             puts(fetch_error_text(error));
//         }
//         fetch_free(f);
//     }
//
// One thread of the fetch's own runs all transfers.  They share connections,
// use HTTP/2 where the server offers it over TLS, and follow redirects.  The
// body is received into the cache's own entry.
//
// The key is the URL as it is written: nothing is normalised.  Two spellings of
// one address (another case, another fragment, a missing slash) are two keys.
// A URL without a scheme means http.  No other schemes than http and https are
// spoken, neither at first nor after a redirect.
//
// A response is kept for as long as the cache's options say; or, if so asked,
// for as long as the server says: see FETCH_FRESHNESS.  One with a status of
// 206, 304 or 101, a part of a page or news of it, wasn't asked for: it is for the
// caller alone, as with no-store.
//
// After fork() the child has what was resident, and may free the fetch; the
// transfers and the thread are its parent's.  What isn't resident is MEMO_EFORKED:
// to fetch, the child makes a fetch of its own.
//
// With MEMO_CANCEL_UNWANTED among the cache's flags a transfer that nobody waits
// for any more is broken off, wherever it is.
#ifndef MEMO_FETCH_FETCH_H_
#define MEMO_FETCH_FETCH_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/memo.h"

#ifdef __cplusplus
extern "C" {
#endif

struct fetch;  // a cache of responses, and the thread that fetches them

// Errors.  A negative one is memo's.  One from 1 to 399 is libcurl's CURLcode:
// 6 the host isn't known, 7 it refused, 28 a time limit, 47 too many redirects,
// 63 a limit on size, ...  One from 400 on is the HTTP status that the server
// answered with.

// How a load ended, as told to options.ended.
struct fetch_load {
    size_t size;            // of this struct
    const char *url;        // the key, followed by a zero byte
    size_t url_size;        // its length; it may contain zero bytes
    int error;              // what callers get; MEMO_ECANCELED: there are none
                            // any more, see MEMO_CANCEL_UNWANTED
    int status;             // of the last response; 0: there was none
    const char *text;       // why it failed, in libcurl's words; or ""
    int64_t start_ns;       // when it began, on CLOCK_MONOTONIC
    int64_t end_ns;         // when it ended
    uint64_t body_bytes;    // received, of the body
    uint64_t header_bytes;  // received, of all headers, redirects included
    uint32_t redirects;     // followed
    uint32_t connections;   // that had to be made
    // With FETCH_FRESHNESS; else 0.
    uint32_t not_modified;  // 1: the response that was there still is good
    uint32_t stale;         // 1: it failed, and the response that was there may
                            // stand in; callers get that, and no error
};

// Be told of the end of a load, just before those who wait for it are.  The
// struct and its texts are gone afterwards.  Runs mostly in the fetch's own
// thread, so it must not wait for a load, nor close the fetch.
typedef void fetch_ended_fn(void *arg, const struct fetch_load *load);

// Any HTTP status makes a response.  Without this one from 400 on is an error,
// which callers get and the cache doesn't keep.
#define FETCH_ANY_STATUS 1u

// Obey what servers say of how long a response is good: HTTP caching, RFC 9111
// and RFC 5861, as they concern a cache that isn't shared.
//
// - max-age, or else Expires, less Age, and less the time that the transfer
//   took: so long it is a hit.  Then it is asked for again, on the condition
//   that it has changed (If-None-Match, If-Modified-Since).  If the server
//   answers 304, it stays, for as long as that answer says: the same object,
//   unless the answer tells another ETag, Last-Modified or Content-Type.
// - no-cache, max-age=0, Vary: *: it is asked for again by each call.  (On the
//   cache's clock it is fresh for 1 ns.)
// - no-store: it is for the caller who asked, and not kept.  Those who waited
//   for it ask again, each for himself.
// - stale-while-revalidate: so long past its time it is still returned at once,
//   as a hit, and the first call has it asked for again in the background.
// - stale-if-error: so long past its time it stands in (MEMO_STALE) for a
//   transfer that fails, or ends with a status from 500 on.  If the server says
//   nothing of it, cache->stale_if_error_ns counts; must-revalidate and
//   no-cache forbid it.  A status from 400 to 499 is an answer: callers get
//   that error, and the old response is gone.
// - Of redirects and what they lead to, the strictest counts.
// - With some statuses (of redirects 302, 303, 307; with FETCH_ANY_STATUS 403, 429,
//   500, 503, ...) a response that doesn't say how long it is good is asked for
//   again by each call, unless cache->ttl_ns is set.
//
// Where else the server is silent the cache's options count, that is ttl_ns:
// nothing is guessed from dates.  s-maxage, private and Pragma don't matter.  Errors
// are kept no more and no less than without this flag.
//
// Some of the cache's options have other defaults then: ttl_ns MEMO_NEVER;
// pass_ttl_ns a minute, for which nobody waits for another's transfer after
// no-store; refresh_after_ns 10 s, but only as the pause after a refresh that
// failed, and for values that were put.
#define FETCH_FRESHNESS 2u

// Options of fetch_new().  Zero in any field but size means the default written
// beside it.  New fields are only ever added at the end.
struct fetch_options {
    size_t size;               // sizeof(struct fetch_options)
    uint32_t flags;            // FETCH_*
    int32_t max_redirects;     // 10; less than 0: a redirect is an error
    uint32_t max_connections;  // 100, in all; other transfers wait
    uint32_t max_connections_per_host;  // 6, host and port as in the URL; over
                                        // HTTP/2, which shares one, each
                                        // transfer counts for one
    uint64_t max_body_bytes;            // 64 MiB
    uint64_t max_header_bytes;          // 256 KiB, redirects included
    int64_t connect_timeout_ns;         // 10 s
    int64_t timeout_ns;                 // 60 s, from the call to the last byte
    const char *user_agent;  // copied;  NULL: "memo/" and its version
    const char *proxy;       // copied;  NULL: as libcurl finds it in the
                             // environment (http_proxy, ...);  "": none
    fetch_ended_fn *ended;   // NULL: nobody is told
    void *ended_arg;         // its first argument
    const struct memo_options *cache;  // copied; its load and load_arg must be
                                       // zero;  NULL: memo's defaults
    // With FETCH_FRESHNESS:
    int64_t keep_ns;  // 1 day; how long past its time a response is kept, to be
                      // asked for again or to stand in
};

// Make a fetch, and start its thread.  options may be NULL.  Return 0 and set
// *out; or MEMO_EINVAL (a limit below zero, an unknown flag or a set byte that
// this version doesn't know), or MEMO_ENOMEM, also if there can be no thread or
// no descriptor to wake it.  *out is NULL unless 0 is returned.
//
// Owner:   the caller, who ends it with fetch_free().  options are copied.
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API int fetch_new(const struct fetch_options *options, struct fetch **out);

// Close the fetch: break off the transfers, wake everybody who waits for them
// (MEMO_ECLOSED), refuse new calls (MEMO_ECLOSED) and end the thread.  Values
// still held stay valid.  Closing again is fine.  Return 0 or MEMO_EINVAL.
//
// Owner:   the fetch stays the caller's, until fetch_free().
// Threads: any but the fetch's own, while others are in any function of it.
// Blocks:  until the thread has ended, which is at once but for an
// options.ended
//          that is still running.
// Locks:   none held while options.ended runs.
MEMO_API int fetch_close(struct fetch *f);

// End a fetch: fetch_close(f), then give its memory back.  NULL is allowed.
//
// Owner:   f is gone.  Values still held stay valid.
// Threads: any but the fetch's own; no other call on f, its cache, or a ticket
//          for that may be in progress or follow.
// Blocks:  as fetch_close().
// Locks:   none held while options.ended runs.
MEMO_API void fetch_free(struct fetch *f);

// Return in *out the response of url: the resident one, else that of the
// transfer in progress, else that of a transfer started here.
//
// Return 0, an error as above, or what memo_get() returns.
//
// Owner:   the caller releases *out with memo_release().  url is copied.
// Threads: any but the fetch's own.
// Blocks:  on a hit, never.  Else until the transfer has ended.
// Locks:   none.
MEMO_API int fetch_get(struct fetch *f, const char *url,
                       struct memo_value *out);

// The same, with a deadline and a note, as memo_get_wait().  A caller who gives
// up leaves the transfer running for the others and, without
// MEMO_CANCEL_UNWANTED, for the cache.
//
// Owner:   the caller releases *out with memo_release().  url is copied.
// Threads: any but the fetch's own.
// Blocks:  until the transfer has ended, the deadline, or the note.
// Locks:   none.
MEMO_API int fetch_get_wait(struct fetch *f, const char *url,
                            const struct memo_wait *wait,
                            struct memo_value *out);

// The cache itself: for memo_peek(), memo_invalidate(), memo_stats() and the
// like.  Its keys are URLs, without the final zero byte.
//
// Owner:   the fetch; gone with it.  Only fetch_close() may close it.
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API struct memo *fetch_memo(struct fetch *f);

// ------------------------------------------------------------ a response
//
// These read a value that a fetch made.  They point into the value: good until
// it is released.  Of any other value they return 0 and NULL.
//
// Threads: any.  Blocks: no.  Locks: none.

// The body, followed by a zero byte that is not part of it; its size in *size,
// unless size is NULL.  Servers are asked not to encode it; if one does, it is
// decoded (gzip and what else libcurl knows; 61: it doesn't know it).
MEMO_API const void *fetch_response_body(const struct memo_value *v,
                                         size_t *size);
// The HTTP status: 200, ...
MEMO_API int fetch_response_status(const struct memo_value *v);
// The Content-Type as the server sent it; "" if it sent none.
MEMO_API const char *fetch_response_type(const struct memo_value *v);
// The URL that the body came from, after redirects.
MEMO_API const char *fetch_response_url(const struct memo_value *v);
// The ETag and the Last-Modified as the server sent them; "" if it sent none,
// or none fit to be sent back, as ETags of 512 bytes or more.
MEMO_API const char *fetch_response_etag(const struct memo_value *v);
MEMO_API const char *fetch_response_last_modified(const struct memo_value *v);
// With FETCH_FRESHNESS: until when it is fresh, by what is known now, on the
// cache's clock; MEMO_NEVER: for ever.
MEMO_API int64_t fetch_response_fresh_until(const struct memo_value *v);
// The number of redirects followed.
MEMO_API int fetch_response_redirects(const struct memo_value *v);
// The version of HTTP: 10, 11, 20, 30; 0 if not known.
MEMO_API int fetch_response_http_version(const struct memo_value *v);
// How long the load took, from the call that started it to the last byte.
MEMO_API int64_t fetch_response_load_ns(const struct memo_value *v);
// The bytes received for it: body and headers, those of redirects included.
MEMO_API uint64_t fetch_response_wire_bytes(const struct memo_value *v);

// ---------------------------------------------------------------- errors

// The text of an error: libcurl's, HTTP's or memo's; never NULL.
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API const char *fetch_error_text(int error);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_FETCH_FETCH_H_
