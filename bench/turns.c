// Measures hits in many programs at once, each a process of its own that has
// filled its cache with the same keys (see serve.c for what is said to them).
//
//     turns [--rounds N] [--ops N] [--json FILE] [--reference NAME]
//           FOLDER KIND PROGRAM...
//
// Noise on a shared machine comes and goes over seconds.  So the programs run
// in turns of some milliseconds, one after the other, in another order in each
// round; a turn's time is divided by that of the reference in the same round.
// Printed are the median of these ratios and their quartiles, and the medians
// of the times.  A program that cannot start, dies, or returns other values
// than the first one is named and left out.
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

#define MOST_PROGRAMS 64
#define MOST_ROUNDS 1000
#define PATIENCE_MS 300000

struct program {
    const char *path;
    const char *name;
    char language[32];
    char version[32];
    pid_t pid;  // 0: left out
    int to;
    FILE *from;
    double ns[MOST_ROUNDS];
    double mean_ns[MOST_ROUNDS];
};

static struct program programs[MOST_PROGRAMS];
static int n_programs;
static struct program *reference;
static FILE *json;

static void leave_out(struct program *p, const char *why) {
    printf("# %s is left out: %s\n", p->name, why);
    if (p->pid != 0) {
        close(p->to);
        fclose(p->from);
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
        p->pid = 0;
    }
}

// Reads one line of p, or leaves it out.
static int answer(struct program *p, char *line, int size) {
    struct pollfd fd = {.fd = fileno(p->from), .events = POLLIN};

    if (poll(&fd, 1, PATIENCE_MS) != 1) {
        leave_out(p, "it does not answer");
        return 0;
    }
    if (fgets(line, size, p->from) == NULL) {
        leave_out(p, "it has ended");
        return 0;
    }
    return 1;
}

