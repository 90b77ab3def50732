// The run as one JSON document:
//
//     {"requests": [{"url": "...", "outcome": "loaded", "start_ms": 0.1, ...}],
//      "loads": [...], "summary": {...}}
//
// Times are milliseconds; they begin with the run.
#include <inttypes.h>

#include "fetch/cli_summary.h"
#include "fetch/cli_text.h"

// Print text as a JSON string.  JSON is UTF-8: what isn't becomes U+FFFD.
static void put_string(struct cli_out *out, const char *text) {
    cli_out_printf(out, "\"");
    while (*text != '\0') {
        const char *begin = text;
        int32_t c = cli_next_char(&text);

        if (c < 0) {
            cli_out_printf(out, "\\ufffd");
        } else if (c < 0x20 || c == 0x7f) {
            cli_out_printf(out, "\\u%04x", (unsigned)c);
        } else {
            cli_out_printf(out, "%s%.*s", c == '"' || c == '\\' ? "\\" : "",
                           (int)(text - begin), begin);
        }
    }
    cli_out_printf(out, "\"");
}

static double ms(int64_t ns) {
    return (double)ns / 1e6;
}

static void put_request(const struct cli_run *r, const struct cli_request *q) {
    struct cli_out *out = r->out;

    cli_out_printf(out, "    {\"url\": ");
    put_string(out, r->urls->urls[q->url].text);
    cli_out_printf(out, ", \"outcome\": \"%s\"", cli_outcome_names[q->outcome]);
    if (q->outcome != CLI_NOT_MADE) {
        cli_out_printf(out, ", \"start_ms\": %.6f, \"ms\": %.6f",
                       ms(q->start_ns - r->start_ns),
                       ms(q->end_ns - q->start_ns));
    }
    if (q->outcome == CLI_FAILED) {
        cli_out_printf(
            out, ", \"exit_code\": %d, \"error\": ", cli_exit_code(q->error));
        put_string(out, cli_run_error_text(r, q));
    } else if (q->error == 0 && q->outcome != CLI_NOT_MADE) {
        cli_out_printf(out, ", \"status\": %d, \"bytes\": %" PRIu64, q->status,
                       q->bytes);
    }
    cli_out_printf(out, "}");
}

static void put_load(const struct cli_run *r, const struct cli_load *l) {
    struct cli_out *out = r->out;

    cli_out_printf(out, "    {\"url\": ");
    put_string(out, r->urls->urls[l->url].text);
    cli_out_printf(out,
                   ", \"start_ms\": %.6f, \"ms\": %.6f, \"bytes\": %" PRIu64
                   ", \"status\": %d, \"exit_code\": %d}",
                   ms(l->start_ns - r->start_ns), ms(l->end_ns - l->start_ns),
                   l->bytes, l->status, cli_exit_code(l->error));
}

static void put_cost(struct cli_out *out, const char *name,
                     const struct cli_cost *cost) {
    cli_out_printf(out,
                   ",\n    \"%s\": {\"loads\": %" PRIu64 ", \"bytes\": %" PRIu64
                   ", \"wait_ms\": %.6f}",
                   name, cost->n_loads, cost->bytes, ms(cost->wait_ns));
}

static void put_summary(const struct cli_run *r) {
    struct cli_summary s = cli_summary_of(r);

    cli_out_printf(r->out,
                   "  \"summary\": {\n    \"requests\": %u, \"loaded\": %u, "
                   "\"joined\": %u, \"hit\": %u, \"failed\": %u,\n"
                   "    \"revalidated\": %u, \"refreshed\": %u, "
                   "\"stale\": %u,\n"
                   "    \"canceled\": %u, \"not_made\": %u, "
                   "\"elapsed_ms\": %.6f",
                   s.n_requests, s.n[CLI_LOADED], s.n[CLI_JOINED], s.n[CLI_HIT],
                   s.n[CLI_FAILED], s.n[CLI_REVALIDATED], s.n[CLI_REFRESHED],
                   s.n[CLI_STALE], s.n[CLI_CANCELED], s.n[CLI_NOT_MADE],
                   ms(s.elapsed_ns));
    put_cost(r->out, "with_memo", &s.with_memo);
    put_cost(r->out, "without", &s.without);
    cli_out_printf(r->out, "\n  }\n");
}

void cli_json_print(const struct cli_run *r) {
    struct cli_out *out = r->out;

    cli_out_printf(out, "{\n  \"requests\": [");
    for (uint32_t i = 0; i < r->n_requests; i++) {
        cli_out_printf(out, i == 0 ? "\n" : ",\n");
        put_request(r, &r->requests[i]);
    }
    cli_out_printf(out, "\n  ],\n  \"loads\": [");
    for (uint32_t i = 0; i < r->n_loads; i++) {
        cli_out_printf(out, i == 0 ? "\n" : ",\n");
        put_load(r, &r->loads[i]);
    }
    cli_out_printf(out, "\n  ],\n");
    put_summary(r);
    cli_out_printf(out, "}\n");
}
