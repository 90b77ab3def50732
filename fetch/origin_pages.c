#include "fetch/origin_pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/origin.h"

// How a page is answered; the request is for telling it what it asked.
typedef ORIGIN_RESULT send_fn(struct origin_page *page,
                              struct MHD_Connection *c);

struct origin_kind {
    const char *prefix;  // of the path
    send_fn *send;
    int has_delay;    // the first number is a delay, the second the size
    int has_seconds;  // the first number is how long it is good, likewise
    // Of those that say how long they are good.
    const char *control;    // Cache-Control, for printf()
    const char *validator;  // the name of a field, or ""
};

// What follows the last redirect.
#define LAST_PAGE "/page/1000/last"

char origin_byte(uint64_t i) {
    // The period is prime, so that a piece in the wrong place shows.
    return (char)('A' + i % 53);
}

// ------------------------------------------------------------------ sending

static ORIGIN_RESULT queue(struct origin_page *page, struct MHD_Connection *c,
                           unsigned status, struct MHD_Response *response) {
    if (response == NULL) {
        return MHD_NO;
    }
    page->status = status;
    ORIGIN_RESULT result = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return result;
}

static struct MHD_Response *text_response(const char *text) {
    struct MHD_Response *r = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);

    if (r != NULL) {
        MHD_add_response_header(r, "Content-Type", "text/plain");
    }
    return r;
}

// What is sent bit by bit.
struct content {
    uint64_t size;
    unsigned version;
};

// CALLBACK: of libmicrohttpd.  Fill buf with what comes at byte at of arg, a
// struct content.
static ssize_t read_page(void *arg, uint64_t at, char *buf, size_t max) {
    const struct content *content = arg;
    uint64_t size = content->size;
    uint64_t n = size - at < max ? size - at : max;

    if (at >= size) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    for (uint64_t i = 0; i < n; i++) {
        buf[i] = origin_byte(at + i + content->version);
    }
    return (ssize_t)n;
}

// CALLBACK: of libmicrohttpd.  The same, but only to the middle.
static ssize_t read_half(void *arg, uint64_t at, char *buf, size_t max) {
    uint64_t half = ((const struct content *)arg)->size / 2;

    if (at >= half) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return read_page(arg, at, buf, half - at < max ? (size_t)(half - at) : max);
}

// Add a field, unless value is "".
static void add_field(struct MHD_Response *r, const char *name,
                      const char *value) {
    if (value[0] != '\0') {
        MHD_add_response_header(r, name, value);
    }
}

static struct MHD_Response *streaming(const struct origin_page *page,
                                      uint64_t told_size,
                                      MHD_ContentReaderCallback read) {
    struct content *content = malloc(sizeof *content);

    if (content == NULL) {
        return NULL;
    }
    *content = (struct content){page->size, page->mood.version};
    struct MHD_Response *r = MHD_create_response_from_callback(
        told_size, 32768, read, content, free);
    if (r == NULL) {
        free(content);
        return NULL;
    }
    MHD_add_response_header(r, "Content-Type", "text/plain");
    return r;
}

static ORIGIN_RESULT stream(struct origin_page *page, struct MHD_Connection *c,
                            uint64_t told_size,
                            MHD_ContentReaderCallback read) {
    return queue(page, c, MHD_HTTP_OK, streaming(page, told_size, read));
}

static ORIGIN_RESULT redirect(struct origin_page *page,
                              struct MHD_Connection *c, const char *to) {
    struct MHD_Response *r = text_response("elsewhere\n");

    if (r != NULL) {
        MHD_add_response_header(r, "Location", to);
        add_field(r, "Cache-Control", page->mood.control);
    }
    return queue(page, c, MHD_HTTP_FOUND, r);
}

// -------------------------------------------------------------------- pages

static ORIGIN_RESULT send_page(struct origin_page *page,
                               struct MHD_Connection *c) {
    return stream(page, c, page->size, read_page);
}

static ORIGIN_RESULT send_chunked(struct origin_page *page,
                                  struct MHD_Connection *c) {
    return stream(page, c, MHD_SIZE_UNKNOWN, read_page);
}

static ORIGIN_RESULT send_half(struct origin_page *page,
                               struct MHD_Connection *c) {
    return stream(page, c, page->size, read_half);
}

static ORIGIN_RESULT send_headers(struct origin_page *page,
                                  struct MHD_Connection *c) {
    char *value = calloc(1, page->number + 1);
    struct MHD_Response *r = text_response("see the header\n");

    if (value != NULL && r != NULL) {
        memset(value, 'x', page->number);
        MHD_add_response_header(r, "X-Long", value);
    }
    free(value);
    return queue(page, c, MHD_HTTP_OK, r);
}

static ORIGIN_RESULT send_status(struct origin_page *page,
                                 struct MHD_Connection *c) {
    return queue(page, c, (unsigned)page->number,
                 text_response("as you wish\n"));
}

static ORIGIN_RESULT send_redirect(struct origin_page *page,
                                   struct MHD_Connection *c) {
    char to[64] = LAST_PAGE;

    if (page->number > 1) {
        snprintf(to, sizeof to, "/redirect/%llu",
                 (unsigned long long)page->number - 1);
    }
    return redirect(page, c, to);
}

static ORIGIN_RESULT send_loop(struct origin_page *page,
                               struct MHD_Connection *c) {
    return redirect(page, c, "/loop");
}

static ORIGIN_RESULT send_away(struct origin_page *page,
                               struct MHD_Connection *c) {
    return redirect(page, c, "file:///etc/passwd");
}

static ORIGIN_RESULT send_nothing(struct origin_page *page,
                                  struct MHD_Connection *c) {
    (void)page, (void)c;
    return MHD_NO;
}

