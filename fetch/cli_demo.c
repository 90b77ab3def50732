#include "fetch/cli_demo.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/cli_naive.h"
#include "fetch/cli_run.h"
#include "fetch/cli_terminal.h"
#include "fetch/cli_text.h"
#include "fetch/cli_timeline.h"
#include "fetch/origin.h"

// What is asked for: each page so often, so many requests at a time.  As in the
// book, where it is four sites, twice.
#define N_TIMES 10
#define N_JOBS 30

static const char *const pages[] = {
    "/slow/100/24000/index", "/slow/60/8000/news",  "/slow/160/48000/play",
    "/slow/80/12000/about",  "/slow/120/30000/doc", "/slow/140/18000/book",
};
#define N_PAGES (sizeof pages / sizeof pages[0])
#define N_REQUESTS (N_PAGES * N_TIMES)

// The page of which the picture is made, and of how many requests for it.
#define PICTURED 2
#define N_PICTURED 5

// What can go wrong, and what is only long.
static const char *const troubles[] = {
    "/redirect/3", "/loop",   "/status/404",   "/status/500",
    "/drop/50000", "/silent", "/page/2000000", "/page/9000000",
};
#define N_TROUBLES (sizeof troubles / sizeof troubles[0])
#define TROUBLE_MAX_BYTES 4000000

// One of the three ways to make the requests, and what came of it.
struct way {
    const char *name;
    int64_t elapsed_ns;
    uint64_t n_origin_requests;
    uint64_t n_origin_bytes;
    struct cli_request requests[N_REQUESTS];
};

struct demo {
    struct cli_out *out;
    struct cli_out *timeline;
    struct origin *origin;
    struct cli_urls urls;
    const char *bold, *dim, *plain;  // control sequences, or ""
    struct way ways[3];
};

// --------------------------------------------------------------- the runs

static int add_urls(struct demo *d, const char *const paths[], size_t n) {
    char url[200];

    cli_urls_free(&d->urls);
    for (size_t i = 0; i < n; i++) {
        snprintf(url, sizeof url, "%s%s", origin_base(d->origin), paths[i]);
        if (cli_urls_add(&d->urls, url) != 0) {
            cli_complain("out of memory");
            return CLI_OUT_OF_MEMORY;
        }
    }
    return 0;
}

static int run_with_memo(struct demo *d, struct way *way) {
    struct cli_options options = {
        .n_jobs = N_JOBS, .n_times = N_TIMES, .is_quiet = 1};
    struct cli_run r;
    int error = cli_run(&r, &options, &d->urls, d->out, "");

    if (error == 0) {
        memcpy(way->requests, r.requests, sizeof way->requests);
        if (d->timeline->file != NULL) {
            cli_timeline_print(&r, d->timeline);
        }
        error = r.signal != 0 ? CLI_SIGNAL + r.signal : cli_run_exit_code(&r);
    }
    cli_run_free(&r);
    return error;
}

// How long it took from the first request to the last answer.
static int64_t elapsed(const struct way *way) {
    int64_t start_ns = INT64_MAX;
    int64_t end_ns = 0;

    for (size_t i = 0; i < N_REQUESTS; i++) {
        const struct cli_request *q = &way->requests[i];

        start_ns = q->start_ns < start_ns ? q->start_ns : start_ns;
        end_ns = q->end_ns > end_ns ? q->end_ns : end_ns;
    }
    return end_ns - start_ns;
}

// Go one of the ways; n_jobs is 0 for memo's.
static int go(struct demo *d, struct way *way, const char *name,
              uint32_t n_jobs) {
    uint64_t n_requests = origin_requests(d->origin, NULL);
    uint64_t n_bytes = origin_bytes(d->origin);

    way->name = name;
    int error = n_jobs == 0 ? run_with_memo(d, way)
                            : cli_naive_run(&d->urls, N_REQUESTS, n_jobs,
                                            way->requests);
    way->n_origin_requests = origin_requests(d->origin, NULL) - n_requests;
    way->n_origin_bytes = origin_bytes(d->origin) - n_bytes;
    way->elapsed_ns = elapsed(way);
    return error;
}

