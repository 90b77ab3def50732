// Runs the scenarios of a protocol test against a mutant: exit status 0 if one
// of them fails, 1 if the mutant survives them all.
//
// Each scenario has a process of its own, for a mutant may also crash.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/support/sched_cases.h"

static int fails(const struct sched_case *c) {
    struct sched_result result;
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        sched_explore(&c->options, &c->test, &result);
        _exit(result.failed);
    }
    waitpid(child, &status, 0);
    return status != 0;
}

int main(void) {
    for (int i = 0; i < sched_n_cases; i++) {
        if (fails(&sched_cases[i])) {
            printf("killed by %s.%s\n", sched_suite, sched_cases[i].name);
            return 0;
        }
    }
    printf("SURVIVES\n");
    return 1;
}
