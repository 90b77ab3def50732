// memo3 (9.7): the mutex is held to look and held to store, but not to load.
// What it gets wrong: two who ask for the same key at once load it twice.
#include "sync/mutex.h"
#include "test/gopl/gopl.h"
#include "test/gopl/map.h"

struct stage {
    memo_func *f;
    void *arg;
    struct sync_mutex mu;
    struct map cache;  // guarded by mu
};

static struct stage *make3(memo_func *f, void *arg) {
    struct stage *s = calloc(1, sizeof *s);

    s->f = f;
    s->arg = arg;
    return s;
}

static int get3(struct stage *s, const char *key) {
    struct entry *e;
    int value = 0;

    sync_mutex_lock(&s->mu);
    e = map_find(&s->cache, key);
    if (e != NULL) {
        value = e->value;
    }
    sync_mutex_unlock(&s->mu);
    if (e != NULL) {
        return value;
    }

    value = s->f(s->arg, key);

    // Between the two critical sections others may have come to load the same
    // key, and to store it.
    sync_mutex_lock(&s->mu);
    map_add(&s->cache, key)->value = value;
    sync_mutex_unlock(&s->mu);
    return value;
}

static void end3(struct stage *s) {
    map_free(&s->cache);
    free(s);
}

const struct memo_stage memo3 = {make3, get3, end3};
