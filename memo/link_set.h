// The links of a load, from which its result gets them: link_set.c.
//
// Written by the load, one thread at a time; read by the owner of its shard.
#ifndef MEMO_MEMO_LINK_SET_H_
#define MEMO_MEMO_LINK_SET_H_

#include <stdint.h>

struct entry;
struct link_set;
struct memo;
struct memo_load;
struct source;

void memo_link_set_free_(struct memo *m, struct link_set *set);

// Give an entry that f has made the links of f, if there are any; *e may be
// another entry then.  0, or MEMO_ENOMEM and nothing has changed.
int memo_link_result_(struct memo_load *f, struct entry **e);

// Whether what f is making is out of date already.
int memo_is_outdated_owned_(struct memo_load *f);

// Link the result of f to a source, of which one reference is taken over, whatever
// comes of it.  0 or MEMO_ENOMEM.
int memo_link_to_(struct memo_load *f, struct source *source, uint64_t as_of);

#endif  // MEMO_MEMO_LINK_SET_H_
