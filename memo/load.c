#include "memo/internal.h"
#include "memo/table.h"

#include <string.h>

#include "sync/clock.h"
#include "sync/error.h"
#include "sync/note.h"

// The concurrent non-blocking cache (A. Donovan, B. Kernighan, "The Go
// Programming Language", 9.7): find the value, or wait for who is making it, or
// make it, and tell everybody.
//
//   ORDER(result)  end:A   the shard's owner writes result, error and detached
//                  set:B   sync_event_set(done), a release
//                  wait:C  sync_event_wait(done) returned 0, an acquire
//                  read:D  reads of result, error and detached
//       If wait:C returns 0, read:D sees what end:A wrote.

_Static_assert((int)SYNC_ETIMEDOUT == (int)MEMO_ETIMEDOUT &&
                   (int)SYNC_ECANCELED == (int)MEMO_ECANCELED,
               "errors of sync/ are passed through");

static int find_or_start(struct memo *m, struct begin_step *begin);
static void run_load(struct memo_load *f);
static int wait_for(struct memo_load *f, const struct memo_wait *wait);
static int hand_out(struct memo_load *f, int started, struct memo_value *out);

// The whole idea, in one function.  The key was not among the resident values.
static int find_or_load(struct memo *m, struct begin_step *begin,
                        const struct memo_wait *wait, struct memo_value *out,
                        int *detached) {
    int error = find_or_start(m, begin);

    *detached = 0;
    if (error != 0) {
        return error;
    }
    if (begin->entry != NULL) {
        memo_entry_hand_out_(begin->entry, MEMO_HIT, out);
        return 0;
    }
    if (begin->started) {
        run_load(begin->flight);
    }
    error = wait_for(begin->flight, wait);
    if (error == 0) {
        *detached = begin->flight->detached;
        error = hand_out(begin->flight, begin->started, out);
    }
    memo_flight_unref_(begin->flight);
    return error;
}

int memo_get_slow_(struct memo *m, const void *key, size_t key_size,
                   uint64_t hash, const struct memo_wait *wait,
                   struct memo_value *out) {
    uint32_t flags = wait == NULL ? 0 : wait->flags;
    int detached, error;

    if (memo_table_find_(memo_shard_of_(m, hash), key, key_size, hash, out)) {
        memo_count_hit_(m);
        return 0;
    }
    do {
        struct begin_step begin;
        memset(&begin, 0, sizeof(begin));
        begin.key = key;
        begin.key_size = key_size;
        begin.hash = hash;
        begin.depth = flags & MEMO_WAIT_NO_LOAD ? BEGIN_JOIN : BEGIN_START;
        error = find_or_load(m, &begin, wait, out, &detached);
        if (error == 0 && begin.entry != NULL) {
            memo_count_hit_(m);
        }
        if (detached && (flags & MEMO_WAIT_STRICT)) {
            memo_release(out);
        }
    } while (detached && (flags & MEMO_WAIT_STRICT));
    return error;
}

// Own the shard; look again; join the flight of the key, or start one.  Memory
// for a flight is taken between two looks, with nothing owned.
static int find_or_start(struct memo *m, struct begin_step *begin) {
    struct shard *s = memo_shard_of_(m, begin->hash);

    memo_own_(s, memo_begin_owned_, begin);
    if (begin->needs_spare) {
        begin->spare =
            memo_flight_new_(s, begin->hash, begin->key, begin->key_size);
        if (begin->spare == NULL) {
            return MEMO_ENOMEM;
        }
        (void)SYNC_ADD(&begin->spare->refs, 1);  // the load's, and the caller's
        memo_own_(s, memo_begin_owned_, begin);
        if (!begin->started) {
            memo_flight_unref_(begin->spare);
            memo_flight_unref_(begin->spare);
        }
    }
    return begin->error;
}

static int hand_out(struct memo_load *f, int started, struct memo_value *out) {
    if (f->result == NULL) {
        return f->error;
    }
    memo_entry_ref_(f->result);
    memo_entry_hand_out_(f->result,
                         f->detached ? MEMO_DETACHED
                         : started   ? MEMO_LOADED
                                     : MEMO_JOINED,
                         out);
    return 0;
}

// ------------------------------------------------------------------ the load

// A load that runs in this thread, inside those further out.
struct running {
    struct memo_load *flight;
    struct running *outer;
    int returned;
};

static SYNC_THREAD_LOCAL(struct running *, innermost);

uint32_t memo_loads_on_this_thread_(const struct memo *m) {
    const struct running *r;
    uint32_t n = 0;

    for (r = SYNC_TLS(innermost); r != NULL; r = r->outer) {
        n += r->flight->shard->memo == m;
    }
    return n;
}

