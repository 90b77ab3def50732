#include "memo/calling.h"
#include "memo/engine.h"
#include "memo/flight.h"
#include "memo/fork.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/pool.h"
#include "memo/reaper.h"
#include "memo/run.h"
#include "memo/running.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"

#include "sync/clock.h"
#include "sync/machine.h"
#include "sync/monitor.h"
#include "sync/pin.h"

// The life of a cache, from when it was made (new.c) to when all that depends on it
// is gone.
//
//   ORDER(live)   acquire-release decrements of shard.live and memo.live: who
//                 takes the last to 0 sees all that others did with the cache's
//                 memory, and gives it back.
//   ORDER(drain)  last:A  acquire-release decrement of draining
//                 wait:B  acquire load of draining
//       If wait:B reads that the loads have ended, what they did came before.

// ------------------------------------------------------------------ orphans
//
// Freed caches of which some values are still pinned by hazard slots.  The last
// release of such a value reclaims it, and the last of these gives the cache's
// memory back, but for one race: a release that looked whether the value was
// retired just before it was, and emptied its slot just after the last scan.  So
// orphans are looked at again whenever a cache is made or freed.

static SYNC_GLOBAL struct sync_mutex orphans_mu;
static SYNC_GLOBAL struct memo *orphans;  // Guarded by orphans_mu.

static void add_orphan(struct memo *m) {
    sync_mutex_lock(&orphans_mu);
    m->is_orphan = 1;
    m->next_orphan = orphans;
    orphans = m;
    sync_mutex_unlock(&orphans_mu);
}

static void remove_orphan(struct memo *m) {
    struct memo **at;

    sync_mutex_lock(&orphans_mu);
    for (at = &orphans; m->is_orphan && *at != NULL; at = &(*at)->next_orphan) {
        if (*at == m) {
            *at = m->next_orphan;
            break;
        }
    }
    sync_mutex_unlock(&orphans_mu);
}

// Take a reference to an orphan, leaving the first few out; NULL: no more.
//
// LIFETIME: an orphan whose count is 0 is on its way out, and waits for
// orphans_mu in remove_orphan().
static struct memo *take_orphan(int skip) {
    struct memo *m;

    sync_mutex_lock(&orphans_mu);
    for (m = orphans; m != NULL; m = m->next_orphan) {
        if (skip-- <= 0 && memo_core_take_(m)) {
            break;
        }
    }
    sync_mutex_unlock(&orphans_mu);
    return m;
}

void memo_orphans_fork_(enum fork_phase phase) SYNC_NO_LOCK_CHECK {
    if (phase == FORK_BEFORE) {
        sync_mutex_lock(&orphans_mu);
    } else {
        sync_mutex_unlock(&orphans_mu);
    }
}

void memo_core_free_(struct memo *m) {
    struct memo_allocator allocator = m->allocator;

    remove_orphan(m);
    memo_fork_remove_(&m->forkable);
    sync_monitor_free(m->monitor);
    memo_reaper_free_(m->reaper);
    sync_tally_free(m->tally);
    sync_pages_release(m->pages, m->pages_size);
    memo_sources_free_(m);
    allocator.free(allocator.state, m->block, m->block_size);
}

int memo_core_take_(struct memo *m) {
    uint64_t live = SYNC_LOAD(&m->live);

    while (live != 0 && !SYNC_CAS_ACQ(&m->live, &live, live + 1)) {
    }
    return live != 0;
}

void memo_core_gone_(struct memo *m) {
    if (SYNC_SUB_ACQREL(&m->live, 1) == 1) {  // ORDER(live)
        memo_core_free_(m);
    }
}

void memo_shard_live_(struct shard *s) {
    (void)SYNC_ADD(&s->live, 1);
}

void memo_shard_gone_(struct shard *s) {
    struct memo *m = s->memo;

    if (SYNC_SUB_ACQREL(&s->live, 1) == 1) {  // ORDER(live)
        memo_core_gone_(m);
    }
}

static void drop_everything(struct memo *m);

void memo_look_after_orphans_(void) {
    struct memo *m;
    int i;

    for (i = 0; (m = take_orphan(i)) != NULL; i++) {
        drop_everything(m);
        memo_core_gone_(m);
    }
}

// ------------------------------------------------------------------ the end

static void wake_closers(struct memo *m) {
    (void)sync_futex_wake(&m->draining, INT32_MAX);
}

void memo_load_drained_(struct memo *m) {
    (void)SYNC_SUB_ACQREL(&m->draining, 1);  // ORDER(drain) last:A
    wake_closers(m);
}

static void tell_load(struct memo_load **flight) {
    SYNC_CLEANUP(memo_flight_drop_) struct memo_load *f = *flight;

    sync_event_set(&f->canceled);  // CALLBACK: of the load
    // The thread of the pool that would come to it may be this one.
    if (memo_take_task_(f)) {
        (void)memo_load_finish(f, MEMO_EABANDONED);
    }
}

static void tell_all_of(struct memo_load *flight) {
    SYNC_CLEANUP(tell_load) struct memo_load *f = flight;

    sync_event_set(&f->done);  // CALLBACK: completions
}

struct closing {
    struct memo *m;
    uint64_t next;  // shard to be closed
    struct close_step step;
};

static void close_on(struct closing *c);

