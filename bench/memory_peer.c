// What memory.c does, of a peer in C or C++.
//
//     memory-NAME NAME [--entries N] [--json FILE]
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/resident.h"
#include "bench/subject.h"

int main(int argc, char **argv) {
    size_t entries = 1000000, i;
    FILE *json = NULL;
    const struct bench_option known[] = {
        {"--entries", .number = &entries}, {"--json", .file = &json}, {.name = NULL}};
    double before;

    if (bench_options(argc, argv, 2, known) != argc || entries < 1000) {
        fprintf(stderr, "usage: memory-NAME NAME [--entries N] [--json FILE]\n");
        return 2;
    }
    subject_thread_begin();
    before = resident_bytes(0);
    subject_init(entries);
    for (i = 0; i < entries; i++) {
        char key[RESIDENT_KEY], value[RESIDENT_VALUE];
        resident_key(i, key);
        resident_value(i, value);
        subject_put(key, sizeof(key), value);
    }
    resident_print(argv[1], subject_about, entries, resident_bytes(0) - before,
                   json);
    if (json != NULL) {
        fclose(json);
    }
    fflush(stdout);
    _Exit(0);
}
