#include "memo/policy.h"

#include "memo/entry.h"
#include "memo/shard.h"

// How large the window in front of main is.
//
// It follows what would have been hits if it, or main, had been somewhat larger: a
// ghost that comes back so soon tells.  Three things help where that is too slow,
// or blind:
//
// While the window grows, or shrinks, steadily, it does so in larger steps, to keep
// up with keys that are wanted for a short time only.
//
// If what left main was never used there, the window grows a little, too.
//
// And what the two parts are good for is compared as a whole, for steps that go only
// a little way may all lead uphill and not to the top: when requests go up and down
// through all keys, say.  Had the whole cache been one queue, first in, first out,
// then any ghost of the window that comes back by a cache's length would have been a
// hit: so much is forgone.  In exchange there are the hits in main: but such a queue,
// from which an entry goes after a cache's length whatever its use, would have had
// all but one in that time.  So much is earned.  If more is forgone, by far, the
// window grows by the largest steps.

#define PERCENT_FIRST 5
#define PERCENT_LEAST 1
#define PERCENT_MOST 95
#define MARGIN_PERCENT 20  // "somewhat larger"

// The trend is an average over so many steps, and a part of the cache; at its most,
// a step is this many times as large again.
#define TREND_OVER 32
#define TREND_OVER_PART 20
#define TREND_MOST 16

// The window grows once for so many that left main and were never used.
#define IDLERS 32

// "By far" is so many times as much, and a part of the cache more; or some entries more,
// for in a small cache that part is less than the few ghosts that are mistaken for
// others.  Each time that the cache has been filled so often, both count half.
#define FAR 2
#define FAR_PART 50
#define FAR_ENTRIES 4
#define HALF_AFTER 8

// So much of the cache, at least 1.
static uint64_t share(const struct shard *s, unsigned percent) {
    uint64_t size = policy_percent(memo_policy_capacity_(s), percent);

    return size == 0 ? 1 : size;
}

void memo_window_init_(struct shard *s) {
    s->policy->window.size = share(s, PERCENT_FIRST);
}

static void widen(struct shard *s, uint64_t by) {
    struct window *w = &s->policy->window;
    uint64_t most = share(s, PERCENT_MOST);

    w->size = w->size + by > most ? most : w->size + by;
}

static void narrow(struct shard *s, uint64_t by) {
    struct window *w = &s->policy->window;
    uint64_t least = share(s, PERCENT_LEAST);

    w->size = w->size < least + by ? least : w->size - by;
}

// How far it moves for an entry of that size; to: ONE or -ONE.
static uint64_t step(struct shard *s, uint64_t size, int64_t to) {
    struct window *w = &s->policy->window;
    int64_t over =
        TREND_OVER + (int64_t)(s->table.n_entries / TREND_OVER_PART);
    uint64_t steady;

    w->trend += (to - w->trend) / over;
    if ((w->trend < 0) != (to < 0)) {
        return size;
    }
    steady = (uint64_t)(w->trend < 0 ? -w->trend : w->trend);
    steady = steady * steady / ONE;
    steady = steady * steady / ONE;
    return size + size * steady * TREND_MOST / ONE;
}

static int is_near(const struct shard *s, uint64_t age, uint64_t reach) {
    return age <=
           reach + policy_percent(memo_policy_capacity_(s), MARGIN_PERCENT);
}

// Now that something of that size has come back.
static int one_queue_is_better(struct shard *s, uint64_t size) {
    struct policy *p = s->policy;
    struct window *w = &p->window;
    double all = (double)memo_policy_capacity_(s);
    double some = (double)size * FAR_ENTRIES;
    double far = all / FAR_PART > some ? all / FAR_PART : some;

    if ((double)(p->clock - w->halved_at) > HALF_AFTER * all) {
        w->halved_at = p->clock;
        w->forgone /= 2;
        w->earned /= 2;
    }
    return p->values == NULL && w->forgone > FAR * w->earned + far;
}

void memo_window_see_ghost_(struct shard *s, uint64_t age, uint64_t size) {
    if (age <= memo_policy_capacity_(s)) {
        s->policy->window.forgone += (double)size;
        if (one_queue_is_better(s, size)) {
            widen(s, size * TREND_MOST);
        }
    }
    if (is_near(s, age, policy_window_size(s->policy))) {
        widen(s, step(s, size, ONE));
    }
}

void memo_window_see_ghost_of_main_(struct shard *s, uint64_t age,
                                    uint64_t size) {
    if (is_near(s, age, 0)) {
        narrow(s, step(s, size, -ONE));
    }
}

void memo_window_see_idler_(struct shard *s, uint64_t size) {
    if (++s->policy->window.idlers % IDLERS == 0) {
        widen(s, size);
    }
}

void memo_window_see_uses_(struct shard *s, const struct entry *e) {
    struct policy *p = s->policy;
    double all = (double)memo_policy_capacity_(s), uses = uses_of(e), passed;

    if (uses != 0 && all != 0) {
        passed = (double)policy_since(p, p->clock, stamp_of(e)) / all;
        p->window.earned += (uses < passed ? uses : passed) *
                            (double)memo_policy_size_of_(s, e);
    }
}
