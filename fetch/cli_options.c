#include "fetch/cli_options.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/cli_out.h"

const char cli_help[] =
    "Usage: memofetch [OPTION]... [URL]...\n"
    "       memofetch --demo\n"
    "\n"
    "Fetches URLs through memo, a memoizing cache: a URL that is asked for\n"
    "several times, or by several at the same time, is loaded once.  Prints a\n"
    "line for each request: URL, time, bytes, and where the answer came from:\n"
    "  loaded  this request fetched it\n"
    "  joined  another was fetching it, and both got the answer\n"
    "  hit     it was in the cache\n"
    "Without URLs, reads them from standard input.\n"
    "\n"
    "  -i, --input=FILE      read URLs from FILE, one a line; empty lines and\n"
    "                        lines that begin with # are skipped; - is\n"
    "                        standard input\n"
    "  -j, --jobs=N          make N requests at a time (default 20)\n"
    "  -n, --times=N         go through the list of URLs N times (default 1)\n"
    "      --timeout=SECONDS give up on a URL after so long (default 60)\n"
    "      --max-bytes=N     refuse larger responses (default 64M); k, M and "
    "G\n"
    "                        after a number mean times 1024, 1024^2, 1024^3\n"
    "      --max-redirects=N follow so many redirects (default 10)\n"
    "      --fresh           obey what servers say of how long a page is "
    "good;\n"
    "                        then there are more kinds of answers:\n"
    "  revalidated  the server was asked, and what was in the cache is good\n"
    "  refreshed    it was in the cache; it is being fetched again meanwhile\n"
    "  stale        it is in the cache still, and fetching it again failed\n"
    "      --json            print the results as JSON\n"
    "      --timeline=FILE   draw who waited for what, as SVG, in FILE\n"
    "      --metrics=FILE    write what the cache counted, as Prometheus reads\n"
    "                        it, to FILE\n"
    "  -q, --quiet           print only the summary; no progress bar\n"
    "      --demo            show what memo is for, on a web server of its "
    "own\n"
    "  -h, --help            print this\n"
    "  -V, --version         print the version\n"
    "\n"
    "Exits with curl's code for the first failure: 0 none, 2 bad usage, 3 bad\n"
    "URL, 6 unknown host, 7 no connection, 22 HTTP status of 400 or more, 23\n"
    "cannot write, 26 cannot read, 27 out of memory, 28 timeout, 47 too many\n"
    "redirects, 63 too large; 130 if it was interrupted.\n";

// What --max-bytes may be: a terabyte is no limit any more.
#define MAX_BYTES_MAX ((uint64_t)1 << 40)

enum {
    OPTION_TIMEOUT = 256,
    OPTION_MAX_BYTES,
    OPTION_MAX_REDIRECTS,
    OPTION_FRESH,
    OPTION_JSON,
    OPTION_TIMELINE,
    OPTION_METRICS,
    OPTION_DEMO,
};

static const char short_options[] = ":i:j:n:qhV";

