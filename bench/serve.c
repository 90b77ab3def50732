// Fills a subject with the keys in a folder of keygen's, and then answers
// turns.c: one line on the standard input for each turn,
//
//     PATTERN THREADS OFFSET WARM OPS
//
// where each thread runs OPS operations from place OFFSET of its stream, and
// WARM uncounted ones before that, and one line of answer: the wall time of an
// operation in nanoseconds, once as the median of slices of SLICE operations
// and once as the mean of all, and the sum of all values.  What else the
// machine does, and a collector's pauses, fall on few slices: the mean has
// them, the median does not. Before the first turn the answer is what the
// subject is.
//
//     serve FOLDER KIND CAPACITY
#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/subject.h"
#include "bench/value.h"

#define MOST_THREADS 2
#define SLICE 2048

struct turn {
    const char *folder;
    const unsigned char *keys;
    size_t stride;
    char pattern[16];
    int threads;
    size_t offset, warm, ops;
    atomic_int arrived;
};

struct worker {
    struct turn *turn;
    int t;
    double ns, mean_ns;
    uint64_t sum;
};

static const void *map(const char *folder, const char *name, size_t *size) {
    char path[4096];
    struct stat st;
    const void *p;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_RDONLY);
    if (fd < 0 || fstat(fd, &st) != 0) {
        perror(path);
        exit(1);
    }
    *size = (size_t)st.st_size;
    p = mmap(NULL, *size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (p == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    return p;
}

// The keys of a turn in the order of the stream, so that reading them costs no
// miss: in a service the key has just come in.
static unsigned char *arrange(const struct turn *u, int t) {
    size_t n = u->warm + u->ops, size, i;
    unsigned char *keys = malloc(n * u->stride);
    char name[32];
    const uint32_t *stream;

    snprintf(name, sizeof(name), "%s.%d", u->pattern, t);
    stream = map(u->folder, name, &size);
    if (keys == NULL || (u->offset + n) * sizeof(*stream) > size) {
        fprintf(stderr, "serve: a turn past the end of %s\n", name);
        exit(1);
    }
    for (i = 0; i < n; i++) {
        memcpy(keys + i * u->stride,
               u->keys + (size_t)le32toh(stream[u->offset + i]) * u->stride,
               u->stride);
    }
    munmap((void *)(uintptr_t)stream, size);
    return keys;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void run_slices(struct worker *w, const unsigned char *key,
                       size_t stride, size_t ops) {
    size_t n = (ops + SLICE - 1) / SLICE, i;
    double *ns = malloc(n * sizeof(*ns));

    if (ns == NULL) {
        abort();
    }
    for (i = 0; i < n; i++) {
        size_t size = ops - i * SLICE < SLICE ? ops - i * SLICE : SLICE;
        int64_t begin = bench_now_ns();
        w->sum += subject_run(key + i * SLICE * stride, stride, size);
        ns[i] = (double)(bench_now_ns() - begin) / (double)size;
    }
    for (i = 0; i < n; i++) {
        w->mean_ns += ns[i] / (double)n;
    }
    qsort(ns, n, sizeof(*ns), by_value);
    w->ns = ns[n / 2];
    free(ns);
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct turn *u = w->turn;
    unsigned char *keys = arrange(u, w->t);

    subject_thread_begin();
    (void)subject_run(keys, u->stride, u->warm);
    atomic_fetch_add(&u->arrived, 1);
    while (atomic_load(&u->arrived) < u->threads) {
        sched_yield();
    }
    run_slices(w, keys + u->warm * u->stride, u->stride, u->ops);
    subject_thread_end();
    free(keys);
    return NULL;
}

static void serve(struct turn *u) {
    struct worker w[MOST_THREADS];
    pthread_t thread[MOST_THREADS];
    double ns = 0, mean_ns = 0;
    uint64_t sum = 0;
    int t;

    atomic_store(&u->arrived, 0);
    for (t = 0; t < u->threads; t++) {
        w[t] = (struct worker){u, t, 0, 0, 0};
        if (pthread_create(&thread[t], NULL, work, &w[t]) != 0) {
            fprintf(stderr, "serve: cannot start a thread\n");
            exit(1);
        }
    }
    for (t = 0; t < u->threads; t++) {
        pthread_join(thread[t], NULL);
        ns += w[t].ns / u->threads;
        mean_ns += w[t].mean_ns / u->threads;
        sum += w[t].sum;
    }
    printf("%.3f %.3f %llu\n", ns, mean_ns, (unsigned long long)sum);
    fflush(stdout);
}

static void fill(struct turn *u, const char *kind, size_t capacity) {
    size_t size, values_size, i;
    const unsigned char *values;
    char name[32];

    u->stride = strcmp(kind, "k16") == 0 ? 16 : 64;
    snprintf(name, sizeof(name), "%s.keys", kind);
    u->keys = map(u->folder, name, &size);
    snprintf(name, sizeof(name), "%s.values", kind);
    values = map(u->folder, name, &values_size);
    subject_init(capacity);
    subject_thread_begin();
    for (i = 0; i < size / u->stride; i++) {
        const unsigned char *key = u->keys + i * u->stride;
        subject_put(key, subject_key_size(key, u->stride),
                    values + i * VALUE_SIZE);
    }
    // Several times, so that what counts uses has counted enough of them.
    for (i = 0; i < 5; i++) {
        (void)subject_run(u->keys, u->stride, size / u->stride);
    }
    subject_thread_end();
}

int main(int argc, char **argv) {
    struct turn u = {0};
    char line[256];

    if (argc != 4) {
        fprintf(stderr, "usage: %s FOLDER KIND CAPACITY\n", argv[0]);
        return 2;
    }
    u.folder = argv[1];
    fill(&u, argv[2], strtoul(argv[3], NULL, 10));
    printf("%s\n", subject_about);
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (sscanf(line, "%15s %d %zu %zu %zu", u.pattern, &u.threads,
                   &u.offset, &u.warm, &u.ops) != 5 ||
            u.threads < 1 || u.threads > MOST_THREADS) {
            fprintf(stderr, "serve: not a turn: %s", line);
            return 1;
        }
        serve(&u);
    }
    return 0;
}
