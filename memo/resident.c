#include "memo/alarm.h"
#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/policy.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"
#include "memo/table.h"
#include "memo/wheel.h"

// What is resident: stored, dropped, and swept when it is out of date.

// Groups of the table swept by one write.
#define SWEEP_BY_WRITE 4

// Entries whose time may have come, looked at likewise.
#define EXPIRE_BY_WRITE 4

// Entry e leaves its queue, if there are any.
static enum queue_name leave_queue(struct shard *s, struct entry *e) {
    return s->policy == NULL ? QUEUE_NONE : memo_policy_forget_(s, e);
}

// Drop entry e from the table.
void memo_drop_owned_(struct shard *s, struct table_place place, struct entry *e,
                 enum memo_cause cause) {
    memo_table_remove_owned_(&s->table, place);
    (void)leave_queue(s, e);
    memo_retire_owned_(s, e, cause);
}

void memo_evict_owned_(struct shard *s, struct entry *e, uint64_t hash,
                       enum memo_cause cause) {
    struct table_place place;

    (void)memo_table_find_owned_(
        s, e->bytes, entry_key_size(SYNC_LOAD(&e->word)), hash, &place);
    memo_drop_owned_(s, place, e, cause);
}

static int is_marker(const struct entry *e) {
    enum entry_kind kind = entry_kind(SYNC_LOAD(&e->word));

    return kind == KIND_ERROR || kind == KIND_PASS;
}

// e, which is no reader's yet, belongs to a generation, or to a shard.
static void set_belonging(struct entry *e, uint64_t bits) {
    SYNC_STORE(&e->word, (SYNC_LOAD(&e->word) & ~ENTRY_SHARD) | bits);
}

// Make e resident, in place of what is there.  0, or MEMO_ENOMEM and nothing has
// changed.  The table takes a reference of its own.  If e is too large for the
// cache, only what was there is dropped.
int memo_store_owned_(struct shard *s, struct entry *e, const void *key,
                 size_t key_size, uint64_t hash) {
    struct table_place place;
    struct entry *old;
    enum queue_name instead = QUEUE_NONE;

    if (s->wheel != NULL) {
        (void)memo_expire_owned_(s, EXPIRE_BY_WRITE);  // rather than evict
    }
    old = memo_table_find_owned_(s, key, key_size, hash, &place);
    if (s->policy != NULL && !memo_policy_has_room_for_(s, e)) {
        s->policy->too_large += !is_marker(e);
        if (old != NULL) {
            memo_drop_owned_(s, place, old, MEMO_REPLACED);
        }
        memo_note_rejected_owned_(s, e);
        return 0;
    }
    if (memo_retired_reserve_owned_(s) != 0 ||
        (s->policy != NULL && memo_policy_reserve_(s) != 0) ||
        (s->wheel != NULL && memo_reserve_alarm_owned_(s) != 0)) {
        return MEMO_ENOMEM;
    }
    set_belonging(e, shard_generation(s));
    if (old != NULL) {
        memo_table_replace_owned_(place, e, hash);
        if (s->wheel != NULL) {
            memo_inherit_alarm_owned_(s, e, old);
        }
        instead = leave_queue(s, old);
        // An error takes the place of a value only if that one's time is over.
        s->expired += is_marker(e) && !is_marker(old) &&
                      shard_is_current(s, old);
        memo_retire_owned_(s, old, is_marker(e) ? MEMO_EXPIRED : MEMO_REPLACED);
    } else if (memo_table_insert_owned_(s, e, hash) != 0) {
        set_belonging(e, s->mark);
        return MEMO_ENOMEM;
    }
    memo_entry_ref_(e);
    shard_count_linked(s, e, 1);
    s->entry_bytes += memo_entry_bytes_(s->memo, e);
    if (s->wheel != NULL) {
        memo_set_alarm_owned_(s, e, hash);
    }
    if (s->policy != NULL) {
        memo_policy_admit_(s, e, hash, instead);
    }
    return 0;
}

static void sweep_one(struct shard *s, struct table_place place,
                      struct entry *e, void *arg) {
    (void)arg;
    if (!shard_is_valid(s, e)) {
        memo_drop_owned_(s, place, e,
             shard_is_current(s, e) ? MEMO_INVALIDATED : MEMO_CLEARED);
    }
}

// Entries whose links are broken are dropped when somebody comes across them.
// But when these may be one in so many of those with links, look for them.
#define BROKEN_SHARE 8

static void look_for_broken_links(struct shard *s) {
    uint64_t concerned;

    if (s->n_linked == 0 || s->sweeping) {
        return;
    }
    concerned = memo_source_concerned_(s->memo);
    if ((concerned - s->concerned) / memo_n_shards_(s->memo) >
        s->n_linked / BROKEN_SHARE) {
        s->concerned = concerned;
        s->swept_to = 0;
        s->sweeping = 1;
    }
}

// Drop what memo_clear() made out of date, or other changes, in up to n groups;
// return in how many.
uint64_t memo_sweep_owned_(struct shard *s, uint64_t n) {
    uint64_t groups, left;

    look_for_broken_links(s);
    if (!s->sweeping || n == 0) {
        return 0;
    }
    groups = memo_table_walk_owned_(s, s->swept_to, n, sweep_one, NULL);
    // Groups split off meanwhile lie ahead, so none is missed.
    left = groups - s->swept_to;
    if (n >= left) {
        s->sweeping = 0;
        s->unswept_clears = 0;
        return left;
    }
    s->swept_to += n;
    return n;
}

void memo_tidy_owned_(struct shard *s) {
    if (!s->written) {
        return;
    }
    s->written = 0;
    memo_table_grow_owned_(s);
    if (s->wheel != NULL) {
        (void)memo_expire_owned_(s, EXPIRE_BY_WRITE);
    }
    if (s->policy != NULL) {
        memo_policy_trim_(s);
    }
    (void)memo_sweep_owned_(s, SWEEP_BY_WRITE);
    if (s->reclaim_now || s->n_retired >= s->reclaim_at ||
        s->retired_bytes >= s->reclaim_bytes_at) {
        s->reclaim_now = 0;
        memo_reclaim_owned_(s, NULL);
    }
}

void memo_upkeep_owned_(struct shard *s, void *upkeep_step) {
    struct upkeep_step *u = upkeep_step;

    shard_see_time(s, u->now_ns);
    u->next_ns = MEMO_NEVER;
    u->groups -= memo_sweep_owned_(s, u->groups);
    if (s->wheel != NULL) {
        u->entries -= memo_expire_owned_(s, u->entries);
        u->next_ns = memo_wheel_due_ns_(s->wheel);
        if (s->policy != NULL) {
            memo_policy_trim_(s);  // names may have become more
        }
    }
    if (s->n_retired != 0) {
        memo_reclaim_owned_(s, NULL);
    }
    if (s->sweeping || memo_leaves_garbage_owned_(s) ||
        u->next_ns < u->now_ns) {
        u->next_ns = u->now_ns;
    }
}
