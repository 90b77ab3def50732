// The floor, see floor.h.
#include "bench/floor.h"
#include "bench/subject.h"

const char subject_about[] = "C -";

static struct floor_table table;

void subject_init(size_t capacity) {
    size_t slots = 1;

    while (slots < 2 * capacity) {
        slots *= 2;
    }
    table.slot = calloc(slots, sizeof(*table.slot));
    table.mask = slots - 1;
    if (table.slot == NULL) {
        exit(1);
    }
}

void subject_exit(void) {
    size_t i;

    for (i = 0; i <= table.mask; i++) {
        free((void *)(uintptr_t)(table.slot[i] & (UINT64_MAX >> 16)));
    }
    free(table.slot);
}

void subject_put(const void *key, size_t size, const void *value) {
    (void)value;
    floor_insert(&table, key, size);
}

void subject_thread_begin(void) {
}

void subject_thread_end(void) {
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        size_t size = subject_key_size(key, stride);
        const struct floor_entry *e = floor_find(&table, key, size);
        sum += sum_of(e->bytes + floor_value_offset(size));
    }
    return sum;
}
