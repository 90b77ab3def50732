// --demo: what memo is for, shown on a web server of its own.
#ifndef MEMO_FETCH_CLI_DEMO_H_
#define MEMO_FETCH_CLI_DEMO_H_

#include "fetch/cli_out.h"

struct origin;

// Run it.  If timeline->file is not NULL, draw the run with memo there.  Return
// an exit code.
int cli_demo(struct cli_out *out, struct cli_out *timeline);

// The scene of it that is about time: a page that changes, and a server that
// fails.  bold, dim and plain are control sequences, or "".
int cli_demo_fresh(struct cli_out *out, struct origin *origin, const char *bold,
                   const char *dim, const char *plain);

#endif  // MEMO_FETCH_CLI_DEMO_H_
