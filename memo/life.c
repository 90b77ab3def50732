#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/link.h"
#include "memo/policy.h"
#include "memo/stats.h"
#include "memo/table.h"

#include <stdlib.h>
#include <string.h>

#include "sync/clock.h"
#include "sync/machine.h"
#include "sync/monitor.h"
#include "sync/pin.h"

// The beginning and the end of a cache.
//
//   ORDER(live)   acquire-release decrements of shard.live and memo.live: who
//                 takes the last to 0 sees all that others did with the cache's
//                 memory, and gives it back.
//   ORDER(drain)  last:A  acquire-release decrement of draining
//                 wait:B  acquire load of draining
//       If wait:B reads that the loads have ended, what they did came before.

// Address space for the tables of one cache: room for 10^9 entries.  Halved
// until the process may have it.
#define PAGES_MOST ((size_t)1 << 35)
#define PAGES_LEAST ((size_t)1 << 18)  // of a shard
#define CORE_ALIGN ((size_t)128)
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

// One part in so many of a shard's pages is for the policy's ghosts.
#define GHOSTS_SHARE 16

// ------------------------------------------------------------------ memory

static void *alloc_by_malloc(void *state, size_t size) {
    (void)state;
    return malloc(size);
}

static void free_by_malloc(void *state, void *p, size_t size) {
    (void)state;
    (void)size;
    free(p);
}

// What an allocation takes, as jemalloc and tcmalloc say it; not there in others.
extern size_t nallocx(size_t size, int flags) __attribute__((weak));

// As the malloc says that the program is linked with; else what glibc's takes: a
// word before each block, and multiples of two.
static size_t good_size_of_malloc(void *state, size_t size) {
    const size_t word = sizeof(size_t), least = 4 * word;
    size_t taken = (size + word + 2 * word - 1) & ~(2 * word - 1);

    (void)state;
    if (nallocx != NULL && size != 0) {
        size_t good = nallocx(size, 0);
        return good == 0 ? size : good;
    }
    return taken < least ? least : taken;
}

static int64_t now_by_monotonic_clock(void *state) {
    (void)state;
    return sync_clock_now_ns();
}

size_t memo_good_size_(const struct memo *m, size_t size) {
    return m->allocator.good_size == NULL
               ? size
               : m->allocator.good_size(m->allocator.state, size);
}

void *memo_alloc_(struct memo *m, size_t size) {
    return m->allocator.alloc(m->allocator.state, size);
}

void memo_dealloc_(struct memo *m, void *p, size_t size) {
    m->allocator.free(m->allocator.state, p, size);
}

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

