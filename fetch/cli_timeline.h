// A run as a picture: a lane for each URL, with its loads, those who waited for
// them, and the hits.
#ifndef MEMO_FETCH_CLI_TIMELINE_H_
#define MEMO_FETCH_CLI_TIMELINE_H_

#include "fetch/cli_out.h"
#include "fetch/cli_run.h"

// Print the picture of r, as SVG.
void cli_timeline_print(const struct cli_run *r, struct cli_out *out);

#endif  // MEMO_FETCH_CLI_TIMELINE_H_
