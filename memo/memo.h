// memo: a concurrent, non-blocking memoizing cache.
//
// A cache has one load function: the slow thing that makes a value from a key.
// memo_get() returns the value of a key.  However many threads ask for a key at
// the same time, the load runs once; they all wait for that one run, and calls
// for other keys do not.  From then on the value is resident: a hit takes no
// lock and writes nothing that another thread writes.
//
//     static int load_page(void *arg, struct memo_load *l) {
//         size_t size;
//         const char *url = memo_load_key(l, &size);
//         ...
//         return memo_load_return(l, body, body_size);
//     }
//
//     struct memo_options options = {.size = sizeof options, .load = load_page};
//     struct memo *m;
//     struct memo_value v;
//
//     if (memo_new(&options, &m) == 0) {
//         if (memo_get(m, url, strlen(url), &v) == 0) {
//             fwrite(v.data, 1, v.size, stdout);
//             memo_release(&v);
//         }
//         memo_free(m);
//     }
//
// Words.  A key is a byte string of any length, zero included.  A load is one
// call of the load function.  A flight is a load in progress together with
// everybody who waits for it.  A resident value is one that the cache keeps.
//
// After fork() (without exec) the child may use every cache and queue of its
// parent's, and the parent notices nothing.  The child finds what was resident,
// and the values it held; flights that were under way are not its own:
//   - Who waits for one in the child, through a ticket or a queue, gets
//     MEMO_EFORKED, once, when the child first calls the cache other than for a
//     hit, or memo_queue_next().  A load that goes on in both processes still
//     belongs to the parent's flight.  A completion that another thread was
//     delivering at the time is delivered in the parent alone.
//   - memo's threads are the parent's.  Those of options.threads are started anew
//     when they are needed; MEMO_ENGINE_MONITOR and MEMO_ENGINE_LOOP go on in the
//     child as MEMO_ENGINE_LOCK does.
//   - Descriptors of queues keep their numbers, but are the child's own: what
//     watched them, an epoll instance say, must be told again.
//   - What threads that the child doesn't have were holding stays allocated, and
//     notes that they waited on must not be notified.
//
// Hits rely on membarrier(2), if the system has it when the first cache is made; else
// they are a little dearer.  A sandbox that forbids it is best entered before that:
// a thread that enters it later can't see any more what others hold, and leaves what
// went from the cache in memory (memo_stats.retired), for threads that can.
//
// No function here is a point at which a thread may be cancelled (pthread_cancel),
// unless a user's function that it calls is one.  None is for signal handlers, which
// may have interrupted another.  errno says nothing, and may change.
//
// Each function below says whose the memory is (Owner), who may call it from
// where (Threads), what it waits for (Blocks), and what is locked while a
// user's function runs (Locks).
#ifndef MEMO_MEMO_H_
#define MEMO_MEMO_H_

#include <stddef.h>
#include <stdint.h>

#define MEMO_VERSION_MAJOR 0
#define MEMO_VERSION_MINOR 1
#define MEMO_VERSION_PATCH 0

#if defined(__GNUC__)
#define MEMO_API __attribute__((visibility("default")))
#else
#define MEMO_API
#endif

// g++ -Wshadow finds that a function hides the constructor of a struct of its name.
#if defined(__cplusplus) && defined(__GNUC__)
#define MEMO_SAME_NAME_BEGIN_           \
    _Pragma("GCC diagnostic push")      \
    _Pragma("GCC diagnostic ignored \"-Wshadow\"")
#define MEMO_SAME_NAME_END_ _Pragma("GCC diagnostic pop")
#else
#define MEMO_SAME_NAME_BEGIN_
#define MEMO_SAME_NAME_END_
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Every error code, once.  Never renumbered, never reused; new ones go at the
// end.  0 is success, a negative code is memo's, a positive code is the load
// function's own and is passed through unchanged.
#define MEMO_ERRORS(X)                                                     \
    X(MEMO_EINVAL, -1, "invalid argument")                                 \
    X(MEMO_ENOMEM, -2, "out of memory")                                    \
    X(MEMO_ENOENT, -3, "not in the cache")                                 \
    X(MEMO_ETIMEDOUT, -4, "the deadline was reached")                      \
    X(MEMO_ECANCELED, -5, "the wait was cancelled by its note")            \
    X(MEMO_ECLOSED, -6, "the cache is closed")                             \
    X(MEMO_EABANDONED, -7, "the load ended without an answer")             \
    X(MEMO_EALREADY, -8, "the load was finished before")                   \
    X(MEMO_EDEADLK, -9, "the load waits, in the end, for itself")          \
    X(MEMO_EBUSY, -10, "a limit on loads or waiters is reached")           \
    X(MEMO_EFORKED, -11, "the load was left behind in the parent process") \
    X(MEMO_PENDING, -12, "the load will be finished later")                \
    X(MEMO_ENOSPC, -13, "the buffer is too small")

enum memo_error {
    MEMO_OK = 0,
#define MEMO_X_(name, code, text) name = code,
    MEMO_ERRORS(MEMO_X_)
#undef MEMO_X_
};

struct memo;       // a cache
struct memo_load;  // one load, as the load function sees it
struct sync_note;  // a cancellation, see sync/note.h

// The longest key, in bytes.
#define MEMO_KEY_MAX ((size_t)0xffffff)

// A deadline that never comes.
#define MEMO_NEVER INT64_MAX

// Where an answer came from.
enum memo_from {
    MEMO_NOWHERE = 0,   // there is no value
    MEMO_HIT = 1,       // it was resident
    MEMO_JOINED = 2,    // this call waited for a load that another had started
    MEMO_LOADED = 3,    // this call started the load
    MEMO_STALE = 4,     // it was past its time, and was served by permission
    MEMO_NEGATIVE = 5,  // the answer is an error that the cache keeps
    MEMO_DETACHED = 6,  // the key was invalidated while its load ran: this is
                        // that load's result, which the cache doesn't keep
};

