// What a run comes to, and what it would have without memo.
#ifndef MEMO_FETCH_CLI_SUMMARY_H_
#define MEMO_FETCH_CLI_SUMMARY_H_

#include <stdint.h>

#include "fetch/cli_run.h"

struct cli_cost {
    uint64_t n_loads;
    uint64_t bytes;   // received, headers included
    int64_t wait_ns;  // by all requests together
};

struct cli_summary {
    uint32_t n_requests;  // that were answered, or failed
    uint32_t n[CLI_N_OUTCOMES];
    int64_t elapsed_ns;
    struct cli_cost with_memo;
    // Had each request made a load of its own, that cost what the loads of its
    // URL cost on the average.
    struct cli_cost without;
};

struct cli_summary cli_summary_of(const struct cli_run *r);

// Print it as text.
void cli_summary_print(const struct cli_run *r);

// Print the run and its summary as JSON.
void cli_json_print(const struct cli_run *r);

#endif  // MEMO_FETCH_CLI_SUMMARY_H_
