// What does each part of a hit cost?  Like hit, but takes the hit to pieces: each
// line does what the line above does, and one thing more.
//
//     ingredients [--keys N] [--rounds N] [--only uniform] [--json FILE]
//     ingredients --count NAME N
//
// --count does one of the lines N times to one key, and no more: for counting
// instructions, see the script beside it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/floor.h"
#include "bench/load.h"
#include "memo/entry.h"
#include "memo/find.h"
#include "memo/internal.h"
#include "memo/shard.h"

#define STREAM ((size_t)1 << 21)
#define KEY 16

enum part { HASH, FIND, COMPARE, PIN, COUNT, VALUE };

struct setup {
    struct bench_keys keys;
    unsigned char *stream;  // keys
    struct floor_table floor;
    struct memo *memo;
};

static void unexpected(void) {
    fprintf(stderr, "ingredients: a key isn't where it was\n");
    exit(1);
}

// memo_get() and memo_release(), up to some part; the others fold away.
static inline __attribute__((always_inline)) uint64_t hit(
    enum part part, struct memo *m, const unsigned char *key) {
    uint64_t hash = hash_key(&m->seed, key, KEY), word, flags, sum;
    struct shard *s = memo_shard_of_(m, hash);
    SYNC_ATOMIC(uint64_t) * slot;
    sync_pin_slot *pin = NULL;
    struct memo_value v;
    struct entry *e;

    if (part == HASH) {
        return hash;
    }
    // A few keys lie elsewhere; memo_get() finds those the long way.
    if (!table_guess(table_bucket(&s->table, hash), hash, &slot, &word)) {
        return 0;
    }
    e = (struct entry *)(uintptr_t)(word >> 16);
    if (part >= PIN) {
        pin = sync_pin_fast(e);
        if (pin == NULL) {
            pin = sync_pin_slow(e);  // this thread's first
        }
        if (!SYNC_IS_ACQ(slot, word)) {
            unexpected();
        }
    }
    if (part >= COMPARE && !table_is_hit(s, e, key, KEY, 0, &flags)) {
        if (part >= PIN) {
            sync_unpin(pin);
        }
        return 0;
    }
    if (part >= COUNT) {
        sync_tally_add(pin, m->tally);
    }
    if (part >= VALUE) {
        entry_describe(e, 0, KEY, &v);
        v.pin = (void *)(uintptr_t)pin;
        __asm__ volatile("" : : "r"(&v) : "memory");
        sum = sum_of(v.data);
        pin = v.pin;
        memset(&v, 0, sizeof(v));
        __asm__ volatile("" : : "r"(&v) : "memory");
        if (!SYNC_HAS_ACQ(&e->word, ENTRY_RETIRED_BIT)) {
            sync_unpin(pin);
        }
        return sum;
    }
    sum = sum_of(entry_value(e, KEY));
    if (part >= PIN) {
        sync_unpin(pin);
    }
    return sum;
}

static inline uint64_t one_floor(struct setup *s, const unsigned char *key) {
    return sum_of(floor_find(&s->floor, key, KEY)->bytes +
                  floor_value_offset(KEY));
}

static inline uint64_t one_public(struct setup *s, const unsigned char *key) {
    struct memo_value v;
    uint64_t sum;

    if (memo_get(s->memo, key, KEY, &v) != 0) {
        unexpected();
    }
    sum = sum_of(v.data);
    memo_release(&v);
    return sum;
}

#define RUN(name, one)                                                        \
    static __attribute__((noinline)) uint64_t run_##name(void *state, int t,  \
                                                         size_t offset,       \
                                                         size_t n) {          \
        struct setup *s = state;                                              \
        const unsigned char *key = s->stream + offset * KEY;                  \
        uint64_t sum = 0;                                                     \
        (void)t;                                                              \
        for (; n != 0; n--, key += KEY) {                                     \
            sum += one;                                                       \
        }                                                                     \
        return sum;                                                           \
    }

RUN(floor, one_floor(s, key))
RUN(hash, hit(HASH, s->memo, key))
RUN(find, hit(FIND, s->memo, key))
RUN(compare, hit(COMPARE, s->memo, key))
RUN(pin, hit(PIN, s->memo, key))
RUN(count, hit(COUNT, s->memo, key))
RUN(value, hit(VALUE, s->memo, key))
RUN(public, one_public(s, key))

