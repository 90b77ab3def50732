#include "memo/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// All that is counted, in Prometheus' text exposition format 0.0.4.
//
// A metric is written once, with a line for each cache: so all caches are asked
// first, then everything is written.

struct sample {
    struct memo_stats stats;
    struct memo_histogram histogram[MEMO_HISTOGRAMS];
};

enum unit { COUNT, GAUGE, SECONDS_GAUGE };

struct metric {
    const char *name;
    enum unit unit;
    const char *help;
    size_t offset;  // in struct memo_stats
    const char *cause;  // a label besides
};

#define FIELD(field) offsetof(struct memo_stats, field)

static const struct metric metrics[] = {
    {"memo_hits_total", COUNT, "Calls answered by a resident value.",
     FIELD(hits), NULL},
    {"memo_joins_total", COUNT, "Calls that waited for another's load.",
     FIELD(joins), NULL},
    {"memo_stale_total", COUNT, "Calls answered by a value past its time.",
     FIELD(stale), NULL},
    {"memo_negative_total", COUNT, "Calls answered by an error that was kept.",
     FIELD(negative), NULL},
    {"memo_loads_total", COUNT, "Loads started.", FIELD(loads), NULL},
    {"memo_load_failures_total", COUNT, "Loads that ended in an error.",
     FIELD(load_failures), NULL},
    {"memo_refreshes_total", COUNT,
     "Loads started that nobody had to wait for.", FIELD(refreshes), NULL},
    {"memo_refresh_failures_total", COUNT,
     "Of these, loads that ended in an error.", FIELD(refresh_failures), NULL},
    {"memo_not_modified_total", COUNT, "Loads that found the old value good.",
     FIELD(not_modified), NULL},
    {"memo_passes_total", COUNT, "Loads whose result was not to be kept.",
     FIELD(passes), NULL},
    {"memo_detached_total", COUNT, "Flights detached by invalidation.",
     FIELD(detached), NULL},
    {"memo_saved_seconds", SECONDS_GAUGE,
     "Load time saved by hits: an estimate.", FIELD(saved_ns), NULL},
    {"memo_removed_total", COUNT,
     "Values dropped, or not stored, by cause; kept errors too.",
     FIELD(expired), "expired"},
    {"memo_removed_total", COUNT, "", FIELD(evictions), "evicted"},
    {"memo_removed_total", COUNT, "", FIELD(replaced), "replaced"},
    {"memo_removed_total", COUNT, "", FIELD(invalidated), "invalidated"},
    {"memo_removed_total", COUNT, "", FIELD(cleared), "cleared"},
    {"memo_removed_total", COUNT, "", FIELD(rejected), "rejected"},
    {"memo_too_large_total", COUNT,
     "Values not stored, for none would have been enough room.",
     FIELD(too_large), NULL},
    {"memo_entries", GAUGE, "Resident values.", FIELD(entries), NULL},
    {"memo_bytes", GAUGE, "Resident keys, values and headers.", FIELD(bytes),
     NULL},
    {"memo_weight", GAUGE, "Weight of resident values.", FIELD(weight), NULL},
    {"memo_flights", GAUGE, "Loads in progress.", FIELD(flights), NULL},
    {"memo_retired", GAUGE, "Values no longer resident that are still held.",
     FIELD(retired), NULL},
    {"memo_retired_bytes", GAUGE, "Their keys, values and headers.",
     FIELD(retired_bytes), NULL},
    {"memo_table_bytes", GAUGE, "Memory of the tables.", FIELD(table_bytes),
     NULL},
    {"memo_ghost_bytes", GAUGE, "Memory of what is known of evicted keys.",
     FIELD(ghost_bytes), NULL},
    {"memo_sources", GAUGE, "Tags, and keys depended on, that are in use.",
     FIELD(sources), NULL},
    {"memo_source_bytes", GAUGE, "Memory of these.", FIELD(source_bytes), NULL},
    {"memo_max_entries", GAUGE, "Bound of resident values; 0 is none.",
     FIELD(max_entries), NULL},
    {"memo_max_bytes", GAUGE, "Bound of memory; 0 is none.", FIELD(max_bytes),
     NULL},
    {"memo_max_weight", GAUGE, "Bound of weight; 0 is none.",
     FIELD(max_weight), NULL},
};

static const struct {
    const char *name, *help;
} histograms[MEMO_HISTOGRAMS] = {
    {"memo_load_seconds", "How long loads took."},
    {"memo_wait_seconds", "How long calls waited for another's load."},
};

// Bounds that are written, as powers of two of nanoseconds: 1 us to 69 s.
#define BOUND_FIRST 10
#define BOUND_LAST 36

#define NS_PER_S UINT64_C(1000000000)

// ------------------------------------------------------------------ writing

// What doesn't fit is counted, but not written.
struct text {
    char *buf;
    size_t size, used;
};

static void put_bytes(struct text *t, const char *bytes, size_t n) {
    if (t->used < t->size && n < t->size - t->used) {
        memcpy(t->buf + t->used, bytes, n);
    }
    t->used += n;
}

static __attribute__((format(printf, 2, 3))) void put(struct text *t,
                                                      const char *format, ...) {
    char line[256];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    put_bytes(t, line, (size_t)n);
}

