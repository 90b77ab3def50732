// The progress bar: the last line of standard error, while it is a terminal.
//
// Not safe to call from several threads at a time.
#ifndef MEMO_FETCH_CLI_PROGRESS_H_
#define MEMO_FETCH_CLI_PROGRESS_H_

#include <stdint.h>

// Show the bar from now on, if there is a terminal to show it on.
void cli_progress_begin(void);

// Draw it: so many of so many requests are done, so many bytes have come.
void cli_progress_draw(uint64_t n_done, uint64_t n_all, uint64_t n_bytes);

// Take it away, before anything else is written; it may be drawn again.
void cli_progress_erase(void);

// Take it away for good.
void cli_progress_end(void);

#endif  // MEMO_FETCH_CLI_PROGRESS_H_
