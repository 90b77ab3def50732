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

// Raise a flag for the thread.
static void raise_flag(struct fetch *f, int *flag) {
    sync_mutex_lock(&f->mu);
    *flag = 1;
    curl_multi_wakeup(f->multi);
    sync_mutex_unlock(&f->mu);
}

void fetch_loop_stop_(struct fetch *f) {
    raise_flag(f, &f->is_closing);
}

void fetch_loop_look_(void *arg, struct memo_load *l) {
    struct fetch *f = arg;

    // Which it is the thread finds out: the transfer is the thread's, and may be
    // gone.
    (void)l;
    if (!fetch_is_inherited_(f)) {
        raise_flag(f, &f->has_unwanted);
    }
}

static struct transfer *transfer_of(struct sync_link *link) {
    return SYNC_CONTAINER(link, struct transfer, link);
}

static struct transfer *transfer_of_turn(struct fetch_turn *turn) {
    return SYNC_CONTAINER(turn, struct transfer, turn);
}

// What others have told the thread.
struct news {
    struct sync_list queue;
    int is_closing;
    int has_unwanted;
};

static struct news take_news(struct fetch *f) {
    sync_mutex_lock(&f->mu);
    struct news news = {f->queue, f->is_closing, f->has_unwanted};
    f->queue.first = NULL;
    f->has_unwanted = 0;
    sync_mutex_unlock(&f->mu);
    return news;
}

static int is_unwanted(const struct transfer *t) {
    return memo_load_is_canceled(t->draft.load);
}

static void line_up(struct fetch *f, struct sync_list *queue) {
    struct sync_link *link;

    while ((link = sync_list_pop(queue)) != NULL) {
        struct transfer *t = transfer_of(link);

        if (is_unwanted(t)) {
            // That may have been told before it was in the queue.
            fetch_transfer_end_(t, MEMO_ECANCELED);
        } else if (fetch_hosts_add_(&f->hosts, t->host, &t->turn) != 0) {
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

// End those that nobody waits for any more.
static void end_unwanted(struct fetch *f) {
    struct sync_link *link, *next;

    for (link = f->running.first; link != NULL; link = next) {
        struct transfer *t = transfer_of(link);

        next = sync_list_next(&f->running, link);
        if (is_unwanted(t)) {
            end(f, t, MEMO_ECANCELED);
        }
    }
    for (link = f->hosts.waiting.first; link != NULL; link = next) {
        struct fetch_turn *turn = SYNC_CONTAINER(link, struct fetch_turn, link);

        next = sync_list_next(&f->hosts.waiting, link);
        if (is_unwanted(transfer_of_turn(turn))) {
            fetch_hosts_leave_(&f->hosts, turn);
            fetch_transfer_end_(transfer_of_turn(turn), MEMO_ECANCELED);
        }
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
    struct news news;
    int n_running;

    while (news = take_news(f), !news.is_closing) {
        if (curl_multi_perform(f->multi, &n_running) != CURLM_OK) {
            // It can do no more for any of them; out of memory, that is.
            end_running(f, MEMO_ENOMEM);
        }
        end_done(f);
        line_up(f, &news.queue);
        if (news.has_unwanted) {
            end_unwanted(f);
        }
        end_late(f, sync_clock_now_ns(), CURLE_OPERATION_TIMEDOUT);
        start_next(f);
        await_events(f);
    }
    line_up(f, &news.queue);
    end_late(f, SYNC_NEVER, MEMO_ECLOSED);
    end_running(f, MEMO_ECLOSED);
    return NULL;
}
