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
// NAME may be anything, and nothing.  Every other path is status 404.  Byte i
// of a page is origin_byte(i).
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
// How many connections were made.
uint64_t origin_connections(struct origin *o);

// From now on let requests for path wait, until they are released.
void origin_hold(struct origin *o, const char *path);
void origin_release(struct origin *o, const char *path);
// Wait until path has been asked for n times, counting those held.
void origin_wait(struct origin *o, const char *path, uint64_t n);

// The i-th byte of every page.
char origin_byte(uint64_t i);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_FETCH_ORIGIN_H_
