#include "fetch/freshness.h"

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#define SECOND_NS INT64_C(1000000000)

// A part of a line.
struct piece {
    const char *data;
    size_t size;
};

// ------------------------------------------------------------------ pieces

static int is_space(char c) {
    return c == ' ' || c == '\t';
}

static struct piece trim(struct piece p) {
    while (p.size > 0 && is_space(p.data[0])) {
        p.data++;
        p.size--;
    }
    while (p.size > 0 && is_space(p.data[p.size - 1])) {
        p.size--;
    }
    return p;
}

static int is(struct piece p, const char *name) {
    return p.size == strlen(name) && strncasecmp(p.data, name, p.size) == 0;
}

// Cut off what comes before the first c, and c; all of it, if there is none.
static struct piece cut(struct piece *rest, char c) {
    struct piece first = *rest;
    const char *end = memchr(rest->data, c, rest->size);

    if (end != NULL) {
        first.size = (size_t)(end - rest->data);
        rest->data = end + 1;
        rest->size -= first.size + 1;
    } else {
        rest->data += rest->size;
        rest->size = 0;
    }
    return first;
}

// The size of the quoted string that p begins with; 0 if it doesn't.
static size_t quoted_size(struct piece p) {
    if (p.size == 0 || p.data[0] != '"') {
        return 0;
    }
    for (size_t i = 1; i < p.size; i++) {
        if (p.data[i] == '\\') {
            i++;
        } else if (p.data[i] == '"') {
            return i + 1;
        }
    }
    return 0;
}

// Cut off the next element of a list.  Commas in quotes don't end it; a quote
// that nothing closes isn't one, and then none is that comes after it: *unclosed, 0 at
// first.
static struct piece cut_element(struct piece *list, int *unclosed) {
    struct piece element = *list;

    for (size_t i = 0; i < list->size; i++) {
        struct piece from = {list->data + i, list->size - i};
        size_t quoted = *unclosed ? 0 : quoted_size(from);

        if (list->data[i] == '"' && quoted == 0) {
            *unclosed = 1;
        } else if (quoted != 0) {
            i += quoted - 1;
        } else if (list->data[i] == ',') {
            element.size = i;
            list->data += i + 1;
            list->size -= i + 1;
            return trim(element);
        }
    }
    list->data += list->size;
    list->size = 0;
    return trim(element);
}

// Take the quotes off, if there are any around it.
static struct piece unquote(struct piece p) {
    if (p.size != 0 && quoted_size(p) == p.size) {
        p.data++;
        p.size -= 2;
    }
    return p;
}

// A number of seconds: digits.  Any that is too large is INT64_MAX; what is no
// number is FETCH_UNSAID.
static int64_t seconds(struct piece p) {
    int64_t n = 0;

    if (p.size == 0) {
        return FETCH_UNSAID;
    }
    for (size_t i = 0; i < p.size; i++) {
        int digit = p.data[i] - '0';

        if (digit < 0 || digit > 9) {
            return FETCH_UNSAID;
        }
        n = n > (INT64_MAX - digit) / 10 ? INT64_MAX : n * 10 + digit;
    }
    return n;
}

// ------------------------------------------------------------------ fields

// Of several the first counts.
static void take_first(int64_t *to, int64_t value) {
    if (*to == FETCH_UNSAID) {
        *to = value;
    }
}

static int64_t or_none(int64_t said) {
    return said == FETCH_UNSAID ? 0 : said;
}

static void take_directive(struct fetch_said *said, struct piece directive) {
    struct piece value = directive;
    struct piece name = trim(cut(&value, '='));
    int64_t n = seconds(unquote(trim(value)));

    if (is(name, "max-age")) {
        // A time that can't be read is over.
        take_first(&said->max_age_s, n == FETCH_UNSAID ? 0 : n);
    } else if (is(name, "stale-while-revalidate")) {
        take_first(&said->stale_while_revalidate_s, n == FETCH_UNSAID ? 0 : n);
    } else if (is(name, "stale-if-error")) {
        take_first(&said->stale_if_error_s, n == FETCH_UNSAID ? 0 : n);
    } else if (is(name, "no-store")) {
        said->no_store = 1;
    } else if (is(name, "no-cache")) {
        // Also one for some fields alone: it may be taken for one for all.
        said->no_cache = 1;
    } else if (is(name, "must-revalidate")) {
        said->must_revalidate = 1;
    }
}

static void take_control(struct fetch_said *said, struct piece list) {
    int unclosed = 0;

    said->has_control = 1;
    while (list.size != 0) {
        take_directive(said, cut_element(&list, &unclosed));
    }
}

