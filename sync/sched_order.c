// Partial-order reduction: the choices of SCHED_ALL.
//
// Of each set of executions that differ only in the order of steps that
// commute, one is run.  Steps are ordered ("happens before") if one agent made
// them, if the machine orders them, or if both touch one object and one writes.
// A step races with an earlier one if both touch an object and nothing else
// orders them: then, where the earlier one was chosen, an agent must be tried
// that leads to the opposite order.  An agent that was tried in a state sleeps
// in what comes after its siblings, until a step touches what its step touches.

#include "sync/sched_internal.h"

#include <stdlib.h>
#include <string.h>

struct stepped {
    int16_t before[SCHED_AGENTS];  // for each agent its last step that happens
                                   // before this one, or is it; 0: none
    sched_set enabled;             // in the state in which the step was chosen
    sched_set to_try;              //   to be tried, those that were included
    sched_set asleep;              //   not to be tried
    int agent;
};

static int orders;    // whether steps are ordered at all
static int reduces;   // whether the mode is SCHED_ALL
static int step;      // the last that was chosen; from 1
static int repeated;  // up to this step, all is as it was in the last execution
static struct stepped steps[SCHED_MAX_STEPS + 1];
static sched_set asleep;  // in the state that the last step leads to
// What happens before an agent's next step, apart from races of that one.
static int16_t before[SCHED_AGENTS][SCHED_AGENTS];

static void join(int16_t *a, const int16_t *b) {
    for (int i = 0; i < SCHED_AGENTS; i++) {
        a[i] = a[i] > b[i] ? a[i] : b[i];
    }
}

void sched_order_begin_(enum sched_mode mode, int count_classes) {
    reduces = mode == SCHED_ALL;
    orders = reduces || count_classes;
    repeated = 0;
}

void sched_order_reset_(void) {
    if (orders) {
        step = 0;
        asleep = 0;
        memset(before, 0, sizeof before);
    }
}

void sched_follow_(int a, int b) {
    if (orders) {
        join(before[a], before[b]);
    }
}

void sched_follow_step_(int a, int earlier) {
    if (orders) {
        join(before[a], steps[earlier].before);
    }
}

int sched_step_(void) {
    return step;
}

void sched_might_time_out_(int thread) {
    if (reduces && step >= repeated) {
        steps[step].to_try |= sched_bit_(thread);
    }
}

static int happens_before(int earlier, const int16_t *clock) {
    return clock[steps[earlier].agent] >= earlier;
}

// Step, of agent, whose clock is given, races with an earlier one.  See that in
// the state before that one an agent is tried that can come first in an
// execution where step comes before earlier.
static void reverse(int earlier, int agent, const int16_t *clock) {
    int16_t first[SCHED_AGENTS] = {0};
    sched_set seen = 0;
    sched_set initials = 0;
    for (int i = earlier + 1; i <= step; i++) {
        const int16_t *c = i == step ? clock : steps[i].before;
        int who = i == step ? agent : steps[i].agent;
        if ((i < step && happens_before(earlier, c)) ||
            (seen & sched_bit_(who))) {
            continue;
        }
        int is_initial = 1;
        for (sched_set set = seen; set != 0; set &= set - 1) {
            int other = sched_first_(set);
            if (c[other] >= first[other]) {
                is_initial = 0;
                break;
            }
        }
        initials |= is_initial ? sched_bit_(who) : 0;
        seen |= sched_bit_(who);
        first[who] = (int16_t)i;
    }
    struct stepped *s = &steps[earlier];
    if (initials & (s->to_try | s->asleep)) {
        return;
    }
    sched_set set =
        initials & sched_bit_(agent) ? sched_bit_(agent) : initials & -initials;
    s->to_try |= set & s->enabled ? set : s->enabled;
}

// The steps that the next one of agent touches the same objects as, the latest
// of each kind.
struct conflicts {
    int step[2 * (SCHED_AGENTS + 1)];
    int n;
};

static void add_conflict(struct conflicts *c, int earlier, int agent) {
    if (earlier != 0 && steps[earlier].agent != agent) {
        c->step[c->n++] = earlier;
    }
}

static void note_touch(struct conflicts *c, const struct sched_touch *t,
                       int agent) {
    struct sched_object *o = t->object;
    add_conflict(c, o->writer, agent);
    if (t->writes) {
        for (sched_set set = o->readers; set != 0; set &= set - 1) {
            add_conflict(c, o->reader[sched_first_(set)], agent);
        }
        o->readers = 0;
        o->writer = (int16_t)step;
    } else {
        o->readers |= sched_bit_(agent);
        o->reader[agent] = (int16_t)step;
    }
}

static void find_races(const struct conflicts *c, int agent,
                       const int16_t *clock) {
    for (int i = 0; i < c->n; i++) {
        int direct = !happens_before(c->step[i], before[agent]);
        for (int j = 0; j < c->n && direct; j++) {
            direct = c->step[j] == c->step[i] ||
                     !happens_before(c->step[i], steps[c->step[j]].before);
        }
        if (direct) {
            reverse(c->step[i], agent, clock);
        }
    }
}

