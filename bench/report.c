// Makes charts and a page of results.
//
//     report RESULTS FOLDER
//
// RESULTS is what the benchmarks write with --json, an object a line.  Into
// FOLDER go hit.svg, hit-url.svg, stampede.svg, growth.svg and memory.svg, and
// report.html, which has them all and the numbers, and needs no other file.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/chart.h"

#define MOST_LINES 4000

static char *lines[MOST_LINES];
static int n_lines;

static const char *const kinds[] = {"k16", "url"};
static const char *const patterns[] = {"uniform", "zipf", "hot"};

// How systems are called, and where their waiters wait.
static const struct {
    const char *system, *label, *waiter;
} names[] = {
    {"memo", "memo", "threads"},
    {"memo-async", "memo", "callbacks"},
    {"floor", "bare probe", ""},
    {"condition", "mutex + condition", "threads"},
    {"lfht", "liburcu lfht", ""},
    {"ck_ht", "ck_ht", ""},
    {"tbb", "TBB hash map", ""},
    {"libcuckoo", "libcuckoo", ""},
    {"glib", "GLib + mutex", ""},
    {"otter", "otter v2", "goroutines"},
    {"singleflight", "map + singleflight", "goroutines"},
    {"syncmap", "sync.Map", ""},
    {"memo4", "GOPL memo4", "goroutines"},
    {"memo5", "GOPL memo5", "goroutines"},
    {"moka", "moka", "threads"},
    {"quick_cache", "quick_cache", "threads"},
    {"caffeine", "Caffeine", "threads"},
    {"chm", "ConcurrentHashMap", "threads"},
};

#define N_NAMES ((int)(sizeof(names) / sizeof(*names)))

// ------------------------------------------------------------------ results

static void read_lines(const char *path) {
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;

    if (f == NULL) {
        perror(path);
        exit(1);
    }
    while (getline(&line, &size, f) > 0 && n_lines < MOST_LINES) {
        line[strcspn(line, "\n")] = '\0';
        lines[n_lines++] = line;
        line = NULL;
    }
    free(line);
    fclose(f);
}

// The place after "name": in line, or NULL.
static const char *find(const char *line, const char *name) {
    char quoted[64];
    const char *p;

    snprintf(quoted, sizeof(quoted), "\"%s\":", name);
    p = strstr(line, quoted);
    return p == NULL ? NULL : p + strlen(quoted);
}

static double number_of(const char *line, const char *name) {
    const char *p = find(line, name);

    return p == NULL ? NAN : strtod(p, NULL);
}

// Of the few strings in use at a time each has a place of its own.
static const char *string_of(const char *line, const char *name) {
    static char text[8][256];
    static int turn;
    const char *p = find(line, name);
    char *out = text[turn++ % 8];

    if (p == NULL || *p != '"') {
        return "";
    }
    snprintf(out, sizeof(text[0]), "%.*s", (int)strcspn(p + 1, "\""), p + 1);
    return out;
}

