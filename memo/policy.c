#include "memo/policy.h"

#include "memo/table.h"

// AGE-2Q: a small window in front of a main queue, and ghosts of what left
// either.  A hit does no more than count uses, up to 3.
//
//                   ghost, reused sooner than main's oldest
//             .------------------------------------------------.
//             |                                                v
//     store --+--> young --> old -- used --> [ main: a clock ]
//                             |                   |
//                             '--- unused --------'--> ghosts
//
// A new entry enters the window, a queue of two parts; what it is used for
// while young doesn't count, for one request often comes as several.  What has
// been used when it is the oldest of the window goes over to main, else it
// leaves, and a ghost of it remains: its fingerprint and when it came.  If it
// comes back, the time since then is its reuse distance; if that is less than
// main's oldest has been idle, it belongs into main more than that does (the
// test of LIRS: S. Jiang, X. Zhang, SIGMETRICS 2002).  While the cache fills,
// main takes what it can.
//
// The window's size follows what would have been hits if it, or main, had been
// somewhat larger: a ghost that comes back so soon tells.
//
// Times are measured by what was stored meanwhile, in the unit of the bound:
// entries, bytes or weight.

#define WINDOW_PERCENT_FIRST 5
#define WINDOW_PERCENT_LEAST 1
#define WINDOW_PERCENT_MOST 80
#define YOUNG_PERCENT 25
#define MARGIN_PERCENT 20  // "somewhat larger"
#define GHOST_SPAN 3  // ghosts older than so many times the cache don't count
#define MAX_STEPS 64  // of the clock, for one eviction

// A stamp is the clock divided so that the cache is about this many units
// large.
#define STAMP_UNITS 1024

// ------------------------------------------------------------------ sizes

static uint64_t percent(uint64_t n, unsigned of) {
    return n / 100 * of + n % 100 * of / 100;
}

static uint64_t at_least_1(uint64_t n) {
    return n == 0 ? 1 : n;
}

static uint64_t weight_of(const struct shard *s, const struct entry *e) {
    return s->memo->prefix_size == 0 ? 0 : entry_prefix(e)->weight;
}

uint64_t memo_policy_size_of_(const struct shard *s, const struct entry *e) {
    const struct policy *p = s->policy;

    if (p->limit.weight != NO_BOUND) {
        return weight_of(s, e);
    }
    return p->limit.bytes == NO_BOUND ? 1 : memo_entry_bytes_(s->memo, e);
}

// What the shard takes up besides its entries.
static uint64_t overhead(const struct shard *s) {
    return memo_table_bytes_(&s->table) +
           memo_ghosts_bytes_(&s->policy->ghosts);
}

// How much the policy has to share out.
static uint64_t capacity(const struct shard *s) {
    const struct policy *p = s->policy;
    uint64_t taken = overhead(s);

    if (p->limit.weight != NO_BOUND) {
        return p->limit.weight;
    }
    if (p->limit.bytes != NO_BOUND) {
        return p->limit.bytes <= taken ? 0 : p->limit.bytes - taken;
    }
    return p->limit.entries;
}

int memo_policy_is_full_(const struct shard *s) {
    const struct policy *p = s->policy;

    return s->table.n_entries > p->limit.entries ||
           p->weight > p->limit.weight ||
           (p->limit.bytes != NO_BOUND &&
            s->entry_bytes + overhead(s) > p->limit.bytes);
}

int memo_policy_has_room_for_(const struct shard *s, const struct entry *e) {
    const struct policy *p = s->policy;

    return p->limit.entries >= 1 && weight_of(s, e) <= p->limit.weight &&
           (p->limit.bytes == NO_BOUND ||
            memo_entry_bytes_(s->memo, e) + overhead(s) <= p->limit.bytes);
}

// ------------------------------------------------------------------ stamps

static uint16_t stamp_at(const struct policy *p, uint64_t clock) {
    return (uint16_t)(clock >> p->unit_shift);
}

// How far clock has moved since it had the given stamp.
static uint64_t since(const struct policy *p, uint64_t clock, uint16_t stamp) {
    return (uint64_t)(uint16_t)(stamp_at(p, clock) - stamp) << p->unit_shift;
}

static uint16_t stamp_of(const struct entry *e) {
    return (uint16_t)(SYNC_LOAD(&e->word) >> ENTRY_STAMP_SHIFT);
}

// ------------------------------------------------------------------ queues

static enum queue_name queue_of(const struct entry *e) {
    return (enum queue_name)((SYNC_LOAD(&e->word) & ENTRY_QUEUE) >>
                             ENTRY_QUEUE_SHIFT);
}

static unsigned uses_of(const struct entry *e) {
    return (unsigned)((SYNC_LOAD(&e->word) & ENTRY_USES) >> ENTRY_USES_SHIFT);
}

