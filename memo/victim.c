#include "memo/entry.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/names.h"
#include "memo/policy.h"
#include "memo/shard.h"
#include "memo/table.h"

#include <string.h>

// The queues; and of main, which of its entries goes first.
//
// If use alone counts, main is a clock: the oldest is looked at; if it has been
// used, it is given as many more rounds, else it goes.
//
// If values count, the value of an entry is what it costs to load for each unit
// of room that it takes, and its rank is
//
//     inflation when it was looked at + value * (uses + 1)
//
// where inflation is the greatest rank that ever went (greedy dual: P. Cao,
// S. Irani, USITS 1997; with frequencies: L. Cherkasova, HPL-98-69).  The least
// rank goes first.  A hit changes no rank: it counts the use, and an entry that
// has been used gets its new rank when it is about to go.  Ranks are set in
// ascending order of inflation, so among entries of one value the oldest has
// the least; and as values are kept apart by powers of two only, nearly so
// among those of one list (CAMP: S. Ghandeharizadeh et al., Middleware 2014).

#define MAX_STEPS 64  // for one eviction

// Values and costs are averaged over about so many stores.
#define AVERAGE_OVER 100000

// Trust is an average over about so many returns, and a part of the cache.
#define TRUST_OVER 100
#define TRUST_OVER_PART 10

// ------------------------------------------------------------------ names
//
// A name in a queue:
//
//     bits  0..23  the entry's name in the table
//     bits 24..30  the lower bits of its stamp
//     bit  31      1
//
// So an entry that came back, or was given another round, isn't taken for what it
// was: its stamp has changed.  It may be after 128 times the unit of stamps, an
// eighth of the cache, or if two share the rest of a name: then one of them is
// taken to be as old as the other, once.

#define NAME_STAMP_SHIFT TABLE_NAME_BITS
#define NAME_STAMP UINT32_C(0x7f)
#define NAME_IS_ONE (UINT32_C(1) << 31)

// When more than half as many have left a queue as are in it, or so many, their
// names are looked for.
#define STRAYS_MOST 256

static uint32_t name_of(const struct shard *s, const struct entry *e) {
    uint64_t hash = hash_key(&s->memo->seed, e->bytes,
                             entry_key_size(SYNC_LOAD(&e->word)));

    return NAME_IS_ONE | (stamp_of(e) & NAME_STAMP) << NAME_STAMP_SHIFT |
           table_name(hash);
}

static uint32_t stamp_in(uint32_t name) {
    return name >> NAME_STAMP_SHIFT & NAME_STAMP;
}

struct search {
    const struct shard *shard;
    enum queue_name queue;
    uint32_t name;
    struct entry *found;
};

static uint16_t age_of(const struct shard *s, const struct entry *e) {
    return (uint16_t)(stamp_at(s->policy, s->policy->clock) - stamp_of(e));
}

// The table looks at fewer bits than a name has, so they are compared here.
static void consider(struct entry *e, void *arg) {
    struct search *find = arg;
    const struct shard *s = find->shard;

    if (queue_of(e) == find->queue &&
        stamp_in(find->name) == (stamp_of(e) & NAME_STAMP) &&
        name_of(s, e) == find->name &&
        (find->found == NULL || age_of(s, e) > age_of(s, find->found))) {
        find->found = e;
    }
}

// The oldest that the name may stand for; NULL: none.
static struct entry *named(struct shard *s, enum queue_name queue,
                           uint32_t name) {
    struct search find = {s, queue, name, NULL};

    memo_table_named_owned_(s, name & TABLE_NAME, consider, &find);
    return find.found;
}

struct entry *memo_policy_oldest_(struct shard *s, enum queue_name name) {
    struct policy *p = s->policy;
    struct queue *q = &p->queue[name];

    while (q->oldest == NULL && q->names.n != 0) {
        q->oldest = named(s, name, memo_names_oldest_(&p->names, &q->names));
        if (q->oldest == NULL) {
            memo_names_pop_(&p->names, &q->names);
        }
    }
    return q->oldest;
}

struct standing {
    struct shard *shard;
    enum queue_name queue;
};

static int stands(void *arg, uint32_t name) {
    const struct standing *in = arg;

    return named(in->shard, in->queue, name) != NULL;
}

struct count {
    struct standing in;
    uint64_t all, standing;
};

static void count_name(void *arg, uint32_t name) {
    struct count *c = arg;

    c->all++;
    c->standing += stands(&c->in, name) != 0;
}

uint64_t memo_policy_count_names_(struct shard *s, enum queue_name name) {
    const struct queue *q = &s->policy->queue[name];
    struct count c = {{s, name}, 0, 0};

    memo_names_walk_(&s->policy->names, &q->names, count_name, &c);
    return c.all == q->names.n ? c.standing : 0;
}

