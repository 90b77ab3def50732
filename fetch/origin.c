// The server: what it counts and whom it lets wait.  Its pages are in
// origin_pages.c.
//
// Each connection has a thread, of libmicrohttpd's, so that a page that is slow
// or held may simply wait in it.
#include "fetch/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/deaf.h"
#include "fetch/origin_pages.h"
#include "sync/atomic.h"
#include "sync/list.h"
#include "sync/mutex.h"

#define N_STATUSES 600

struct path {
    struct sync_link link;
    uint64_t n_requests;
    int is_held;
    struct origin_mood mood;
    char name[];
};

struct origin {
    // Const after init.
    struct MHD_Daemon *daemon;
    char base[64];

    // Atomic.  Changes, and wakes all who sleep on it, when anything below
    // does.
    sync_atomic_u32 version;

    // Guarded by mu.
    struct sync_mutex mu;
    struct sync_list paths;
    uint64_t n_requests;
    uint64_t n_bytes;
    uint64_t n_connections;
    uint64_t n_answers[N_STATUSES];
    int is_ending;
};

static void changed(struct origin *o) {
    SYNC_ADD_ACQREL(&o->version, 1);
    sync_futex_wake(&o->version, INT32_MAX);
}

static struct path *path_of(struct sync_link *link) {
    return SYNC_CONTAINER(link, struct path, link);
}

// The record of the path of that name, made if need be.
static struct path *find_locked(struct origin *o, const char *name) {
    struct sync_link *link = o->paths.first;
    size_t size = strlen(name) + 1;

    for (; link != NULL; link = sync_list_next(&o->paths, link)) {
        if (strcmp(path_of(link)->name, name) == 0) {
            return path_of(link);
        }
    }
    struct path *p = calloc(1, sizeof *p + size);
    if (p == NULL) {
        abort();
    }
    memcpy(p->name, name, size);
    sync_list_push(&o->paths, &p->link);
    return p;
}

// ---------------------------------------------------------------- waiting

// Wait until is_true(o, p, n), which is asked with mu held, or deadline_ns.
static void await(struct origin *o, const char *name, uint64_t n,
                  int64_t deadline_ns,
                  int (*is_true)(const struct origin *, const struct path *,
                                 uint64_t)) {
    for (;;) {
        uint32_t version = SYNC_LOAD_ACQ(&o->version);
        sync_mutex_lock(&o->mu);
        int done = is_true(o, find_locked(o, name), n);
        sync_mutex_unlock(&o->mu);
        if (done || sync_futex_wait(&o->version, version, deadline_ns) ==
                        SYNC_ETIMEDOUT) {
            return;
        }
    }
}

static int is_released(const struct origin *o, const struct path *p,
                       uint64_t n) {
    (void)n;
    return o->is_ending || !p->is_held;
}

static int is_ending(const struct origin *o, const struct path *p, uint64_t n) {
    (void)p, (void)n;
    return o->is_ending;
}

static int has_come(const struct origin *o, const struct path *p, uint64_t n) {
    return o->is_ending || p->n_requests >= n;
}

static void hold(struct origin *o, const char *name, int is_held) {
    sync_mutex_lock(&o->mu);
    find_locked(o, name)->is_held = is_held;
    sync_mutex_unlock(&o->mu);
    changed(o);
}

void origin_hold(struct origin *o, const char *path) {
    hold(o, path, 1);
}

void origin_release(struct origin *o, const char *path) {
    hold(o, path, 0);
}

void origin_wait(struct origin *o, const char *path, uint64_t n) {
    await(o, path, n, SYNC_NEVER, has_come);
}

// ------------------------------------------------------------------ moods

void origin_change(struct origin *o, const char *path) {
    sync_mutex_lock(&o->mu);
    find_locked(o, path)->mood.version++;
    sync_mutex_unlock(&o->mu);
}

void origin_fail(struct origin *o, const char *path, unsigned status) {
    sync_mutex_lock(&o->mu);
    find_locked(o, path)->mood.status = status;
    sync_mutex_unlock(&o->mu);
}

void origin_redirect(struct origin *o, const char *path, const char *to) {
    sync_mutex_lock(&o->mu);
    struct origin_mood *mood = &find_locked(o, path)->mood;
    snprintf(mood->to, sizeof mood->to, "%s", to != NULL ? to : "");
    sync_mutex_unlock(&o->mu);
}

void origin_say(struct origin *o, const char *path, const char *control) {
    sync_mutex_lock(&o->mu);
    struct origin_mood *mood = &find_locked(o, path)->mood;
    mood->has_control = control != NULL;
    snprintf(mood->control, sizeof mood->control, "%s",
             control != NULL ? control : "");
    sync_mutex_unlock(&o->mu);
}