static ORIGIN_RESULT send_agent(struct origin_page *page,
                                struct MHD_Connection *c) {
    const char *agent =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, "User-Agent");

    return queue(page, c, MHD_HTTP_OK,
                 text_response(agent != NULL ? agent : ""));
}

// ------------------------------------------- pages that say how long they are
// good

// The field by which the version of page is known, and what is in it.
static void write_validator(const struct origin_page *page, char value[40]) {
    snprintf(value, 40,
             page->kind->validator[0] == 'E'
                 ? "\"v%u\""
                 : "Sun, 06 Nov 1994 08:49:%02u GMT",
             page->mood.version % 60);
}

// Whether who asks has the page as it is.
static int is_known(const struct origin_page *page, struct MHD_Connection *c) {
    const char *validator = page->kind->validator;
    const char *known = MHD_lookup_connection_value(
        c, MHD_HEADER_KIND,
        validator[0] == 'E' ? "If-None-Match" : "If-Modified-Since");
    char value[40];

    write_validator(page, value);
    return validator[0] != '\0' && known != NULL && strcmp(known, value) == 0;
}

static void add_terms(const struct origin_page *page, struct MHD_Response *r) {
    char control[100];
    char validator[40];

    snprintf(control, sizeof control, page->kind->control,
             (unsigned long long)page->seconds,
             (unsigned long long)page->seconds);
    add_field(r, "Cache-Control",
              page->mood.has_control ? page->mood.control : control);
    if (page->kind->validator[0] != '\0') {
        write_validator(page, validator);
        add_field(r, page->kind->validator, validator);
    }
}

// Send the page, or tell who has it that it is as it was.
static ORIGIN_RESULT send_if(struct origin_page *page, struct MHD_Connection *c,
                             int known) {
    struct MHD_Response *r =
        known ? MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT)
              : streaming(page, page->size, read_page);

    if (r != NULL) {
        add_terms(page, r);
    }
    return queue(page, c, known ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, r);
}

static ORIGIN_RESULT send_good(struct origin_page *page,
                               struct MHD_Connection *c) {
    return send_if(page, c, is_known(page, c));
}

static ORIGIN_RESULT send_careless(struct origin_page *page,
                                   struct MHD_Connection *c) {
    return send_if(page, c,
                   MHD_lookup_connection_value(c, MHD_HEADER_KIND,
                                               "If-None-Match") != NULL);
}

static ORIGIN_RESULT send_unknown(struct origin_page *page,
                                  struct MHD_Connection *c) {
    return queue(page, c, MHD_HTTP_NOT_FOUND, text_response("no such page\n"));
}

static const struct origin_kind kinds[] = {
    {"/page/", send_page, 0, 0, NULL, NULL},
    {"/slow/", send_page, 1, 0, NULL, NULL},
    {"/chunked/", send_chunked, 0, 0, NULL, NULL},
    {"/headers/", send_headers, 0, 0, NULL, NULL},
    {"/status/", send_status, 0, 0, NULL, NULL},
    {"/redirect/", send_redirect, 0, 0, NULL, NULL},
    {"/loop", send_loop, 0, 0, NULL, NULL},
    {"/away", send_away, 0, 0, NULL, NULL},
    {"/drop/", send_half, 0, 0, NULL, NULL},
    {"/silent", send_nothing, 0, 0, NULL, NULL},
    {"/agent", send_agent, 0, 0, NULL, NULL},
    {"/etag/", send_good, 0, 0, "no-cache", "ETag"},
    {"/dated/", send_good, 0, 0, "no-cache", "Last-Modified"},
    {"/max-age/", send_good, 0, 1, "max-age=%llu", "ETag"},
    {"/swr/", send_good, 0, 1, "max-age=%llu, stale-while-revalidate=%llu",
     "ETag"},
    {"/flaky/", send_good, 0, 0, "max-age=0, stale-if-error=60", "ETag"},
    {"/no-store/", send_good, 0, 0, "no-store", ""},
    {"/careless/", send_careless, 0, 0, "no-cache", "ETag"},
    {"", send_unknown, 0, 0, NULL, NULL},
};

struct origin_page origin_page_(const char *path) {
    struct origin_page page = {.kind = kinds};
    char *end;

    while (strncmp(path, page.kind->prefix, strlen(page.kind->prefix)) != 0) {
        page.kind++;
    }
    page.number = strtoull(path + strlen(page.kind->prefix), &end, 10);
    if (page.kind->has_delay || page.kind->has_seconds) {
        page.delay_ms = page.kind->has_delay ? page.number : 0;
        page.seconds = page.kind->has_seconds ? page.number : 0;
        page.number = *end == '/' ? strtoull(end + 1, &end, 10) : 0;
    }
    if (page.kind->send == send_page || page.kind->send == send_chunked ||
        page.kind->send == send_half || page.kind->send == send_good ||
        page.kind->send == send_careless) {
        page.size = page.number;
    }
    return page;
}

ORIGIN_RESULT origin_page_send_(struct origin_page *page,
                                struct MHD_Connection *c) {
    if (page->mood.status != 0) {
        struct MHD_Response *r = text_response("not now\n");

        page->size = 0;
        if (r != NULL) {
            add_field(r, "Cache-Control", page->mood.control);
        }
        return queue(page, c, page->mood.status, r);
    }
    if (page->mood.to[0] != '\0') {
        page->size = 0;
        return redirect(page, c, page->mood.to);
    }
    ORIGIN_RESULT result = page->kind->send(page, c);
    if (page->status == MHD_HTTP_NOT_MODIFIED) {
        page->size = 0;
    }
    return result;
}
