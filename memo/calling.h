// Threads that call users' functions, which memo_close() waits for: calling.c.
#ifndef MEMO_MEMO_CALLING_H_
#define MEMO_MEMO_CALLING_H_

#include <stdint.h>

struct memo;
struct shard;

// A stretch in which a thread may call functions of a cache's user: loads,
// completions, destructors.  On its stack, inside those further out.
struct calling {
    struct shard *shard;
    struct calling *outer;
    int counts;  // none further out is of the same shard, next to it
    int keeps;   // it has a reference to the shard
};

// Begin one, before anything is done that lets memo_close() go on.  c is all zeros.
//
// LIFETIME: the caller keeps s until it has begun; then it is kept until it ends.
void memo_calling_begin_(struct calling *c, struct shard *s);

// End it, if it was begun; also when a function throws, or ends the thread.
void memo_calling_end_(struct calling *c);

// n destructors are about to be called by whoever has what was reclaimed, and one
// has been.
void memo_destructors_due_(struct shard *s, uint32_t n);
void memo_destructor_called_(struct shard *s);

// Whether this thread is in such a stretch, for any cache.
int memo_is_calling_(void);

// Wait until no thread is, for m, nor has destructors to call.  0, or MEMO_ETIMEDOUT.
// A user's function doesn't wait for itself, nor for another, which may wait for it.
int memo_await_callings_(struct memo *m, int64_t deadline_ns);

// The cache is being freed: let its reference to s go, or pass it to who is calling.
void memo_calling_freed_(struct shard *s);

// In the child of a fork: none is but in this thread.
void memo_calling_forked_owned_(struct shard *s);

#endif  // MEMO_MEMO_CALLING_H_
