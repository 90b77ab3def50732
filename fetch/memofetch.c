// memofetch: fetches URLs through a memo cache, and shows what that saves.
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fetch/cli_demo.h"
#include "fetch/cli_options.h"
#include "fetch/cli_out.h"
#include "fetch/cli_run.h"
#include "fetch/cli_summary.h"
#include "fetch/cli_timeline.h"
#include "fetch/cli_urls.h"

// Keep the numbers of closed standard streams from being given to files that
// are opened later.  What takes their place fails as they would: nothing can be
// read from the one, nor written to the others.
static void plug_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
        }
    }
}

// Under `bazel run` a program starts in a directory of Bazel's; the person is
// here, and so are the files that the command line names.
static void go_where_the_person_is(void) {
    const char *directory = getenv("BUILD_WORKING_DIRECTORY");

    if (directory != NULL) {
        (void)!chdir(directory);
    }
}

static void print_version(struct cli_out *out) {
    cli_out_printf(out, "memofetch %d.%d.%d, with %s\n", MEMO_VERSION_MAJOR,
                   MEMO_VERSION_MINOR, MEMO_VERSION_PATCH, curl_version());
}

// Print what there is to say of r, made or broken off.
static void report(const struct cli_run *r, const struct cli_options *o) {
    if (o->is_json) {
        cli_json_print(r);
    } else {
        cli_summary_print(r);
    }
}

static int fetch_urls(const struct cli_options *o, struct cli_urls *urls,
                      struct cli_out *out, struct cli_out *timeline,
                      struct cli_out *metrics) {
    struct cli_run r;
    int exit_code = cli_run(&r, o, urls, out, NULL);

    if (exit_code == CLI_OK) {
        report(&r, o);
        if (timeline->file != NULL) {
            cli_timeline_print(&r, timeline);
        }
        if (metrics->file != NULL) {
            cli_out_printf(metrics, "%s", r.metrics);
        }
        exit_code =
            r.signal != 0 ? CLI_SIGNAL + r.signal : cli_run_exit_code(&r);
    }
    cli_run_free(&r);
    return exit_code;
}

// Keep the first failure; but a signal counts for more.
static void take_exit_code(int *exit_code, int other) {
    if (other > CLI_SIGNAL) {
        *exit_code = other;
    }
    cli_fail(exit_code, other);
}

// Open what is to be written, if anything.
static void open_outputs(const struct cli_options *o, struct cli_out *timeline,
                         struct cli_out *metrics, int *exit_code) {
    if (o->timeline != NULL && cli_out_open(timeline, o->timeline) != 0) {
        cli_fail(exit_code, CLI_CANNOT_WRITE);
    }
    if (o->metrics != NULL && cli_out_open(metrics, o->metrics) != 0) {
        cli_fail(exit_code, CLI_CANNOT_WRITE);
    }
}

// Read the URLs, fetch them, draw the timeline.
static int do_what_is_asked(const struct cli_options *o, struct cli_out *out) {
    struct cli_urls urls = {0};
    struct cli_out timeline = {0};
    struct cli_out metrics = {0};
    int exit_code = CLI_OK;

    // What can't be written is said before the work, not after it; but a file may be
    // what the URLs are read from, too.
    if (!o->is_demo) {
        cli_urls_read(&urls, o, &exit_code);
    }
    open_outputs(o, &timeline, &metrics, &exit_code);
    if (o->is_demo) {
        take_exit_code(&exit_code, cli_demo(out, &timeline));
    } else if (urls.n_list != 0) {
        take_exit_code(&exit_code,
                       fetch_urls(o, &urls, out, &timeline, &metrics));
    }
    cli_urls_free(&urls);
    if (timeline.file != NULL && cli_out_close(&timeline) != 0) {
        cli_fail(&exit_code, CLI_CANNOT_WRITE);
    }
    if (metrics.file != NULL && cli_out_close(&metrics) != 0) {
        cli_fail(&exit_code, CLI_CANNOT_WRITE);
    }
    return exit_code;
}

int main(int argc, char **argv) {
    struct cli_out out = CLI_STDOUT;
    struct cli_options options;
    int exit_code;

    plug_standard_streams();
    go_where_the_person_is();
    setlocale(LC_CTYPE, "");
    // A reader that goes away is an error like others.
    signal(SIGPIPE, SIG_IGN);
    exit_code = cli_options_parse(argc, argv, &options);
    if (exit_code != CLI_OK) {
        // That is said.
    } else if (options.is_help) {
        cli_out_printf(&out, "%s", cli_help);
    } else if (options.is_version) {
        print_version(&out);
    } else {
        exit_code = do_what_is_asked(&options, &out);
    }
    free(options.inputs);
    if (cli_out_close(&out) != 0) {
        cli_fail(&exit_code, CLI_CANNOT_WRITE);
    }
    return exit_code;
}
