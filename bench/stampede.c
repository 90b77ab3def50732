// Many threads ask for one key whose load takes 50 ms and does not end before
// all have asked: how many loads run, when the last one is awake, when the
// thread that loaded is back, and what a waiter costs in memory.
//
//     stampede [--system memo|memo-async|condition] [--waiters N]
//              [--load-ms N] [--json FILE]
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

struct stampede {
    void (*get)(struct stampede *s);
    int waiters, load_ms;
    atomic_int arrived, loads;
    int64_t load_end, published;
    long before, during;  // bytes
    struct memo *memo;
    struct memo_load *pending;
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
    s->load_end = bench_now_ns();
}

static int load(void *arg, struct memo_load *l) {
    static const char value[VALUE_SIZE];

    slow(arg);
    return memo_load_return(l, value, sizeof(value));
}

static void get_memo(struct stampede *s) {
    struct memo_value v;

    if (memo_get(s->memo, "key", 3, &v) != 0 || v.size != VALUE_SIZE) {
        abort();
    }
    memo_release(&v);
}

// Leaves the load to whoever set s->pending free.
static int load_later(void *arg, struct memo_load *l) {
    struct stampede *s = arg;

    atomic_fetch_add(&s->loads, 1);
    s->pending = l;
    return MEMO_PENDING;
}

static void called_back(void *arg, int error, struct memo_value *v) {
    int64_t *awake = arg;

    *awake = bench_now_ns();
    if (error != 0 || v->size != VALUE_SIZE) {
        abort();
    }
    memo_release(v);
}

static int64_t run_async(struct stampede *s) {
    static const char value[VALUE_SIZE];
    int64_t *awake = calloc((size_t)s->waiters, sizeof(*awake)), last = 0;
    int i;

    if (awake == NULL) {
        exit(1);
    }
    s->before = (long)mallinfo2().uordblks;
    for (i = 0; i < s->waiters; i++) {
        if (memo_get_async(s->memo, "key", 3, NULL, called_back, &awake[i],
                           NULL) != 0) {
            abort();
        }
    }
    usleep((unsigned)s->load_ms * 1000);
    s->during = (long)mallinfo2().uordblks;
    s->load_end = bench_now_ns();
    if (memo_load_return(s->pending, value, sizeof(value)) != 0 ||
        memo_load_finish(s->pending, 0) != 0) {
        abort();
    }
    s->published = bench_now_ns();
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
    s->published = bench_now_ns();
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

int main(int argc, char **argv) {
    struct stampede s = {.get = get_memo,
                         .waiters = 10000,
                         .load_ms = 50,
                         .mutex = PTHREAD_MUTEX_INITIALIZER,
                         .done = PTHREAD_COND_INITIALIZER};
    struct memo_options options = {
        .size = sizeof(options), .load = load, .load_arg = &s};
    const char *system = "memo";
    FILE *json = NULL;
    double last_us, published_us;
    int64_t last;
    int i;

    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--system") == 0) {
            system = argv[i + 1];
        } else if (strcmp(argv[i], "--waiters") == 0) {
            s.waiters = atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--load-ms") == 0) {
            s.load_ms = atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--json") == 0) {
            json = fopen(argv[i + 1], "a");
        } else {
            break;
        }
    }
    if (strcmp(system, "condition") == 0) {
        s.get = get_condition;
    } else if (strcmp(system, "memo-async") == 0) {
        options.load = load_later;
    } else if (strcmp(system, "memo") != 0) {
        i = 0;
    }
    if (i != argc || s.waiters < 1) {
        fprintf(stderr,
                "usage: stampede [--system memo|memo-async|condition] "
                "[--waiters N] [--load-ms N] [--json FILE]\n");
        return 2;
    }
    if (memo_new(&options, &s.memo) != 0) {
        return 1;
    }
    last = options.load == load_later ? run_async(&s) : run(&s);
    last_us = (double)(last - s.load_end) / 1e3;
    published_us = (double)(s.published - s.load_end) / 1e3;
    printf(
        "stampede %-10s %d waiters  %d load  last awake %.1f ms  "
        "loader back %.1f us  %ld bytes a waiter\n",
        system, s.waiters, s.loads, last_us / 1e3, published_us,
        (s.during - s.before) / s.waiters);
    if (json != NULL) {
        fprintf(json,
                "{\"bench\":\"stampede\",\"system\":\"%s\",\"language\":\"C\","
                "\"version\":\"%d.%d.%d\",\"waiters\":%d,\"loads\":%d,"
                "\"last_us\":%.1f,\"publish_us\":%.1f,"
                "\"bytes_per_waiter\":%ld}\n",
                system, MEMO_VERSION_MAJOR, MEMO_VERSION_MINOR,
                MEMO_VERSION_PATCH, s.waiters, s.loads, last_us, published_us,
                (s.during - s.before) / s.waiters);
        fclose(json);
    }
    memo_free(s.memo);
    return s.loads != 1;
}
