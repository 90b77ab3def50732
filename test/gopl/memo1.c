// memo1 (9.7): a cache without synchronization.  What it gets wrong: two
// threads at once are a data race.
#include "test/gopl/gopl.h"
#include "test/gopl/map.h"

struct stage {
    memo_func *f;
    void *arg;
    struct map cache;
};

static struct stage *make1(memo_func *f, void *arg) {
    struct stage *s = calloc(1, sizeof *s);

    s->f = f;
    s->arg = arg;
    return s;
}

static int get1(struct stage *s, const char *key) {
    struct entry *e = map_find(&s->cache, key);

    if (e == NULL) {
        int value = s->f(s->arg, key);

        e = map_add(&s->cache, key);
        e->value = value;
    }
    return e->value;
}

static void end1(struct stage *s) {
    map_free(&s->cache);
    free(s);
}

const struct memo_stage memo1 = {make1, get1, end1};
