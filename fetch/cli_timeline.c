#include "fetch/cli_timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/cli_summary.h"
#include "fetch/cli_svg.h"
#include "fetch/cli_text.h"

// Measures of the picture, in pixels.
#define WIDTH 1000.0
#define PLOT_X 270.0    // where time begins, right of the names
#define PLOT_WIDTH 700  // and how far it goes
#define TOP 104.0       // of the first lane
#define BOTTOM 20.0
#define PADDING 9.0      // above and below what is in a lane
#define BAR_HEIGHT 12.0  // of a load
#define ROW_HEIGHT 4.0   // of one who waits
#define LANE_MIN 44.0    // leaves room for the two lines of its name
#define TICK_WIDTH 2.0
#define TICK_HEIGHT 16.0  // stands out above and below a bar
#define TICK_EVERY 4      // hits that are closer share one

#define MAX_LANES 100
#define MAX_ROWS 10
#define NAME_MAX 36  // characters

struct picture {
    const struct cli_run *run;
    struct cli_out *out;
    int64_t span_ns;
    // Requests and loads by URL: those of URL u are request[first_request[u]]
    // up to before first_request[u + 1].
    uint32_t *request;
    uint32_t *first_request;
    uint32_t *load;
    uint32_t *first_load;
};

// Sort n things by their URL, which url_of(run, i) is.
static int sort_by_url(const struct cli_run *r, uint32_t n,
                       uint32_t (*url_of)(const struct cli_run *, uint32_t),
                       uint32_t **things, uint32_t **first) {
    uint32_t n_urls = r->urls->n_urls;

    *things = calloc((size_t)n + 1, sizeof **things);
    *first = calloc((size_t)n_urls + 2, sizeof **first);
    if (*things == NULL || *first == NULL) {
        return -1;
    }
    // first[u + 2] counts those of u, then is where those of u + 1 begin; as
    // they are put down, first[u + 1] moves from where those of u begin to
    // where they end.
    uint32_t *place = *first + 1;
    for (uint32_t i = 0; i < n; i++) {
        if (url_of(r, i) + 1 < n_urls) {
            place[url_of(r, i) + 1]++;
        }
    }
    for (uint32_t u = 1; u < n_urls; u++) {
        place[u] += place[u - 1];
    }
    for (uint32_t i = 0; i < n; i++) {
        (*things)[place[url_of(r, i)]++] = i;
    }
    return 0;
}

static uint32_t url_of_request(const struct cli_run *r, uint32_t i) {
    return r->requests[i].url;
}

