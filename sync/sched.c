// The exploration: which execution is next.
//
// An execution is a sequence of choices.  Where more than one agent is enabled
// the choice is recorded, as what differs from the usual one (the thread that
// ran last goes on; if it can't, the first that can); that is the replay of a
// failure.
#include "sync/sched.h"

#include "sync/sched_internal.h"

#ifdef SYNC_SCHED

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_AGENTS = SCHED_AGENTS, MAX_STEPS = SCHED_MAX_STEPS };

enum { DEFAULT_STEPS = 5000, DEFAULT_RANDOM = 100000 };

static struct sched_options options;
static struct sched_result *result;
static jmp_buf in_main;

// Of the execution that runs.
static enum { RUNNING, PASSED, REDUNDANT, FAILED, ANEW } outcome;
static int step;  // the last that was chosen; from 1
static int preemptions;
static int choices;  // how many steps had more than one enabled agent
static uint8_t choice[MAX_STEPS + 1];  // the agent, or USUAL
enum { USUAL = 0xff };

// What all modes need of the next execution: how far it repeats the last one.
static int repeated;

int sched_minds_writes_;

void sched_mind_writes_(void) {
    if (!sched_minds_writes_) {
        sched_minds_writes_ = 1;
        outcome = ANEW;
        sched_stop_();
    }
}

// Randomness -----------------------------------------------------------------

static uint64_t random_state;