// A pinned value: size bytes at data, immutable, valid until memo_release()
// whatever happens to the cache meanwhile.  Lives on the caller's stack.  A
// value that holds nothing is all zeros.  Do not copy it: see memo_retain().
struct memo_value {
    const void *data;  // aligned for any type, unless the load adopted it
    size_t size;
    void *pin;      // private: what keeps it alive
    uint32_t from;  // enum memo_from
    uint32_t zero;  // reserved
};

// A key, or a tag, as one of many.
struct memo_bytes {
    const void *data;
    size_t size;
};

// What makes a value.  Return 0 after memo_load_return(), memo_load_adopt() or
// memo_load_reserve(); or an error, best a positive number of your own, which
// every caller of this flight gets; or MEMO_PENDING, and call
// memo_load_finish() later, from any thread.  Returning 0 without a value is
// MEMO_EABANDONED, and so is ending the thread (pthread_exit, pthread_cancel)
// or throwing a C++ exception through the call.
//
// Runs in the thread of the caller who started the flight, unless an executor runs it
// (see below), with nothing locked.  May call any function of this or any other cache.
typedef int memo_load_fn(void *arg, struct memo_load *load);

// Destroy an adopted value.  Called exactly once, after the last release, with
// nothing locked, in any thread.  May call any function of the cache, and wait
// for its loads.  It must return: neither end its thread nor throw.
typedef void memo_free_fn(void *arg, void *data, size_t size);

// Where memory comes from.  alloc returns memory aligned for any type, or NULL.
// free gets the size that alloc was asked for.  Both are called with nothing
// locked, from any thread, until the cache is freed and the last value released.
//
// good_size, if not NULL, says how much memory an allocation of size bytes really
// takes up: rounding and header included.  It depends on its arguments alone, calls
// nothing of memo, and may be called with a shard locked.  NULL: size, as it is.
struct memo_allocator {
    void *(*alloc)(void *state, size_t size);
    void (*free)(void *state, void *p, size_t size);
    void *state;
    size_t (*good_size)(void *state, size_t size);
};

// What time it is, in nanoseconds; never goes backwards.  Called with nothing
// locked, from any thread.
struct memo_clock {
    int64_t (*now_ns)(void *state);
    void *state;
};

// Called once when the result of a load is no longer wanted, with nothing locked,
// in the thread that found so.  May call any function, memo_load_finish() of
// that load included.
typedef void memo_cancel_fn(void *arg, struct memo_load *load);

// What makes values for several keys in one go.  Give each of the n loads its
// value as memo_load_fn does; a load left without a value gets MEMO_ENOENT.
// Return 0; or an error, for all those not finished yet; or MEMO_PENDING, and
// then memo_load_finish() each of them later.
typedef int memo_load_many_fn(void *arg, struct memo_load *const loads[],
                              size_t n);

// Who runs loads other than the caller's thread.  submit arranges for run(task)
// to be called once, in another thread, and returns 0; anything else refuses, or a C++
// exception, and the load fails with MEMO_EABANDONED.  Called with nothing locked.
//
// While a task waits, its load may be run by another thread that would wait for it
// inside a load or another function of the user's, or be given up by memo_close();
// run(task) then does nothing.  So loads may wait for loads however few threads there
// are.
struct memo_executor {
    int (*submit)(void *state, void (*run)(void *task), void *task);
    void *state;
};

// Who writes the cache.  Hits are the same, and nobody's business.
enum memo_engine {
    // Whoever misses, under a mutex of one of the shards.
    MEMO_ENGINE_LOCK = 0,
    // A thread of memo's own.  A miss sends it a message and waits for the reply;
    // it takes over all upkeep.  It never calls a load, a completion or a
    // destructor: those of what it reclaims run in a second thread, started when
    // there is a first one.  If they are slower than what makes work for them, and
    // more than 1000 values or 64 MiB wait for it, each call that writes runs one
    // destructor itself, so that what is retired stays bounded.
    MEMO_ENGINE_MONITOR = 1,
    // The same, without a thread: the caller's event loop runs the monitor, see
    // memo_monitor_run().  Other threads that miss wait until it does.  A call that
    // waits in the loop's own thread does their work meanwhile.  Destructors
    // run on the executor (options.executor or threads), if there is one; else in
    // the loop, when it has nothing better to do: then one that waits for another
    // thread stops all who miss.
    MEMO_ENGINE_LOOP = 2,
};

// What a value weighs, against memo_options.max_weight.  Called before it is
// stored, with nothing locked, unless its load said it with
// memo_load_set_weight().  If it throws a C++ exception, the value is not stored, and its
// load is abandoned.
typedef uint32_t memo_weight_fn(void *arg, const void *key, size_t key_size,
                                const void *data, size_t size);

// What a bounded cache looks at when something must go.  How often and how
// lately a value was used always counts.
enum memo_policy {
    // Nothing else: most hits, if values are of one size; most bytes from the
    // cache, if they aren't.
    MEMO_POLICY_USE = 0,
    // And how much of the bound it takes up: most hits.
    MEMO_POLICY_SIZE = 1,
    // And how long it took to load, on the cache's clock: least time in loads.
    MEMO_POLICY_COST = 2,
};

// Why a value left the cache, or never came into it.
enum memo_cause {
    MEMO_EXPIRED = 0,      // its time was over
    MEMO_EVICTED = 1,      // to make room for others
    MEMO_REPLACED = 2,     // by a newer one; or a load found nothing, or PASS
    MEMO_INVALIDATED = 3,  // by memo_invalidate(), itself, a tag of its, or a key
                           // that it was made from
    MEMO_CLEARED = 4,      // by memo_clear()
    MEMO_CLOSED = 5,       // by memo_close()
    MEMO_REJECTED = 6,     // what a load or a put gave was not stored: detached,
                           // too large, not to be kept, no memory for the table
};