// ---------------------------------------------------------------- counting

uint64_t origin_requests(struct origin *o, const char *path) {
    sync_mutex_lock(&o->mu);
    uint64_t n =
        path != NULL ? find_locked(o, path)->n_requests : o->n_requests;
    sync_mutex_unlock(&o->mu);
    return n;
}

uint64_t origin_bytes(struct origin *o) {
    sync_mutex_lock(&o->mu);
    uint64_t n = o->n_bytes;
    sync_mutex_unlock(&o->mu);
    return n;
}

uint64_t origin_answers(struct origin *o, unsigned status) {
    sync_mutex_lock(&o->mu);
    uint64_t n = status < N_STATUSES ? o->n_answers[status] : 0;
    sync_mutex_unlock(&o->mu);
    return n;
}

uint64_t origin_connections(struct origin *o) {
    sync_mutex_lock(&o->mu);
    uint64_t n = o->n_connections;
    sync_mutex_unlock(&o->mu);
    return n;
}

const char *origin_base(const struct origin *o) {
    return o->base;
}

// ----------------------------------------------------------------- serving

static void count_answer(struct origin *o, const struct origin_page *page) {
    sync_mutex_lock(&o->mu);
    o->n_bytes += page->size;
    if (page->status < N_STATUSES) {
        o->n_answers[page->status]++;
    }
    sync_mutex_unlock(&o->mu);
}

// CALLBACK: of libmicrohttpd, in the thread of the connection.
static ORIGIN_RESULT serve(void *arg, struct MHD_Connection *c, const char *url,
                           const char *method, const char *version,
                           const char *data, size_t *size, void **state) {
    struct origin *o = arg;
    struct origin_page page;

    (void)method, (void)version, (void)data, (void)size;
    if (*state == NULL) {
        // Called the first time, after the header; there is a second one.
        *state = o;
        return MHD_YES;
    }
    page = origin_page_(url);
    sync_mutex_lock(&o->mu);
    find_locked(o, url)->n_requests++;
    o->n_requests++;
    sync_mutex_unlock(&o->mu);
    changed(o);
    await(o, url, 0, SYNC_NEVER, is_released);
    if (page.delay_ms != 0) {
        await(o, url, 0, sync_clock_now_ns() + (int64_t)page.delay_ms * 1000000,
              is_ending);
    }
    sync_mutex_lock(&o->mu);
    page.mood = find_locked(o, url)->mood;
    sync_mutex_unlock(&o->mu);
    ORIGIN_RESULT result = origin_page_send_(&page, c);
    count_answer(o, &page);
    return result;
}

// CALLBACK: of libmicrohttpd.
static void count_connection(void *arg, struct MHD_Connection *c, void **state,
                             enum MHD_ConnectionNotificationCode code) {
    struct origin *o = arg;

    (void)c, (void)state;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        sync_mutex_lock(&o->mu);
        o->n_connections++;
        sync_mutex_unlock(&o->mu);
    }
}

// ----------------------------------------------------------------- its life

// Its threads are deaf to signals.
static int start(struct origin *o) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    const union MHD_DaemonInfo *info;
    sigset_t before = deaf_begin();

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    o->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
            MHD_USE_POLL | MHD_USE_ITC,
        0, NULL, NULL, serve, o, MHD_OPTION_SOCK_ADDR, &address,
        MHD_OPTION_NOTIFY_CONNECTION, count_connection, o, MHD_OPTION_END);
    deaf_end(&before);
    if (o->daemon == NULL) {
        return -1;
    }
    info = MHD_get_daemon_info(o->daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL) {
        return -1;
    }
    snprintf(o->base, sizeof o->base, "http://127.0.0.1:%u",
             (unsigned)info->port);
    return 0;
}

struct origin *origin_new(void) {
    struct origin *o = calloc(1, sizeof *o);

    if (o != NULL && start(o) != 0) {
        origin_free(o);
        return NULL;
    }
    return o;
}

void origin_free(struct origin *o) {
    struct sync_link *link;

    if (o == NULL) {
        return;
    }
    sync_mutex_lock(&o->mu);
    o->is_ending = 1;
    sync_mutex_unlock(&o->mu);
    changed(o);
    if (o->daemon != NULL) {
        MHD_stop_daemon(o->daemon);
    }
    while ((link = sync_list_pop(&o->paths)) != NULL) {
        free(path_of(link));
    }
    free(o);
}
