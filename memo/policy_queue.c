#include "memo/policy.h"

#include "memo/entry.h"
#include "memo/hash.h"
#include "memo/names.h"
#include "memo/shard.h"
#include "memo/table.h"

// The queues of the policy, and the names by which entries stand in them.
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
    uint64_t hash = entry_hash(&s->memo->seed, e);

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

static uint64_t age_of(const struct policy *p, const struct entry *e) {
    return policy_since(p, p->clock, stamp_of(e));
}

// The table looks at fewer bits than a name has, so they are compared here.
static void consider(struct entry *e, void *arg) {
    struct search *find = arg;
    const struct shard *s = find->shard;

    if (queue_of(e) == find->queue &&
        stamp_in(find->name) == (stamp_of(e) & NAME_STAMP) &&
        name_of(s, e) == find->name &&
        (find->found == NULL ||
         age_of(s->policy, e) > age_of(s->policy, find->found))) {
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

static void push_name(struct shard *s, struct entry *e, enum queue_name name) {
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

void memo_policy_push_used_(struct shard *s, struct entry *e,
                            const struct place_in_queue *place, unsigned uses) {
    struct policy *p = s->policy;
    struct queue *q = &p->queue[place->name];

    mark(e, place, uses);
    if (place->name == QUEUE_MAIN && p->values != NULL) {
        memo_policy_push_valued_(s, e, place->uses);
    } else {
        push_name(s, e, place->name);
    }
    q->n++;
    q->size += memo_policy_size_of_(s, e);
}

void memo_policy_push_(struct shard *s, struct entry *e,
                       struct place_in_queue place) {
    memo_policy_push_used_(s, e, &place, 0);
}

void memo_policy_unlink_(struct shard *s, struct entry *e) {
    struct policy *p = s->policy;
    enum queue_name name = queue_of(e);
    struct queue *q = &p->queue[name];

    if (name == QUEUE_MAIN && p->values != NULL) {
        memo_policy_unlink_valued_(s, e);
    } else {
        dequeue(p, q, e);
    }
    q->n--;
    q->size -= memo_policy_size_of_(s, e);
}
