// memo's own executor: pool.c.
#ifndef MEMO_MEMO_POOL_H_
#define MEMO_MEMO_POOL_H_

#include <stdint.h>

#include "memo/fork.h"
#include "memo/memo.h"

struct pool;

// Of n threads.  NULL: out of memory or threads.
struct pool *memo_pool_new_(uint32_t n_threads);
struct memo_executor memo_pool_executor_(struct pool *p);

// Let the threads end when nothing is left to do, and wait for them, unless
// this is one of them or wait is 0.
void memo_pool_free_(struct pool *p, int wait);

void memo_pool_fork_(struct pool *p, enum fork_phase phase);

#endif  // MEMO_MEMO_POOL_H_
