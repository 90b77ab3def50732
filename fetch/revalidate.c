// A transfer and the response that it is to replace: asking whether that still
// is good, and until when what comes of it may be used.
#include <stdio.h>
#include <string.h>

#include "fetch/internal.h"

// The shortest time that there is for a cache: one of 0 means not to store.
#define MOMENT_NS 1

static int is_on(const struct transfer *t) {
    return (t->fetch->options.flags & FETCH_FRESHNESS) != 0;
}

static int has_old(const struct transfer *t) {
    return t->old.data != NULL;
}

// -------------------------------------------------------------- conditions

// Return 0 or MEMO_ENOMEM.
static int add_condition(struct transfer *t, const char *name,
                         const char *value) {
    char line[FETCH_ETAG_SIZE + FETCH_LAST_MODIFIED_SIZE];

    if (value[0] == '\0') {
        return 0;
    }
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *all = curl_slist_append(t->conditions, line);
    if (all == NULL) {
        return MEMO_ENOMEM;
    }
    t->conditions = all;
    return 0;
}

int fetch_transfer_take_old_(struct transfer *t) {
    const struct memo_value *old = &t->old;

    if (!is_on(t) || memo_load_old(t->draft.load, &t->old) != 0 ||
        fetch_response_status(old) != 200) {
        return 0;
    }
    if (add_condition(t, "If-None-Match", fetch_response_etag(old)) != 0 ||
        add_condition(t, "If-Modified-Since",
                      fetch_response_last_modified(old)) != 0) {
        return MEMO_ENOMEM;
    }
    return curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->conditions) ==
                   CURLE_OK
               ? 0
               : MEMO_ENOMEM;
}

int fetch_transfer_is_not_modified_(const struct transfer *t) {
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return t->conditions != NULL && status == 304;
}

// ------------------------------------------------------------------- dates

// What said, and the redirects before, come to by now.
static struct fetch_terms terms_of(const struct transfer *t,
                                   const struct fetch_said *said,
                                   int64_t now_ns) {
    struct fetch_terms terms = fetch_terms_of_(said, t->header.age_s);

    if (t->header.has_before) {
        terms = fetch_terms_join_(&terms, &t->header.before);
    }
    if (fetch_header_is_momentary_(&t->header)) {
        int64_t ns = t->fetch->moment_ns;
        struct fetch_terms moment = {0, ns, ns, FETCH_UNSAID, 0};

        terms = fetch_terms_join_(&terms, &moment);
    }
    fetch_terms_later_(&terms, now_ns - t->asked_ns);
    return terms;
}

// How long past terms->fresh_ns it may stand in, counting from when it was no
// longer fresh, wherever that was (RFC 5861).
static int64_t error_ns_of(const struct fetch *f,
                           const struct fetch_terms *terms) {
    return terms->error_ns != FETCH_UNSAID
               ? terms->error_ns
               : fetch_left_of_(f->stale_if_error_ns, terms->stale_ns);
}

static int64_t at_least_a_moment(int64_t ns) {
    return ns < MOMENT_NS ? MOMENT_NS : ns;
}

// Tell the cache for how long the result of t is good.
static void tell_cache(const struct transfer *t,
                       const struct fetch_terms *terms) {
    struct memo_load *l = t->draft.load;
    int64_t refresh_ns = t->fetch->refresh_after_ns;

    if (terms->fresh_ns != FETCH_UNSAID) {
        (void)memo_load_set_ttl(l, at_least_a_moment(terms->usable_ns));
        if (terms->usable_ns > terms->fresh_ns &&
            terms->fresh_ns < refresh_ns) {
            refresh_ns = at_least_a_moment(terms->fresh_ns);
        }
    }
    (void)memo_load_set_refresh(l, refresh_ns);
    if (error_ns_of(t->fetch, terms) == 0) {
        (void)memo_load_must_revalidate(l);
    }
}

static struct fetch_dates dates_of(const struct fetch *f,
                                   const struct fetch_terms *terms,
                                   int64_t now_ns) {
    int64_t fresh_ns =
        terms->fresh_ns != FETCH_UNSAID ? terms->fresh_ns : f->ttl_ns;
    int64_t usable_ns = fetch_add_ns_(fresh_ns, error_ns_of(f, terms));

    if (usable_ns < terms->usable_ns) {
        usable_ns = terms->usable_ns;
    }
    struct fetch_dates dates = {
        .fresh_until_ns = fetch_add_ns_(fresh_ns, now_ns),
        .usable_until_ns = fetch_add_ns_(usable_ns, now_ns),
        .is_strict = error_ns_of(f, terms) == 0,
    };
    return dates;
}

