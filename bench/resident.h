// How much memory an entry takes up: what memory.c, and programs like it around
// peers, share.
#ifndef MEMO_BENCH_RESIDENT_H_
#define MEMO_BENCH_RESIDENT_H_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define RESIDENT_KEY 16
#define RESIDENT_VALUE 64

// The key of entry i, 16 letters and digits; its value is four times that.
void resident_key(uint64_t i, char key[RESIDENT_KEY]);
void resident_value(uint64_t i, char value[RESIDENT_VALUE]);

// Bytes of memory that a process takes up; 0: this one.
double resident_bytes(pid_t pid);

// Print what entries entries have added to memory, beyond their keys and values;
// and as JSON to json, unless NULL.
void resident_print(const char *system, const char *about, uint64_t entries,
                    double bytes, FILE *json);

#endif  // MEMO_BENCH_RESIDENT_H_
