// Who owns a shard: engine_lock.c, engine_monitor.c.
#ifndef MEMO_MEMO_ENGINE_H_
#define MEMO_MEMO_ENGINE_H_

#include "memo/entry.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/shard.h"
#include "sync/annotate.h"
#include "sync/atomic.h"

// Two answers to the question who may write a shard: engine_lock.c, the caller,
// under the shard's mutex; engine_monitor.c, the one monitor that it is confined
// to.  Either runs step(s, arg) as the owner of s, then memo_tidy_owned_(s), then
// gives ownership up, and returns what the caller is to destroy of s->garbage.
struct entry *memo_own_locked_(struct shard *s,
                               void (*step)(struct shard *s, void *arg),
                               void *arg);
struct entry *memo_own_by_monitor_(struct shard *s,
                                   void (*step)(struct shard *s, void *arg),
                                   void *arg);

// Destroy something for the monitor, if it has fallen behind with that.
void memo_help_monitor_(struct memo *m);

// For those who have something to do first.
SYNC_INLINE struct entry *memo_own_only_(struct shard *s,
                                         void (*step)(struct shard *s,
                                                      void *arg),
                                         void *arg) {
    if (SYNC_UNLIKELY(SYNC_LOAD(&s->memo->left_behind) != NULL)) {
        memo_settle_(s->memo);
    }
    return s->memo->monitor == NULL ? memo_own_locked_(s, step, arg)
                                    : memo_own_by_monitor_(s, step, arg);
}

// What is left to do, with nothing owned: what that returned is destroyed, who
// destroys for a monitor is helped, a listener told.  CALLBACK.
//
// LIFETIME: the caller keeps the shard.
SYNC_INLINE void memo_do_rest_(struct shard *s, struct entry *garbage) {
    memo_drop_garbage_(garbage);
    if (s->memo->monitor != NULL) {
        memo_help_monitor_(s->memo);
    }
    memo_tell_(s);
}

SYNC_INLINE void memo_own_(struct shard *s,
                           void (*step)(struct shard *s, void *arg),
                           void *arg) {
    memo_do_rest_(s, memo_own_only_(s, step, arg));
}

// What the monitor does when it has nothing better to do.
int memo_monitor_idle_(void *memo);

// Who is about to wait may be the event loop that others wait for: then do some of
// what they want, and return how long to sleep at most before doing so again.
// MEMO_NEVER: it isn't, or it is already doing something for them.
int64_t memo_run_own_loop_(struct memo *m);

#endif  // MEMO_MEMO_ENGINE_H_