// Who wants to know what leaves: removed is called once for each value that was
// resident, when it no longer is, whoever may still hold it; and once for each
// result that was rejected.  Errors that are kept come and go in silence.
//
// The calls for values of one key come one at a time, in the order in which they
// left; those for different keys may come from several threads at once.  They come
// after the fact: perhaps when the call that removed the value has returned, from
// another thread that removed something, or where destructors run (MEMO_ENGINE_*).
// memo_clear(), expiry, and the invalidation of tags remove by and by.  When memo_close() has returned 0, all
// calls have been made; memo_close() called by a listener returns earlier, and
// then they follow.  Results that come when the cache is closed aren't told.
//
// Values wait to be told of as long as that takes: they count as retired.
//
// value, and the key, are valid during the call; memo_retain() keeps the value.
// Called with nothing locked.  May call any function of the cache but memo_free().
// It must return: neither end its thread nor throw.
struct memo_listener {
    void (*removed)(void *state, enum memo_cause cause, const void *key,
                    size_t key_size, const struct memo_value *value);
    void *state;
};

// Options of memo_new().  Zero in any field but size and load means the default
// written beside it.  New fields are only ever added at the end.
struct memo_options {
    size_t size;                      // sizeof(struct memo_options)
    memo_load_fn *load;               // required
    void *load_arg;                   // first argument of load
    const struct memo_allocator *allocator;  // copied;     NULL: malloc
    const struct memo_clock *clock;   // copied;            NULL: CLOCK_MONOTONIC
    const uint64_t *hash_seed;        // 4 words, any, copied; NULL: random.  Who
                                      // knows the seed can make keys collide.
    uint32_t shards;                  // a power of two, at most 4096; 0: by cores
    uint32_t flags;                   // MEMO_CANCEL_UNWANTED, MEMO_EARLY_REFRESH,
                                      // MEMO_DEPEND_AUTO
    memo_load_many_fn *load_many;     // for memo_get_many();  NULL: load, in turn
    const struct memo_executor *executor;  // copied; for loads whose caller may
                                      // leave, or doesn't wait;  NULL: see threads
    uint32_t threads;                 // of an executor of memo's own; 0: none,
                                      // then the caller's thread runs its load
    uint32_t engine;                  // enum memo_engine
    uint64_t max_loads;               // running at once, else MEMO_EBUSY; 0: any
    uint64_t max_waiters;             // waiting at once, likewise
    uint64_t max_waiters_per_key;     // likewise
    uint64_t max_entries;             // resident at most;  0: any number.  See
                                      // "A bounded cache"
    uint64_t max_bytes;               // of memory, for all that is resident
    uint64_t max_weight;              // of all resident values together
    memo_weight_fn *weight;           // of a value;        NULL: 1
    void *weight_arg;                 // first argument of weight
    // See "Time".  In nanoseconds; 0: not at all.
    int64_t ttl_ns;                   // how long a value is fresh.  MEMO_NEVER: for
                                      // ever, unless its load says otherwise
    int64_t idle_ttl_ns;              // how long it is fresh after its last use
    int64_t refresh_after_ns;         // when it is to be loaded again
    int64_t stale_if_error_ns;        // how long past its time it may stand in
                                      // for a load that fails
    int64_t keep_old_ns;              // how long past its time it is in hand for
                                      // loads;  less than that: as long as that
    int64_t negative_ttl_ns;          // how long "not found" is kept
    int64_t backoff_ns;               // pause after a load has failed
    int64_t backoff_max_ns;           // the longest;  0: 100 times backoff_ns
    int64_t pass_ttl_ns;              // how long memo_load_pass() is remembered
    uint32_t jitter_percent;          // by up to so much each of these times but
                                      // idle_ttl_ns, stale_if_error_ns and
                                      // backoff_* is shortened, at random
    uint32_t policy;                  // enum memo_policy; 16 bytes an entry, but
                                      // for MEMO_POLICY_USE
    const struct memo_listener *listener;  // copied; 16 bytes more for each entry
                                      // NULL: none
};

// Tell a load when the last who waited for it has given up, and don't keep its
// result: see memo_load_is_canceled().  Otherwise it goes on, for the cache.
#define MEMO_CANCEL_UNWANTED 1u

// Let each load depend on all that is got from the same cache inside its function,
// by memo_get(), memo_get_wait(), memo_peek() and memo_get_many() in the same
// thread: as if memo_load_get() had been called.  It counts as a use of the load,
// so another thread mustn't use it at that moment.  Hits take somewhat longer.
#define MEMO_DEPEND_AUTO 4u

// Refresh values before they expire, at a random time that is the earlier the
// longer their loads take: see "Time".
#define MEMO_EARLY_REFRESH 2u

// Time.  All times are spans or moments of the cache's clock.  A value is fresh
// until ttl_ns after its load has ended, or until it hasn't been used for
// idle_ttl_ns; use is noted in steps of a 64th of that.  What isn't fresh is
// never returned as if it were, whether or not upkeep has run.
//
// From refresh_after_ns on, the first who gets a value starts a load of it, for
// which memo_load_old() has the old one; he and everybody else get that
// meanwhile.  Such loads are run by the executor, if there is one; otherwise by
// the one who was first, who then gets the new value.  If it fails, the next is
// tried after a pause: the backoff, if that is set, else refresh_after_ns, else what was
// said for this value.
//
// MEMO_EARLY_REFRESH does the same for each value at a time drawn when it is
// stored: X before it expires, where X is distributed exponentially around the time
// that its load took (A. Vattani, F. Chierichetti, K. Lowenstein, "Optimal
// Probabilistic Cache Stampede Prevention", VLDB 2015).
//
// When a load fails and the old value expired less than stale_if_error_ns ago,
// that is the answer (MEMO_STALE).  Its age goes on: a failure makes nothing young.
//
// A value past its time isn't handed out, but for keep_old_ns it is there for
// memo_load_old(): so that a server can be asked whether it has changed.
//
// A load that finds nothing says memo_load_not_found(); then every caller gets
// MEMO_ENOENT, and so do those of the next negative_ttl_ns (MEMO_NEGATIVE).  After
// any other failure callers get the same error at once for backoff_ns, or the old
// value as above; then one of them tries again, alone.  While failures follow each
// other the pause doubles, up to backoff_max_ns; each is shortened by up to a
// half, at random.
//
// Errors that are kept count as resident entries.

