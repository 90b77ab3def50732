// A cache as one writes it first: a table and a lock.  For the demo, as what
// memo is compared with.
#ifndef MEMO_FETCH_CLI_NAIVE_H_
#define MEMO_FETCH_CLI_NAIVE_H_

#include <stdint.h>

#include "fetch/cli_run.h"
#include "fetch/cli_urls.h"

// Make n requests, n_jobs at a time, in the order of the list of urls, from its
// beginning again when it ends; record them in requests.  Return 0; or an exit
// code, having said what is wrong.
int cli_naive_run(const struct cli_urls *urls, uint32_t n, uint32_t n_jobs,
                  struct cli_request *requests);

#endif  // MEMO_FETCH_CLI_NAIVE_H_
