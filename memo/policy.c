#include "memo/policy.h"

#include "memo/table.h"
#include "memo/wheel.h"

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
// How large the window is: policy_window.c.
//
// Times are measured by what was stored meanwhile, in the unit of the bound:
// entries, bytes or weight.
//
// If hardly any of what came back into main by its ghost is used there, as when
// requests go to and fro through all keys, few of those are admitted until that
// changes.
//
// If values count (options.policy), ages are divided by them, main is greedy
// dual (victim.c), and what leaves the window unused goes over to main if it is
// worth far more than what is there.

#define YOUNG_PERCENT 40
#define GHOST_SPAN 3  // ghosts older than so many times the cache don't count

// If less of what came back is used, only one in so many is admitted.
#define TRUST_LEAST (ONE / 10)
#define PROBE_PART 16

// What a ghost is taken to have been used; and an entry of the window that
// hasn't been: as often as those like it are, at first and at least so much.
#define USES_OF_GHOST 2
#define HOPE_FIRST (ONE / 4)
#define HOPE_LEAST (ONE / 16)
#define MEAN_PART 3  // and this part of the mean value is what it must exceed

// A stamp is the clock divided so that the cache is about this many units
// large.
#define STAMP_UNITS 1024

// ------------------------------------------------------------------ sizes

static uint64_t weight_of(const struct shard *s, const struct entry *e) {
    return s->memo->max_weight == 0 ? 0 : entry_prefix(e)->weight;
}

uint64_t memo_policy_size_of_(const struct shard *s, const struct entry *e) {
    const struct policy *p = s->policy;

    if (p->limit.weight != NO_BOUND) {
        return weight_of(s, e);
    }
    return p->limit.bytes == NO_BOUND ? 1 : memo_entry_bytes_(s->memo, e);
}

// What the shard takes up besides its entries, with the ghosts that there will
// be when it is full.
static uint64_t overhead(const struct shard *s) {
    uint64_t ghosts = memo_ghosts_bytes_(&s->policy->ghosts);
    uint64_t later = memo_ghosts_bytes_for_(s->table.n_entries);

    return memo_table_bytes_(&s->table) + (ghosts > later ? ghosts : later) +
           memo_names_bytes_(&s->policy->names) +
           (s->wheel == NULL ? 0 : memo_names_bytes_(&s->wheel->names));
}

uint64_t memo_policy_bytes_(const struct policy *p) {
    return memo_ghosts_bytes_(&p->ghosts) + memo_names_bytes_(&p->names);
}

int memo_policy_reserve_(struct shard *s) {
    return memo_names_reserve_(&s->policy->names, 1);
}

uint64_t memo_policy_capacity_(const struct shard *s) {
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
    uint64_t taken = overhead(s);

    return p->limit.entries >= 1 && weight_of(s, e) <= p->limit.weight &&
           (p->limit.bytes == NO_BOUND ||
            (taken <= p->limit.bytes &&
             memo_entry_bytes_(s->memo, e) <= p->limit.bytes - taken));
}

// ------------------------------------------------------------------ queues

static uint16_t now(const struct policy *p) {
    return stamp_at(p, p->clock);
}

static void requeue(struct shard *s, struct entry *e,
                    struct place_in_queue place) {
    memo_policy_unlink_(s, e);
    memo_policy_push_(s, e, place);
}

// ------------------------------------------------------------------ eviction

static struct ghost_clocks clocks_of(const struct policy *p) {
    struct ghost_clocks now = {p->clock, p->evicted_clock};

    return now;
}

static void leave_main(struct shard *s, struct entry *e) {
    struct policy *p = s->policy;

    if (SYNC_LOAD(&e->word) & ENTRY_FRESH) {
        memo_window_see_idler_(s, memo_policy_size_of_(s, e));
    }
    memo_policy_learn_(s, e);
    if (p->values != NULL &&
        entry_worth(s->memo, e)->rank > p->values->inflation) {
        p->values->inflation = entry_worth(s->memo, e)->rank;
    }
    p->evicted_clock += memo_policy_size_of_(s, e);
}

