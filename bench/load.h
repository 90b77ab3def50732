// The load function of benchmarks that want what each key has: see value.h.
#ifndef MEMO_BENCH_LOAD_H_
#define MEMO_BENCH_LOAD_H_

#include "bench/value.h"
#include "memo/memo.h"

static inline int bench_load(void *unused, struct memo_load *l) {
    size_t size;
    const void *key = memo_load_key(l, &size);
    void *value = memo_load_reserve(l, VALUE_SIZE);

    (void)unused;
    if (value == NULL) {
        return MEMO_ENOMEM;
    }
    make_value(key, size, value);
    return 0;
}

#endif  // MEMO_BENCH_LOAD_H_
