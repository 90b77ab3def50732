// What a cache keeps for a key.  How it is made, and how it ends: entry.c.
#ifndef MEMO_MEMO_ENTRY_H_
#define MEMO_MEMO_ENTRY_H_

#include "memo/hash.h"
#include "memo/memo.h"
#include "sync/annotate.h"
#include "sync/atomic.h"

struct memo;
struct memo_load;
struct shard;

// One result, immutable after it is published: header, key, padding, value, in
// one allocation.  Or, for an adopted or huge value, a struct adopted in place
// of the value.
//
// word is compared by hits in one go, from bit 20 upwards:
//
//     bits  0..1    queue: the policy's
//     bits  2..17   stamp: the policy's clock when e entered its queue
//     bits 18..19   ENTRY_FRESH, ENTRY_RETURNED: the policy's
//     bits 20..43   size of the key
//     bits 44..45   uses, saturating: how often hit since the policy looked
//     bits 46..52   ENTRY_*
//     bits 53..63   generation: the shard's at the time of storing
//
// While e isn't resident, it is in no queue and of no generation; then these bits
// say which shard it belongs to: see shard.mark.
//
//     being made --- stored ---> resident --- unlinked ---> retired ---> dead
//          '------ not stored (error, detached, closed) ------------------^
//
// The shard's owner makes the transitions but the last, which is made by
// whoever drops the last reference.  The dead are on a list until they are
// destroyed, linked through what was their key: entry_next_dead().
//
// INVARIANT(references)  refs counts: the table (resident, or retired and not
//     yet found unpinned), the flight that made it, and each counted pin.
//     Hazard pins (sync/pin.h) aren't counted; only the table's reference
//     protects them.
struct entry {
    sync_atomic_u64 word;   // Atomic.  Readers count uses; the owner changes
                            // uses, queue and stamp, and when e is stored or
                            // retired, what says so; the rest is const.
    sync_atomic_u32 refs;   // Atomic.  ORDER(unref) in entry.c
    uint32_t value_size;    // Const after init; of a value inside the entry.
    unsigned char bytes[];  // Const after init, until it is dead.
};

// What some caches know of an entry besides; in front of it.  memo.prefix_size
// says how much of the end of this there is.  Times are explained in expire.c.
struct entry_prefix {
    // Atomic.  Written by the owner; where values have an idle time, deadline_ns
    // and check_ns by hits, too.
    SYNC_ATOMIC(int64_t) deadline_ns;  // fresh until then
    SYNC_ATOMIC(int64_t) latest_ns;    // use doesn't prolong that beyond this
    SYNC_ATOMIC(int64_t) refresh_ns;
    // Owned by the shard's owner; of a marker: const after it is published.
    int32_t error;      // of the marker, or of the last attempt
    // Owned by the shard's owner.
    float refresh_after_ns;  // as the load, or a put, has said; 0: it hasn't

    SYNC_ATOMIC(int64_t) check_ns;  // Atomic.  A hit before it is a fresh value
    // Const after init.
    uint32_t weight;  // under max_weight
    // Owned by the shard's owner.
    uint32_t stamp : 8;      // of its name on the wheel; 0: it has none
    uint32_t slot : 9;       // where that is
    uint32_t seen : 1;       // by memo_check()
    uint32_t strict : 1;     // it never stands in for a load that fails
    uint32_t failures : 13;  // in a row
};

#define FAILURES_MOST 0x1fff

#define PREFIX_OF_WEIGHT 16  // what is from check_ns on
#define PREFIX_OF_TTL 16     // the same
#define PREFIX_OF_FRESHNESS 48

#define ENTRY_QUEUE_SHIFT 0  // enum queue_name, of the policy
#define ENTRY_QUEUE (UINT64_C(3) << ENTRY_QUEUE_SHIFT)
#define ENTRY_STAMP_SHIFT 2
#define ENTRY_STAMP (UINT64_C(0xffff) << ENTRY_STAMP_SHIFT)
#define ENTRY_FRESH (UINT64_C(1) << 18)     // in main, and not looked at yet
#define ENTRY_RETURNED (UINT64_C(1) << 19)  // fresh, and came by its ghost
#define ENTRY_OF_POLICY \
    (ENTRY_QUEUE | ENTRY_FRESH | ENTRY_RETURNED | ENTRY_STAMP)
