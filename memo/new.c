#include "memo/engine.h"
#include "memo/entry.h"
#include "memo/fork.h"
#include "memo/ghost.h"
#include "memo/internal.h"
#include "memo/names.h"
#include "memo/options.h"
#include "memo/policy.h"
#include "memo/pool.h"
#include "memo/reaper.h"
#include "memo/shard.h"
#include "memo/stats.h"
#include "memo/table.h"
#include "memo/wheel.h"

#include <string.h>

#include "sync/machine.h"
#include "sync/monitor.h"
#include "sync/pin.h"
#include "sync/ticks.h"

// memo_new(): how a cache is made of options.

// Address space for the tables of one cache: room for 10^9 entries, or half as many
// if it is bounded.  Halved until the process may have it.
#define PAGES_MOST ((size_t)1 << 35)
#define PAGES_LEAST ((size_t)1 << 18)  // of a shard
#define PAGES_ALIGN ((size_t)1 << SHARD_PAGES_SHIFT)

// What the pages of a shard begin with: its address.
#define PAGES_HEAD sizeof(struct bucket[2])
#define CORE_ALIGN ((size_t)128)

// What the policy of a shard needs.
static size_t policy_size(const struct memo_options *o) {
    if (!memo_options_are_bounded_(o)) {
        return 0;
    }
    return sizeof(struct policy) +
           (o->policy == MEMO_POLICY_USE ? 0 : sizeof(struct values));
}

static void init_times(struct memo *m, uint64_t i, unsigned char *pages,
                       size_t size) {
    struct shard *s = memo_shard_at_(m, i);

    s->wheel = m->wheels + i;
    s->now_ns = INT64_MIN;
    s->random = m->seed.word[0] ^ hash_fold(m->seed.word[1], i + 1);
    memo_wheel_init_(s->wheel, pages, size, memo_now_(m));
}

_Static_assert(sizeof(struct shard) <= SHARD_SIZE, "a shard outgrew its size");

static size_t align_up(size_t n, size_t to) {
    return (n + to - 1) & ~(to - 1);
}

// What wheels need of so many bytes for all that shards need else: behind them.
static size_t pages_of_wheels(const struct memo *m, size_t size) {
    return m->wheels == NULL ? 0 : size / 4;
}

// *all: how large the pages of the shards are together.
static int reserve_pages(struct memo *m, uint64_t n_shards, size_t *all) {
    size_t size = PAGES_MOST;

    while (size >= PAGES_LEAST * n_shards) {
        size_t more = pages_of_wheels(m, size) + PAGES_ALIGN;
        m->pages = sync_pages_reserve(size + more);
        if (m->pages != NULL) {
            m->pages_size = size + more;
            *all = size;
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

static void init_policy(struct memo *m, uint64_t i, unsigned char *pages,
                        size_t size) {
    struct shard *s = memo_shard_at_(m, i);
    struct measure limit = {share_of(m, m->max_entries, i),
                            share_of(m, m->max_bytes, i),
                            share_of(m, m->max_weight, i)};

    struct values *values = (struct values *)(m->policies + memo_n_shards_(m));
    struct ghosts ghosts;
    struct names_pool names = {.n = 0};

    s->policy = m->policies + i;
    memo_names_init_(&names, pages, size / 2, POLICY_QUEUES, 0);
    memo_ghosts_init_(&ghosts, pages + size / 2, size / 2);
    memo_policy_init_(s, limit, ghosts, names,
                      m->policy == MEMO_POLICY_USE ? NULL : values + i);
}

// The pages of a shard, in sixteenths: 8 are for buckets, 2 for chains, 4 for what is
// retired, and 2 for the policy's names and ghosts.
static int init_pages(struct memo *m, uint64_t i, unsigned char *pages,
                      size_t size) {
    struct shard *s = memo_shard_at_(m, i);

    s->mark = entry_mark(pages);
    if (memo_table_init_(&s->table, pages + PAGES_HEAD, size / 16 * 8,
                         size / 16 * 2 - PAGES_HEAD) != 0) {
        return MEMO_ENOMEM;
    }
    *(struct shard **)(void *)pages = s;  // the table's first page
    s->retired = (struct entry **)(void *)(pages + size / 16 * 10);
    s->retired_pages = size / 16 * 4;
    if (m->policies != NULL) {
        init_policy(m, i, pages + size / 16 * 14, size / 16 * 2);
    }
    return 0;
}

static int init_shards(struct memo *m, uint64_t n_shards, size_t all) {
    unsigned char *pages =
        (unsigned char *)align_up((uintptr_t)m->pages, PAGES_ALIGN);
    size_t share = all / n_shards, of_wheel = pages_of_wheels(m, share);
    uint64_t i;

    if ((uintptr_t)(pages + m->pages_size) >> 48 != 0) {
        return MEMO_ENOMEM;  // beyond what is said in an entry's word
    }
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
        if (init_pages(m, i, pages + i * share, share) != 0) {
            return MEMO_ENOMEM;
        }
        if (m->wheels != NULL) {
            init_times(m, i, pages + all + i * of_wheel, of_wheel);
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

// What is asked once, now: the first hit would have to wait for the answer, or be in
// a sandbox where one mustn't ask.
static void ask_the_machine(void) {
    struct sync_ticks_window window = {0, 0};

    (void)sync_heavy_fence_available();
    (void)sync_ticks_read_clock(&window);
}

int memo_new(const struct memo_options *options, struct memo **out) {
    const struct memo_allocator *allocator;
    struct memo_options o;
    struct memo *m;
    uint32_t n_shards;
    size_t all;

    if (out == NULL) {
        return MEMO_EINVAL;
    }
    *out = NULL;
    if (memo_options_take_(options, &o) != 0) {
        return MEMO_EINVAL;
    }
    memo_look_after_orphans_();
    ask_the_machine();
    allocator = o.allocator == NULL ? &memo_by_malloc_ : o.allocator;
    n_shards = memo_options_shards_(&o);
    m = alloc_core(allocator, n_shards, policy_size(&o),
                   memo_options_timing_(&o) != TIMING_NONE);
    if (m == NULL) {
        return MEMO_ENOMEM;
    }
    memo_options_set_(m, &o, allocator);
    SYNC_INIT(&m->live, n_shards + UINT64_C(1));
    if (reserve_pages(m, n_shards, &all) != 0) {
        sync_tally_free(m->tally);
        memo_dealloc_(m, m->block, m->block_size);
        return MEMO_ENOMEM;
    }
    if (init_shards(m, n_shards, all) != 0 || start_pool(m, o.threads) != 0 ||
        start_engine(m, o.engine) != 0 ||
        memo_fork_add_(&m->forkable, memo_fork_cache_) != 0) {
        memo_pool_free_(m->pool, 1);
        memo_core_free_(m);
        return MEMO_ENOMEM;
    }
    *out = m;
    return 0;
}
