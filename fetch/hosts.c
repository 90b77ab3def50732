#include "fetch/hosts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memo/memo.h"
#include "sync/clock.h"

// LIFETIME: from its first transfer to the end of its last.
struct fetch_host {
    struct sync_link link;
    struct sync_list waiting;  // host_link of turns, the oldest first
    uint32_t n_running;
    char name[];
};

static struct fetch_host *host_of(struct sync_link *link) {
    return SYNC_CONTAINER(link, struct fetch_host, link);
}

static struct fetch_turn *oldest(const struct fetch_hosts *h) {
    return SYNC_CONTAINER(h->waiting.first, struct fetch_turn, link);
}

static struct fetch_host *find(struct fetch_hosts *h, const char *name) {
    struct sync_link *link = h->hosts.first;
    size_t size = strlen(name) + 1;

    for (; link != NULL; link = sync_list_next(&h->hosts, link)) {
        if (strcasecmp(host_of(link)->name, name) == 0) {
            return host_of(link);
        }
    }
    struct fetch_host *host = calloc(1, sizeof *host + size);
    if (host != NULL) {
        memcpy(host->name, name, size);
        sync_list_push(&h->hosts, &host->link);
    }
    return host;
}

static void free_if_idle(struct fetch_hosts *h, struct fetch_host *host) {
    if (host->n_running == 0 && sync_list_is_empty(&host->waiting)) {
        sync_list_remove(&h->hosts, &host->link);
        free(host);
    }
}

static void stop_waiting(struct fetch_hosts *h, struct fetch_turn *t) {
    sync_list_remove(&h->waiting, &t->link);
    sync_list_remove(&t->host->waiting, &t->host_link);
}

int fetch_hosts_add_(struct fetch_hosts *h, const char *name,
                     struct fetch_turn *t) {
    t->host = find(h, name);
    if (t->host == NULL) {
        return MEMO_ENOMEM;
    }
    sync_list_push(&h->waiting, &t->link);
    sync_list_push(&t->host->waiting, &t->host_link);
    return 0;
}

struct fetch_turn *fetch_hosts_next_(struct fetch_hosts *h) {
    struct sync_link *link = h->hosts.first;

    if (h->n_running >= h->max_running || sync_list_is_empty(&h->waiting)) {
        return NULL;
    }
    for (; link != NULL; link = sync_list_next(&h->hosts, link)) {
        struct fetch_host *host = host_of(link);

        if (!sync_list_is_empty(&host->waiting) &&
            host->n_running < h->max_running_per_host) {
            struct fetch_turn *t = SYNC_CONTAINER(host->waiting.first,
                                                  struct fetch_turn, host_link);

            stop_waiting(h, t);
            sync_list_remove(&h->hosts, &host->link);
            sync_list_push(&h->hosts, &host->link);
            host->n_running++;
            h->n_running++;
            return t;
        }
    }
    return NULL;
}

void fetch_hosts_leave_(struct fetch_hosts *h, struct fetch_turn *t) {
    stop_waiting(h, t);
    free_if_idle(h, t->host);
}

void fetch_hosts_done_(struct fetch_hosts *h, struct fetch_turn *t) {
    t->host->n_running--;
    h->n_running--;
    free_if_idle(h, t->host);
}

struct fetch_turn *fetch_hosts_late_(struct fetch_hosts *h, int64_t now_ns) {
    if (fetch_hosts_deadline_(h) > now_ns || sync_list_is_empty(&h->waiting)) {
        return NULL;
    }
    struct fetch_turn *t = oldest(h);
    fetch_hosts_leave_(h, t);
    return t;
}

int64_t fetch_hosts_deadline_(const struct fetch_hosts *h) {
    // They came in this order, and all have the same time.
    return sync_list_is_empty(&h->waiting) ? SYNC_NEVER
                                           : oldest(h)->deadline_ns;
}
