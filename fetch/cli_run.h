// A run: the requests for a list of URLs, made by several threads through one
// fetch, and a record of what happened.
#ifndef MEMO_FETCH_CLI_RUN_H_
#define MEMO_FETCH_CLI_RUN_H_

#include <stdint.h>

#include "fetch/cli_out.h"
#include "fetch/cli_urls.h"
#include "fetch/fetch.h"
#include "sync/atomic.h"
#include "sync/mutex.h"

struct sync_note;

enum cli_outcome {
    CLI_NOT_MADE = 0,  // the run was broken off before
    CLI_LOADED,
    CLI_JOINED,
    CLI_HIT,
    CLI_REVALIDATED,  // as loaded, but the old response still was good
    CLI_REFRESHED,  // a hit past its time: a new load began, or was on its way
    CLI_STALE,      // past its time, it stands in for a load that failed
    CLI_FAILED,
    CLI_CANCELED,  // the run was broken off meanwhile
    CLI_N_OUTCOMES,
};

// "loaded", "joined", ...
extern const char *const cli_outcome_names[CLI_N_OUTCOMES];

// One request.
struct cli_request {
    int64_t start_ns;
    int64_t end_ns;
    uint64_t bytes;  // of the body
    uint32_t url;    // index in urls
    int error;       // of fetch_get()
    int status;
    enum cli_outcome outcome;
};

// One load, which requests wait for.
struct cli_load {
    int64_t start_ns;
    int64_t end_ns;
    uint64_t bytes;  // received, headers included
    uint32_t url;
    int error;
    int status;  // of the last response
};

struct cli_run {
    // Const after init.
    struct cli_urls *urls;  // but for what the lock guards there
    struct cli_request *requests;
    uint32_t n_requests;
    uint32_t n_jobs;
    int has_lines;     // one is printed for each request
    int has_messages;  // one for each failure
    int has_progress;
    int is_fresh;  // obeys what servers say of how long responses are good
    struct fetch *fetch;
    struct sync_note *note;  // notified when the run is broken off
    int wake_fd[2];          // a pipe to the main thread: signals, and the end
    int64_t start_ns;

    // Atomic.
    sync_atomic_u32 next;      // request to be made
    sync_atomic_u32 n_active;  // threads
    sync_atomic_u32 is_broken_off;

    // Guarded by mu.
    struct sync_mutex mu;
    struct cli_out *out;
    struct cli_load *loads;  // in the order in which they ended
    uint32_t n_loads;
    uint32_t n_done;  // requests
    uint64_t n_bytes;

    // Owned by the main thread.
    int64_t end_ns;
    int signal;     // that broke it off, or 0
    char *metrics;  // what the cache counted, if that is asked for, or NULL
};

// Make the requests for each URL of urls, options->n_times over.  Return 0 when
// they are made, or the run was broken off; or an exit code, having said why it
// could not begin.  proxy is as in struct fetch_options.
//
// Owner: the caller calls cli_run_free(), also after a failure.
int cli_run(struct cli_run *r, const struct cli_options *options,
            struct cli_urls *urls, struct cli_out *out, const char *proxy);

// Why a request failed.  Once the run is over.
const char *cli_run_error_text(const struct cli_run *r,
                               const struct cli_request *q);

// The exit code for the first request that failed, or CLI_OK.
int cli_run_exit_code(const struct cli_run *r);

void cli_run_free(struct cli_run *r);

#endif  // MEMO_FETCH_CLI_RUN_H_
