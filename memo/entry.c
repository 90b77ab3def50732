#include "memo/entry.h"

#include <string.h>

#include "memo/calling.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/listen.h"
#include "memo/shard.h"

// Memory ordering.
//
//   ORDER(unref)  unref:A  acquire-release decrement of refs
//       Whoever takes refs to 0 sees all that others did with the entry before
//       they dropped their references, and destroys it.
//
//   ORDER(undead) gone:A   acquire-release decrements of n_undead, undead_bytes
//                 count:B  acquire loads of them, in memo_stats()
//       If count:B doesn't count an entry any more, its destructor has ended and
//       its memory has been given back.

// An address that doesn't fit a slot beside the fragment can't be published.
static int fits_slot(const unsigned char *p) {
    return (uint64_t)(uintptr_t)p >> 48 == 0;
}

// Where the links are in bytes[]: behind the value, and behind what is
// entry_next_dead().
static size_t links_offset(size_t key_size, size_t value_size) {
    const size_t align = sizeof(struct links *);
    size_t offset = entry_value_offset(key_size) +
                    ((value_size + align - 1) & ~(align - 1));

    return offset < sizeof(struct entry *) ? sizeof(struct entry *) : offset;
}

// How large the block of an entry is.  There is room for entry_next_dead().
static size_t block_size(const struct memo *m, uint64_t word,
                         size_t value_size) {
    size_t key_size = entry_key_size(word);
    size_t bytes =
        word & ENTRY_LINKED
            ? links_offset(key_size, value_size) + sizeof(struct links *)
            : entry_value_offset(key_size) + value_size;

    return m->prefix_size + offsetof(struct entry, bytes) +
           (bytes < sizeof(struct entry *) ? sizeof(struct entry *) : bytes);
}

struct links **memo_entry_links_(const struct entry *e) {
    size_t key_size = entry_key_size(SYNC_LOAD(&e->word));

    return (struct links **)(void *)((uintptr_t)e->bytes +
                                     links_offset(key_size, e->value_size));
}

#define FROM_END(field) \
    (sizeof(struct entry_prefix) - offsetof(struct entry_prefix, field))

_Static_assert(FROM_END(check_ns) == PREFIX_OF_WEIGHT &&
                   FROM_END(check_ns) == PREFIX_OF_TTL &&
                   FROM_END(deadline_ns) == PREFIX_OF_FRESHNESS &&
                   PREFIX_OF_TTL % 16 == 0 && PREFIX_OF_FRESHNESS % 16 == 0,
               "a prefix keeps the entry aligned for any type");

static struct entry *new_entry(struct shard *s, const void *key,
                               size_t key_size, size_t value_size,
                               uint64_t flags) {
    uint64_t word = (uint64_t)key_size << ENTRY_KEY_SHIFT | flags | s->mark;
    size_t size = block_size(s->memo, word, value_size);
    unsigned char *block = memo_alloc_(s->memo, size);
    struct entry *e;

    if (block == NULL) {
        return NULL;
    }
    if (!fits_slot(block + size)) {
        memo_dealloc_(s->memo, block, size);
        return NULL;
    }
    memset(block, 0, s->memo->prefix_size);
    e = (struct entry *)(void *)(block + s->memo->prefix_size);
    if (s->memo->timing != TIMING_NONE) {
        word |= ENTRY_TIMED;
    }
    SYNC_INIT(&e->word, word);
    SYNC_INIT(&e->refs, 1);
    e->value_size = (uint32_t)value_size;
    if (flags & ENTRY_LINKED) {
        *memo_entry_links_(e) = NULL;
    }
    if (key_size != 0) {
        memcpy(e->bytes, key, key_size);
    }
    memo_shard_live_(s);
    return e;
}

