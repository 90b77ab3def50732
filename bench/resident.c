#include "bench/resident.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"

void resident_key(uint64_t i, char key[RESIDENT_KEY]) {
    static const char digits[] = "0123456789abcdef";
    uint64_t state = i, x = bench_random(&state);  // one to one
    int at;

    for (at = 0; at < RESIDENT_KEY; at++, x >>= 4) {
        key[at] = digits[x & 15];
    }
}

void resident_value(uint64_t i, char value[RESIDENT_VALUE]) {
    int at;

    for (at = 0; at < RESIDENT_VALUE; at += RESIDENT_KEY) {
        resident_key(i, value + at);
    }
}

double resident_bytes(pid_t pid) {
    char path[64];
    long size = 0, resident = 0;
    FILE *f;

    if (pid == 0) {
        snprintf(path, sizeof(path), "/proc/self/statm");
    } else {
        snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    }
    f = fopen(path, "r");
    if (f == NULL || fscanf(f, "%ld %ld", &size, &resident) != 2) {
        fprintf(stderr, "%s can't be read\n", path);
        exit(1);
    }
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

void resident_print(const char *system, const char *about, uint64_t entries,
                    double bytes, FILE *json) {
    double each = bytes / (double)entries - RESIDENT_KEY - RESIDENT_VALUE;

    printf("memory %-18s %10llu entries  %7.1f bytes each beyond key and value"
           "  %s\n",
           system, (unsigned long long)entries, each, about);
    fflush(stdout);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"memory\",\"system\":\"%s\",\"about\":\"%s\","
                "\"entries\":%llu,\"key\":%d,\"value\":%d,"
                "\"overhead_bytes\":%.2f}\n",
                system, about, (unsigned long long)entries, RESIDENT_KEY,
                RESIDENT_VALUE, each);
        fflush(json);
    }
}
