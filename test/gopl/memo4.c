// memo4 (9.7): the cache holds an entry as soon as somebody loads its key.  The
// first to come loads, and broadcasts that the entry is ready; the others wait
// for that entry alone.
#include "sync/mutex.h"
#include "test/gopl/gopl.h"
#include "test/gopl/map.h"

struct stage {
    memo_func *f;
    void *arg;
    struct sync_mutex mu;
    struct map cache;  // guarded by mu; values are published by their ready
};

static struct stage *make4(memo_func *f, void *arg) {
    struct stage *s = calloc(1, sizeof *s);

    s->f = f;
    s->arg = arg;
    return s;
}

static int get4(struct stage *s, const char *key) {
    struct entry *e;

    sync_mutex_lock(&s->mu);
    e = map_find(&s->cache, key);
    if (e == NULL) {
        // This is the first request for this key.  This thread computes the
        // value and broadcasts the ready condition.
        e = map_add(&s->cache, key);
        sync_mutex_unlock(&s->mu);

        e->value = s->f(s->arg, key);

        sync_event_set(&e->ready);
    } else {
        // This is a repeat request for this key.
        sync_mutex_unlock(&s->mu);

        sync_event_wait(&e->ready, SYNC_NEVER, NULL);
    }
    return e->value;
}

static void end4(struct stage *s) {
    map_free(&s->cache);
    free(s);
}

const struct memo_stage memo4 = {make4, get4, end4};
