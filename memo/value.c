#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/step.h"

#include <string.h>

#include "sync/pin.h"

// Values in the hands of users: how an entry is pinned for them, and let go.
//
// struct memo_value.pin is the address of a hazard slot, or of an entry, with
// the sign bit set, of which the value holds a reference.

#define PIN_COUNTED ((uintptr_t)INTPTR_MIN)

void memo_entry_hand_out_(struct entry *e, uint32_t from,
                          struct memo_value *out) {
    entry_describe(e, SYNC_LOAD(&e->word),
                   entry_key_size(SYNC_LOAD(&e->word)), out);
    out->pin = (void *)((uintptr_t)e | PIN_COUNTED);
    out->from = from;
    out->zero = 0;
}

struct entry *memo_pinned_entry_(const void *pin) {
    if ((uintptr_t)pin & PIN_COUNTED) {
        return (struct entry *)((uintptr_t)pin & ~PIN_COUNTED);
    }
    return SYNC_LOAD((sync_pin_slot *)(uintptr_t)pin);
}

// End a hazard pin of an entry that is retired.  Nobody else may look at it ever
// again, so it is reclaimed now, if this was its last pin.
//
// LIFETIME: until the unpin, e is alive, and with it its shard.  From then on
// the reference taken here keeps the shard.
static SYNC_COLD void unpin_retired(sync_pin_slot *slot, struct entry *e) {
    struct shard *s = entry_shard(e);

    memo_shard_live_(s);
    sync_unpin(slot);
    memo_own_(s, memo_reclaim_owned_, NULL);
    memo_shard_gone_(s);
}

static void release_counted(struct memo_value *v) {
    void *pin = v->pin;

    if (pin != NULL) {
        memset(v, 0, sizeof(*v));
        memo_entry_unref_(memo_pinned_entry_(pin));
    }
}

void memo_release(struct memo_value *v) {
    sync_pin_slot *slot;
    struct entry *e;

    if (v == NULL) {
        return;
    }
    if (SYNC_UNLIKELY((intptr_t)v->pin <= 0)) {
        release_counted(v);
        return;
    }
    slot = v->pin;
    memset(v, 0, sizeof(*v));
    e = SYNC_LOAD(slot);
    // ORDER(retire) release:B
    if (SYNC_UNLIKELY(SYNC_HAS_ACQ(&e->word, ENTRY_RETIRED_BIT))) {
        unpin_retired(slot, e);
    } else {
        // If e is retired right now, a later reclaim finds it unpinned.
        sync_unpin(slot);
    }
}

int memo_retain(const struct memo_value *v, struct memo_value *out) {
    if (out == NULL) {
        return MEMO_EINVAL;
    }
    if (v == NULL || v->pin == NULL) {
        memset(out, 0, sizeof(*out));
        return MEMO_EINVAL;
    }
    memo_entry_ref_(memo_pinned_entry_(v->pin));
    memo_entry_hand_out_(memo_pinned_entry_(v->pin), v->from, out);
    return 0;
}
