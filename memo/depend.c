#include "memo/depend.h"

#include <string.h>

#include "memo/args.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/link_set.h"
#include "memo/running.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"

// What a load says of tags, and of what it made its value from.

static int link_to_name(struct memo_load *f, struct source_name name) {
    struct source *source = memo_source_get_(f->shard->memo, &name);

    return source == NULL ? MEMO_ENOMEM : memo_link_to_(f, source, f->began);
}

// The same, as of now.
static int link_to_key_now(struct memo_load *f, struct source_name name) {
    struct memo *m = f->shard->memo;
    struct source *source = memo_source_get_(m, &name);

    return source == NULL ? MEMO_ENOMEM
                          : memo_link_to_(f, source, memo_source_clock_(m));
}

// Take over the links of e, whose sources it keeps, and its other restrictions.
static int link_as(struct memo_load *f, const struct entry *e) {
    const struct links *links;
    int64_t until;
    size_t i;

    if (SYNC_LOAD(&e->word) & ENTRY_PASSED) {
        f->pass = 1;
    }
    if (f->shard->memo->timing != TIMING_NONE) {
        until = memo_best_before_(f->shard->memo, e);
        f->until_ns = until < f->until_ns ? until : f->until_ns;
    }
    if ((SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0) {
        return 0;
    }
    links = *memo_entry_links_(e);
    for (i = 0; i < links->n; i++) {
        struct source *source = links->link[i].source;
        (void)SYNC_ADD(&source->refs, 1);
        if (memo_link_to_(f, source, links->link[i].as_of) != 0) {
            return MEMO_ENOMEM;
        }
    }
    return 0;
}

// ------------------------------------------------------------------ the load

static int check_load(const struct memo_load *l, const void *bytes,
                      size_t size) {
    if (l == NULL || memo_is_bad_name_(bytes, size)) {
        return MEMO_EINVAL;
    }
    return memo_is_finished_(l) ? MEMO_EALREADY : 0;
}

int memo_load_add_tag(struct memo_load *l, const void *tag, size_t size) {
    int error = check_load(l, tag, size);

    return error != 0
               ? error
               : link_to_name(l, memo_tag_name_(l->shard->memo, tag, size));
}

static struct source_name key_name(const struct memo *m, const void *key,
                                   size_t key_size) {
    return memo_key_name_(hash_key(&m->seed, key, key_size), key, key_size);
}

int memo_load_depend_key(struct memo_load *l, const void *key,
                         size_t key_size) {
    int error = check_load(l, key, key_size);

    return error != 0
               ? error
               : link_to_name(l, key_name(l->shard->memo, key, key_size));
}

// Link l to e, which was found since l began, and to its key, which is source.  If the
// key has changed since then, e may be what it was before, or what it is now; and that
// can be seen.
static int link_to_value(struct memo_load *l, const struct entry *e,
                         struct source *source) {
    struct memo *m = l->shard->memo;
    struct resident_step r = {e, source->hash, 0, 0};
    uint64_t now = memo_source_clock_(m);
    int error = MEMO_EINVAL;

    memo_own_(memo_shard_of_(m, source->hash), memo_is_resident_owned_, &r);
    if (r.is_ours) {
        error = link_as(l, e);
    }
    if (error != 0) {
        memo_source_unref_(m, source);
        return error;
    }
    return memo_link_to_(l, source,
                         r.is_resident && !memo_link_holds_(source, l->began)
                             ? now
                             : l->began);
}

int memo_load_depend(struct memo_load *l, const struct memo_value *v) {
    int error = check_load(l, NULL, 0);
    struct source_name name;
    struct source *source;
    const struct entry *e;

    if (error != 0) {
        return error;
    }
    if (v == NULL || v->pin == NULL) {
        return MEMO_EINVAL;
    }
    e = memo_pinned_entry_(v->pin);
    name = key_name(l->shard->memo, e->bytes,
                    entry_key_size(SYNC_LOAD(&e->word)));
    source = memo_source_get_(l->shard->memo, &name);
    return source == NULL ? MEMO_ENOMEM : link_to_value(l, e, source);
}

int memo_load_get(struct memo_load *l, const void *key, size_t key_size,
                  const struct memo_wait *wait, struct memo_value *out) {
    struct memo_wait own;
    int error = out == NULL ? MEMO_EINVAL : check_load(l, key, key_size);

    if (out != NULL) {
        memset(out, 0, sizeof(*out));
    }
    if (error == 0 && memo_take_wait_(&wait, &own) != 0) {
        error = MEMO_EINVAL;
    }
    if (error == 0) {
        error = link_to_key_now(l, key_name(l->shard->memo, key, key_size));
    }
    if (error == 0) {
        error = memo_get_wait(l->shard->memo, key, key_size, wait, out);
    }
    if (error == 0 && link_as(l, memo_pinned_entry_(out->pin)) != 0) {
        memo_release(out);
        error = MEMO_ENOMEM;
    }
    return error;
}

// ------------------------------------------------------------------ by itself

int memo_use_key_(struct memo *m, uint64_t hash, const void *key,
                  size_t key_size) {
    struct memo_load *const *flights;
    size_t n = memo_running_loads_(m, &flights), i;
    int error = 0;

    for (i = 0; i < n && error == 0; i++) {
        if (!memo_is_finished_(flights[i])) {
            error = link_to_key_now(flights[i],
                                    memo_key_name_(hash, key, key_size));
        }
    }
    return error;
}

int memo_use_value_(struct memo *m, struct memo_value *v) {
    struct memo_load *const *flights;
    size_t n = memo_running_loads_(m, &flights), i;
    int error = 0;

    for (i = 0; i < n && error == 0; i++) {
        if (!memo_is_finished_(flights[i])) {
            error = link_as(flights[i], memo_pinned_entry_(v->pin));
        }
    }
    if (error != 0) {
        memo_release(v);
    }
    return error;
}