static void evict(struct shard *s, struct entry *e) {
    struct policy *p = s->policy;
    struct ghost ghost = {GHOST_OF_MAIN, 0};
    uint64_t hash = entry_hash(&s->memo->seed, e);

    memo_ghosts_fit_(&p->ghosts, s->table.n_entries);
    if (queue_of(e) != QUEUE_MAIN) {
        ghost.kind = GHOST_OF_WINDOW;
        ghost.age = policy_since(p, p->clock, stamp_of(e));
    }
    memo_ghosts_put_(&p->ghosts, hash, ghost, clocks_of(p));
    if (ghost.kind == GHOST_OF_MAIN) {
        leave_main(s, e);
    }
    p->evictions++;
    memo_evict_owned_(s, e, hash, MEMO_EVICTED);
}

static uint64_t main_target(const struct shard *s) {
    uint64_t all = memo_policy_capacity_(s), window = s->policy->window.size;

    return all <= window ? 0 : all - window;
}

// Main may have become too large, as the window has grown.  But it keeps one entry at
// least, and what was given a round, or came, just now: which has had no time to be
// used.
static void trim_main(struct shard *s) {
    struct queue *q = &s->policy->queue[QUEUE_MAIN];

    while (q->size > main_target(s) && q->n > 1) {
        struct entry *e = memo_policy_victim_(s);
        if (stamp_of(e) == now(s->policy)) {
            break;
        }
        evict(s, e);
    }
}

// Let the youngest part be so much of the window.
static void age_window(struct shard *s) {
    struct queue *young = &s->policy->queue[QUEUE_YOUNG];

    while (young->n > 0 &&
           young->size > policy_percent(policy_window_size(s->policy), YOUNG_PERCENT)) {
        struct entry *e = memo_policy_oldest_(s, QUEUE_YOUNG);
        struct place_in_queue old = {QUEUE_OLD, stamp_of(e), 0, 0};
        requeue(s, e, old);
    }
}

// The oldest of the window, but not the one that was just admitted.
static struct entry *window_oldest(struct shard *s) {
    struct entry *e = memo_policy_oldest_(s, QUEUE_OLD);

    if (e == NULL) {
        e = memo_policy_oldest_(s, QUEUE_YOUNG);
    }
    return e == s->policy->admitted ? NULL : e;
}

static double uses_hoped_for(const struct policy *p) {
    return (double)(p->hope < HOPE_LEAST ? HOPE_LEAST : p->hope) / ONE;
}

// Whether e, which leaves the window and hasn't been used, is worth so much
// that main should have it.
static int is_precious(struct shard *s, const struct entry *e) {
    const struct values *v = s->policy->values;
    double least, mean;

    if (v == NULL || s->policy->queue[QUEUE_MAIN].n == 0) {
        return 0;
    }
    least = entry_worth(s->memo, memo_policy_victim_(s))->rank - v->inflation;
    mean = v->n_values == 0 ? 0 : v->sum_of_values / v->n_values;
    return entry_worth(s->memo, e)->value * uses_hoped_for(s->policy) >
           (least < 0 ? 0 : least) + mean / MEAN_PART;
}

static void admit_to_main(struct shard *s, struct entry *e, uint64_t flags,
                          double uses) {
    struct place_in_queue place = {QUEUE_MAIN, now(s->policy), flags, uses};

    requeue(s, e, place);
    trim_main(s);
}

// Make room, or come nearer to it.
static void evict_one(struct shard *s) {
    struct policy *p = s->policy;
    struct entry *e = window_oldest(s);

    if (e != NULL && queue_of(e) == QUEUE_OLD && uses_of(e) != 0) {
        admit_to_main(s, e, ENTRY_FRESH, 1. + uses_of(e));
    } else if (e != NULL && is_precious(s, e)) {
        admit_to_main(s, e, ENTRY_RETURNED, uses_hoped_for(p));
    } else if (e != NULL) {
        evict(s, e);
    } else if (p->queue[QUEUE_MAIN].n != 0) {
        evict(s, memo_policy_victim_(s));
    } else {
        evict(s, p->admitted);  // the table and the ghosts alone fill the bound
    }
}

