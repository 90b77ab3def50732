#include "fetch/response.h"

#include <string.h>

#include "fetch/fetch.h"
#include "sync/atomic.h"

// What tells a response from a value that was stored by somebody else.
#define HEAD_MARK UINT64_C(0x6d656d6f66657463)

// The room for a body whose length is not known.
#define FIRST_ROOM ((size_t)16384)

struct head {
    // Const after fetch_draft_end_().  The *_at are offsets from its own
    // address.
    uint64_t mark;
    struct fetch_facts facts;
    size_t type_at;
    size_t url_at;
    size_t etag_at;
    size_t last_modified_at;
    size_t body_at;
    size_t body_size;

    // Owned by the fetch's thread.
    struct fetch_said said;

    // Atomic.
    sync_atomic_u64 fresh_until_ns;
    sync_atomic_u64 usable_until_ns;
    sync_atomic_u32 is_strict;
};

// ---------------------------------------------------------------- a draft

static int make_room(struct fetch_draft *d, size_t size) {
    char *room = memo_load_reserve(d->load, size);

    if (room == NULL) {
        return MEMO_ENOMEM;
    }
    d->room = room;
    d->room_size = size;
    return 0;
}

static size_t append_text(struct fetch_draft *d, const char *text) {
    size_t at = d->used;
    size_t size = strlen(text) + 1;

    memcpy(d->room + at, text, size);
    d->used += size;
    return at;
}

int fetch_draft_begin_(struct fetch_draft *d, const struct fetch_texts *texts,
                       size_t body_size) {
    struct head head = {.mark = HEAD_MARK};
    size_t size = strlen(texts->type) + strlen(texts->url) +
                  strlen(texts->etag) + strlen(texts->last_modified) + 4;
    size_t body = body_size != FETCH_SIZE_UNKNOWN ? body_size : FIRST_ROOM;

    if (body > SIZE_MAX / 4 ||
        make_room(d, sizeof head + size + body + 1) != 0) {
        return MEMO_ENOMEM;
    }
    d->used = sizeof head;
    head.type_at = append_text(d, texts->type);
    head.url_at = append_text(d, texts->url);
    head.etag_at = append_text(d, texts->etag);
    head.last_modified_at = append_text(d, texts->last_modified);
    head.body_at = d->used;
    d->body_at = d->used;
    memcpy(d->room, &head, sizeof head);
    return 0;
}

int fetch_draft_append_(struct fetch_draft *d, const void *data, size_t size) {
    if (size >= d->room_size - d->used) {
        size_t need = d->used + size + 1;
        size_t twice = 2 * d->room_size;

        if (make_room(d, need > twice ? need : twice) != 0) {
            return MEMO_ENOMEM;
        }
    }
    memcpy(d->room + d->used, data, size);
    d->used += size;
    return 0;
}

size_t fetch_draft_body_size_(const struct fetch_draft *d) {
    return d->used - d->body_at;
}

static void set_dates(struct head *head, const struct fetch_dates *dates) {
    SYNC_STORE(&head->fresh_until_ns, (uint64_t)dates->fresh_until_ns);
    SYNC_STORE(&head->usable_until_ns, (uint64_t)dates->usable_until_ns);
    SYNC_STORE(&head->is_strict, dates->is_strict);
}

int fetch_draft_end_(struct fetch_draft *d, const struct fetch_facts *facts,
                     const struct fetch_said *said,
                     const struct fetch_dates *dates) {
    struct head *head;

    if (d->room_size != d->used + 1 && make_room(d, d->used + 1) != 0) {
        return MEMO_ENOMEM;
    }
    d->room[d->used] = '\0';
    head = (struct head *)(void *)d->room;
    head->facts = *facts;
    head->body_size = fetch_draft_body_size_(d);
    head->said = *said;
    set_dates(head, dates);
    return 0;
}

// ------------------------------------------------------------- a response

static const struct head *head_of(const struct memo_value *v) {
    const struct head *head = v != NULL ? v->data : NULL;

    if (head == NULL || v->size < sizeof *head || head->mark != HEAD_MARK) {
        return NULL;
    }
    return head;
}

// A response that a load has in hand, or that a caller has got.  Its own parts
// that change are apart from those that callers read.
static struct head *changeable(const struct memo_value *v) {
    return (struct head *)(uintptr_t)head_of(v);
}

int fetch_is_response_(const struct memo_value *v) {
    return head_of(v) != NULL;
}

struct fetch_said *fetch_response_said_(const struct memo_value *v) {
    return &changeable(v)->said;
}

void fetch_response_set_dates_(const struct memo_value *v,
                               const struct fetch_dates *dates) {
    set_dates(changeable(v), dates);
}

struct fetch_dates fetch_response_dates_(const struct memo_value *v) {
    struct head *head = changeable(v);
    struct fetch_dates dates = {
        (int64_t)SYNC_LOAD(&head->fresh_until_ns),
        (int64_t)SYNC_LOAD(&head->usable_until_ns),
        SYNC_LOAD(&head->is_strict),
    };

    return dates;
}

int fetch_draft_renew_(struct fetch_draft *d, const struct memo_value *old,
                       const struct fetch_texts *texts,
                       const struct fetch_said *said,
                       const struct fetch_dates *dates) {
    size_t size;
    const void *body = fetch_response_body(old, &size);

    if (fetch_draft_begin_(d, texts, size) != 0 ||
        fetch_draft_append_(d, body, size) != 0) {
        return MEMO_ENOMEM;
    }
    return fetch_draft_end_(d, &head_of(old)->facts, said, dates);
}

static const char *at(const struct head *head, size_t offset) {
    return (const char *)head + offset;
}

const void *fetch_response_body(const struct memo_value *v, size_t *size) {
    const struct head *head = head_of(v);

    if (size != NULL) {
        *size = head != NULL ? head->body_size : 0;
    }
    return head != NULL ? at(head, head->body_at) : NULL;
}

int fetch_response_status(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? (int)head->facts.status : 0;
}

const char *fetch_response_type(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? at(head, head->type_at) : NULL;
}

const char *fetch_response_url(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? at(head, head->url_at) : NULL;
}

const char *fetch_response_etag(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? at(head, head->etag_at) : NULL;
}

const char *fetch_response_last_modified(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? at(head, head->last_modified_at) : NULL;
}

int64_t fetch_response_fresh_until(const struct memo_value *v) {
    return head_of(v) != NULL ? fetch_response_dates_(v).fresh_until_ns : 0;
}

int fetch_response_redirects(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? (int)head->facts.redirects : 0;
}

int fetch_response_http_version(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? (int)head->facts.http_version : 0;
}

int64_t fetch_response_load_ns(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? head->facts.load_ns : 0;
}

uint64_t fetch_response_wire_bytes(const struct memo_value *v) {
    const struct head *head = head_of(v);

    return head != NULL ? head->facts.wire_bytes : 0;
}
