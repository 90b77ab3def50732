// --demo: what memo is for, shown on a web server of its own.
#ifndef MEMO_FETCH_CLI_DEMO_H_
#define MEMO_FETCH_CLI_DEMO_H_

#include "fetch/cli_out.h"

// Run it.  If timeline->file is not NULL, draw the run with memo there.  Return
// an exit code.
int cli_demo(struct cli_out *out, struct cli_out *timeline);

#endif  // MEMO_FETCH_CLI_DEMO_H_