static const struct bench_system all[] = {
    {"floor", run_floor, NULL, 0, 0},      {"hash", run_hash, NULL, 0, 0},
    {"find", run_find, NULL, 0, 0},        {"compare", run_compare, NULL, 0, 0},
    {"pin", run_pin, NULL, 0, 0},          {"count", run_count, NULL, 0, 0},
    {"value", run_value, NULL, 0, 0},      {"public", run_public, NULL, 0, 0},
};

#define N_ALL ((int)(sizeof(all) / sizeof(all[0])))

static void fill(struct setup *s, size_t n_keys) {
    struct memo_options options = {.size = sizeof(options), .load = bench_load};
    size_t slots = 1, i;

    s->keys = bench_keys_k16(n_keys);
    while (slots < 2 * n_keys) {
        slots *= 2;
    }
    s->floor.slot = calloc(slots, sizeof(uint64_t));
    s->floor.mask = slots - 1;
    if (s->floor.slot == NULL || memo_new(&options, &s->memo) != 0) {
        exit(1);
    }
    for (i = 0; i < n_keys; i++) {
        floor_insert(&s->floor, s->keys.bytes + i * KEY, KEY);
    }
    for (i = 0; i < 5 * n_keys; i++) {  // until all uses are saturated
        (void)one_public(s, s->keys.bytes + i % n_keys * KEY);
    }
}

static void make_stream(struct setup *s, const char *pattern) {
    uint32_t *numbers = bench_stream(pattern, STREAM, s->keys.n, 1);
    size_t i;

    free(s->stream);
    s->stream = malloc(STREAM * KEY);
    for (i = 0; s->stream != NULL && i < STREAM; i++) {
        memcpy(s->stream + i * KEY, s->keys.bytes + numbers[i] * KEY, KEY);
    }
    free(numbers);
}

static int count(const char *name, size_t n) {
    struct setup s = {.stream = NULL};
    int i;

    fill(&s, 1);
    s.stream = malloc(n * KEY);
    for (size_t k = 0; s.stream != NULL && k < n; k++) {
        memcpy(s.stream + k * KEY, s.keys.bytes, KEY);
    }
    for (i = 0; i < N_ALL; i++) {
        if (strcmp(all[i].name, name) == 0) {
            return all[i].run(&s, 0, 0, n) == 0;
        }
    }
    return 2;
}

static void compare(struct setup *s, const char *pattern, int rounds,
                    FILE *json) {
    struct bench_system systems[N_ALL];
    char title[64];
    int i;

    for (i = 0; i < N_ALL; i++) {
        systems[i] = all[i];
        systems[i].state = s;
        systems[i].differs = i != N_ALL - 1;  // not all do all
    }
    make_stream(s, pattern);
    snprintf(title, sizeof(title), "ingredients/k16/%s/1", pattern);
    bench_compare(title, systems, N_ALL, 1, rounds,
                  strcmp(pattern, "hot") == 0 ? 200000 : 32768, STREAM, json);
}

int main(int argc, char **argv) {
    static const char *const patterns[] = {"uniform", "zipf", "hot"};
    size_t n_keys = (size_t)1 << 20;
    struct setup s = {.stream = NULL};
    int rounds = 31, p;
    const char *only = "";
    FILE *json = NULL;
    const struct bench_option known[] = {{"--keys", .number = &n_keys},
                                         {"--rounds", .integer = &rounds},
                                         {"--only", .text = &only},
                                         {"--json", .file = &json},
                                         {.name = NULL}};

    if (argc == 4 && strcmp(argv[1], "--count") == 0) {
        return count(argv[2], strtoul(argv[3], NULL, 10));
    }
    if (bench_options(argc, argv, 1, known) != argc || n_keys < 16 ||
        rounds < 1) {
        fprintf(stderr, "usage: ingredients [--keys N] [--rounds N] "
                        "[--only PATTERN] [--json FILE]\n"
                        "       ingredients --count NAME N\n");
        return 2;
    }
    fill(&s, n_keys);
    for (p = 0; p < 3; p++) {
        if (strstr(patterns[p], only) != NULL) {
            compare(&s, patterns[p], rounds, json);
        }
    }
    memo_free(s.memo);
    if (json != NULL) {
        fclose(json);
    }
    return 0;
}