static void put_head(struct text *t, const char *name, const char *help,
                     const char *type) {
    put(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_label(struct text *t, const char *name) {
    put(t, "{cache=\"");
    for (; *name != '\0'; name++) {
        if (*name == '\n') {
            put_bytes(t, "\\n", 2);
            continue;
        }
        if (*name == '\\' || *name == '"') {
            put_bytes(t, "\\", 1);
        }
        put_bytes(t, name, 1);
    }
    put(t, "\"");
}

static void put_seconds(struct text *t, uint64_t ns) {
    put(t, "%llu.%09llu", (unsigned long long)(ns / NS_PER_S),
        (unsigned long long)(ns % NS_PER_S));
}

static void put_metric(struct text *t, const struct metric *metric,
                       const char *name, const struct sample *sample) {
    uint64_t value;

    memcpy(&value, (const char *)&sample->stats + metric->offset,
           sizeof(value));
    put(t, "%s", metric->name);
    put_label(t, name);
    if (metric->cause != NULL) {
        put(t, ",cause=\"%s\"", metric->cause);
    }
    put(t, "} ");
    if (metric->unit == SECONDS_GAUGE) {
        put_seconds(t, value);
    } else {
        put(t, "%llu", (unsigned long long)value);
    }
    put(t, "\n");
}

static void put_bucket(struct text *t, const char *metric, const char *name,
                       int64_t bound_ns, uint64_t count) {
    put(t, "%s_bucket", metric);
    put_label(t, name);
    put(t, ",le=\"");
    if (bound_ns == MEMO_NEVER) {
        put(t, "+Inf");
    } else {
        put_seconds(t, (uint64_t)bound_ns);
    }
    put(t, "\"} %llu\n", (unsigned long long)count);
}

static void put_histogram(struct text *t, const char *metric, const char *name,
                          const struct memo_histogram *h) {
    uint64_t count = 0;
    uint32_t bucket = 0;
    int power;

    for (power = BOUND_FIRST; power <= BOUND_LAST; power++) {
        int64_t bound = INT64_C(1) << power;
        for (; memo_histogram_bound_ns(bucket) <= bound; bucket++) {
            count += h->count[bucket];
        }
        put_bucket(t, metric, name, bound, count);
    }
    put_bucket(t, metric, name, MEMO_NEVER, h->n);
    put(t, "%s_sum", metric);
    put_label(t, name);
    put(t, "} ");
    put_seconds(t, h->sum_ns);
    put(t, "\n%s_count", metric);
    put_label(t, name);
    put(t, "} %llu\n", (unsigned long long)h->n);
}

static void put_all(struct text *t, const char *const names[],
                    const struct sample *samples, size_t n) {
    const size_t n_metrics = sizeof(metrics) / sizeof(metrics[0]);
    size_t i, k;

    for (k = 0; k < n_metrics; k++) {
        const struct metric *m = &metrics[k];
        if (k == 0 || strcmp(m->name, m[-1].name) != 0) {
            put_head(t, m->name, m->help,
                     m->unit == COUNT ? "counter" : "gauge");
        }
        for (i = 0; i < n; i++) {
            put_metric(t, m, names[i], &samples[i]);
        }
    }
    for (k = 0; k < MEMO_HISTOGRAMS; k++) {
        put_head(t, histograms[k].name, histograms[k].help, "histogram");
        for (i = 0; i < n; i++) {
            put_histogram(t, histograms[k].name, names[i],
                          &samples[i].histogram[k]);
        }
    }
}

// ------------------------------------------------------------------ asking

// How long the UTF-8 sequence at p is; 0: it is none.  RFC 3629: the shortest
// form, no surrogates, nothing beyond U+10FFFF.
static size_t utf8_sequence(const unsigned char *p) {
    size_t n = p[0] < 0x80   ? 1
               : p[0] < 0xc2 ? 0
               : p[0] < 0xe0 ? 2
               : p[0] < 0xf0 ? 3
               : p[0] < 0xf5 ? 4
                             : 0;
    size_t i;

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f)) {
        return 0;
    }
    return n;
}

static int is_bad_name(const char *name) {
    const unsigned char *p = (const unsigned char *)name;
    size_t n = 1;

    while (p != NULL && *p != '\0' && n != 0) {
        n = utf8_sequence(p);
        p += n;
    }
    return p == NULL || n == 0;
}

static int are_bad(struct memo *const caches[], const char *const names[],
                   size_t n) {
    size_t i, k;

    if (caches == NULL || names == NULL || n == 0) {
        return 1;
    }
    for (i = 0; i < n; i++) {
        if (caches[i] == NULL || is_bad_name(names[i])) {
            return 1;
        }
        for (k = 0; k < i; k++) {
            if (strcmp(names[i], names[k]) == 0) {
                return 1;
            }
        }
    }
    return 0;
}

static void ask(struct memo *m, struct sample *sample) {
    int k;

    sample->stats.size = sizeof(sample->stats);
    (void)memo_stats(m, &sample->stats);
    for (k = 0; k < MEMO_HISTOGRAMS; k++) {
        sample->histogram[k].size = sizeof(sample->histogram[k]);
        (void)memo_stats_histogram(m, k, &sample->histogram[k]);
    }
}

int memo_stats_prometheus(struct memo *const caches[],
                          const char *const names[], size_t n, char *buf,
                          size_t size, size_t *need) {
    struct text text = {buf, size, 0};
    struct sample *samples;
    size_t i;

    if (are_bad(caches, names, n) || (buf == NULL && size != 0)) {
        return MEMO_EINVAL;
    }
    if (n > SIZE_MAX / sizeof(*samples)) {
        return MEMO_ENOMEM;
    }
    samples = memo_alloc_(caches[0], n * sizeof(*samples));
    if (samples == NULL) {
        return MEMO_ENOMEM;
    }
    for (i = 0; i < n; i++) {
        ask(caches[i], &samples[i]);
    }
    put_all(&text, names, samples, n);
    memo_dealloc_(caches[0], samples, n * sizeof(*samples));
    if (need != NULL) {
        *need = text.used + 1;
    }
    if (text.used < size) {
        buf[text.used] = '\0';
        return 0;
    }
    if (size != 0) {
        buf[0] = '\0';
    }
    return MEMO_ENOSPC;
}