// A bounded cache.  The bounds that are given hold whenever a call that stored
// something has returned; what it stored takes the place of what is least likely
// to be asked for soon.  What callers hold stays valid, and doesn't count.
//
// max_bytes counts what the allocator really takes for keys and values (adopted
// ones by the size they were adopted with), the headers, the tables and timer wheels
// as far as they are used, and what is remembered of evicted keys.  It doesn't count
// struct memo, loads in progress, and what is retired (see memo_stats).
//
// What an allocation really takes is what allocator.good_size says.  Without an
// allocator, it is what glibc's malloc takes; or, where the program is linked with
// a malloc that has nallocx() (jemalloc, tcmalloc), what that says.
//
// The bounds are shared out among the shards.  So a cache that holds few entries
// has fewer shards than options.shards says: each is to hold 1024 entries, 1 MiB,
// or a weight of 65536 at least.  A value too large for its shard's share is
// delivered to who asked for it, but not stored, and evicts nothing.

// Tags and dependencies.  What a value hangs on, besides its own key: tags, which
// its load gives it, and other keys, from whose values its load made it.
//
//     memo_load_add_tag(l, "user:17", 7);            memo_invalidate_tag(m, ...)
//     memo_load_get(l, "template", 8, NULL, &v);     memo_invalidate(m, ...)
//
// It goes when they go, and what was made from it goes as well, however long the
// chain.  A key takes along what was made from it when it is invalidated, put, or
// cleared, and when a load gives it a new value in place of a fresh one; not when
// its value is evicted.  No value stays fresh longer than what it was made from.  A
// cycle does no harm: the new value of a key isn't concerned by the old one's end.
//
// A change takes the same short time whatever hangs on it: it marks the tag or the
// key, and a value that hangs on that is no longer found.  Until somebody comes
// across it, or it is swept (which begins when enough may be so outdated), it stays
// in memory, and memo_stats.entries counts it.
//
// Who uses none of this pays nothing for it.  A value with n tags and other keys
// takes 48 + 16 n bytes more (in max_bytes); each tag or key in use 68 and its own
// length (not in max_bytes: see memo_stats.source_bytes).

// How to wait.  Zero in any field but size means the default.
struct memo_wait {
    size_t size;             // sizeof(struct memo_wait)
    int64_t deadline_ns;     // on the cache's clock, absolute;  0: MEMO_NEVER
    struct sync_note *note;  // cancels the wait;                NULL: none
    uint32_t flags;          // MEMO_WAIT_*
    uint32_t zero;           // reserved, must be zero
    int64_t soft_deadline_ns;  // from then on, take the old value, if there is one
                               // that may stand in (stale_if_error_ns);  0: don't
};

// If the key is invalidated while its load runs, load again rather than return
// the outdated result as MEMO_DETACHED.
#define MEMO_WAIT_STRICT 1u
// Do not start a load: join one, or return MEMO_ENOENT.
#define MEMO_WAIT_NO_LOAD 2u

// Counts since the cache was made, and sizes at this moment.
struct memo_stats {
    size_t size;  // in: sizeof(struct memo_stats); out: how much was filled
    uint64_t hits;           // calls answered by a resident value
    uint64_t joins;          // calls that waited for another's load
    uint64_t loads;          // loads started
    uint64_t load_failures;  // loads that ended in an error
    uint64_t detached;       // flights detached by invalidation
    uint64_t load_ns;        // time spent in loads that ended
    uint64_t entries;        // resident values
    uint64_t bytes;          // resident keys, values and headers
    uint64_t flights;        // loads in progress
    uint64_t retired;        // values no longer resident that still take up
                             // memory: held by somebody, or not destroyed yet
    uint64_t retired_bytes;  // their keys, values and headers
    uint64_t table_bytes;    // memory of the tables, and of the timer wheels
    // Of bounded caches; else 0.
    uint64_t evictions;      // values dropped to make room
    uint64_t too_large;      // values not stored, for none would have been enough
    uint64_t weight;         // of resident values, under max_weight
    uint64_t ghost_bytes;    // memory of what is remembered of evicted keys, and
                             // of the order in which to evict
    uint64_t max_entries, max_bytes, max_weight;  // the options
    // Of caches with times; else 0.
    uint64_t stale;             // calls answered by a value past its time
    uint64_t negative;          // calls answered by an error that was kept
    uint64_t expired;           // values and errors dropped because of their age
    uint64_t refreshes;         // loads started that nobody had to wait for
    uint64_t refresh_failures;  // of these, loads that ended in an error
    uint64_t not_modified;      // loads that found the old value good
    uint64_t passes;            // loads whose result wasn't to be kept
    // Where there are tags or dependencies; else 0.
    uint64_t sources;       // tags, and keys depended on, that are in use
    uint64_t source_bytes;  // memory of these, and of what is known of changes
    // Values dropped for other causes than age and room: see enum memo_cause.
    uint64_t replaced, invalidated, cleared;
    uint64_t rejected;  // results that were not stored
    uint64_t wait_ns;   // time that calls waited for another's load
    uint64_t saved_ns;  // an estimate of the load time that hits have saved: what
                        // the loads took on average, for each answer without one
};

// ---------------------------------------------------------------- a cache

// Make a cache.  Return 0 and set *out; or MEMO_EINVAL (no load function, a
// size that is none, an unknown flag or a set byte that this version doesn't
// know), or MEMO_ENOMEM.  *out is NULL unless 0 is returned.
//
// Owner:   the caller, who ends it with memo_free().  options are copied.
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_new(const struct memo_options *options, struct memo **out);