static void close_the_rest(struct closing **c) {
    if ((*c)->step.ended != NULL || (*c)->next < memo_n_shards_((*c)->m)) {
        close_on(*c);
    }
}

// All of it, also when a callback throws, or ends the thread.
static void close_on(struct closing *closing) {
    SYNC_CLEANUP(close_the_rest) struct closing *c = closing;

    while (c->step.ended != NULL || c->next < memo_n_shards_(c->m)) {
        struct memo_load *f = c->step.ended;
        if (f == NULL) {
            memo_own_(memo_shard_at_(c->m, c->next), memo_close_owned_, &c->step);
            c->next++;
        } else {
            c->step.ended = f->list.next;
            f->list.next = NULL;
            tell_all_of(f);
        }
    }
}

// Close every shard.  Who comes while another is at it does the same, so that on
// return all are closed; and waits for what that one calls as for all others.
static void close_shards(struct memo *m) {
    SYNC_CLEANUP(memo_calling_end_) struct calling calling = {0};
    struct closing c = {m, 0, {NULL}};

    memo_calling_begin_(&calling, memo_shard_at_(m, 0));
    close_on(&c);
}

int memo_sleep_(struct memo *m, sync_atomic_u32 *word, uint32_t value,
                int64_t deadline_ns) {
    int64_t until = deadline_ns, nap = memo_run_own_loop_(m);

    if (deadline_ns != MEMO_NEVER && memo_now_(m) >= deadline_ns) {
        return MEMO_ETIMEDOUT;
    }
    if (deadline_ns != MEMO_NEVER && !m->clock_is_monotonic &&
        nap > MEMO_LOOK_AT_CLOCK_NS) {
        nap = MEMO_LOOK_AT_CLOCK_NS;
    }
    if (nap != MEMO_NEVER) {
        until = sync_clock_now_ns() + nap;
    }
    (void)sync_futex_wait(word, value, until);
    return 0;
}

// Wait until no load runs but those excused.
static int drain(struct memo *m, int64_t deadline_ns) {
    uint32_t left;
    int error = 0;

    // ORDER(drain) wait:B
    while (error == 0 && (left = SYNC_LOAD_ACQ(&m->draining)) != 0) {
        error = memo_sleep_(m, &m->draining, left, deadline_ns);
    }
    return error;
}

static void do_nothing(struct shard *s, void *unused) {
    (void)s;
    (void)unused;
}

// Drop what is out of date, and have it reclaimed.  Under a monitor, the reaper
// has what that gave when this returns: a step is over before the next begins.
static void drop_everything(struct memo *m) {
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m); i++) {
        struct upkeep_step u;
        do {
            u = (struct upkeep_step){INT64_MIN, 256, 0, 0};
            memo_own_(memo_shard_at_(m, i), memo_upkeep_owned_, &u);
        } while (u.next_ns == u.now_ns);
    }
    if (m->monitor != NULL) {
        memo_own_(memo_shard_at_(m, 0), do_nothing, NULL);
    }
}

// Wait for all that is called in other threads.
static int await_others(struct memo *m, int64_t deadline_ns) {
    int error = memo_await_told_(m, deadline_ns);

    if (error == 0) {
        error = memo_reaper_drain_(m, deadline_ns);
    }
    return error == 0 ? memo_await_callings_(m, deadline_ns) : error;
}

int memo_close(struct memo *m, int64_t deadline_ns) {
    int error, late;

    if (m == NULL) {
        return MEMO_EINVAL;
    }
    SYNC_STORE_REL(&m->closing, 1);
    close_shards(m);
    memo_excuse_loads_(m, 1);
    wake_closers(m);
    error = drain(m, deadline_ns);
    memo_excuse_loads_(m, 0);
    // Completions hold values, which can be destroyed when they have returned.
    (void)memo_await_callings_(m, deadline_ns);
    drop_everything(m);
    late = await_others(m, deadline_ns);
    return error != 0 ? error : late;
}

static void see_retired(struct shard *s, void *int_seen) {
    *(int *)int_seen |= s->n_retired != 0;
}

static int has_retired(struct memo *m) {
    int seen = 0;
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), see_retired, &seen);
    }
    return seen;
}

// From now on, who does something with a shard owns it by its mutex.
static void stop_monitor(struct memo *m) {
    if (m->monitor != NULL) {
        sync_monitor_close(m->monitor);
        (void)memo_reaper_drain_(m, MEMO_NEVER);
        memo_reaper_stop_(m->reaper);
    }
}

void memo_free(struct memo *m) {
    uint64_t i;

    if (m == NULL) {
        return;
    }
    if (!SYNC_LOAD(&m->closing)) {
        (void)memo_close(m, MEMO_NEVER);
    }
    if (SYNC_LOAD_ACQ(&m->draining) == 0) {
        (void)memo_await_callings_(m, MEMO_NEVER);
    }
    memo_look_after_orphans_();
    stop_monitor(m);
    memo_pool_free_(m->pool, SYNC_LOAD_ACQ(&m->draining) == 0);
    drop_everything(m);
    (void)memo_await_told_(m, MEMO_NEVER);
    if (has_retired(m)) {
        add_orphan(m);
    }
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_calling_freed_(memo_shard_at_(m, i));
    }
    memo_core_gone_(m);
}