static int is(const char *line, const char *name, const char *value) {
    return strcmp(string_of(line, name), value) == 0;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

// The median of name over all lines of one bench and system, and the range.
static struct chart_mark gather(const char *bench, const char *system,
                                const char *op, const char *name,
                                double scale) {
    static double values[MOST_LINES];
    struct chart_mark m = {0};
    int n = 0, i;

    for (i = 0; i < n_lines; i++) {
        if (is(lines[i], "bench", bench) && is(lines[i], "system", system) &&
            is(lines[i], "op", op)) {
            values[n++] = number_of(lines[i], name) * scale;
        }
    }
    if (n != 0) {
        qsort(values, (size_t)n, sizeof(*values), by_value);
        m.value = values[n / 2];
        m.low = values[0];
        m.high = values[n - 1];
    }
    return m;
}

// The last line of a configuration: a later run replaces an earlier one.
static const char *hit_line(const char *kind, const char *pattern, int threads,
                            const char *system) {
    int i;

    for (i = n_lines - 1; i >= 0; i--) {
        if (is(lines[i], "bench", "hit") && is(lines[i], "keys", kind) &&
            is(lines[i], "pattern", pattern) &&
            is(lines[i], "system", system) &&
            number_of(lines[i], "threads") == threads) {
            return lines[i];
        }
    }
    return NULL;
}

static const char *first_line(const char *bench, const char *system) {
    int i;

    for (i = 0; i < n_lines; i++) {
        if (is(lines[i], "bench", bench) && is(lines[i], "system", system)) {
            return lines[i];
        }
    }
    return NULL;
}

// ------------------------------------------------------------------- charts

// As 1,048,576.
static const char *with_commas(double x) {
    static char text[4][32];
    static int turn;
    char digits[24], *out = text[turn++ % 4], *p = out;
    int n = snprintf(digits, sizeof(digits), "%.0f", x), i;

    for (i = 0; i < n; i++) {
        if (i != 0 && (n - i) % 3 == 0) {
            *p++ = ',';
        }
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

// Whether every stampede ran one load.
static int all_loaded_once(void) {
    int i;

    for (i = 0; i < n_lines; i++) {
        if (is(lines[i], "bench", "stampede") &&
            number_of(lines[i], "loads") != 1) {
            return 0;
        }
    }
    return 1;
}

static struct chart hit_chart(int kind) {
    static char subtitles[2][200];
    char *subtitle = subtitles[kind];
    struct chart c = {
        .panel = {"one thread", "two threads"},
        .unit = {CHART_TIMES, CHART_TIMES},
        .line = {1, 1},
        .series = {"uniform", "zipf 0.99", "one hot key"},
        .n_series = 3,
    };
    const char *machine = first_line("machine", "");
    int i, p, threads;

    snprintf(subtitle, sizeof(subtitles[0]),
             "%s keys, %s of them resident, values of 64 bytes. "
             "Less is better; left of 1\xc3\x97 is faster than memo.",
             kind == 0 ? "16-byte" : "URL",
             with_commas(machine == NULL ? 0 : number_of(machine, "n_keys")));
    c.title = "Time of a hit, as a multiple of memo's";
    c.subtitle = subtitle;
    c.footer =
        "Logarithmic scale. Marks are medians over rounds in which all "
        "took turns, lines their quartiles.";
    for (i = 0; i < N_NAMES; i++) {
        double rank = 0;
        struct chart_row *r = NULL;
        int n = 0;
        for (p = 0; p < 3; p++) {
            for (threads = 1; threads <= 2; threads++) {
                const char *line = hit_line(kinds[kind], patterns[p], threads,
                                            names[i].system);
                if (line == NULL) {
                    continue;
                }
                r = chart_row(&c, names[i].label, string_of(line, "language"));
                r->mark[threads - 1][p] = (struct chart_mark){
                    number_of(line, "ratio"), number_of(line, "ratio_q1"),
                    number_of(line, "ratio_q3")};
                rank += log(number_of(line, "ratio"));
                n++;
            }
        }
        if (r != NULL) {
            r->rank = rank / n;
            r->ours = i == 0;
        }
    }
    return c;
}

static struct chart stampede_chart(void) {
    static char title[120];
    struct chart c = {
        .title = title,
        .subtitle = all_loaded_once()
                        ? "One load of 50 ms; it ran once in every system. "
                          "Less is better."
                        : "One load of 50 ms, in some systems more: see the "
                          "numbers. Less is better.",
        .footer =
            "Logarithmic scales. Medians of several runs, and all that "
            "was seen. Memory includes the thread or goroutine that "
            "waits.",
        .panel = {"from the load's end to the last one awake",
                  "memory of one who waits"},
        .unit = {CHART_NS, CHART_BYTES},
        .n_series = 1,
    };
    int i;

    snprintf(title, sizeof(title), "Many ask at once for one missing key");
    for (i = 0; i < N_NAMES; i++) {
        const char *line = first_line("stampede", names[i].system);
        struct chart_row *r;
        if (line == NULL) {
            continue;
        }
        snprintf(title, sizeof(title), "%s ask at once for one missing key",
                 with_commas(number_of(line, "waiters")));
        r = chart_row(&c, names[i].label, names[i].waiter);
        r->ours = i < 2;
        r->mark[0][0] =
            gather("stampede", names[i].system, "", "last_us", 1000);
        r->mark[1][0] =
            gather("stampede", names[i].system, "", "bytes_per_waiter", 1);
        r->rank = r->mark[0][0].value;
    }
    return c;
}

static struct chart growth_chart(void) {
    static const char *const fields[] = {"p50_ns", "p99_ns", "p999_ns",
                                         "p9999_ns", "slowest_us"};
    static const char *const ops[] = {"insert", "hit"};
    static char title[120];
    struct chart c = {
        .title = title,
        .subtitle =
            "CPU time of every single operation, the clock's own half "
            "a microsecond included. Less is better.",
        .footer =
            "Logarithmic scale. Where there were several runs, an "
            "operation counts with its least time: what the table does "
            "in every run.",
        .panel = {"insert", "hit, between inserts"},
        .unit = {CHART_NS, CHART_NS},
        .series = {"median", "99 %", "99.9 %", "99.99 %", "slowest of all"},
        .n_series = 5,
    };
    int i, k, s;

    snprintf(title, sizeof(title), "No pause while a table grows");
    for (i = 0; i < N_NAMES; i++) {
        const char *line = first_line("growth", names[i].system);
        struct chart_row *r;
        if (line == NULL) {
            continue;
        }
        snprintf(title, sizeof(title), "Growing from %s to %s entries",
                 with_commas(number_of(line, "keys") / 16),
                 with_commas(number_of(line, "keys")));
        r = chart_row(&c, names[i].label, "");
        r->ours = i == 0;
        for (k = 0; k < 2; k++) {
            for (s = 0; s < 5; s++) {
                r->mark[k][s] = gather("growth", names[i].system, ops[k],
                                       fields[s], s == 4 ? 1000 : 1);
            }
        }
        r->rank = r->mark[0][4].value;
    }
    return c;
}

// How a system is called in charts; else as it calls itself.
static const char *label_of(const char *system) {
    int i;

    for (i = 0; i < N_NAMES; i++) {
        if (strcmp(names[i].system, system) == 0) {
            return names[i].label;
        }
    }
    return system;
}

// A panel for each power of ten of entries: a cache bounded by bytes holds about
// as many as the others.
static struct chart memory_chart(void) {
    static char labels[CHART_PANELS][48];
    struct chart c = {
        .title = "Memory of an entry, beyond its key and value",
        .subtitle = "Keys of 16 bytes, values of 64: header, table, policy, "
                    "allocator. Less is better.",
        .footer = "Logarithmic scale. Resident memory of a process that has "
                  "nothing else; of Java, what is in use on the heap.",
        .panel = {"", ""},
        .unit = {CHART_BYTES, CHART_BYTES},
        .n_series = 1,
    };
    int i, k;

    for (i = 0; i < n_lines; i++) {
        const char *system = string_of(lines[i], "system");
        double size = round(log10(number_of(lines[i], "entries")));
        struct chart_row *r;
        char label[48];
        if (!is(lines[i], "bench", "memory")) {
            continue;
        }
        snprintf(label, sizeof(label), "%s entries",
                 with_commas(pow(10, size)));
        for (k = 0; k < CHART_PANELS && *c.panel[k] != '\0' &&
                    strcmp(c.panel[k], label) != 0;
             k++) {
        }
        if (k == CHART_PANELS) {
            continue;
        }
        strcpy(labels[k], label);
        c.panel[k] = labels[k];
        r = chart_row(&c, label_of(system), string_of(lines[i], "about"));
        r->ours = strncmp(system, "memo", 4) == 0 &&
                  strcmp(system, "memcached") != 0;
        r->mark[k][0].value = number_of(lines[i], "overhead_bytes");
        r->rank = r->mark[k][0].value;
    }
    return c;
}

// --------------------------------------------------------------------- page

static void cell(FILE *out, const char *text) {
    fputs("<td>", out);
    chart_text(out, text);
    fputs("</td>", out);
}

static void cell_quantity(FILE *out, enum chart_unit unit, double value) {
    char text[32];

    if (isnan(value)) {
        cell(out, "");
        return;
    }
    chart_quantity(unit, value, text, sizeof(text));
    cell(out, text);
}

static void hit_table(FILE *out, int kind) {
    int i, p, threads;

    fputs("<div class=\"wide\"><table><tr><th>system<th>version", out);
    for (p = 0; p < 3; p++) {
        for (threads = 1; threads <= 2; threads++) {
            fprintf(out, "<th>%s, %d", patterns[p], threads);
        }
    }
    fputs("</tr>\n", out);
    for (i = 0; i < N_NAMES; i++) {
        const char *any = hit_line(kinds[kind], "uniform", 1, names[i].system);
        if (any == NULL) {
            continue;
        }
        fputs("<tr>", out);
        cell(out, names[i].label);
        fputs("<td>", out);
        chart_text(out, string_of(any, "language"));
        fputc(' ', out);
        chart_text(out, string_of(any, "version"));
        fputs("</td>", out);
        for (p = 0; p < 3; p++) {
            for (threads = 1; threads <= 2; threads++) {
                const char *line = hit_line(kinds[kind], patterns[p], threads,
                                            names[i].system);
                if (line == NULL) {
                    cell(out, "");
                    continue;
                }
                fprintf(out, "<td><b>%.2f</b> <small>%.3g ns</small></td>",
                        number_of(line, "ratio"), number_of(line, "ns"));
            }
        }
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

// One row a line of one bench; columns are "field/heading/unit", where the
// unit is n (ns), u (us), b (bytes), d (a plain number) or s (a string).
static void plain_table(FILE *out, const char *bench,
                        const char *const columns[], int n_columns) {
    int i, k;

    fputs("<div class=\"wide\"><table><tr>", out);
    for (k = 0; k < n_columns; k++) {
        const char *heading = strchr(columns[k], '/') + 1;
        fprintf(out, "<th>%.*s", (int)strcspn(heading, "/"), heading);
    }
    fputs("</tr>\n", out);
    for (i = 0; i < n_lines; i++) {
        if (!is(lines[i], "bench", bench)) {
            continue;
        }
        fputs("<tr>", out);
        for (k = 0; k < n_columns; k++) {
            const char *unit = strrchr(columns[k], '/') + 1;
            char field[64], text[64];
            double x;
            snprintf(field, sizeof(field), "%.*s",
                     (int)strcspn(columns[k], "/"), columns[k]);
            x = number_of(lines[i], field);
            if (*unit == 's') {
                cell(out, string_of(lines[i], field));
            } else if (*unit == 'd') {
                snprintf(text, sizeof(text), "%.10g", x);
                cell(out, isnan(x) ? "" : text);
            } else {
                cell_quantity(out, *unit == 'b' ? CHART_BYTES : CHART_NS,
                              *unit == 'u' ? x * 1000 : x);
            }
        }
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static int is_of(const char *line, const char *bench) {
    const char *says = string_of(line, "bench");

    return strncmp(says, bench, strlen(bench)) == 0 &&
           says[strlen(bench)] == '/';
}

// What the programs say that compare in one process, "bench" being
// BENCH/CONFIGURATION: a row a configuration, a column a system, in the order in
// which they come.
static void ratio_table(FILE *out, const char *bench) {
    const char *last = "";
    int i;

    fputs("<div class=\"wide\"><table><tr><th>keys, pattern, threads", out);
    for (i = 0; i < n_lines; i++) {
        const char *first = last;
        if (!is_of(lines[i], bench)) {
            continue;
        }
        if (*first != '\0' && !is(lines[i], "bench", first)) {
            break;
        }
        last = strdup(string_of(lines[i], "bench"));
        fputs("<th>", out);
        chart_text(out, string_of(lines[i], "system"));
    }
    last = "";
    for (i = 0; i < n_lines; i++) {
        const char *line = lines[i];
        if (!is_of(line, bench)) {
            continue;
        }
        if (!is(line, "bench", last)) {
            last = strdup(string_of(line, "bench"));
            fputs("</tr>\n<tr>", out);
            cell(out, last + strlen(bench) + 1);
        }
        fprintf(out, "<td><b>%.2f</b> <small>%.2f&ndash;%.2f</small></td>",
                number_of(line, "ratio"), number_of(line, "q1"),
                number_of(line, "q3"));
    }
    fputs("</tr>\n</table></div>\n", out);
}

static void any_chart(FILE *out, struct chart *c) {
    if (c->n_rows != 0) {
        chart_draw(c, out);
    }
}

static void page(FILE *out, struct chart charts[5]) {
    static const char *const stampede[] = {
        "system/system/s",
        "language/language/s",
        "version/version/s",
        "waiters/waiters/d",
        "loads/loads/d",
        "last_us/last awake/u",
        "publish_us/loader back/u",
        "bytes_per_waiter/memory of a waiter/b"};
    static const char *const growth[] = {
        "system/system/s",    "op/operation/s",      "runs/runs/d",
        "p50_ns/median/n",    "p99_ns/99 %/n",       "p999_ns/99.9 %/n",
        "p9999_ns/99.99 %/n", "slowest_us/slowest/u"};
    static const char *const miss[] = {
        "op/key/s",      "threads/threads/d", "p50_ns/median/n",
        "p99_ns/99 %/n", "p999_ns/99.9 %/n",  "slowest_us/slowest/u"};
    static const char *const churn[] = {"writes_per_mille/writes, per mille/d",
                                        "threads/threads/d",
                                        "ns/an operation/n",
                                        "retired_most/most values retired/d",
                                        "early_mib/MiB resident, early/d",
                                        "late_mib/MiB resident, at end/d"};
    static const char *const clear[] = {
        "keys/values/d",            "clear_ms/memo_clear, ms/d",
        "steps/steps/d",            "slowest_step_ms/slowest step, ms/d",
        "steps_ms/all steps, ms/d", "nothing_ms/nothing, ms/d"};
    static const char *const memory[] = {"system/system/s", "about/version/s",
                                         "entries/entries/d",
                                         "overhead_bytes/bytes an entry/d"};
    static const char *const hitratio[] = {
        "trace/trace/s",       "fraction/size, of all keys/d",
        "capacity/entries/d",  "system/system/s",
        "misses/miss ratio/d", "reduction/less than FIFO, %/d"};
    const char *machine = first_line("machine", "");
    int i;

    fputs(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width\">"
        "<title>memo, measured</title>\n<style>:root{color-scheme:light dark}"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:64em;margin:2em "
        "auto;padding:0 1em}svg{max-width:100%;height:auto;margin:.6em 0}"
        ".wide{overflow-x:auto}table{border-collapse:collapse;margin:.6em 0;"
        "font-size:13.5px;white-space:nowrap}th,td{padding:.2em .7em;"
        "text-align:left;border-bottom:1px solid #8884}"
        "small{opacity:.75}</style></head>\n<body>\n<h1>memo, measured</h1>\n",
        out);
    if (machine != NULL) {
        fputs("<p>", out);
        chart_text(out, string_of(machine, "cpu"));
        fprintf(out, ", %.0f cores; ", number_of(machine, "cores"));
        chart_text(out, string_of(machine, "os"));
        fputs("; ", out);
        chart_text(out, string_of(machine, "compiler"));
        fprintf(out,
                "; %.0f rounds; load average before the run %.2f. "
                "Made by <code>bench/run</code>.</p>\n",
                number_of(machine, "n_rounds"), number_of(machine, "load"));
    }
    fputs(
        "<h2>Hits beside a bare probe</h2>\n<p>All in one process: each time "
        "divided by that of a probe of the same keys that protects nothing, "
        "copies nothing and counts nothing. Medians and quartiles.</p>\n",
        out);
    ratio_table(out, "hit");
    fputs(
        "<p>Taken to pieces: each column does what those before it do, and one "
        "thing more.</p>\n",
        out);
    ratio_table(out, "ingredients");
    fputs(
        "<h2>Hits beside others</h2>\n<p>Each system is a process that holds the same keys "
        "and values. The processes take turns of some milliseconds, in "
        "another order in each round, over the same keys in the same order; "
        "each turn's time, the median of slices of 2,048 hits, is divided by "
        "memo's in the same round. Bounded caches have room for an eighth "
        "more than there is. Every sum of values is checked. Times are wall "
        "times of one thread; what a cache does in threads of its own "
        "meanwhile, and a collector's pauses, hardly show.</p>\n",
        out);
    for (i = 0; i < 2; i++) {
        any_chart(out, &charts[i]);
        hit_table(out, i);
    }
    fputs("<h2>Stampede</h2>\n", out);
    any_chart(out, &charts[2]);
    plain_table(out, "stampede", stampede, 8);
    fputs(
        "<h2>Growth</h2>\n<p>&ldquo;nothing&rdquo; is the loop without the "
        "operation: the clock, and what the machine itself interrupts."
        "</p>\n",
        out);
    any_chart(out, &charts[3]);
    plain_table(out, "growth", growth, 8);
    fputs("<h2>Clearing, and giving back in steps</h2>\n", out);
    plain_table(out, "clear", clear, 6);
    fputs("<h2>Misses, with a load that costs nothing</h2>\n", out);
    plain_table(out, "miss", miss, 6);
    fputs("<h2>Churn</h2>\n", out);
    plain_table(out, "churn", churn, 6);
    fputs("<h2>Memory of an entry beyond its key and value</h2>\n", out);
    any_chart(out, &charts[4]);
    plain_table(out, "memory", memory, 4);
    fputs("<h2>Hit ratios</h2>\n", out);
    plain_table(out, "hitratio", hitratio, 6);
    fputs("<h2>Skipped</h2>\n<ul>\n", out);
    for (i = 0; i < n_lines; i++) {
        if (is(lines[i], "bench", "skipped")) {
            fputs("<li>", out);
            chart_text(out, string_of(lines[i], "system"));
            fputs(": ", out);
            chart_text(out, string_of(lines[i], "why"));
            fputs("</li>\n", out);
        }
    }
    fputs("</ul>\n</body></html>\n", out);
}

static FILE *create(const char *folder, const char *name) {
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "w");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    return f;
}

int main(int argc, char **argv) {
    static const char *const files[] = {"hit.svg", "hit-url.svg",
                                        "stampede.svg", "growth.svg",
                                        "memory.svg"};
    static struct chart charts[5];
    FILE *f;
    int i;

    if (argc != 3) {
        fprintf(stderr, "usage: report RESULTS FOLDER\n");
        return 2;
    }
    read_lines(argv[1]);
    charts[0] = hit_chart(0);
    charts[1] = hit_chart(1);
    charts[2] = stampede_chart();
    charts[3] = growth_chart();
    charts[4] = memory_chart();
    for (i = 0; i < 5; i++) {
        f = create(argv[2], files[i]);
        chart_draw(&charts[i], f);
        fclose(f);
    }
    f = create(argv[2], "report.html");
    page(f, charts);
    fclose(f);
    return 0;
}
