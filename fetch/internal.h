// The inside of a fetch, shared by its sources.
//
//     fetch_get -> memo -> load (fetch.c)      in the caller's thread: makes
//     the
//                           |                  transfer, puts it in the queue,
//                           v                  returns MEMO_PENDING
//                         queue
//                           |
//                           v
//                         loop.c               the fetch's thread: runs them
//                         all,
//                           |                  says how they ended
//                           v
//                  memo_load_finish
#ifndef MEMO_FETCH_INTERNAL_H_
#define MEMO_FETCH_INTERNAL_H_

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fetch/fetch.h"
#include "fetch/freshness.h"
#include "fetch/hosts.h"
#include "fetch/response.h"
#include "sync/atomic.h"
#include "sync/list.h"
#include "sync/mutex.h"
#include "sync/once.h"

struct fetch {
    // Const after init.
    struct fetch_options options;  // with the defaults filled in
    char *user_agent;
    char *proxy;  // or NULL
    struct memo *memo;
    struct memo_clock clock;  // the cache's; now_ns is NULL for the default
    // The cache's times, as they were given: for what servers don't say.
    int64_t ttl_ns;            // MEMO_NEVER: for ever
    int64_t moment_ns;         // of what isn't to be used again without a word
    int64_t refresh_after_ns;  // MEMO_NEVER: never
    int64_t stale_if_error_ns;
    CURLM *multi;  // Owned by the thread, but for curl_multi_wakeup(), under mu
    struct sync_thread thread;
    pid_t pid;  // of the process that it is in

    struct sync_once close;

    // Guarded by mu.
    struct sync_mutex mu;
    struct sync_list queue;  // of transfers that the thread hasn't seen yet
    int is_closing;          // nothing enters the queue any more
    int has_unwanted;        // some transfers may be for nobody

    // Owned by the thread.
    struct fetch_hosts hosts;
    struct sync_list running;  // transfers that libcurl has
};

// One load.
//
// LIFETIME: made by the load function; owned by it until it is in the queue,
// by the fetch's thread from then on, which ends it.
struct transfer {
    struct sync_link link;  // in the queue, or in the list of those that run
    struct fetch_turn turn;
    struct fetch *fetch;
    CURL *easy;
    char *host;  // as in its URL, and the port; "" if that can't be told
    struct fetch_draft draft;
    struct fetch_header header;
    struct memo_value old;          // the response that this is to replace
    struct curl_slist *conditions;  // on which it is to be sent again, or NULL
    int64_t asked_ns;  // when it was sent for, on the cache's clock
    uint64_t body_bytes;
    uint64_t header_bytes;
    int64_t start_ns;
    int error;                   // why a callback had libcurl stop, or 0
    char reason[80];             // the same in words
    char text[CURL_ERROR_SIZE];  // libcurl's own words
};

// fetch.c

// Tell options.ended, if there is one, how l has ended; *load lacks the size
// and the URL, and its text may be "".
void fetch_tell_(struct fetch *f, const struct memo_load *l,
                 struct fetch_load *load);

// Whether this is a child of the process that made f: what the thread owned, and
// what it may have had locked, stays as it was.
int fetch_is_inherited_(const struct fetch *f);

// The time on the cache's clock.
int64_t fetch_now_(const struct fetch *f);

// transfer.c

// Make the transfer of l.  Return 0 or an error.
int fetch_transfer_new_(struct fetch *f, struct memo_load *l,
                        struct transfer **out);

// Prepare t, whose turn has come, for the multi handle.
void fetch_transfer_start_(struct transfer *t);

// The Content-Type that the last response of t tells, or "".
const char *fetch_transfer_type_(const struct transfer *t);

// Say whether t, which was received, must be sent once more, without
// conditions; it is then prepared for that.
int fetch_transfer_again_(struct transfer *t);

// Say that t has ended, with libcurl's code or, if negative, memo's; give the
// answer to those who wait for it; free t, which is on no list and not in the
// multi handle.
void fetch_transfer_end_(struct transfer *t, int code);

// Nanoseconds to milliseconds, upwards, within what libcurl takes; at least 1.
int fetch_milliseconds_(int64_t ns);

// revalidate.c

// Take hold of the response that t is to replace, if there is one, and make the
// request conditional on it.  Return 0 or MEMO_ENOMEM.
int fetch_transfer_take_old_(struct transfer *t);

// Say whether t was answered that the old response still is good.
int fetch_transfer_is_not_modified_(const struct transfer *t);

// The old response still is good: keep it, or a copy if the answer tells other
// validators or another type.  Return 0 or an error.
int fetch_transfer_keep_old_(struct transfer *t);

// Until when the response of t is good; and tell the cache.
struct fetch_dates fetch_transfer_date_(struct transfer *t);

// t has failed.  Return whether the old response may stand in for it; if it may
// not, it is gone, unless the cache knows that.
int fetch_transfer_stand_in_(struct transfer *t, int error);

// loop.c

// The fetch's thread.
void *fetch_loop_(void *arg);

// Give t to the thread.  Return 0, or MEMO_ECLOSED and t is still the caller's.
int fetch_loop_add_(struct fetch *f, struct transfer *t);

// CALLBACK: of the cache, in any thread; a memo_cancel_fn of which arg is the
// fetch.  Have the thread break off what nobody waits for.
//
// LIFETIME: it is called by who gives up a wait, or closes the cache, and that is
// a call that is in progress, during which a fetch isn't freed.
void fetch_loop_look_(void *arg, struct memo_load *l);

// Tell the thread to break off everything and end.
void fetch_loop_stop_(struct fetch *f);

// options.c

// Copy to *to, a struct of known bytes that begins with its size, the one at
// from, which may be of another version: at least min bytes, and zero where it
// has more than known.  Return 0 or MEMO_EINVAL.
int fetch_take_struct_(void *to, size_t known, const void *from, size_t min);

// Copy options, which may be NULL, and fill in the defaults; texts aren't
// copied.  Return 0 or MEMO_EINVAL.
int fetch_options_take_(struct fetch_options *to,
                        const struct fetch_options *from);

#endif  // MEMO_FETCH_INTERNAL_H_