// Close the cache: refuse new calls (MEMO_ECLOSED), wake everybody who waits on
// it (MEMO_ECLOSED), tell running loads (memo_load_is_canceled), wait until
// deadline_ns for them to end, and drop every resident value.  Values still
// held stay valid.  A load of this cache that calls memo_close() isn't waited
// for.  Closing again waits again.
//
// When it has returned 0, none of the functions that the cache was given runs any
// more, in whatever thread, and what they work with may be freed: loads, completions,
// what memo_load_on_cancel() was given, listeners and destructors.  But not waited for
// is
//   - who calls it: inside a load or one of those functions, of whatever cache, it
//     waits for the loads and listeners, and with a monitor for destructors (inside
//     a destructor or a listener for loads alone), since the others may wait for it;
//   - what another thread's own call does before it returns: memo_get_async() whose
//     answer was there, memo_ticket_cancel(), the weight of what memo_put() stores;
//   - destructors of what somebody still holds: as a value, by a ticket, by
//     memo_load_retain(), or by a call that is about to return it.
//
// Return 0; MEMO_ETIMEDOUT if loads are still running (their results will be
// destroyed when they come), or those functions; or MEMO_EINVAL.
//
// Owner:   the cache stays the caller's: calls return MEMO_ECLOSED until
//          memo_free().
// Threads: any, while other threads are in any function of the cache.
// Blocks:  until running loads and functions have ended, or deadline_ns on the
//          cache's clock.  They mustn't need what its caller has locked.
// Locks:   none held while destructors run.
MEMO_API int memo_close(struct memo *m, int64_t deadline_ns);

// End a cache: memo_close(m, MEMO_NEVER) unless it was closed before, then give
// its memory back.  If no load runs any more, it waits for functions as memo_close()
// does, in any case.  NULL is allowed.
//
// Owner:   m is gone.  Memory that values still held, or loads still running,
//          depend on goes with the last of them.
// Threads: any, but no other call on m may be in progress or follow.  Waits
//          that memo_close() has woken count as over.
// Blocks:  as memo_close().
// Locks:   none held while destructors run.
MEMO_API void memo_free(struct memo *m);

// ---------------------------------------------------------------- values

// Return in *out the value of key: the resident one, else the result of the
// load in progress, else the result of a load started here.
//
// Return 0; a positive error of the load, as it is; MEMO_EINVAL (m, key or out
// is NULL, key_size over MEMO_KEY_MAX; a NULL key is allowed if key_size is 0),
// MEMO_ENOMEM, MEMO_ECLOSED, MEMO_EABANDONED, MEMO_ENOENT (the load found
// nothing), or MEMO_EDEADLK (called inside a load that this key's load waits for).
// *out holds a value if and only if 0 is returned; otherwise it is all zeros, but
// for from, which is MEMO_NEGATIVE if the error is one that was kept.
//
// Owner:   the caller releases *out, once.  key is copied.
// Threads: any, loads and destructors included.
// Blocks:  on a hit, never.  Else until the load of this key has ended.
// Locks:   none held while the load runs.
MEMO_API int memo_get(struct memo *m, const void *key, size_t key_size,
                      struct memo_value *out);

// The same, with a say in how to wait; wait may be NULL.  A caller who gives up
// leaves the load running for the others and for the cache.
//
// Return also MEMO_ETIMEDOUT or MEMO_ECANCELED, if the deadline passed or the
// note was notified before there was an answer; MEMO_ENOENT under
// MEMO_WAIT_NO_LOAD.
//
// Owner:   the caller releases *out, once.  key is copied.
// Threads: any.
// Blocks:  until the load has ended, the deadline, or the note.  A load that
//          runs in this thread isn't interrupted.
// Locks:   none held while the load runs.
MEMO_API int memo_get_wait(struct memo *m, const void *key, size_t key_size,
                           const struct memo_wait *wait,
                           struct memo_value *out);

// Return in *out the value of key if it is resident.  Never loads.
//
// Return 0, MEMO_ENOENT, MEMO_EINVAL or MEMO_ECLOSED.
//
// Owner:   the caller releases *out, once.
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_peek(struct memo *m, const void *key, size_t key_size,
                       struct memo_value *out);

// Store a copy of the size bytes at data as the value of key.  A load of key in
// progress is detached, as by memo_invalidate(), so it can't overwrite this.
//
// Return 0, MEMO_EINVAL, MEMO_ENOMEM (nothing has changed) or MEMO_ECLOSED.
//
// Owner:   key and data are copied.
// Threads: any.
// Blocks:  no.
// Locks:   none held while the destructor of the value replaced runs.
MEMO_API int memo_put(struct memo *m, const void *key, size_t key_size,
                      const void *data, size_t size);

// How to store.  Zero in any field but size means the default.
struct memo_put_options {
    size_t size;               // sizeof(struct memo_put_options)
    int64_t ttl_ns;            // how long the value is fresh;  MEMO_NEVER: for ever
    int64_t refresh_after_ns;  // when it is to be loaded again;  MEMO_NEVER: never
    const struct memo_bytes *tags;  // n_tags of them, copied
    size_t n_tags;
};

// The same, with a say in how; put may be NULL.  MEMO_EINVAL also for a bad tag (see
// memo_invalidate_tag()), for a size or a set byte that this version doesn't know, for
// a time that is negative, or that this cache has no place for: ttl_ns needs any of
// the times in its options to be set, refresh_after_ns any of them other than ttl_ns.
MEMO_API int memo_put_with(struct memo *m, const void *key, size_t key_size,
                           const void *data, size_t size,
                           const struct memo_put_options *put);

// Load key now, whatever is resident: by the executor, if there is one, else in this
// thread.  The old value, if there is one, is returned to everybody meanwhile, and
// stays if the load fails.  If a load of key is in progress already, that will do.
// Joins, and is joined by, gets of an absent key.
//
// Return 0: the load is running, or has run, with whatever result.  MEMO_EINVAL,
// MEMO_ENOMEM, MEMO_EBUSY or MEMO_ECLOSED: it isn't.
//
// Owner:   key is copied.
// Threads: any.
// Blocks:  no, except for what the load function does in this thread.
// Locks:   none held while the load runs.
MEMO_API int memo_refresh(struct memo *m, const void *key, size_t key_size);

// Forget key.  After this returns, no call that starts later gets a result
// whose load began earlier: the resident value is dropped, and a flight is
// detached (those who joined it get its result, marked MEMO_DETACHED; it is
// never stored).  Forgetting what isn't there is fine.
//
// Return 0, MEMO_EINVAL or MEMO_ECLOSED.
//
// Owner:   nothing changes hands.
// Threads: any.
// Blocks:  no.
// Locks:   none held while destructors run.
MEMO_API int memo_invalidate(struct memo *m, const void *key, size_t key_size);