static void enqueue(struct shard *s, struct entry *e, enum queue_name name) {
    struct policy *p = s->policy;
    struct queue *q = &p->queue[name];
    struct standing in = {s, name};

    if (q->names.n > q->n + q->n / 2 + STRAYS_MOST) {
        memo_names_tidy_(&p->names, &q->names, stands, &in);
    }
    memo_names_push_(&p->names, &q->names, name_of(s, e));
}

static void dequeue(struct policy *p, struct queue *q, const struct entry *e) {
    if (q->oldest == e) {
        q->oldest = NULL;
        memo_names_pop_(&p->names, &q->names);
    }
}

// ------------------------------------------------------------------ lists

static void link_newest(const struct memo *m, struct list *l,
                        struct entry *e) {
    struct entry_worth *w = entry_worth(m, e);

    w->prev = NULL;
    w->next = l->newest;
    if (l->newest != NULL) {
        entry_worth(m, l->newest)->prev = e;
    } else {
        l->oldest = e;
    }
    l->newest = e;
}

static void unlink_from(const struct memo *m, struct list *l,
                        const struct entry *e) {
    const struct entry_worth *w = entry_worth(m, e);

    *(w->prev != NULL ? &entry_worth(m, w->prev)->next : &l->newest) = w->next;
    *(w->next != NULL ? &entry_worth(m, w->next)->prev : &l->oldest) = w->prev;
}

// ------------------------------------------------------------------ values

// The power of two of a value, in the middle of the lists at 1: that is enough
// for loads of 1 ns of 4 GiB to those of a second of one byte.
unsigned memo_policy_class_of_(const struct shard *s, const struct entry *e) {
    float value = entry_worth(s->memo, e)->value;
    uint32_t bits;
    int class;

    _Static_assert(sizeof(bits) == sizeof(value), "IEEE 754");
    memcpy(&bits, &value, sizeof(bits));
    class = (int)(bits >> 23) - 127 + VALUE_CLASSES / 2;
    return class < 0 ? 0
                     : class >= VALUE_CLASSES ? VALUE_CLASSES - 1
                                              : (unsigned)class;
}

static void average_in(double *sum, double *n, double x) {
    *sum += x;
    *n += 1;
    if (*n > AVERAGE_OVER) {
        *sum /= 2;
        *n /= 2;
    }
}

void memo_policy_see_cost_(struct shard *s, struct entry *e, int64_t ns) {
    struct policy *p = s->policy;
    float cost = ns < 1 ? 1 : (float)ns;

    if (p != NULL && p->values != NULL) {
        entry_worth(s->memo, e)->cost = cost;
        average_in(&p->values->sum_of_costs, &p->values->n_costs, cost);
    }
}

// What wasn't loaded costs what others do.
static double cost_of(const struct shard *s, const struct entry *e) {
    const struct values *v = s->policy->values;
    float cost = entry_worth(s->memo, e)->cost;

    if (s->memo->policy == MEMO_POLICY_SIZE) {
        return 1;
    }
    return cost != 0 ? (double)cost
                     : v->n_costs != 0 ? v->sum_of_costs / v->n_costs : 1;
}

void memo_policy_appraise_(struct shard *s, struct entry *e) {
    struct values *v = s->policy->values;
    uint64_t size = memo_policy_size_of_(s, e);
    double value;

    if (v != NULL) {
        value = cost_of(s, e) / (double)(size == 0 ? 1 : size);
        entry_worth(s->memo, e)->value = (float)value;
        average_in(&v->sum_of_values, &v->n_values, value);
    }
}

static void push_valued(struct shard *s, struct entry *e, double uses) {
    struct values *v = s->policy->values;
    struct entry_worth *w = entry_worth(s->memo, e);
    unsigned class = memo_policy_class_of_(s, e);

    w->rank = v->inflation + w->value * uses;
    if (v->list[class].oldest == NULL) {
        v->rank[class] = w->rank;
        v->in_use |= UINT64_C(1) << class;
    }
    link_newest(s->memo, &v->list[class], e);
}

static void unlink_valued(struct shard *s, struct entry *e) {
    struct values *v = s->policy->values;
    unsigned class = memo_policy_class_of_(s, e);
    struct list *l = &v->list[class];
    int was_oldest = e == l->oldest;

    unlink_from(s->memo, l, e);
    if (l->oldest == NULL) {
        v->in_use &= ~(UINT64_C(1) << class);
    } else if (was_oldest) {
        v->rank[class] = entry_worth(s->memo, l->oldest)->rank;
    }
}

// The entry of least rank among the oldest of each value, but not the one that
// was just admitted, unless it is alone.
static struct entry *least_ranked(const struct shard *s) {
    const struct values *v = s->policy->values;
    struct entry *admitted = s->policy->admitted, *least = NULL;
    double least_rank = 0;
    uint64_t left;