static const struct option long_options[] = {
    {"input", required_argument, NULL, 'i'},
    {"jobs", required_argument, NULL, 'j'},
    {"times", required_argument, NULL, 'n'},
    {"timeout", required_argument, NULL, OPTION_TIMEOUT},
    {"max-bytes", required_argument, NULL, OPTION_MAX_BYTES},
    {"max-redirects", required_argument, NULL, OPTION_MAX_REDIRECTS},
    {"fresh", no_argument, NULL, OPTION_FRESH},
    {"json", no_argument, NULL, OPTION_JSON},
    {"timeline", required_argument, NULL, OPTION_TIMELINE},
    {"metrics", required_argument, NULL, OPTION_METRICS},
    {"quiet", no_argument, NULL, 'q'},
    {"demo", no_argument, NULL, OPTION_DEMO},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

// ----------------------------------------------------------------- numbers

// Say that text is not what option takes.
static void complain_of_value(const char *option, const char *text,
                              const char *what) {
    char both[200];

    snprintf(both, sizeof both, "%s '%s'", option, text);
    cli_complain_of(both, "not %s", what);
}

// Read a whole number from min to max: digits and, if units are allowed, one
// of k, M, G.  Return 0; or -1, having said what is wrong with the option.
static int parse_number(const char *option, const char *text, uint64_t min,
                        uint64_t max, int has_units, uint64_t *out) {
    static const char units[] = "kMG";
    char *end = NULL;
    const char *unit = NULL;

    // What is too large becomes ULLONG_MAX, which no option takes.
    unsigned long long n = strtoull(text, &end, 10);
    // strtoull() would take a sign or a space before it.
    int ok = text[0] >= '0' && text[0] <= '9';
    if (ok && has_units && *end != '\0') {
        unit = strchr(units, *end);
    }
    if (unit != NULL) {
        int shift = 10 * (int)(unit - units + 1);

        ok = n <= UINT64_MAX >> shift;
        n <<= shift;
        end++;
    }
    if (!ok || *end != '\0' || n < min || n > max) {
        char what[100];

        snprintf(what, sizeof what, "a whole number from %llu to %llu%s",
                 (unsigned long long)min, (unsigned long long)max,
                 has_units ? ", with k, M or G after it if you like" : "");
        complain_of_value(option, text, what);
        return -1;
    }
    *out = n;
    return 0;
}

static int parse_u32(const char *option, const char *text, uint32_t min,
                     uint32_t max, uint32_t *out) {
    uint64_t n = 0;
    int error = parse_number(option, text, min, max, 0, &n);

    *out = (uint32_t)n;
    return error;
}

static int parse_seconds(const char *option, const char *text, int64_t *ns) {
    char *end = NULL;
    double seconds = strtod(text, &end);

    // Digits and a point, and none of strtod()'s other ways to write a number.
    if (text[0] == '\0' || strspn(text, "0123456789.") != strlen(text) ||
        *end != '\0' || !(seconds >= 0.001 && seconds <= 1e6)) {
        complain_of_value(option, text, "seconds from 0.001 to 1000000");
        return -1;
    }
    *ns = (int64_t)(seconds * 1e9);
    return 0;
}

// ----------------------------------------------------------------- options

static int take_redirects(struct cli_options *o, const char *text) {
    uint32_t n = 0;
    int error = parse_u32("--max-redirects", text, 0, 1000, &n);

    o->max_redirects = n == 0 ? -1 : (int32_t)n;
    return error;
}

static int take_option(struct cli_options *o, int option) {
    switch (option) {
        case 'i':
            o->inputs[o->n_inputs++] = optarg;
            return 0;
        case 'j':
            return parse_u32("-j", optarg, 1, 1000, &o->n_jobs);
        case 'n':
            return parse_u32("-n", optarg, 1, CLI_MAX_REQUESTS, &o->n_times);
        case OPTION_TIMEOUT:
            return parse_seconds("--timeout", optarg, &o->timeout_ns);
        case OPTION_MAX_BYTES:
            return parse_number("--max-bytes", optarg, 1, MAX_BYTES_MAX, 1,
                                &o->max_bytes);
        case OPTION_MAX_REDIRECTS:
            return take_redirects(o, optarg);
        case OPTION_TIMELINE:
            o->timeline = optarg;
            return 0;
        case OPTION_METRICS:
            o->metrics = optarg;
            return 0;
        case OPTION_FRESH:
            o->is_fresh = 1;
            return 0;
        case OPTION_JSON:
            o->is_json = 1;
            return 0;
        case OPTION_DEMO:
            o->is_demo = 1;
            return 0;
        case 'q':
            o->is_quiet = 1;
            return 0;
        case 'h':
            o->is_help = 1;
            return 0;
        default:
            o->is_version = 1;
            return 0;
    }
}

// Say what is wrong with what getopt_long() has just refused: option is ':' for
// an argument that is lacking.  Of a long option argument is the whole word.
static void complain_of_option(int option, const char *argument) {
    char short_name[] = {'-', (char)optopt, '\0'};
    // Of a byte that isn't ASCII it is less than 0.
    int is_short = optopt != 0 && optopt < OPTION_TIMEOUT;
    int is_known = optopt >= OPTION_TIMEOUT ||
                   (is_short && optopt != ':' &&
                    strchr(short_options, optopt) != NULL);

    cli_complain_of(is_short ? short_name : argument,
                    "%s; see memofetch --help",
                    option == ':' ? "this option needs an argument"
                    : is_known    ? "this option takes no argument"
                                  : "there is no such option");
}

static int check_demo(const struct cli_options *o) {
    if (o->is_demo &&
        (o->n_urls > 0 || o->n_inputs > 0 || o->n_jobs != 0 ||
         o->n_times != 0 || o->is_json || o->is_fresh || o->is_quiet ||
         o->timeout_ns != 0 || o->max_bytes != 0 || o->max_redirects != 0 ||
         o->metrics != NULL)) {
        cli_complain("--demo goes with no URLs, and no option but --timeline");
        return -1;
    }
    return 0;
}

int cli_options_parse(int argc, char **argv, struct cli_options *options) {
    int option;

    memset(options, 0, sizeof *options);
    options->inputs = calloc((size_t)argc + 1, sizeof *options->inputs);
    if (options->inputs == NULL) {
        cli_complain("out of memory");
        return CLI_OUT_OF_MEMORY;
    }
    opterr = 0;
    while ((option = getopt_long(argc, argv, short_options, long_options,
                                 NULL)) != -1) {
        if (option == '?' || option == ':') {
            complain_of_option(option, argv[optind - 1]);
            return CLI_USAGE;
        }
        if (take_option(options, option) != 0) {
            return CLI_USAGE;
        }
    }
    options->urls = argv + optind;
    options->n_urls = argc - optind;
    return check_demo(options) == 0 ? CLI_OK : CLI_USAGE;
}
