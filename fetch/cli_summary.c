#include "fetch/cli_summary.h"

#include "fetch/cli_terminal.h"
#include "fetch/cli_text.h"

static void add_request(struct cli_summary *s, const struct cli_run *r,
                        const struct cli_request *q) {
    const struct cli_url *url = &r->urls->urls[q->url];

    s->n[q->outcome]++;
    if (q->outcome == CLI_NOT_MADE || q->outcome == CLI_CANCELED) {
        return;
    }
    s->n_requests++;
    s->with_memo.wait_ns += q->end_ns - q->start_ns;
    s->without.n_loads++;
    if (url->n_loads != 0) {
        s->without.wait_ns += url->load_ns / url->n_loads;
        s->without.bytes += url->load_bytes / url->n_loads;
    }
}

struct cli_summary cli_summary_of(const struct cli_run *r) {
    struct cli_summary s = {.elapsed_ns = r->end_ns - r->start_ns};

    for (uint32_t i = 0; i < r->n_requests; i++) {
        add_request(&s, r, &r->requests[i]);
    }
    for (uint32_t i = 0; i < r->n_loads; i++) {
        s.with_memo.n_loads++;
        s.with_memo.bytes += r->loads[i].bytes;
    }
    return s;
}

static void print_row(struct cli_out *out, const char *name, const char *with,
                      const char *without, double saved) {
    cli_out_printf(out, "%-24s%12s%12s", name, with, without);
    if (saved >= 1.05) {
        const char *bold = cli_has_colours(out->file) ? "\033[1m" : "";

        cli_out_printf(out, "  %s%7.1fx%s", bold, saved,
                       bold[0] != '\0' ? "\033[0m" : "");
    }
    cli_out_printf(out, "\n");
}

static double ratio(double without, double with) {
    return with > 0 ? without / with : 0;
}

static void print_savings(struct cli_out *out, const struct cli_summary *s) {
    const struct cli_cost *with = &s->with_memo;
    const struct cli_cost *without = &s->without;
    char a[CLI_NUMBER_SIZE];
    char b[CLI_NUMBER_SIZE];

    cli_out_printf(out, "%-24s%12s%12s%10s\n", "", "with memo", "without",
                   "saved");
    snprintf(a, sizeof a, "%llu", (unsigned long long)with->n_loads);
    snprintf(b, sizeof b, "%llu", (unsigned long long)without->n_loads);
    print_row(out, "loads", a, b,
              ratio((double)without->n_loads, (double)with->n_loads));
    print_row(out, "bytes from the network", cli_bytes(a, with->bytes),
              cli_bytes(b, without->bytes),
              ratio((double)without->bytes, (double)with->bytes));
    print_row(out, "time all requests waited", cli_duration(a, with->wait_ns),
              cli_duration(b, without->wait_ns),
              ratio((double)without->wait_ns, (double)with->wait_ns));
}

void cli_summary_print(const struct cli_run *r) {
    struct cli_summary s = cli_summary_of(r);
    struct cli_out *out = r->out;
    char time[CLI_NUMBER_SIZE];

    cli_out_printf(out,
                   "%s%u request%s in %s: %u loaded, %u joined, %u hit, %u "
                   "failed\n",
                   r->has_lines ? "\n" : "", s.n_requests,
                   s.n_requests == 1 ? "" : "s",
                   cli_duration(time, s.elapsed_ns), s.n[CLI_LOADED],
                   s.n[CLI_JOINED], s.n[CLI_HIT], s.n[CLI_FAILED]);
    if (r->is_fresh) {
        cli_out_printf(out,
                       "Of what was in the cache: %u revalidated, %u "
                       "refreshed, %u stale\n",
                       s.n[CLI_REVALIDATED], s.n[CLI_REFRESHED],
                       s.n[CLI_STALE]);
    }
    if (s.n[CLI_CANCELED] + s.n[CLI_NOT_MADE] != 0) {
        cli_out_printf(out, "Broken off: %u canceled, %u not made\n",
                       s.n[CLI_CANCELED], s.n[CLI_NOT_MADE]);
    }
    print_savings(out, &s);
}