static uint32_t url_of_load(const struct cli_run *r, uint32_t i) {
    return r->loads[i].url;
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

// -------------------------------------------------------------------- lanes

static double x_of(const struct picture *p, int64_t ns) {
    double x =
        PLOT_WIDTH * (double)(ns - p->run->start_ns) / (double)p->span_ns;

    return PLOT_X + (x < 0 ? 0 : x > PLOT_WIDTH ? PLOT_WIDTH : x);
}

// Say whether the load that q started, or waited for, failed.
static int has_failed(const struct cli_request *q) {
    return q->outcome == CLI_FAILED || q->outcome == CLI_STALE;
}

// Say whether q is the request that started l, which failed: the record has it
// only of requests that got an answer.
static int has_started(const struct cli_request *q, const struct cli_load *l) {
    return l->error != 0 && has_failed(q) && q->start_ns <= l->start_ns &&
           q->end_ns >= l->end_ns;
}

// Say whether q waited for a load that another had started.  Among requests
// that failed the first to come counts as the one who started it.
static int has_waited(const struct picture *p, const struct cli_request *q,
                      uint32_t *n_started) {
    const struct cli_run *r = p->run;

    if (has_failed(q)) {
        for (uint32_t i = p->first_load[q->url] + *n_started;
             i < p->first_load[q->url + 1]; i++) {
            if (has_started(q, &r->loads[p->load[i]])) {
                ++*n_started;
                return 0;
            }
        }
        return 1;
    }
    return q->outcome == CLI_JOINED || q->outcome == CLI_CANCELED;
}

// The rows of those who wait in a lane; each row is used again when the one in
// it has ended.
struct rows {
    int64_t end_ns[MAX_ROWS];
    int n;
    uint32_t n_hidden;  // for whom there was no row
};

// The row for q, or -1 if all are taken.
static int row_for(struct rows *rows, const struct cli_request *q) {
    int i = 0;

    while (i < rows->n && rows->end_ns[i] > q->start_ns) {
        i++;
    }
    if (i == MAX_ROWS) {
        rows->n_hidden++;
        return -1;
    }
    if (i == rows->n) {
        rows->n++;
    }
    rows->end_ns[i] = q->end_ns;
    return i;
}

static void draw_wait(const struct picture *p, const struct cli_request *q,
                      double y) {
    char time[CLI_NUMBER_SIZE];
    double x0 = x_of(p, q->start_ns);
    double x1 = x_of(p, q->end_ns);

    svg_box(p->out, q->outcome == CLI_CANCELED ? "gone" : "wait", x0, y,
            x1 - x0 < 1 ? 1 : x1 - x0, ROW_HEIGHT - 1.5);
    cli_out_printf(p->out, "%s: waited %s", cli_outcome_names[q->outcome],
                   cli_duration(time, q->end_ns - q->start_ns));
    svg_box_end(p->out);
}

// Draw those who wait in the lane of url, whose bar ends at y; or only tell how
// many rows they take, if y is 0.
static struct rows lay_waits(const struct picture *p, uint32_t url, double y) {
    struct rows rows = {{0}, 0, 0};
    uint32_t n_started = 0;

    for (uint32_t i = p->first_request[url]; i < p->first_request[url + 1];
         i++) {
        const struct cli_request *q = &p->run->requests[p->request[i]];

        if (has_waited(p, q, &n_started)) {
            int row = row_for(&rows, q);

            if (y != 0 && row >= 0) {
                draw_wait(p, q, y + 4 + row * ROW_HEIGHT);
            }
        }
    }
    return rows;
}

static void draw_loads(const struct picture *p, uint32_t url, double y) {
    char time[CLI_NUMBER_SIZE];
    char bytes[CLI_NUMBER_SIZE];

    for (uint32_t i = p->first_load[url]; i < p->first_load[url + 1]; i++) {
        const struct cli_load *l = &p->run->loads[p->load[i]];
        double x0 = x_of(p, l->start_ns);
        double x1 = x_of(p, l->end_ns);

        svg_box(p->out, l->error == 0 ? "load" : "fail", x0, y,
                x1 - x0 < 2 ? 2 : x1 - x0, BAR_HEIGHT);
        cli_out_printf(p->out, "%s in %s, %s from the network",
                       l->error != 0      ? "failed"
                       : l->status == 304 ? "revalidated"
                                          : "loaded",
                       cli_duration(time, l->end_ns - l->start_ns),
                       cli_bytes(bytes, l->bytes));
        svg_box_end(p->out);
    }
}

static void draw_tick(const struct picture *p, int slot, uint32_t n, double y) {
    if (n != 0) {
        svg_box(p->out, "hit", PLOT_X + slot * TICK_EVERY,
                y + (BAR_HEIGHT - TICK_HEIGHT) / 2, TICK_WIDTH, TICK_HEIGHT);
        cli_out_printf(p->out, "%u hit%s", n, plural(n));
        svg_box_end(p->out);
    }
}

static void draw_hits(const struct picture *p, uint32_t url, double y) {
    enum { N_SLOTS = PLOT_WIDTH / TICK_EVERY + 1 };
    uint32_t n[N_SLOTS] = {0};

    for (uint32_t i = p->first_request[url]; i < p->first_request[url + 1];
         i++) {
        const struct cli_request *q = &p->run->requests[p->request[i]];

        if (q->outcome == CLI_HIT || q->outcome == CLI_REFRESHED) {
            n[(int)((x_of(p, q->start_ns) - PLOT_X) / TICK_EVERY)]++;
        }
    }
    for (int slot = 0; slot < N_SLOTS; slot++) {
        draw_tick(p, slot, n[slot], y);
    }
}

static void draw_name(const struct picture *p, uint32_t url, double y,
                      const struct rows *rows) {
    struct cli_out *out = p->out;
    uint32_t n[CLI_N_OUTCOMES] = {0};

    for (uint32_t i = p->first_request[url]; i < p->first_request[url + 1];
         i++) {
        n[p->run->requests[p->request[i]].outcome]++;
    }
    svg_text(out, "mono ink", PLOT_X - 14, y + 10, "end");
    svg_put(out, p->run->urls->urls[url].text, NAME_MAX);
    svg_text_end(out);
    svg_text(out, "small dim", PLOT_X - 14, y + 25, "end");
    cli_out_printf(out, "%u load%s", p->run->urls->urls[url].n_loads,
                   plural(p->run->urls->urls[url].n_loads));
    for (int i = CLI_JOINED; i < CLI_N_OUTCOMES; i++) {
        if (n[i] != 0) {
            cli_out_printf(out, " \xc2\xb7 %u %s", n[i], cli_outcome_names[i]);
        }
    }
    if (rows->n_hidden != 0) {
        cli_out_printf(out, " (%u not drawn)", rows->n_hidden);
    }
    svg_text_end(out);
}

static double lane_height(const struct picture *p, uint32_t url) {
    struct rows rows = lay_waits(p, url, 0);
    double height = 2 * PADDING + BAR_HEIGHT + 4 + rows.n * ROW_HEIGHT;

    return height < LANE_MIN ? LANE_MIN : height;
}

static void draw_lane(const struct picture *p, uint32_t url, double y) {
    svg_rule(p->out, 16, WIDTH - 16, y);
    y += PADDING;
    draw_loads(p, url, y);
    struct rows rows = lay_waits(p, url, y + BAR_HEIGHT);
    draw_hits(p, url, y);
    draw_name(p, url, y, &rows);
}

// -------------------------------------------------------------- the frame

static void draw_axis(const struct picture *p, double height) {
    struct svg_axis axis = svg_axis_for(p->span_ns);

    for (int64_t t = 0; t <= p->span_ns; t += axis.step_ns) {
        double x = x_of(p, p->run->start_ns + t);

        svg_line(p->out, x, TOP - 8, height - BOTTOM);
        svg_text(p->out, "small dim", x, TOP - 14, "middle");
        cli_out_printf(p->out, "%lld %s", (long long)(t / axis.unit_ns),
                       axis.unit);
        svg_text_end(p->out);
    }
}

static double draw_key(const struct picture *p, double x, const char *style,
                       double width, double height, const char *text) {
    svg_box(p->out, style, x, 59 - height / 2, width, height);
    svg_box_end(p->out);
    svg_text(p->out, "dim", x + width + 6, 63, "start");
    cli_out_printf(p->out, "%s", text);
    svg_text_end(p->out);
    return x + width + 6 + 6.2 * (double)strlen(text) + 18;
}

static void draw_head(const struct picture *p) {
    struct cli_summary s = cli_summary_of(p->run);
    uint32_t n_urls = p->run->urls->n_urls;
    char time[CLI_NUMBER_SIZE];
    double x = 16;

    svg_text(p->out, "title ink", 16, 32, "start");
    cli_out_printf(p->out, "%u request%s for %u URL%s in %s: %llu load%s",
                   s.n_requests, plural(s.n_requests), n_urls, plural(n_urls),
                   cli_duration(time, p->span_ns),
                   (unsigned long long)s.with_memo.n_loads,
                   plural(s.with_memo.n_loads));
    svg_text_end(p->out);
    x = draw_key(p, x, "load", 26, BAR_HEIGHT, "a load");
    x = draw_key(p, x, "wait", 26, ROW_HEIGHT - 1.5, "joined: waits for it");
    x = draw_key(p, x, "hit", TICK_WIDTH, TICK_HEIGHT, "a hit");
    if (s.n[CLI_FAILED] != 0) {
        x = draw_key(p, x, "fail", 26, BAR_HEIGHT, "a load that failed");
    }
    if (s.n[CLI_CANCELED] != 0) {
        draw_key(p, x, "gone", 26, ROW_HEIGHT - 1.5, "canceled");
    }
}

static void draw(const struct picture *p) {
    uint32_t n_urls = p->run->urls->n_urls;
    uint32_t n_lanes = n_urls < MAX_LANES ? n_urls : MAX_LANES;
    double height = TOP + BOTTOM + (n_lanes < n_urls ? 24 : 0);
    double y = TOP;

    for (uint32_t url = 0; url < n_lanes; url++) {
        height += lane_height(p, url);
    }
    svg_begin(p->out, WIDTH, height, "memofetch: who waited for what");
    draw_head(p);
    draw_axis(p, height);
    for (uint32_t url = 0; url < n_lanes; url++) {
        draw_lane(p, url, y);
        y += lane_height(p, url);
    }
    svg_rule(p->out, 16, WIDTH - 16, y);
    if (n_lanes < n_urls) {
        svg_text(p->out, "dim", PLOT_X - 14, y + 20, "end");
        cli_out_printf(p->out, "and %u more URLs", n_urls - n_lanes);
        svg_text_end(p->out);
    }
    svg_end(p->out);
}

void cli_timeline_print(const struct cli_run *r, struct cli_out *out) {
    struct picture p = {.run = r, .out = out};

    p.span_ns = r->end_ns > r->start_ns ? r->end_ns - r->start_ns : 1;
    if (sort_by_url(r, r->n_requests, url_of_request, &p.request,
                    &p.first_request) != 0 ||
        sort_by_url(r, r->n_loads, url_of_load, &p.load, &p.first_load) != 0) {
        out->error = ENOMEM;  // told when it is closed
    } else {
        draw(&p);
    }
    free(p.request);
    free(p.first_request);
    free(p.load);
    free(p.first_load);
}
