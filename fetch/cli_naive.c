// The lock is not held during a load, so different URLs don't wait for each
// other.  But whoever asks for a URL before its first load has ended finds
// nothing in the table, and loads it too: this is what memo is for.
#include "fetch/cli_naive.h"

#include <curl/curl.h>
#include <stdlib.h>

#include "sync/atomic.h"
#include "sync/event.h"
#include "sync/mutex.h"

struct naive {
    // Const after init.
    const struct cli_urls *urls;
    struct cli_request *requests;
    uint32_t n_requests;

    struct sync_event begin;  // so that the threads do at the same moment

    // Atomic.
    sync_atomic_u32 next;  // request

    // Guarded by mu.
    struct sync_mutex mu;
    uint64_t *size;  // of the body, by URL; 0: it is not in the cache
};

// CALLBACK: of libcurl.
static size_t count_body(char *data, size_t one, size_t size, void *arg) {
    uint64_t *n = arg;

    (void)data;
    *n += one * size;
    return one * size;
}

static int load_naively(CURL *easy, const char *url, uint64_t *size) {
    *size = 0;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, count_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, size);
    return (int)curl_easy_perform(easy);
}

static void get_naively(struct naive *c, CURL *easy, struct cli_request *q) {
    q->start_ns = sync_clock_now_ns();
    sync_mutex_lock(&c->mu);
    q->bytes = c->size[q->url];
    sync_mutex_unlock(&c->mu);
    q->outcome = CLI_HIT;
    if (q->bytes == 0) {
        q->error = load_naively(easy, c->urls->urls[q->url].text, &q->bytes);
        q->outcome = q->error == 0 ? CLI_LOADED : CLI_FAILED;
        sync_mutex_lock(&c->mu);
        c->size[q->url] = q->bytes;
        sync_mutex_unlock(&c->mu);
    }
    q->end_ns = sync_clock_now_ns();
}

static void *get_all_naively(void *arg) {
    struct naive *c = arg;
    CURL *easy = curl_easy_init();
    uint32_t i;

    sync_event_wait(&c->begin, SYNC_NEVER, NULL);
    while (easy != NULL && (i = SYNC_ADD(&c->next, 1)) < c->n_requests) {
        c->requests[i].url = c->urls->list[i % c->urls->n_list];
        get_naively(c, easy, &c->requests[i]);
    }
    curl_easy_cleanup(easy);
    return NULL;
}

static int run_threads(struct naive *c, uint32_t n_jobs) {
    struct sync_thread *threads = calloc(n_jobs, sizeof *threads);
    uint32_t n = 0;

    while (threads != NULL && n < n_jobs &&
           sync_thread_start(&threads[n], get_all_naively, c) == 0) {
        n++;
    }
    sync_event_set(&c->begin);
    for (uint32_t i = 0; i < n; i++) {
        sync_thread_join(&threads[i]);
    }
    free(threads);
    return n == n_jobs && SYNC_LOAD(&c->next) >= c->n_requests;
}

int cli_naive_run(const struct cli_urls *urls, uint32_t n, uint32_t n_jobs,
                  struct cli_request *requests) {
    struct naive c = {.urls = urls, .requests = requests, .n_requests = n};

    c.size = calloc(urls->n_urls, sizeof *c.size);
    int is_done = c.size != NULL && run_threads(&c, n_jobs);
    free(c.size);
    if (!is_done) {
        cli_complain("out of memory");
        return CLI_OUT_OF_MEMORY;
    }
    return 0;
}