static void free_core(struct memo *m) {
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
        free_core(m);
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

static void look_after_orphans(void) {
    struct memo *m;
    int i;

    for (i = 0; (m = take_orphan(i)) != NULL; i++) {
        drop_everything(m);
        memo_core_gone_(m);
    }
}

// ------------------------------------------------------------------ options

int memo_take_struct_(const void *from, size_t size, size_t least, void *to,
                      size_t to_size) {
    const unsigned char *bytes = from;
    size_t i;

    if (size < least || size > STRUCT_MOST) {
        return MEMO_EINVAL;
    }
    for (i = to_size; i < size; i++) {
        if (bytes[i] != 0) {
            return MEMO_EINVAL;
        }
    }
    memcpy(to, from, size < to_size ? size : to_size);
    return 0;
}

static int take_options(const struct memo_options *from,
                        struct memo_options *to) {
    memset(to, 0, sizeof(*to));
    return from == NULL
               ? MEMO_EINVAL
               : memo_take_struct_(from, from->size,
                                   offsetof(struct memo_options, load_arg), to,
                                   sizeof(*to));
}

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

static uint32_t default_shards(void) {
    uint32_t n = 1;

    while (n < (uint32_t)sync_cores() * SHARDS_PER_CORE &&
           n < SHARDS_BY_DEFAULT) {
        n *= 2;
    }
    return n;
}

// The policy decides better the more it sees: so few shards for small caches.
static uint32_t choose_shards(const struct memo_options *o) {
    uint32_t n = o->shards == 0 ? default_shards() : o->shards;

    while (n > 1 &&
           ((o->max_entries != 0 && o->max_entries / n < SHARD_ENTRIES) ||
            (o->max_bytes != 0 && o->max_bytes / n < SHARD_BYTES) ||
            (o->max_weight != 0 && o->max_weight / n < SHARD_WEIGHT))) {
        n /= 2;
    }
    return n;
}

static int is_bounded(const struct memo_options *o) {
    return o->max_entries != 0 || o->max_bytes != 0 || o->max_weight != 0;
}

// What the policy of a shard needs.
static size_t policy_size(const struct memo_options *o) {
    if (!is_bounded(o)) {
        return 0;
    }
    return sizeof(struct policy) +
           (o->policy == MEMO_POLICY_USE ? 0 : sizeof(struct values));
}

// ------------------------------------------------------------------ times

static int64_t or_never(int64_t span_ns) {
    return span_ns == 0 ? MEMO_NEVER : span_ns;
}

static enum timing choose_timing(const struct memo_options *o) {
    if (o->idle_ttl_ns != 0 || o->refresh_after_ns != 0 ||
        o->stale_if_error_ns != 0 || o->negative_ttl_ns != 0 ||
        o->pass_ttl_ns != 0 || o->backoff_ns != 0 || o->keep_old_ns != 0 ||
        (o->flags & MEMO_EARLY_REFRESH) != 0) {
        return TIMING_FRESHNESS;
    }
    return o->ttl_ns != 0 ? TIMING_TTL : TIMING_NONE;
}

static int64_t cap_of_backoff(const struct memo_options *o) {
    if (o->backoff_max_ns != 0) {
        return o->backoff_max_ns;
    }
    return o->backoff_ns > INT64_MAX / BACKOFF_MOST ? INT64_MAX
                                                    : o->backoff_ns * BACKOFF_MOST;
}

static void set_times(struct memo *m, const struct memo_options *o) {
    m->timing = choose_timing(o);
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

static void init_times(struct memo *m, uint64_t i) {
    struct shard *s = memo_shard_at_(m, i);

    s->wheel = m->wheels + i;
    s->now_ns = INT64_MIN;
    s->random = m->seed.word[0] ^ hash_fold(m->seed.word[1], i + 1);
    memo_wheel_init_(s->wheel, memo_now_(m));
}

// ------------------------------------------------------------------ beginning

_Static_assert(sizeof(struct shard) <= SHARD_SIZE, "a shard outgrew its size");

static size_t align_up(size_t n, size_t to) {
    return (n + to - 1) & ~(to - 1);
}

static void set_options(struct memo *m, const struct memo_options *o,
                        const struct memo_allocator *allocator) {
    static const struct memo_clock monotonic = {now_by_monotonic_clock, NULL};

    m->tally = sync_tally_new();
    m->load = o->load;
    m->load_arg = o->load_arg;
    m->allocator = *allocator;
    m->clock = o->clock == NULL ? monotonic : *o->clock;
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
    m->policy = is_bounded(o) ? o->policy : MEMO_POLICY_USE;
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
        memcpy(&m->seed, o->hash_seed, sizeof(m->seed));
    }
}

static int reserve_pages(struct memo *m, uint64_t n_shards) {
    size_t size = PAGES_MOST;

    while (size >= PAGES_LEAST * n_shards) {
        m->pages = sync_pages_reserve(size);
        if (m->pages != NULL) {
            m->pages_size = size;
            return 0;
        }
        size /= 2;
    }
    return MEMO_ENOMEM;
}

// The share of shard i in a bound; the shares add up to it.
static uint64_t share_of(const struct memo *m, uint64_t bound, uint64_t i) {
    uint64_t n = memo_n_shards_(m);

    return bound == 0 ? NO_BOUND : bound / n + (i < bound % n);
}

// The ghosts get the end of what would be the table's pages.
static void init_policy(struct memo *m, uint64_t i, size_t pages_size) {
    struct shard *s = memo_shard_at_(m, i);
    struct measure limit = {share_of(m, m->max_entries, i),
                            share_of(m, m->max_bytes, i),
                            share_of(m, m->max_weight, i)};

    struct values *values = (struct values *)(m->policies + memo_n_shards_(m));
    struct ghosts ghosts;

    s->policy = m->policies + i;
    s->table.limit -= pages_size / GHOSTS_SHARE;
    memo_ghosts_init_(&ghosts, s->table.limit, pages_size / GHOSTS_SHARE);
    memo_policy_init_(s, limit, ghosts,
                      m->policy == MEMO_POLICY_USE ? NULL : values + i);
}

static int init_shards(struct memo *m, uint64_t n_shards) {
    size_t share = m->pages_size / n_shards;
    uint64_t i;

    for (i = 0; i < n_shards; i++) {
        struct shard *s = memo_shard_at_(m, i);
        s->memo = m;
        SYNC_INIT(&s->live, 1);
        s->reclaim_bytes_at = RECLAIM_BYTES;
        // Where a hit couldn't be counted, is noted by the load that it is for, or
        // must ask another clock.
        SYNC_INIT(&s->stamp, m->tally == SYNC_TALLY_NONE || m->depend_auto ||
                                     (m->timing != TIMING_NONE &&
                                      !m->clock_is_monotonic)
                                 ? ENTRY_USES | ENTRY_NONE
                                 : ENTRY_USES);
        if (memo_table_init_(&s->table, (unsigned char *)m->pages + i * share,
                             share) != 0) {
            return MEMO_ENOMEM;
        }
        if (m->policies != NULL) {
            init_policy(m, i, share);
        }
        if (m->wheels != NULL) {
            init_times(m, i);
        }
    }
    return 0;
}

static int start_engine(struct memo *m, uint32_t engine) {
    if (engine == MEMO_ENGINE_LOCK) {
        return 0;
    }
    m->reaper = memo_reaper_new_(engine == MEMO_ENGINE_MONITOR, &m->executor);
    if (m->reaper == NULL ||
        sync_monitor_new(engine == MEMO_ENGINE_MONITOR, 0, &m->monitor) != 0) {
        return MEMO_ENOMEM;
    }
    sync_monitor_on_idle(m->monitor, memo_monitor_idle_, m);
    return 0;
}

static int start_pool(struct memo *m, uint32_t n_threads) {
    if (n_threads == 0) {
        return 0;
    }
    m->pool = memo_pool_new_(n_threads);
    if (m->pool == NULL) {
        return MEMO_ENOMEM;
    }
    m->executor = memo_pool_executor_(m->pool);
    return 0;
}

// One block for the cache, its shards and their policies, from the caller's
// allocator.
static struct memo *alloc_core(const struct memo_allocator *allocator,
                               uint64_t n_shards, size_t policy_size,
                               int timed) {
    size_t head = align_up(sizeof(struct memo), CORE_ALIGN);
    size_t shards = n_shards * SHARD_SIZE;
    size_t policies = n_shards * policy_size;
    size_t wheels = timed ? n_shards * sizeof(struct wheel) : 0;
    size_t ledgers = memo_ledgers_size_(n_shards);
    size_t size = CORE_ALIGN + head + shards + policies + wheels + ledgers;
    unsigned char *block = allocator->alloc(allocator->state, size);
    struct memo *m;

    if (block == NULL) {
        return NULL;
    }
    memset(block, 0, size);
    m = (struct memo *)align_up((uintptr_t)block, CORE_ALIGN);
    m->block = block;
    m->block_size = size;
    m->shards = (unsigned char *)m + head;
    m->shard_mask = (n_shards - 1) * SHARD_SIZE;
    if (policy_size != 0) {
        m->policies = (struct policy *)(void *)(m->shards + shards);
    }
    if (timed) {
        m->wheels = (struct wheel *)(void *)(m->shards + shards + policies);
    }
    memo_init_ledgers_(m, m->shards + shards + policies + wheels);
    return m;
}

int memo_new(const struct memo_options *options, struct memo **out) {
    static const struct memo_allocator by_malloc = {
        alloc_by_malloc, free_by_malloc, NULL, good_size_of_malloc};
    const struct memo_allocator *allocator;
    struct memo_options o;
    struct memo *m;
    uint32_t n_shards;

    if (out == NULL) {
        return MEMO_EINVAL;
    }
    *out = NULL;
    if (take_options(options, &o) != 0 || are_bad_options(&o)) {
        return MEMO_EINVAL;
    }
    look_after_orphans();
    // Ask once, now: the first hit would have to wait for the answer.
    (void)sync_heavy_fence_available();
    allocator = o.allocator == NULL ? &by_malloc : o.allocator;
    n_shards = choose_shards(&o);
    m = alloc_core(allocator, n_shards, policy_size(&o),
                   choose_timing(&o) != TIMING_NONE);
    if (m == NULL) {
        return MEMO_ENOMEM;
    }
    set_options(m, &o, allocator);
    SYNC_INIT(&m->live, n_shards + UINT64_C(1));
    if (reserve_pages(m, n_shards) != 0) {
        sync_tally_free(m->tally);
        memo_dealloc_(m, m->block, m->block_size);
        return MEMO_ENOMEM;
    }
    if (init_shards(m, n_shards) != 0 || start_pool(m, o.threads) != 0 ||
        start_engine(m, o.engine) != 0 ||
        memo_fork_add_(&m->forkable, memo_fork_cache_) != 0) {
        memo_pool_free_(m->pool, 1);
        free_core(m);
        return MEMO_ENOMEM;
    }
    *out = m;
    return 0;
}

// ------------------------------------------------------------------ the end

static void wake_closers(struct memo *m) {
    (void)sync_futex_wake(&m->draining, INT32_MAX);
}

void memo_load_drained_(struct memo *m) {
    (void)SYNC_SUB_ACQREL(&m->draining, 1);  // ORDER(drain) last:A
    wake_closers(m);
}

// Close every shard.  Who comes while another is at it does the same, so that on
// return all are closed.
static void close_shards(struct memo *m) {
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m); i++) {
        struct close_step c = {NULL};
        memo_own_(memo_shard_at_(m, i), memo_close_owned_, &c);
        while (c.ended != NULL) {
            struct memo_load *f = c.ended;
            c.ended = f->child[0];
            f->child[0] = NULL;
            sync_event_set(&f->done);
            sync_event_set(&f->canceled);  // CALLBACK: of the load
            memo_flight_unref_(f);
        }
    }
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
            u = (struct upkeep_step){INT64_MIN, 256, 0};
            memo_own_(memo_shard_at_(m, i), memo_upkeep_owned_, &u);
        } while (u.next_ns == u.now_ns);
    }
    if (m->monitor != NULL) {
        memo_own_(memo_shard_at_(m, 0), do_nothing, NULL);
    }
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
    drop_everything(m);
    late = memo_await_told_(m, deadline_ns);
    if (late == 0) {
        late = memo_reaper_drain_(m, deadline_ns);
    }
    return error != 0 ? error : late;
}

static void see_retired(struct shard *s, void *int_seen) {
    *(int *)int_seen |= s->retired != NULL;
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
    look_after_orphans();
    stop_monitor(m);
    memo_pool_free_(m->pool, SYNC_LOAD_ACQ(&m->draining) == 0);
    drop_everything(m);
    (void)memo_await_told_(m, MEMO_NEVER);
    if (has_retired(m)) {
        add_orphan(m);
    }
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_shard_gone_(memo_shard_at_(m, i));
    }
    memo_core_gone_(m);
}
