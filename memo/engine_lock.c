#include "memo/engine.h"
#include "memo/shard.h"

// The engine of mutual exclusion: the owner of a shard is whoever holds its
// mutex.  The step, and what it leaves to do, run in the caller's thread.

struct entry *memo_own_locked_(struct shard *s,
                               void (*step)(struct shard *s, void *arg),
                               void *arg) {
    struct entry *garbage;

    sync_mutex_lock(&s->mu);
    step(s, arg);
    memo_tidy_owned_(s);
    garbage = memo_take_garbage_owned_(s);
    sync_mutex_unlock(&s->mu);
    return garbage;
}
