// What a listener is still to be told: listen.c.
#ifndef MEMO_MEMO_LISTEN_H_
#define MEMO_MEMO_LISTEN_H_

#include "memo/internal.h"
#include "memo/memo.h"
#include "memo/shard.h"
#include "sync/annotate.h"

struct entry;

// What a cache with a listener knows of an entry besides; in front of it, at
// memo.news_offset.
struct entry_news {
    // Guarded by shard->mu, then owned by who tells.
    struct entry *next;
    uint32_t cause;
    uint32_t unused;
};

enum telling {
    TELLING_NOT = 0,
    TELLING = 1,          // a thread tells, or is asked to
    TELLING_AWAITED = 2,  // and somebody waits for it
};

// The owner of s has taken e, which has been resident, from the table; or won't
// store e, which is the result of a load or a put, and has not been.
void memo_note_removed_owned_(struct shard *s, struct entry *e,
                              enum memo_cause cause);
void memo_note_rejected_owned_(struct shard *s, struct entry *e);

// Whether somebody must begin to tell; if so, the caller, who holds the shard's
// mutex.
int memo_begin_to_tell_locked_(struct shard *s);

// Tell what there is to be told of s, having begun to.  Return whether there is
// more by now; otherwise the telling has ended.  CALLBACK, nothing locked.
//
// LIFETIME: the caller keeps the shard.
int memo_tell_some_(struct shard *s);

// Tell what the listeners that this has called have made in other shards, unless it is
// in one, further out.  CALLBACK, nothing locked.
void memo_tell_deferred_(void);

// In the child of a fork: nobody tells of s who isn't this thread.
void memo_listener_forked_owned_(struct shard *s);

// Wait until all is told.  0, or MEMO_ETIMEDOUT.
int memo_await_told_(struct memo *m, int64_t deadline_ns);

// Tell the listener, if there is one, what left s.  CALLBACK, nothing locked.
void memo_tell_slow_(struct shard *s);

SYNC_INLINE void memo_tell_(struct shard *s) {
    if (SYNC_UNLIKELY(s->memo->listener.removed != NULL)) {
        memo_tell_slow_(s);
    }
}

// Whether the calling thread is in a listener, of any cache.
int memo_in_listener_(void);

#endif  // MEMO_MEMO_LISTEN_H_
