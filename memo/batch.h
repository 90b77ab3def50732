// Hits on some keys at once: batch.c.
#ifndef MEMO_MEMO_BATCH_H_
#define MEMO_MEMO_BATCH_H_

#include "memo/memo.h"

struct memo;

#define BATCH 64  // keys, at most

// In errors[], of a key for which there is no answer without the owner.
#define MISSING MEMO_PENDING

// Get what is resident of n keys, at most BATCH; return whether something isn't.
int memo_get_batch_(struct memo *m, const struct memo_bytes keys[], size_t n,
                    struct memo_value out[], int errors[]);

#endif  // MEMO_MEMO_BATCH_H_
