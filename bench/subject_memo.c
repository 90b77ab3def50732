// memo itself: every hit is a memo_get(), which would load on a miss.
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"
#include "bench/subject.h"
#include "bench/value.h"
#include "memo/memo.h"

#define STR(x) #x
#define XSTR(x) STR(x)

const char subject_about[] = "C " XSTR(MEMO_VERSION_MAJOR) "." XSTR(
    MEMO_VERSION_MINOR) "." XSTR(MEMO_VERSION_PATCH);

static struct memo *memo;

void subject_init(size_t capacity) {
    // The same growth every time.
    static const uint64_t seed[4] = {1, 2, 3, 4};
    struct memo_options options = {.size = sizeof(options),
                                   .load = bench_load,
                                   .hash_seed = seed,
                                   .max_entries = capacity};

    if (memo_new(&options, &memo) != 0) {
        fprintf(stderr, "memo: cannot make a cache\n");
        exit(1);
    }
}

void subject_exit(void) {
    memo_free(memo);
}

static inline uint64_t get(const void *key, size_t size) {
    struct memo_value v;
    uint64_t sum;

    if (memo_get(memo, key, size, &v) != 0) {
        abort();
    }
    sum = sum_of(v.data);
    memo_release(&v);
    return sum;
}

void subject_put(const void *key, size_t size, const void *value) {
    (void)value;
    (void)get(key, size);
}

void subject_thread_begin(void) {
}

void subject_thread_end(void) {
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        sum += get(key, subject_key_size(key, stride));
    }
    return sum;
}