struct entry *memo_entry_adopting_new_(struct shard *s, const void *key,
                                       size_t key_size,
                                       const struct adopted *adopted,
                                       uint64_t flags) {
    struct entry *e = new_entry(s, key, key_size, sizeof(*adopted),
                                flags | ENTRY_ADOPTED);

    if (e != NULL) {
        memcpy(entry_value(e, key_size), adopted, sizeof(*adopted));
    }
    return e;
}

struct entry *memo_entry_new_(struct shard *s, const void *key, size_t key_size,
                              size_t size, uint64_t flags) {
    struct adopted huge = {.size = size, .allocated = size};
    struct entry *e;

    if (size <= UINT32_MAX) {
        return new_entry(s, key, key_size, size, flags);
    }
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    huge.data = memo_alloc_(s->memo, size);
    if (huge.data == NULL) {
        return NULL;
    }
    e = memo_entry_adopting_new_(s, key, key_size, &huge, flags);
    if (e == NULL) {
        memo_dealloc_(s->memo, huge.data, size);
    }
    return e;
}

// Whether what was adopted came from the cache's allocator.
static int is_ours(const struct adopted *a) {
    return a->free_fn == NULL && a->allocated != 0;
}

// What users say of sizes may be any number.
static size_t add_up(size_t a, size_t b) {
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

size_t memo_entry_bytes_(const struct memo *m, const struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word);
    size_t key_size = entry_key_size(word);
    size_t bytes = memo_good_size_(m, block_size(m, word, e->value_size));

    if (word & ENTRY_ADOPTED) {
        const struct adopted *a = entry_value(e, key_size);
        bytes = add_up(bytes, is_ours(a) ? memo_good_size_(m, a->allocated)
                                         : a->size);
    }
    if (word & ENTRY_LINKED) {
        bytes = add_up(bytes, memo_links_bytes_(m, *memo_entry_links_(e)));
    }
    return bytes;
}

struct entry *memo_marker_new_(struct memo_load *f, enum entry_kind kind) {
    struct entry *e =
        new_entry(f->shard, f->key, f->key_size, 0,
                  (uint64_t)kind << ENTRY_KIND_SHIFT |
                      (SYNC_LOAD(&f->links) != NULL ? ENTRY_LINKED : 0));

    if (e != NULL) {
        entry_prefix(e)->weight = f->shard->memo->max_weight != 0;
    }
    return e;
}

void memo_entry_weigh_(const struct memo *m, struct entry *e,
                       const uint32_t *weight) {
    struct memo_value v;
    size_t key_size = entry_key_size(SYNC_LOAD(&e->word));

    if (m->max_weight == 0) {
        return;
    }
    entry_prefix(e)->weight = 1;
    if (weight != NULL) {
        entry_prefix(e)->weight = *weight;
    } else if (m->weight != NULL) {
        entry_describe(e, SYNC_LOAD(&e->word), key_size, &v);
        entry_prefix(e)->weight =
            m->weight(m->weight_arg, e->bytes, key_size, v.data, v.size);
    }
}

static void free_block(struct memo *m, struct entry *e) {
    memo_dealloc_(m, (unsigned char *)e - m->prefix_size,
                  block_size(m, SYNC_LOAD(&e->word), e->value_size));
}

// The same entry, with room for links; NULL: out of memory.
static struct entry *linked_copy(const struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word);
    size_t key_size = entry_key_size(word);
    struct shard *s = entry_shard(e);
    size_t prefix_size = s->memo->prefix_size;
    struct entry *copy =
        new_entry(s, e->bytes, key_size, e->value_size,
                  (word & ~(ENTRY_KEY | ENTRY_SHARD)) | ENTRY_LINKED);

    if (copy != NULL) {
        memcpy((unsigned char *)copy - prefix_size,
               (const unsigned char *)e - prefix_size, prefix_size);
        memcpy(entry_value(copy, key_size), entry_value(e, key_size),
               e->value_size);
    }
    return copy;
}

