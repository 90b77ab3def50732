#include "fetch/cli_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fetch/cli_progress.h"
#include "fetch/cli_text.h"
#include "fetch/deaf.h"
#include "sync/clock.h"
#include "sync/note.h"

#define DEFAULT_JOBS 20
#define DRAW_EVERY_MS 100

// The most loads that a request starts: one, and two more if a response may no
// longer stand in when it is about to be returned.
#define MAX_LOADS 3

// How much of a URL a line repeats.
#define URL_MAX 2000

const char *const cli_outcome_names[CLI_N_OUTCOMES] = {
    "not made",  "loaded", "joined", "hit",      "revalidated",
    "refreshed", "stale",  "failed", "canceled",
};

// ------------------------------------------------------------ breaking off

// The pipe of the run that signals break off.  Const while they are caught.
static int signal_fd;

static void catch_signal(int number) {
    int saved = errno;
    char byte = (char)number;

    if (write(signal_fd, &byte, 1) < 0) {
        // The pipe is full of signals: one is enough.
    }
    errno = saved;
}

// Catch the signals that end a program, once: the second time they end it.
//
// The main thread takes them, mostly in poll(); all others are deaf to them.
// Else one that sleeps on a futex might be given a signal, as when the main
// thread is starting another, and deaf for a moment; and there ThreadSanitizer
// doesn't call the handler.
static void catch_signals(int fd, int is_caught) {
    static const int signals[] = {SIGINT, SIGTERM};

    signal_fd = fd;
    for (int i = 0; i < 2; i++) {
        struct sigaction action = {
            .sa_handler = is_caught ? catch_signal : SIG_DFL,
            .sa_flags = (int)(SA_RESETHAND | SA_RESTART),
        };
        struct sigaction before;

        // Who started us may have them ignored, as nohup does.
        sigaction(signals[i], NULL, &before);
        if (before.sa_handler != SIG_IGN) {
            sigaction(signals[i], &action, NULL);
        }
    }
}

static void break_off(struct cli_run *r) {
    SYNC_STORE(&r->is_broken_off, 1);
    sync_note_notify(r->note);
}

// ---------------------------------------------------------------- a request

static void show_locked(struct cli_run *r, const struct cli_request *q) {
    const char *url = r->urls->urls[q->url].text;
    char time[CLI_NUMBER_SIZE];

    if (q->outcome == CLI_FAILED) {
        if (r->has_messages) {
            cli_complain_of(url, "(%d) %s", cli_exit_code(q->error),
                            cli_run_error_text(r, q));
        }
    } else if (r->has_lines) {
        cli_progress_erase();
        cli_out_clean(r->out, url, URL_MAX);
        cli_out_printf(r->out, ", %s, %llu bytes, %s\n",
                       cli_duration(time, q->end_ns - q->start_ns),
                       (unsigned long long)q->bytes,
                       cli_outcome_names[q->outcome]);
    }
}

static void note_done(struct cli_run *r, const struct cli_request *q) {
    sync_mutex_lock(&r->mu);
    r->n_done++;
    if (q->outcome != CLI_CANCELED) {
        show_locked(r, q);
    }
    sync_mutex_unlock(&r->mu);
}

// Whether the load of q, which has just ended, found the old response good.
static int is_revalidated(struct cli_run *r, const struct cli_request *q) {
    sync_mutex_lock(&r->mu);
    int is = r->urls->urls[q->url].is_not_modified;
    sync_mutex_unlock(&r->mu);
    return is;
}

static enum cli_outcome outcome_of(struct cli_run *r,
                                   const struct cli_request *q,
                                   const struct memo_value *v) {
    if (q->error != 0) {
        return q->error == MEMO_ECANCELED ? CLI_CANCELED : CLI_FAILED;
    }
    switch (v->from) {
        case MEMO_LOADED:
            return is_revalidated(r, q) ? CLI_REVALIDATED : CLI_LOADED;
        case MEMO_JOINED:
            return CLI_JOINED;
        case MEMO_STALE:
            return CLI_STALE;
        default:
            return r->is_fresh && fetch_response_fresh_until(v) <= q->start_ns
                       ? CLI_REFRESHED
                       : CLI_HIT;
    }
}

