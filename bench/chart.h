// Charts as SVG: one mark per system, quantity and panel, on a logarithmic
// scale that says so.  Readable in light and dark; every mark has its own shape
// as well as its own colour.
#ifndef MEMO_BENCH_CHART_H_
#define MEMO_BENCH_CHART_H_

#include <stdio.h>

#define CHART_PANELS 2
#define CHART_SERIES 5
#define CHART_ROWS 40

enum chart_unit {
    CHART_TIMES,  // a ratio
    CHART_NS,
    CHART_BYTES,
};

struct chart_mark {
    double value;      // 0: there is none
    double low, high;  // its quartiles, or 0
};

struct chart_row {
    char label[64];
    char note[64];  // in small print after the label
    int ours;       // to be stressed
    double rank;    // rows are drawn from the least
    struct chart_mark mark[CHART_PANELS][CHART_SERIES];
};

struct chart {
    const char *title;
    const char *subtitle;
    const char *footer;
    const char *panel[CHART_PANELS];
    enum chart_unit unit[CHART_PANELS];
    double line[CHART_PANELS];  // where to draw a line for comparison, or 0
    const char *series[CHART_SERIES];
    int n_series;
    int n_rows;
    struct chart_row rows[CHART_ROWS];
};

// The row with that label and note, made if there is none.
struct chart_row *chart_row(struct chart *c, const char *label,
                            const char *note);

// Sorts the rows, and draws.
void chart_draw(struct chart *c, FILE *out);

// Writes text with what XML and HTML need escaped.
void chart_text(FILE *out, const char *text);

// As "1.2 µs" or "3.4 KiB".
void chart_quantity(enum chart_unit unit, double value, char *text,
                    size_t size);

#endif  // MEMO_BENCH_CHART_H_
