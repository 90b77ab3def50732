#include "memo/internal.h"
#include "memo/link.h"
#include "memo/policy.h"
#include "memo/wheel.h"
#include "memo/table.h"

#include <stdio.h>
#include <stdlib.h>

// The invariants of internal.h, verified by walking everything.

static void require(int holds, const char *invariant) {
    if (!holds) {
        fprintf(stderr, "memo_check: INVARIANT(%s) doesn't hold\n", invariant);
        abort();
    }
}

struct found {
    uint64_t entries, bytes, outdated, timed, linked;
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

static void check_entry(struct shard *s, struct table_place place,
                        struct entry *e, void *arg) {
    struct found *found = arg;
    uint64_t word = SYNC_LOAD(&e->word);
    struct table_place again;

    (void)place;
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
        found->timed += entry_prefix(e)->wheel_at != NULL;
    }
    require(memo_table_find_owned_(
                s, e->bytes, entry_key_size(word),
                hash_key(&s->memo->seed, e->bytes, entry_key_size(word)),
                &again) == e,
            "findable");
}

static uint64_t count_flights(const struct shard *s,
                              const struct memo_load *f) {
    uint64_t n = 0;
    int i;

    if (f == NULL) {
        return 0;
    }
    require(f->state == FLIGHT_ATTACHED, "attached");
    for (i = 0; i < 4; i++) {
        n += count_flights(s, f->child[i]);
    }
    return n + 1;
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

void memo_check_sources_(struct memo *m) {
    require(m == NULL || memo_sources_are_sound_(m), "sources");
}

// One list of the queue of that name.
static void check_list(struct shard *s, const struct list *list,
                       enum queue_name name, struct queue *sum,
                       uint64_t *weight) {
    const struct entry *e, *newer = NULL;

    for (e = list->newest; e != NULL; newer = e, e = e->next) {
        uint64_t word = SYNC_LOAD(&e->word);
        sum->n++;
        sum->size += memo_policy_size_of_(s, e);
        *weight += s->memo->max_weight == 0 ? 0 : entry_prefix(e)->weight;
        require(e->prev == newer, "queues");
        require((word & ENTRY_RETIRED) == 0, "queues");
        require((word & ENTRY_QUEUE) >> ENTRY_QUEUE_SHIFT == (uint64_t)name,
                "queues");
    }
    require(list->oldest == newer, "queues");
}

static void check_values(struct shard *s, struct queue *sum,
                         uint64_t *weight) {
    const struct values *v = s->policy->values;
    const struct entry *e;
    unsigned i;

    for (i = 0; i < VALUE_CLASSES; i++) {
        check_list(s, &v->list[i], QUEUE_MAIN, sum, weight);
        e = v->list[i].oldest;
        require((v->in_use >> i & 1) == (e != NULL), "classes");
        require(e == NULL ||
                    !(v->rank[i] < entry_worth(s->memo, e)->rank ||
                      v->rank[i] > entry_worth(s->memo, e)->rank),
                "classes");
        for (; e != NULL; e = e->prev) {
            require(memo_policy_class_of_(s, e) == i, "classes");
        }
    }
}

static void check_policy(struct shard *s) {
    const struct policy *p = s->policy;
    uint64_t entries = 0, weight = 0;
    enum queue_name name;

    for (name = QUEUE_YOUNG; name <= QUEUE_MAIN; name++) {
        struct queue sum = {{NULL, NULL}, 0, 0};
        check_list(s, &p->queue[name].list, name, &sum, &weight);
        if (name == QUEUE_MAIN && p->values != NULL) {
            require(sum.n == 0, "classes");
            check_values(s, &sum, &weight);
        }
        require(p->queue[name].n == sum.n, "queues");
        require(p->queue[name].size == sum.size, "queues");
        entries += sum.n;
    }
    require(entries == s->table.n_entries, "queues");
    require(weight == p->weight, "queues");
    require(!memo_policy_is_full_(s), "bounds");
}

static void check_wheel(struct shard *s, uint64_t n_timed) {
    unsigned level, digit;
    uint64_t n = 0;

    for (level = 0; level < WHEEL_LEVELS; level++) {
        for (digit = 0; digit < WHEEL_SLOTS; digit++) {
            struct entry **at = &s->wheel->slot[level][digit];
            uint64_t bit = s->wheel->occupied[level] >> digit & 1;
            unsigned now = (unsigned)(s->wheel->now >> (WHEEL_BITS * level)) %
                           WHEEL_SLOTS;
            require(*at == NULL || (bit == 1 && digit >= now), "wheel");
            for (; *at != NULL; at = &entry_prefix(*at)->wheel_next) {
                require(entry_prefix(*at)->wheel_at == at, "wheel");
                require((SYNC_LOAD(&(*at)->word) & ENTRY_RETIRED) == 0, "wheel");
                n++;
            }
        }
    }
    require(n == n_timed, "wheel");
}

void memo_check_owned_(struct shard *s, void *unused) {
    struct found found = {0, 0, 0, 0, 0};
    uint64_t n_retired = 0, retired_bytes = 0;
    struct entry *e;

    (void)unused;
    (void)memo_table_walk_owned_(s, 0, UINT64_MAX, check_entry, &found);
    require(found.entries == s->table.n_entries, "counts");
    require(found.bytes == s->entry_bytes, "counts");
    require(found.outdated == s->n_outdated, "counts");
    require(found.linked == s->n_linked, "counts");
    require(count_running(s) == s->n_running, "running");
    require(count_flights(s, s->flights) == s->n_flights, "counts");
    require(s->n_running >= s->n_flights, "counts");
    for (e = s->retired; e != NULL; e = e->next) {
        require((SYNC_LOAD(&e->word) & ENTRY_RETIRED) != 0, "retired");
        n_retired++;
        retired_bytes += memo_entry_bytes_(s->memo, e);
    }
    require(n_retired == s->n_retired, "counts");
    require(retired_bytes == s->retired_bytes, "counts");
    require(s->garbage == NULL, "garbage");
    if (s->policy != NULL) {
        check_policy(s);
    }
    if (s->wheel != NULL) {
        check_wheel(s, found.timed);
    }
}
