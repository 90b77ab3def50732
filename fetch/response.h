// response: how a response lies in the cache, and how it is written there.
//
//     struct head | content type \0 | URL \0 | ETag \0 | Last-Modified \0 |
//     body \0
//
// A draft is a response that is being received, straight into the room that
// memo_load_reserve() gives.  If the server tells the length of the body, the
// room is right from the start; otherwise it doubles as the body comes, and is
// cut to size at the end.
#ifndef MEMO_FETCH_RESPONSE_H_
#define MEMO_FETCH_RESPONSE_H_

#include <stddef.h>
#include <stdint.h>

#include "fetch/freshness.h"
#include "memo/memo.h"

// What is known of a response besides its texts and its body.
struct fetch_facts {
    int64_t load_ns;
    uint64_t wire_bytes;
    uint32_t status;
    uint32_t redirects;
    uint32_t http_version;
};

// What its header told, as texts; "" if it didn't.
struct fetch_texts {
    const char *type;
    const char *url;  // it came from
    const char *etag;
    const char *last_modified;
};

// Until when a response is good, on the cache's clock.
struct fetch_dates {
    int64_t fresh_until_ns;
    int64_t usable_until_ns;  // it may stand in for a transfer that fails
    uint32_t is_strict;       // 1: the cache knows that it never may
};

// Owned by one thread.  {.load = l} is an empty one.
struct fetch_draft {
    struct memo_load *load;
    char *room;  // NULL until it is begun
    size_t room_size;
    size_t used;     // of the room, without the body's final zero
    size_t body_at;  // where in the room the body begins
};

// A body whose size the server didn't tell.
#define FETCH_SIZE_UNKNOWN SIZE_MAX

// Begin d, with room for a body of body_size bytes, which is a guess.  Return 0
// or MEMO_ENOMEM.
int fetch_draft_begin_(struct fetch_draft *d, const struct fetch_texts *texts,
                       size_t body_size);

// Add to the body.  Return 0 or MEMO_ENOMEM.
int fetch_draft_append_(struct fetch_draft *d, const void *data, size_t size);

// The size of the body so far.
size_t fetch_draft_body_size_(const struct fetch_draft *d);

// Complete d, which is then the value of its load.  Return 0 or MEMO_ENOMEM.
int fetch_draft_end_(struct fetch_draft *d, const struct fetch_facts *facts,
                     const struct fetch_said *said,
                     const struct fetch_dates *dates);

// The same, and begin before: the body and the facts of old, a response, with
// other texts.
int fetch_draft_renew_(struct fetch_draft *d, const struct memo_value *old,
                       const struct fetch_texts *texts,
                       const struct fetch_said *said,
                       const struct fetch_dates *dates);

// Say whether v is a response.  The following take only those.
int fetch_is_response_(const struct memo_value *v);

// What is said of it: by its own header, and by those of answers that it still
// is good.  For the fetch's thread alone.
struct fetch_said *fetch_response_said_(const struct memo_value *v);

// Its dates, which are set anew when it is found still to be good.
void fetch_response_set_dates_(const struct memo_value *v,
                               const struct fetch_dates *dates);
struct fetch_dates fetch_response_dates_(const struct memo_value *v);

#endif  // MEMO_FETCH_RESPONSE_H_
