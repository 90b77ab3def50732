// makeThumbnails6 (8.5): a thread for each thumbnail, their sizes through a
// channel, which a closer closes when the wait group says that all are made.
#include <stdlib.h>

#include "sync/atomic.h"
#include "sync/chan.h"
#include "sync/waitgroup.h"
#include "test/gopl/gopl.h"

struct thumbnails {
    int (*make)(int i);
    struct sync_chan *sizes;   // of int
    struct sync_waitgroup wg;  // number of working threads
};

struct worker {
    struct thumbnails *all;
    int i;
    struct sync_thread thread;
};

static void *work_on_one(void *arg) {
    struct worker *w = arg;
    int size = w->all->make(w->i);

    sync_chan_send(w->all->sizes, &size, SYNC_NEVER, NULL);
    sync_waitgroup_done(&w->all->wg);
    return NULL;
}

static void *closer(void *arg) {
    struct thumbnails *all = arg;

    sync_waitgroup_wait(&all->wg, SYNC_NEVER, NULL);
    sync_chan_close(all->sizes);
    return NULL;
}

int thumbnails_total(int (*make)(int i), int n) {
    struct thumbnails all = {.make = make,
                             .sizes = sync_chan_new(sizeof(int), 0)};
    struct worker *workers = calloc((size_t)n, sizeof *workers);
    struct sync_thread closing;
    int i, size;
    int total = 0;

    for (i = 0; i < n; i++) {
        sync_waitgroup_add(&all.wg, 1);  // before it starts, not inside it
        workers[i].all = &all;
        workers[i].i = i;
        sync_thread_start(&workers[i].thread, work_on_one, &workers[i]);
    }
    sync_thread_start(&closing, closer, &all);
    while (sync_chan_recv(all.sizes, &size, SYNC_NEVER, NULL) == SYNC_OK) {
        total += size;
    }
    for (i = 0; i < n; i++) {
        sync_thread_join(&workers[i].thread);
    }
    sync_thread_join(&closing);
    sync_chan_free(all.sizes);
    free(workers);
    return total;
}
