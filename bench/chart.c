#include "bench/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// In pixels.
enum {
    WIDTH = 880,
    MARGIN = 20,
    LABELS = 206,  // left of the first panel
    GAP = 28,      // between panels
    TOP = 112,     // above the rows
    LINE = 9,      // of one series within a row
    BOTTOM = 66,
};

// The colours are told apart by most colour-blind eyes too.
static const char style[] =
    "<style>"
    ".bg{fill:#ffffff}.ink{fill:#1f2328}.dim{fill:#59636e}"
    ".grid{stroke:#d0d7de;stroke-width:1}.minor{stroke-opacity:.5}.line{stroke:"
    "#59636e;"
    "stroke-width:1.2;stroke-dasharray:4 3}.band{fill:#eef4fb}"
    ".f0{fill:#0969c3}.f1{fill:#c2500a}.f2{fill:#0a8560}.f3{fill:#8a4fbf}"
    ".f4{fill:#b3164c}"
    ".s0{stroke:#0969c3}.s1{stroke:#c2500a}.s2{stroke:#0a8560}"
    ".s3{stroke:#8a4fbf}.s4{stroke:#b3164c}"
    ".whisker{stroke-width:2;stroke-opacity:.45}"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,"
    "sans-serif;font-size:12.5px}.title{font-size:18px;font-weight:600}"
    ".small{font-size:11px}.ours{font-weight:700}.mid{text-anchor:middle}"
    ".end{text-anchor:end}"
    "@media(prefers-color-scheme:dark){.bg{fill:#0d1117}.ink{fill:#e6edf3}"
    ".dim{fill:#9198a1}.grid{stroke:#2a313a}.line{stroke:#9198a1}"
    ".band{fill:#152033}"
    ".f0{fill:#58a6ff}.f1{fill:#f0883e}.f2{fill:#3fc795}.f3{fill:#c297ff}"
    ".f4{fill:#ff7096}"
    ".s0{stroke:#58a6ff}.s1{stroke:#f0883e}.s2{stroke:#3fc795}"
    ".s3{stroke:#c297ff}.s4{stroke:#ff7096}}"
    "</style>\n";

void chart_text(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
            case '&':
                fputs("&amp;", out);
                break;
            case '<':
                fputs("&lt;", out);
                break;
            case '>':
                fputs("&gt;", out);
                break;
            case '"':
                fputs("&quot;", out);
                break;
            default:
                fputc(*text, out);
        }
    }
}

// Three digits where that many are known, and no zeros after the point.
static void number(double x, const char *unit, char *text, size_t size) {
    snprintf(text, size, "%.*g%s", x >= 1000 ? 4 : 3, x, unit);
}

void chart_quantity(enum chart_unit unit, double value, char *text,
                    size_t size) {
    static const char *const times[] = {" ns", " \xc2\xb5s", " ms", " s"};
    static const char *const bytes[] = {" B", " KiB", " MiB", " GiB"};
    double step = unit == CHART_BYTES ? 1024 : 1000;
    int i = 0;

    if (unit == CHART_TIMES) {
        number(value, "\xc3\x97", text, size);
        return;
    }
    while (i < 3 && value >= step) {
        value /= step;
        i++;
    }
    number(value, unit == CHART_BYTES ? bytes[i] : times[i], text, size);
}

struct chart_row *chart_row(struct chart *c, const char *label,
                            const char *note) {
    struct chart_row *r;
    int i;

    for (i = 0; i < c->n_rows; i++) {
        r = &c->rows[i];
        if (strcmp(r->label, label) == 0 && strcmp(r->note, note) == 0) {
            return r;
        }
    }
    if (c->n_rows == CHART_ROWS) {
        fprintf(stderr, "chart: too many rows\n");
        exit(1);
    }
    r = &c->rows[c->n_rows++];
    memset(r, 0, sizeof(*r));
    snprintf(r->label, sizeof(r->label), "%s", label);
    snprintf(r->note, sizeof(r->note), "%s", note);
    return r;
}

// Where a panel lies, and what it shows from edge to edge.
struct panel {
    double left, width;
    double low, high;  // logarithms
    double step;       // what a labelled line is times the one before: 10, 4, 2
};

static double at(const struct panel *p, double value) {
    return p->left + p->width * (log(value) - p->low) / (p->high - p->low);
}