static int commute(const struct sched_touch *a, int n_a,
                   const struct sched_touch *b, int n_b) {
    for (int i = 0; i < n_a; i++) {
        for (int j = 0; j < n_b; j++) {
            if (a[i].object == b[j].object && (a[i].writes || b[j].writes)) {
                return 0;
            }
        }
    }
    return 1;
}

// Of those asleep, the ones that go on sleeping after a step that touches t.
static sched_set still_asleep(sched_set set, int agent,
                              const struct sched_touch *t, int n) {
    sched_set still = 0;
    for (set &= ~sched_bit_(agent); set != 0; set &= set - 1) {
        struct sched_touch other[2];
        int i = sched_first_(set);
        int n_other = sched_touches_(i, other);
        still |= commute(t, n, other, n_other) ? sched_bit_(i) : 0;
    }
    return still;
}

// Agent is chosen: note what its step touches, and work out what happens before
// it, unless that is known because the last execution began with the same
// steps.
static void order_step(int agent, int is_new) {
    struct stepped *s = &steps[step];
    struct sched_touch touch[2];
    struct conflicts conflicts = {.n = 0};
    s->agent = agent;
    sched_prepare_(agent);
    int n = sched_touches_(agent, touch);
    for (int i = 0; i < n; i++) {
        note_touch(&conflicts, &touch[i], agent);
    }
    if (is_new) {
        int16_t clock[SCHED_AGENTS];
        memcpy(clock, before[agent], sizeof clock);
        for (int i = 0; i < conflicts.n; i++) {
            join(clock, steps[conflicts.step[i]].before);
        }
        if (reduces) {
            find_races(&conflicts, agent, clock);
            asleep = still_asleep(s->asleep, agent, touch, n);
        }
        clock[agent] = (int16_t)step;
        memcpy(s->before, clock, sizeof clock);
    }
    memcpy(before[agent], s->before, sizeof before[agent]);
}

void sched_order_choice_(int agent) {
    if (orders) {
        step++;
        order_step(agent, 1);
    }
}

int sched_order_choose_(sched_set enabled, int usual) {
    struct stepped *s = &steps[++step];
    if (step > repeated) {
        sched_set awake = enabled & ~asleep;
        if (awake == 0) {
            step--;
            return SCHED_NOBODY;
        }
        s->agent = awake & sched_bit_(usual) ? usual : sched_first_(awake);
        s->enabled = enabled;
        s->to_try = sched_bit_(s->agent);
        s->asleep = asleep;
    } else if (enabled != s->enabled) {
        sched_fail_differs_();
    }
    order_step(s->agent, step >= repeated);
    return s->agent;
}

int sched_order_was_short_(void) {
    return step < repeated;
}

int sched_order_next_(void) {
    for (int i = step; i > 0; i--) {
        struct stepped *s = &steps[i];
        s->asleep |= sched_bit_(s->agent);
        sched_set set = s->to_try & ~s->asleep;
        if (set != 0) {
            s->agent = sched_first_(set);
            repeated = i;
            return 1;
        }
    }
    return 0;
}

// Classes --------------------------------------------------------------------
//
// Counting how many executions differ in more than the order of steps that
// commute, while running them all: what SCHED_ALL must come to.

static uint64_t *classes;  // open addressing; 0: empty
static size_t n_classes;
static size_t classes_size;

static uint64_t mix(uint64_t h, uint64_t x) {
    h = (h ^ x) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

// The same for all executions of a class: who did what, as its how manieth
// step, after which steps of others.
static uint64_t class_of_execution(void) {
    static int ordinal[SCHED_MAX_STEPS + 1];
    int n[SCHED_AGENTS] = {0};
    uint64_t sum = 1;
    for (int i = 1; i <= step; i++) {
        ordinal[i] = ++n[steps[i].agent];
        uint64_t h = (uint64_t)steps[i].agent;
        for (int a = 0; a < SCHED_AGENTS; a++) {
            h = mix(h, (uint64_t)ordinal[steps[i].before[a]]);
        }
        sum += h;
    }
    return sum;
}

static void add_class(uint64_t c) {
    size_t i = c % classes_size;
    for (; classes[i] != 0; i = (i + 1) % classes_size) {
        if (classes[i] == c) {
            return;
        }
    }
    classes[i] = c;
    n_classes++;
}

void sched_classes_count_(void) {
    if (2 * n_classes >= classes_size) {
        uint64_t *old = classes;
        size_t old_size = classes_size;
        classes_size = old_size == 0 ? 1024 : 2 * old_size;
        classes = calloc(classes_size, sizeof *classes);
        if (classes == NULL) {
            abort();
        }
        n_classes = 0;
        for (size_t i = 0; i < old_size; i++) {
            if (old[i] != 0) {
                add_class(old[i]);
            }
        }
        free(old);
    }
    add_class(class_of_execution());
}

size_t sched_classes_forget_(void) {
    size_t n = n_classes;
    free(classes);
    classes = NULL;
    n_classes = 0;
    classes_size = 0;
    return n;
}
