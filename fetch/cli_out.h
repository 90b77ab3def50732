// What the program writes: to files, of which each failure to write must be
// noticed, and to the person, as messages.
#ifndef MEMO_FETCH_CLI_OUT_H_
#define MEMO_FETCH_CLI_OUT_H_

#include <stdio.h>

// One output.
struct cli_out {
    FILE *file;
    const char *name;  // for messages
    int error;         // the errno of what failed first, or 0
};

#define CLI_STDOUT \
    { stdout, "standard output", 0 }

// Write to the new file of that name.  Return 0; or -1, having said why not.
int cli_out_open(struct cli_out *out, const char *name);

// Write.  After a failure nothing more is written.
__attribute__((format(printf, 2, 3))) void cli_out_printf(struct cli_out *out,
                                                          const char *format,
                                                          ...);
// Write foreign text, as cli_put_clean().
void cli_out_clean(struct cli_out *out, const char *text, size_t max);

// Write what is buffered.  Return 0; or -1 if that, or anything before, failed;
// the first time saying so.
int cli_out_flush(struct cli_out *out);

// Flush and close; as cli_out_flush().
int cli_out_close(struct cli_out *out);

// Write "memofetch: ..." and a newline to standard error.
__attribute__((format(printf, 1, 2))) void cli_complain(const char *format,
                                                        ...);

// Write "memofetch: SUBJECT: ..." likewise; the subject is foreign text.
__attribute__((format(printf, 2, 3))) void cli_complain_of(const char *subject,
                                                           const char *format,
                                                           ...);

// What the program exits with: as curl does, where curl has a code for it.
enum cli_exit {
    CLI_OK = 0,
    CLI_USAGE = 2,
    CLI_BAD_URL = 3,
    CLI_CANNOT_CONNECT = 7,
    CLI_HTTP_STATUS = 22,
    CLI_CANNOT_WRITE = 23,
    CLI_CANNOT_READ = 26,
    CLI_OUT_OF_MEMORY = 27,
    CLI_TIMED_OUT = 28,
    CLI_ABORTED = 42,
    CLI_INTERNAL = 43,
    CLI_SIGNAL = 128,  // and its number
};

// The exit code for an error of a fetch.
int cli_exit_code(int error);

// Keep the first failure.
static inline void cli_fail(int *exit_code, int failure) {
    if (*exit_code == CLI_OK) {
        *exit_code = failure;
    }
}

#endif  // MEMO_FETCH_CLI_OUT_H_