// Forget every key, as memo_invalidate() does.
MEMO_API int memo_clear(struct memo *m);

// Forget every value that has this tag, or was made from one that has it: as
// memo_invalidate() does, and as exactly.  A load that began before and adds the
// tag later is concerned too: its result is not kept, those who had joined it get
// it marked MEMO_DETACHED, and those who join it from now on load again.
//
// Return 0, MEMO_EINVAL (a NULL, or size over MEMO_KEY_MAX), MEMO_ECLOSED, or
// MEMO_ENOMEM, which only the first call for a cache without tags can.
//
// Owner:   nothing changes hands.
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_invalidate_tag(struct memo *m, const void *tag, size_t size);

// Let go of a value; the destructor of an adopted one runs when it is no longer
// resident and nobody holds it.  *v becomes all zeros; releasing that is fine.
//
// Owner:   v->data is no longer the caller's to read.
// Threads: any, also another than the one that got it, also after memo_free().
// Blocks:  no.
// Locks:   none held while the destructor runs.
MEMO_API void memo_release(struct memo_value *v);

// Hold v a second time, in *out.
//
// Return 0, or MEMO_EINVAL (a NULL, or v holds nothing); *out is all zeros then.
//
// Owner:   the caller releases both, in any order.
// Threads: any; v must not be released meanwhile.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_retain(const struct memo_value *v, struct memo_value *out);

// ------------------------------------------------------- without blocking

struct memo_ticket;  // one asynchronous wait
struct memo_queue;   // completions, to be fetched

// What became of an asynchronous wait: error as memo_get() would have returned
// it, and the value, which is the callee's to release.
typedef void memo_done_fn(void *arg, int error, struct memo_value *value);

// As memo_get_wait(), but don't wait: done(arg, ...) is called exactly once, in
// this thread before this returns if the answer is there, else in the thread
// that ends the load, or that cancels.  wait may say flags, but neither a
// deadline nor a note: there is no thread that would watch them; cancel the
// ticket instead.
//
// The load runs on the executor, if the cache has one.  Otherwise this thread
// calls the load function, which should return MEMO_PENDING.
//
// Return 0: done has been or will be called.  Or an error, and it won't:
// MEMO_EINVAL, MEMO_ENOMEM, MEMO_ECLOSED, MEMO_EBUSY, MEMO_ENOENT.
//
// Owner:   key is copied.  *ticket, if ticket isn't NULL, is the caller's, to be
//          freed by memo_ticket_free().  Waiting costs 64 bytes.
// Threads: any.
// Blocks:  no, except for what done and the load function do.
// Locks:   none while done runs; it may call any function.
MEMO_API int memo_get_async(struct memo *m, const void *key, size_t key_size,
                            const struct memo_wait *wait, memo_done_fn *done,
                            void *arg, struct memo_ticket **ticket);

// Give the wait up: done is called with MEMO_ECANCELED, in this thread.  The
// load goes on for others, see MEMO_CANCEL_UNWANTED.  Return 0; or
// MEMO_EALREADY: done has been or is being called with something else; or
// MEMO_EINVAL: t is NULL, as where done was called before memo_get_async()
// returned.
//
// Threads: any; the ticket must not be freed meanwhile.  Blocks: no.  Locks:
// none while done runs.
MEMO_API int memo_ticket_cancel(struct memo_ticket *t);

// Free a ticket; the wait goes on.  NULL is allowed.
//
// Threads: any, done included.  Blocks: no.  Locks: none.
MEMO_API void memo_ticket_free(struct memo_ticket *t);

// What memo_queue_next() returns.
struct memo_completion {
    void *arg;                // as given to memo_get_queued()
    struct memo_value value;  // to be released
    int error;
    int zero;
};

// Make a queue of completions, for event loops (epoll, libuv, libevent).  Return
// 0, MEMO_EINVAL, or MEMO_ENOMEM (no memory, or no descriptor).
//
// Owner:   the caller, who calls memo_queue_free().
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API int memo_queue_new(struct memo_queue **out);

// A descriptor that is readable as long as completions are to be fetched.  Poll
// it, level or edge triggered; don't read it.
MEMO_API int memo_queue_fd(const struct memo_queue *q);

// As memo_get_async(), with the answer put into q, also if it is there at once.
MEMO_API int memo_get_queued(struct memo *m, const void *key, size_t key_size,
                             const struct memo_wait *wait, struct memo_queue *q,
                             void *arg, struct memo_ticket **ticket);

// Take the oldest completion.  Return 0, or MEMO_ENOENT: there is none now.
//
// Owner:   the caller releases out->value.
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API int memo_queue_next(struct memo_queue *q, struct memo_completion *out);

// Free the queue.  Completions not fetched, and those still to come, are
// released.  NULL is allowed.
//
// Threads: any, but no other call on q may be in progress or follow.
MEMO_API void memo_queue_free(struct memo_queue *q);

// Get n keys at once: out[i] and errors[i] are what memo_get_wait() would have
// given for keys[i].  The hits among them are overlapped, which is several times
// faster than one by one.  All keys that are missing and that nobody is loading
// are claimed, and loaded by one call of options.load_many (else by load, one
// after the other; one whose turn has not come may be run by who asks for it inside a
// load); then the flights of others are waited for.  So two calls with keys in
// opposite orders don't wait for each other.  A key may occur several times.
//
// Return 0 if all are there, else the first error in errors; or MEMO_EINVAL (a
// NULL, a bad key), with nothing done and every out[i] all zeros.
//
// Owner:   the caller releases each out[i]; those without a value are all zeros.
// Threads: any.
// Blocks:  as memo_get_wait(), with one deadline for all.
// Locks:   none held while loads run.
MEMO_API int memo_get_many(struct memo *m, const struct memo_bytes keys[],
                           size_t n, const struct memo_wait *wait,
                           struct memo_value out[], int errors[]);

// ------------------------------------------------ inside a load function
//
// These take the load that the load function was given.  Until it has returned,
// or, after MEMO_PENDING, until memo_load_finish(), one thread at a time may
// use them.

