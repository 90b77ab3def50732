// What runs in this thread, in a cache where all loads depend on what they get.
#ifndef MEMO_MEMO_DEPEND_H_
#define MEMO_MEMO_DEPEND_H_

#include <stddef.h>
#include <stdint.h>

struct memo;
struct memo_value;

// Link the loads in this thread that use a key to it, as of now; to be called
// before it is looked for.  0 or MEMO_ENOMEM.
int memo_use_key_(struct memo *m, uint64_t hash, const void *key,
                  size_t key_size);

// Link them to what the value that was found is linked to.  0; or MEMO_ENOMEM,
// and the value is released.
int memo_use_value_(struct memo *m, struct memo_value *v);

#endif  // MEMO_MEMO_DEPEND_H_
