#include "memo/chore.h"

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/shard.h"
#include "memo/stats.h"

// Taking, doing and putting back what there is to do.

// ------------------------------------------------------------------ heaps

void memo_heap_init_(struct heap *h) {
    h->first = NULL;
    h->end = &h->first;
    h->n = 0;
    h->bytes = 0;
}

void memo_heap_push_(struct heap *h, struct entry *e, uint64_t bytes) {
    *entry_next_dead(e) = NULL;
    *h->end = e;
    h->end = entry_next_dead(e);
    h->n++;
    h->bytes += bytes;
}

void memo_heap_append_(struct heap *h, struct heap *more) {
    if (more->n != 0) {
        *h->end = more->first;
        h->end = more->end;
        h->n += more->n;
        h->bytes += more->bytes;
    }
}

struct entry *memo_heap_pop_(struct heap *h) {
    struct entry *e = h->first;

    if (e != NULL) {
        h->first = *entry_next_dead(e);
        *entry_next_dead(e) = NULL;
        h->n--;
        h->bytes -= memo_entry_bytes_(entry_shard(e)->memo, e);
        if (h->first == NULL) {
            memo_heap_init_(h);
        }
    }
    return e;
}

// ------------------------------------------------------------------ chores

#define HEAVY_MOST 1000
#define HEAVY_BYTES_MOST ((uint64_t)64 << 20)

void memo_chores_see_crowd_locked_(struct reaper *r) {
    int alone = r->worker == WORKER_NONE && r->place != IN_IDLE_TIME;
    uint64_t most = alone || r->forked ? 0 : HEAVY_MOST;
    int crowded = r->heavy.n > most || r->heavy.bytes > HEAVY_BYTES_MOST ||
                  (alone && r->to_tell != NULL) ||
                  (r->forked && (r->to_tell != NULL || r->light.n != 0));

    SYNC_STORE(&r->crowded,
               (uint32_t)(crowded ? CROWD_FOR_ALL
                          : r->worker == WORKER_DUE ||
                                  (r->place == IN_IDLE_TIME &&
                                   r->light.n > LIGHT_MOST)
                              ? CROWD_FOR_LOOP
                              : CROWD_NONE));
}

struct entry *memo_chores_pop_heavy_locked_(struct reaper *r) {
    struct entry *e = memo_heap_pop_(&r->heavy);

    memo_chores_see_crowd_locked_(r);
    return e;
}

void memo_chores_push_shard_locked_(struct reaper *r, struct shard *s) {
    s->ledger->next_to_tell = NULL;
    *r->to_tell_end = s;
    r->to_tell_end = &s->ledger->next_to_tell;
}

struct shard *memo_chores_pop_shard_locked_(struct reaper *r) {
    struct shard *s = r->to_tell;

    if (s != NULL) {
        r->to_tell = s->ledger->next_to_tell;
        if (r->to_tell == NULL) {
            r->to_tell_end = &r->to_tell;
        }
        memo_chores_see_crowd_locked_(r);
    }
    return s;
}

struct chore memo_chores_take_(struct reaper *r, int worker, int idle) {
    struct chore c = {NULL, NULL};

    sync_mutex_lock(&r->mu);
    if ((worker || r->place == IN_IDLE_TIME) && !memo_in_listener_()) {
        c.shard = memo_chores_pop_shard_locked_(r);
    }
    if (c.shard == NULL && worker) {
        c.entry = memo_chores_pop_heavy_locked_(r);
    }
    if (c.shard == NULL && c.entry == NULL && idle) {
        c.entry = memo_heap_pop_(&r->light);
        memo_chores_see_crowd_locked_(r);
    }
    r->n_running += c.shard != NULL || c.entry != NULL;
    sync_mutex_unlock(&r->mu);
    return c;
}

// What this thread is at, inside what else it is at.
struct at_work {
    const struct reaper *reaper;
    struct at_work *outer;
};

static SYNC_THREAD_LOCAL(struct at_work *, innermost_work);

void memo_chore_finish_(struct reaper *r, struct chore c) {
    struct at_work here = {r, SYNC_TLS(innermost_work)};
    int more = 0, wake;

    SYNC_TLS(innermost_work) = &here;
    if (c.shard != NULL) {
        more = memo_tell_some_(c.shard);  // CALLBACK
        memo_tell_deferred_();
    } else {
        memo_entry_destroy_(c.entry);  // CALLBACK
    }
    SYNC_TLS(innermost_work) = here.outer;
    sync_mutex_lock(&r->mu);
    if (more) {
        memo_chores_push_shard_locked_(r, c.shard);  // behind the others
        memo_chores_see_crowd_locked_(r);
    }
    r->n_running--;
    wake = r->n_waiting != 0;
    sync_mutex_unlock(&r->mu);
    if (wake) {
        (void)SYNC_ADD_ACQREL(&r->quiet, 1);
        (void)sync_futex_wake(&r->quiet, INT32_MAX);
    }
    if (c.shard != NULL && !more) {
        memo_shard_gone_(c.shard);
    }
}

int memo_chores_running_here_(const struct reaper *r) {
    const struct at_work *w;
    int n = 0;

    for (w = SYNC_TLS(innermost_work); w != NULL; w = w->outer) {
        n += w->reaper == r;
    }
    return n;
}