// Change what the policy keeps in e's word, of which readers change the uses.
static void mark(struct entry *e, enum queue_name name, uint16_t stamp,
                 unsigned uses) {
    uint64_t word = SYNC_LOAD(&e->word), to;

    do {
        to = word & ~(ENTRY_QUEUE | ENTRY_STAMP | ENTRY_USES);
        to |= (uint64_t)name << ENTRY_QUEUE_SHIFT;
        to |= (uint64_t)stamp << ENTRY_STAMP_SHIFT;
        to |= (uint64_t)uses << ENTRY_USES_SHIFT;
    } while (!SYNC_CAS(&e->word, &word, to));
}

static void push(struct shard *s, enum queue_name name, struct entry *e) {
    struct queue *q = &s->policy->queue[name];

    e->prev = NULL;
    e->next = q->newest;
    if (q->newest != NULL) {
        q->newest->prev = e;
    } else {
        q->oldest = e;
    }
    q->newest = e;
    q->n++;
    q->size += memo_policy_size_of_(s, e);
}

static void unlink_entry(struct shard *s, struct entry *e) {
    struct queue *q = &s->policy->queue[queue_of(e)];

    *(e->prev != NULL ? &e->prev->next : &q->newest) = e->next;
    *(e->next != NULL ? &e->next->prev : &q->oldest) = e->prev;
    q->n--;
    q->size -= memo_policy_size_of_(s, e);
}

static void move(struct shard *s, struct entry *e, enum queue_name to,
                 uint16_t stamp, unsigned uses) {
    unlink_entry(s, e);
    mark(e, to, stamp, uses);
    push(s, to, e);
}

static uint64_t window_size(const struct policy *p) {
    return p->queue[QUEUE_YOUNG].size + p->queue[QUEUE_OLD].size;
}

// ------------------------------------------------------------------ eviction

static void leave_ghost(struct policy *p, uint64_t hash, enum ghost_kind kind,
                        uint16_t stamp) {
    struct ghost ghost = {kind, stamp};
    struct ghost_clocks now = {stamp_at(p, p->clock),
                               stamp_at(p, p->evicted_clock)};

    memo_ghosts_put_(&p->ghosts, hash, ghost, now);
}

static void evict(struct shard *s, struct entry *e) {
    struct policy *p = s->policy;
    uint64_t hash =
        hash_key(&s->memo->seed, e->bytes, entry_key_size(SYNC_LOAD(&e->word)));

    if (queue_of(e) != QUEUE_MAIN) {
        leave_ghost(p, hash, GHOST_OF_WINDOW, stamp_of(e));
    } else {
        leave_ghost(p, hash, GHOST_OF_MAIN, stamp_at(p, p->evicted_clock));
        p->evicted_clock += memo_policy_size_of_(s, e);
    }
    p->evictions++;
    memo_evict_owned_(s, e, hash);
}

static uint64_t main_target(const struct shard *s) {
    uint64_t all = capacity(s), window = s->policy->window;

    return all <= window ? 0 : all - window;
}

// The oldest of main that hasn't been used since it was looked at last; those
// that have are given another round, and so is the one that was just admitted.
static struct entry *settled_oldest(struct shard *s) {
    struct policy *p = s->policy;
    struct entry *e = p->queue[QUEUE_MAIN].oldest;
    int steps;

    for (steps = 1; steps < MAX_STEPS; steps++) {
        unsigned uses = uses_of(e);
        if (uses == 0 && e != p->admitted) {
            return e;
        }
        move(s, e, QUEUE_MAIN, stamp_at(p, p->clock), uses == 0 ? 0 : uses - 1);
        e = p->queue[QUEUE_MAIN].oldest;
    }
    return e;
}

// Main may have become too large: but it keeps one entry at least.
static void trim_main(struct shard *s) {
    struct queue *q = &s->policy->queue[QUEUE_MAIN];

    while (q->size > main_target(s) && q->n > 1) {
        evict(s, settled_oldest(s));
    }
}

// Let the youngest part be a quarter of the window.
static void age_window(struct shard *s) {
    struct queue *young = &s->policy->queue[QUEUE_YOUNG];

    while (young->n > 0 &&
           young->size > percent(window_size(s->policy), YOUNG_PERCENT)) {
        move(s, young->oldest, QUEUE_OLD, stamp_of(young->oldest), 0);
    }
}

// The oldest of the window, but not the one that was just admitted.
static struct entry *window_oldest(const struct policy *p) {
    struct entry *e = p->queue[QUEUE_OLD].oldest;

    if (e == NULL) {
        e = p->queue[QUEUE_YOUNG].oldest;
    }
    return e == p->admitted ? NULL : e;
}

