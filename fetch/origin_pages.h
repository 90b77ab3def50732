// The pages of an origin: from a path to an answer.
#ifndef MEMO_FETCH_ORIGIN_PAGES_H_
#define MEMO_FETCH_ORIGIN_PAGES_H_

#include <microhttpd.h>
#include <stdint.h>

#if MHD_VERSION >= 0x00097002
#define ORIGIN_RESULT enum MHD_Result
#else
#define ORIGIN_RESULT int
#endif

// How a path is at the moment, whatever its page is.
struct origin_mood {
    unsigned status;    // it answers with that, if not 0
    unsigned version;   // how often it was changed
    int has_control;    // rather than that of the page
    char control[200];  // Cache-Control, or ""
    char to[200];       // it redirects there, unless it is ""
};

struct origin_page {
    const struct origin_kind *kind;
    struct origin_mood mood;
    unsigned status;    // that it was answered with
    uint64_t seconds;   // how long it is good
    uint64_t number;    // the first in the path: bytes, a status, a count
    uint64_t size;      // of the body; 0 once it is known that it isn't sent
    uint64_t delay_ms;  // before it is sent
};

// The page that path asks for.
struct origin_page origin_page_(const char *path);

// Queue the answer, and note its status; ORIGIN_RESULT as libmicrohttpd wants
// it from a handler.
ORIGIN_RESULT origin_page_send_(struct origin_page *page,
                                struct MHD_Connection *c);

#endif  // MEMO_FETCH_ORIGIN_PAGES_H_
