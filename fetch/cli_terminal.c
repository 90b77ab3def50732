#include "fetch/cli_terminal.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int cli_is_terminal(FILE *file) {
    const char *term = getenv("TERM");

    return isatty(fileno(file)) && term != NULL && strcmp(term, "dumb") != 0;
}

int cli_has_colours(FILE *file) {
    const char *no_color = getenv("NO_COLOR");

    return (no_color == NULL || no_color[0] == '\0') && cli_is_terminal(file);
}

int cli_columns(FILE *file) {
    struct winsize size;

    if (ioctl(fileno(file), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        return 80;
    }
    return size.ws_col;
}

int cli_is_utf8(void) {
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}