#define ENTRY_KEY_SHIFT 20
#define ENTRY_KEY ((uint64_t)MEMO_KEY_MAX << ENTRY_KEY_SHIFT)
#define ENTRY_USES_SHIFT 44
#define ENTRY_USES (UINT64_C(3) << ENTRY_USES_SHIFT)
#define ENTRY_ADOPTED (UINT64_C(1) << 46)  // a struct adopted is the value
#define ENTRY_RETIRED_BIT 47               // set once, by the owner
#define ENTRY_RETIRED (UINT64_C(1) << ENTRY_RETIRED_BIT)
#define ENTRY_TIMED (UINT64_C(1) << 48)    // as in all of this cache
#define ENTRY_KIND_SHIFT 49                // enum entry_kind
#define ENTRY_KIND (UINT64_C(3) << ENTRY_KIND_SHIFT)
#define ENTRY_NONE (UINT64_C(1) << 51)     // in none that is resident: see shard.stamp
#define ENTRY_PASSED ENTRY_NONE            // never resident: it is for one caller
#define ENTRY_LINKED (UINT64_C(1) << 52)   // has links: see link.h
#define ENTRY_GENERATION_SHIFT 53
#define ENTRY_GENERATION (UINT64_C(0x7ff) << ENTRY_GENERATION_SHIFT)

// Where it says which shard e belongs to: by the number of the shard's pages, of which
// there are as many as the shift says, and which begin with the shard's address.
#define SHARD_PAGES_SHIFT 17
#define ENTRY_SHARD_LOW_BITS 20
#define ENTRY_SHARD_LOW ((UINT64_C(1) << ENTRY_SHARD_LOW_BITS) - 1)
#define ENTRY_SHARD (ENTRY_GENERATION | ENTRY_SHARD_LOW)

// What an entry is.  Hits take values only; the others, which exist only where
// there are times, are looked at with more care.
enum entry_kind {
    KIND_VALUE = 0,
    KIND_STALE = 1,  // a value past its time, handed out for want of a better
    KIND_ERROR = 2,  // a marker: the error of a load
    KIND_PASS = 3,   // a marker: loads of this key aren't shared
};

SYNC_INLINE enum entry_kind entry_kind(uint64_t word) {
    return (enum entry_kind)((word & ENTRY_KIND) >> ENTRY_KIND_SHIFT);
}

struct adopted {
    struct entry *next_dead;  // of an entry with an empty key
    void *data;
    size_t size;
    memo_free_fn *free_fn;  // NULL: nothing to call
    union {
        void *free_arg;
        size_t allocated;  // without free_fn: 0, or data is ours, of so many bytes
    };
};

// The entry after e on a list of the dead.
SYNC_INLINE struct entry **entry_next_dead(struct entry *e) {
    return (struct entry **)(void *)e->bytes;
}

SYNC_INLINE size_t entry_key_size(uint64_t word) {
    return (size_t)(word >> ENTRY_KEY_SHIFT) & MEMO_KEY_MAX;
}

// What the key of e hashes to.
SYNC_INLINE uint64_t entry_hash(const struct hash_seed *seed,
                                const struct entry *e) {
    return hash_key(seed, e->bytes, entry_key_size(SYNC_LOAD(&e->word)));
}

// Whether that is the key of e.
SYNC_INLINE int entry_has_key(const struct entry *e, uint64_t word, const void *key,
                   size_t key_size) {
    return entry_key_size(word) == key_size &&
           hash_equal_bytes(e->bytes, key, key_size);
}

// The prefix of an entry, in a cache where entries have one.
SYNC_INLINE struct entry_prefix *entry_prefix(const struct entry *e) {
    return (struct entry_prefix *)(uintptr_t)e - 1;
}

// Where the value starts in bytes[], so that it is aligned for any type.
SYNC_INLINE size_t entry_value_offset(size_t key_size) {
    return ((offsetof(struct entry, bytes) + key_size + 15) & ~(size_t)15) -
           offsetof(struct entry, bytes);
}

SYNC_INLINE void *entry_value(const struct entry *e, size_t key_size) {
    return (unsigned char *)(uintptr_t)e->bytes + entry_value_offset(key_size);
}

