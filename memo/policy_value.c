#include "memo/policy.h"

#include <string.h>

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/shard.h"

// What entries are worth; and main, where that counts: a list for each value.

// Values and costs are averaged over about so many stores.
#define AVERAGE_OVER 100000

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

void memo_policy_push_valued_(struct shard *s, struct entry *e, double uses) {
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

void memo_policy_unlink_valued_(struct shard *s, struct entry *e) {
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

struct entry *memo_policy_least_ranked_(const struct shard *s) {
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