// Publish the result, end the flight, wake everybody.
static void end_flight(struct memo_load *f, int error) {
    struct memo *m = f->shard->memo;
    struct end_step end = {f, f->making, error, memo_now_(m), 0, 0};

    f->making = NULL;
    if (end.error == 0 && end.entry == NULL) {
        end.error = MEMO_EABANDONED;
    }
    if (end.error != 0 && end.entry != NULL) {
        memo_entry_unref_(end.entry);  // CALLBACK
        end.entry = NULL;
    }
    memo_own_(f->shard, memo_end_owned_, &end);
    if (end.was_open) {
        sync_event_set(&f->done);  // ORDER(result) set:B
    } else if (end.entry != NULL) {
        memo_entry_unref_(end.entry);  // CALLBACK: the cache was closed
    }
    if (end.drains) {
        memo_load_drained_(m);
    }
}

int memo_load_finish(struct memo_load *l, int error) {
    if (l == NULL || error == MEMO_PENDING) {
        return MEMO_EINVAL;
    }
    if (SYNC_XCHG_ACQREL(&l->finished, 1) != 0) {
        return MEMO_EALREADY;
    }
    end_flight(l, error);
    memo_flight_unref_(l);  // the load's reference
    return 0;
}

// The wait graph: f->waits_for is the flight that the thread which runs the load
// of f waits for, or runs the load of.  One mutex guards all edges, of all
// caches; it is taken only inside loads.
static SYNC_GLOBAL struct sync_mutex wait_graph_mu;

static void set_edge(struct memo_load *from, struct memo_load *to) {
    sync_mutex_lock(&wait_graph_mu);
    from->waits_for = to;
    sync_mutex_unlock(&wait_graph_mu);
}

// Add the edge, unless it would close a cycle (W4).
//
// LIFETIME: who set an edge holds a reference to its target until the edge is
// gone, so the walk meets only live flights.
static int add_edge(struct memo_load *from, struct memo_load *to) {
    struct memo_load *f;

    sync_mutex_lock(&wait_graph_mu);
    for (f = to; f != NULL && f != from; f = f->waits_for) {
    }
    if (f == NULL) {
        from->waits_for = to;
    }
    sync_mutex_unlock(&wait_graph_mu);
    return f == NULL ? 0 : MEMO_EDEADLK;
}

static void enter(struct running *r, struct memo_load *f) {
    r->flight = f;
    r->outer = SYNC_TLS(innermost);
    if (r->outer != NULL) {
        set_edge(r->outer->flight, f);
    }
    SYNC_TLS(innermost) = r;
}

static void leave(struct running *r) {
    if (r->outer != NULL) {
        set_edge(r->outer->flight, NULL);
    }
    SYNC_TLS(innermost) = r->outer;
}

// Runs also when the load's thread ends, or an exception passes through: then
// the load is abandoned (E3), and so is this caller's interest in it.
static void end_of_load(struct running *r) {
    struct memo_load *f = r->flight;

    leave(r);
    if (!r->returned) {
        (void)memo_load_finish(f, MEMO_EABANDONED);
        memo_flight_unref_(f);
    }
}

static void run_load(struct memo_load *f) {
    __attribute__((cleanup(end_of_load))) struct running r = {NULL, NULL, 0};
    struct memo *m = f->shard->memo;
    int error;

    enter(&r, f);
    error = m->load(m->load_arg, f);  // CALLBACK: nothing is owned or locked
    r.returned = 1;
    if (error != MEMO_PENDING) {
        (void)memo_load_finish(f, error);
    }
}

// ------------------------------------------------------------------ waiting

static int wait_on_clock(struct memo_load *f, int64_t deadline_ns,
                         struct sync_note *note) {
    struct memo *m = f->shard->memo;

    if (deadline_ns == MEMO_NEVER || m->clock_is_monotonic) {
        return sync_event_wait(&f->done, deadline_ns, note);
    }
    for (;;) {
        int64_t now = memo_now_(m);
        int64_t left = deadline_ns <= now ? 0 : deadline_ns - now;
        int64_t nap = left < MEMO_LOOK_AT_CLOCK_NS ? left : MEMO_LOOK_AT_CLOCK_NS;
        int error = sync_event_wait(
            &f->done, left == 0 ? 0 : sync_clock_now_ns() + nap, note);
        if (error != SYNC_ETIMEDOUT || left == 0) {
            return error;
        }
    }
}

static int wait_for(struct memo_load *f, const struct memo_wait *wait) {
    struct running *inside = SYNC_TLS(innermost);
    int64_t deadline_ns = MEMO_NEVER;
    int error;

    if (sync_event_is_set(&f->done)) {  // ORDER(result) wait:C
        return 0;
    }
    if (wait != NULL && wait->deadline_ns != 0) {
        deadline_ns = wait->deadline_ns;
    }
    if (inside != NULL && add_edge(inside->flight, f) != 0) {
        return MEMO_EDEADLK;
    }
    error = wait_on_clock(f, deadline_ns, wait == NULL ? NULL : wait->note);
    if (inside != NULL) {
        set_edge(inside->flight, NULL);
    }
    return error;
}
