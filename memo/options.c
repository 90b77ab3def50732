#include "memo/options.h"

#include <string.h>

#include "memo/args.h"
#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/listen.h"
#include "memo/policy.h"
#include "sync/machine.h"
#include "sync/pin.h"

// What the options say: whether that may be, and what follows from it.

#define SHARDS_MOST 4096
#define SHARDS_PER_CORE 4
#define THREADS_MOST 1024
#define SHARDS_BY_DEFAULT 64

// Backoff is capped at so many times its first pause, if the options don't say.
#define BACKOFF_MOST 100

// What a shard of a bounded cache should hold at least.
#define SHARD_ENTRIES 1024
#define SHARD_BYTES ((uint64_t)1 << 20)
#define SHARD_WEIGHT 65536

// ------------------------------------------------------------------ checking

static int are_bad_times(const struct memo_options *o) {
    return o->ttl_ns < 0 || o->idle_ttl_ns < 0 || o->refresh_after_ns < 0 ||
           o->stale_if_error_ns < 0 || o->negative_ttl_ns < 0 ||
           o->pass_ttl_ns < 0 || o->backoff_ns < 0 || o->backoff_max_ns < 0 ||
           (o->backoff_max_ns != 0 && o->backoff_max_ns < o->backoff_ns) ||
           o->keep_old_ns < 0 || o->jitter_percent > 100;
}

static int are_bad_options(const struct memo_options *o) {
    const uint32_t flags =
        MEMO_CANCEL_UNWANTED | MEMO_EARLY_REFRESH | MEMO_DEPEND_AUTO;

    return are_bad_times(o) || o->load == NULL || (o->flags & ~flags) != 0 ||
           o->engine > MEMO_ENGINE_LOOP || o->policy > MEMO_POLICY_COST ||
           o->threads > THREADS_MOST ||
           (o->threads != 0 && o->executor != NULL) ||
           (o->executor != NULL && o->executor->submit == NULL) ||
           o->shards > SHARDS_MOST ||
           (o->shards & (o->shards - 1)) != 0 ||
           (o->allocator != NULL &&
            (o->allocator->alloc == NULL || o->allocator->free == NULL)) ||
           (o->clock != NULL && o->clock->now_ns == NULL) ||
           (o->listener != NULL && o->listener->removed == NULL);
}

int memo_options_take_(const struct memo_options *from,
                       struct memo_options *to) {
    memset(to, 0, sizeof(*to));
    return from == NULL ||
                   memo_take_struct_(from, from->size,
                                     offsetof(struct memo_options, load_arg),
                                     to, sizeof(*to)) != 0 ||
                   are_bad_options(to)
               ? MEMO_EINVAL
               : 0;
}

// ------------------------------------------------------------------ choosing

int memo_options_are_bounded_(const struct memo_options *o) {
    return o->max_entries != 0 || o->max_bytes != 0 || o->max_weight != 0;
}

static uint32_t default_shards(void) {
    uint32_t n = 1;

    while (n < (uint32_t)sync_cores() * SHARDS_PER_CORE &&
           n < SHARDS_BY_DEFAULT) {
        n *= 2;
    }
    return n;
}

// The policy decides better the more it sees: so few shards for small caches.
uint32_t memo_options_shards_(const struct memo_options *o) {
    uint32_t n = o->shards == 0 ? default_shards() : o->shards;

    while (n > 1 &&
           ((o->max_entries != 0 && o->max_entries / n < SHARD_ENTRIES) ||
            (o->max_bytes != 0 && o->max_bytes / n < SHARD_BYTES) ||
            (o->max_weight != 0 && o->max_weight / n < SHARD_WEIGHT))) {
        n /= 2;
    }
    return n;
}

enum timing memo_options_timing_(const struct memo_options *o) {
    if (o->idle_ttl_ns != 0 || o->refresh_after_ns != 0 ||
        o->stale_if_error_ns != 0 || o->negative_ttl_ns != 0 ||
        o->pass_ttl_ns != 0 || o->backoff_ns != 0 || o->keep_old_ns != 0 ||
        (o->flags & MEMO_EARLY_REFRESH) != 0) {
        return TIMING_FRESHNESS;
    }
    return o->ttl_ns != 0 ? TIMING_TTL : TIMING_NONE;
}

// ------------------------------------------------------------------ setting

static int64_t or_never(int64_t span_ns) {
    return span_ns == 0 ? MEMO_NEVER : span_ns;
}

static int64_t cap_of_backoff(const struct memo_options *o) {
    if (o->backoff_max_ns != 0) {
        return o->backoff_max_ns;
    }
    return o->backoff_ns > INT64_MAX / BACKOFF_MOST ? INT64_MAX
                                                    : o->backoff_ns * BACKOFF_MOST;
}

static void set_times(struct memo *m, const struct memo_options *o) {
    m->timing = memo_options_timing_(o);
    m->ttl_ns = or_never(o->ttl_ns);
    m->idle_ttl_ns = o->idle_ttl_ns;
    m->refresh_after_ns = or_never(o->refresh_after_ns);
    m->stale_if_error_ns = o->stale_if_error_ns;
    m->keep_old_ns = o->keep_old_ns > o->stale_if_error_ns
                         ? o->keep_old_ns
                         : o->stale_if_error_ns;
    m->negative_ttl_ns = o->negative_ttl_ns;
    m->pass_ttl_ns = o->pass_ttl_ns;
    m->backoff_ns = o->backoff_ns;
    m->backoff_max_ns = cap_of_backoff(o);
    m->jitter_percent = o->jitter_percent;
    m->early_refresh = (o->flags & MEMO_EARLY_REFRESH) != 0;
    if (m->timing != TIMING_NONE) {
        m->prefix_size = m->timing == TIMING_TTL ? PREFIX_OF_TTL
                                                 : PREFIX_OF_FRESHNESS;
    }
}

void memo_options_set_(struct memo *m, const struct memo_options *o,
                       const struct memo_allocator *allocator) {
    m->tally = sync_tally_new();
    m->load = o->load;
    m->load_arg = o->load_arg;
    m->allocator = *allocator;
    m->clock = o->clock == NULL ? memo_monotonic_clock_ : *o->clock;
    m->clock_is_monotonic = o->clock == NULL;
    m->load_many = o->load_many;
    if (o->executor != NULL) {
        m->executor = *o->executor;
    }
    m->max_loads = o->max_loads;
    m->max_waiters = o->max_waiters;
    m->max_waiters_per_key = o->max_waiters_per_key;
    m->max_entries = o->max_entries;
    m->max_bytes = o->max_bytes;
    m->max_weight = o->max_weight;
    m->weight = o->weight;
    m->weight_arg = o->weight_arg;
    m->prefix_size = o->max_weight != 0 ? PREFIX_OF_WEIGHT : 0;
    set_times(m, o);
    m->policy = memo_options_are_bounded_(o) ? o->policy : MEMO_POLICY_USE;
    if (o->listener != NULL) {
        m->listener = *o->listener;
        m->news_offset = m->prefix_size += sizeof(struct entry_news);
    }
    if (m->policy != MEMO_POLICY_USE) {
        m->prefix_size += sizeof(struct entry_worth);
    }
    m->cancel_unwanted = (o->flags & MEMO_CANCEL_UNWANTED) != 0;
    m->depend_auto = (o->flags & MEMO_DEPEND_AUTO) != 0;
    if (o->hash_seed == NULL) {
        sync_random(&m->seed, sizeof(m->seed));
    } else {
        m->seed = hash_seed_of(o->hash_seed);
    }
}