// Return the key, and its size in *size.  The bytes are followed by a zero byte
// that is not part of the key.
//
// Owner:   the load's; valid as long as the load is.
// Threads: any.
// Blocks:  no.
// Locks:   none.
MEMO_API const void *memo_load_key(const struct memo_load *l, size_t *size);

// Return room for a value of size bytes inside the cache's own entry, to be
// filled before the load ends: the value is copied nowhere.  Calling again
// changes the size; contents are kept up to the smaller of the two.  NULL: out
// of memory, or size is absurd; what was there before still is.
//
// Owner:   the load's, until it ends.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
MEMO_API void *memo_load_reserve(struct memo_load *l, size_t size);

// Make a copy of the size bytes at data the value.  Replaces what was set
// before.  Return 0, MEMO_EINVAL or MEMO_ENOMEM (what was set before still is).
//
// Owner:   data stays the caller's.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_load_return(struct memo_load *l, const void *data,
                              size_t size);

// Make the caller's own object the value: size bytes at data (any object; size
// is what the cache reports and counts).  free_fn, if not NULL, is called once
// when nobody needs it.  Return 0, MEMO_EINVAL or MEMO_ENOMEM.
//
// Owner:   the cache, if 0 is returned; otherwise still the caller.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_load_adopt(struct memo_load *l, void *data, size_t size,
                             memo_free_fn *free_fn, void *free_arg);

// Say what the value weighs, rather than have it weighed.  Return 0, MEMO_EINVAL
// or MEMO_EALREADY (the load is finished).
//
// Threads: one at a time.  Blocks: no.  Locks: none.
MEMO_API int memo_load_set_weight(struct memo_load *l, uint32_t weight);

// Return in *out the value that this load is to replace, if there is one: for a
// request that is conditional on it.  Return 0, MEMO_ENOENT or MEMO_EINVAL; *out
// is all zeros unless 0 is returned.
//
// Owner:   the caller releases *out, once.
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API int memo_load_old(struct memo_load *l, struct memo_value *out);

// Say how long the value is good for, rather than options.ttl_ns; MEMO_NEVER: for
// ever; 0: it is for those who wait, and not to be stored.  And after how long it
// is to be loaded again, rather than options.refresh_after_ns; 0 or MEMO_NEVER:
// never.  Return 0, MEMO_EINVAL or MEMO_EALREADY.  MEMO_EINVAL also if the cache
// has no place for it, as in memo_put_with().
//
// Threads: one at a time.  Blocks: no.  Locks: none.
MEMO_API int memo_load_set_ttl(struct memo_load *l, int64_t ttl_ns);
MEMO_API int memo_load_set_refresh(struct memo_load *l,
                                   int64_t refresh_after_ns);

// Say that the value, past its time, must never stand in for a load that fails, nor
// be taken at a soft deadline.  Return 0, MEMO_EALREADY or MEMO_EINVAL, as above.
//
// Threads: one at a time.  Blocks: no.  Locks: none.
MEMO_API int memo_load_must_revalidate(struct memo_load *l);

// Say what the load has found, instead of giving a value; it then ends with 0.
// Whatever is said last counts.  Return 0, MEMO_EINVAL or MEMO_EALREADY.
//
// memo_load_not_found(): nothing.  Everybody gets MEMO_ENOENT, for negative_ttl_ns;
//     a value that was resident is gone.
// memo_load_not_modified(): the old value is still good.  It stays, the same
//     object, and is as fresh as a new one.  MEMO_EINVAL without an old value.
//
// Threads: one at a time.  Blocks: no.  Locks: none.
MEMO_API int memo_load_not_found(struct memo_load *l);
MEMO_API int memo_load_not_modified(struct memo_load *l);

// Say that the value, which is given as usual, is for who started this load, and
// isn't to be kept.  Those who joined load for themselves, in parallel, and so
// does everybody for pass_ttl_ns.  So it is with what is made from that value, if the
// cache knows: see memo_load_depend().  Return 0, MEMO_EINVAL or MEMO_EALREADY.
//
// Threads: one at a time.  Blocks: no.  Locks: none.
MEMO_API int memo_load_pass(struct memo_load *l);

// Give the value a tag, for memo_invalidate_tag().  Any number of them, at any time
// until the load ends; but one of them, or of memo_load_get(), had better come
// before the value, which is copied once more if none does.  They don't matter if
// the load says memo_load_not_modified(): the old value keeps those that it has.
//
// Return 0, MEMO_EINVAL (a NULL, or size over MEMO_KEY_MAX), MEMO_ENOMEM (the tag
// isn't given), or MEMO_EALREADY (the load is finished).
//
// Owner:   tag is copied.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_load_add_tag(struct memo_load *l, const void *tag,
                               size_t size);

// Get another key of the same cache, as memo_get_wait() does, to make the value
// from: it goes when that key is changed, or when what that key's value was made
// from is.  If there is no value but an error, it goes when one is put.
//
// Return also MEMO_EALREADY: the load is finished.
//
// Owner:   the caller releases *out, once.  key is copied.
// Threads: one at a time.
// Blocks:  as memo_get_wait().
// Locks:   none held while the load of key runs.
MEMO_API int memo_load_get(struct memo_load *l, const void *key,
                           size_t key_size, const struct memo_wait *wait,
                           struct memo_value *out);

// Say that the value is made from v, a value of the same cache that was got, in
// whatever way, since this load began.  If v's key has been changed since then, and
// v isn't the resident value, the result is out of date already.
//
// Return 0, MEMO_EINVAL (a NULL, v holds nothing, or is of another cache),
// MEMO_ENOMEM (v may be depended on in part) or MEMO_EALREADY.
//
// Owner:   v stays the caller's.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_load_depend(struct memo_load *l, const struct memo_value *v);

// Say that the value goes when key is changed, whether it is resident or not; but
// not what the value of key was made from.  If it has been changed since this load
// began, the result is out of date already; that is assumed, if nothing in this
// cache had tags or dependencies then.
//
// Return 0, MEMO_EINVAL, MEMO_ENOMEM or MEMO_EALREADY.
//
// Owner:   key is copied.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none.
MEMO_API int memo_load_depend_key(struct memo_load *l, const void *key,
                                  size_t key_size);

