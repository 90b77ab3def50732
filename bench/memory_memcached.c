// What memory.c does, of a memcached: one is started on a socket of its own,
// with room for more than is stored.
//
//     memory_memcached [--entries N] [--program PATH] [--json FILE]
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/resident.h"

#define BYTES_OF_ENTRY 256  // room, more than enough
#define TRIES 200           // to connect, every 10 ms

static struct {
    size_t entries;
    const char *program;
    FILE *json;
} args = {.entries = 1000000, .program = "memcached"};

static pid_t start(const char *path) {
    char megabytes[32];
    pid_t pid;

    snprintf(megabytes, sizeof(megabytes), "%llu",
             (unsigned long long)(args.entries * BYTES_OF_ENTRY >> 20) + 64);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        execlp(args.program, args.program, "-u", "root", "-t", "1", "-m",
               megabytes, "-s", path, (char *)NULL);
        perror(args.program);
        _exit(127);
    }
    return pid;
}

static FILE *connect_to(const char *path, pid_t pid) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int i;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    for (i = 0; i < TRIES && waitpid(pid, NULL, WNOHANG) == 0; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
            return fdopen(fd, "r+");
        }
        close(fd);
        usleep(10000);
    }
    return NULL;
}

// Store all, and read how many there are.
static uint64_t store(FILE *f) {
    char line[256];
    unsigned long long n = 0;
    uint64_t i;

    for (i = 0; i < args.entries; i++) {
        char key[RESIDENT_KEY], value[RESIDENT_VALUE];
        resident_key(i, key);
        resident_value(i, value);
        fprintf(f, "set %.*s 0 0 %d noreply\r\n%.*s\r\n", RESIDENT_KEY, key,
                RESIDENT_VALUE, RESIDENT_VALUE, value);
    }
    fprintf(f, "stats\r\n");
    fflush(f);
    while (fgets(line, sizeof(line), f) != NULL &&
           strcmp(line, "END\r\n") != 0) {
        sscanf(line, "STAT curr_items %llu", &n);
    }
    return n;
}

static int measure(const char *path, pid_t pid) {
    FILE *f = connect_to(path, pid);
    double before;
    uint64_t n;

    if (f == NULL) {
        fprintf(stderr, "memory_memcached: %s doesn't answer\n", args.program);
        return 1;
    }
    before = resident_bytes(pid);
    n = store(f);
    if (n != args.entries) {
        fprintf(stderr, "memory_memcached: stored %llu, it has %llu\n",
                (unsigned long long)args.entries, (unsigned long long)n);
        return 1;
    }
    resident_print("memcached", "slabs", n, resident_bytes(pid) - before,
                   args.json);
    fclose(f);
    return 0;
}

int main(int argc, char **argv) {
    char path[64];
    const struct bench_option known[] = {{"--entries", .number = &args.entries},
                                         {"--program", .text = &args.program},
                                         {"--json", .file = &args.json},
                                         {.name = NULL}};
    pid_t pid;
    int failed;

    if (bench_options(argc, argv, 1, known) != argc || args.entries < 1000) {
        fprintf(stderr,
                "usage: memory_memcached [--entries N] [--program PATH] "
                "[--json FILE]\n");
        return 2;
    }
    snprintf(path, sizeof(path), "/tmp/memory_memcached.%ld", (long)getpid());
    pid = start(path);
    failed = pid < 0 || measure(path, pid);
    if (pid > 0) {
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
    unlink(path);
    return failed;
}