// ------------------------------------------------------------------ admission

static int main_has_room(const struct shard *s, uint64_t size) {
    return s->policy->queue[QUEUE_MAIN].size + size <= main_target(s);
}

// Whether e, that came back after that age, belongs into main more than what
// would go for it.
static int is_better(struct shard *s, const struct entry *e, uint64_t age) {
    struct policy *p = s->policy;
    const struct entry *victim = memo_policy_victim_(s);
    uint64_t idle = policy_since(p, p->clock, stamp_of(victim));

    if (age > GHOST_SPAN * memo_policy_capacity_(s)) {
        return 0;
    }
    if (p->values == NULL ? age >= idle
                          : (double)age * entry_worth(s->memo, victim)->value >=
                                (double)idle * entry_worth(s->memo, e)->value) {
        return 0;
    }
    return p->trust >= TRUST_LEAST || ++p->probes % PROBE_PART == 0;
}

// e comes back, which had left the window: does it belong into main?
static int see_ghost_of_window(struct shard *s, const struct entry *e,
                               uint64_t age, uint64_t size) {
    memo_window_see_ghost_(s, age, size);
    return main_has_room(s, size) || s->policy->queue[QUEUE_MAIN].n == 0 ||
           is_better(s, e, age);
}

static int fits(const struct shard *s, uint64_t size) {
    return policy_window_size(s->policy) + s->policy->queue[QUEUE_MAIN].size + size <=
           memo_policy_capacity_(s);
}

// Where e, which is new, goes.
static struct place_in_queue place_for(struct shard *s, const struct entry *e,
                                       uint64_t hash, uint64_t size) {
    struct policy *p = s->policy;
    struct place_in_queue place = {QUEUE_YOUNG, now(p), 0, 1};
    struct ghost ghost = memo_ghosts_take_(&p->ghosts, hash, clocks_of(p));

    if (ghost.kind == GHOST_OF_MAIN) {
        memo_window_see_ghost_of_main_(s, ghost.age, size);
    } else if (ghost.kind == GHOST_OF_WINDOW) {
        if (see_ghost_of_window(s, e, ghost.age, size)) {
            place.name = QUEUE_MAIN;
            place.flags = ENTRY_FRESH | ENTRY_RETURNED;
            place.uses = USES_OF_GHOST;
        }
    } else if (fits(s, size) && main_has_room(s, size)) {
        place.name = QUEUE_MAIN;
        place.flags = ENTRY_FRESH;
    }
    return place;
}

void memo_policy_admit_(struct shard *s, struct entry *e, uint64_t hash,
                        enum queue_name instead) {
    struct policy *p = s->policy;
    uint64_t size = memo_policy_size_of_(s, e);
    struct place_in_queue place;

    memo_policy_appraise_(s, e);
    p->clock += size;
    p->weight += weight_of(s, e);
    if (instead == QUEUE_NONE) {
        place = place_for(s, e, hash, size);
    } else {
        place.name = instead == QUEUE_OLD ? QUEUE_YOUNG : instead;
        place.stamp = now(p);
        place.flags = 0;
        place.uses = 1;
    }
    p->admitted = e;
    memo_policy_push_(s, e, place);
    if (place.name == QUEUE_MAIN) {
        trim_main(s);
    } else {
        age_window(s);
    }
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

    memo_policy_unlink_(s, e);
    s->policy->weight -= weight_of(s, e);
    return name;
}

// ------------------------------------------------------------------ beginning

void memo_policy_init_(struct shard *s, struct measure limit,
                       struct ghosts ghosts, struct names_pool names,
                       struct values *values) {
    struct policy *p = s->policy;

    p->values = values;
    p->trust = ONE;
    p->hope = HOPE_FIRST;
    p->limit = limit;
    p->ghosts = ghosts;
    p->names = names;
    memo_window_init_(s);
    memo_ghosts_set_long_(&p->ghosts, memo_policy_capacity_(s));
    while (memo_policy_capacity_(s) >> p->unit_shift >= STAMP_UNITS) {
        p->unit_shift++;
    }
}
