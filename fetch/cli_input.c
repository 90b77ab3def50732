// URLs from files: one a line, whatever else may be in the file.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fetch/cli_out.h"
#include "fetch/cli_urls.h"

// The longest line.  Servers rarely take URLs of more than 8 kB.
#define LINE_MAX_BYTES 65536

struct input {
    FILE *file;
    const char *name;
    struct cli_urls *urls;
    int *exit_code;
    uint64_t line_number;
    // The line: its beginning, if it is too long.
    char line[LINE_MAX_BYTES + 1];
    size_t size;
    int is_too_long;
    int has_zero;
};

// Read a line into in.  Return 0 at the end of the file.
static int read_line(struct input *in) {
    int c;

    in->size = 0;
    in->is_too_long = 0;
    in->has_zero = 0;
    in->line_number++;
    while ((c = getc(in->file)) != EOF && c != '\n') {
        in->has_zero |= c == '\0';
        if (in->size < LINE_MAX_BYTES) {
            in->line[in->size++] = (char)c;
        } else {
            in->is_too_long = 1;
        }
    }
    return c != EOF || in->size != 0;
}

// Cut the spaces, and what ends lines elsewhere, off the line.
static char *trim(struct input *in) {
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    static const char spaces[] = " \t\r\f\v";
    char *line = in->line;

    in->line[in->size] = '\0';
    if (in->line_number == 1 && strncmp(line, byte_order_mark, 3) == 0) {
        line += 3;
    }
    line += strspn(line, spaces);
    for (size_t n = strlen(line); n > 0 && strchr(spaces, line[n - 1]); n--) {
        line[n - 1] = '\0';
    }
    return line;
}

static void skip(struct input *in, const char *why) {
    cli_complain_of(in->name, "line %llu: %s; skipped",
                    (unsigned long long)in->line_number, why);
    cli_fail(in->exit_code, CLI_BAD_URL);
}

static void take_line(struct input *in) {
    const char *line = trim(in);

    if (line[0] == '#' || (line[0] == '\0' && !in->has_zero)) {
        return;
    }
    if (in->has_zero) {
        skip(in, "it contains a zero byte");
    } else if (in->is_too_long) {
        skip(in, "it is longer than 65536 bytes");
    } else if (cli_urls_add(in->urls, line) != 0) {
        skip(in, "out of memory");
    }
}

static void read_open_file(struct input *in) {
    errno = 0;
    while (in->urls->n_list <= CLI_MAX_REQUESTS && read_line(in)) {
        take_line(in);
    }
    if (ferror(in->file)) {
        cli_complain_of(in->name, "%s", strerror(errno));
        cli_fail(in->exit_code, CLI_CANNOT_READ);
    }
}

static void read_input(struct input *in, const char *name) {
    int is_stdin = strcmp(name, "-") == 0;

    in->name = is_stdin ? "standard input" : name;
    in->line_number = 0;
    in->file = is_stdin ? stdin : fopen(name, "re");
    if (in->file == NULL) {
        cli_complain_of(name, "%s", strerror(errno));
        cli_fail(in->exit_code, CLI_CANNOT_READ);
        return;
    }
    if (is_stdin && isatty(STDIN_FILENO)) {
        fputs("memofetch: URLs, one a line; Ctrl-D ends:\n", stderr);
    }
    read_open_file(in);
    if (!is_stdin) {
        fclose(in->file);
    }
}

static void read_all(struct input *in, const struct cli_options *o) {
    for (int i = 0; i < o->n_inputs; i++) {
        read_input(in, o->inputs[i]);
    }
    for (int i = 0; i < o->n_urls; i++) {
        if (cli_urls_add(in->urls, o->urls[i]) != 0) {
            cli_complain_of(o->urls[i], "out of memory");
            cli_fail(in->exit_code, CLI_OUT_OF_MEMORY);
        }
    }
    if (o->n_inputs == 0 && o->n_urls == 0) {
        read_input(in, "-");
    }
}

void cli_urls_read(struct cli_urls *u, const struct cli_options *o,
                   int *exit_code) {
    struct input *in = calloc(1, sizeof *in);

    if (in == NULL) {
        cli_complain("out of memory");
        cli_fail(exit_code, CLI_OUT_OF_MEMORY);
        return;
    }
    in->urls = u;
    in->exit_code = exit_code;
    read_all(in, o);
    free(in);
    if (u->n_list == 0 && *exit_code == CLI_OK) {
        cli_complain("there are no URLs; see memofetch --help");
        *exit_code = CLI_USAGE;
    }
}