static void find_range(const struct chart *c, int k, double *low,
                       double *high) {
    int i, s;

    for (i = 0; i < c->n_rows; i++) {
        for (s = 0; s < c->n_series; s++) {
            const struct chart_mark *m = &c->rows[i].mark[k][s];
            if (m->value > 0) {
                *low = fmin(*low, m->low > 0 ? m->low : m->value);
                *high = fmax(*high, fmax(m->high, m->value));
            }
        }
    }
}

// Whole steps around all that is to be seen.  Panels of one unit have one
// scale.
static struct panel layout(const struct chart *c, int k) {
    struct panel p = {.width = (WIDTH - LABELS - 2 * MARGIN - GAP) / 2.};
    double low = INFINITY, high = 0;

    p.left = MARGIN + LABELS + k * (p.width + GAP);
    find_range(c, k, &low, &high);
    if (c->unit[0] == c->unit[1]) {
        find_range(c, 1 - k, &low, &high);
    }
    if (high == 0) {
        low = 1;
        high = 10;
    }
    p.step = high / low > 100 ? 10 : high / low > 24 ? 4 : 2;
    if (c->unit[k] == CHART_BYTES && p.step == 10) {
        p.step = high / low > 4096 ? 16 : 4;
    }
    p.low = floor(log(low * .97) / log(p.step)) * log(p.step);
    p.high = ceil(log(high * 1.03) / log(p.step)) * log(p.step);
    // Half a step suffices where a whole one would be mostly empty.
    if (p.low + log(p.step) / 2 < log(low * .97)) {
        p.low += log(p.step) / 2;
    }
    if (p.high - log(p.step) / 2 > log(high * 1.03)) {
        p.high -= log(p.step) / 2;
    }
    return p;
}

static void draw_shape(FILE *out, int s, double x, double y) {
    switch (s) {
        case 0:
            fprintf(out,
                    "<circle class=\"f0\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", x,
                    y);
            break;
        case 1:
            fprintf(out,
                    "<path class=\"f1\" d=\"M%.1f %.1fl4.8 4.8l-4.8 4.8l-4.8 "
                    "-4.8z\"/>",
                    x, y - 4.8);
            break;
        case 2:
            fprintf(out,
                    "<rect class=\"f2\" x=\"%.1f\" y=\"%.1f\" width=\"7\" "
                    "height=\"7\"/>",
                    x - 3.5, y - 3.5);
            break;
        case 3:
            fprintf(out, "<path class=\"f3\" d=\"M%.1f %.1fl4.6 8h-9.2z\"/>", x,
                    y - 4.6);
            break;
        default:
            fprintf(out,
                    "<path class=\"s4\" fill=\"none\" stroke-width=\"2.6\" "
                    "d=\"M%.1f %.1fl7 7m0 -7l-7 7\"/>",
                    x - 3.5, y - 3.5);
    }
    fputc('\n', out);
}

static void draw_tick(const struct chart *c, int k, const struct panel *p,
                      double value, int minor, double top, double bottom,
                      FILE *out) {
    double x = at(p, value);
    char text[32];

    chart_quantity(c->unit[k], value, text, sizeof(text));
    fprintf(out, "<path class=\"grid%s\" d=\"M%.1f %.1fV%.1f\"/>",
            minor ? " minor" : "", x, top, bottom + 5);
    // Beside numbers of three digits there is no room for another.
    if (!minor ||
        (value < 100 && log(10) / (p->high - p->low) * p->width > 90)) {
        fprintf(out,
                "<text class=\"dim small mid\" x=\"%.1f\" y=\"%.1f\">%s"
                "</text>\n",
                fmin(x, p->left + p->width - 8), bottom + 19, text);
    }
}

static void draw_axis(const struct chart *c, int k, const struct panel *p,
                      double top, double bottom, FILE *out) {
    double i;

    fprintf(out, "<text class=\"ink mid\" x=\"%.1f\" y=\"%.1f\">",
            p->left + p->width / 2, top - 12);
    chart_text(out, c->panel[k]);
    fputs("</text>\n", out);
    for (i = floor(p->low / log(p->step)); i <= p->high / log(p->step) + 1e-9;
         i++) {
        static const double parts[] = {1, 2, 5};
        int n = p->step == 10 ? 3 : 1, j;
        for (j = 0; j < n; j++) {
            double value = pow(p->step, i) * parts[j];
            if (log(value) > p->low - 1e-9 && log(value) < p->high + 1e-9) {
                draw_tick(c, k, p, value, j > 0, top, bottom, out);
            }
        }
    }
    if (c->line[k] > 0) {
        fprintf(out, "<path class=\"line\" d=\"M%.1f %.1fV%.1f\"/>\n",
                at(p, c->line[k]), top, bottom);
    }
}

