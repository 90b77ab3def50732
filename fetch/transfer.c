// One transfer: an easy handle of libcurl and the response that it fills.
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fetch/internal.h"
#include "sync/clock.h"

// ------------------------------------------------------ libcurl's callbacks
//
// CALLBACK: these run in the fetch's thread, inside curl_multi_perform().

// Have libcurl stop, because of error, which text explains.
__attribute__((format(printf, 3, 4))) static void stop(struct transfer *t,
                                                       int error,
                                                       const char *text, ...) {
    va_list args;

    t->error = error;
    va_start(args, text);
    vsnprintf(t->reason, sizeof t->reason, text, args);
    va_end(args);
}

static size_t take_header(char *data, size_t one, size_t size, void *arg) {
    struct transfer *t = arg;
    uint64_t max = t->fetch->options.max_header_bytes;

    (void)one;  // is 1, always
    t->header_bytes += size;
    if (t->header_bytes > max) {
        stop(t, CURLE_FILESIZE_EXCEEDED, "More than %llu bytes of headers",
             (unsigned long long)max);
        return 0;
    }
    fetch_header_take_(&t->header, data, size, (int64_t)time(NULL));
    return size;
}

const char *fetch_transfer_type_(const struct transfer *t) {
    const char *type = NULL;

    // libcurl has that of a redirect, if there is none after it.
    if (t->header.has_type) {
        curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    }
    return type != NULL ? type : "";
}

// What libcurl knows of the response as its body begins: the last one, for it
// keeps those of redirects to itself.
static int begin_draft(struct transfer *t) {
    curl_off_t length = -1;
    const char *url = NULL;
    size_t body_size = FETCH_SIZE_UNKNOWN;

    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (length >= 0 && (uint64_t)length <= t->fetch->options.max_body_bytes) {
        body_size = (size_t)length;
    }
    struct fetch_texts texts = {
        .type = fetch_transfer_type_(t),
        .url = url != NULL ? url : "",
        .etag = t->header.etag,
        .last_modified = t->header.last_modified,
    };
    return fetch_draft_begin_(&t->draft, &texts, body_size);
}

static size_t take_body(char *data, size_t one, size_t size, void *arg) {
    struct transfer *t = arg;
    uint64_t max = t->fetch->options.max_body_bytes;

    (void)one;  // is 1, always
    t->body_bytes += size;
    if (t->body_bytes > max) {
        stop(t, CURLE_FILESIZE_EXCEEDED, "More than %llu bytes of body",
             (unsigned long long)max);
        return 0;
    }
    if ((t->draft.room == NULL && begin_draft(t) != 0) ||
        fetch_draft_append_(&t->draft, data, size) != 0) {
        stop(t, MEMO_ENOMEM, "%s", memo_error_text(MEMO_ENOMEM));
        return 0;
    }
    return size;
}

// ---------------------------------------------------------------- its start

int fetch_milliseconds_(int64_t ns) {
    int64_t ms = ns / 1000000 + (ns % 1000000 > 0);

    return ms < 1 ? 1 : ms < INT_MAX ? (int)ms : INT_MAX;
}

// Return whether nothing but http and https will be spoken with easy.
static int set_protocols(CURL *easy) {
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == 0 &&
           curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https") ==
               0;
#else
    long both = CURLPROTO_HTTP | CURLPROTO_HTTPS;

    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, both) == 0 &&
           curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS, both) == 0;
#endif
}