static void make_request(struct cli_run *r, struct cli_request *q) {
    struct memo_wait wait = {.size = sizeof wait, .note = r->note};
    struct memo_value v;
    size_t size = 0;

    q->start_ns = sync_clock_now_ns();
    q->error = fetch_get_wait(r->fetch, r->urls->urls[q->url].text, &wait, &v);
    q->end_ns = sync_clock_now_ns();
    q->outcome = outcome_of(r, q, &v);
    q->status = fetch_response_status(&v);
    fetch_response_body(&v, &size);
    q->bytes = size;
    memo_release(&v);
    note_done(r, q);
}

static void *make_requests(void *arg) {
    struct cli_run *r = arg;
    uint32_t i;

    while (!SYNC_LOAD(&r->is_broken_off) &&
           (i = SYNC_ADD(&r->next, 1)) < r->n_requests) {
        make_request(r, &r->requests[i]);
    }
    if (SYNC_SUB_ACQREL(&r->n_active, 1) == 1) {
        char end = 0;

        if (write(r->wake_fd[1], &end, 1) < 0) {
            // It is full: the main thread wakes all the same.
        }
    }
    return NULL;
}

// CALLBACK: of the fetch, at the end of each load.
static void note_load(void *arg, const struct fetch_load *load) {
    struct cli_run *r = arg;
    uint32_t i = cli_urls_find(r->urls, load->url);
    struct cli_url *url = &r->urls->urls[i];
    struct cli_load record = {
        load->start_ns, load->end_ns, load->body_bytes + load->header_bytes, i,
        load->error,    load->status};

    sync_mutex_lock(&r->mu);
    // A load that is broken off is nobody's.
    if (load->error != MEMO_ECLOSED) {
        r->loads[r->n_loads++] = record;
        r->n_bytes += record.bytes;
        url->is_not_modified = (int)load->not_modified;
    }
    if (load->error != MEMO_ECLOSED && !load->not_modified) {
        url->n_loads++;
        url->load_ns += record.end_ns - record.start_ns;
        url->load_bytes += record.bytes;
    }
    if (load->error != 0) {
        url->error = load->error;
        free(url->error_text);
        url->error_text = strdup(load->text);
    }
    sync_mutex_unlock(&r->mu);
}

// ------------------------------------------------------------------- a run

// Wait for the end, meanwhile drawing the progress and minding signals.
static void attend(struct cli_run *r) {
    struct pollfd wake = {.fd = r->wake_fd[0], .events = POLLIN};
    char byte;

    while (SYNC_LOAD(&r->n_active) != 0) {
        if (poll(&wake, 1, DRAW_EVERY_MS) > 0 && read(wake.fd, &byte, 1) == 1 &&
            byte != 0) {
            r->signal = byte;
            break_off(r);
        }
        sync_mutex_lock(&r->mu);
        cli_out_flush(r->out);
        cli_progress_draw(r->n_done, r->n_requests, r->n_bytes);
        int error = r->out->error;
        sync_mutex_unlock(&r->mu);
        if (error == EPIPE) {
            // Nobody reads any more.
            break_off(r);
        }
    }
}

// Start as many threads as there may be, and need be, deaf to all signals.
static int start_threads(struct cli_run *r, struct sync_thread *threads,
                         uint32_t *n_threads) {
    uint32_t n = r->n_jobs < r->n_requests ? r->n_jobs : r->n_requests;
    sigset_t before = deaf_begin();

    for (*n_threads = 0; *n_threads < n; ++*n_threads) {
        SYNC_ADD(&r->n_active, 1);
        if (sync_thread_start(&threads[*n_threads], make_requests, r) != 0) {
            SYNC_SUB(&r->n_active, 1);
            break;
        }
    }
    deaf_end(&before);
    if (*n_threads == 0) {
        cli_complain("the system has no more threads");
        return CLI_OUT_OF_MEMORY;
    }
    return 0;
}

static int make_all(struct cli_run *r) {
    struct sync_thread *threads = calloc(r->n_jobs, sizeof *threads);
    uint32_t n_threads = 0;

    if (threads == NULL) {
        cli_complain("out of memory");
        return CLI_OUT_OF_MEMORY;
    }
    if (r->has_progress) {
        cli_progress_begin();
    }
    catch_signals(r->wake_fd[1], 1);
    r->start_ns = sync_clock_now_ns();
    int error = start_threads(r, threads, &n_threads);
    attend(r);
    for (uint32_t i = 0; i < n_threads; i++) {
        sync_thread_join(&threads[i]);
    }
    r->end_ns = sync_clock_now_ns();
    catch_signals(-1, 0);
    cli_progress_end();
    cli_out_flush(r->out);
    free(threads);
    return error;
}

