#include "memo/alarm.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/policy.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/table.h"
#include "memo/wheel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The invariants that the headers state, verified by walking everything.

static void require(int holds, const char *invariant) {
    if (!holds) {
        fprintf(stderr, "memo_check: INVARIANT(%s) doesn't hold\n", invariant);
        abort();
    }
}

struct found {
    uint64_t entries, bytes, outdated, alarms, linked;
};

// LIFETIME: the entry keeps its links, which keep the sources.
static void check_links(const struct shard *s, const struct entry *e) {
    const struct links *links = *memo_entry_links_(e);
    size_t i;

    require(links != NULL && links->n != 0 && links->all == SYNC_LOAD(&s->memo->sources),
            "links");
    for (i = 0; i < links->n; i++) {
        require(SYNC_LOAD(&links->link[i].source->refs) != 0, "links");
        require(links->link[i].as_of >= links->oldest, "links");
    }
}

// The wheel has been walked through before.  Use moves the end of e, and doesn't set
// an alarm.
static void check_alarm(const struct shard *s, struct entry *e) {
    struct entry_prefix *p = entry_prefix(e);

    if (p->stamp != 0) {
        require(p->seen, "alarms");
    } else if (s->memo->idle_ttl_ns == 0) {
        require(memo_end_of_(s->memo, e) == MEMO_NEVER, "alarms");
    }
    p->seen = 0;
}

static void check_entry(struct shard *s, struct table_place place,
                        struct entry *e, void *arg) {
    struct found *found = arg;
    uint64_t word = SYNC_LOAD(&e->word);
    uint64_t hash = entry_hash(&s->memo->seed, e);
    struct table_place again;

    found->entries++;
    found->outdated += ((word ^ SYNC_LOAD(&s->stamp)) & ENTRY_GENERATION) != 0;
    found->bytes += memo_entry_bytes_(s->memo, e);
    if (word & ENTRY_LINKED) {
        found->linked++;
        check_links(s, e);
    }
    require(SYNC_LOAD(&e->refs) >= 1, "references");
    require((word & ENTRY_RETIRED) == 0, "retired");
    if (s->wheel != NULL) {
        require((word & ENTRY_TIMED) != 0, "timed");
        check_alarm(s, e);
        found->alarms += entry_prefix(e)->stamp != 0;
    }
    require(memo_table_find_owned_(
                s, e->bytes, entry_key_size(word), hash, &again) == e,
            "findable");
    require(memo_table_is_settled_owned_(&s->table, place, hash), "settled");
}

static uint64_t count_list(struct memo_load *const *at, enum flight_state state) {
    uint64_t n = 0;

    for (; *at != NULL; at = &(*at)->list.next) {
        require((*at)->state == state && (*at)->list.at == at, "attached");
        n++;
    }
    return n;
}

static uint64_t count_flights(const struct memo_load *f, enum flight_state state) {
    uint64_t n;
    int i;

    if (f == NULL) {
        return 0;
    }
    require(f->state == state, "attached");
    require(state == FLIGHT_ALONE || f->others == NULL, "attached");
    n = 1 + count_list(&f->others, state);
    for (i = 0; i < TRIE_WAYS; i++) {
        n += count_flights(f->child[i], state);
    }
    return n;
}

static void check_flights(const struct shard *s) {
    uint64_t others = count_flights(s->alone, FLIGHT_ALONE) +
                      count_list(&s->detached_flights, FLIGHT_DETACHED);

    require(count_flights(s->flights, FLIGHT_ATTACHED) == s->n_flights, "counts");
    require(s->n_running >= s->n_flights + others, "counts");
}

static uint64_t count_running(const struct shard *s) {
    const struct sync_link *at = s->running.first;
    uint64_t began = 0, n = 0;

    for (; at != NULL; at = sync_list_next(&s->running, at)) {
        const struct memo_load *f =
            SYNC_CONTAINER(at, struct memo_load, running);
        require(f->runs && f->began >= began, "running");
        began = f->began;
        n++;
    }
    return n;
}

// One list of values; return how many there are on it.
static uint64_t check_list(const struct shard *s, const struct list *list) {
    const struct entry *e, *newer = NULL;
    uint64_t n = 0;

    for (e = list->newest; e != NULL; e = entry_worth(s->memo, e)->next) {
        require(entry_worth(s->memo, e)->prev == newer, "classes");
        require(queue_of(e) == QUEUE_MAIN, "classes");
        newer = e;
        n++;
    }
    require(list->oldest == newer, "classes");
    return n;
}

