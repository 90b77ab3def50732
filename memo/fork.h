// What takes part in a fork(): caches and queues.  What becomes of them in the
// child: fork.c.
#ifndef MEMO_MEMO_FORK_H_
#define MEMO_MEMO_FORK_H_

#include <stdint.h>

struct memo;

enum fork_phase { FORK_BEFORE, FORK_PARENT, FORK_CHILD };

struct forkable {
    void (*fork)(struct forkable *f, enum fork_phase phase);  // Const.
    // Guarded by the forks' mutex.
    struct forkable *next, **at;  // at: NULL when it takes no part
};

// Have fork(f, phase) called before and after each fork(): before it, to take
// every lock; after it, to give them up.  Return 0 or MEMO_ENOMEM.
int memo_fork_add_(struct forkable *f,
                   void (*fork)(struct forkable *f, enum fork_phase phase));
void memo_fork_remove_(struct forkable *f);

// How many forks lie between the first process and this.
uint32_t memo_n_forks_(void);

// A cache's part in it.
void memo_fork_cache_(struct forkable *m, enum fork_phase phase);

// End what waits for flights that were left behind in the parent, of this cache,
// or of all.  CALLBACK: completions, nothing locked.
void memo_settle_(struct memo *m);
void memo_settle_all_(void);

#endif  // MEMO_MEMO_FORK_H_
