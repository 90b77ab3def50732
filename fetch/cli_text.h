// Numbers and foreign text, made fit to be read.
#ifndef MEMO_FETCH_CLI_TEXT_H_
#define MEMO_FETCH_CLI_TEXT_H_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

// Room for what these two write, and what they return: "1.23 ms", "96.0 kB".
#define CLI_NUMBER_SIZE 24
const char *cli_duration(char buf[CLI_NUMBER_SIZE], int64_t ns);
const char *cli_bytes(char buf[CLI_NUMBER_SIZE], uint64_t n);

// One character of a text that may be anything: *text moves beyond it.  Return
// its code point; or -1 and move by one byte, if there is no valid UTF-8.
int32_t cli_next_char(const char **text);

// Say whether c must not reach a terminal or a document as it is: it is a
// control character, or no character at all.
int cli_is_unsafe(int32_t c);

// Write text to a terminal: what is unsafe as \xNN, and if it is longer than
// max bytes only its beginning.
void cli_put_clean(FILE *file, const char *text, size_t max);

#endif  // MEMO_FETCH_CLI_TEXT_H_
