// Many threads ask for one key whose load takes 50 ms and does not end before
// all have asked: how many loads run, when the last one is awake, when the
// thread that loaded is back, and what a waiter costs in memory.
//
//     stampede [--system memo|memo-async|condition] [--waiters N]
//              [--key slow|failing|invalidated] [--load-ms N] [--json FILE]
//
// The load of a failing key ends in an error, which everybody gets.  The other is
// invalidated when half of them wait: then a second load runs, for the other half.
//
// memo-async waits by callbacks instead of threads.  condition is what one
// writes without a library: a mutex, a condition variable, and a broadcast at
// the end.  Memory of a waiter is what the process and the kernel's stacks and
// page tables grow by, its thread included; of a callback, what malloc gave.
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "memo/memo.h"

#define STACK_SIZE ((size_t)64 << 10)
#define VALUE_SIZE 64
#define FAILURE 7

enum key { SLOW, FAILING, INVALIDATED };

static const char *const key_names[] = {"slow", "failing", "invalidated"};

struct stampede {
    void (*get)(struct stampede *s);
    enum key key;
    int waiters, load_ms;
    atomic_int arrived, loads;
    atomic_llong load_end;  // of the last
    int64_t back_ns;        // from the end of the first until its thread is back
    long before;  // bytes
    atomic_long during;
    struct memo *memo;
    struct memo_load *pending[2];
    pthread_mutex_t mutex;
    pthread_cond_t done;
    int started, finished;
};

struct waiter {
    struct stampede *s;
    int64_t awake;
};

static long number_in(const char *file, const char *word) {
    FILE *f = fopen(file, "r");
    char line[256];
    long n = 0;

    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, word, strlen(word)) == 0) {
            n = atol(line + strlen(word));
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return n;
}

static long memory(void) {
    return 1024 * (number_in("/proc/self/status", "VmRSS:") +
                   number_in("/proc/meminfo", "KernelStack:") +
                   number_in("/proc/meminfo", "PageTables:"));
}

static _Thread_local int64_t own_end;  // of the load in this thread

static void slow(struct stampede *s) {
    int64_t begin = bench_now_ns();

    atomic_fetch_add(&s->loads, 1);
    while (atomic_load(&s->arrived) < s->waiters ||
           bench_now_ns() - begin < s->load_ms * INT64_C(1000000)) {
        usleep(1000);
    }
    // The last to have arrived is given time to fall asleep.
    usleep(20000);
    s->during = memory();
    own_end = bench_now_ns();
    atomic_store(&s->load_end, own_end);
}

static int load(void *arg, struct memo_load *l) {
    static const char value[VALUE_SIZE];

    slow(arg);
    return ((struct stampede *)arg)->key == FAILING
               ? FAILURE
               : memo_load_return(l, value, sizeof(value));
}

// What everybody must get.
static void check_answer(const struct stampede *s, int error,
                         const struct memo_value *v) {
    if (s->key == FAILING ? error != FAILURE
                          : error != 0 || v->size != VALUE_SIZE) {
        abort();
    }
}

static void get_memo(struct stampede *s) {
    struct memo_value v;
    int error = memo_get(s->memo, "key", 3, &v);

    check_answer(s, error, &v);
    memo_release(&v);
}

// Invalidate the key when so many calls have joined its load.
static void invalidate_when_joined(struct stampede *s, uint64_t joined) {
    struct memo_stats stats = {.size = sizeof(stats)};

    while (memo_stats(s->memo, &stats) == 0 && stats.joins < joined) {
        usleep(1000);
    }
    if (memo_invalidate(s->memo, "key", 3) != 0) {
        abort();
    }
}

// Leaves the load to whoever set s->pending free.
static int load_later(void *arg, struct memo_load *l) {
    struct stampede *s = arg;

    s->pending[atomic_fetch_add(&s->loads, 1)] = l;
    return MEMO_PENDING;
}

// What a callback has for itself is where to say when; the rest is the same for
// all of them.
static const struct stampede *called_by;

static void called_back(void *arg, int error, struct memo_value *v) {
    int64_t *awake = arg;

    *awake = bench_now_ns();
    check_answer(called_by, error, v);
    memo_release(v);
}

static void finish(struct stampede *s, struct memo_load *l) {
    static const char value[VALUE_SIZE];

    if ((s->key != FAILING &&
         memo_load_return(l, value, sizeof(value)) != 0) ||
        memo_load_finish(l, s->key == FAILING ? FAILURE : 0) != 0) {
        abort();
    }
}

static int64_t run_async(struct stampede *s) {
    int64_t *awake = calloc((size_t)s->waiters, sizeof(*awake)), last = 0;
    int i;

    if (awake == NULL) {
        exit(1);
    }
    called_by = s;
    s->before = (long)mallinfo2().uordblks;
    for (i = 0; i < s->waiters; i++) {
        if (s->key == INVALIDATED && i == s->waiters / 2) {
            invalidate_when_joined(s, (uint64_t)i - 1);
        }
        if (memo_get_async(s->memo, "key", 3, NULL, called_back, &awake[i],
                           NULL) != 0) {
            abort();
        }
    }
    usleep((unsigned)s->load_ms * 1000);
    s->during = (long)mallinfo2().uordblks;
    atomic_store(&s->load_end, bench_now_ns());
    for (i = 0; i < atomic_load(&s->loads); i++) {
        finish(s, s->pending[i]);
    }
    s->back_ns = bench_now_ns() - atomic_load(&s->load_end);
    for (i = 0; i < s->waiters; i++) {
        last = awake[i] > last ? awake[i] : last;
    }
    free(awake);
    return last;
}