// ------------------------------------------------------------------ telling

static void tell_way(const struct demo *d, int i) {
    const struct way *way = &d->ways[i];
    char time[CLI_NUMBER_SIZE];
    char bytes[CLI_NUMBER_SIZE];

    cli_out_printf(d->out, "  %s%d  %-36s%10s%14llu%12s%s\n",
                   i == 2 ? d->bold : "", i + 1, way->name,
                   cli_duration(time, way->elapsed_ns),
                   (unsigned long long)way->n_origin_requests,
                   cli_bytes(bytes, way->n_origin_bytes), d->plain);
    cli_out_flush(d->out);
}

// The bar of q: its part of the span in n columns, then what became of it.
static void draw_bar_of(const struct demo *d, const struct cli_request *q,
                        int64_t start_ns, int64_t span_ns, int n) {
    const int is_utf8 = cli_is_utf8();
    const int is_load = q->outcome == CLI_LOADED;
    const char *piece = is_utf8 ? (is_load ? "━" : "┄")  //
                                : (is_load ? "=" : ".");
    int begin = (int)((q->start_ns - start_ns) * n / span_ns);
    int end = (int)((q->end_ns - start_ns) * n / span_ns);

    for (int i = 0; i < n; i++) {
        if (i == begin) {
            cli_out_printf(d->out, "%s", is_load ? d->bold : d->dim);
        }
        cli_out_printf(d->out, "%s", i < begin || i >= end ? " " : piece);
    }
    cli_out_printf(d->out, "%s %s", d->plain, cli_outcome_names[q->outcome]);
}

// The k-th request for the pictured page.
static const struct cli_request *pictured(const struct way *way, int k) {
    return &way->requests[PICTURED + (size_t)k * N_PAGES];
}

static void draw_picture(const struct demo *d) {
    const struct way *plain = &d->ways[1];
    const struct way *memo = &d->ways[2];
    int64_t span_ns = 1;

    for (int k = 0; k < N_PICTURED; k++) {
        int64_t a = pictured(plain, k)->end_ns - pictured(plain, 0)->start_ns;
        int64_t b = pictured(memo, k)->end_ns - pictured(memo, 0)->start_ns;

        span_ns = a > span_ns ? a : span_ns;
        span_ns = b > span_ns ? b : span_ns;
    }
    cli_out_printf(d->out,
                   "\nThe first %d requests for /play, from left to "
                   "right in time:\n\n",
                   N_PICTURED);
    cli_out_printf(d->out, "  %s%-38s%s%s\n", d->dim, "2  the cache", "3  memo",
                   d->plain);
    for (int k = 0; k < N_PICTURED; k++) {
        cli_out_printf(d->out, "  ");
        draw_bar_of(d, pictured(plain, k), pictured(plain, 0)->start_ns,
                    span_ns, 26);
        cli_out_printf(d->out, "     ");
        draw_bar_of(d, pictured(memo, k), pictured(memo, 0)->start_ns, span_ns,
                    26);
        cli_out_printf(d->out, "\n");
    }
}

static void tell_outcomes(const struct demo *d) {
    uint32_t n[CLI_N_OUTCOMES] = {0};

    for (size_t i = 0; i < N_REQUESTS; i++) {
        n[d->ways[2].requests[i].outcome]++;
    }
    cli_out_printf(
        d->out,
        "\nOf memo's %zu requests %u loaded a page, %u joined a load "
        "in progress,\nand %u were hits, answered from memory.\n",
        N_REQUESTS, n[CLI_LOADED], n[CLI_JOINED], n[CLI_HIT]);
}

// --------------------------------------------------------------- the story