static void start(struct program *p, const char *folder, const char *kind,
                  const char *capacity) {
    int in[2], out[2];
    char line[256];

    if (pipe(in) != 0 || pipe(out) != 0 || (p->pid = fork()) < 0) {
        perror("turns");
        exit(1);
    }
    if (p->pid == 0) {
        int i;
        dup2(in[0], 0);
        dup2(out[1], 1);
        // Another program's pipe kept open here would hide its end.
        for (i = 3; i < 256; i++) {
            close(i);
        }
        execl(p->path, p->path, folder, kind, capacity, (char *)NULL);
        perror(p->path);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->to = in[1];
    p->from = fdopen(out[0], "r");
    if (answer(p, line, sizeof(line)) &&
        sscanf(line, "%31s %31s", p->language, p->version) != 2) {
        leave_out(p, "it does not say what it is");
    }
}

// Returns the time of an operation of p: the median, and in *mean_ns the mean.
static double turn(struct program *p, const char *request, double *mean_ns,
                   uint64_t *sum) {
    size_t size = strlen(request);
    unsigned long long s;
    char line[256];
    double ns;

    if (p->pid == 0) {
        return NAN;
    }
    if (write(p->to, request, size) != (ssize_t)size) {
        leave_out(p, "it does not listen");
        return NAN;
    }
    if (!answer(p, line, sizeof(line))) {
        return NAN;
    }
    if (sscanf(line, "%lf %lf %llu", &ns, mean_ns, &s) != 3) {
        leave_out(p, "it does not make sense");
        return NAN;
    }
    *sum = s;
    return ns;
}

static void one_round(int round, const char *request, uint64_t *random) {
    int order[MOST_PROGRAMS], i;
    uint64_t sum[MOST_PROGRAMS] = {0};

    for (i = 0; i < n_programs; i++) {
        int j = (int)(bench_random(random) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (i = 0; i < n_programs; i++) {
        struct program *p = &programs[order[i]];
        double mean_ns = NAN;
        double ns = turn(p, request, &mean_ns, &sum[order[i]]);
        if (round >= 0) {
            p->ns[round] = ns;
            p->mean_ns[round] = mean_ns;
        }
    }
    for (i = 1; i < n_programs; i++) {
        if (programs[i].pid != 0 && sum[i] != sum[0]) {
            leave_out(&programs[i], "it returned other values");
        }
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void report(struct program *p, const char *kind, const char *pattern,
                   int threads, int rounds) {
    double ratio[MOST_ROUNDS], ns[MOST_ROUNDS], mean_ns[MOST_ROUNDS];
    int n = rounds, i;

    if (p->pid == 0) {
        return;
    }
    for (i = 0; i < n; i++) {
        ns[i] = p->ns[i];
        mean_ns[i] = p->mean_ns[i];
        ratio[i] = p->ns[i] / reference->ns[i];
    }
    qsort(ns, (size_t)n, sizeof(*ns), by_value);
    qsort(mean_ns, (size_t)n, sizeof(*ns), by_value);
    qsort(ratio, (size_t)n, sizeof(*ratio), by_value);
    printf("hit %-4s %-8s %d  %-18s %8.3f  [%7.3f %7.3f]  %9.1f ns\n", kind,
           pattern, threads, p->name, ratio[n / 2], ratio[n / 4],
           ratio[n * 3 / 4], ns[n / 2]);
    if (json == NULL) {
        return;
    }
    fprintf(json,
            "{\"bench\":\"hit\",\"keys\":\"%s\",\"pattern\":\"%s\","
            "\"threads\":%d,\"system\":\"%s\",\"language\":\"%s\","
            "\"version\":\"%s\",\"reference\":\"%s\",\"ratio\":%.4f,"
            "\"ratio_q1\":%.4f,\"ratio_q3\":%.4f,\"ns\":%.2f,\"ns_q1\":%.2f,"
            "\"ns_q3\":%.2f,\"mean_ns\":%.2f,\"rounds\":[",
            kind, pattern, threads, p->name, p->language, p->version,
            reference->name, ratio[n / 2], ratio[n / 4], ratio[n * 3 / 4],
            ns[n / 2], ns[n / 4], ns[n * 3 / 4], mean_ns[n / 2]);
    for (i = 0; i < n; i++) {
        fprintf(json, "%s%.2f", i == 0 ? "" : ",", p->ns[i]);
    }
    fprintf(json, "]}\n");
    fflush(json);
}

static void compare(const char *kind, const char *pattern, int threads,
                    int rounds, size_t ops, size_t stream) {
    uint64_t random = 99;
    int round, i;

    // The first rounds do not count: they are the last of the warming up.
    for (round = -2; round < rounds; round++) {
        char request[128];
        size_t offset = bench_random(&random) % (stream - 2 * ops);
        snprintf(request, sizeof(request), "%s %d %zu %zu %zu\n", pattern,
                 threads, offset, ops, ops);
        one_round(round, request, &random);
    }
    for (i = 0; i < n_programs; i++) {
        report(&programs[i], kind, pattern, threads, rounds);
    }
    fflush(stdout);
}

static size_t file_size(const char *folder, const char *name) {
    char path[4096];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (stat(path, &st) != 0) {
        perror(path);
        exit(1);
    }
    return (size_t)st.st_size;
}

static void start_all(const char *folder, const char *kind,
                      const char *wanted) {
    size_t n_keys = file_size(folder, "k16.keys") / 16;
    char capacity[32];
    int i;

    // Room for an eighth more than there is: full enough for a policy to be at
    // work, and not so full that a shard of it would evict.
    snprintf(capacity, sizeof(capacity), "%zu", n_keys + n_keys / 8);
    signal(SIGPIPE, SIG_IGN);
    reference = &programs[0];
    for (i = 0; i < n_programs; i++) {
        struct program *p = &programs[i];
        const char *slash = strrchr(p->path, '/');
        p->name = slash == NULL ? p->path : slash + 1;
        start(p, folder, kind, capacity);
        if (wanted != NULL && strcmp(p->name, wanted) == 0) {
            reference = p;
        }
    }
}

static void stop_all(void) {
    int i;

    for (i = 0; i < n_programs; i++) {
        if (programs[i].pid != 0) {
            close(programs[i].to);
            fclose(programs[i].from);
            waitpid(programs[i].pid, NULL, 0);
        }
    }
}

static int usage(void) {
    fprintf(stderr,
            "usage: turns [--rounds N] [--ops N] [--json FILE] [--reference "
            "NAME] FOLDER KIND PROGRAM...\n");
    return 2;
}

int main(int argc, char **argv) {
    static const char *const patterns[] = {"uniform", "zipf", "hot"};
    const char *wanted = NULL;
    int rounds = 15, i, p, threads;
    size_t ops = 65536, stream;
    const struct bench_option known[] = {{"--rounds", .integer = &rounds},
                                         {"--ops", .number = &ops},
                                         {"--reference", .text = &wanted},
                                         {"--json", .file = &json},
                                         {.name = NULL}};

    i = bench_options(argc, argv, 1, known);
    n_programs = argc - i - 2;
    if (n_programs < 1 || n_programs > MOST_PROGRAMS || rounds < 1 ||
        rounds > MOST_ROUNDS || ops < 1) {
        return usage();
    }
    stream = file_size(argv[i], "uniform.0") / sizeof(uint32_t);
    if (4 * ops >= stream) {
        ops = stream / 8;
    }
    for (p = 0; p < n_programs; p++) {
        programs[p].path = argv[i + 2 + p];
    }
    start_all(argv[i], argv[i + 1], wanted);
    for (p = 0; p < 3; p++) {
        for (threads = 1; threads <= 2; threads++) {
            // Hits on one key are quick.
            compare(argv[i + 1], patterns[p], threads, rounds,
                    p == 2 ? 2 * ops : ops, stream);
        }
    }
    stop_all();
    if (json != NULL) {
        fclose(json);
    }
    return programs[0].pid == 0;
}