static void draw_marks(const struct chart *c, int k, const struct panel *p,
                       const struct chart_row *r, double middle, FILE *out) {
    int s;

    for (s = 0; s < c->n_series; s++) {
        const struct chart_mark *m = &r->mark[k][s];
        double y = middle + LINE * (s - (c->n_series - 1) / 2.);
        if (m->value <= 0) {
            continue;
        }
        if (m->low > 0 && m->high > m->low) {
            fprintf(out, "<path class=\"whisker s%d\" d=\"M%.1f %.1fH%.1f\"/>",
                    s, at(p, m->low), y, at(p, m->high));
        }
        draw_shape(out, s, at(p, m->value), y);
    }
}

static void draw_legend(const struct chart *c, FILE *out) {
    double x = MARGIN + LABELS + 5;
    int s;

    for (s = 0; c->n_series > 1 && s < c->n_series; s++) {
        draw_shape(out, s, x, TOP - 38);
        fprintf(out, "<text class=\"ink\" x=\"%.1f\" y=\"%d\">", x + 10,
                TOP - 34);
        chart_text(out, c->series[s]);
        fputs("</text>\n", out);
        x += 38 + 7 * (double)strlen(c->series[s]);
    }
}

static int by_rank(const void *a, const void *b) {
    const struct chart_row *x = a, *y = b;

    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return strcmp(x->label, y->label);
}

void chart_draw(struct chart *c, FILE *out) {
    double row = LINE * c->n_series + (c->n_series > 1 ? 11 : 17);
    double top = c->n_series > 1 ? TOP : TOP - 20;
    double bottom = top + row * c->n_rows;
    struct panel panels[CHART_PANELS];
    int i, k;

    qsort(c->rows, (size_t)c->n_rows, sizeof(c->rows[0]), by_rank);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" "
            "width=\"%d\" height=\"%.0f\" role=\"img\">\n<title>",
            WIDTH, bottom + BOTTOM, WIDTH, bottom + BOTTOM);
    chart_text(out, c->title);
    fprintf(out,
            "</title>\n%s<rect class=\"bg\" width=\"%d\" height=\"%.0f\" "
            "rx=\"8\"/>\n<text class=\"ink title\" x=\"%d\" y=\"33\">",
            style, WIDTH, bottom + BOTTOM, MARGIN);
    chart_text(out, c->title);
    fprintf(out, "</text>\n<text class=\"dim\" x=\"%d\" y=\"54\">", MARGIN);
    chart_text(out, c->subtitle);
    fputs("</text>\n", out);
    draw_legend(c, out);
    for (i = 0; i < c->n_rows; i++) {
        const struct chart_row *r = &c->rows[i];
        double middle = top + row * (i + .5);
        if (r->ours) {
            fprintf(out,
                    "<rect class=\"band\" x=\"%d\" y=\"%.1f\" width=\"%d\" "
                    "height=\"%.1f\" rx=\"4\"/>\n",
                    MARGIN - 8, middle - row / 2, WIDTH - 2 * MARGIN + 16, row);
        }
    }
    for (k = 0; k < CHART_PANELS; k++) {
        panels[k] = layout(c, k);
        draw_axis(c, k, &panels[k], top, bottom, out);
    }
    for (i = 0; i < c->n_rows; i++) {
        const struct chart_row *r = &c->rows[i];
        double middle = top + row * (i + .5);
        fprintf(out, "<text class=\"ink%s\" x=\"%d\" y=\"%.1f\">",
                r->ours ? " ours" : "", MARGIN, middle + 4.5);
        chart_text(out, r->label);
        fprintf(out,
                "</text><text class=\"dim small end\" x=\"%d\" y=\"%.1f\">",
                MARGIN + LABELS - 14, middle + 4);
        chart_text(out, r->note);
        fputs("</text>\n", out);
        for (k = 0; k < CHART_PANELS; k++) {
            draw_marks(c, k, &panels[k], r, middle, out);
        }
    }
    fprintf(out, "<text class=\"dim small\" x=\"%d\" y=\"%.1f\">", MARGIN,
            bottom + BOTTOM - 17);
    chart_text(out, c->footer);
    fputs("</text>\n</svg>\n", out);
}
