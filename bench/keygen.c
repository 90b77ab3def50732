// Writes keys, values and streams of key numbers to files, so that programs in
// any language can work on the same keys in the same order.
//
//     keygen [--keys N] [--stream N] FOLDER
//
// k16.keys, url.keys      as bench.h lays them out: 16 bytes a key, or 64 with
//                         the size in the last one
// k16.values, url.values  64 bytes a key
// PATTERN.THREAD          key numbers, 32 bits each, little-endian; PATTERN is
//                         uniform, zipf or hot, THREAD is 0 or 1
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/value.h"

static FILE *create(const char *folder, const char *name) {
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "wb");
    if (f == NULL) {
        perror(path);
        exit(1);
    }
    return f;
}

static void finish(FILE *f) {
    if (ferror(f) | fclose(f)) {
        fprintf(stderr, "keygen: cannot write\n");
        exit(1);
    }
}

static void write_keys(const char *folder, const struct bench_keys *keys) {
    char name[32];
    size_t i;
    FILE *f;

    snprintf(name, sizeof(name), "%s.keys", keys->name);
    f = create(folder, name);
    fwrite(keys->bytes, keys->stride, keys->n, f);
    finish(f);
    snprintf(name, sizeof(name), "%s.values", keys->name);
    f = create(folder, name);
    for (i = 0; i < keys->n; i++) {
        unsigned char value[VALUE_SIZE];
        size_t size;
        const void *key = bench_key(keys, i, &size);
        make_value(key, size, value);
        fwrite(value, sizeof(value), 1, f);
    }
    finish(f);
}

static void write_stream(const char *folder, const char *pattern, int thread,
                         size_t n, size_t n_keys) {
    uint32_t *stream = bench_stream(pattern, n, n_keys, (uint64_t)thread + 1);
    char name[32];
    size_t i;
    FILE *f;

    for (i = 0; i < n; i++) {
        stream[i] = htole32(stream[i]);
    }
    snprintf(name, sizeof(name), "%s.%d", pattern, thread);
    f = create(folder, name);
    fwrite(stream, sizeof(*stream), n, f);
    finish(f);
    free(stream);
}

int main(int argc, char **argv) {
    static const char *const patterns[] = {"uniform", "zipf", "hot"};
    size_t n_keys = (size_t)1 << 20, n_stream = (size_t)1 << 21;
    const struct bench_option known[] = {{"--keys", .number = &n_keys},
                                         {"--stream", .number = &n_stream},
                                         {.name = NULL}};
    struct bench_keys keys[2];
    int i, t;

    i = bench_options(argc, argv, 1, known);
    if (i != argc - 1 || n_keys < 16 || n_stream < 64) {
        fprintf(stderr, "usage: keygen [--keys N] [--stream N] FOLDER\n");
        return 2;
    }
    keys[0] = bench_keys_k16(n_keys);
    keys[1] = bench_keys_url(n_keys);
    for (t = 0; t < 2; t++) {
        write_keys(argv[i], &keys[t]);
        write_stream(argv[i], patterns[0], t, n_stream, n_keys);
        write_stream(argv[i], patterns[1], t, n_stream, n_keys);
        write_stream(argv[i], patterns[2], t, n_stream, n_keys);
        free(keys[t].bytes);
    }
    return 0;
}