// Fill all of *out but its pin.
SYNC_INLINE void entry_describe(const struct entry *e, uint64_t word,
                                size_t key_size, struct memo_value *out) {
    void *value = entry_value(e, key_size);

    out->data = value;
    out->size = e->value_size;
    if (SYNC_UNLIKELY(word & ENTRY_ADOPTED)) {
        out->data = ((const struct adopted *)value)->data;
        out->size = ((const struct adopted *)value)->size;
    }
}

// Make an entry with room for a value of size bytes; NULL: out of memory.  It
// has one reference, the caller's.
// If it is going to be linked, flags is ENTRY_LINKED, else 0.
struct entry *memo_entry_new_(struct shard *s, const void *key, size_t key_size,
                              size_t size, uint64_t flags);

// Make a marker for what the load of f came to; NULL: out of memory.
struct entry *memo_marker_new_(struct memo_load *f, enum entry_kind kind);

// The same, around the caller's own object: what adopted says.
struct entry *memo_entry_adopting_new_(struct shard *s, const void *key,
                                       size_t key_size,
                                       const struct adopted *adopted,
                                       uint64_t flags);

// Whether the links of e, which is linked, hold; or it is out of date.
int memo_links_hold_(const struct entry *e);

// The same of any entry.
SYNC_INLINE int entry_holds(const struct entry *e) {
    return SYNC_LIKELY((SYNC_LOAD(&e->word) & ENTRY_LINKED) == 0) ||
           memo_links_hold_(e);
}

// The bytes that e costs: itself and what it adopted.
size_t memo_entry_bytes_(const struct memo *m, const struct entry *e);

// Find out what e weighs, unless weight says it.  CALLBACK, nothing locked.
void memo_entry_weigh_(const struct memo *m, struct entry *e,
                       const uint32_t *weight);

// What the words of a shard's entries say, by its pages; and the shard of e, which
// isn't resident.
SYNC_INLINE uint64_t entry_mark(const void *pages) {
    uint64_t n = (uint64_t)(uintptr_t)pages >> SHARD_PAGES_SHIFT;

    return n >> ENTRY_SHARD_LOW_BITS << ENTRY_GENERATION_SHIFT |
           (n & ENTRY_SHARD_LOW);
}

SYNC_INLINE struct shard *entry_shard(const struct entry *e) {
    uint64_t word = SYNC_LOAD(&e->word);
    uint64_t n = word >> ENTRY_GENERATION_SHIFT << ENTRY_SHARD_LOW_BITS |
                 (word & ENTRY_SHARD_LOW);

    return *(struct shard **)(uintptr_t)(n << SHARD_PAGES_SHIFT);
}

// Take or drop a reference.  The last one destroys e: CALLBACK, nothing locked.
SYNC_INLINE void memo_entry_ref_(struct entry *e) {
    (void)SYNC_ADD(&e->refs, 1);
}
void memo_entry_unref_(struct entry *e);

// The same, of a reference in a variable that may be NULL: for SYNC_CLEANUP.
void memo_entry_drop_(struct entry **e);

// Drop a reference; return whether it was the last, so that e is dead and the
// caller must have it destroyed.
int memo_entry_let_go_(struct entry *e);

// Destroy e, which is dead.  CALLBACK: nothing is locked.
void memo_entry_destroy_(struct entry *e);

// Destroy garbage, which is dead.  CALLBACK: destructors, nothing locked.  Deep
// inside other destructors it is left to the outermost, so that they can't overrun
// the stack.
void memo_drop_garbage_(struct entry *garbage);

// Whether destroying e calls a destructor of the user's.
int memo_entry_has_destructor_(const struct entry *e);

// memo_close() waits for the destructor of e, which is dead.
void memo_entry_mark_due_(struct entry *e);

// Whether the calling thread is in a destructor or a listener, of any cache.
int memo_in_callback_(void);

// ---- value.c

// The entry behind the pin of a value.
struct entry *memo_pinned_entry_(const void *pin);

// Hand e out in *out, by a reference of the caller's that *out takes over.
void memo_entry_hand_out_(struct entry *e, uint32_t from,
                          struct memo_value *out);

#endif  // MEMO_MEMO_ENTRY_H_
