// response: how a response lies in the cache, and how it is written there.
//
//     struct head | content type \0 | URL \0 | body \0
//
// A draft is a response that is being received, straight into the room that
// memo_load_reserve() gives.  If the server tells the length of the body, the
// room is right from the start; otherwise it doubles as the body comes, and is
// cut to size at the end.
#ifndef MEMO_FETCH_RESPONSE_H_
#define MEMO_FETCH_RESPONSE_H_

#include <stddef.h>
#include <stdint.h>

#include "memo/memo.h"

// What is known of a response besides its texts and its body.
struct fetch_facts {
    int64_t load_ns;
    uint64_t wire_bytes;
    uint32_t status;
    uint32_t redirects;
    uint32_t http_version;
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
int fetch_draft_begin_(struct fetch_draft *d, const char *type, const char *url,
                       size_t body_size);

// Add to the body.  Return 0 or MEMO_ENOMEM.
int fetch_draft_append_(struct fetch_draft *d, const void *data, size_t size);

// The size of the body so far.
size_t fetch_draft_body_size_(const struct fetch_draft *d);

// Complete d, which is then the value of its load.  Return 0 or MEMO_ENOMEM.
int fetch_draft_end_(struct fetch_draft *d, const struct fetch_facts *facts);

#endif  // MEMO_FETCH_RESPONSE_H_
