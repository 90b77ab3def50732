// What the options of a cache say: options.c.
#ifndef MEMO_MEMO_OPTIONS_H_
#define MEMO_MEMO_OPTIONS_H_

#include <stdint.h>

#include "memo/internal.h"
#include "memo/memo.h"

// Copy the caller's options, of his version, to *to; or return MEMO_EINVAL.
int memo_options_take_(const struct memo_options *from,
                       struct memo_options *to);

// How many shards the cache gets.
uint32_t memo_options_shards_(const struct memo_options *o);

int memo_options_are_bounded_(const struct memo_options *o);

enum timing memo_options_timing_(const struct memo_options *o);

// Set in *m what follows from the options alone.
void memo_options_set_(struct memo *m, const struct memo_options *o,
                       const struct memo_allocator *allocator);

#endif  // MEMO_MEMO_OPTIONS_H_
