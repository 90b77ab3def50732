#include "fetch/cli_out.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "fetch/cli_progress.h"
#include "fetch/cli_text.h"
#include "memo/memo.h"

// How much of a name or URL a message repeats.
#define SUBJECT_MAX 200

int cli_out_open(struct cli_out *out, const char *name) {
    out->file = fopen(name, "we");
    out->name = name;
    out->error = 0;
    if (out->file == NULL) {
        cli_complain_of(name, "%s", strerror(errno));
        return -1;
    }
    return 0;
}

// Note in out that the last operation failed.
static void note_failure(struct cli_out *out) {
    out->error = errno != 0 ? errno : EIO;
}

void cli_out_printf(struct cli_out *out, const char *format, ...) {
    va_list args;

    if (out->error != 0) {
        return;
    }
    va_start(args, format);
    if (vfprintf(out->file, format, args) < 0) {
        note_failure(out);
    }
    va_end(args);
}

void cli_out_clean(struct cli_out *out, const char *text, size_t max) {
    if (out->error != 0) {
        return;
    }
    cli_put_clean(out->file, text, max);
    if (ferror(out->file)) {
        note_failure(out);
    }
}

// Say once that out failed.
static int verdict(struct cli_out *out) {
    if (out->error == 0) {
        return 0;
    }
    if (out->name != NULL) {
        cli_complain_of(out->name, "%s", strerror(out->error));
        out->name = NULL;
    }
    return -1;
}

int cli_out_flush(struct cli_out *out) {
    if (out->error == 0 && fflush(out->file) != 0) {
        note_failure(out);
    }
    return verdict(out);
}

int cli_out_close(struct cli_out *out) {
    if (fclose(out->file) != 0 && out->error == 0) {
        note_failure(out);
    }
    out->file = NULL;
    return verdict(out);
}

void cli_complain(const char *format, ...) {
    va_list args;

    cli_progress_erase();
    fputs("memofetch: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_complain_of(const char *subject, const char *format, ...) {
    va_list args;

    cli_progress_erase();
    fputs("memofetch: ", stderr);
    cli_put_clean(stderr, subject[0] != '\0' ? subject : "''", SUBJECT_MAX);
    fputs(": ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

int cli_exit_code(int error) {
    if (error >= 400) {
        return CLI_HTTP_STATUS;
    }
    switch (error) {
        case MEMO_ENOMEM:
            return CLI_OUT_OF_MEMORY;
        case MEMO_ETIMEDOUT:
            return CLI_TIMED_OUT;
        case MEMO_EINVAL:
            return CLI_INTERNAL;
        default:
            return error < 0 ? CLI_ABORTED : error;
    }
}