static void get_condition(struct stampede *s) {
    pthread_mutex_lock(&s->mutex);
    if (s->started) {
        while (!s->finished) {
            pthread_cond_wait(&s->done, &s->mutex);
        }
        pthread_mutex_unlock(&s->mutex);
        return;
    }
    s->started = 1;
    pthread_mutex_unlock(&s->mutex);
    slow(s);
    pthread_mutex_lock(&s->mutex);
    s->finished = 1;
    pthread_mutex_unlock(&s->mutex);
    pthread_cond_broadcast(&s->done);
}

static void *wait_for_it(void *arg) {
    struct waiter *w = arg;

    atomic_fetch_add(&w->s->arrived, 1);
    w->s->get(w->s);
    w->awake = bench_now_ns();
    return NULL;
}

static void *load_it(void *arg) {
    struct stampede *s = arg;

    s->get(s);
    s->back_ns = bench_now_ns() - own_end;
    return NULL;
}

static pthread_t start(const pthread_attr_t *attr, void *(*f)(void *),
                       void *arg) {
    pthread_t thread;

    if (pthread_create(&thread, attr, f, arg) != 0) {
        fprintf(stderr, "stampede: cannot start as many threads\n");
        exit(1);
    }
    return thread;
}

static int64_t run(struct stampede *s) {
    struct waiter *w = calloc((size_t)s->waiters, sizeof(*w));
    pthread_t *thread = calloc((size_t)s->waiters, sizeof(*thread));
    pthread_t loader;
    pthread_attr_t attr;
    int64_t last = 0;
    int i;

    if (w == NULL || thread == NULL) {
        exit(1);
    }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    s->before = memory();
    loader = start(&attr, load_it, s);
    while (atomic_load(&s->loads) == 0) {
        usleep(100);
    }
    for (i = 0; i < s->waiters; i++) {
        if (s->key == INVALIDATED && i == s->waiters / 2) {
            invalidate_when_joined(s, (uint64_t)i);
        }
        w[i].s = s;
        thread[i] = start(&attr, wait_for_it, &w[i]);
    }
    pthread_join(loader, NULL);
    for (i = 0; i < s->waiters; i++) {
        pthread_join(thread[i], NULL);
        last = w[i].awake > last ? w[i].awake : last;
    }
    pthread_attr_destroy(&attr);
    free(thread);
    free(w);
    return last;
}

static enum key key_named(const char *name) {
    int key = SLOW;

    while (key <= INVALIDATED && strcmp(key_names[key], name) != 0) {
        key++;
    }
    return (enum key)key;
}

int main(int argc, char **argv) {
    struct stampede s = {.get = get_memo,
                         .waiters = 10000,
                         .load_ms = 50,
                         .mutex = PTHREAD_MUTEX_INITIALIZER,
                         .done = PTHREAD_COND_INITIALIZER};
    struct memo_options options = {
        .size = sizeof(options), .load = load, .load_arg = &s};
    const char *system = "memo", *key = key_names[SLOW];
    FILE *json = NULL;
    const struct bench_option known[] = {{"--system", .text = &system},
                                         {"--waiters", .integer = &s.waiters},
                                         {"--key", .text = &key},
                                         {"--load-ms", .integer = &s.load_ms},
                                         {"--json", .file = &json},
                                         {.name = NULL}};
    double last_us, published_us;
    int64_t last;
    int i;

    i = bench_options(argc, argv, 1, known);
    s.key = key_named(key);
    if (strcmp(system, "condition") == 0) {
        s.get = get_condition;
    } else if (strcmp(system, "memo-async") == 0) {
        options.load = load_later;
    } else if (strcmp(system, "memo") != 0) {
        i = 0;
    }
    if (i != argc || s.waiters < 4 || s.key > INVALIDATED ||
        (s.key != SLOW && s.get == get_condition)) {
        fprintf(stderr,
                "usage: stampede [--system memo|memo-async|condition] "
                "[--waiters N]\n"
                "                [--key slow|failing|invalidated] "
                "[--load-ms N] [--json FILE]\n");
        return 2;
    }
    if (memo_new(&options, &s.memo) != 0) {
        return 1;
    }
    last = options.load == load_later ? run_async(&s) : run(&s);
    last_us = (double)(last - atomic_load(&s.load_end)) / 1e3;
    published_us = (double)s.back_ns / 1e3;
    printf(
        "stampede %-10s %-11s key  %d waiters  %d load%s  last awake %.1f ms  "
        "loader back %.1f us  %ld bytes a waiter\n",
        system, key_names[s.key], s.waiters, s.loads, s.loads == 1 ? "" : "s", last_us / 1e3, published_us,
        (s.during - s.before) / s.waiters);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"stampede%s%s\",\"system\":\"%s\","
                "\"language\":\"C\","
                "\"version\":\"%d.%d.%d\",\"waiters\":%d,\"loads\":%d,"
                "\"last_us\":%.1f,\"publish_us\":%.1f,"
                "\"bytes_per_waiter\":%ld}\n",
                s.key == SLOW ? "" : "-",
                s.key == SLOW ? "" : key_names[s.key], system,
                MEMO_VERSION_MAJOR, MEMO_VERSION_MINOR,
                MEMO_VERSION_PATCH, s.waiters, s.loads, last_us, published_us,
                (s.during - s.before) / s.waiters);
        fclose(json);
    }
    memo_free(s.memo);
    return s.loads != (s.key == INVALIDATED ? 2 : 1);
}
