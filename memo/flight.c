#include "memo/flight.h"

#include <string.h>

#include "memo/calling.h"
#include "memo/entry.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/link_set.h"
#include "memo/shard.h"

// One load in progress, the map of those of a shard, and what a load function
// may say of its result.
//
//   ORDER(unref)  acquire-release decrement of refs, as in entry.c.

struct memo_load *memo_flight_new_(struct shard *s, uint64_t hash,
                                   const void *key, size_t key_size) {
    size_t size = offsetof(struct memo_load, key) + key_size + 1;
    struct memo_load *f = memo_alloc_(s->memo, size);

    if (f == NULL) {
        return NULL;
    }
    memset(f, 0, size);
    f->shard = s;
    f->hash = hash;
    f->key_size = key_size;
    f->started_ns = memo_now_(s->memo);
    f->until_ns = MEMO_NEVER;
    SYNC_INIT(&f->refs, 1);
    sync_event_init(&f->done);
    sync_event_init(&f->canceled);
    if (key_size != 0) {
        memcpy(f->key, key, key_size);
    }
    memo_shard_live_(s);
    return f;
}

void memo_flight_unref_(struct memo_load *f) {
    struct shard *s = f->shard;
    size_t size = offsetof(struct memo_load, key) + f->key_size + 1;

    if (SYNC_SUB_ACQREL(&f->refs, 1) != 1) {  // ORDER(unref)
        return;
    }
    if (f->result != NULL) {
        memo_entry_unref_(f->result);
    }
    if (f->old != NULL) {
        memo_entry_unref_(f->old);
    }
    memo_link_set_free_(s->memo, SYNC_LOAD(&f->links));
    memo_dealloc_(s->memo, f, size);
    memo_shard_gone_(s);
}

// ------------------------------------------------------------------ the map

static int is_for(const struct memo_load *f, uint64_t hash, const void *key,
                  size_t key_size) {
    return f->hash == hash && f->key_size == key_size &&
           hash_equal_bytes(f->key, key, key_size);
}

struct memo_load *memo_flight_find_owned_(struct memo_load *map, uint64_t hash,
                                          const void *key, size_t key_size) {
    uint64_t path = hash;

    while (map != NULL && !is_for(map, hash, key, key_size)) {
        map = *trie_below(map, &path);
    }
    return map;
}

// ------------------------------------------------------------------ the load

const void *memo_load_key(const struct memo_load *l, size_t *size) {
    if (size != NULL) {
        *size = l == NULL ? 0 : l->key_size;
    }
    return l == NULL ? NULL : l->key;
}

static void set_value(struct memo_load *l, struct entry *e) {
    if (l->making != NULL) {
        memo_entry_unref_(l->making);
    }
    l->making = e;
    l->verdict = VERDICT_VALUE;
}

static uint64_t flags_of(const struct memo_load *l) {
    return SYNC_LOAD(&l->links) != NULL ? ENTRY_LINKED : 0;
}

void *memo_load_reserve(struct memo_load *l, size_t size) {
    struct memo_value old = {0};
    struct memo_value now = {0};
    struct entry *e;

    if (l == NULL || memo_is_finished_(l)) {
        return NULL;
    }
    e = memo_entry_new_(l->shard, l->key, l->key_size, size,
                        flags_of(l));
    if (e == NULL) {
        return NULL;
    }
    entry_describe(e, SYNC_LOAD(&e->word), l->key_size, &now);
    if (l->making != NULL) {
        entry_describe(l->making, SYNC_LOAD(&l->making->word),
                       l->key_size, &old);
    }
    if (old.size != 0 && size != 0) {
        memcpy((void *)(uintptr_t)now.data, old.data,
               old.size < size ? old.size : size);
    }
    set_value(l, e);
    return (void *)(uintptr_t)now.data;
}

int memo_load_return(struct memo_load *l, const void *data, size_t size) {
    struct memo_value now = {0};
    struct entry *e;

    if (l == NULL || (data == NULL && size != 0)) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    e = memo_entry_new_(l->shard, l->key, l->key_size, size,
                        flags_of(l));
    if (e == NULL) {
        return MEMO_ENOMEM;
    }
    entry_describe(e, SYNC_LOAD(&e->word), l->key_size, &now);
    if (size != 0) {
        memcpy((void *)(uintptr_t)now.data, data, size);
    }
    set_value(l, e);
    return 0;
}

int memo_load_adopt(struct memo_load *l, void *data, size_t size,
                    memo_free_fn *free_fn, void *free_arg) {
    struct adopted adopted = {.data = data,
                              .size = size,
                              .free_fn = free_fn,
                              .free_arg = free_fn == NULL ? NULL : free_arg};
    struct entry *e;

    if (l == NULL || (data == NULL && size != 0)) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    e = memo_entry_adopting_new_(l->shard, l->key, l->key_size, &adopted,
                                 flags_of(l));
    if (e == NULL) {
        return MEMO_ENOMEM;
    }
    set_value(l, e);
    return 0;
}

int memo_load_set_weight(struct memo_load *l, uint32_t weight) {
    if (l == NULL) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l)) {
        return MEMO_EALREADY;
    }
    l->weight = weight;
    l->has_weight = 1;
    return 0;
}

int memo_load_is_canceled(struct memo_load *l) {
    return l != NULL && sync_event_is_set(&l->canceled);
}

static void call_cancel_fn(struct sync_watcher *w) {
    struct memo_load *l = SYNC_CONTAINER(w, struct memo_load, on_cancel);

    l->cancel_fn(l->cancel_arg, l);  // CALLBACK: nothing is locked
}

// It may finish the load.
static void call_at_once(struct memo_load *l) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};

    memo_calling_begin_(&calling, l->shard);
    l->cancel_fn(l->cancel_arg, l);  // CALLBACK
}

int memo_load_on_cancel(struct memo_load *l, memo_cancel_fn *fn, void *arg) {
    if (l == NULL || fn == NULL) {
        return MEMO_EINVAL;
    }
    if (memo_is_finished_(l) || l->cancel_fn != NULL) {
        return MEMO_EALREADY;
    }
    l->cancel_fn = fn;
    l->cancel_arg = arg;
    l->on_cancel.fn = call_cancel_fn;
    if (!sync_event_watch(&l->canceled, &l->on_cancel)) {
        call_at_once(l);
    }
    return 0;
}

void memo_load_retain(struct memo_load *l) {
    if (l != NULL) {
        (void)SYNC_ADD(&l->refs, 1);
    }
}

void memo_load_release(struct memo_load *l) {
    if (l != NULL) {
        memo_flight_unref_(l);
    }
}
