#include "memo/calling.h"

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "sync/annotate.h"

// When memo_close() has returned, a user may free what his functions work with.  So
// it waits for those that are being called: s->calling counts the threads, and the
// destructors that they have still to call.
//
// What a call itself holds, it may destroy when the cache is closed: like what its
// caller holds.
//
//   ORDER(called)  end:A   acquire-release decrement of calling
//                  wait:B  acquire load of calling
//       If wait:B reads that nobody is calling, the functions have returned from all
//       calls before.  That they are begun memo_close() knows from the shard's owner:
//       counted before the step that ends a flight, or in the one that reclaims.

// LIFETIME: whoever is calling when memo_free() comes keeps the shard, because that
// waits for him; or, where it doesn't, passes him its reference, which the last of
// them gives back.  Who begins later has one of his own.

#define AWAITED (UINT32_C(1) << 31)  // somebody waits until nobody is calling
#define FREED (UINT32_C(1) << 30)    // memo_free() has come
#define PASSED (UINT32_C(1) << 29)   // and has passed on its reference
#define NUMBER (PASSED - 1)

static SYNC_THREAD_LOCAL(struct calling *, innermost_calling);

static void end_one(struct shard *s) {
    uint32_t before = SYNC_LOAD(&s->calling), to;

    do {
        to = before - 1;
        if ((to & NUMBER) == 0) {
            to &= FREED;
        }
    } while (!SYNC_CAS_ACQREL(&s->calling, &before, to));  // ORDER(called) end:A
    if ((before & AWAITED) != 0 && (to & AWAITED) == 0) {
        // LIFETIME: s may be gone; its address is all that is used.
        (void)sync_futex_wake(&s->calling, INT32_MAX);
    }
    if ((before & PASSED) != 0 && (to & PASSED) == 0) {
        memo_shard_gone_(s);
    }
}

void memo_calling_begin_(struct calling *c, struct shard *s) {
    c->shard = s;
    c->outer = SYNC_TLS(innermost_calling);
    c->counts = c->outer == NULL || c->outer->shard != s;
    c->keeps = 0;
    if (c->counts && (SYNC_ADD(&s->calling, 1) & FREED) != 0) {
        memo_shard_live_(s);
        c->keeps = 1;
    }
    SYNC_TLS(innermost_calling) = c;
}

void memo_calling_end_(struct calling *c) {
    if (c->shard == NULL) {
        return;
    }
    SYNC_TLS(innermost_calling) = c->outer;
    if (c->counts) {
        end_one(c->shard);
    }
    if (c->keeps) {
        memo_shard_gone_(c->shard);
    }
}

void memo_destructors_due_(struct shard *s, uint32_t n) {
    (void)SYNC_ADD(&s->calling, n);
}

void memo_destructor_called_(struct shard *s) {
    end_one(s);
}

int memo_is_calling_(void) {
    return SYNC_TLS(innermost_calling) != NULL;
}

static int await_callings_of(struct shard *s, int64_t deadline_ns) {
    uint32_t now;
    int error = 0;

    // ORDER(called) wait:B
    while (error == 0 && ((now = SYNC_LOAD_ACQ(&s->calling)) & NUMBER) != 0) {
        if ((now & AWAITED) != 0 ||
            SYNC_CAS_ACQ(&s->calling, &now, now | AWAITED)) {
            error = memo_sleep_(s->memo, &s->calling, now | AWAITED, deadline_ns);
        }
    }
    return error;
}

int memo_await_callings_(struct memo *m, int64_t deadline_ns) {
    int error = 0;
    uint64_t i;

    if (memo_is_calling_() || memo_in_callback_()) {
        return 0;
    }
    for (i = 0; i < memo_n_shards_(m) && error == 0; i++) {
        error = await_callings_of(memo_shard_at_(m, i), deadline_ns);
    }
    return error;
}

void memo_calling_freed_(struct shard *s) {
    uint32_t before = SYNC_LOAD_ACQ(&s->calling), passed;

    do {
        passed = (before & NUMBER) != 0 ? PASSED : 0;
    } while (!SYNC_CAS_ACQREL(&s->calling, &before, before | FREED | passed));
    if (!passed) {
        memo_shard_gone_(s);
    }
}

void memo_calling_forked_owned_(struct shard *s) {
    const struct calling *c;
    uint32_t n = 0, kept;

    for (c = SYNC_TLS(innermost_calling); c != NULL; c = c->outer) {
        n += c->counts && c->shard == s;
    }
    kept = n != 0 ? FREED | PASSED : FREED;
    SYNC_STORE(&s->calling, n | (SYNC_LOAD(&s->calling) & kept));
}
