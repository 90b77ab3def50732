#include "fetch/fetch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/internal.h"
#include "sync/clock.h"

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define USER_AGENT                                 \
    "memo/" STRING(MEMO_VERSION_MAJOR) "." STRING( \
        MEMO_VERSION_MINOR) "." STRING(MEMO_VERSION_PATCH)

// ------------------------------------------------------------------ a load

void fetch_tell_(struct fetch *f, const struct memo_load *l,
                 struct fetch_load *load) {
    if (f->options.ended == NULL) {
        return;
    }
    load->size = sizeof *load;
    load->url = memo_load_key(l, &load->url_size);
    if (load->error == 0) {
        load->text = "";
    } else if (load->text[0] == '\0') {
        load->text = fetch_error_text(load->error);
    }
    // CALLBACK
    f->options.ended(f->options.ended_arg, load);
}

// End a load that doesn't come to a transfer.
static int refuse(struct fetch *f, struct memo_load *l, int error,
                  const char *text) {
    int64_t now_ns = sync_clock_now_ns();
    struct fetch_load load = {
        .error = error, .text = text, .start_ns = now_ns, .end_ns = now_ns};

    fetch_tell_(f, l, &load);
    return error;
}

// CALLBACK: of the cache, in the thread of the caller who missed.
static int load(void *arg, struct memo_load *l) {
    struct fetch *f = arg;
    struct transfer *t;
    size_t size;
    const char *url = memo_load_key(l, &size);

    if (strlen(url) != size) {
        return refuse(f, l, CURLE_URL_MALFORMAT,
                      "The URL contains a zero byte");
    }
    int error = fetch_transfer_new_(f, l, &t);
    if (error != 0) {
        return refuse(f, l, error, "");
    }
    if (fetch_loop_add_(f, t) != 0) {
        fetch_transfer_end_(t, MEMO_ECLOSED);
    }
    return MEMO_PENDING;
}

// ------------------------------------------------------------------ its life

// libcurl's only global state.  It is never cleaned up: who knows who else in
// this process uses libcurl.
static struct sync_once curl_once;
static CURLcode curl_state;

static void init_curl(void *arg) {
    (void)arg;
    curl_state = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);

    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static int copy_texts(struct fetch *f) {
    const char *agent = f->options.user_agent;

    f->user_agent = copy_text(agent != NULL ? agent : USER_AGENT);
    if (f->options.proxy != NULL) {
        f->proxy = copy_text(f->options.proxy);
    }
    return f->user_agent == NULL || (f->options.proxy != NULL && !f->proxy)
               ? MEMO_ENOMEM
               : 0;
}

static int make_memo(struct fetch *f) {
    struct memo_options cache = {.size = sizeof cache};
    const struct memo_options *given = f->options.cache;

    if (given != NULL &&
        fetch_take_struct_(&cache, sizeof cache, given,
                           offsetof(struct memo_options, allocator)) != 0) {
        return MEMO_EINVAL;
    }
    if (cache.load != NULL || cache.load_arg != NULL) {
        return MEMO_EINVAL;
    }
    cache.load = load;
    cache.load_arg = f;
    return memo_new(&cache, &f->memo);
}

static int make_multi(struct fetch *f) {
    const struct fetch_options *o = &f->options;

    sync_once_do(&curl_once, init_curl, NULL);
    f->multi = curl_state == CURLE_OK ? curl_multi_init() : NULL;
    if (f->multi == NULL) {
        return MEMO_ENOMEM;
    }
    // How many it keeps; how many it opens is for us to say.
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)o->max_connections);
    f->hosts.max_running = o->max_connections;
    f->hosts.max_running_per_host = o->max_connections_per_host;
    return 0;
}

// Start the thread, deaf to all signals: they are the application's, and a
// connection that breaks is an error, not a SIGPIPE.
static int start_thread(struct fetch *f) {
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = sync_thread_start(&f->thread, fetch_loop_, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? 0 : MEMO_ENOMEM;
}

static void give_back(struct fetch *f) {
    memo_free(f->memo);
    curl_multi_cleanup(f->multi);
    free(f->proxy);
    free(f->user_agent);
    free(f);
}

int fetch_new(const struct fetch_options *options, struct fetch **out) {
    if (out == NULL) {
        return MEMO_EINVAL;
    }
    *out = NULL;
    struct fetch *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return MEMO_ENOMEM;
    }
    int error = fetch_options_take_(&f->options, options);
    if (error == 0) {
        error = copy_texts(f);
    }
    if (error == 0) {
        error = make_memo(f);
    }
    if (error == 0) {
        error = make_multi(f);
    }
    if (error == 0) {
        error = start_thread(f);
    }
    if (error != 0) {
        give_back(f);
        return error;
    }
    *out = f;
    return 0;
}

static void close_once(void *arg) {
    struct fetch *f = arg;

    fetch_loop_stop_(f);
    sync_thread_join(&f->thread);
}

int fetch_close(struct fetch *f) {
    if (f == NULL) {
        return MEMO_EINVAL;
    }
    sync_once_do(&f->close, close_once, f);
    return memo_close(f->memo, MEMO_NEVER);
}

void fetch_free(struct fetch *f) {
    if (f != NULL) {
        fetch_close(f);
        give_back(f);
    }
}

// ------------------------------------------------------------------- its use

struct memo *fetch_memo(struct fetch *f) {
    return f != NULL ? f->memo : NULL;
}

int fetch_get(struct fetch *f, const char *url, struct memo_value *out) {
    return fetch_get_wait(f, url, NULL, out);
}

int fetch_get_wait(struct fetch *f, const char *url,
                   const struct memo_wait *wait, struct memo_value *out) {
    if (f == NULL || url == NULL) {
        if (out != NULL) {
            memset(out, 0, sizeof *out);
        }
        return MEMO_EINVAL;
    }
    return memo_get_wait(f->memo, url, strlen(url), wait, out);
}
