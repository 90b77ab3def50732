#include "memo/alarm.h"
#include "memo/calling.h"
#include "memo/entry.h"
#include "memo/listen.h"
#include "memo/shard.h"
#include "memo/step.h"

#include <string.h>

#include "sync/machine.h"
#include "sync/pin.h"

// What left the table, until nobody pins it any more (M. Michael, "Hazard
// Pointers", IEEE TPDS 2004).
//
//   ORDER(retire) retire:A acquire-release exchange of word
//                 release:B acquire load of word, in memo_release()
//       If release:B sees ENTRY_RETIRED, word says from then on which shard e
//       belongs to.

// How many retired entries are worth a scan of all pins: a part of those that there
// are, for a scan interrupts all processors that threads run on.  At most so many are
// examined at once.
#define RECLAIM_LEAST 64
#define RECLAIM_SHARE 256
#define RECLAIM_BATCH 256

// Destructors that a thread runs in one go, unless too many bytes wait.
#define DESTRUCTORS_AT_ONCE 4

// Retired entries that there is room for at first.
#define ROOM_FIRST 512

// Why e leaves the table, where cause is why it does so now: perhaps something had
// made it out of date before.
static enum memo_cause cause_of(const struct shard *s, const struct entry *e,
                                enum memo_cause cause) {
    uint64_t age = shard_generation(s) - (SYNC_LOAD(&e->word) & ENTRY_GENERATION);

    if (!entry_holds(e)) {
        return MEMO_INVALIDATED;
    }
    if (age == 0) {
        return cause;
    }
    return s->closed && age == UINT64_C(1) << ENTRY_GENERATION_SHIFT
               ? MEMO_CLOSED
               : MEMO_CLEARED;
}

int memo_retired_reserve_owned_(struct shard *s) {
    uint64_t room = s->retired_room * 2;
    size_t size;

    if (s->table.n_entries + s->n_retired < s->retired_room) {
        return 0;
    }
    if (room < ROOM_FIRST) {
        room = ROOM_FIRST;
    }
    size = room * sizeof(*s->retired);
    if (size > s->retired_pages || sync_pages_commit(s->retired, size) != 0) {
        return MEMO_ENOMEM;
    }
    s->retired_room = room;
    return 0;
}

static void mark_retired(struct shard *s, struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word), to;

    do {
        to = (word & ~ENTRY_SHARD) | s->mark | ENTRY_RETIRED;
    } while (!SYNC_CAS_ACQREL(&e->word, &word, to));  // ORDER(retire) retire:A
}

void memo_retire_owned_(struct shard *s, struct entry *e, enum memo_cause cause) {
    size_t bytes = memo_entry_bytes_(s->memo, e);

    if (s->wheel != NULL) {
        memo_drop_alarm_owned_(s, e);
    }
    cause = cause_of(s, e, cause);
    if (!shard_is_current(s, e)) {
        s->n_outdated--;
        s->outdated_bytes -= bytes;
    }
    (void)SYNC_ADD(&s->n_undead, 1);
    (void)SYNC_ADD(&s->undead_bytes, bytes);
    shard_count_linked(s, e, -1);
    mark_retired(s, e);
    s->retired[s->n_retired++] = e;
    if (s->n_retired > s->retired_most) {
        s->retired_most = s->n_retired;
    }
    s->entry_bytes -= bytes;
    s->retired_bytes += bytes;
    memo_note_removed_owned_(s, e, cause);
}

// The retired entries under examination, as a hash table of addresses.
#define BATCH_BITS 10
#define BATCH_SLOTS (1 << BATCH_BITS)

_Static_assert(BATCH_SLOTS == 4 * RECLAIM_BATCH, "at most a quarter is in use");

struct retired_batch {
    struct entry *entry[BATCH_SLOTS];
    unsigned char pinned[BATCH_SLOTS];
};