// Make room, or come nearer to it.
static void evict_one(struct shard *s) {
    struct policy *p = s->policy;
    struct entry *e = window_oldest(p);

    if (e != NULL && queue_of(e) == QUEUE_OLD && uses_of(e) != 0) {
        move(s, e, QUEUE_MAIN, stamp_at(p, p->clock), 0);
        trim_main(s);
    } else if (e != NULL) {
        evict(s, e);
    } else if (p->queue[QUEUE_MAIN].n != 0) {
        evict(s, settled_oldest(s));
    } else {
        evict(s, p->admitted);  // the table and the ghosts alone fill the bound
    }
}

// ------------------------------------------------------------------ admission

static void widen_window(struct shard *s, uint64_t by) {
    struct policy *p = s->policy;
    uint64_t most = at_least_1(percent(capacity(s), WINDOW_PERCENT_MOST));

    p->window = p->window + by > most ? most : p->window + by;
}

static void narrow_window(struct shard *s, uint64_t by) {
    struct policy *p = s->policy;
    uint64_t least = at_least_1(percent(capacity(s), WINDOW_PERCENT_LEAST));

    p->window = p->window < least + by ? least : p->window - by;
}

static int main_has_room(const struct shard *s, uint64_t size) {
    return s->policy->queue[QUEUE_MAIN].size + size <= main_target(s);
}

// An entry of that size comes back, which had left main.
static void see_ghost_of_main(struct shard *s, struct ghost ghost,
                              uint64_t size) {
    struct policy *p = s->policy;

    if (since(p, p->evicted_clock, ghost.stamp) <=
        percent(capacity(s), MARGIN_PERCENT)) {
        narrow_window(s, size);
    }
}

// An entry of that size comes back, which had left the window: does it belong
// into main?
static int see_ghost_of_window(struct shard *s, struct ghost ghost,
                               uint64_t size) {
    struct policy *p = s->policy;
    uint64_t age = since(p, p->clock, ghost.stamp);

    if (age <= window_size(p) + percent(capacity(s), MARGIN_PERCENT)) {
        widen_window(s, size);
    }
    return main_has_room(s, size) || p->queue[QUEUE_MAIN].n == 0 ||
           (age <= GHOST_SPAN * capacity(s) &&
            age < since(p, p->clock, stamp_of(settled_oldest(s))));
}

static int fits(const struct shard *s, uint64_t size) {
    return window_size(s->policy) + s->policy->queue[QUEUE_MAIN].size + size <=
           capacity(s);
}

static enum queue_name queue_for(struct shard *s, uint64_t hash,
                                 uint64_t size) {
    struct ghost ghost = memo_ghosts_take_(&s->policy->ghosts, hash);
    int to_main = 0;

    if (ghost.kind == GHOST_OF_MAIN) {
        see_ghost_of_main(s, ghost, size);
    } else if (ghost.kind == GHOST_OF_WINDOW) {
        to_main = see_ghost_of_window(s, ghost, size);
    } else {
        to_main = fits(s, size) && main_has_room(s, size);
    }
    return to_main ? QUEUE_MAIN : QUEUE_YOUNG;
}

void memo_policy_admit_(struct shard *s, struct entry *e, uint64_t hash,
                        enum queue_name instead) {
    struct policy *p = s->policy;
    uint64_t size = memo_policy_size_of_(s, e);
    enum queue_name name = instead;

    p->admitted = e;
    p->clock += size;
    p->weight += weight_of(s, e);
    if (instead == QUEUE_NONE) {
        name = queue_for(s, hash, size);
    } else if (instead == QUEUE_OLD) {
        name = QUEUE_YOUNG;
    }
    mark(e, name, stamp_at(p, p->clock), 0);
    push(s, name, e);
    if (name == QUEUE_MAIN) {
        trim_main(s);
    } else {
        age_window(s);
    }
    memo_ghosts_fit_(&p->ghosts, s->table.n_entries);
    memo_policy_trim_(s);
    p->admitted = NULL;
}

void memo_policy_trim_(struct shard *s) {
    while (memo_policy_is_full_(s) && s->table.n_entries != 0) {
        evict_one(s);
    }
}

enum queue_name memo_policy_forget_(struct shard *s, struct entry *e) {
    enum queue_name name = queue_of(e);

    unlink_entry(s, e);
    s->policy->weight -= weight_of(s, e);
    return name;
}

// ------------------------------------------------------------------ beginning

void memo_policy_init_(struct shard *s, struct measure limit,
                       struct ghosts ghosts) {
    struct policy *p = s->policy;

    p->limit = limit;
    p->ghosts = ghosts;
    p->window = at_least_1(percent(capacity(s), WINDOW_PERCENT_FIRST));
    while (capacity(s) >> p->unit_shift >= STAMP_UNITS) {
        p->unit_shift++;
    }
}
