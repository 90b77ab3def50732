#include "fetch/cli_svg.h"

#include "fetch/cli_text.h"

static const char style[] =
    "text{font:12px ui-sans-serif,system-ui,sans-serif}\n"
    ".mono{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',"
    "monospace}\n"
    ".title{font-size:15px;font-weight:600}\n"
    ".small{font-size:10.5px}\n"
    ".paper{fill:#fff}.ink{fill:#1f2328}.dim{fill:#656d76}\n"
    ".grid{stroke:#d8dee4}.rule{stroke:#eaeef2}\n"
    ".load{fill:#0969da}.wait{fill:#d4a72c}.hit{fill:#1a7f37}\n"
    ".fail{fill:#cf222e}.gone{fill:#8c959f}\n"
    "@media(prefers-color-scheme:dark){\n"
    ".paper{fill:#0d1117}.ink{fill:#e6edf3}.dim{fill:#8d96a0}\n"
    ".grid{stroke:#30363d}.rule{stroke:#21262d}\n"
    ".load{fill:#4493f8}.wait{fill:#bb8009}.hit{fill:#3fb950}\n"
    ".fail{fill:#f85149}.gone{fill:#6e7681}\n"
    "}\n";

struct svg_axis svg_axis_for(int64_t span_ns) {
    static const int64_t factors[] = {1, 2, 5};
    struct svg_axis axis = {1, 1, "ns"};

    // Of 1, 2, 5, 10, ... the first that makes no more than eight steps.
    for (int64_t ten = 1; axis.step_ns * 8 < span_ns; ten *= 10) {
        for (int i = 0; i < 3 && axis.step_ns * 8 < span_ns; i++) {
            axis.step_ns = factors[i] * ten;
        }
    }
    if (axis.step_ns >= 1000000000) {
        axis.unit_ns = 1000000000;
        axis.unit = "s";
    } else if (axis.step_ns >= 1000000) {
        axis.unit_ns = 1000000;
        axis.unit = "ms";
    } else if (axis.step_ns >= 1000) {
        axis.unit_ns = 1000;
        axis.unit = "\xc2\xb5s";
    }
    return axis;
}

void svg_begin(struct cli_out *out, double width, double height,
               const char *title) {
    cli_out_printf(out,
                   "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" "
                   "height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" role=\"img\">\n"
                   "<title>%s</title>\n<style>\n%s</style>\n"
                   "<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n",
                   width, height, width, height, title, style);
}

void svg_end(struct cli_out *out) {
    cli_out_printf(out, "</svg>\n");
}

void svg_box(struct cli_out *out, const char *class, double x, double y,
             double width, double height) {
    cli_out_printf(out,
                   "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                   "height=\"%.1f\" rx=\"%.1f\"><title>",
                   class, x, y, width, height, height > 6 ? 1.5 : 0.5);
}

void svg_box_end(struct cli_out *out) {
    cli_out_printf(out, "</title></rect>\n");
}

void svg_line(struct cli_out *out, double x, double y0, double y1) {
    cli_out_printf(out,
                   "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                   "y2=\"%.1f\"/>\n",
                   x, y0, x, y1);
}

void svg_rule(struct cli_out *out, double x0, double x1, double y) {
    cli_out_printf(out,
                   "<line class=\"rule\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" "
                   "y2=\"%.1f\"/>\n",
                   x0, y, x1, y);
}

void svg_text(struct cli_out *out, const char *class, double x, double y,
              const char *anchor) {
    cli_out_printf(out,
                   "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" "
                   "text-anchor=\"%s\">",
                   class, x, y, anchor);
}

void svg_text_end(struct cli_out *out) {
    cli_out_printf(out, "</text>\n");
}

static void put_char(struct cli_out *out, int32_t c, const char *bytes,
                     int n_bytes) {
    switch (c) {
        case '<':
            cli_out_printf(out, "&lt;");
            break;
        case '>':
            cli_out_printf(out, "&gt;");
            break;
        case '&':
            cli_out_printf(out, "&amp;");
            break;
        default:
            if (cli_is_unsafe(c) || c == 0xfffe || c == 0xffff) {
                cli_out_printf(out, "\xef\xbf\xbd");
            } else {
                cli_out_printf(out, "%.*s", n_bytes, bytes);
            }
    }
}

void svg_put(struct cli_out *out, const char *text, size_t max) {
    size_t n = 0;

    for (const char *p = text; *p != '\0'; n++) {
        cli_next_char(&p);
    }
    size_t n_left_out = n > max ? n - max + 1 : 0;
    if (n_left_out != 0) {
        cli_out_printf(out, "\xe2\x80\xa6");
    }
    while (*text != '\0') {
        const char *begin = text;
        int32_t c = cli_next_char(&text);

        if (n_left_out != 0) {
            n_left_out--;
        } else {
            put_char(out, c, begin, (int)(text - begin));
        }
    }
}
