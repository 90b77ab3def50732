// The exploration: which execution is next.
//
// An execution is a sequence of choices.  Where more than one agent is enabled
// the choice is recorded, as what differs from the usual one (the thread that
// ran last goes on; if it can't, the first that can); that is the replay of a
// failure.
#include "sync/sched.h"

#include "sync/sched_internal.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEFAULT_STEPS = 5000, DEFAULT_RANDOM = 100000 };

static struct sched_options options;
static struct sched_result *result;
static jmp_buf in_main;

// Of the execution that runs.
static enum { RUNNING, PASSED, REDUNDANT, FAILED, ANEW } outcome;
static int step;  // the last that was chosen; from 1
static int preemptions;
static int choices;  // how many steps had more than one enabled agent
static uint8_t choice[SCHED_MAX_STEPS + 1];  // the agent, or USUAL
enum { USUAL = 0xff };

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
static uint32_t priority[SCHED_AGENTS];
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
        if (change_at[i] <= (uint32_t)step) {
            change_at[i] = UINT32_MAX;
            priority[highest(enabled)] = (uint32_t)i;
        }
    }
    return highest(enabled);
}

static void draw_lots(void) {
    random_state = seed;
    if (options.mode == SCHED_PCT) {
        for (int i = 0; i < SCHED_AGENTS; i++) {
            priority[i] = 0x80000000u | (uint32_t)random_next();
        }
        for (int i = 0; i < n_changes(); i++) {
            change_at[i] = 1 + random_below(pct_steps);
        }
    }
}

// SCHED_EVERY, SCHED_BOUNDED -------------------------------------------------

// Up to this choice, all is as it was in the last execution.
static int repeated;
// What there was to choose from; what is still to be tried; what is being
// tried.
static sched_set offered[SCHED_MAX_STEPS + 1];
static sched_set to_try[SCHED_MAX_STEPS + 1];
static uint8_t tried[SCHED_MAX_STEPS + 1];

static int choose_every(sched_set enabled, int usual, int can_preempt) {
    if (choices > repeated) {
        sched_set set = enabled;
        if (!can_preempt) {  // but buffers may always drain
            set &= sched_bit_(usual) | ~(sched_set)0 << SYNC_SCHED_THREADS;
        }
        offered[choices] = enabled;
        to_try[choices] = set & ~sched_bit_(usual);
        tried[choices] = (uint8_t)usual;
    } else if (enabled != offered[choices]) {
        sched_fail_differs_();
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

void sched_fail_differs_(void) {
    sched_failf_("not deterministic: the same choices led elsewhere");
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
        int agent = sched_order_choose_(enabled, usual);
        if (agent == SCHED_NOBODY) {
            outcome = REDUNDANT;
            sched_stop_();
        }
        return agent;
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
    if (agent != usual) {
        choice[choices] = (uint8_t)agent;
        preemptions += can_go_on && agent < SYNC_SCHED_THREADS;
    }
    if (options.count_classes) {
        sched_order_choice_(agent);
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
    sched_order_reset_();
    sched_reset_(&options);
    if (setjmp(in_main) != 0) {
        return;
    }
    if (test->setup != NULL) {
        test->setup(test->arg);
    }
    sched_run_(test);
    if (outcome == RUNNING) {
        if (choices < repeated || sched_order_was_short_()) {
            sched_fail_differs_();
        }
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
            return sched_order_next_();
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
    if (options.max_steps > SCHED_MAX_STEPS) {
        options.max_steps = SCHED_MAX_STEPS;
    }
    if (options.max_executions == 0) {
        options.max_executions = is_random ? DEFAULT_RANDOM : UINT64_MAX;
    }
    if (options.tso > SCHED_BUFFER) {
        options.tso = SCHED_BUFFER;
    }
    options.count_classes &= options.mode == SCHED_EVERY;
    sched_order_begin_(options.mode, options.count_classes);
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
            sched_classes_forget_();
            r->executions = r->redundant = r->steps = 0;
            begin(o);
            continue;
        }
        r->steps += (uint64_t)step;
        r->executions += outcome != REDUNDANT;
        r->redundant += outcome == REDUNDANT;
        if (options.count_classes && outcome == PASSED) {
            sched_classes_count_();
        }
        more = outcome != FAILED && next();
    }
    r->complete = !more && !r->failed && options.replay == NULL;
    r->seconds = seconds() - start;
    r->classes = sched_classes_forget_();
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
