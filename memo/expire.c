#include "memo/expire.h"

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/shard.h"

// The times of a value, on the cache's clock:
//
//     made        refresh_ns        deadline_ns          deadline_ns
//      |              |                  |            + stale_if_error
//      '--- fresh ----'---- fresh, ------'-- expired; stands ---'--- gone, or
//                       to be refreshed       in for failures        in hand only
//
// A reader compares one time, check_ns: before it, there is nothing to think
// about.  Past it he asks the owner, who says what e is, and moves check_ns to
// the next moment at which somebody must think.  So all but one of those who
// find a value that is to be refreshed find it fresh (T3).
//
// Before a value has expired, check_ns is never later than deadline_ns; from then
// on it stays in the past.  So a reader who doesn't know yet that a value has
// become stale can't take it for a fresh one.  When a stale value is to be thought
// about is said by refresh_ns.
//
// The expired are dropped when they are met, or when the wheel's turn comes,
// whatever is first; never later are they handed out as fresh (T1).

// Between two notes that an idle value was used lies this part of its time.
#define IDLE_PARTS 64

// ------------------------------------------------------------------ arithmetic

static int64_t after(int64_t at_ns, int64_t span_ns) {
    return at_ns > INT64_MAX - span_ns ? MEMO_NEVER : at_ns + span_ns;
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static uint64_t random_word(struct shard *s) {
    return hash_mix(s->random += HASH_MIX_STEP);
}

int64_t memo_random_below_(struct shard *s, int64_t most) {
    hash_product r = (hash_product)random_word(s) * (uint64_t)most;

    return (int64_t)(r >> 64);
}

// -ln of a number evenly distributed between 0 and 1, to 1 %.
static double random_exponential(struct shard *s) {
    uint64_t x = random_word(s) | 1;
    int zeros = __builtin_clzll(x);
    double f = (double)(x << zeros << 1) * 0x1p-64;  // x is 2^(63-zeros) (1+f)
    double log2 = 1 + zeros - f * (1.3466 - 0.3466 * f);

    return log2 * 0.6931471805599453;
}

// A span, shortened by up to the jitter that the options ask for.
static int64_t jittered(struct shard *s, int64_t span_ns) {
    int64_t percent = s->memo->jitter_percent;
    int64_t most = span_ns / 100 * percent + span_ns % 100 * percent / 100;

    return span_ns == MEMO_NEVER ? span_ns : span_ns - memo_random_below_(s, most);
}

// ------------------------------------------------------------------ fields

static int is_plain(const struct memo *m) {
    return m->timing == TIMING_TTL;
}

static int64_t deadline_of(const struct memo *m, const struct entry *e) {
    const struct entry_prefix *p = entry_prefix(e);

    return is_plain(m) ? SYNC_LOAD(&p->check_ns) : SYNC_LOAD(&p->deadline_ns);
}

static enum entry_kind kind_of(const struct entry *e) {
    return entry_kind(SYNC_LOAD(&e->word));
}

static void set_kind(struct entry *e, enum entry_kind kind) {
    uint64_t word = SYNC_LOAD(&e->word), to;

    do {
        to = (word & ~ENTRY_KIND) | (uint64_t)kind << ENTRY_KIND_SHIFT;
    } while (!SYNC_CAS(&e->word, &word, to));
}

int64_t memo_end_of_(const struct memo *m, const struct entry *e) {
    int64_t deadline = deadline_of(m, e);

    return kind_of(e) == KIND_VALUE || kind_of(e) == KIND_STALE
               ? after(deadline, m->keep_old_ns)
               : deadline;
}

int64_t memo_end_of_standing_in_owned_(const struct memo *m,
                                       const struct entry *e) {
    if (m->timing == TIMING_FRESHNESS && !entry_prefix(e)->strict) {
        return after(deadline_of(m, e), m->stale_if_error_ns);
    }
    return m->timing == TIMING_NONE ? MEMO_NEVER : deadline_of(m, e);
}

// Use prolongs the time of e itself, but what is made from it isn't so used.  What is
// stale is good for that until the next attempt, or until it no longer stands in.
int64_t memo_best_before_(const struct memo *m, const struct entry *e) {
    const struct entry_prefix *p = entry_prefix(e);

    if (kind_of(e) == KIND_STALE) {
        return earlier(SYNC_LOAD(&p->refresh_ns),
                       after(deadline_of(m, e), m->stale_if_error_ns));
    }
    return is_plain(m) ? SYNC_LOAD(&p->check_ns) : SYNC_LOAD(&p->latest_ns);
}

// When somebody must think about a fresh value next.  If use prolongs its time, that
// is a part of it after the use that was noted last.
static void set_check(const struct memo *m, struct entry *e) {
    struct entry_prefix *p = entry_prefix(e);
    int64_t deadline = SYNC_LOAD(&p->deadline_ns);
    int64_t at = earlier(deadline, SYNC_LOAD(&p->refresh_ns));

    if (m->idle_ttl_ns != 0 && deadline < SYNC_LOAD(&p->latest_ns)) {
        at = earlier(at, after(deadline - m->idle_ttl_ns,
                               m->idle_ttl_ns / IDLE_PARTS + 1));
    }
    SYNC_STORE(&p->check_ns, at);
}

// ------------------------------------------------------------------ reading

void memo_note_use_(const struct memo *m, struct entry *e, int64_t now_ns) {
    struct entry_prefix *p = entry_prefix(e);

    if (m->idle_ttl_ns != 0) {
        SYNC_STORE(&p->deadline_ns, earlier(SYNC_LOAD(&p->latest_ns),
                                            after(now_ns, m->idle_ttl_ns)));
        set_check(m, e);
    }
}

// Whether a reader may note that e is used: nothing else is to be thought about.
static int touch(const struct memo *m, struct entry *e, int64_t now_ns) {
    const struct entry_prefix *p = entry_prefix(e);

    if (m->idle_ttl_ns == 0 || now_ns >= SYNC_LOAD(&p->deadline_ns) ||
        now_ns >= SYNC_LOAD(&p->refresh_ns)) {
        return 0;
    }
    memo_note_use_(m, e, now_ns);
    return 1;
}

int memo_read_age_(const struct memo *m, struct entry *e, uint64_t word,
                   int64_t now_ns, struct memo_value *out) {
    const struct entry_prefix *p = entry_prefix(e);
    int thinks = now_ns >= SYNC_LOAD(&p->check_ns);

    switch (entry_kind(word)) {
        case KIND_VALUE:
            out->from = MEMO_HIT;
            return !thinks || (!is_plain(m) && touch(m, e, now_ns));
        case KIND_STALE:
            // He may see refresh_ns as it was: then one more takes the value.
            out->from = MEMO_STALE;
            return now_ns < SYNC_LOAD(&p->refresh_ns) &&
                   now_ns < after(deadline_of(m, e), m->stale_if_error_ns);
        case KIND_ERROR:
            out->from = MEMO_NEGATIVE;
            out->zero = (uint32_t)p->error;
            return !thinks;
        default:
            return 0;
    }
}

static enum age age_of_value(const struct shard *s, const struct entry *e,
                             int64_t now_ns) {
    const struct memo *m = s->memo;
    const struct entry_prefix *p = entry_prefix(e);

    if (now_ns < deadline_of(m, e)) {
        return is_plain(m) || now_ns < SYNC_LOAD(&p->refresh_ns) ? AGE_FRESH
                                                                 : AGE_REFRESH;
    }
    return now_ns < memo_end_of_(m, e) ? AGE_EXPIRED : AGE_GONE;
}

enum age memo_age_owned_(const struct shard *s, const struct entry *e,
                         int64_t now_ns) {
    const struct entry_prefix *p = entry_prefix(e);

    if (kind_of(e) == KIND_VALUE) {
        return age_of_value(s, e, now_ns);
    }
    if (now_ns >= memo_end_of_(s->memo, e)) {
        return AGE_GONE;
    }
    switch (kind_of(e)) {
        case KIND_STALE:
            if (now_ns >= memo_end_of_standing_in_owned_(s->memo, e)) {
                return AGE_EXPIRED;
            }
            return now_ns < SYNC_LOAD(&p->refresh_ns) ? AGE_STALE
                                                      : AGE_STALE_PROBE;
        case KIND_ERROR:
            return now_ns < SYNC_LOAD(&p->check_ns) ? AGE_ERROR
                                                    : AGE_ERROR_PROBE;
        default:
            return AGE_PASS;
    }
}

// ------------------------------------------------------------------ dating

// Optimal probabilistic early expiration (A. Vattani, F. Chierichetti, K.
// Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015): the
// dearer a load, the earlier it is repeated.  Drawn once for each value, not by
// each reader: here one load serves them all.
static int64_t early(struct shard *s, int64_t deadline_ns, int64_t cost_ns,
                     int64_t now_ns) {
    double lead = (double)cost_ns * random_exponential(s);
    int64_t span = memo_span_(now_ns, deadline_ns);

    return !s->memo->early_refresh || deadline_ns == MEMO_NEVER
               ? MEMO_NEVER
               : lead < (double)span ? deadline_ns - (int64_t)lead : now_ns;
}

static void date(struct shard *s, struct entry *e, int64_t ttl_ns,
                 int64_t refresh_ns, int64_t now_ns, int64_t cost_ns) {
    const struct memo *m = s->memo;
    struct entry_prefix *p = entry_prefix(e);
    int64_t latest = after(now_ns, jittered(s, ttl_ns));
    int64_t deadline = latest;

    if (is_plain(m)) {
        SYNC_STORE(&p->check_ns, deadline);
        return;
    }
    if (m->idle_ttl_ns != 0) {
        deadline = earlier(latest, after(now_ns, m->idle_ttl_ns));
    }
    SYNC_STORE(&p->latest_ns, latest);
    SYNC_STORE(&p->deadline_ns, deadline);
    SYNC_STORE(&p->refresh_ns,
               earlier(after(now_ns, jittered(s, refresh_ns)),
                       early(s, latest, cost_ns, now_ns)));
    p->error = 0;
    p->failures = 0;
    p->strict = 0;
    set_kind(e, KIND_VALUE);
    set_check(m, e);
}

void memo_date_owned_(struct shard *s, struct entry *e,
                      const struct dates *dates, int64_t now_ns,
                      int64_t cost_ns) {
    const struct memo *m = s->memo;
    int64_t ttl = m->ttl_ns, refresh = m->refresh_after_ns;

    if (dates != NULL && dates->has_ttl) {
        ttl = dates->ttl_ns;
    }
    if (dates != NULL && dates->has_refresh) {
        refresh = dates->refresh_after_ns;
    }
    date(s, e, ttl, refresh, now_ns, cost_ns);
    if (!is_plain(m) && dates != NULL) {
        entry_prefix(e)->strict = dates->strict != 0;
        entry_prefix(e)->refresh_after_ns = dates->has_refresh ? (float)refresh : 0;
    }
}

// After a failure: as the cache's options say, else as was said for e, to 24 bits.
static int64_t refresh_after(const struct memo *m, const struct entry *e) {
    float said = entry_prefix(e)->refresh_after_ns;

    return m->refresh_after_ns != MEMO_NEVER || said <= 0 || said >= 0x1p63f
               ? m->refresh_after_ns
               : (int64_t)said;
}

// How long not to try after so many failures in a row: exponential, capped, and
// with "equal jitter" (M. Brooker, "Exponential Backoff and Jitter", 2015).
static int64_t backoff(struct shard *s, uint32_t failures) {
    const struct memo *m = s->memo;
    int64_t most = m->backoff_max_ns, span = m->backoff_ns;
    uint32_t i;

    for (i = 1; i < failures && span < most; i++) {
        span = after(span, span);
    }
    span = earlier(span, most);
    return span - memo_random_below_(s, span / 2 + 1);
}

static void count_failure(struct entry_prefix *p, uint32_t before) {
    if (before < FAILURES_MOST) {
        before++;
    }
    p->failures = before & FAILURES_MOST;
}

void memo_date_marker_owned_(struct shard *s, struct entry *marker,
                             const struct entry *before, int error,
                             int64_t now_ns) {
    const struct memo *m = s->memo;
    struct entry_prefix *p = entry_prefix(marker);
    int64_t check, end;

    p->error = error;
    count_failure(p, 0);
    if (kind_of(marker) == KIND_PASS) {
        check = end = after(now_ns, jittered(s, m->pass_ttl_ns));
    } else if (error == MEMO_ENOENT) {
        check = end = after(now_ns, jittered(s, m->negative_ttl_ns));
    } else {
        if (before != NULL) {
            count_failure(p, entry_prefix(before)->failures);
        }
        check = after(now_ns, backoff(s, p->failures));
        // So long the failures before are remembered.
        end = after(check, m->backoff_max_ns);
    }
    SYNC_STORE(&p->deadline_ns, end);
    SYNC_STORE(&p->check_ns, check);
}

int memo_stand_in_owned_(struct shard *s, struct entry *e, int error,
                         int64_t now_ns) {
    const struct memo *m = s->memo;
    struct entry_prefix *p = entry_prefix(e);
    int64_t pause = refresh_after(m, e);
    int may = now_ns < memo_end_of_standing_in_owned_(m, e);

    if (!may || m->timing != TIMING_FRESHNESS) {
        return may;
    }
    p->error = error;
    count_failure(p, p->failures);
    if (m->backoff_ns != 0) {
        pause = backoff(s, p->failures);
    }
    if (now_ns < SYNC_LOAD(&p->deadline_ns)) {
        SYNC_STORE(&p->refresh_ns, after(now_ns, pause));
        set_check(m, e);
    } else if (m->backoff_ns != 0) {
        SYNC_STORE(&p->refresh_ns, after(now_ns, pause));
        set_kind(e, KIND_STALE);
    }
    return 1;
}

// ------------------------------------------------------------------ attempts

void memo_hold_off_owned_(struct shard *s, struct entry *e) {
    struct entry_prefix *p = entry_prefix(e);

    if (s->memo->timing != TIMING_FRESHNESS) {
        return;
    }
    SYNC_STORE(&p->refresh_ns, MEMO_NEVER);
    if (kind_of(e) == KIND_VALUE) {
        set_check(s->memo, e);
    } else if (kind_of(e) == KIND_ERROR) {
        SYNC_STORE(&p->check_ns, memo_end_of_(s->memo, e));
    }
}

void memo_let_try_owned_(struct shard *s, struct entry *e) {
    struct entry_prefix *p = entry_prefix(e);

    if (s->memo->timing == TIMING_FRESHNESS) {
        SYNC_STORE(&p->refresh_ns, INT64_MIN);
        SYNC_STORE(&p->check_ns, INT64_MIN);
    }
}
