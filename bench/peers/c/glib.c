// GLib's hash table behind one mutex: what a C program that has GLib does.
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/subject.h"
#include "bench/value.h"

const char subject_about[] = "C " PEER_VERSION;

struct key {
    const unsigned char *bytes;
    size_t size;
};

static GHashTable *table;
static GMutex mutex;

static guint hash(gconstpointer key) {
    const struct key *k = key;

    return (guint)bench_hash(k->bytes, k->size);
}

static gboolean equal(gconstpointer a, gconstpointer b) {
    const struct key *x = a, *y = b;

    return x->size == y->size && memcmp(x->bytes, y->bytes, x->size) == 0;
}

void subject_init(size_t capacity) {
    (void)capacity;
    table = g_hash_table_new_full(hash, equal, free, NULL);
}

void subject_exit(void) {
    g_hash_table_destroy(table);
}

void subject_put(const void *key, size_t size, const void *value) {
    struct key *k = malloc(sizeof(*k) + size + VALUE_SIZE);
    unsigned char *bytes = (unsigned char *)(k + 1);

    if (k == NULL) {
        abort();
    }
    memcpy(bytes, value, VALUE_SIZE);
    memcpy(bytes + VALUE_SIZE, key, size);
    *k = (struct key){bytes + VALUE_SIZE, size};
    g_mutex_lock(&mutex);
    g_hash_table_insert(table, k, bytes);
    g_mutex_unlock(&mutex);
}

void subject_thread_begin(void) {
}

void subject_thread_end(void) {
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        struct key k = {key, subject_key_size(key, stride)};
        const void *value;
        g_mutex_lock(&mutex);
        value = g_hash_table_lookup(table, &k);
        if (value == NULL) {
            abort();
        }
        // Under the mutex: another thread might remove it.
        sum += sum_of(value);
        g_mutex_unlock(&mutex);
    }
    return sum;
}
