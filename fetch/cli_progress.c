#include "fetch/cli_progress.h"

#include <stdio.h>
#include <string.h>

#include "fetch/cli_terminal.h"
#include "fetch/cli_text.h"

#define BAR_MAX 40

static int is_on;
static int is_drawn;

void cli_progress_begin(void) {
    is_on = cli_is_terminal(stderr);
}

static void draw_bar(int width, int n_full) {
    const int is_utf8 = cli_is_utf8();

    if (cli_has_colours(stderr)) {
        fputs("\033[36m", stderr);
    }
    for (int i = 0; i < width; i++) {
        if (i == n_full && cli_has_colours(stderr)) {
            fputs("\033[2m", stderr);
        }
        fputs(i < n_full ? (is_utf8 ? "━" : "#") : (is_utf8 ? "─" : "."),
              stderr);
    }
    if (cli_has_colours(stderr)) {
        fputs("\033[0m", stderr);
    }
}

void cli_progress_draw(uint64_t n_done, uint64_t n_all, uint64_t n_bytes) {
    char text[80];
    char bytes[CLI_NUMBER_SIZE];

    if (!is_on || n_all == 0) {
        return;
    }
    snprintf(text, sizeof text, " %llu of %llu, %s", (unsigned long long)n_done,
             (unsigned long long)n_all, cli_bytes(bytes, n_bytes));
    // The last column stays empty: a terminal may break the line there.
    int width = cli_columns(stderr) - 1 - (int)strlen(text);
    if (width > BAR_MAX) {
        width = BAR_MAX;
    }
    fputs("\r\033[K", stderr);
    if (width > 0) {
        draw_bar(width, (int)((uint64_t)width * n_done / n_all));
        fputs(text, stderr);
    }
    is_drawn = 1;
}

void cli_progress_erase(void) {
    if (is_drawn) {
        fputs("\r\033[K", stderr);
        is_drawn = 0;
    }
}

void cli_progress_end(void) {
    cli_progress_erase();
    is_on = 0;
}
