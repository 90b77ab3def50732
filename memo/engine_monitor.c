#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/reaper.h"
#include "memo/shard.h"

#include "sync/list.h"
#include "sync/monitor.h"

// The engine of confinement: the shards of a cache are owned by one monitor.  A
// step is sent to it as a message, and the caller waits for the reply.  What the
// step leaves to do (growing, sweeping, reclaiming) the monitor does after it has
// replied, so no caller pays for it; destructors and listeners are the reaper's.
//
// Hits are not messages: they read the same tables as with the other engine.
//
// The monitor holds the shard's mutex during a step, which nobody contends for.
// It is there for the end: values may outlive the cache, and their last release
// needs an owner when the monitor is gone.  Then it is whoever holds the mutex.

// What a loop that waits does of its own work between two looks, and how long it
// then sleeps.
#define STEPS_BETWEEN_LOOKS 64
#define NAP_NS (200 * 1000)

struct own_op {
    struct sync_op op;
    struct shard *shard;
    void (*step)(struct shard *s, void *arg);
    void *arg;
};

int memo_monitor_idle_(void *arg) {
    struct memo *m = arg;

    return memo_reaper_idle_(m->reaper);
}

// LIFETIME: op is gone after the reply, and so may be the caller's reason to keep
// the shard: hence the count.
static void run_step(struct sync_op *op) {
    struct own_op *own = SYNC_CONTAINER(op, struct own_op, op);
    struct shard *s = own->shard;
    struct entry *garbage;
    int tell;

    memo_shard_live_(s);
    sync_mutex_lock(&s->mu);
    own->step(s, own->arg);
    sync_op_reply(op);
    memo_tidy_owned_(s);
    garbage = s->garbage;
    s->garbage = NULL;
    s->garbage_bytes = 0;
    tell = memo_begin_to_tell_locked_(s);
    sync_mutex_unlock(&s->mu);
    memo_reaper_take_(s->memo->reaper, garbage);
    if (tell) {
        memo_reaper_tell_(s->memo->reaper, s);
    }
    memo_shard_gone_(s);
}

struct entry *memo_own_by_monitor_(struct shard *s,
                                   void (*step)(struct shard *s, void *arg),
                                   void *arg) {
    struct own_op own = {.op.run = run_step, .shard = s, .step = step,
                         .arg = arg};

    return sync_monitor_call(s->memo->monitor, &own.op) == 0
               ? NULL
               : memo_own_locked_(s, step, arg);
}

void memo_help_monitor_(struct memo *m) {
    memo_reaper_help_(m->reaper);
    if (sync_monitor_is_mine(m->monitor)) {
        memo_reaper_catch_up_(m->reaper);
    }
}

static int run_loop(struct memo *m, int max_steps) {
    int n = sync_monitor_run(m->monitor, max_steps);

    if (n > 0) {
        memo_reaper_catch_up_(m->reaper);
    }
    return n;
}

int64_t memo_run_own_loop_(struct memo *m) {
    int n;

    if (m->monitor == NULL || !sync_monitor_is_mine(m->monitor)) {
        return MEMO_NEVER;
    }
    n = run_loop(m, STEPS_BETWEEN_LOOKS);
    return n < 0 ? MEMO_NEVER : n > 0 ? 0 : NAP_NS;
}

int memo_monitor_fd(const struct memo *m) {
    int fd = m == NULL || m->monitor == NULL ? -1 : sync_monitor_fd(m->monitor);

    return fd < 0 ? MEMO_EINVAL : fd;
}

int memo_monitor_run(struct memo *m, int max_steps) {
    int n, done = 0;

    if (m == NULL || m->monitor == NULL) {
        return MEMO_EINVAL;
    }
    do {
        int left = max_steps - done;
        n = run_loop(m, left < STEPS_BETWEEN_LOOKS ? left : STEPS_BETWEEN_LOOKS);
        done += n > 0 ? n : 0;
    } while (n == STEPS_BETWEEN_LOOKS && done < max_steps);
    return n < 0 && done == 0 ? MEMO_EINVAL : done;
}
