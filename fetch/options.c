#include <string.h>

#include "fetch/internal.h"

#define SECOND_NS INT64_C(1000000000)

// Say whether the struct of size bytes at p, which may be of a later version
// than the known bytes, has only zeros beyond them.
static int rest_is_zero(const void *p, size_t known, size_t size) {
    const char *bytes = p;

    for (size_t i = known; i < size; i++) {
        if (bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

int fetch_take_struct_(void *to, size_t known, const void *from, size_t min) {
    size_t size;

    memset(to, 0, known);
    memcpy(&size, from, sizeof size);
    if (size < min || !rest_is_zero(from, known, size)) {
        return MEMO_EINVAL;
    }
    memcpy(to, from, size < known ? size : known);
    memcpy(to, &known, sizeof known);
    return 0;
}

static void fill_defaults(struct fetch_options *o) {
    static const struct fetch_options defaults = {
        .max_redirects = 10,
        .max_connections = 100,
        .max_connections_per_host = 6,
        .max_body_bytes = (uint64_t)64 << 20,
        .max_header_bytes = (uint64_t)256 << 10,
        .connect_timeout_ns = 10 * SECOND_NS,
        .timeout_ns = 60 * SECOND_NS,
        .keep_ns = 24 * 3600 * SECOND_NS,
    };

#define FILL(field)                \
    if (o->field == 0) {           \
        o->field = defaults.field; \
    }
    FILL(max_redirects)
    FILL(max_connections)
    FILL(max_connections_per_host)
    FILL(max_body_bytes)
    FILL(max_header_bytes)
    FILL(connect_timeout_ns)
    FILL(timeout_ns)
    FILL(keep_ns)
#undef FILL
}

int fetch_options_take_(struct fetch_options *to,
                        const struct fetch_options *from) {
    static const struct fetch_options none = {.size = sizeof none};

    if (fetch_take_struct_(to, sizeof *to, from != NULL ? from : &none,
                           offsetof(struct fetch_options, max_redirects)) !=
            0 ||
        (to->flags & ~(FETCH_ANY_STATUS | FETCH_FRESHNESS)) != 0 ||
        to->connect_timeout_ns < 0 || to->timeout_ns < 0 || to->keep_ns < 0) {
        return MEMO_EINVAL;
    }
    fill_defaults(to);
    return 0;
}
