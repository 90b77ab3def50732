// The command line of memofetch.
#ifndef MEMO_FETCH_CLI_OPTIONS_H_
#define MEMO_FETCH_CLI_OPTIONS_H_

#include <stdint.h>

// The most requests that one run makes.
#define CLI_MAX_REQUESTS 1000000

struct cli_options {
    const char **inputs;  // files of URLs, "-" is standard input
    int n_inputs;
    char **urls;  // part of argv
    int n_urls;
    uint32_t n_jobs;   // 0: the default
    uint32_t n_times;  // how often the list is gone through
    int64_t timeout_ns;
    uint64_t max_bytes;     // 0: the default
    int32_t max_redirects;  // as in struct fetch_options
    const char *timeline;   // the name of a file, or NULL
    const char *metrics;    // likewise
    int is_quiet;
    int is_tacit;  // not even failures are told; only for --demo
    int is_json;
    int is_fresh;
    int is_demo;
    int is_help;
    int is_version;
};

// Read the command line.  Return CLI_OK; or what to exit with, having said what
// is wrong.
//
// Owner: the caller frees options->inputs; the rest points into argv.
int cli_options_parse(int argc, char **argv, struct cli_options *options);

// What --help prints.
extern const char cli_help[];

#endif  // MEMO_FETCH_CLI_OPTIONS_H_
