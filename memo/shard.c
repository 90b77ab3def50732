#include "memo/shard.h"

#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/flight.h"
#include "memo/internal.h"
#include "memo/policy.h"
#include "memo/stats.h"
#include "memo/step.h"
#include "memo/table.h"
#include "memo/wheel.h"

// Changes that come from outside, and the end of a shard.
//
//   ORDER(stamp)  clear:A  release store of stamp
//       Calls that begin after memo_clear() returned are ordered after it by
//       whatever told them; hits load the stamp relaxed and so see it.

// Groups of the table that are so few that memo_clear() itself sweeps them.
#define SWEEP_AT_ONCE 16

void memo_replace_owned_(struct shard *s, void *replace_step) {
    struct replace_step *r = replace_step;
    struct table_place place;
    struct entry *old;

    r->error = s->closed ? MEMO_ECLOSED : 0;
    if (s->closed) {
        return;
    }
    shard_see_time(s, r->now_ns);
    if (r->entry != NULL && s->wheel != NULL) {
        memo_date_owned_(s, r->entry, r->dates, r->now_ns, 0);
    }
    old = memo_table_find_owned_(s, r->key, r->key_size, r->hash, &place);
    if (r->entry != NULL) {
        r->error = memo_store_owned_(s, r->entry, r->key, r->key_size, r->hash);
    } else if (old != NULL) {
        memo_drop_owned_(s, place, old, MEMO_INVALIDATED);
    }
    if (r->error != 0) {
        return;
    }
    memo_detach_key_owned_(s, r->key, r->key_size, r->hash);
    s->written = 1;
    // If a destructor waits, run it now rather than by and by.
    s->reclaim_now =
        old != NULL && (SYNC_LOAD(&old->word) & ENTRY_ADOPTED) != 0;
}

// Make every resident entry out of date at once; they are swept by and by.
static void next_generation(struct shard *s) {
    uint64_t now = SYNC_LOAD(&s->stamp);
    uint64_t next = now + (UINT64_C(1) << ENTRY_GENERATION_SHIFT);  // may wrap

    // A generation must not come round again while entries of it are left.
    if (++s->unswept_clears == ENTRY_GENERATION >> ENTRY_GENERATION_SHIFT) {
        (void)memo_sweep_owned_(s, UINT64_MAX);
        s->unswept_clears = 1;
    }
    SYNC_STORE_REL(&s->stamp, next);  // ORDER(stamp) clear:A
    s->n_outdated = s->table.n_entries;
    s->outdated_bytes = s->entry_bytes;
    s->swept_to = 0;
    s->sweeping = 1;
}

void memo_clear_owned_(struct shard *s, void *unused) {
    struct memo_load *f;

    (void)unused;
    while ((f = memo_any_flight_owned_(s)) != NULL) {
        memo_detach_flight_owned_(s, f);
    }
    next_generation(s);
    // A large cache is swept by and by.
    if (SYNC_LOAD(&s->table.level) / 2 <= SWEEP_AT_ONCE) {
        (void)memo_sweep_owned_(s, SWEEP_AT_ONCE);
        memo_reclaim_owned_(s, NULL);
    }
}

static void end_before_time(struct shard *s, struct memo_load *f, int error,
                            struct close_step *c) {
    memo_unlink_flight_owned_(s, f);
    f->state = FLIGHT_ENDED;
    f->error = error;
    (void)SYNC_ADD(&f->refs, 1);
    f->list.next = c->ended;
    c->ended = f;
}

static void end_all(struct shard *s, int error, struct close_step *c) {
    struct memo_load *f;

    while ((f = memo_any_flight_owned_(s)) != NULL ||
           (f = s->detached_flights) != NULL) {
        end_before_time(s, f, error, c);
    }
}

void memo_close_owned_(struct shard *s, void *close_step) {
    struct close_step *c = close_step;

    if (s->closed) {
        return;
    }
    s->closed = 1;
    // memo_close() waits for these: they count down as they end.
    (void)SYNC_ADD(&s->memo->draining, (uint32_t)s->n_running);
    end_all(s, MEMO_ECLOSED, c);
    next_generation(s);
}

void memo_leave_behind_owned_(struct shard *s, void *close_step) {
    struct close_step *c = close_step;
    struct memo_load *others = c->ended, *f;
    struct sync_link *link;

    end_all(s, MEMO_EFORKED, c);
    while ((link = sync_list_pop(&s->running)) != NULL) {
        SYNC_CONTAINER(link, struct memo_load, running)->runs = 0;
        s->n_running--;
    }
    for (f = c->ended; f != others; f = f->list.next) {
        if (f->old != NULL) {
            memo_let_try_owned_(s, f->old);
        }
    }
}

void memo_excuse_owned_(struct shard *s, void *excuse_step) {
    struct excuse_step *x = excuse_step;
    struct memo_load *f = x->flight;
    int was = f->excused != 0, is;

    f->excused += x->excused ? 1 : -1;
    is = f->excused != 0;
    if (f->runs && !memo_is_inherited_(f) && was != is) {
        (void)SYNC_ADD_ACQREL(&s->memo->draining,
                              is ? UINT32_MAX : UINT32_C(1));
    }
}

// ------------------------------------------------------------------ looking on

void memo_stats_owned_(struct shard *s, void *arg) {
    struct memo_stats *stats = arg;

    stats->joins += s->joins;
    stats->loads += s->loads;
    stats->load_failures += s->load_failures;
    stats->detached += s->detached;
    stats->load_ns += s->load_ns;
    stats->refreshes += s->refreshes;
    stats->refresh_failures += s->refresh_failures;
    stats->not_modified += s->not_modified;
    stats->passes += s->passes;
    stats->expired += s->expired;
    stats->replaced += s->ledger->removed[MEMO_REPLACED];
    stats->invalidated += s->ledger->removed[MEMO_INVALIDATED];
    stats->cleared += s->ledger->removed[MEMO_CLEARED];
    stats->rejected += s->ledger->removed[MEMO_REJECTED];
    stats->entries += s->table.n_entries - s->n_outdated;
    stats->bytes += s->entry_bytes - s->outdated_bytes;
    stats->flights += s->n_running;
    // ORDER(undead) count:B
    stats->retired += SYNC_LOAD_ACQ(&s->n_undead);
    stats->retired_bytes += SYNC_LOAD_ACQ(&s->undead_bytes);
    stats->table_bytes +=
        s->table.committed + s->retired_most * sizeof(*s->retired);
    if (s->wheel != NULL) {
        stats->table_bytes += memo_names_bytes_(&s->wheel->names);
    }
    if (s->policy != NULL) {
        stats->evictions += s->policy->evictions;
        stats->too_large += s->policy->too_large;
        stats->weight += s->policy->weight;
        stats->ghost_bytes += memo_policy_bytes_(s->policy);
    }
}
