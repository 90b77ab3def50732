// When entries are looked at because of their age: each, unless it stays for ever, has
// a name on the wheel of its shard.
#ifndef MEMO_MEMO_ALARM_H_
#define MEMO_MEMO_ALARM_H_

#include <stdint.h>

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "memo/table.h"
#include "sync/annotate.h"

// A name on the wheel:
//
//     bits  0..23  the entry's name in the table
//     bits 24..31  its stamp, not 0
//
// INVARIANT(alarms)  A resident entry has a stamp, if its time ever ends, and a slot,
//     in which a name with that stamp is; that is looked at before its time has ended,
//     or in the tick after (later, if the clock was set back or use prolonged it).
//     n_set of the wheel is how many have one.
#define ALARM_STAMP_SHIFT TABLE_NAME_BITS

// Make room for one more alarm.  0 or MEMO_ENOMEM.
int memo_reserve_alarm_owned_(struct shard *s);

// e, which hashes to hash and has just been put into the table, or has no alarm: set
// one for when its time ends.  There is room for it.
void memo_set_alarm_owned_(struct shard *s, struct entry *e, uint64_t hash);

// e has just taken the place of old, of the same key: it may have that one's alarm.
void memo_inherit_alarm_owned_(struct shard *s, struct entry *e,
                               struct entry *old);

// The time of e ends anew; before it was to end at before_ns.  There is room.
void memo_move_alarm_owned_(struct shard *s, struct entry *e, int64_t before_ns,
                            uint64_t hash);

// e has left the table.
void memo_drop_alarm_owned_(struct shard *s, struct entry *e);

// Drop what has expired, looking at up to n names.  Return at how many.
uint64_t memo_expire_owned_(struct shard *s, uint64_t n);

// ------------------------------------------------------------ alarm_names.c

// An entry, or NULL; and whether there are more.
struct alarm_found {
    struct entry *entry;
    int more;
};

// What a name in a slot stands for.
struct alarm_found memo_find_alarm_owned_(struct shard *s, uint32_t name,
                                          unsigned slot);

// Whether the name in a slot, which is that of e as far as the table has compared it
// (while it is small, not in full: no harm done), is the one that counts for e.
SYNC_INLINE int alarm_is_of(const struct entry *e, uint32_t name, unsigned slot) {
    const struct entry_prefix *p = entry_prefix(e);

    return p->stamp == name >> ALARM_STAMP_SHIFT && p->slot == slot;
}

// What each of the names may stand for: that still is to be asked.  They are looked up
// together, so that the cache misses overlap.
void memo_find_alarms_owned_(struct shard *s, const uint32_t names[], unsigned n,
                             struct alarm_found found[]);

// Whether there are so many dead names that they are to be swept; and sweep some.
int memo_has_dead_alarms_owned_(const struct shard *s);
void memo_sweep_alarms_owned_(struct shard *s);

// Whether that name is in that slot, and stands for something.
int memo_is_alarm_there_owned_(struct shard *s, uint32_t name, unsigned slot);

// For memo_check(): mark as seen the entries whose alarms are as INVARIANT(alarms)
// says, and return how many names there are.
uint64_t memo_see_alarms_owned_(struct shard *s);

#endif  // MEMO_MEMO_ALARM_H_
