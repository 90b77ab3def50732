#include "fetch/cli_text.h"

#include <string.h>

// Write value, three digits of it, with the first unit in which it is under a
// thousand.
static const char *in_units(char buf[CLI_NUMBER_SIZE], double value,
                            const char *const units[], int n_units) {
    int i = 0;

    while (value >= 999.5 && i + 1 < n_units) {
        value /= 1000;
        i++;
    }
    // Whole numbers of the smallest unit: there are no half bytes.
    int digits = i == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
    snprintf(buf, CLI_NUMBER_SIZE, "%.*f %s", digits, value, units[i]);
    return buf;
}

const char *cli_duration(char buf[CLI_NUMBER_SIZE], int64_t ns) {
    static const char *const units[] = {"ns", "us", "ms", "s"};

    return in_units(buf, (double)ns, units, 4);
}

const char *cli_bytes(char buf[CLI_NUMBER_SIZE], uint64_t n) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};

    return in_units(buf, (double)n, units, 5);
}

// The number of bytes that a character beginning with first has in UTF-8.
static int n_bytes(unsigned char first) {
    return first < 0x80   ? 1
           : first < 0xc2 ? 0
           : first < 0xe0 ? 2
           : first < 0xf0 ? 3
           : first < 0xf5 ? 4
                          : 0;
}

int32_t cli_next_char(const char **text) {
    static const int32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)*text;
    int n = n_bytes(p[0]);
    int32_t c = n == 1 ? p[0] : p[0] & (0x7f >> n);

    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            n = 0;
        } else {
            c = c << 6 | (p[i] & 0x3f);
        }
    }
    if (n == 0 || c < smallest[n] || (c >= 0xd800 && c < 0xe000) ||
        c > 0x10ffff) {
        *text += 1;
        return -1;
    }
    *text += n;
    return c;
}

int cli_is_unsafe(int32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) ||
           // Marks that turn the direction of text round.
           (c >= 0x200e && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void cli_put_clean(FILE *file, const char *text, size_t max) {
    const char *end = text + strnlen(text, max);
    const char *next = text;

    for (; text < end; text = next) {
        if (cli_is_unsafe(cli_next_char(&next))) {
            for (; text < next; text++) {
                fprintf(file, "\\x%02x", (unsigned char)*text);
            }
        } else {
            fwrite(text, 1, (size_t)(next - text), file);
        }
    }
    if (*end != '\0') {
        fputs("...", file);
    }
}
