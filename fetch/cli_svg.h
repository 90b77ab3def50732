// The picture's paper and pens: SVG, readable on light and on dark.
#ifndef MEMO_FETCH_CLI_SVG_H_
#define MEMO_FETCH_CLI_SVG_H_

#include <stddef.h>
#include <stdint.h>

#include "fetch/cli_out.h"

// What the axis of time says.
struct svg_axis {
    int64_t step_ns;  // from one mark to the next
    int64_t unit_ns;
    const char *unit;
};

// The axis for times up to span_ns.
struct svg_axis svg_axis_for(int64_t span_ns);

// The whole picture is between these.  title is ours, not foreign.
void svg_begin(struct cli_out *out, double width, double height,
               const char *title);
void svg_end(struct cli_out *out);

// A box of that style, with round corners.  Its tip is open until
// svg_tip_end(): print what it says, escaped.
void svg_box(struct cli_out *out, const char *style, double x, double y,
             double width, double height);
void svg_box_end(struct cli_out *out);

void svg_line(struct cli_out *out, double x, double y0, double y1);
void svg_rule(struct cli_out *out, double x0, double x1, double y);

// A text, open until svg_text_end(); anchor is "start", "middle" or "end".
void svg_text(struct cli_out *out, const char *style, double x, double y,
              const char *anchor);
void svg_text_end(struct cli_out *out);

// Print foreign text, escaped; of a longer one than max characters only the
// end, which tells pages apart.
void svg_put(struct cli_out *out, const char *text, size_t max);

#endif  // MEMO_FETCH_CLI_SVG_H_