// Return 0 or an error.
static int set_up(struct transfer *t, const char *url) {
    const struct fetch *f = t->fetch;
    const struct fetch_options *o = &f->options;
    CURLcode bad = curl_easy_setopt(t->easy, CURLOPT_URL, url);
    curl_off_t max_body = o->max_body_bytes < (uint64_t)INT64_MAX
                              ? (curl_off_t)o->max_body_bytes
                              : (curl_off_t)INT64_MAX;
    int ok = set_protocols(t->easy);

    if (bad != CURLE_OK) {
        // It may be longer than libcurl takes.
        return bad == CURLE_OUT_OF_MEMORY ? MEMO_ENOMEM : CURLE_URL_MALFORMAT;
    }

#define SET(option, value) \
    ok &= curl_easy_setopt(t->easy, CURLOPT_##option, value) == CURLE_OK
    SET(DEFAULT_PROTOCOL, "http");
    SET(PRIVATE, t);
    SET(ERRORBUFFER, t->text);
    SET(NOSIGNAL, 1L);
    SET(HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    // Bodies are to come as they are; what comes encoded all the same is decoded.
    SET(ACCEPT_ENCODING, "identity");
    SET(FOLLOWLOCATION, 1L);
    SET(MAXREDIRS, o->max_redirects < 0 ? 0L : (long)o->max_redirects);
    SET(FAILONERROR, (o->flags & FETCH_ANY_STATUS) != 0 ? 0L : 1L);
    SET(CONNECTTIMEOUT_MS, (long)fetch_milliseconds_(o->connect_timeout_ns));
    SET(MAXFILESIZE_LARGE, max_body);
    SET(USERAGENT, f->user_agent);
    SET(HEADERFUNCTION, take_header);
    SET(HEADERDATA, t);
    SET(WRITEFUNCTION, take_body);
    SET(WRITEDATA, t);
    if (f->proxy != NULL) {
        SET(PROXY, f->proxy);
    }
#undef SET
#if LIBCURL_VERSION_NUM >= 0x075700
    // A name that is being resolved when the transfer ends is left to its thread,
    // rather than waited for by all transfers.
    (void)curl_easy_setopt(t->easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    return ok ? 0 : MEMO_ENOMEM;
}

// The host of url and its port, for the limit per host; NULL: out of memory.
static char *host_of_url(const char *url) {
    CURLU *parts = curl_url();
    char *host = NULL;
    char *port = NULL;
    char *both = NULL;

    if (parts == NULL) {
        return NULL;
    }
    // What can't be parsed libcurl will refuse, with its own words, later.
    int is_full =
        curl_url_set(parts, CURLUPART_URL, url, CURLU_GUESS_SCHEME) ==
            CURLUE_OUT_OF_MEMORY ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) ==
            CURLUE_OUT_OF_MEMORY ||
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ==
            CURLUE_OUT_OF_MEMORY;
    if (is_full ||
        asprintf(&both, "%s:%s", host != NULL ? host : "",
                 port != NULL ? port : "") < 0) {
        both = NULL;
    }
    curl_free(port);
    curl_free(host);
    curl_url_cleanup(parts);
    return both;
}

static void free_transfer(struct transfer *t) {
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->conditions);
    memo_release(&t->old);
    free(t->host);
    free(t);
}

int fetch_transfer_new_(struct fetch *f, struct memo_load *l,
                        struct transfer **out) {
    struct transfer *t = calloc(1, sizeof *t);
    size_t url_size;
    const char *url = memo_load_key(l, &url_size);

    if (t == NULL) {
        return MEMO_ENOMEM;
    }
    t->fetch = f;
    t->draft.load = l;
    t->start_ns = sync_clock_now_ns();
    t->turn.deadline_ns = sync_clock_add_ns(t->start_ns, f->options.timeout_ns);
    t->host = host_of_url(url);
    t->easy = curl_easy_init();
    int error =
        t->host == NULL || t->easy == NULL ? MEMO_ENOMEM : set_up(t, url);
    if (error == 0) {
        error = fetch_transfer_take_old_(t);
    }
    if (error != 0) {
        free_transfer(t);
        return error;
    }
    *out = t;
    return 0;
}

void fetch_transfer_start_(struct transfer *t) {
    int64_t left_ns = t->turn.deadline_ns - sync_clock_now_ns();

    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS,
                     (long)fetch_milliseconds_(left_ns));
    t->asked_ns = fetch_now_(t->fetch);
}

// Whether two ETags are of the same page, to the byte or not.
static int is_same_etag(const char *a, const char *b) {
    a += strncmp(a, "W/", 2) == 0 ? 2 : 0;
    b += strncmp(b, "W/", 2) == 0 ? 2 : 0;
    return strcmp(a, b) == 0;
}