static int set_up(struct cli_run *r, const struct cli_options *o,
                  const char *proxy) {
    struct fetch_options fetch = {
        .size = sizeof fetch,
        .flags = o->is_fresh ? FETCH_FRESHNESS : 0,
        .max_redirects = o->max_redirects,
        .max_body_bytes = o->max_bytes,
        .timeout_ns = o->timeout_ns,
        .user_agent = "memofetch/0.1",
        .proxy = proxy,
        .ended = note_load,
        .ended_arg = r,
    };

    r->requests = calloc(r->n_requests, sizeof *r->requests);
    r->loads = calloc(r->n_requests, MAX_LOADS * sizeof *r->loads);
    r->note = sync_note_new(NULL, SYNC_NEVER);
    if (r->requests == NULL || r->loads == NULL || r->note == NULL ||
        fetch_new(&fetch, &r->fetch) != 0) {
        cli_complain("out of memory");
        return CLI_OUT_OF_MEMORY;
    }
    if (pipe2(r->wake_fd, O_CLOEXEC | O_NONBLOCK) != 0) {
        cli_complain("pipe: %s", strerror(errno));
        r->wake_fd[0] = r->wake_fd[1] = -1;
        return CLI_OUT_OF_MEMORY;
    }
    for (uint32_t i = 0; i < r->n_requests; i++) {
        r->requests[i].url = r->urls->list[i % r->urls->n_list];
    }
    return 0;
}

// Keep what the cache has counted, as text.
static int take_metrics(struct cli_run *r) {
    struct memo *cache = fetch_memo(r->fetch);
    const char *name = "memofetch";
    size_t size = 0;
    int error = memo_stats_prometheus(&cache, &name, 1, NULL, 0, &size);

    // Loads that were broken off may count yet, and numbers grow.
    while (error == MEMO_ENOSPC) {
        free(r->metrics);
        size += size / 8;
        r->metrics = malloc(size);
        error = r->metrics == NULL
                    ? (int)MEMO_ENOMEM
                    : memo_stats_prometheus(&cache, &name, 1, r->metrics, size,
                                            &size);
    }
    if (error != 0) {
        cli_complain("out of memory");
        return CLI_OUT_OF_MEMORY;
    }
    return 0;
}

int cli_run(struct cli_run *r, const struct cli_options *o,
            struct cli_urls *urls, struct cli_out *out, const char *proxy) {
    uint32_t n_times = o->n_times != 0 ? o->n_times : 1;

    memset(r, 0, sizeof *r);
    r->wake_fd[0] = r->wake_fd[1] = -1;
    r->urls = urls;
    r->out = out;
    r->has_progress = !o->is_quiet;
    r->has_messages = !o->is_tacit;
    r->has_lines = !o->is_quiet && !o->is_json;
    r->is_fresh = o->is_fresh;
    r->n_jobs = o->n_jobs != 0 ? o->n_jobs : DEFAULT_JOBS;
    if ((uint64_t)n_times * urls->n_list > CLI_MAX_REQUESTS) {
        cli_complain("these are more than %d requests", CLI_MAX_REQUESTS);
        return CLI_USAGE;
    }
    r->n_requests = n_times * urls->n_list;
    int error = set_up(r, o, proxy);
    if (error == 0) {
        error = make_all(r);
    }
    if (error == 0 && o->metrics != NULL) {
        error = take_metrics(r);
    }
    // What is still on its way, after a signal, nobody waits for.
    fetch_free(r->fetch);
    r->fetch = NULL;
    return error;
}

const char *cli_run_error_text(const struct cli_run *r,
                               const struct cli_request *q) {
    const struct cli_url *url = &r->urls->urls[q->url];

    // libcurl's text says more than its code, except about a status.
    return q->error < 400 && q->error == url->error && url->error_text != NULL
               ? url->error_text
               : fetch_error_text(q->error);
}

int cli_run_exit_code(const struct cli_run *r) {
    for (uint32_t i = 0; i < r->n_requests; i++) {
        if (r->requests[i].outcome == CLI_FAILED) {
            return cli_exit_code(r->requests[i].error);
        }
    }
    return CLI_OK;
}

void cli_run_free(struct cli_run *r) {
    free(r->requests);
    free(r->loads);
    free(r->metrics);
    sync_note_free(r->note);
    if (r->wake_fd[0] >= 0) {
        close(r->wake_fd[0]);
        close(r->wake_fd[1]);
    }
}
