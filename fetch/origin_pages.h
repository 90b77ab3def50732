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

struct origin_page {
    const struct origin_kind *kind;
    uint64_t number;    // the first in the path: bytes, a status, a count
    uint64_t size;      // of the body
    uint64_t delay_ms;  // before it is sent
};

// The page that path asks for.
struct origin_page origin_page_(const char *path);

// Queue the answer; ORIGIN_RESULT as libmicrohttpd wants it from a handler.
ORIGIN_RESULT origin_page_send_(const struct origin_page *page,
                                struct MHD_Connection *c);

#endif  // MEMO_FETCH_ORIGIN_PAGES_H_