// Return how many are on all lists.
static uint64_t check_values(struct shard *s) {
    const struct values *v = s->policy->values;
    const struct entry *e;
    uint64_t n = 0;
    unsigned i;

    for (i = 0; i < VALUE_CLASSES; i++) {
        n += check_list(s, &v->list[i]);
        e = v->list[i].oldest;
        require((v->in_use >> i & 1) == (e != NULL), "classes");
        require(e == NULL ||
                    !(v->rank[i] < entry_worth(s->memo, e)->rank ||
                      v->rank[i] > entry_worth(s->memo, e)->rank),
                "classes");
        for (; e != NULL; e = entry_worth(s->memo, e)->prev) {
            require(memo_policy_class_of_(s, e) == i, "classes");
        }
    }
    return n;
}

// What each queue should have.
struct queues_found {
    uint64_t n[4], size[4], weight;
};

static void see_queue_of(struct shard *s, struct table_place place,
                         struct entry *e, void *arg) {
    struct queues_found *found = arg;

    (void)place;
    found->n[queue_of(e)]++;
    found->size[queue_of(e)] += memo_policy_size_of_(s, e);
    found->weight += s->memo->max_weight == 0 ? 0 : entry_prefix(e)->weight;
}

static void check_policy(struct shard *s) {
    const struct policy *p = s->policy;
    struct queues_found found;
    enum queue_name name;
    uint64_t names = 0;

    memset(&found, 0, sizeof(found));
    (void)memo_table_walk_owned_(s, 0, UINT64_MAX, see_queue_of, &found);
    require(found.n[QUEUE_NONE] == 0, "queues");
    for (name = QUEUE_YOUNG; name <= QUEUE_MAIN; name++) {
        const struct queue *q = &p->queue[name];
        require(q->n == found.n[name], "queues");
        require(q->size == found.size[name], "queues");
        names += q->names.n;
        if (name == QUEUE_MAIN && p->values != NULL) {
            require(q->names.n == 0 && check_values(s) == q->n, "classes");
        } else {
            require(memo_policy_count_names_(s, name) >= q->n, "queues");
        }
    }
    require(names == p->names.n, "queues");
    require(found.weight == p->weight, "queues");
    require(!memo_policy_is_full_(s), "bounds");
}

static void check_wheel(struct shard *s) {
    const struct wheel *w = s->wheel;
    unsigned level, digit;

    for (level = 0; level < WHEEL_LEVELS; level++) {
        unsigned now = (unsigned)(w->now >> (WHEEL_BITS * level)) % WHEEL_SLOTS;
        for (digit = 0; digit < WHEEL_SLOTS; digit++) {
            require(wheel_is_slot_empty(w, level * WHEEL_SLOTS + digit) ||
                        ((w->occupied[level] >> digit & 1) == 1 &&
                         digit >= now),
                    "wheel");
        }
    }
    require(memo_see_alarms_owned_(s) == w->names.n, "alarms");
}

static void check_owned(struct shard *s, void *unused) {
    struct found found = {0, 0, 0, 0, 0};
    uint64_t retired_bytes = 0, garbage_bytes = 0;
    struct entry *e;
    uint64_t i;

    (void)unused;
    if (s->wheel != NULL) {
        check_wheel(s);
    }
    (void)memo_table_walk_owned_(s, 0, UINT64_MAX, check_entry, &found);
    require(found.entries == s->table.n_entries, "counts");
    require(found.bytes == s->entry_bytes, "counts");
    require(found.outdated == s->n_outdated, "counts");
    require(found.linked == s->n_linked, "counts");
    require(s->sweeping || found.outdated == 0, "swept");
    require(count_running(s) == s->n_running, "running");
    check_flights(s);
    for (i = 0; i < s->n_retired; i++) {
        e = s->retired[i];
        require((SYNC_LOAD(&e->word) & ENTRY_RETIRED) != 0, "retired");
        require(entry_shard(e) == s, "retired");
        retired_bytes += memo_entry_bytes_(s->memo, e);
    }
    require(s->table.n_entries + s->n_retired <= s->retired_room, "room");
    require(retired_bytes == s->retired_bytes, "counts");
    for (e = s->garbage; e != NULL; e = *entry_next_dead(e)) {
        require(SYNC_LOAD(&e->refs) == 0, "garbage");
        garbage_bytes += memo_entry_bytes_(s->memo, e);
    }
    require(garbage_bytes == s->garbage_bytes, "garbage");
    if (s->policy != NULL) {
        check_policy(s);
    }
    require(s->wheel == NULL || found.alarms == s->wheel->n_set, "alarms");
}

void memo_check(struct memo *m) {
    uint64_t i;

    for (i = 0; m != NULL && i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), check_owned, NULL);
    }
    require(m == NULL || memo_sources_are_sound_(m), "sources");
}