int memo_entry_link_(struct entry **at, struct links *links) {
    struct entry *e = *at;

    if ((SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0) {
        struct shard *s = entry_shard(e);
        e = linked_copy(*at);
        if (e == NULL) {
            return MEMO_ENOMEM;
        }
        free_block(s->memo, *at);  // what it adopted is the copy's
        memo_shard_gone_(s);
        *at = e;
    }
    *memo_entry_links_(e) = links;
    return 0;
}

// ------------------------------------------------------------------ the end

// How deep destructors may nest, one storing or invalidating what makes the next
// one run, before what they leave is put off.
#define NESTED_MOST 16

static SYNC_THREAD_LOCAL(uint32_t, depth);           // in so many destructors
static SYNC_THREAD_LOCAL(struct entry *, put_off);  // for the outermost

int memo_in_callback_(void) {
    return SYNC_TLS(depth) != 0 || memo_in_listener_();
}

void memo_drop_garbage_(struct entry *garbage) {
    while (garbage != NULL) {
        struct entry *e = garbage;
        garbage = *entry_next_dead(e);
        if (SYNC_TLS(depth) < NESTED_MOST) {
            memo_entry_destroy_(e);  // CALLBACK
        } else {
            *entry_next_dead(e) = SYNC_TLS(put_off);
            SYNC_TLS(put_off) = e;
        }
    }
}

static const struct adopted *adopted_by(const struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word);

    return word & ENTRY_ADOPTED ? entry_value(e, entry_key_size(word)) : NULL;
}

static int has_destructor(const struct adopted *a) {
    return a != NULL && a->free_fn != NULL;
}

int memo_entry_has_destructor_(const struct entry *e) {
    return has_destructor(adopted_by(e));
}

// Entries whose destructors memo_close() waits for say so instead of counting
// references, of which they have none; in the child of a fork it doesn't wait for
// those that its parent had taken.
void memo_entry_mark_due_(struct entry *e) {
    SYNC_STORE(&e->refs, memo_n_forks_() + 1);
}

static int is_due(const struct entry *e) {
    return SYNC_LOAD(&e->refs) == memo_n_forks_() + 1;
}

static void call_destructor(const struct adopted *a) {
    struct entry *e;

    SYNC_TLS(depth)++;
    a->free_fn(a->free_arg, a->data, a->size);  // CALLBACK
    while (SYNC_TLS(depth) == 1 && (e = SYNC_TLS(put_off)) != NULL) {
        SYNC_TLS(put_off) = *entry_next_dead(e);
        memo_entry_destroy_(e);  // CALLBACK
    }
    SYNC_TLS(depth)--;
}

void memo_entry_destroy_(struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word);
    struct shard *s = entry_shard(e);
    size_t bytes = word & ENTRY_RETIRED ? memo_entry_bytes_(s->memo, e) : 0;
    const struct adopted *a = adopted_by(e);
    int due = has_destructor(a) && is_due(e);

    if (has_destructor(a)) {
        call_destructor(a);
    }
    if (a != NULL && is_ours(a)) {
        memo_dealloc_(s->memo, a->data, a->allocated);
    }
    if (word & ENTRY_LINKED) {
        memo_links_free_(s->memo, *memo_entry_links_(e));
    }
    free_block(s->memo, e);
    if (word & ENTRY_RETIRED) {
        (void)SYNC_SUB_ACQREL(&s->undead_bytes, bytes);  // ORDER(undead) gone:A
        (void)SYNC_SUB_ACQREL(&s->n_undead, 1);
    }
    if (due) {
        memo_destructor_called_(s);
    }
    memo_shard_gone_(s);
}

int memo_entry_let_go_(struct entry *e) {
    return SYNC_SUB_ACQREL(&e->refs, 1) == 1;  // ORDER(unref) unref:A
}

void memo_entry_unref_(struct entry *e) {
    if (memo_entry_let_go_(e)) {
        memo_entry_destroy_(e);
    }
}

void memo_entry_drop_(struct entry **e) {
    if (*e != NULL) {
        memo_entry_unref_(*e);
    }
}
