// The thread of a fetch.
//
// f->mu is a leaf: it is held to look at the queue and to wake the thread, which
// writes to a descriptor, never while memo, a user's function or anything else of
// libcurl's is called.
#include <limits.h>

#include "fetch/internal.h"
#include "sync/clock.h"

int fetch_loop_add_(struct fetch *f, struct transfer *t) {
    sync_mutex_lock(&f->mu);
    int is_closing = f->is_closing;
    if (!is_closing) {
        sync_list_push(&f->queue, &t->link);
        curl_multi_wakeup(f->multi);
    }
    // LIFETIME: from here on the thread may end t, and who waited for it may free
    // f, for a load that an executor runs is no call of his.
    sync_mutex_unlock(&f->mu);
    return is_closing ? MEMO_ECLOSED : 0;
}

void fetch_loop_stop_(struct fetch *f) {
    sync_mutex_lock(&f->mu);
    f->is_closing = 1;
    sync_mutex_unlock(&f->mu);
    curl_multi_wakeup(f->multi);
}

static struct transfer *transfer_of(struct sync_link *link) {
    return SYNC_CONTAINER(link, struct transfer, link);
}

static struct transfer *transfer_of_turn(struct fetch_turn *turn) {
    return SYNC_CONTAINER(turn, struct transfer, turn);
}

// Take what is in the queue.  Return whether the fetch is closing.
static int take_queue(struct fetch *f, struct sync_list *queue) {
    sync_mutex_lock(&f->mu);
    *queue = f->queue;
    f->queue.first = NULL;
    int is_closing = f->is_closing;
    sync_mutex_unlock(&f->mu);
    return is_closing;
}

static void line_up(struct fetch *f, struct sync_list *queue) {
    struct sync_link *link;

    while ((link = sync_list_pop(queue)) != NULL) {
        struct transfer *t = transfer_of(link);

        if (fetch_hosts_add_(&f->hosts, t->host, &t->turn) != 0) {
            fetch_transfer_end_(t, MEMO_ENOMEM);
        }
    }
}

// End t, which runs.
static void end(struct fetch *f, struct transfer *t, int code) {
    sync_list_remove(&f->running, &t->link);
    curl_multi_remove_handle(f->multi, t->easy);
    fetch_hosts_done_(&f->hosts, &t->turn);
    fetch_transfer_end_(t, code);
}

// End those whose time was over before their turn came.
static void end_late(struct fetch *f, int64_t now_ns, int code) {
    struct fetch_turn *turn;

    while ((turn = fetch_hosts_late_(&f->hosts, now_ns)) != NULL) {
        fetch_transfer_end_(transfer_of_turn(turn), code);
    }
}

// Give t, which is in the list of those that run, to libcurl.
static void start(struct fetch *f, struct transfer *t) {
    fetch_transfer_start_(t);
    if (curl_multi_add_handle(f->multi, t->easy) != CURLM_OK) {
        end(f, t, MEMO_ENOMEM);
    }
}

static void start_next(struct fetch *f) {
    struct fetch_turn *turn;

    while ((turn = fetch_hosts_next_(&f->hosts)) != NULL) {
        struct transfer *t = transfer_of_turn(turn);

        sync_list_push(&f->running, &t->link);
        start(f, t);
    }
}

static void end_or_start_again(struct fetch *f, struct transfer *t,
                               CURLcode code) {
    if (code == CURLE_OK && fetch_transfer_again_(t)) {
        curl_multi_remove_handle(f->multi, t->easy);
        start(f, t);
    } else {
        end(f, t, (int)code);
    }
}

static void end_done(struct fetch *f) {
    CURLMsg *message;
    int n_left;

    while ((message = curl_multi_info_read(f->multi, &n_left)) != NULL) {
        // The message is gone once the handle is removed.
        CURLcode code = message->data.result;
        struct transfer *t = NULL;

        if (message->msg == CURLMSG_DONE) {
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
            end_or_start_again(f, t, code);
        }
    }
}

static void end_running(struct fetch *f, int code) {
    while (!sync_list_is_empty(&f->running)) {
        end(f, transfer_of(f->running.first), code);
    }
}

// Sleep until something happens to those who run, which libcurl knows, or to
// those who wait.
static void await_events(struct fetch *f) {
    int64_t deadline_ns = fetch_hosts_deadline_(&f->hosts);
    int ms = INT_MAX;

    if (deadline_ns != SYNC_NEVER) {
        ms = fetch_milliseconds_(deadline_ns - sync_clock_now_ns());
    }
    curl_multi_poll(f->multi, NULL, 0, ms, NULL);
}

void *fetch_loop_(void *arg) {
    struct fetch *f = arg;
    struct sync_list queue;
    int n_running;

    while (!take_queue(f, &queue)) {
        if (curl_multi_perform(f->multi, &n_running) != CURLM_OK) {
            // It can do no more for any of them; out of memory, that is.
            end_running(f, MEMO_ENOMEM);
        }
        end_done(f);
        line_up(f, &queue);
        end_late(f, sync_clock_now_ns(), CURLE_OPERATION_TIMEDOUT);
        start_next(f);
        await_events(f);
    }
    line_up(f, &queue);
    end_late(f, SYNC_NEVER, MEMO_ECLOSED);
    end_running(f, MEMO_ECLOSED);
    return NULL;
}
