// Traces: what somebody asked a cache for, one request after the other.
//
// A folder holds NAME.u64, a 64-bit little-endian key for each request; and
// beside it, if known, NAME.size.u32 and NAME.cost.u32, the size of what was
// asked for and what it costs to load, likewise for each request.  Any of them
// may be compressed by zstd, NAME.u64.zst, whose program unpacks it.
#ifndef MEMO_BENCH_TRACE_H_
#define MEMO_BENCH_TRACE_H_

#include <stddef.h>
#include <stdint.h>

struct trace {
    char *name;
    size_t n;          // requests
    uint32_t *key;     // of each; numbered from 0 in the order of appearance
    uint32_t n_keys;
    uint32_t *size;    // of each key, or NULL
    uint32_t *cost;    // of each key, or NULL
};

// The names of the traces in a folder, sorted.  Ends the program, with a
// message, if there are none.
char **trace_names(const char *folder, size_t *n);

// Read one.  Ends the program, with a message, if it can't be read.
struct trace trace_read(const char *folder, const char *name);

// Make one up: the same for the same name.  Ends the program if there is no such
// kind: see trace_made.
struct trace trace_make(const char *kind, size_t n);
extern const char *const trace_made[];  // ends with NULL

void trace_free(struct trace *t);

// Give each key a cost to load: "two" (one in ten keys costs 100 times what the
// others do), or "logn:S" (log-normal, with that sigma).  Return 0, or -1: there
// is no such model.
int trace_make_costs(struct trace *t, const char *model);

#endif  // MEMO_BENCH_TRACE_H_
