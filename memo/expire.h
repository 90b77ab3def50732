// What time means for entries: how long a value is fresh, when it is to be
// refreshed, how long it may stand in for a load that fails, and how long an
// error or a verdict is kept.
#ifndef MEMO_MEMO_EXPIRE_H_
#define MEMO_MEMO_EXPIRE_H_

#include <stdint.h>

struct entry;
struct memo;
struct memo_value;
struct shard;

// What a load, or memo_put_with(), says of the times of a value.
struct dates {
    int has_ttl, has_refresh, strict;
    int64_t ttl_ns, refresh_after_ns;
};

// What the times of a cache let an entry be at a moment.
enum age {
    AGE_FRESH,
    AGE_REFRESH,      // fresh, and the first who sees this refreshes it
    AGE_STALE,        // its load failed: it stands in until the next attempt
    AGE_STALE_PROBE,  // it does, and the first who sees this makes the attempt
    AGE_EXPIRED,      // to be loaded; it may stand in if that fails
    AGE_ERROR,        // an error that is kept
    AGE_ERROR_PROBE,  // it is, and the first who sees this makes an attempt
    AGE_PASS,         // its loads aren't to be shared
    AGE_GONE,         // as if it weren't there
};

enum age memo_age_owned_(const struct shard *s, const struct entry *e,
                         int64_t now_ns);

// Until when what is made from e is fresh.
int64_t memo_best_before_(const struct memo *m, const struct entry *e);

// Until when e stays in the table; and, a value, may stand in for a failure.
int64_t memo_end_of_(const struct memo *m, const struct entry *e);
int64_t memo_end_of_standing_in_owned_(const struct memo *m,
                                       const struct entry *e);

// Date e, a value: made, or found unchanged, at now_ns by a load that took
// cost_ns.  What dates doesn't say, or a NULL, is the cache's.
void memo_date_owned_(struct shard *s, struct entry *e,
                      const struct dates *dates, int64_t now_ns,
                      int64_t cost_ns);

// Date a marker.  before is the entry that it follows, or NULL.
void memo_date_marker_owned_(struct shard *s, struct entry *marker,
                             const struct entry *before, int error,
                             int64_t now_ns);

// The attempt to load the key of e anew has failed.  Return whether e may stand
// in for the result.
int memo_stand_in_owned_(struct shard *s, struct entry *e, int error,
                         int64_t now_ns);

// A random number, evenly distributed, from 0 to below most.
int64_t memo_random_below_(struct shard *s, int64_t most);

// e, a fresh value, is used at now_ns: its idle time begins anew.  Many may say so at
// once: then the last one counts, which is a moment ago for each of them.
void memo_note_use_(const struct memo *m, struct entry *e, int64_t now_ns);

// An attempt to load the key of e anew begins: nobody else is to try; or it
// ended without any result.
void memo_hold_off_owned_(struct shard *s, struct entry *e);
void memo_let_try_owned_(struct shard *s, struct entry *e);

// What a reader without a lock makes of e, whose word he has read: fill in
// out->from, and out->zero with the error if it is MEMO_NEGATIVE, and return 1;
// or return 0: only the owner knows.
int memo_read_age_(const struct memo *m, struct entry *e, uint64_t word,
                   int64_t now_ns, struct memo_value *out);

#endif  // MEMO_MEMO_EXPIRE_H_