// Whether t was answered for the page that the old response is: not if a
// redirect leads elsewhere now, nor if the answer tells another ETag.
static int is_of_old_page(const struct transfer *t) {
    const char *etag = fetch_response_etag(&t->old);
    const char *url = NULL;

    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    return url != NULL && strcmp(url, fetch_response_url(&t->old)) == 0 &&
           (etag[0] == '\0' || t->header.etag[0] == '\0' ||
            is_same_etag(etag, t->header.etag));
}

int fetch_transfer_again_(struct transfer *t) {
    if (!fetch_transfer_is_not_modified_(t) || is_of_old_page(t)) {
        return 0;
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(t->conditions);
    t->conditions = NULL;
    memset(&t->header, 0, sizeof t->header);
    return 1;
}

// ------------------------------------------------------------------ its end

// The error of t, whose transfer ended with code.
static int error_of(const struct transfer *t, int code, int status) {
    if (t->error != 0) {
        return t->error;
    }
    switch (code) {
        case CURLE_OK:
            // libcurl takes a header that breaks off for one without a body.
            return t->header.is_open ? CURLE_RECV_ERROR : 0;
        case CURLE_HTTP_RETURNED_ERROR:
            return status >= 400 ? status : code;
        case CURLE_OUT_OF_MEMORY:
            return MEMO_ENOMEM;
        default:
            return code;
    }
}

// The same in words; "" if the error says it all.
static const char *text_of(const struct transfer *t, int code) {
    if (t->error != 0) {
        return t->reason;
    }
    return code == MEMO_ECANCELED ? "nobody waits for it any more" : t->text;
}

static uint32_t http_version(CURL *easy) {
    long version = 0;

    curl_easy_getinfo(easy, CURLINFO_HTTP_VERSION, &version);
    switch (version) {
        case CURL_HTTP_VERSION_1_0:
            return 10;
        case CURL_HTTP_VERSION_1_1:
            return 11;
        case CURL_HTTP_VERSION_2_0:
            return 20;
        case CURL_HTTP_VERSION_3:
            return 30;
        default:
            return 0;
    }
}

// Make the response complete, which libcurl has received without an error.
static int complete(struct transfer *t, const struct fetch_load *load) {
    struct fetch_facts facts = {
        .load_ns = load->end_ns - load->start_ns,
        .wire_bytes = load->body_bytes + load->header_bytes,
        .status = (uint32_t)load->status,
        .redirects = load->redirects,
        .http_version = http_version(t->easy),
    };

    // Without a body, take_body() was never called.
    if (t->draft.room == NULL && begin_draft(t) != 0) {
        return MEMO_ENOMEM;
    }
    struct fetch_dates dates = fetch_transfer_date_(t);
    return fetch_draft_end_(&t->draft, &facts, &t->header.said, &dates);
}

// Bring about what callers get, and say in *load how that came.
static void settle(struct transfer *t, struct fetch_load *load) {
    if (load->error != 0) {
        load->stale = (uint32_t)fetch_transfer_stand_in_(t, load->error);
    } else if (fetch_transfer_is_not_modified_(t)) {
        load->not_modified = 1;
        load->error = fetch_transfer_keep_old_(t);
    } else {
        load->error = complete(t, load);
    }
}

void fetch_transfer_end_(struct transfer *t, int code) {
    struct memo_load *l = t->draft.load;
    struct fetch *f = t->fetch;
    long status = 0;
    long n_redirects = 0;
    long n_connections = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_COUNT, &n_redirects);
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &n_connections);
    struct fetch_load load = {
        .error = error_of(t, code, (int)status),
        .status = (int)status,
        .text = text_of(t, code),
        .start_ns = t->start_ns,
        .end_ns = sync_clock_now_ns(),
        .body_bytes = t->body_bytes,
        .header_bytes = t->header_bytes,
        .redirects = (uint32_t)n_redirects,
        .connections = (uint32_t)n_connections,
    };
    settle(t, &load);
    fetch_tell_(f, l, &load);
    free_transfer(t);
    memo_load_finish(l, load.error);
}