    for (left = v->in_use; left != 0; left &= left - 1) {
        int class = __builtin_ctzll(left);
        struct entry *e = v->list[class].oldest;
        double rank = v->rank[class];
        if (e == admitted && entry_worth(s->memo, e)->prev != NULL) {
            e = entry_worth(s->memo, e)->prev;
            rank = entry_worth(s->memo, e)->rank;
        }
        if (e != admitted && (least == NULL || rank < least_rank)) {
            least = e;
            least_rank = rank;
        }
    }
    return least == NULL ? admitted : least;
}

// ------------------------------------------------------------------ queues

// Change what the policy keeps in e's word, of which readers change the uses.
static void mark(struct entry *e, const struct place_in_queue *place,
                 unsigned uses) {
    uint64_t word = SYNC_LOAD(&e->word), to;

    do {
        to = word & ~(ENTRY_OF_POLICY | ENTRY_USES);
        to |= (uint64_t)place->name << ENTRY_QUEUE_SHIFT;
        to |= (uint64_t)place->stamp << ENTRY_STAMP_SHIFT;
        to |= (uint64_t)uses << ENTRY_USES_SHIFT | place->flags;
    } while (!SYNC_CAS(&e->word, &word, to));
}

static void push_used(struct shard *s, struct entry *e,
                      const struct place_in_queue *place, unsigned uses) {
    struct policy *p = s->policy;
    struct queue *q = &p->queue[place->name];

    mark(e, place, uses);
    if (place->name == QUEUE_MAIN && p->values != NULL) {
        push_valued(s, e, place->uses);
    } else {
        enqueue(s, e, place->name);
    }
    q->n++;
    q->size += memo_policy_size_of_(s, e);
}

void memo_policy_push_(struct shard *s, struct entry *e,
                       struct place_in_queue place) {
    push_used(s, e, &place, 0);
}

void memo_policy_unlink_(struct shard *s, struct entry *e) {
    struct policy *p = s->policy;
    enum queue_name name = queue_of(e);
    struct queue *q = &p->queue[name];

    if (name == QUEUE_MAIN && p->values != NULL) {
        unlink_valued(s, e);
    } else {
        dequeue(p, q, e);
    }
    q->n--;
    q->size -= memo_policy_size_of_(s, e);
}

// ------------------------------------------------------------------ victims

void memo_policy_learn_(struct shard *s, const struct entry *e) {
    struct policy *p = s->policy;
    int64_t over =
        TRUST_OVER + (int64_t)(p->queue[QUEUE_MAIN].n / TRUST_OVER_PART);

    uint64_t word = SYNC_LOAD(&e->word);
    int64_t *rate = word & ENTRY_FRESH ? &p->trust : &p->hope;

    if (word & ENTRY_RETURNED) {
        *rate += ((uses_of(e) != 0 ? ONE : 0) - *rate) / over;
    }
}

// Give e another round, with that many uses left for more.
static void go_round(struct shard *s, struct entry *e, unsigned left,
                     double uses) {
    struct place_in_queue place = {
        QUEUE_MAIN, stamp_at(s->policy, s->policy->clock), 0, uses};

    if (e == s->policy->admitted) {
        place.flags =
            SYNC_LOAD(&e->word) & (ENTRY_FRESH | ENTRY_RETURNED);
    } else {
        memo_policy_learn_(s, e);
    }
    memo_policy_unlink_(s, e);
    push_used(s, e, &place, left);
}

static struct entry *victim_by_use(struct shard *s) {
    struct policy *p = s->policy;
    struct entry *e = memo_policy_oldest_(s, QUEUE_MAIN);
    int steps;

    for (steps = 1; steps < MAX_STEPS; steps++) {
        unsigned uses = uses_of(e);
        if (uses == 0 && e != p->admitted) {
            break;
        }
        go_round(s, e, uses == 0 ? 0 : uses - 1, 0);
        e = memo_policy_oldest_(s, QUEUE_MAIN);
    }
    return e;
}

static struct entry *victim_by_value(struct shard *s) {
    struct values *v = s->policy->values;
    struct entry *e = least_ranked(s);
    int steps;

    for (steps = 1; steps < MAX_STEPS && uses_of(e) != 0; steps++) {
        double rank = entry_worth(s->memo, e)->rank;
        if (rank > v->inflation) {
            v->inflation = rank;
        }
        go_round(s, e, 0, 1. + uses_of(e));
        e = least_ranked(s);
    }
    return e;
}

struct entry *memo_policy_victim_(struct shard *s) {
    return s->policy->values == NULL ? victim_by_use(s) : victim_by_value(s);
}
