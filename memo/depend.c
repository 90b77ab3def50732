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
    if (links->all != SYNC_LOAD(&f->shard->memo->sources)) {
        return MEMO_EINVAL;  // the value is of another cache
    }
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

// Link l to the key of e, which was found since l began.  If the key has changed
// since then, e may be what it was before, or what it is now; and that can be seen.
static int link_to_key_of(struct memo_load *l, const struct entry *e) {
    struct memo *m = l->shard->memo;
    struct source_name name =
        key_name(m, e->bytes, entry_key_size(SYNC_LOAD(&e->word)));
    struct source *source = memo_source_get_(m, &name);
    struct resident_step r = {e, name.hash, 0};
    uint64_t as_of = l->began, now;

    if (source == NULL) {
        return MEMO_ENOMEM;
    }
    if (!memo_link_holds_(source, as_of)) {
        now = memo_source_clock_(m);
        memo_own_(memo_shard_of_(m, name.hash), memo_is_resident_owned_, &r);
        as_of = r.is_resident ? now : as_of;
    }
    return memo_link_to_(l, source, as_of);
}

int memo_load_depend(struct memo_load *l, const struct memo_value *v) {
    int error = check_load(l, NULL, 0);
    struct entry *e;

    if (error != 0) {
        return error;
    }
    if (v == NULL || v->pin == NULL) {
        return MEMO_EINVAL;
    }
    e = memo_pinned_entry_(v->pin);
    error = link_as(l, e);
    return error != 0 ? error : link_to_key_of(l, e);
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
