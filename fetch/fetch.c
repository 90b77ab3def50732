#include "fetch/fetch.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fetch/deaf.h"
#include "fetch/internal.h"
#include "sync/clock.h"

#define STRING_OF(x) #x
#define STRING(x) STRING_OF(x)
#define USER_AGENT                                 \
    "memo/" STRING(MEMO_VERSION_MAJOR) "." STRING( \
        MEMO_VERSION_MINOR) "." STRING(MEMO_VERSION_PATCH)

// With FETCH_FRESHNESS, unless the cache's options say otherwise.
#define PASS_NS INT64_C(60000000000)
#define REFRESH_PAUSE_NS INT64_C(10000000000)

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

int fetch_is_inherited_(const struct fetch *f) {
    return getpid() != f->pid;
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
    int error =
        fetch_is_inherited_(f) ? MEMO_EFORKED : fetch_transfer_new_(f, l, &t);
    if (error != 0) {
        return refuse(f, l, error, "");
    }
    (void)memo_load_on_cancel(l, fetch_loop_look_, f);
    if (fetch_loop_add_(f, t) != 0) {
        fetch_transfer_end_(t, MEMO_ECLOSED);
    }
    return MEMO_PENDING;
}

// ------------------------------------------------------------------ its life

// libcurl's only global state.  It is never cleaned up: who knows who else in
// this process uses libcurl.
static struct sync_mutex curl_mu;
static int is_curl_ready;  // Guarded by curl_mu.

// Return 0 or MEMO_ENOMEM; then the next call tries again.
static int init_curl(void) {
    sync_mutex_lock(&curl_mu);
    if (!is_curl_ready) {
        is_curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    }
    int error = is_curl_ready ? 0 : MEMO_ENOMEM;
    sync_mutex_unlock(&curl_mu);
    return error;
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

int64_t fetch_now_(const struct fetch *f) {
    return f->clock.now_ns != NULL ? f->clock.now_ns(f->clock.state)
                                   : sync_clock_now_ns();
}

static void set_unless_given(int64_t *field, int64_t value) {
    if (*field == 0) {
        *field = value;
    }
}

// Let the cache have times, for what servers say; and remember those it had.
static void set_times(struct fetch *f, struct memo_options *cache) {
    int64_t keep_ns = f->options.keep_ns;

    if (cache->clock != NULL) {
        f->clock = *cache->clock;
    }
    f->moment_ns = cache->ttl_ns;
    set_unless_given(&cache->ttl_ns, MEMO_NEVER);
    f->ttl_ns = cache->ttl_ns;
    f->stale_if_error_ns = cache->stale_if_error_ns;
    f->refresh_after_ns =
        cache->refresh_after_ns != 0 ? cache->refresh_after_ns : MEMO_NEVER;
    set_unless_given(&cache->refresh_after_ns, REFRESH_PAUSE_NS);
    set_unless_given(&cache->pass_ttl_ns, PASS_NS);
    // What may stand in is decided when a transfer fails.
    if (cache->stale_if_error_ns < keep_ns) {
        cache->stale_if_error_ns = keep_ns;
    }
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
    if (cache.stale_if_error_ns < 0) {
        return MEMO_EINVAL;
    }
    if ((f->options.flags & FETCH_FRESHNESS) != 0) {
        set_times(f, &cache);
    }
    cache.load = load;
    cache.load_arg = f;
    return memo_new(&cache, &f->memo);
}

static int make_multi(struct fetch *f) {
    const struct fetch_options *o = &f->options;

    f->multi = init_curl() == 0 ? curl_multi_init() : NULL;
    // Without descriptors libcurl makes one that can't be woken.
    if (f->multi == NULL || curl_multi_wakeup(f->multi) != CURLM_OK) {
        return MEMO_ENOMEM;
    }
    // How many it keeps; how many it opens is for us to say.
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)o->max_connections);
    f->hosts.max_running = o->max_connections;
    f->hosts.max_running_per_host = o->max_connections_per_host;
    return 0;
}

// Start the thread, deaf also to SIGPIPE: a connection that breaks is an error.
static int start_thread(struct fetch *f) {
    sigset_t before = deaf_begin();
    int error = sync_thread_start(&f->thread, fetch_loop_, f);

    deaf_end(&before);
    return error == 0 ? 0 : MEMO_ENOMEM;
}

static void give_back(struct fetch *f) {
    memo_free(f->memo);
    // The connections of a parent are its own, and it speaks on them.
    if (!fetch_is_inherited_(f)) {
        curl_multi_cleanup(f->multi);
    }
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
    f->pid = getpid();
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
    if (!fetch_is_inherited_(f)) {
        sync_once_do(&f->close, close_once, f);
    }
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

// Whether v, past its time, may be returned.
static int may_stand_in(const struct fetch *f, const struct memo_value *v) {
    return (f->options.flags & FETCH_FRESHNESS) == 0 ||
           !fetch_is_response_(v) ||
           fetch_now_(f) < fetch_response_dates_(v).usable_until_ns;
}

// The cache keeps stale responses for longer than some may stand in, and
// doesn't know that: *out is one, got at a soft deadline or in a pause after
// failures. Get what else there is.
static int get_better(struct fetch *f, const char *url,
                      const struct memo_wait *wait, struct memo_value *out) {
    struct memo_wait hard = {.size = sizeof hard};

    if (wait != NULL) {
        memcpy(&hard, wait,
               wait->size < sizeof hard ? wait->size : sizeof hard);
        hard.size = sizeof hard;
        hard.soft_deadline_ns = 0;
    }
    memo_release(out);
    int error = memo_get_wait(f->memo, url, strlen(url), &hard, out);
    if (error == 0 && out->from == MEMO_STALE && !may_stand_in(f, out)) {
        memo_release(out);
        (void)memo_invalidate(f->memo, url, strlen(url));
        error = memo_get_wait(f->memo, url, strlen(url), &hard, out);
    }
    return error;
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
    int error = memo_get_wait(f->memo, url, strlen(url), wait, out);
    return error == 0 && out->from == MEMO_STALE && !may_stand_in(f, out)
               ? get_better(f, url, wait, out)
               : error;
}
