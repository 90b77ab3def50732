// Concurrency Kit's hash table: one writer, many readers, byte strings as keys.
// It leaves reclamation to the user; ck_epoch is what comes with it.
#include <ck_epoch.h>
#include <ck_ht.h>
#include <ck_malloc.h>
#include <stdlib.h>

#include "bench/subject.h"
#include "bench/value.h"

const char subject_about[] = "C " PEER_VERSION;

static ck_ht_t table;
static ck_epoch_t epoch;
static __thread ck_epoch_record_t *record;

static void *allocate(size_t size) {
    return malloc(size);
}

// Nobody reads while the table is filled.
static void deallocate(void *p, size_t size, bool defer) {
    (void)size;
    (void)defer;
    free(p);
}

static struct ck_malloc allocator = {.malloc = allocate, .free = deallocate};

static void hash(struct ck_ht_hash *h, const void *key, size_t size,
                 uint64_t seed) {
    (void)seed;
    h->value = bench_hash(key, size);
}

void subject_init(size_t capacity) {
    (void)capacity;
    ck_epoch_init(&epoch);
    if (!ck_ht_init(&table, CK_HT_MODE_BYTESTRING, hash, &allocator, 1024, 1)) {
        abort();
    }
}

void subject_exit(void) {
    ck_ht_iterator_t at = CK_HT_ITERATOR_INITIALIZER;
    ck_ht_entry_t *entry;

    while (ck_ht_next(&table, &at, &entry)) {
        free(ck_ht_entry_value(entry));
    }
    ck_ht_destroy(&table);
}

void subject_put(const void *key, size_t size, const void *value) {
    unsigned char *p = malloc(size + VALUE_SIZE);
    ck_ht_entry_t entry;
    ck_ht_hash_t h;

    if (p == NULL) {
        abort();
    }
    memcpy(p, value, VALUE_SIZE);
    memcpy(p + VALUE_SIZE, key, size);
    ck_ht_hash(&h, &table, p + VALUE_SIZE, (uint16_t)size);
    ck_ht_entry_set(&entry, h, p + VALUE_SIZE, (uint16_t)size, p);
    if (!ck_ht_put_spmc(&table, h, &entry)) {
        abort();
    }
}

void subject_thread_begin(void) {
    record = ck_epoch_recycle(&epoch, NULL);
    if (record == NULL) {
        if (posix_memalign((void **)&record, 64, sizeof(*record)) != 0) {
            abort();
        }
        ck_epoch_register(&epoch, record, NULL);
    }
}

void subject_thread_end(void) {
    ck_epoch_unregister(record);
}

uint64_t subject_run(const unsigned char *key, size_t stride, size_t n) {
    uint64_t sum = 0;

    for (; n != 0; n--, key += stride) {
        uint16_t size = (uint16_t)subject_key_size(key, stride);
        ck_ht_entry_t entry;
        ck_ht_hash_t h;
        ck_epoch_begin(record, NULL);
        ck_ht_hash(&h, &table, key, size);
        ck_ht_entry_key_set(&entry, key, size);
        if (!ck_ht_get_spmc(&table, h, &entry)) {
            abort();
        }
        sum += sum_of(ck_ht_entry_value(&entry));
        ck_epoch_end(record, NULL);
    }
    return sum;
}
