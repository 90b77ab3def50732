// What a terminal can show.
#ifndef MEMO_FETCH_CLI_TERMINAL_H_
#define MEMO_FETCH_CLI_TERMINAL_H_

#include <stdio.h>

// Return whether file is a terminal that understands control sequences.
int cli_is_terminal(FILE *file);

// Return whether to write colours to it: it is one, and NO_COLOR is not set.
int cli_has_colours(FILE *file);

// The number of columns of the terminal that file is; 80 if it can't be told.
int cli_columns(FILE *file);

// Return whether text is read as UTF-8 here.
int cli_is_utf8(void);

#endif  // MEMO_FETCH_CLI_TERMINAL_H_
