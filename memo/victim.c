#include "memo/policy.h"

#include "memo/entry.h"
#include "memo/shard.h"

// Which entry of main goes first.
//
// If use alone counts, main is a clock: the oldest is looked at; if it has been
// used, it is given as many more rounds, else it goes.  But only one when it is
// looked at for the first time: its uses may all have been of a moment.
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

// Trust is an average over about so many returns, and a part of the cache.
#define TRUST_OVER 100
#define TRUST_OVER_PART 10

void memo_policy_learn_(struct shard *s, const struct entry *e) {
    struct policy *p = s->policy;
    int64_t over =
        TRUST_OVER + (int64_t)(p->queue[QUEUE_MAIN].n / TRUST_OVER_PART);
    uint64_t word = SYNC_LOAD(&e->word);
    int64_t *rate = word & ENTRY_FRESH ? &p->trust : &p->hope;

    memo_window_see_uses_(s, e);
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
    memo_policy_push_used_(s, e, &place, left);
}

// How many more rounds e is given after the next.
static unsigned rounds_left(const struct entry *e) {
    unsigned uses = uses_of(e);

    return uses == 0 || (SYNC_LOAD(&e->word) & ENTRY_FRESH) ? 0 : uses - 1;
}

static struct entry *victim_by_use(struct shard *s) {
    struct policy *p = s->policy;
    struct entry *e = memo_policy_oldest_(s, QUEUE_MAIN);
    int steps;

    for (steps = 1; steps < MAX_STEPS; steps++) {
        if (uses_of(e) == 0 && e != p->admitted) {
            break;
        }
        go_round(s, e, rounds_left(e), 0);
        e = memo_policy_oldest_(s, QUEUE_MAIN);
    }
    return e;
}

static struct entry *victim_by_value(struct shard *s) {
    struct values *v = s->policy->values;
    struct entry *e = memo_policy_least_ranked_(s);
    int steps;

    for (steps = 1; steps < MAX_STEPS && uses_of(e) != 0; steps++) {
        double rank = entry_worth(s->memo, e)->rank;
        if (rank > v->inflation) {
            v->inflation = rank;
        }
        go_round(s, e, 0, 1. + uses_of(e));
        e = memo_policy_least_ranked_(s);
    }
    return e;
}

struct entry *memo_policy_victim_(struct shard *s) {
    return s->policy->values == NULL ? victim_by_use(s) : victim_by_value(s);
}
