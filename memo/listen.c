#include "memo/listen.h"

#include "memo/entry.h"
#include "memo/internal.h"
#include "memo/reaper.h"
#include "memo/shard.h"
#include "memo/stats.h"
#include "sync/monitor.h"

// Who listens is told of each value that leaves, once, with nothing locked.
//
// The owner of a shard puts what left on a queue, in the order in which it left,
// with a reference of the queue's.  One thread at a time tells what is on the
// queue of a shard: so the order is kept, for each key too, though many threads
// make the news.  With engine_lock it is the thread that made some, while nobody
// else is telling; otherwise it leaves them to that one and goes on.  If it makes
// some while it is telling itself, it tells them when it is done: so listeners
// don't nest.  Under a monitor it is the reaper's worker.
//
//     NOT --- news --> TELLING --- memo_close() --> AWAITED
//      ^                  |                            |
//      '-- nothing left --'-- nothing left: wake ------'
//
// INVARIANT(news)  Something is on a shard's queue only while a thread tells, or
//     is about to begin.
//
//   ORDER(told)  end:A   release exchange of telling
//                wait:B  acquire load of telling
//       If wait:B reads NOT, the listener has returned from all calls before.

static struct entry_news *news_of(const struct memo *m, const struct entry *e) {
    return (struct entry_news *)(void *)((unsigned char *)(uintptr_t)e -
                                         m->news_offset);
}

// ------------------------------------------------------------------ the owner

static void add_news(struct shard *s, struct entry *e, enum memo_cause cause) {
    struct ledger *ledger = s->ledger;
    struct entry_news *news;

    ledger->removed[cause]++;
    if (s->memo->listener.removed == NULL) {
        return;
    }
    news = news_of(s->memo, e);
    news->next = NULL;
    news->cause = (uint32_t)cause;
    memo_entry_ref_(e);
    *ledger->news_end = e;
    ledger->news_end = &news->next;
}

static int is_value(const struct entry *e) {
    enum entry_kind kind = entry_kind(SYNC_LOAD(&e->word));

    return kind == KIND_VALUE || kind == KIND_STALE;
}

void memo_note_removed_owned_(struct shard *s, struct entry *e,
                              enum memo_cause cause) {
    if (is_value(e)) {
        add_news(s, e, cause);
    }
}

void memo_note_rejected_owned_(struct shard *s, struct entry *e) {
    if (is_value(e)) {
        add_news(s, e, MEMO_REJECTED);
    }
}

// ------------------------------------------------------------------ telling

static SYNC_THREAD_LOCAL(uint32_t, n_telling);  // how often, nested
static SYNC_THREAD_LOCAL(struct shard *, to_tell);  // then, by this thread
static SYNC_THREAD_LOCAL(struct shard *, told);     // now, by this thread

int memo_in_listener_(void) {
    return SYNC_TLS(n_telling) != 0;
}

int memo_begin_to_tell_locked_(struct shard *s) {
    if (s->ledger->news == NULL ||
        SYNC_LOAD(&s->ledger->telling) != TELLING_NOT) {
        return 0;
    }
    SYNC_STORE(&s->ledger->telling, TELLING);
    return 1;
}

static void tell(struct memo *m, struct entry *e) {
    size_t key_size = entry_key_size(SYNC_LOAD(&e->word));
    enum memo_cause cause = (enum memo_cause)news_of(m, e)->cause;
    struct memo_value value;

    memo_entry_hand_out_(e, MEMO_NOWHERE, &value);
    m->listener.removed(m->listener.state, cause, e->bytes, key_size,
                        &value);  // CALLBACK: nothing is locked
    memo_release(&value);  // CALLBACK: may be the last reference
}

// Take what is to be told.  NULL: nothing, and the telling has ended.
static struct entry *take_news(struct shard *s) {
    struct ledger *ledger = s->ledger;
    struct entry *news;
    uint32_t was = TELLING;

    sync_mutex_lock(&s->mu);
    news = ledger->news;
    ledger->news = NULL;
    ledger->news_end = &ledger->news;
    if (news == NULL) {
        was = SYNC_XCHG_ACQREL(&ledger->telling, TELLING_NOT);
    }
    sync_mutex_unlock(&s->mu);  // ORDER(told) end:A
    if (was == TELLING_AWAITED) {
        (void)sync_futex_wake(&ledger->telling, INT32_MAX);
    }
    return news;
}

int memo_tell_some_(struct shard *s) {
    struct memo *m = s->memo;
    struct entry *e = take_news(s);
    int any = e != NULL;

    SYNC_TLS(n_telling)++;
    SYNC_TLS(told) = s;
    while (e != NULL) {
        struct entry *next = news_of(m, e)->next;
        tell(m, e);
        e = next;
    }
    SYNC_TLS(told) = NULL;
    SYNC_TLS(n_telling)--;
    return any;
}

static int is_told_here(const struct shard *s) {
    const struct shard *later = SYNC_TLS(to_tell);

    while (later != NULL && later != s) {
        later = later->ledger->next_to_tell;
    }
    return later == s || SYNC_TLS(told) == s;
}

// Who was telling in another thread does so in the parent alone.
void memo_listener_forked_owned_(struct shard *s) {
    if (s->ledger != NULL && !is_told_here(s)) {
        SYNC_STORE(&s->ledger->telling, TELLING_NOT);
    }
}

static void tell_all(void) {
    struct shard *s;

    while ((s = SYNC_TLS(to_tell)) != NULL) {
        SYNC_TLS(to_tell) = s->ledger->next_to_tell;
        while (memo_tell_some_(s)) {
        }
        memo_shard_gone_(s);
    }
}

void memo_tell_deferred_(void) {
    if (SYNC_TLS(n_telling) == 0) {
        tell_all();
    }
}

void memo_tell_slow_(struct shard *s) {
    int begun;

    if (s->memo->monitor != NULL) {
        memo_reaper_help_to_tell_(s->memo->reaper);
    }
    if (s->memo->monitor != NULL && !sync_monitor_is_closed(s->memo->monitor)) {
        return;
    }
    sync_mutex_lock(&s->mu);
    begun = memo_begin_to_tell_locked_(s);
    sync_mutex_unlock(&s->mu);
    if (begun) {
        memo_shard_live_(s);
        s->ledger->next_to_tell = SYNC_TLS(to_tell);
        SYNC_TLS(to_tell) = s;
        memo_tell_deferred_();
    }
}

// ------------------------------------------------------------------ the end

static int await_shard(struct shard *s, int64_t deadline_ns) {
    sync_atomic_u32 *telling = &s->ledger->telling;
    uint32_t now;
    int error = 0;

    // ORDER(told) wait:B
    while (error == 0 && (now = SYNC_LOAD_ACQ(telling)) != TELLING_NOT) {
        if (now == TELLING_AWAITED ||
            SYNC_CAS_ACQ(telling, &now, TELLING_AWAITED)) {
            error = memo_sleep_(s->memo, telling, TELLING_AWAITED, deadline_ns);
        }
    }
    return error;
}

// A listener doesn't wait for itself, nor for another, which may wait for it.
int memo_await_told_(struct memo *m, int64_t deadline_ns) {
    int error = 0;
    uint64_t i;

    for (i = 0; i < memo_n_shards_(m) && error == 0; i++) {
        if (m->listener.removed != NULL &&
            (m->monitor == NULL || sync_monitor_is_closed(m->monitor)) &&
            !memo_in_callback_()) {
            error = await_shard(memo_shard_at_(m, i), deadline_ns);
        }
    }
    return error;
}
