#include "memo/link.h"

#include <string.h>

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/source.h"
#include "memo/stripe.h"

// The links of entries.
//
// ORDER labels of this file are explained in source.h.

// From so many links on it is worth to note that they have been seen to hold.
#define MANY_LINKS 4

static size_t links_size(size_t n) {
    return offsetof(struct links, link) + n * sizeof(struct link);
}

struct links *memo_links_new_(struct memo *m, size_t n) {
    struct links *links =
        n > UINT32_MAX ? NULL : memo_alloc_(m, links_size(n));

    if (links != NULL) {
        memset(links, 0, links_size(n));
        links->room = (uint32_t)n;
        links->oldest = UINT64_MAX;
        links->until_ns = MEMO_NEVER;
        SYNC_INIT(&links->held, 0);
    }
    return links;
}

void memo_links_add_(struct links *links, struct source *source,
                     uint64_t as_of) {
    struct link link = {source, as_of};

    (void)SYNC_ADD(&source->refs, 1);
    links->all = source->all;
    links->link[links->n++] = link;
    links->oldest = as_of < links->oldest ? as_of : links->oldest;
}

size_t memo_links_bytes_(const struct memo *m, const struct links *links) {
    return memo_good_size_(m, links_size(links->room));
}

void memo_links_free_(struct memo *m, struct links *links) {
    size_t i;

    if (links == NULL) {
        return;  // it didn't come to that
    }
    for (i = 0; i < links->n; i++) {
        memo_source_unref_(m, links->link[i].source);
    }
    memo_dealloc_(m, links, links_size(links->room));
}

int memo_link_holds_(struct source *source, uint64_t as_of) {
    return SYNC_LOAD(&source->changed) <= as_of &&
           SYNC_LOAD(&source->all->all_changed) <= as_of;
}

int64_t memo_links_until_(const struct entry *e) {
    return (SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0
               ? MEMO_NEVER
               : (*memo_entry_links_(e))->until_ns;
}

static int holds(const struct links *links) {
    size_t i;

    for (i = 0; i < links->n; i++) {
        if (SYNC_LOAD(&links->link[i].source->changed) >
            links->link[i].as_of) {
            return 0;
        }
    }
    return SYNC_LOAD(&links->all->all_changed) <= links->oldest;
}

int memo_links_hold_(const struct entry *e) {
    struct links *links = *memo_entry_links_(e);
    uint64_t clock;
    int hold;

    if (links->n < MANY_LINKS) {
        return holds(links);
    }
    clock = SYNC_LOAD_ACQ(&links->all->clock);  // ORDER(held) now:B
    if (SYNC_LOAD(&links->held) == clock) {
        return 1;
    }
    hold = holds(links);  // ORDER(held) see:C
    if (hold) {
        SYNC_STORE(&links->held, clock);
    }
    return hold;
}

// ------------------------------------------------------------------ linking

int memo_links_attach_(struct memo *m, struct entry **e,
                       struct links *links) {
    if (memo_entry_link_(e, links) != 0) {
        memo_links_free_(m, links);
        return MEMO_ENOMEM;
    }
    return 0;
}

int memo_link_tags_(struct memo *m, struct entry **e,
                    const struct memo_bytes tags[], size_t n) {
    uint64_t now = memo_source_clock_(m);
    struct links *links = memo_links_new_(m, n);
    size_t i;

    for (i = 0; links != NULL && i < n; i++) {
        struct source_name name =
            memo_tag_name_(m, tags[i].data, tags[i].size);
        struct source *source = memo_source_get_(m, &name);
        if (source == NULL) {
            memo_links_free_(m, links);
            return MEMO_ENOMEM;
        }
        memo_links_add_(links, source, now);
        memo_source_unref_(m, source);
    }
    return links == NULL ? MEMO_ENOMEM : memo_links_attach_(m, e, links);
}
