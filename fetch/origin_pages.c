#include "fetch/origin_pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch/origin.h"

// How a page is answered; the request is for telling it what it asked.
typedef ORIGIN_RESULT send_fn(const struct origin_page *page,
                              struct MHD_Connection *c);

struct origin_kind {
    const char *prefix;  // of the path
    send_fn *send;
    int has_delay;  // the first number is a delay, the second the size
};

// What follows the last redirect.
#define LAST_PAGE "/page/1000/last"

char origin_byte(uint64_t i) {
    // The period is prime, so that a piece in the wrong place shows.
    return (char)('A' + i % 53);
}

// ------------------------------------------------------------------ sending

static ORIGIN_RESULT queue(struct MHD_Connection *c, unsigned status,
                           struct MHD_Response *response) {
    if (response == NULL) {
        return MHD_NO;
    }
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

// CALLBACK: of libmicrohttpd.  Fill buf with what comes at byte at of a page of
// *arg bytes.
static ssize_t read_page(void *arg, uint64_t at, char *buf, size_t max) {
    uint64_t size = *(const uint64_t *)arg;
    uint64_t n = size - at < max ? size - at : max;

    if (at >= size) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    for (uint64_t i = 0; i < n; i++) {
        buf[i] = origin_byte(at + i);
    }
    return (ssize_t)n;
}

// CALLBACK: of libmicrohttpd.  The same, but only to the middle.
static ssize_t read_half(void *arg, uint64_t at, char *buf, size_t max) {
    uint64_t half = *(const uint64_t *)arg / 2;

    if (at >= half) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return read_page(arg, at, buf, half - at < max ? (size_t)(half - at) : max);
}

static ORIGIN_RESULT stream(const struct origin_page *page,
                            struct MHD_Connection *c, uint64_t told_size,
                            MHD_ContentReaderCallback read) {
    uint64_t *size = malloc(sizeof *size);

    if (size == NULL) {
        return MHD_NO;
    }
    *size = page->size;
    struct MHD_Response *r =
        MHD_create_response_from_callback(told_size, 32768, read, size, free);
    if (r == NULL) {
        free(size);
        return MHD_NO;
    }
    MHD_add_response_header(r, "Content-Type", "text/plain");
    return queue(c, MHD_HTTP_OK, r);
}

static ORIGIN_RESULT redirect(struct MHD_Connection *c, const char *to) {
    struct MHD_Response *r = text_response("elsewhere\n");

    if (r != NULL) {
        MHD_add_response_header(r, "Location", to);
    }
    return queue(c, MHD_HTTP_FOUND, r);
}

// -------------------------------------------------------------------- pages

static ORIGIN_RESULT send_page(const struct origin_page *page,
                               struct MHD_Connection *c) {
    return stream(page, c, page->size, read_page);
}

static ORIGIN_RESULT send_chunked(const struct origin_page *page,
                                  struct MHD_Connection *c) {
    return stream(page, c, MHD_SIZE_UNKNOWN, read_page);
}

static ORIGIN_RESULT send_half(const struct origin_page *page,
                               struct MHD_Connection *c) {
    return stream(page, c, page->size, read_half);
}

static ORIGIN_RESULT send_headers(const struct origin_page *page,
                                  struct MHD_Connection *c) {
    char *value = calloc(1, page->number + 1);
    struct MHD_Response *r = text_response("see the header\n");

    if (value != NULL && r != NULL) {
        memset(value, 'x', page->number);
        MHD_add_response_header(r, "X-Long", value);
    }
    free(value);
    return queue(c, MHD_HTTP_OK, r);
}

static ORIGIN_RESULT send_status(const struct origin_page *page,
                                 struct MHD_Connection *c) {
    return queue(c, (unsigned)page->number, text_response("as you wish\n"));
}

static ORIGIN_RESULT send_redirect(const struct origin_page *page,
                                   struct MHD_Connection *c) {
    char to[64] = LAST_PAGE;

    if (page->number > 1) {
        snprintf(to, sizeof to, "/redirect/%llu",
                 (unsigned long long)page->number - 1);
    }
    return redirect(c, to);
}

static ORIGIN_RESULT send_loop(const struct origin_page *page,
                               struct MHD_Connection *c) {
    (void)page;
    return redirect(c, "/loop");
}

static ORIGIN_RESULT send_away(const struct origin_page *page,
                               struct MHD_Connection *c) {
    (void)page;
    return redirect(c, "file:///etc/passwd");
}

static ORIGIN_RESULT send_nothing(const struct origin_page *page,
                                  struct MHD_Connection *c) {
    (void)page, (void)c;
    return MHD_NO;
}

static ORIGIN_RESULT send_agent(const struct origin_page *page,
                                struct MHD_Connection *c) {
    const char *agent =
        MHD_lookup_connection_value(c, MHD_HEADER_KIND, "User-Agent");

    (void)page;
    return queue(c, MHD_HTTP_OK, text_response(agent != NULL ? agent : ""));
}

static ORIGIN_RESULT send_unknown(const struct origin_page *page,
                                  struct MHD_Connection *c) {
    (void)page;
    return queue(c, MHD_HTTP_NOT_FOUND, text_response("no such page\n"));
}

static const struct origin_kind kinds[] = {
    {"/page/", send_page, 0},       {"/slow/", send_page, 1},
    {"/chunked/", send_chunked, 0}, {"/headers/", send_headers, 0},
    {"/status/", send_status, 0},   {"/redirect/", send_redirect, 0},
    {"/loop", send_loop, 0},        {"/away", send_away, 0},
    {"/drop/", send_half, 0},       {"/silent", send_nothing, 0},
    {"/agent", send_agent, 0},      {"", send_unknown, 0},
};

struct origin_page origin_page_(const char *path) {
    struct origin_page page = {.kind = kinds};
    char *end;

    while (strncmp(path, page.kind->prefix, strlen(page.kind->prefix)) != 0) {
        page.kind++;
    }
    page.number = strtoull(path + strlen(page.kind->prefix), &end, 10);
    if (page.kind->has_delay) {
        page.delay_ms = page.number;
        page.number = *end == '/' ? strtoull(end + 1, &end, 10) : 0;
    }
    if (page.kind->send == send_page || page.kind->send == send_chunked ||
        page.kind->send == send_half) {
        page.size = page.number;
    }
    return page;
}

ORIGIN_RESULT origin_page_send_(const struct origin_page *page,
                                struct MHD_Connection *c) {
    return page->kind->send(page, c);
}