static int tell_experiment(struct demo *d) {
    cli_out_printf(d->out,
                   "%smemo is a cache that loads each thing once, however many "
                   "ask for it.%s\n\n"
                   "Here is a web server on 127.0.0.1 with %zu pages, which "
                   "take it 60 to 160 ms.\nEach is asked for %d times:\n\n"
                   "  %s%-39s%10s%14s%12s%s\n",
                   d->bold, d->plain, N_PAGES, N_TIMES, d->dim, "", "time",
                   "page requests", "bytes", d->plain);
    int error = add_urls(d, pages, N_PAGES);
    if (error == 0) {
        error = go(d, &d->ways[0], "one after another, with a cache", 1);
    }
    if (error == 0) {
        tell_way(d, 0);
        error = go(d, &d->ways[1], "30 at a time, with the same cache", N_JOBS);
    }
    if (error == 0) {
        tell_way(d, 1);
        error = go(d, &d->ways[2], "30 at a time, with memo", 0);
    }
    if (error == 0) {
        tell_way(d, 2);
        cli_out_printf(
            d->out,
            "\n1 is slow: each request waits for the one before.  2 is faster, "
            "but whoever asks\nbefore the first answer has come loads the page "
            "again.  3 is fastest, and loads\neach page once: the others wait "
            "for that load, and share its answer.\n");
        draw_picture(d);
        tell_outcomes(d);
    }
    return error;
}

static void tell_trouble(const struct demo *d, const struct cli_run *r,
                         const struct cli_request *q) {
    const char *url = r->urls->urls[q->url].text;
    const char *path = url + strlen(origin_base(d->origin));
    char bytes[CLI_NUMBER_SIZE];

    cli_out_printf(d->out, "  %-18s", path);
    if (q->outcome == CLI_FAILED) {
        cli_out_printf(d->out, "(%d) %s\n", cli_exit_code(q->error),
                       cli_run_error_text(r, q));
    } else {
        cli_out_printf(d->out, "%s\n", cli_bytes(bytes, q->bytes));
    }
}

static int tell_troubles(struct demo *d) {
    struct cli_options options = {
        .max_bytes = TROUBLE_MAX_BYTES, .is_quiet = 1, .is_tacit = 1};
    struct cli_run r;
    int error = add_urls(d, troubles, N_TROUBLES);

    if (error != 0) {
        return error;
    }
    cli_out_printf(d->out,
                   "\nErrors go to all who wait, and are not kept.  The limit "
                   "here is %d bytes:\n\n",
                   TROUBLE_MAX_BYTES);
    error = cli_run(&r, &options, &d->urls, d->out, "");
    if (error == 0) {
        for (uint32_t i = 0; i < r.n_requests; i++) {
            tell_trouble(d, &r, &r.requests[i]);
        }
        error = r.signal != 0 ? CLI_SIGNAL + r.signal : 0;
    }
    cli_run_free(&r);
    return error;
}

static void tell_where_next(const struct demo *d) {
    cli_out_printf(d->out,
                   "\nNext: memofetch --help; memofetch -n 3 URL...; the "
                   "library is memo/memo.h.\n");
    if (d->timeline->file != NULL) {
        cli_out_printf(d->out, "The picture of run 3 is in ");
        cli_out_clean(d->out, d->timeline->name, 1000);
        cli_out_printf(d->out, ".\n");
    }
}

int cli_demo(struct cli_out *out, struct cli_out *timeline) {
    struct demo *d = calloc(1, sizeof *d);
    int has_colours = cli_has_colours(out->file);

    if (d == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        cli_complain("out of memory");
        free(d);
        return CLI_OUT_OF_MEMORY;
    }
    d->out = out;
    d->timeline = timeline;
    d->bold = has_colours ? "\033[1m" : "";
    d->dim = has_colours ? "\033[2m" : "";
    d->plain = has_colours ? "\033[0m" : "";
    d->origin = origin_new();
    int error = CLI_CANNOT_CONNECT;
    if (d->origin == NULL) {
        cli_complain("cannot listen on 127.0.0.1");
    } else {
        error = tell_experiment(d);
    }
    if (error == 0) {
        error = tell_troubles(d);
    }
    if (error == 0) {
        error = cli_demo_fresh(out, d->origin, d->bold, d->dim, d->plain);
    }
    if (error == 0) {
        tell_where_next(d);
    }
    cli_urls_free(&d->urls);
    origin_free(d->origin);
    free(d);
    return error;
}
