#include <string.h>

#include "fetch/cli_demo.h"
#include "fetch/cli_text.h"
#include "fetch/fetch.h"
#include "fetch/origin.h"

// Good for no time at all; but for a minute it may stand in for errors.
#define PAGE "/flaky/24000/prices"
#define N_AGAIN 9

struct scene {
    struct cli_out *out;
    struct origin *origin;
    struct fetch *fetch;
    const char *bold, *dim, *plain;
    uint64_t n_requests;
    uint64_t n_bytes;
    // Written by the fetch's thread, before the call that waits for it returns.
    struct fetch_load last;
};

// CALLBACK: of the fetch, at the end of each load.
static void note_load(void *arg, const struct fetch_load *load) {
    struct scene *s = arg;

    s->last = *load;
}

// Get the page n times.  Return the bytes that came from the server, and in
// *from where the last answer came from.
static uint64_t get(struct scene *s, int n, uint32_t *from) {
    uint64_t n_bytes = 0;
    char url[100];

    snprintf(url, sizeof url, "%s" PAGE, origin_base(s->origin));
    for (int i = 0; i < n; i++) {
        struct memo_value v;

        (void)fetch_get(s->fetch, url, &v);
        *from = v.from;
        memo_release(&v);
        n_bytes += s->last.body_bytes + s->last.header_bytes;
    }
    s->n_requests += (uint64_t)n;
    s->n_bytes += n_bytes;
    return n_bytes;
}

static void tell(struct scene *s, const char *when, int n) {
    uint32_t from = MEMO_NOWHERE;
    char bytes[CLI_NUMBER_SIZE];
    uint64_t n_bytes = get(s, n, &from);

    cli_out_printf(s->out, "  %-30s%8d%12s    %s\n", when, s->last.status,
                   cli_bytes(bytes, n_bytes),
                   from == MEMO_STALE     ? "the same, stale"
                   : s->last.not_modified ? "the same, revalidated"
                   : from == MEMO_LOADED  ? "the page, loaded"
                                          : "none");
    cli_out_flush(s->out);
}

static void tell_all(struct scene *s) {
    uint64_t full;
    char with[CLI_NUMBER_SIZE];
    char without[CLI_NUMBER_SIZE];

    cli_out_printf(s->out,
                   "\nPages change.  Told to obey servers, memo asks for each "
                   "again when its time is\nover, with the old one in hand.  "
                   "This page is good for no time at all:\n\n"
                   "  %s%-30s%8s%12s    %s%s\n",
                   s->dim, "", "status", "bytes", "answer", s->plain);
    tell(s, "the first request", 1);
    full = s->n_bytes;
    tell(s, "9 more", N_AGAIN);
    origin_change(s->origin, PAGE);
    tell(s, "the page has changed", 1);
    origin_fail(s->origin, PAGE, 503);
    tell(s, "the server is out of order", 1);
    origin_fail(s->origin, PAGE, 0);
    tell(s, "it is back", 1);
    cli_out_printf(s->out,
                   "\n%s%llu requests took %s, not %s.%s  Nobody got an error, "
                   "nor a page that had\nchanged since.\n",
                   s->bold, (unsigned long long)s->n_requests,
                   cli_bytes(with, s->n_bytes),
                   cli_bytes(without, full * s->n_requests), s->plain);
}

int cli_demo_fresh(struct cli_out *out, struct origin *origin, const char *bold,
                   const char *dim, const char *plain) {
    struct scene s = {
        .out = out, .origin = origin, .bold = bold, .dim = dim, .plain = plain};
    struct fetch_options options = {
        .size = sizeof options,
        .flags = FETCH_FRESHNESS,
        .proxy = "",
        .ended = note_load,
        .ended_arg = &s,
    };

    if (fetch_new(&options, &s.fetch) != 0) {
        cli_complain("out of memory");
        return CLI_OUT_OF_MEMORY;
    }
    tell_all(&s);
    fetch_free(s.fetch);
    return 0;
}