// Whether t was answered as only a request for a part, with conditions, or for
// another protocol should be.
static int is_out_of_place(const struct transfer *t) {
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status < 200 || status == 206 || status == 304;
}

struct fetch_dates fetch_transfer_date_(struct transfer *t) {
    struct fetch_dates dates = {0};

    if (is_out_of_place(t)) {
        (void)memo_load_pass(t->draft.load);
    }
    if (is_on(t)) {
        int64_t now_ns = fetch_now_(t->fetch);
        struct fetch_terms terms = terms_of(t, &t->header.said, now_ns);

        if (terms.no_store) {
            (void)memo_load_pass(t->draft.load);
        }
        tell_cache(t, &terms);
        dates = dates_of(t->fetch, &terms, now_ns);
    }
    return dates;
}

// ------------------------------------------------------------ the old one

static const char *or_else(const char *now, const char *before) {
    return now[0] != '\0' ? now : before;
}

// The texts of the old response, but for those that the answer tells anew (RFC
// 9111, 3.2).  Its ETag isn't taken for that of a response which had none and may
// be an older one, of the same second.
static struct fetch_texts texts_now(const struct transfer *t) {
    const char *etag = fetch_response_etag(&t->old);
    const char *last_modified = fetch_response_last_modified(&t->old);

    if (etag[0] != '\0' ||
        fetch_is_settled_(fetch_response_said_(&t->old), last_modified)) {
        etag = or_else(t->header.etag, etag);
    }
    struct fetch_texts texts = {
        .type = or_else(fetch_transfer_type_(t), fetch_response_type(&t->old)),
        .url = fetch_response_url(&t->old),
        .etag = etag,
        .last_modified = or_else(t->header.last_modified, last_modified),
    };
    return texts;
}

static int has_texts(const struct memo_value *v,
                     const struct fetch_texts *texts) {
    return strcmp(fetch_response_type(v), texts->type) == 0 &&
           strcmp(fetch_response_etag(v), texts->etag) == 0 &&
           strcmp(fetch_response_last_modified(v), texts->last_modified) == 0;
}

int fetch_transfer_keep_old_(struct transfer *t) {
    int64_t now_ns = fetch_now_(t->fetch);
    struct fetch_said said = *fetch_response_said_(&t->old);
    struct fetch_texts texts = texts_now(t);

    // If it says no-store, that is of the answer, which has nothing to store;
    // the old response is then asked about each time.
    fetch_said_update_(&said, &t->header.said);
    struct fetch_terms terms = terms_of(t, &said, now_ns);
    struct fetch_dates dates = dates_of(t->fetch, &terms, now_ns);
    tell_cache(t, &terms);
    if (!has_texts(&t->old, &texts)) {
        // Callers may be reading those that it has.
        return fetch_draft_renew_(&t->draft, &t->old, &texts, &said, &dates);
    }
    *fetch_response_said_(&t->old) = said;
    fetch_response_set_dates_(&t->old, &dates);
    return memo_load_not_modified(t->draft.load);
}

// Whether error means that there is no answer; not one that says no.
static int is_no_answer(int error) {
    return error < 400 || error >= 500;
}

// Where the fresh value is that the cache has now, the old one or another; NULL:
// it has none.
static const void *fresh_one(const struct transfer *t) {
    struct memo_value now;
    size_t size;
    const char *url = memo_load_key(t->draft.load, &size);

    (void)memo_peek(t->fetch->memo, url, size, &now);
    const void *data = now.data;
    memo_release(&now);
    return data;
}

static int may_stand_in(const struct transfer *t, int error) {
    if (!fetch_is_response_(&t->old)) {
        return t->fetch->stale_if_error_ns != 0 ||
               (is_no_answer(error) && fresh_one(t) == t->old.data);
    }
    return is_no_answer(error) &&
           fetch_now_(t->fetch) <
               fetch_response_dates_(&t->old).usable_until_ns;
}

int fetch_transfer_stand_in_(struct transfer *t, int error) {
    size_t size;
    const char *url = memo_load_key(t->draft.load, &size);

    // One that was broken off says nothing of it.
    if (!has_old(t) || error == MEMO_ECLOSED || error == MEMO_ECANCELED) {
        return 0;
    }
    if (may_stand_in(t, error)) {
        return 1;
    }
    if (is_no_answer(error) && fetch_is_response_(&t->old) &&
        fetch_response_dates_(&t->old).is_strict) {
        // It stays to be asked about, and the cache won't return it.
        return 0;
    }
    const void *now = fresh_one(t);
    if (now == NULL || now == t->old.data) {
        // Not what has come in its place meanwhile.
        (void)memo_invalidate(t->fetch->memo, url, size);
    }
    return 0;
}
