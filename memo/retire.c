#include "memo/expire.h"
#include "memo/shard.h"
#include "memo/stats.h"

#include <string.h>

#include "sync/pin.h"

// What left the table, until nobody pins it any more (M. Michael, "Hazard
// Pointers", IEEE TPDS 2004).
//
//   ORDER(retire) retire:A release or of ENTRY_RETIRED into word
//                 release:B acquire load of word, in memo_release()
//       If release:B sees the flag, it reads e->shard as stored before retire:A.

// How many retired entries are worth a scan of all pins at least.
#define RECLAIM_BATCH 64

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

void memo_retire_owned_(struct shard *s, struct entry *e, enum memo_cause cause) {
    size_t bytes = memo_entry_bytes_(s->memo, e);

    if (s->wheel != NULL) {
        memo_wheel_remove_(e);
    }
    cause = cause_of(s, e, cause);
    if (!shard_is_current(s, e)) {
        s->n_outdated--;
        s->outdated_bytes -= bytes;
    }
    (void)SYNC_ADD(&s->n_undead, 1);
    (void)SYNC_ADD(&s->undead_bytes, bytes);
    shard_count_linked(s, e, -1);
    e->shard = s;
    (void)SYNC_OR_ACQREL(&e->word, ENTRY_RETIRED);  // ORDER(retire) retire:A
    e->next = s->retired;
    s->retired = e;
    s->n_retired++;
    s->entry_bytes -= bytes;
    s->retired_bytes += bytes;
    memo_note_removed_owned_(s, e, cause);
}

// The retired entries under examination, as a hash table of addresses.
#define BATCH_SLOTS (4 * RECLAIM_BATCH)

struct batch {
    struct entry *entry[BATCH_SLOTS];
    unsigned char pinned[BATCH_SLOTS];
};

static unsigned batch_slot(const struct batch *b, const void *p) {
    uint64_t x = (uint64_t)(uintptr_t)p * UINT64_C(0x9e3779b97f4a7c15);
    unsigned i = (unsigned)(x >> 56) % BATCH_SLOTS;

    while (b->entry[i] != NULL && b->entry[i] != p) {
        i = (i + 1) % BATCH_SLOTS;
    }
    return i;
}

static void see_pin(void *arg, void *p) {
    struct batch *b = arg;
    unsigned i = batch_slot(b, p);

    if (b->entry[i] != NULL) {
        b->pinned[i] = 1;
    }
}

// Examine up to RECLAIM_BATCH entries of *list, which shrinks; put them on
// s->garbage or back on s->retired.
static void reclaim_batch(struct shard *s, struct entry **list) {
    struct batch b;
    unsigned i;
    int n;

    memset(&b, 0, sizeof(b));
    for (n = 0; n < RECLAIM_BATCH && *list != NULL; n++) {
        struct entry *e = *list;
        *list = e->next;
        b.entry[batch_slot(&b, e)] = e;
    }
    sync_pin_scan(see_pin, &b);
    for (i = 0; i < BATCH_SLOTS; i++) {
        struct entry *e = b.entry[i];
        if (e == NULL) {
            continue;
        }
        if (b.pinned[i]) {
            e->next = s->retired;
            s->retired = e;
        } else {
            s->n_retired--;
            s->retired_bytes -= memo_entry_bytes_(s->memo, e);
            e->next = s->garbage;
            s->garbage = e;
        }
    }
}

void memo_reclaim_owned_(struct shard *s, void *unused) {
    struct entry *list = s->retired;

    (void)unused;
    s->retired = NULL;
    while (list != NULL) {
        reclaim_batch(s, &list);
    }
    // With many threads a scan is dear, so let more come together.
    s->reclaim_at = s->n_retired + RECLAIM_BATCH + sync_pin_records();
    s->reclaim_bytes_at = s->retired_bytes + RECLAIM_BYTES;
}
