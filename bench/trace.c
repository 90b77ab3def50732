#include "bench/trace.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

#define SUFFIX ".u64"
#define PACKED ".zst"
#define PATH_MOST 4096

static void die(const char *what, const char *name) {
    fprintf(stderr, "%s: %s\n", name, what);
    exit(1);
}

static void *allocate(size_t n, size_t size) {
    void *p = calloc(n == 0 ? 1 : n, size);

    if (p == NULL) {
        die("out of memory", "trace");
    }
    return p;
}

// ------------------------------------------------------------------ folders

// The length of a trace's name, if a file is called so; else 0.
static size_t is_trace(const char *file) {
    size_t size = strlen(file);

    if (size > strlen(PACKED) &&
        strcmp(file + size - strlen(PACKED), PACKED) == 0) {
        size -= strlen(PACKED);
    }
    if (size <= strlen(SUFFIX) ||
        strncmp(file + size - strlen(SUFFIX), SUFFIX, strlen(SUFFIX)) != 0) {
        return 0;
    }
    return size - strlen(SUFFIX);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char **trace_names(const char *folder, size_t *n) {
    DIR *dir = opendir(folder);
    char **names = NULL;
    struct dirent *file;

    *n = 0;
    if (dir == NULL) {
        die("can't be opened", folder);
    }
    while ((file = readdir(dir)) != NULL) {
        size_t size = is_trace(file->d_name);
        if (size == 0) {
            continue;
        }
        names = realloc(names, (*n + 1) * sizeof(*names));
        if (names == NULL) {
            die("out of memory", folder);
        }
        names[*n] = allocate(size + 1, 1);
        memcpy(names[(*n)++], file->d_name, size);
    }
    closedir(dir);
    if (*n == 0) {
        die("no traces, *" SUFFIX " or *" SUFFIX PACKED ", are there", folder);
    }
    qsort(names, *n, sizeof(*names), by_name);
    return names;
}

// ------------------------------------------------------------------ reading

// A program's output is read, so that nothing needs a library to unpack.
static FILE *unpack(const char *path) {
    int ends[2], file = open(path, O_RDONLY | O_CLOEXEC);

    if (file < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        return NULL;
    }
    switch (fork()) {
        case -1:
            return NULL;
        case 0:
            dup2(file, 0);
            dup2(ends[1], 1);
            execlp("zstd", "zstd", "-dcq", "--long=27", (char *)NULL);
            perror("zstd, which unpacks traces");
            _exit(127);
        default:
            close(file);
            close(ends[1]);
            return fdopen(ends[0], "rb");
    }
}

static FILE *open_part(const char *folder, const char *name,
                       const char *suffix, char path[PATH_MOST]) {
    snprintf(path, PATH_MOST, "%s/%s%s", folder, name, suffix);
    if (access(path, R_OK) == 0) {
        return fopen(path, "rb");
    }
    snprintf(path, PATH_MOST, "%s/%s%s" PACKED, folder, name, suffix);
    return access(path, R_OK) == 0 ? unpack(path) : NULL;
}

// All of a file: *n numbers of that many bytes each; NULL: it isn't there.
static void *read_part(const char *folder, const char *name,
                       const char *suffix, size_t each, size_t *n) {
    char path[PATH_MOST];
    FILE *f = open_part(folder, name, suffix, path);
    size_t room = 0, got = 0;
    unsigned char *bytes = NULL;

    if (f == NULL) {
        return NULL;
    }
    do {
        if (got == room) {
            room = room == 0 ? (size_t)1 << 20 : 2 * room;
            bytes = realloc(bytes, room);
            if (bytes == NULL) {
                die("out of memory", path);
            }
        }
        got += fread(bytes + got, 1, room - got, f);
    } while (!feof(f) && !ferror(f));
    fclose(f);
    *n = got / each;
    if (got == 0 || got % each != 0) {
        die("can't be read, or isn't whole", path);
    }
    return bytes;
}

// A hash table of keys seen, open addressing; a slot is the number and 1.
struct seen {
    uint64_t *key;
    uint32_t *number;
    size_t slots;
};

static uint32_t number_of(struct seen *s, uint64_t key, uint32_t *n) {
    size_t i = (key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (s->slots - 1);

    while (s->number[i] != 0 && s->key[i] != key) {
        i = (i + 1) & (s->slots - 1);
    }
    if (s->number[i] == 0) {
        s->key[i] = key;
        s->number[i] = ++*n;
    }
    return s->number[i] - 1;
}

static void number_keys(struct trace *t, const uint64_t *keys) {
    struct seen s = {NULL, NULL, 16};
    size_t i;

    while (s.slots < 2 * t->n) {
        s.slots *= 2;
    }
    s.key = allocate(s.slots, sizeof(*s.key));
    s.number = allocate(s.slots, sizeof(*s.number));
    t->key = allocate(t->n, sizeof(*t->key));
    for (i = 0; i < t->n; i++) {
        t->key[i] = number_of(&s, keys[i], &t->n_keys);
    }
    free(s.key);
    free(s.number);
}

// What is known of each request, as one number for each key: the greatest.
static uint32_t *read_of_keys(const struct trace *t, const char *folder,
                              const char *suffix) {
    uint32_t *of_key, *of_request;
    size_t n, i;

    of_request = read_part(folder, t->name, suffix, sizeof(*of_request), &n);
    if (of_request == NULL) {
        return NULL;
    }
    if (n != t->n) {
        die("has another number of requests than its keys", t->name);
    }
    of_key = allocate(t->n_keys, sizeof(*of_key));
    for (i = 0; i < n; i++) {
        uint32_t x = of_request[i] == 0 ? 1 : of_request[i];
        if (x > of_key[t->key[i]]) {
            of_key[t->key[i]] = x;
        }
    }
    free(of_request);
    return of_key;
}

struct trace trace_read(const char *folder, const char *name) {
    struct trace t = {NULL, 0, NULL, 0, NULL, NULL};
    uint64_t *keys = read_part(folder, name, SUFFIX, sizeof(*keys), &t.n);

    if (keys == NULL) {
        die("no such trace", name);
    }
    t.name = strdup(name);
    number_keys(&t, keys);
    free(keys);
    t.size = read_of_keys(&t, folder, ".size.u32");
    t.cost = read_of_keys(&t, folder, ".cost.u32");
    return t;
}

void trace_free(struct trace *t) {
    free(t->name);
    free(t->key);
    free(t->size);
    free(t->cost);
    memset(t, 0, sizeof(*t));
}

// ------------------------------------------------------------------ made up

const char *const trace_made[] = {"zipf", "loop", "zigzag", "recency", "phases",
                                  NULL};

// Saw-tooth: up and down through all keys.
static uint64_t zigzag(size_t i, uint64_t n_keys) {
    uint64_t at = i % (2 * n_keys);

    return at < n_keys ? at : 2 * n_keys - 1 - at;
}

// Most requests are for what was asked for shortly before, and old keys never
// come back.
static uint64_t recency(size_t i, uint64_t *random) {
    uint64_t newest = i / 4, x = bench_random(random);
    uint64_t back = (uint64_t)(-400. * log(((double)(x >> 11) + 1) / 0x1p53));

    return back > newest ? 0 : newest - back;
}

struct trace trace_make(const char *kind, size_t n) {
    struct trace t = {NULL, n, NULL, 0, NULL, NULL};
    uint64_t *keys = allocate(n, sizeof(*keys));
    size_t range = n / 20 < 16 ? 16 : n / 20, i;
    uint32_t *zipf = bench_stream("zipf", n, range, 7);
    uint64_t random = 11;

    for (i = 0; i < n; i++) {
        if (strcmp(kind, "zipf") == 0) {
            keys[i] = zipf[i];
        } else if (strcmp(kind, "loop") == 0) {
            keys[i] = i % range;
        } else if (strcmp(kind, "zigzag") == 0) {
            keys[i] = zigzag(i, range);
        } else if (strcmp(kind, "recency") == 0) {
            keys[i] = recency(i, &random);
        } else if (strcmp(kind, "phases") == 0) {
            // What is popular changes, with scans in between.
            keys[i] = i % (n / 4 + 1) < n / 16
                          ? range * 8 + i
                          : zipf[i] + i / (n / 4 + 1) * range / 2;
        } else {
            die("no such kind of trace", kind);
        }
    }
    t.name = allocate(strlen(kind) + 6, 1);
    snprintf(t.name, strlen(kind) + 6, "made-%s", kind);
    number_keys(&t, keys);
    free(keys);
    free(zipf);
    return t;
}

// ------------------------------------------------------------------ costs

static double normal(uint64_t *random) {
    double u = ((double)(bench_random(random) >> 11) + 1) / 0x1p53;
    double v = (double)(bench_random(random) >> 11) / 0x1p53;

    return sqrt(-2 * log(u)) * cos(2 * 3.14159265358979 * v);
}

int trace_make_costs(struct trace *t, const char *model) {
    double sigma = 0;
    uint64_t random = 77777;
    uint32_t i;
    char end;

    if (strcmp(model, "two") != 0 &&
        (sscanf(model, "logn:%lf%c", &sigma, &end) != 1 || sigma <= 0 ||
         sigma > 10)) {
        return -1;
    }
    free(t->cost);
    t->cost = allocate(t->n_keys, sizeof(*t->cost));
    for (i = 0; i < t->n_keys; i++) {
        double cost = sigma == 0
                          ? (bench_random(&random) % 10 == 0 ? 10000 : 100)
                          : 1000 * exp(sigma * normal(&random));
        t->cost[i] = cost < 1 ? 1 : cost > 4e9 ? (uint32_t)4e9 : (uint32_t)cost;
    }
    return 0;
}
