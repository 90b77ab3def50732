#include "memo/alarm.h"

#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/policy.h"
#include "memo/shard.h"
#include "memo/wheel.h"

// A name is looked up in the table when its turn comes.  Each time that an entry gets
// one, it gets a new stamp, too, and notes in which slot the name is; so of all names
// that were ever made for a key one counts, and the others, dead, are passed over:
//
//     stored ----> name, stamp 17 --- its turn comes ---> expired: evicted
//       |                 |                  '----------> not yet: name, stamp 203
//       |                 |
//       |           dropped, evicted: 17 stands for nothing.  Loaded again: stamp 88
//       |
//     replaced by what lives as long or longer: that has stamp 17
//
// The last is why a key that is stored again and again needs one name, not one each
// time: nobody is looked at too late, and who is looked at too early gets another.
//
// Stamps are drawn at random.  So, once in 255 times, a dead name in the slot of the
// one that counts looks like that; then the one that is looked at first counts.  And
// entries with the same bits of their hashes may have the same name: all of them are
// looked at.

// Names looked up together when they are due.
#define EXPIRE_AT_ONCE 8

#define STAMPS 255  // 1 .. 255

// Not the one that e has.
static uint32_t draw_stamp(struct shard *s, const struct entry *e) {
    uint32_t stamp = (uint32_t)memo_random_below_(s, STAMPS - 1) + 1;

    return stamp + (stamp >= entry_prefix(e)->stamp);
}

// ------------------------------------------------------------------ setting

// All those that share a name could come to need their own.
int memo_reserve_alarm_owned_(struct shard *s) {
    return memo_wheel_reserve_(s->wheel, s->wheel->n_set + 1);
}

// Where all names are dead, that is the end of them.
static void forget_if_none_is_set(struct wheel *w) {
    if (w->n_set == 0 && w->names.n != 0) {
        memo_wheel_forget_(w);
    }
}

static void set(struct shard *s, struct entry *e, int64_t at_ns, uint64_t hash) {
    struct wheel *w = s->wheel;
    struct entry_prefix *p = entry_prefix(e);
    uint32_t stamp = draw_stamp(s, e);
    uint32_t name = stamp << ALARM_STAMP_SHIFT | table_name(hash);
    unsigned slot = memo_wheel_slot_(w, at_ns);

    if (!memo_has_dead_alarms_owned_(s) ||
        !memo_is_alarm_there_owned_(s, name, slot)) {
        memo_wheel_put_(w, slot, name);
    }
    w->n_set += p->stamp == 0;
    p->stamp = stamp & STAMPS;
    p->slot = slot & (WHEEL_ALL_SLOTS - 1);
}

void memo_set_alarm_owned_(struct shard *s, struct entry *e, uint64_t hash) {
    int64_t at_ns = memo_end_of_(s->memo, e);

    if (entry_prefix(e)->stamp != 0 || at_ns == MEMO_NEVER) {
        return;
    }
    if (memo_has_dead_alarms_owned_(s)) {
        forget_if_none_is_set(s->wheel);
        memo_sweep_alarms_owned_(s);
    }
    set(s, e, at_ns, hash);
}

// Whether an alarm for before_ns will do for e.
static int will_do(const struct shard *s, const struct entry *e,
                   int64_t before_ns) {
    int64_t at_ns = memo_end_of_(s->memo, e);

    return at_ns != MEMO_NEVER && before_ns <= at_ns;
}

void memo_inherit_alarm_owned_(struct shard *s, struct entry *e,
                               struct entry *old) {
    if (will_do(s, e, memo_end_of_(s->memo, old))) {
        entry_prefix(e)->stamp = entry_prefix(old)->stamp;
        entry_prefix(e)->slot = entry_prefix(old)->slot;
        entry_prefix(old)->stamp = 0;
    }
}

void memo_move_alarm_owned_(struct shard *s, struct entry *e, int64_t before_ns,
                            uint64_t hash) {
    if (!will_do(s, e, before_ns)) {
        memo_drop_alarm_owned_(s, e);
        memo_set_alarm_owned_(s, e, hash);
    }
}

void memo_drop_alarm_owned_(struct shard *s, struct entry *e) {
    s->wheel->n_set -= entry_prefix(e)->stamp != 0;
    entry_prefix(e)->stamp = 0;
}

// ------------------------------------------------------------------ the end

static void ring(struct shard *s, struct entry *e) {
    int64_t end = memo_end_of_(s->memo, e);

    if (end <= s->now_ns) {
        memo_evict_owned_(s, e, entry_hash(&s->memo->seed, e), MEMO_EXPIRED);
        s->expired++;
    } else if (end == MEMO_NEVER) {
        memo_drop_alarm_owned_(s, e);
    } else {
        set(s, e, end, entry_hash(&s->memo->seed, e));
    }
}

static void ring_all(struct shard *s, uint32_t name, unsigned slot) {
    struct alarm_found found;

    do {
        found = memo_find_alarm_owned_(s, name, slot);
        if (found.entry != NULL) {
            ring(s, found.entry);
        }
    } while (found.more);
}

uint64_t memo_expire_owned_(struct shard *s, uint64_t n) {
    struct alarm_found found[EXPIRE_AT_ONCE];
    uint32_t name[EXPIRE_AT_ONCE];
    unsigned slot = 0, most, some, i;
    uint64_t looked = 0;

    do {
        most = EXPIRE_AT_ONCE;
        most = n - looked < most ? (unsigned)(n - looked) : most;
        some = memo_wheel_next_(s->wheel, s->now_ns, name, most, &slot);
        memo_find_alarms_owned_(s, name, some, found);
        for (i = 0; i < some; i++) {
            if (found[i].more) {
                ring_all(s, name[i], slot);
            } else if (found[i].entry != NULL &&
                       alarm_is_of(found[i].entry, name[i], slot)) {
                ring(s, found[i].entry);
            }
        }
        looked += some;
    } while (some != 0);
    forget_if_none_is_set(s->wheel);
    return looked;
}