static void take_vary(struct fetch_said *said, struct piece list) {
    int unclosed = 0;

    // All requests of a fetch are alike in every field that they could vary by.
    while (list.size != 0) {
        said->varies |= is(cut_element(&list, &unclosed), "*");
    }
}

// Take a text as it is, unless it is too long or has what no field may have.
static void take_text(char *to, size_t to_size, struct piece text) {
    int ok = to[0] == '\0' && text.size < to_size;

    for (size_t i = 0; ok && i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];

        ok = c >= 0x20 && c != 0x7f;
    }
    if (ok) {
        memcpy(to, text.data, text.size);
        to[text.size] = '\0';
    }
}

// A date in any of the forms of HTTP, from 1970 on; FETCH_UNSAID: it is none.
static int64_t date_of(struct piece text) {
    char copy[64] = "";

    take_text(copy, sizeof copy, text);
    // "0" is often meant to be in the past; libcurl's other forms are
    // tolerated.
    int64_t date_s = copy[0] == '\0' ? -1 : (int64_t)curl_getdate(copy, NULL);
    return date_s < 0 ? FETCH_UNSAID : date_s;
}

static void take_field(struct fetch_header *h, struct piece name,
                       struct piece value) {
    if (is(name, "Cache-Control")) {
        take_control(&h->said, value);
        h->is_control = 1;
    } else if (is(name, "Expires")) {
        // What is no date is over.
        take_first(&h->said.expires_s, or_none(date_of(value)));
    } else if (is(name, "Date")) {
        take_first(&h->said.date_s, date_of(value));
    } else if (is(name, "Age") && !h->has_age) {
        int unclosed = 0;
        int64_t age = seconds(cut_element(&value, &unclosed));

        h->age_s = age == FETCH_UNSAID ? 0 : age;
        h->has_age = 1;
    } else if (is(name, "Vary")) {
        take_vary(&h->said, value);
        h->is_vary = 1;
    } else if (is(name, "ETag")) {
        take_text(h->etag, sizeof h->etag, value);
    } else if (is(name, "Last-Modified")) {
        take_text(h->last_modified, sizeof h->last_modified, value);
    } else if (is(name, "Content-Type") && value.size != 0) {
        h->has_type = 1;
    }
}

// ----------------------------------------------------------------- a header

// Whether what comes with status may be used again though it doesn't say for how
// long (RFC 9110, 15.1).  A 304 is about something else.
static int is_lasting(int status) {
    static const short lasting[] = {200, 203, 204, 206, 300, 301, 304,
                                    308, 404, 405, 410, 414, 501};

    for (size_t i = 0; i < sizeof lasting / sizeof lasting[0]; i++) {
        if (lasting[i] == status) {
            return 1;
        }
    }
    return 0;
}

int fetch_header_is_momentary_(const struct fetch_header *h) {
    return h->has_detour ||
           (!is_lasting(h->status) &&
            fetch_terms_of_(&h->said, h->age_s).fresh_ns == FETCH_UNSAID);
}

// Begin the header of another response.  Of the one before, if it was a
// redirect, the terms count; not if it was an interim response, or a proxy's.
static void begin(struct fetch_header *h, struct piece line) {
    struct fetch_terms before = h->before;
    int has_before = h->has_before;
    int has_detour = h->has_detour;

    if (h->status >= 300 && h->status <= 399) {
        struct fetch_terms terms = fetch_terms_of_(&h->said, h->age_s);

        before = has_before ? fetch_terms_join_(&before, &terms) : terms;
        has_before = 1;
        has_detour = fetch_header_is_momentary_(h);
    }
    memset(h, 0, sizeof *h);
    h->before = before;
    h->has_before = has_before;
    h->has_detour = has_detour;
    h->is_open = 1;
    h->said.max_age_s = FETCH_UNSAID;
    h->said.stale_while_revalidate_s = FETCH_UNSAID;
    h->said.stale_if_error_s = FETCH_UNSAID;
    h->said.expires_s = FETCH_UNSAID;
    h->said.date_s = FETCH_UNSAID;
    cut(&line, ' ');
    h->status = (int)(seconds(cut(&line, ' ')) % 1000);
}

static void end(struct fetch_header *h, int64_t now) {
    h->is_open = 0;
    take_first(&h->said.date_s, now);
}

