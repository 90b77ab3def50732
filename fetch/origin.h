// origin: a small web server on 127.0.0.1, to fetch from without a network.
//
// For the demo and for tests: it answers slowly, at length, wrongly or not at
// all, as its paths say, and counts what it was asked for.
//
//     /page/BYTES/NAME         so many bytes
//     /slow/MS/BYTES/NAME      the same, after so many milliseconds
//     /chunked/BYTES           the same, without telling the length before
//     /headers/BYTES           a header field of so many bytes
//     /status/CODE             that status
//     /redirect/N              N redirects, then a page
//     /loop                    a redirect to itself
//     /away                    a redirect to file:///etc/passwd
//     /drop/BYTES              breaks off in the middle of so many bytes
//     /silent                  breaks off before the first byte
//     /agent                   the User-Agent of the request
//
// Pages that say how long they are good, and answer 304 to who has them:
//
//     /etag/BYTES/NAME         no-cache, with an ETag
//     /dated/BYTES/NAME        no-cache, with a Last-Modified
//     /max-age/S/BYTES/NAME    good for S seconds, with an ETag
//     /swr/S/BYTES/NAME        the same, with stale-while-revalidate=S
//     /flaky/BYTES/NAME        max-age=0, stale-if-error=60, with an ETag
//     /no-store/BYTES/NAME     no-store
//     /careless/BYTES/NAME     as /etag, but whatever ETag they have
//
// NAME may be anything, and nothing.  Every other path is status 404.  Byte i
// of a page is origin_byte(i); of one that was changed n times, origin_byte(i +
// n).
#ifndef MEMO_FETCH_ORIGIN_H_
#define MEMO_FETCH_ORIGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct origin;

// Start one, on a port that is free.  Return NULL if that is not possible.
//
// Owner:   the caller, who ends it with origin_free().
struct origin *origin_new(void);

// End o: let go of all requests that are held, and close all connections.  NULL
// is allowed.
void origin_free(struct origin *o);

// "http://127.0.0.1:PORT", without a final slash.
const char *origin_base(const struct origin *o);

// How often path was asked for; NULL: how often any.
uint64_t origin_requests(struct origin *o, const char *path);
// How many bytes of bodies were asked for.
uint64_t origin_bytes(struct origin *o);
// How many answers of that status were sent.
uint64_t origin_answers(struct origin *o, unsigned status);
// How many connections were made.
uint64_t origin_connections(struct origin *o);

// From now on let requests for path wait, until they are released.
void origin_hold(struct origin *o, const char *path);
void origin_release(struct origin *o, const char *path);
// Wait until path has been asked for n times, counting those held.
void origin_wait(struct origin *o, const char *path, uint64_t n);

// From now on let path be another page: other bytes, another ETag, another
// Last-Modified.  Only pages with one of these take note.
void origin_change(struct origin *o, const char *path);
// From now on answer requests for path with that status; 0: no longer.
void origin_fail(struct origin *o, const char *path, unsigned status);
// From now on send them to another path; NULL: no longer.
void origin_redirect(struct origin *o, const char *path, const char *to);
// From now on send that Cache-Control, "" for none, with pages that say how
// long they are good, and with what origin_fail() and origin_redirect() send;
// NULL: that of the page.
void origin_say(struct origin *o, const char *path, const char *control);

// The i-th byte of every page.
char origin_byte(uint64_t i);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_FETCH_ORIGIN_H_