static uint64_t random_next(void) {  // splitmix64
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t random_below(uint32_t n) {
    return (uint32_t)(((random_next() >> 32) * n) >> 32);
}

// SCHED_RANDOM, SCHED_PCT ----------------------------------------------------

static uint64_t seed;           // of this execution
static uint32_t pct_steps = 1;  // how long an execution is thought to be
static uint32_t priority[MAX_AGENTS];
static uint32_t change_at[32];  // the steps at which the first becomes last

static int choose_random(sched_set enabled) {
    uint32_t n = random_below((uint32_t)__builtin_popcount(enabled));
    for (; n > 0; n--) {
        enabled &= enabled - 1;
    }
    return sched_first_(enabled);
}

static int n_changes(void) {
    int n = options.bound - 1;
    return n < 0 ? 0 : n > 32 ? 32 : n;
}

static int highest(sched_set enabled) {
    int best = sched_first_(enabled);
    for (; enabled != 0; enabled &= enabled - 1) {
        int i = sched_first_(enabled);
        best = priority[i] > priority[best] ? i : best;
    }
    return best;
}

static int choose_pct(sched_set enabled) {
    for (int i = 0; i < n_changes(); i++) {
        if (change_at[i] == (uint32_t)step) {
            priority[highest(enabled)] = (uint32_t)i;
        }
    }
    return highest(enabled);
}

static void draw_lots(void) {
    random_state = seed;
    if (options.mode == SCHED_PCT) {
        for (int i = 0; i < MAX_AGENTS; i++) {
            priority[i] = 0x80000000u | (uint32_t)random_next();
        }
        for (int i = 0; i < n_changes(); i++) {
            change_at[i] = 1 + random_below(pct_steps);
        }
    }
}

// SCHED_EVERY, SCHED_BOUNDED -------------------------------------------------

// What is still to be tried at each choice; the agent being tried.
static sched_set to_try[MAX_STEPS + 1];
static uint8_t tried[MAX_STEPS + 1];

static int choose_every(sched_set enabled, int usual, int can_preempt) {
    if (choices > repeated) {
        sched_set set = enabled;
        if (!can_preempt) {  // but buffers may always drain
            set &= sched_bit_(usual) | ~(sched_set)0 << SYNC_SCHED_THREADS;
        }
        to_try[choices] = set & ~sched_bit_(usual);
        tried[choices] = (uint8_t)usual;
    }
    return tried[choices];
}

static int next_every(void) {
    for (int i = choices; i > 0; i--) {
        if (to_try[i] != 0) {
            tried[i] = (uint8_t)sched_first_(to_try[i]);
            to_try[i] &= to_try[i] - 1;
            repeated = i;
            return 1;
        }
    }
    return 0;
}

// SCHED_ALL ------------------------------------------------------------------
//
// Of each set of executions that differ only in the order of steps that
// commute, one is run.  Steps are ordered ("happens before") if one agent made
// them, if the machine orders them, or if both touch one object and one writes.
// A step races with an earlier one if both touch an object and nothing else
// orders them: then, where the earlier one was chosen, an agent must be tried
// that leads to the opposite order.  An agent that was tried in a state sleeps
// in what comes after its siblings, until a step touches what its step touches.

struct stepped {
    int16_t before[MAX_AGENTS];  // for each agent its last step that happens
                                 // before this one, or is it; 0: none
    sched_set enabled;           // in the state in which the step was chosen
    sched_set to_try;            //   to be tried, those that were included
    sched_set asleep;            //   not to be tried
    int agent;
};

static struct stepped steps[MAX_STEPS + 1];
static int orders;        // whether steps are ordered at all
static sched_set asleep;  // in the state that the last step leads to
// What happens before an agent's next step, apart from races of that one.
static int16_t before[MAX_AGENTS][MAX_AGENTS];

static void join(int16_t *a, const int16_t *b) {
    for (int i = 0; i < MAX_AGENTS; i++) {
        a[i] = a[i] > b[i] ? a[i] : b[i];
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
    if (options.mode == SCHED_ALL && step >= repeated) {
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
    int16_t first[MAX_AGENTS] = {0};
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
    int step[2 * (MAX_AGENTS + 1)];
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
        int16_t clock[MAX_AGENTS];
        memcpy(clock, before[agent], sizeof clock);
        for (int i = 0; i < conflicts.n; i++) {
            join(clock, steps[conflicts.step[i]].before);
        }
        if (options.mode == SCHED_ALL) {
            find_races(&conflicts, agent, clock);
            asleep = still_asleep(s->asleep, agent, touch, n);
        }
        clock[agent] = (int16_t)step;
        memcpy(s->before, clock, sizeof clock);
    }
    memcpy(before[agent], s->before, sizeof before[agent]);
}

static int choose_all(sched_set enabled, int usual) {
    struct stepped *s = &steps[step];
    if (step > repeated) {
        sched_set awake = enabled & ~asleep;
        if (awake == 0) {
            outcome = REDUNDANT;
            sched_stop_();
        }
        s->agent = awake & sched_bit_(usual) ? usual : sched_first_(awake);
        s->enabled = enabled;
        s->to_try = sched_bit_(s->agent);
        s->asleep = asleep;
    }
    order_step(s->agent, step >= repeated);
    return s->agent;
}

static int next_all(void) {
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
    static int ordinal[MAX_STEPS + 1];
    int n[MAX_AGENTS] = {0};
    uint64_t sum = 1;
    for (int i = 1; i <= step; i++) {
        ordinal[i] = ++n[steps[i].agent];
        uint64_t h = (uint64_t)steps[i].agent;
        for (int a = 0; a < MAX_AGENTS; a++) {
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

static void count_class(void) {
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

static void forget_classes(void) {
    free(classes);
    classes = NULL;
    n_classes = 0;
    classes_size = 0;
}

// Replays --------------------------------------------------------------------
//
//   7b3A     7 usual choices, then thread b; 3 more, then the buffer of a
//   random:SEED          one execution of SCHED_RANDOM
//   pct:DEPTH:STEPS:SEED one execution of SCHED_PCT

static const char *path;  // what is left of the first form, or NULL
static long path_usual;   // how many usual choices come before it

static void read_path(void) {
    char *end;
    path_usual = strtol(path, &end, 10);
    path = end;
}

static int choose_replayed(sched_set enabled, int usual) {
    if (*path == '\0' || path_usual-- > 0) {
        return usual;
    }
    int c = (unsigned char)*path++;
    int agent = c >= 'a' && c <= 'p'   ? c - 'a'
                : c >= 'A' && c <= 'P' ? sched_buffer_of_(c - 'A')
                                       : 0;
    read_path();
    if (!(enabled & sched_bit_(agent))) {
        sched_failf_("the replay doesn't fit this test, at its %d. choice",
                     choices);
    }
    return agent;
}

static void read_replay(const char *text) {
    unsigned long long s = 0;
    unsigned steps_read = 0;
    if (strncmp(text, "SCHED_REPLAY=", 13) == 0) {
        text += 13;
    }
    path = NULL;
    if (sscanf(text, "random:%llx", &s) == 1) {
        options.mode = SCHED_RANDOM;
    } else if (sscanf(text, "pct:%d:%x:%llx", &options.bound, &steps_read,
                      &s) == 3) {
        options.mode = SCHED_PCT;
    } else {
        options.mode = SCHED_EVERY;
        path = text;
        read_path();
    }
    seed = s;
    pct_steps = steps_read;
}

static void write_replay(char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size, "SCHED_REPLAY=");
    if (options.mode == SCHED_RANDOM) {
        snprintf(text + n, size - n, "random:%llx", (unsigned long long)seed);
        return;
    }
    if (options.mode == SCHED_PCT) {
        snprintf(text + n, size - n, "pct:%d:%x:%llx", options.bound, pct_steps,
                 (unsigned long long)seed);
        return;
    }
    int usual = 0;
    for (int i = 1; i <= choices && n + 8 < size; i++) {
        if (choice[i] == USUAL) {
            usual++;
            continue;
        }
        if (usual > 0) {
            n += (size_t)snprintf(text + n, size - n, "%d", usual);
        }
        text[n++] = choice[i] < SYNC_SCHED_THREADS
                        ? (char)('a' + choice[i])
                        : (char)('A' + choice[i] - SYNC_SCHED_THREADS);
        text[n] = '\0';
        usual = 0;
    }
    if (strchr(text, '=')[1] == '\0') {
        snprintf(text + n, size - n, "0");
    }
}

// Failures -------------------------------------------------------------------

static void report(const char *verdict) {
    snprintf(result->verdict, sizeof result->verdict, "%s", verdict);
    write_replay(result->replay, sizeof result->replay);
    result->failed = 1;
    fprintf(stderr, "%s\n    %s\n", result->verdict, result->replay);
}

void sched_failf_(const char *format, ...) {
    char text[sizeof result->verdict];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (result == NULL) {
        fprintf(stderr, "outside of sched_explore(): %s\n", text);
        abort();
    }
    report(text);
    outcome = FAILED;
    if (sync_sched_self_ == SCHED_MAIN) {
        longjmp(in_main, 1);
    }
    sched_stop_();
}

void sched_fail_(const char *what, const char *where) {
    sched_failf_("%s: %s", what, where);
}

// The process dies of an execution: say which.
static void on_crash(int number, siginfo_t *info, void *context) {
    (void)context;
    if (result != NULL) {
        report(number == SIGABRT                ? "crash: abort"
               : sched_is_guard_(info->si_addr) ? "crash: stack overflow"
                                                : "crash: bad address");
    }
    signal(number, SIG_DFL);
    raise(number);
}

static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT};
enum { N_CRASHES = sizeof crashes / sizeof crashes[0] };

static void catch_crashes(struct sigaction old[N_CRASHES]) {
    static char stack[64 << 10];
    stack_t alternative = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_crash;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigaltstack(&alternative, NULL);
    for (int i = 0; i < N_CRASHES; i++) {
        sigaction(crashes[i], &action, &old[i]);
    }
}

static void leave_crashes(const struct sigaction old[N_CRASHES]) {
    for (int i = 0; i < N_CRASHES; i++) {
        sigaction(crashes[i], &old[i], NULL);
    }
}

// Executions -----------------------------------------------------------------

static void tell(int agent) {
    char text[256];
    sched_describe_(agent, text, sizeof text);
    fprintf(options.trace, "%4d  %c  %s\n", step,
            agent < SYNC_SCHED_THREADS ? 'a' + agent
                                       : 'A' + agent - SYNC_SCHED_THREADS,
            text);
}

static int choose(sched_set enabled, int usual, int is_preemption) {
    if (options.mode == SCHED_ALL) {
        return choose_all(enabled, usual);
    }
    if ((enabled & (enabled - 1)) == 0) {
        return usual;
    }
    if (path != NULL) {
        return choose_replayed(enabled, usual);
    }
    switch (options.mode) {
        case SCHED_RANDOM:
            return choose_random(enabled);
        case SCHED_PCT:
            return choose_pct(enabled);
        case SCHED_BOUNDED:
            return choose_every(enabled, usual,
                                !is_preemption || preemptions < options.bound);
        default:
            return choose_every(enabled, usual, 1);
    }
}

int sched_choose_(sched_set enabled, int current) {
    if ((uint32_t)++step > options.max_steps) {
        step--;
        sched_failf_("livelock: more than %u steps", options.max_steps);
    }
    int can_go_on = current != SCHED_NOBODY && enabled & sched_bit_(current);
    int usual = can_go_on ? current : sched_first_(enabled);
    if (enabled & (enabled - 1)) {
        choice[++choices] = USUAL;
    }
    int agent = choose(enabled, usual, can_go_on);
    if (!(enabled & sched_bit_(agent))) {
        sched_failf_("the test isn't deterministic: see sync/sched.h");
    }
    if (agent != usual) {
        choice[choices] = (uint8_t)agent;
        preemptions += can_go_on && agent < SYNC_SCHED_THREADS;
    }
    if (options.count_classes) {
        order_step(agent, 1);
    }
    if (options.trace != NULL && options.replay != NULL) {
        tell(agent);
    }
    return agent;
}

static void execute(const struct sched_test *test) {
    outcome = RUNNING;
    step = 0;
    choices = 0;
    preemptions = 0;
    if (orders) {
        asleep = 0;
        memset(before, 0, sizeof before);
    }
    sched_reset_(&options);
    if (setjmp(in_main) != 0) {
        return;
    }
    if (test->setup != NULL) {
        test->setup(test->arg);
    }
    sched_run_(test);
    if (outcome == RUNNING) {
        if (test->check != NULL) {
            test->check(test->arg);
        }
        outcome = PASSED;
    }
}

// Prepare the next execution; return 0 if there is none.
static int next(void) {
    switch (options.mode) {
        case SCHED_ALL:
            return next_all();
        case SCHED_RANDOM:
        case SCHED_PCT:
            while (pct_steps < (uint32_t)step) {
                pct_steps *= 2;
            }
            seed++;
            draw_lots();
            return 1;
        default:
            return next_every();
    }
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void begin(const struct sched_options *o) {
    options = *o;
    int is_random = options.mode == SCHED_RANDOM || options.mode == SCHED_PCT;
    if (options.max_steps == 0) {
        options.max_steps = DEFAULT_STEPS;
    }
    if (options.max_steps > MAX_STEPS) {
        options.max_steps = MAX_STEPS;
    }
    if (options.max_executions == 0) {
        options.max_executions = is_random ? DEFAULT_RANDOM : UINT64_MAX;
    }
    if (options.tso > SCHED_BUFFER) {
        options.tso = SCHED_BUFFER;
    }
    options.count_classes &= options.mode == SCHED_EVERY;
    orders = options.mode == SCHED_ALL || options.count_classes;
    path = NULL;
    repeated = 0;
    pct_steps = 32;
    // Neighbouring seeds share no executions.
    random_state = options.seed;
    seed = random_next();
    if (options.replay != NULL) {
        options.max_executions = 1;
        read_replay(options.replay);
    }
    draw_lots();
}

void sched_explore(const struct sched_options *o, const struct sched_test *test,
                   struct sched_result *r) {
    struct sigaction old[N_CRASHES];
    *r = (struct sched_result){.verdict = "ok"};
    result = r;
    sched_minds_writes_ = 0;
    begin(o);
    catch_crashes(old);
    double start = seconds();
    int more = 1;
    while (more && r->executions < options.max_executions) {
        execute(test);
        if (outcome == ANEW) {
            forget_classes();
            r->executions = r->redundant = r->steps = 0;
            begin(o);
            continue;
        }
        r->steps += (uint64_t)step;
        r->executions += outcome != REDUNDANT;
        r->redundant += outcome == REDUNDANT;
        if (options.count_classes && outcome == PASSED) {
            count_class();
        }
        more = outcome != FAILED && next();
    }
    r->complete = !more && !r->failed && options.replay == NULL;
    r->seconds = seconds() - start;
    r->classes = n_classes;
    forget_classes();
    leave_crashes(old);
    result = NULL;
}

void sched_print(const char *name, const struct sched_result *r) {
    printf(
        "%s: %s; %llu executions%s, %llu redundant, %.1f steps each, "
        "%.2f s, %.2f M/s\n",
        name, r->verdict, (unsigned long long)r->executions,
        r->complete ? " (complete)" : "", (unsigned long long)r->redundant,
        (double)r->steps / (double)(r->executions + r->redundant), r->seconds,
        (double)(r->executions + r->redundant) / r->seconds * 1e-6);
}

#endif  // SYNC_SCHED
