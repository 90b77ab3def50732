#include "bench/bench.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *must_alloc(size_t size) {
    void *p = malloc(size);

    if (p == NULL) {
        fprintf(stderr, "bench: out of memory\n");
        exit(1);
    }
    return p;
}

uint64_t bench_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));  // splitmix64

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int64_t clock_ns(clockid_t id) {
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bench_now_ns(void) {
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t bench_cpu_now_ns(void) {
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void bench_pin_to_core(int core) {
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)core, &set);
    (void)sched_setaffinity(0, sizeof(set), &set);
}

// ------------------------------------------------------------------ arguments

static int set_option(const struct bench_option *o, const char *value) {
    if (o->number != NULL) {
        *o->number = strtoul(value, NULL, 10);
    } else if (o->integer != NULL) {
        *o->integer = atoi(value);
    } else if (o->text != NULL) {
        *o->text = value;
    } else {
        *o->file = fopen(value, "a");
        return *o->file != NULL;
    }
    return 1;
}

int bench_options(int argc, char **argv, int first,
                  const struct bench_option *known) {
    int i = first;

    while (i < argc) {
        const struct bench_option *o = known;
        while (o->name != NULL && strcmp(o->name, argv[i]) != 0) {
            o++;
        }
        if (o->name != NULL && o->flag != NULL) {
            *o->flag = 1;
            i++;
        } else if (o->name != NULL && i + 1 < argc &&
                   set_option(o, argv[i + 1])) {
            i += 2;
        } else {
            break;
        }
    }
    return i;
}

int bench_is_listed(const char *list, const char *name) {
    size_t size = strlen(name);
    const char *at = list;

    while (at != NULL) {
        if (strncmp(at, name, size) == 0 &&
            (at[size] == ',' || at[size] == '\0')) {
            return 1;
        }
        at = strchr(at, ',');
        at = at == NULL ? NULL : at + 1;
    }
    return 0;
}

// ------------------------------------------------------------------ keys

struct bench_keys bench_keys_k16(size_t n) {
    struct bench_keys k = {n, "k16", 16, must_alloc(n * 16)};
    uint64_t state = 1;
    size_t i;

    for (i = 0; i < 2 * n; i++) {
        uint64_t x = bench_random(&state);
        memcpy(k.bytes + 8 * i, &x, 8);
    }
    return k;
}

struct bench_keys bench_keys_url(size_t n) {
    static const char *const site[] = {"a.io", "example.org", "news.example.com"};
    struct bench_keys k = {n, "url", 64, must_alloc(n * 64)};
    uint64_t state = 2;
    size_t i;

    memset(k.bytes, 0, n * 64);
    for (i = 0; i < n; i++) {
        char *p = (char *)k.bytes + i * 64;
        uint64_t x = bench_random(&state);
        int size = snprintf(p, 49, "https://%s/%zx", site[x % 3], i + 4096);
        while (size < 24 + (int)((x >> 8) % 25)) {
            // No digit of the number: or two keys might be the same.
            p[size++] = (char)('g' + bench_random(&state) % 20);
        }
        p[size] = 0;
        p[63] = (char)size;
    }
    return k;
}

// Zipf by rejection-inversion (W. Hormann, G. Derflinger, "Rejection-inversion
// to generate variates from monotone discrete distributions", 1996).
static double zipf_h(double x, double s) {
    return (pow(x, 1 - s) - 1) / (1 - s);
}

static size_t zipf(uint64_t *state, size_t range, double s) {
    double low = zipf_h(1.5, s) - 1, high = zipf_h((double)range + 0.5, s);

    for (;;) {
        double r = (double)(bench_random(state) >> 11) * 0x1p-53;
        double u = high + r * (low - high);
        double x = pow(1 + (1 - s) * u, 1 / (1 - s));
        double k = floor(x + 0.5);
        k = k < 1 ? 1 : k > (double)range ? (double)range : k;
        if (u >= zipf_h(k + 0.5, s) - pow(k, -s)) {
            return (size_t)k - 1;
        }
    }
}

uint32_t *bench_stream(const char *pattern, size_t n, size_t range,
                       uint64_t seed) {
    uint32_t *stream = must_alloc(n * sizeof(*stream));
    uint64_t state = seed * 1000003 + 7;
    size_t i;

    for (i = 0; i < n; i++) {
        size_t k = 0;
        if (strcmp(pattern, "uniform") == 0) {
            k = bench_random(&state) % range;
        } else if (strcmp(pattern, "zipf") == 0) {
            // Scatter the ranks, so that popular keys are not neighbours.
            k = (size_t)(zipf(&state, range, 0.99) *
                         UINT64_C(0x9e3779b97f4a7c15)) % range;
        } else {
            // One key for a while, then another: what it costs must not hang
            // on where that one key happens to lie.
            k = (i / (n / 16) + 1) * 2654435761u % range;
        }
        stream[i] = (uint32_t)k;
    }
    return stream;
}

// ------------------------------------------------------------------ rounds

struct round {
    struct bench_system *systems;
    int n, threads, rounds;
    size_t ops, stream_size;
    double *ns;  // [system][round]
    size_t offset;
    double part[64];
    uint64_t sum[64];
    pthread_barrier_t barrier;
};

struct worker {
    struct round *r;
    int t;
};

static void turn(struct round *r, int t, int k, int round) {
    struct bench_system *s = &r->systems[k];
    size_t warm = r->ops / 2;
    int64_t begin;
    int i;

    (void)s->run(s->state, t, r->offset, warm);
    pthread_barrier_wait(&r->barrier);
    (void)s->run(s->state, t, r->offset + warm - warm / 8, warm / 8);
    begin = bench_cpu_now_ns();
    r->sum[t] = s->run(s->state, t, r->offset + warm, r->ops);
    r->part[t] = (double)(bench_cpu_now_ns() - begin) / (double)r->ops;
    pthread_barrier_wait(&r->barrier);
    if (t == 0) {
        double mean = 0;
        s->sum = 0;
        for (i = 0; i < r->threads; i++) {
            mean += r->part[i] / r->threads;
            s->sum += r->sum[i];
        }
        r->ns[k * r->rounds + round] = mean;
    }
    pthread_barrier_wait(&r->barrier);
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct round *r = w->r;
    uint64_t state = 99;
    int round, k;

    bench_pin_to_core(w->t);
    for (round = 0; round < r->rounds; round++) {
        if (w->t == 0) {
            r->offset = bench_random(&state) % (r->stream_size - 2 * r->ops);
        }
        pthread_barrier_wait(&r->barrier);
        for (k = 0; k < r->n; k++) {
            turn(r, w->t, k, round);
        }
    }
    return NULL;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void report(const char *title, struct round *r, int k, FILE *json) {
    double *ratio = must_alloc((size_t)r->rounds * sizeof(double));
    double least = INFINITY;
    int i, n = r->rounds;

    for (i = 0; i < n; i++) {
        double ns = r->ns[k * n + i];
        ratio[i] = ns / r->ns[i];
        least = ns < least ? ns : least;
    }
    qsort(ratio, (size_t)n, sizeof(*ratio), by_value);
    printf("%-24s %-22s %6.3f  [%.3f %.3f]  %8.1f ns\n", title,
           r->systems[k].name, ratio[n / 2], ratio[n / 4], ratio[n * 3 / 4],
           least);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"%s\",\"system\":\"%s\",\"threads\":%d,"
                "\"ratio\":%.4f,\"q1\":%.4f,\"q3\":%.4f,\"least_ns\":%.2f}\n",
                title, r->systems[k].name, r->threads, ratio[n / 2],
                ratio[n / 4], ratio[n * 3 / 4], least);
    }
    free(ratio);
}

void bench_compare(const char *title, struct bench_system *systems, int n,
                   int threads, int rounds, size_t ops, size_t stream_size,
                   FILE *json) {
    struct round r = {.systems = systems,
                      .n = n,
                      .threads = threads,
                      .rounds = rounds,
                      .ops = ops,
                      .stream_size = stream_size};
    struct worker w[64];
    pthread_t thread[64];
    int i;

    r.ns = must_alloc((size_t)n * (size_t)rounds * sizeof(double));
    pthread_barrier_init(&r.barrier, NULL, (unsigned)threads);
    for (i = 0; i < threads; i++) {
        w[i] = (struct worker){&r, i};
        pthread_create(&thread[i], NULL, work, &w[i]);
    }
    for (i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    for (i = 0; i < n; i++) {
        report(title, &r, i, json);
        if (!systems[i].differs && systems[i].sum != systems[0].sum) {
            fprintf(stderr, "bench: %s returned other values than %s\n",
                    systems[i].name, systems[0].name);
            exit(1);
        }
    }
    pthread_barrier_destroy(&r.barrier);
    free(r.ns);
}