static unsigned batch_slot(const struct retired_batch *b, const void *p) {
    uint64_t x = (uint64_t)(uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
    unsigned i = (unsigned)(x >> (64 - BATCH_BITS));

    while (b->entry[i] != NULL && b->entry[i] != p) {
        i = (i + 1) % BATCH_SLOTS;
    }
    return i;
}

static void see_pin(void *arg, void *p) {
    struct retired_batch *b = arg;
    unsigned i = batch_slot(b, p);

    if (b->entry[i] != NULL) {
        b->pinned[i] = 1;
    }
}

// e is retired and not pinned: the table lets go of it.
static void reclaim(struct shard *s, struct entry *e) {
    size_t bytes = memo_entry_bytes_(s->memo, e);

    s->retired_bytes -= bytes;
    if (memo_entry_let_go_(e)) {
        *entry_next_dead(e) = s->garbage;
        s->garbage = e;
        s->garbage_bytes += bytes;
    }
}

// Where the part of s->garbage ends that a thread takes.  *left: the bytes behind it;
// *n_due: the destructors in it.
//
// Destructors may take long.  So a thread runs only a few, even if many values
// turned out to be unpinned at once; each write adds one value, so those who come
// later catch up.
static struct entry **end_of_part(struct shard *s, uint64_t *left,
                                  uint32_t *n_due) {
    struct entry **end = &s->garbage;
    uint32_t n = 0;

    *left = s->garbage_bytes;
    while (*end != NULL &&
           (n < DESTRUCTORS_AT_ONCE || *left > RECLAIM_BYTES)) {
        n += memo_entry_has_destructor_(*end) != 0;
        *left -= memo_entry_bytes_(s->memo, *end);
        end = entry_next_dead(*end);
    }
    *n_due = n;
    return end;
}

struct entry *memo_take_garbage_owned_(struct shard *s) {
    struct entry *part = s->garbage, **end, *rest, *e;
    uint32_t n_due;

    end = end_of_part(s, &s->garbage_bytes, &n_due);
    rest = *end;
    *end = NULL;
    s->garbage = rest;
    if (n_due != 0) {
        memo_destructors_due_(s, n_due);
        for (e = part; e != NULL; e = *entry_next_dead(e)) {
            if (memo_entry_has_destructor_(e)) {
                memo_entry_mark_due_(e);
            }
        }
    }
    return part;
}

int memo_leaves_garbage_owned_(struct shard *s) {
    uint64_t left;
    uint32_t n_due;

    return *end_of_part(s, &left, &n_due) != NULL;
}

// Examine the n retired entries from the given one on, RECLAIM_BATCH at most, and
// keep those that are pinned at the end of the first few that were kept before:
// *kept.  Return 0 if it can't be seen which are.
static int reclaim_batch(struct shard *s, uint64_t from, uint64_t n,
                         uint64_t *kept) {
    struct retired_batch b;
    uint64_t k;
    unsigned i;

    memset(&b, 0, sizeof(b));
    for (k = from; k < from + n; k++) {
        b.entry[batch_slot(&b, s->retired[k])] = s->retired[k];
    }
    if (!sync_pin_scan(see_pin, &b)) {
        return 0;
    }
    for (i = 0; i < BATCH_SLOTS; i++) {
        if (b.entry[i] != NULL && b.pinned[i]) {
            s->retired[(*kept)++] = b.entry[i];
        } else if (b.entry[i] != NULL) {
            reclaim(s, b.entry[i]);
        }
    }
    return 1;
}

// The retired entries from the given one on stay, whether or not they are pinned.
static uint64_t keep_from(struct shard *s, uint64_t from, uint64_t kept) {
    uint64_t n = s->n_retired - from;

    if (kept != from) {
        memmove(s->retired + kept, s->retired + from, n * sizeof(*s->retired));
    }
    return kept + n;
}

static uint64_t worth_a_scan(const struct shard *s) {
    uint64_t n = s->table.n_entries / RECLAIM_SHARE;

    return n < RECLAIM_LEAST ? RECLAIM_LEAST : n > RECLAIM_BATCH ? RECLAIM_BATCH : n;
}

void memo_reclaim_owned_(struct shard *s, void *unused) {
    uint64_t from = 0, n, kept = 0;

    (void)unused;
    while (from < s->n_retired) {
        n = s->n_retired - from < RECLAIM_BATCH ? s->n_retired - from
                                                : RECLAIM_BATCH;
        if (!reclaim_batch(s, from, n, &kept)) {
            break;
        }
        from += n;
    }
    s->n_retired = keep_from(s, from, kept);
    // With many threads a scan is dear, so let more come together.
    s->reclaim_at = s->n_retired + worth_a_scan(s) + sync_pin_records();
    s->reclaim_bytes_at = s->retired_bytes + RECLAIM_BYTES;
}
