// The table on the scheduler: entries come home, are pulled up from a chain and move
// to another group while readers look for them, and none of these misses one (H2).
#include <errno.h>

#include "memo/find.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "test/support/memo_sched.h"

const char sched_suite[] = "MemoTableSched";

// A group has room for 7 at one parity and for 6 at the other.
enum { GROUP = 13, KEY = 24, MOST_GONE = 2 };

struct scene {
    uint32_t home;  // of all keys: one of 32 buckets, when there are as many
    int n_keys;
    int n_others;   // other keys, all over the table
    int n_gone;     // so many of the keys are removed, the first ones
    int n_splits;   // so many groups are split
    int n_threads;
};

// With the second word known, all these keys hash to the same: see WeakSeed.
static struct hash_seed seed = {{1, 0x1111111111111111, 0, 0xbf58476d1ce4e5b9}};

// What has been removed.
static struct entry *gone[MOST_GONE];
static int n_gone;
static sync_atomic_u32 n_at_it;  // who takes it to zero retires them

static int load(void *arg, struct memo_load *l) {
    (void)arg;
    (void)l;
    return ENOENT;
}

static const unsigned char *key_of(int i) {
    static unsigned char key[256][KEY];
    key[i][0] = (unsigned char)i;
    memcpy(key[i] + 8, &seed.word[1], 8);
    return key[i];
}

static uint64_t hash_of_all(void) {
    return hash_key(&seed, key_of(0), KEY);
}

static void choose_seed(uint32_t home) {
    seed.word[2] = 1;
    do {
        seed.word[2] += 2;
    } while ((hash_bucket(hash_of_all()) & 31) != home);
}

static void put(const void *key, size_t size) {
    uint32_t value = 1;
    SCHED_ASSERT(memo_put(memo, key, size, &value, sizeof value) == 0);
}

static struct memo *make(void) {
    struct memo *m = new_memo((struct memo_options){.load = load, .shards = 1});
    m->seed = seed;
    return m;
}

static void setup(void *arg) {
    const struct scene *scene = arg;
    int i;
    choose_seed(scene->home);
    SYNC_INIT(&n_users, (uint32_t)scene->n_threads);
    SYNC_INIT(&n_at_it, (uint32_t)scene->n_threads);
    SYNC_INIT(&epoch, 0);
    n_gone = 0;
    memo = make();
    for (i = 0; i < scene->n_keys; i++) {
        put(key_of(i), KEY);
    }
    for (i = 0; i < scene->n_others; i++) {
        char key[2] = {'o', (char)i};
        put(key, sizeof key);
    }
}

static void remove_key(struct shard *s, const void *key) {
    struct table_place place;
    struct entry *e =
        memo_table_find_owned_(s, key, KEY, hash_of_all(), &place);
    SCHED_ASSERT(e != NULL);
    memo_table_remove_owned_(&s->table, place);
    gone[n_gone++] = e;
}

// The first thread is the owner, and makes the keys move that the others look for.
static void move(struct shard *s, const struct scene *scene) {
    int i;
    for (i = 0; i < scene->n_gone; i++) {
        remove_key(s, key_of(i));
    }
    for (i = 0; i < scene->n_splits; i++) {
        memo_table_grow_owned_(s);
    }
}

static void move_or_look(void *arg, int id) {
    const struct scene *scene = arg;
    struct shard *s = memo_shard_at_(memo, 0);
    struct memo_value v = {.data = NULL};
    const void *key = key_of(scene->n_keys - id);
    int i;
    if (id == 0) {
        move(s, scene);
    } else {
        SCHED_ASSERT(memo_table_find_(s, key, KEY, hash_of_all(), &v) == 1);
    }
    if (SYNC_SUB_ACQREL(&n_at_it, 1) == 1) {
        for (i = 0; i < n_gone; i++) {
            memo_retire_owned_(s, gone[i], MEMO_INVALIDATED);
        }
    }
    memo_release(&v);
    leave();
}

static void check(void *arg) {
    (void)arg;
    check_gone(make());
}

// All executions, but where that would be more than a million.
#define BOUNDED(n)                                                    \
    {                                                                 \
        .mode = SCHED_BOUNDED, .bound = n, .max_executions = 1000000, \
        .max_steps = 20000                                            \
    }

// The table begins to grow when it has more than 80.
enum { FULL = 81 };

static struct scene even = {2, 8, 0, 1, 0, 2}, odd = {3, 7, 0, 1, 0, 2},
                    both = {2, 9, 0, 2, 0, 3},
                    chain = {2, GROUP + 1, 0, 1, 0, 2},
                    chain_home = {2, GROUP + 1, 0, 2, 0, 2},
                    chains = {3, GROUP + 2, 0, 2, 0, 3},
                    upper = {16, 8, FULL - 8, 0, 1, 2},
                    upper_odd = {17, GROUP + 1, FULL - GROUP - 1, 0, 1, 2},
                    lower = {0, GROUP + 1, FULL - GROUP - 1, 1, 1, 2};

SCHED_CASES({"ComesHome", {2, setup, move_or_look, check, &even}, BOUNDED(2)},
            {"ComesHomeToOdd", {2, setup, move_or_look, check, &odd}, BOUNDED(2)},
            {"TwoComeHome", {3, setup, move_or_look, check, &both}, BOUNDED(2)},
            {"FromAChain", {2, setup, move_or_look, check, &chain}, BOUNDED(2)},
            {"FromAChainHome",
             {2, setup, move_or_look, check, &chain_home},
             BOUNDED(3)},
            {"TwoFromAChain",
             {3, setup, move_or_look, check, &chains},
             BOUNDED(1)},
            {"ToTheUpperHalf", {2, setup, move_or_look, check, &upper}, BOUNDED(2)},
            {"FromAChainToTheUpperHalf",
             {2, setup, move_or_look, check, &upper_odd},
             BOUNDED(2)},
            {"StaysInTheLowerHalf",
             {2, setup, move_or_look, check, &lower},
             BOUNDED(2)});
