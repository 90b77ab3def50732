#include "memo/calling.h"
#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/link_set.h"
#include "memo/load.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"

// How a load ends its flight: publish the result, and wake everybody.
//
// ORDER labels of this file are explained in load.c.

// The marker for what f came to; without one an error isn't kept.
static struct entry *linked_marker(struct memo_load *f, int error) {
    struct entry *marker = memo_marker_for_(f, error);

    if (marker != NULL && memo_link_result_(f, &marker) != 0) {
        memo_entry_unref_(marker);
        return NULL;
    }
    return marker;
}

// What is left to do once a flight has ended and all are woken.
struct leftovers {
    struct shard *shard;
    struct entry *unwanted, *marker, *garbage;
    int drains;
};

// Destroy what nobody needs, for a destructor may itself wait for this flight.  Also
// when a completion ends the thread: it may have begun a load that does (E3).
static void clear_away(struct leftovers *left) {
    if (left->drains) {
        memo_load_drained_(left->shard->memo);
    }
    if (left->unwanted != NULL) {
        memo_entry_unref_(left->unwanted);  // CALLBACK
    }
    if (left->marker != NULL) {
        memo_entry_unref_(left->marker);
    }
    memo_do_rest_(left->shard, left->garbage);  // CALLBACK
}

// Publish the result, end the flight, wake everybody.
static void end_flight(struct memo_load *f, int error) {
    struct memo *m = f->shard->memo;
    struct end_step end = {.flight = f,
                           .entry = f->making,
                           .error = memo_error_of_(f, error),
                           .now_ns = memo_now_(m)};
    SYNC_CLEANUP(clear_away) struct leftovers left = {.shard = f->shard};

    f->making = NULL;
    if (end.error == 0 && memo_link_result_(f, &end.entry) != 0) {
        end.error = MEMO_ENOMEM;
    }
    if (end.error != 0 || f->verdict != VERDICT_VALUE) {
        left.unwanted = end.entry;
        end.entry = NULL;
    }
    left.marker = end.marker = linked_marker(f, end.error);
    left.garbage = memo_own_only_(f->shard, memo_end_owned_, &end);
    left.drains = end.drains;
    if (end.replaced) {
        memo_key_changed_(m, f->hash, f->key, f->key_size);
    }
    if (end.was_open) {
        sync_event_set(&f->done);  // ORDER(result) set:B; CALLBACK: completions
    } else if (end.entry != NULL) {
        left.unwanted = end.entry;  // the cache was closed
    }
}

static void end_unweighed(struct memo_load **f) {
    if (*f != NULL) {
        end_flight(*f, MEMO_EABANDONED);
    }
}

// Weigh what f has made, if it is a value.  If that throws, the flight ends all the
// same (E3).
static void weigh(struct memo_load *f, int error) {
    SYNC_CLEANUP(end_unweighed) struct memo_load *unweighed = f;

    if (error == 0 && f->making != NULL && f->verdict == VERDICT_VALUE) {
        memo_entry_weigh_(f->shard->memo, f->making,
                          f->has_weight ? &f->weight : NULL);  // CALLBACK
    }
    unweighed = NULL;
}

int memo_load_finish(struct memo_load *l, int error) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *finished = NULL;

    if (l == NULL || error == MEMO_PENDING) {
        return MEMO_EINVAL;
    }
    if (SYNC_XCHG_ACQREL(&l->finished, 1) != 0) {
        return MEMO_EALREADY;
    }
    memo_calling_begin_(&calling, l->shard);
    if (l->cancel_fn != NULL) {
        (void)sync_event_unwatch(&l->canceled, &l->on_cancel);
    }
    finished = l;  // the load's reference goes when all is done
    weigh(l, error);
    end_flight(l, error);
    return 0;
}
