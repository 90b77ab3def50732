#include "memo/stats.h"

#include <string.h>

#include "memo/args.h"
#include "memo/engine.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "memo/source.h"
#include "memo/step.h"
#include "sync/pin.h"

// Counting, and looking at what was counted.
//
// A histogram of times has eight buckets for each power of two, so a
// bucket is at most an eighth as wide as the times in it are long.  A time belongs
// to the first bucket whose bound it doesn't exceed:
//
//     bucket      0  1 ...  7   8   9 ... 15   16   17 ...
//     bound, ns   1  2 ...  8   9  10 ... 16   18   20 ...

#define SUB_BITS 3
#define SUBS (1 << SUB_BITS)

static unsigned bucket_of(int64_t span_ns) {
    uint64_t x = span_ns <= 0 ? 0 : (uint64_t)span_ns - 1;
    unsigned octave, bucket;

    if (x < SUBS) {
        return (unsigned)x;
    }
    octave = 63 - (unsigned)__builtin_clzll(x);
    bucket = (octave - SUB_BITS + 1) * SUBS +
             ((unsigned)(x >> (octave - SUB_BITS)) & (SUBS - 1));
    return bucket < MEMO_HISTOGRAM_BUCKETS ? bucket
                                           : MEMO_HISTOGRAM_BUCKETS - 1;
}

int64_t memo_histogram_bound_ns(uint32_t bucket) {
    if (bucket < SUBS) {
        return (int64_t)bucket + 1;
    }
    if (bucket >= MEMO_HISTOGRAM_BUCKETS - 1) {
        return MEMO_NEVER;
    }
    return (int64_t)(SUBS + 1 + bucket % SUBS) << (bucket / SUBS - 1);
}

void memo_record_(struct shard *s, int which, int64_t span_ns) {
    struct track *t = &s->ledger->recorder->track[which];

    (void)SYNC_ADD(&t->count[bucket_of(span_ns)], 1);
    (void)SYNC_ADD(&t->sum_ns, span_ns <= 0 ? 0 : (uint64_t)span_ns);
}

// ------------------------------------------------------------------ ledgers

static uint64_t n_recorders(uint64_t n_shards) {
    return n_shards < RECORDERS_MOST ? n_shards : RECORDERS_MOST;
}

size_t memo_ledgers_size_(uint64_t n_shards) {
    return n_shards * sizeof(struct ledger) +
           n_recorders(n_shards) * sizeof(struct recorder);
}

void memo_init_ledgers_(struct memo *m, void *ledgers) {
    struct ledger *ledger = ledgers;
    uint64_t n = memo_n_shards_(m), i;

    m->recorders = (struct recorder *)(void *)(ledger + n);
    for (i = 0; i < n; i++) {
        ledger[i].recorder = m->recorders + i % n_recorders(n);
        ledger[i].news_end = &ledger[i].news;
        memo_shard_at_(m, i)->ledger = &ledger[i];
    }
}

// ------------------------------------------------------------------ looking on

int memo_stats_histogram(struct memo *m, int which,
                         struct memo_histogram *out) {
    uint64_t i;
    unsigned b;

    if (m == NULL || out == NULL || which < 0 || which >= MEMO_HISTOGRAMS ||
        out->size != sizeof(*out)) {
        return MEMO_EINVAL;
    }
    memset(out, 0, sizeof(*out));
    out->size = sizeof(*out);
    for (i = 0; i < n_recorders(memo_n_shards_(m)); i++) {
        struct track *t = &m->recorders[i].track[which];
        for (b = 0; b < MEMO_HISTOGRAM_BUCKETS; b++) {
            uint64_t n = SYNC_LOAD(&t->count[b]);
            out->count[b] += n;
            out->n += n;
        }
        out->sum_ns += SYNC_LOAD(&t->sum_ns);
    }
    return 0;
}

// The middle of a bucket is off by no more than a sixteenth.
static int64_t middle_of(uint32_t bucket) {
    int64_t low = bucket == 0 ? 0 : memo_histogram_bound_ns(bucket - 1);
    int64_t high = memo_histogram_bound_ns(bucket);

    return high == MEMO_NEVER ? low : low + (high - low + 1) / 2;
}

int64_t memo_histogram_quantile(const struct memo_histogram *h, double q) {
    uint64_t rank, seen = 0;
    uint32_t b;

    if (h == NULL || !(q >= 0 && q <= 1)) {
        return MEMO_EINVAL;
    }
    if (h->n == 0) {
        return 0;
    }
    // The smallest time that so many don't exceed.
    rank = (uint64_t)(q * (double)h->n);
    rank += (double)rank < q * (double)h->n || rank == 0;
    rank = rank > h->n ? h->n : rank;
    for (b = 0; b < MEMO_HISTOGRAM_BUCKETS - 1 && seen + h->count[b] < rank;
         b++) {
        seen += h->count[b];
    }
    return middle_of(b);
}

// ------------------------------------------------------------------ numbers

// A hit whose pin doesn't say where.
static void count_hit(struct memo *m) {
    if (m->tally == SYNC_TALLY_NONE || !sync_tally_add_slow(m->tally)) {
        (void)SYNC_ADD(&m->hits, 1);
    }
}

void memo_count_(struct memo *m, uint32_t from) {
    if (from == MEMO_STALE) {
        (void)SYNC_ADD(&m->stale, 1);
    } else if (from == MEMO_NEGATIVE) {
        (void)SYNC_ADD(&m->negative, 1);
    } else {
        count_hit(m);
    }
}

// What the shards don't know: the sums of times.
static void fill_times(struct memo *m, struct memo_stats *stats) {
    uint64_t answered = stats->hits + stats->stale + stats->negative;
    uint64_t n_ended = stats->loads - stats->flights, i;

    for (i = 0; i < n_recorders(memo_n_shards_(m)); i++) {
        struct track *waits = &m->recorders[i].track[MEMO_HISTOGRAM_WAIT];
        stats->wait_ns += SYNC_LOAD(&waits->sum_ns);
    }
    if (n_ended != 0) {
        double mean = (double)stats->load_ns / (double)n_ended;
        double saved = (double)answered * mean;
        stats->saved_ns = saved < 0x1p64 ? (uint64_t)saved : UINT64_MAX;
    }
}

static void fill_stats(struct memo *m, struct memo_stats *stats) {
    uint64_t i;

    stats->max_entries = m->max_entries;
    stats->max_bytes = m->max_bytes;
    stats->max_weight = m->max_weight;
    stats->hits = SYNC_LOAD(&m->hits);
    stats->stale = SYNC_LOAD(&m->stale);
    stats->negative = SYNC_LOAD(&m->negative);
    if (m->tally != SYNC_TALLY_NONE) {
        stats->hits += sync_tally_sum(m->tally);
    }
    for (i = 0; i < memo_n_shards_(m); i++) {
        memo_own_(memo_shard_at_(m, i), memo_stats_owned_, stats);
    }
    memo_source_stats_(m, stats);
    fill_times(m, stats);
}

// As much as the caller's version of the struct has room for.
int memo_stats(struct memo *m, struct memo_stats *stats) {
    struct memo_stats filled;
    size_t size;

    if (m == NULL || stats == NULL ||
        memo_is_bad_size_(stats->size, offsetof(struct memo_stats, joins))) {
        return MEMO_EINVAL;
    }
    memset(&filled, 0, sizeof(filled));
    fill_stats(m, &filled);
    size = stats->size < sizeof(filled) ? stats->size : sizeof(filled);
    memset(stats, 0, stats->size);
    memcpy(stats, &filled, size);
    stats->size = size;
    return 0;
}
