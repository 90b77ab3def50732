// memo5 (9.7): the map is confined to a monitor, the server.  A request tells
// it a key and where to send the answer; it finds or makes the entry, and
// leaves calling f, and delivering the value, to threads of their own.
#include "sync/atomic.h"
#include "sync/chan.h"
#include "sync/waitgroup.h"
#include "test/gopl/gopl.h"
#include "test/gopl/map.h"

struct request {
    const char *key;
    struct sync_chan *response;  // of int: the client wants a single value
};

struct stage {
    memo_func *f;
    void *arg;
    struct sync_chan *requests;  // of struct request
    struct sync_waitgroup helpers;
    struct sync_thread server;
};

// What a helper thread is to do.
struct errand {
    struct stage *stage;
    struct entry *e;
    struct sync_chan *response;
};

static void *call(void *arg) {
    struct errand *errand = arg;
    struct stage *s = errand->stage;

    errand->e->value = s->f(s->arg, errand->e->key);
    sync_event_set(&errand->e->ready);
    free(errand);
    sync_waitgroup_done(&s->helpers);
    return NULL;
}

static void *deliver(void *arg) {
    struct errand *errand = arg;
    struct stage *s = errand->stage;

    sync_event_wait(&errand->e->ready, SYNC_NEVER, NULL);
    sync_chan_send(errand->response, &errand->e->value, SYNC_NEVER, NULL);
    free(errand);
    sync_waitgroup_done(&s->helpers);
    return NULL;
}

// go fn(errand)
static void go(void *(*fn)(void *), struct errand errand) {
    struct errand *copy = malloc(sizeof *copy);
    struct sync_thread t;

    *copy = errand;
    sync_waitgroup_add(&errand.stage->helpers, 1);
    sync_thread_start(&t, fn, copy);
    sync_thread_detach(&t);
}

static void *serve(void *arg) {
    struct stage *s = arg;
    struct map cache = {NULL};  // confined to this thread
    struct request r;

    while (sync_chan_recv(s->requests, &r, SYNC_NEVER, NULL) == SYNC_OK) {
        struct entry *e = map_find(&cache, r.key);

        if (e == NULL) {
            e = map_add(&cache, r.key);
            go(call, (struct errand){s, e, NULL});
        }
        go(deliver, (struct errand){s, e, r.response});
    }
    sync_waitgroup_wait(&s->helpers, SYNC_NEVER, NULL);
    map_free(&cache);
    return NULL;
}

static struct stage *make5(memo_func *f, void *arg) {
    struct stage *s = calloc(1, sizeof *s);

    s->f = f;
    s->arg = arg;
    s->requests = sync_chan_new(sizeof(struct request), 0);
    sync_thread_start(&s->server, serve, s);
    return s;
}

static int get5(struct stage *s, const char *key) {
    struct request r = {key, sync_chan_new(sizeof(int), 1)};
    int value = 0;

    sync_chan_send(s->requests, &r, SYNC_NEVER, NULL);
    sync_chan_recv(r.response, &value, SYNC_NEVER, NULL);
    sync_chan_free(r.response);
    return value;
}

static void end5(struct stage *s) {
    sync_chan_close(s->requests);
    sync_thread_join(&s->server);
    sync_chan_free(s->requests);
    free(s);
}

const struct memo_stage memo5 = {make5, get5, end5};
