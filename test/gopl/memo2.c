// memo2 (9.7): all of get under one mutex.  What it gets wrong: f is called
// with the mutex held, so that one slow key holds up all the others.
#include "sync/mutex.h"
#include "test/gopl/gopl.h"
#include "test/gopl/map.h"

struct stage {
    memo_func *f;
    void *arg;
    struct sync_mutex mu;
    struct map cache;  // guarded by mu
};

static struct stage *make2(memo_func *f, void *arg) {
    struct stage *s = calloc(1, sizeof *s);

    s->f = f;
    s->arg = arg;
    return s;
}

static int get2(struct stage *s, const char *key) {
    struct entry *e;
    int value;

    sync_mutex_lock(&s->mu);
    e = map_find(&s->cache, key);
    if (e == NULL) {
        e = map_add(&s->cache, key);
        e->value = s->f(s->arg, key);
    }
    value = e->value;
    sync_mutex_unlock(&s->mu);
    return value;
}

static void end2(struct stage *s) {
    map_free(&s->cache);
    free(s);
}

const struct memo_stage memo2 = {make2, get2, end2};
