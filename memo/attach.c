#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/shard.h"
#include "memo/table.h"

// Where a shard has its flights: one for each key in a map, which newcomers join;
// those that are alone in another, where a change of their key finds them, too; and
// those that such a change has found on a list.

// ------------------------------------------------------------------ lists

static void push(struct memo_load **list, struct memo_load *f) {
    f->list.next = *list;
    f->list.at = list;
    if (f->list.next != NULL) {
        f->list.next->list.at = &f->list.next;
    }
    *list = f;
}

static void take_off(struct memo_load *f) {
    *f->list.at = f->list.next;
    if (f->list.next != NULL) {
        f->list.next->list.at = f->list.at;
    }
}

// ------------------------------------------------------------------ those alone

static struct memo_load *first_alone(const struct shard *s,
                                     const struct memo_load *f) {
    return memo_flight_find_owned_(s->alone, f->hash, f->key, f->key_size);
}

static void attach_alone(struct shard *s, struct memo_load *f) {
    struct memo_load *first = first_alone(s, f);

    f->state = FLIGHT_ALONE;
    if (first != NULL) {
        push(&first->others, f);
    } else {
        s->alone = trie_insert(s->alone, f, f->hash);
    }
}

// The first of its key leaves the map: another takes its place, with the rest.
static void leave_to_others(struct shard *s, struct memo_load *first) {
    struct memo_load *next = first->others, *rest;

    take_off(next);
    rest = first->others;
    first->others = NULL;
    s->alone = trie_replace(s->alone, first, next, first->hash);
    next->others = rest;
    if (rest != NULL) {
        rest->list.at = &next->others;
    }
}

static void leave_alone(struct shard *s, struct memo_load *f) {
    if (first_alone(s, f) != f) {
        take_off(f);
    } else if (f->others != NULL) {
        leave_to_others(s, f);
    } else {
        s->alone = trie_remove(s->alone, f, f->hash);
    }
}

// ------------------------------------------------------------------ all

void memo_attach_flight_owned_(struct shard *s, struct memo_load *f) {
    if (f->alone) {
        attach_alone(s, f);
    } else {
        s->flights = trie_insert(s->flights, f, f->hash);
        s->n_flights++;
    }
}

void memo_unlink_flight_owned_(struct shard *s, struct memo_load *f) {
    if (f->state == FLIGHT_ATTACHED) {
        s->flights = trie_remove(s->flights, f, f->hash);
        s->n_flights--;
    } else if (f->state == FLIGHT_ALONE) {
        leave_alone(s, f);
    } else {
        take_off(f);
    }
}

// The entry that f was to replace, if it is still there, and not out of date.
struct entry *memo_old_of_owned_(const struct memo_load *f) {
    return f->old == NULL || (SYNC_LOAD(&f->old->word) & ENTRY_RETIRED) != 0 ||
                   !entry_holds(f->old)
               ? NULL
               : f->old;
}

void memo_detach_unwanted_owned_(struct shard *s, struct memo_load *f) {
    memo_unlink_flight_owned_(s, f);
    f->state = FLIGHT_DETACHED;
    push(&s->detached_flights, f);
    if (memo_old_of_owned_(f) != NULL) {
        memo_let_try_owned_(s, f->old);
    }
}

void memo_detach_flight_owned_(struct shard *s, struct memo_load *f) {
    memo_detach_unwanted_owned_(s, f);
    s->detached++;
}

void memo_detach_key_owned_(struct shard *s, const void *key, size_t key_size,
                            uint64_t hash) {
    struct memo_load *f =
        memo_flight_find_owned_(s->flights, hash, key, key_size);

    if (f != NULL) {
        memo_detach_flight_owned_(s, f);
    }
    while ((f = memo_flight_find_owned_(s->alone, hash, key, key_size)) != NULL) {
        memo_detach_flight_owned_(s, f);
    }
}

struct memo_load *memo_any_flight_owned_(const struct shard *s) {
    return s->flights != NULL ? s->flights : s->alone;
}