// Say whether the answer is no longer wanted: the cache is closing; or, with
// MEMO_CANCEL_UNWANTED, nobody waits for it any more.
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API int memo_load_is_canceled(struct memo_load *l);

// Have fn(arg, l) called when it is no longer wanted; at once if that is so
// already.  Once for each load.  Return 0, MEMO_EINVAL or MEMO_EALREADY.
//
// Owner:   arg must outlive the load: fn may be running until shortly after
//          memo_load_finish().  memo_close() waits for it.
// Threads: one at a time.
// Blocks:  no.
// Locks:   none while fn runs.
MEMO_API int memo_load_on_cancel(struct memo_load *l, memo_cancel_fn *fn,
                                 void *arg);

// End a load whose function returned (or is about to return) MEMO_PENDING.
// error is what the function would have returned: 0, or an error.
//
// Return 0; MEMO_EALREADY if it was finished before, or is finished by its
// function's own return; MEMO_EINVAL for MEMO_PENDING.  A call that returns 0
// takes the load away from its caller: l is gone, unless it is held by
// memo_load_retain().
//
// Owner:   see memo_load_retain().
// Threads: any.
// Blocks:  no.
// Locks:   none held while completions and destructors run.
MEMO_API int memo_load_finish(struct memo_load *l, int error);

// Hold l, so that code that may finish it from several places (an answer, a
// timeout) can tell who was first: memo_load_finish() returns 0 once, and
// MEMO_EALREADY to the others.  Release it as often as it was retained, also
// after memo_free().
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API void memo_load_retain(struct memo_load *l);
MEMO_API void memo_load_release(struct memo_load *l);

// ---------------------------------------------------------------- upkeep

// Fill *stats, of which the caller has set size.  Each number is exact at some
// moment during the call, not all at the same one.
//
// Return 0 or MEMO_EINVAL.
//
// Owner:   the caller's.
// Threads: any.
// Blocks:  for each shard's lock.
// Locks:   none.
MEMO_SAME_NAME_BEGIN_
MEMO_API int memo_stats(struct memo *m, struct memo_stats *stats);
MEMO_SAME_NAME_END_

// Which histogram.
#define MEMO_HISTOGRAM_LOAD 0  // how long loads took, from the call that started
                               // them until they ended, whatever with
#define MEMO_HISTOGRAM_WAIT 1  // how long calls waited for another's load, until
                               // the answer or until they gave up
#define MEMO_HISTOGRAMS 2

// Counts of times on the cache's clock, in buckets of which each is at most an
// eighth as wide as the times in it are long, up to 18 hours; the last holds what
// was longer.  n is the sum of all counts.
#define MEMO_HISTOGRAM_BUCKETS 352

struct memo_histogram {
    size_t size;  // in: sizeof(struct memo_histogram)
    uint64_t n;
    uint64_t sum_ns;
    uint64_t count[MEMO_HISTOGRAM_BUCKETS];
};

// Fill *out with one of the histograms, of which the caller has set out->size.
// Return 0 or MEMO_EINVAL.
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API int memo_stats_histogram(struct memo *m, int which,
                                  struct memo_histogram *out);

// Return the longest time that belongs to a bucket; MEMO_NEVER for the last.
MEMO_API int64_t memo_histogram_bound_ns(uint32_t bucket);

// Return the time that a part q (0.5, 0.99, ...) of all times don't exceed, off by
// at most a sixteenth; 0 if there are none.  MEMO_EINVAL: q is not from 0 to 1.
MEMO_API int64_t memo_histogram_quantile(const struct memo_histogram *h,
                                         double q);

// Write what is counted of n caches into buf, as text that Prometheus reads (text
// exposition format, version 0.0.4).  names[i] becomes the label cache="..." of
// what belongs to caches[i]; any text in UTF-8.  *need, if need isn't NULL, is how
// large buf must be for all of it and a zero byte.
//
// Return 0; MEMO_ENOSPC if that is more than size, and then buf, if size isn't 0,
// holds an empty string (numbers grow, so leave some room the next time);
// MEMO_EINVAL (a NULL, n is 0, a name not in UTF-8, the same name twice); or
// MEMO_ENOMEM.
//
// Owner:   the caller's.
// Threads: any.
// Blocks:  for each shard's lock.
// Locks:   none.
MEMO_API int memo_stats_prometheus(struct memo *const caches[],
                                   const char *const names[], size_t n,
                                   char *buf, size_t size, size_t *need);

// Do a bounded step of what writes would otherwise do by and by: reclaim
// retired values, sweep cleared ones, drop expired ones.  Return when to call
// next, on the cache's clock: now_ns (or less) if there is more to do, MEMO_NEVER
// if there is nothing.  now_ns is what the clock says; what lies ahead of that
// doesn't expire.
//
// Threads: any.
// Blocks:  for each shard's lock.
// Locks:   none held while destructors run.
MEMO_API int64_t memo_maintain(struct memo *m, int64_t now_ns);

// For MEMO_ENGINE_LOOP: a descriptor that is readable when the monitor has
// something to do; poll it, don't read it.  MEMO_EINVAL with another engine.
//
// Threads: any.  Blocks: no.  Locks: none.
MEMO_API int memo_monitor_fd(const struct memo *m);

// Do up to max_steps of what waits for the monitor.  The calling thread is the
// monitor's from now on (at first it is the one that called memo_new()): its own
// calls don't send messages.  Return how many were done; or MEMO_EINVAL (another
// engine, a negative number, or another thread is doing it).
//
// Threads: one at a time.
// Blocks:  no.
// Locks:   none held while destructors run.
MEMO_API int memo_monitor_run(struct memo *m, int max_steps);

// Verify the invariants of the whole cache, and abort with a message naming the
// one that doesn't hold.  Slow: for tests.  Safe while other threads work.
MEMO_API void memo_check(struct memo *m);

// The name ("MEMO_EINVAL") and the text of an error.  A code that isn't memo's
// gives "unknown", never NULL.
MEMO_API const char *memo_error_name(int error);
MEMO_API const char *memo_error_text(int error);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_MEMO_H_
