// Tags and dependencies on the scheduler: whatever is changed while a load is at
// it, no call that begins afterwards gets what was made before (I1, D1).
#include "test/support/memo_sched.h"

const char sched_suite[] = "MemoLinkSched";

struct scene {
    uint32_t engine;
    int n_threads;
    int (*change)(void);  // what the first thread does
    const char *key;      // what it gets then
    const char *others;   // what the others get
    int made_before;      // whether these keys are resident at first
    uint64_t seed;        // says in which of two shards a key is
};

// "leaf" and "early" and "late" are the epoch in which their load began; the latter
// two with a tag, added before the value or after.  "made" is made from "leaf",
// "remade" from "made", "held" from "leaf", which it got in another way.
static int load(void *arg, struct memo_load *l) {
    uint32_t value = SYNC_LOAD_ACQ(&epoch);
    const char *key = memo_load_key(l, NULL);
    struct memo_value v;
    int error;
    (void)arg;
    if (strcmp(key, "leaf") == 0) {
        return memo_load_return(l, &value, sizeof value);
    }
    if (strcmp(key, "early") == 0 || strcmp(key, "late") == 0) {
        if (key[0] == 'e') {
            SCHED_ASSERT(memo_load_add_tag(l, "t", 1) == 0);
        }
        SCHED_ASSERT(memo_load_return(l, &value, sizeof value) == 0);
        return key[0] == 'l' ? memo_load_add_tag(l, "t", 1) : 0;
    }
    if (strcmp(key, "held") == 0) {
        SCHED_ASSERT(memo_get(memo, "leaf", 4, &v) == 0);
        SCHED_ASSERT(memo_load_depend(l, &v) == 0);
    } else if (strcmp(key, "made") == 0) {
        SCHED_ASSERT(memo_load_get(l, "leaf", 4, NULL, &v) == 0);
    } else {
        SCHED_ASSERT(memo_load_get(l, "made", 4, NULL, &v) == 0);
    }
    SYNC_DATA_READ(v.data);
    error = memo_load_return(l, v.data, v.size);
    memo_release(&v);
    return error;
}

static struct memo *make(const struct scene *scene) {
    const uint64_t seed[4] = {scene->seed, 2, 3, 4};
    return new_memo((struct memo_options){.load = load,
                                          .hash_seed = seed,
                                          .engine = scene->engine,
                                          .shards = 2});
}

static void setup(void *arg) {
    const struct scene *scene = arg;
    SYNC_INIT(&n_users, (uint32_t)scene->n_threads);
    SYNC_INIT(&epoch, 0);
    memo = make(scene);
    if (scene->made_before) {
        (void)get(scene->key);
        (void)get(scene->others);
    }
}

// The first thread changes something, and gets; the others get meanwhile.
static void change_or_get(void *arg, int id) {
    const struct scene *scene = arg;
    if (id == 0) {
        SYNC_STORE_REL(&epoch, 1);
        SCHED_ASSERT(scene->change() == 0);
        SCHED_ASSERT(get(scene->key) == 1);
        SCHED_ASSERT(get(scene->others) == 1);
    } else {
        (void)get(scene->others);
    }
    leave();
}

static int change_tag(void) {
    return memo_invalidate_tag(memo, "t", 1);
}

static int change_key(void) {
    return memo_invalidate(memo, "leaf", 4);
}

static int put_key(void) {
    uint32_t value = 1;
    return memo_put(memo, "leaf", 4, &value, sizeof value);
}

static int refresh_key(void) {
    return memo_refresh(memo, "leaf", 4);
}

static int change_all(void) {
    return memo_clear(memo);
}

// The tag leaves and comes back all the time: the last reference to a source goes
// while another is taken.
static int change_tag_twice(void) {
    SCHED_ASSERT(memo_invalidate(memo, "early", 5) == 0);
    (void)memo_maintain(memo, 0);
    return change_tag();
}

static struct scene early;

static void check(void *arg) {
    (void)arg;
    check_gone(make(&early));
}

#define BOUNDED(n) \
    { .mode = SCHED_BOUNDED, .bound = n, .max_executions = 10000 }
#define DEEP \
    { .mode = SCHED_PCT, .bound = 5, .max_executions = 4000 }

#define LOCK(n, ...) \
    { MEMO_ENGINE_LOCK, n, __VA_ARGS__ }
#define MONITOR(n, ...) \
    { MEMO_ENGINE_MONITOR, n, __VA_ARGS__ }

// With it, "made" is in a shard that is cleared before that of "leaf".
#define SEED 4

static struct scene early = LOCK(2, change_tag, "early", "early", 0, 0),
                    late = LOCK(2, change_tag, "late", "late", 0, 0),
                    late3 = LOCK(3, change_tag, "late", "late", 0, 0),
                    two3 = LOCK(3, change_tag, "late", "early", 0, 0),
                    tag = LOCK(2, change_tag_twice, "late", "early", 1, 0),
                    tag3 = LOCK(3, change_tag_twice, "early", "late", 0, 0),
                    made = LOCK(2, change_key, "made", "made", 1, 0),
                    fresh = LOCK(2, change_key, "made", "made", 0, 0),
                    fresh3 = LOCK(3, change_key, "made", "remade", 0, 0),
                    held = LOCK(2, change_key, "held", "held", 0, 0),
                    put = LOCK(2, put_key, "made", "remade", 1, 0),
                    put3 = LOCK(3, put_key, "remade", "held", 0, 0),
                    refresh = LOCK(2, refresh_key, "made", "made", 1, 0),
                    refresh3 = LOCK(3, refresh_key, "made", "remade", 1, 0),
                    clear = LOCK(2, change_all, "made", "made", 1, SEED),
                    clear3 = LOCK(3, change_all, "made", "remade", 1, SEED),
                    monitor = MONITOR(2, change_tag, "late", "late", 0, 0),
                    monitor_made = MONITOR(2, put_key, "made", "held", 0, 0);

SCHED_CASES({"EarlyTag", {2, setup, change_or_get, check, &early}, BOUNDED(2)},
            {"LateTag", {2, setup, change_or_get, check, &late}, BOUNDED(2)},
            {"LateTagThree", {3, setup, change_or_get, check, &late3}, DEEP},
            {"TwoTagsThree", {3, setup, change_or_get, check, &two3}, DEEP},
            {"TagGoes", {2, setup, change_or_get, check, &tag}, BOUNDED(2)},
            {"TagGoesThree", {3, setup, change_or_get, check, &tag3}, DEEP},
            {"Made", {2, setup, change_or_get, check, &made}, BOUNDED(2)},
            {"Fresh", {2, setup, change_or_get, check, &fresh}, BOUNDED(2)},
            {"FreshThree", {3, setup, change_or_get, check, &fresh3}, DEEP},
            {"Held", {2, setup, change_or_get, check, &held}, BOUNDED(2)},
            {"Put", {2, setup, change_or_get, check, &put}, BOUNDED(2)},
            {"PutThree", {3, setup, change_or_get, check, &put3}, DEEP},
            {"Refresh", {2, setup, change_or_get, check, &refresh}, BOUNDED(2)},
            {"RefreshThree", {3, setup, change_or_get, check, &refresh3}, DEEP},
            {"Clear", {2, setup, change_or_get, check, &clear}, BOUNDED(2)},
            {"ClearThree", {3, setup, change_or_get, check, &clear3}, DEEP},
            {"Monitor", {2, setup, change_or_get, check, &monitor}, DEEP},
            {"MonitorMade",
             {2, setup, change_or_get, check, &monitor_made},
             DEEP});