void fetch_header_take_(struct fetch_header *h, const char *line, size_t size,
                        int64_t now) {
    struct piece text = {line, size};

    while (text.size > 0 && (text.data[text.size - 1] == '\n' ||
                             text.data[text.size - 1] == '\r')) {
        text.size--;
    }
    if (!h->is_open) {
        if (text.size >= 5 && memcmp(text.data, "HTTP/", 5) == 0) {
            begin(h, text);
        }
    } else if (text.size == 0) {
        end(h, now);
    } else if (is_space(text.data[0])) {
        // An old way to go on with the line before.
        if (h->is_control) {
            take_control(&h->said, text);
        } else if (h->is_vary) {
            take_vary(&h->said, text);
        }
    } else {
        struct piece value = text;
        struct piece name = cut(&value, ':');

        h->is_control = 0;
        h->is_vary = 0;
        take_field(h, name, trim(value));
    }
}

// ------------------------------------------------------------------- terms

int64_t fetch_add_ns_(int64_t a_ns, int64_t b_ns) {
    return a_ns > INT64_MAX - b_ns ? INT64_MAX : a_ns + b_ns;
}

static int64_t to_ns(int64_t s) {
    return s > INT64_MAX / SECOND_NS ? INT64_MAX : s * SECOND_NS;
}

int64_t fetch_left_of_(int64_t span_ns, int64_t age_ns) {
    return span_ns == INT64_MAX ? span_ns
           : span_ns > age_ns   ? span_ns - age_ns
                                : 0;
}

int fetch_is_settled_(const struct fetch_said *said,
                      const char *last_modified) {
    struct piece text = {last_modified, strlen(last_modified)};
    int64_t changed_s = date_of(text);

    return changed_s != FETCH_UNSAID && changed_s < said->date_s;
}

void fetch_said_update_(struct fetch_said *said, const struct fetch_said *now) {
    int64_t expires_s =
        now->expires_s != FETCH_UNSAID ? now->expires_s : said->expires_s;
    int varies = said->varies | now->varies;

    if (now->has_control) {
        *said = *now;
    }
    said->date_s = now->date_s;
    said->expires_s = expires_s;
    said->varies = varies != 0;
}

void fetch_terms_later_(struct fetch_terms *terms, int64_t ns) {
    if (terms->fresh_ns == FETCH_UNSAID) {
        return;
    }
    int64_t stale_ns = ns > terms->fresh_ns ? ns - terms->fresh_ns : 0;
    if (terms->error_ns != FETCH_UNSAID) {
        terms->error_ns = fetch_left_of_(terms->error_ns, stale_ns);
    }
    terms->stale_ns = fetch_add_ns_(terms->stale_ns, stale_ns);
    terms->fresh_ns = fetch_left_of_(terms->fresh_ns, ns);
    terms->usable_ns = fetch_left_of_(terms->usable_ns, ns);
}

// From its Date to its Expires.
static int64_t expires_in_s(const struct fetch_said *said) {
    if (said->expires_s == FETCH_UNSAID) {
        return FETCH_UNSAID;
    }
    return said->expires_s > said->date_s ? said->expires_s - said->date_s : 0;
}

struct fetch_terms fetch_terms_of_(const struct fetch_said *said,
                                   int64_t age_s) {
    struct fetch_terms terms = {said->no_store, FETCH_UNSAID, FETCH_UNSAID,
                                FETCH_UNSAID, 0};
    int64_t life_s =
        said->max_age_s != FETCH_UNSAID ? said->max_age_s : expires_in_s(said);

    if (said->stale_if_error_s != FETCH_UNSAID) {
        terms.error_ns = to_ns(said->stale_if_error_s);
    }
    if (life_s != FETCH_UNSAID) {
        terms.fresh_ns = to_ns(life_s);
        terms.usable_ns = fetch_add_ns_(
            terms.fresh_ns, to_ns(or_none(said->stale_while_revalidate_s)));
    }
    if (said->no_cache || said->no_store || said->varies) {
        terms.fresh_ns = terms.usable_ns = terms.error_ns = 0;
    }
    if (said->must_revalidate) {
        terms.usable_ns = terms.fresh_ns;
        terms.error_ns = 0;
    }
    fetch_terms_later_(&terms, to_ns(age_s));
    return terms;
}

static int64_t lesser_said(int64_t a, int64_t b) {
    return a == FETCH_UNSAID ? b : b == FETCH_UNSAID || a < b ? a : b;
}

struct fetch_terms fetch_terms_join_(const struct fetch_terms *a,
                                     const struct fetch_terms *b) {
    struct fetch_terms both = {
        a->no_store || b->no_store,
        lesser_said(a->fresh_ns, b->fresh_ns),
        lesser_said(a->usable_ns, b->usable_ns),
        lesser_said(a->error_ns, b->error_ns),
        a->stale_ns > b->stale_ns ? a->stale_ns : b->stale_ns,
    };

    return both;
}
