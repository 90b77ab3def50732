// The only door to the machine: atomics, fences, futexes, threads, memory.
//
// Everything shared goes through these names and no others, each saying its
// memory order, so that the same sources build three ways: natively; with
// SYNC_SCHED=1 on the deterministic scheduler (sync/sched.h), where each of
// them is a switch point; and with SYNC_FAULT=1, where those that can fail do
// so on order (sync/fault.h).
//
// An operation without a suffix is relaxed.
//   _ACQ     what was stored before the _REL store whose value it reads is
//            visible after it
//   _REL     all that this thread did before it is visible to whoever reads the
//            value with _ACQ
//   _ACQREL  both, for read-modify-writes
//   _SC      both, and a full barrier
// There are no bare fences: ThreadSanitizer doesn't understand them.  When the
// value of a failed compare-and-swap is used, take one with _ACQ.
//
// No function of sync/ is a point at which a thread may be cancelled
// (pthread_cancel): it would leave locked what it had locked.
#ifndef MEMO_SYNC_ATOMIC_H_
#define MEMO_SYNC_ATOMIC_H_

#include <stddef.h>
#include <stdint.h>

#include "sync/annotate.h"
#include "sync/clock.h"
#include "sync/error.h"

#ifdef __cplusplus

// To C++ an atomic is opaque: of the right size, and zero if so initialised.
template <typename T>
struct alignas(sizeof(T)) sync_opaque {
    T private_;
};
#define SYNC_ATOMIC(T) sync_opaque<T>
extern "C" {

#else

#include <stdatomic.h>
#define SYNC_ATOMIC(T) _Atomic(T)

#ifndef SYNC_SCHED  // else all this is in sync/sched_ops.h

// Give *p its first value, before any other thread knows of p.
#define SYNC_INIT(p, v) atomic_init((p), (v))

#define SYNC_LOAD(p) atomic_load_explicit((p), memory_order_relaxed)
#define SYNC_LOAD_ACQ(p) atomic_load_explicit((p), memory_order_acquire)
#define SYNC_STORE(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define SYNC_STORE_REL(p, v) \
    atomic_store_explicit((p), (v), memory_order_release)

// These return the old value.
#define SYNC_XCHG_ACQREL(p, v) \
    atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define SYNC_XCHG_SC(p, v) \
    atomic_exchange_explicit((p), (v), memory_order_seq_cst)
#define SYNC_ADD(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define SYNC_ADD_ACQREL(p, v) \
    atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define SYNC_SUB(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define SYNC_SUB_REL(p, v) \
    atomic_fetch_sub_explicit((p), (v), memory_order_release)
#define SYNC_SUB_ACQREL(p, v) \
    atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define SYNC_OR_ACQREL(p, v) \
    atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define SYNC_AND_ACQREL(p, v) \
    atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)

// If *p is *expected make it desired and return 1; else put what *p is into
// *expected and return 0.  They don't fail spuriously.
#define SYNC_CAS(p, expected, desired)                                  \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_relaxed,       \
                                            memory_order_relaxed)
#define SYNC_CAS_ACQ(p, expected, desired)                              \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_acquire,       \
                                            memory_order_acquire)
#define SYNC_CAS_REL(p, expected, desired)                              \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_release,       \
                                            memory_order_relaxed)
#define SYNC_CAS_ACQREL(p, expected, desired)                           \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), \
                                            memory_order_acq_rel,       \
                                            memory_order_acquire)

// What compilers make two or three instructions of, because an atomic isn't
// folded into the one that uses it; for words of 64 bits.
//   SYNC_COUNT(p)        add one to *p, which other threads only read
//   SYNC_IS_ACQ(p, v)    whether *p is v
//   SYNC_HAS_ACQ(p, bit) whether *p has that bit, a constant number
//   SYNC_LOAD_ACQ_SSE2(p) *p in a vector register, where <emmintrin.h> is
#if defined(__x86_64__) && defined(__GCC_ASM_FLAG_OUTPUTS__) && !SYNC_TSAN
#define SYNC_COUNT(p) __asm__("addq $1, %0" : "+m"(*(p)) : : "cc")
#define SYNC_IS_ACQ(p, v)                                     \
    (__extension__({                                          \
        int is_;                                              \
        __asm__ volatile("cmpq %2, %1"                        \
                         : "=@cce"(is_)                       \
                         : "m"(*(p)), "re"(v)                 \
                         : "memory");                         \
        is_;                                                  \
    }))
#define SYNC_HAS_ACQ(p, bit)                                            \
    (__extension__({                                                    \
        int has_;                                                       \
        __asm__ volatile("testb %2, %1"                                 \
                         : "=@ccnz"(has_)                               \
                         : "m"(((const unsigned char *)(p))[(bit) / 8]), \
                           "i"(1 << (bit) % 8)                          \
                         : "memory");                                   \
        has_;                                                           \
    }))
#define SYNC_LOAD_ACQ_SSE2(p)                                          \
    (__extension__({                                                   \
        __m128i load_;                                                 \
        __asm__ volatile("movq %1, %0" : "=x"(load_) : "m"(*(p)) : "memory"); \
        load_;                                                         \
    }))
#else
#define SYNC_LOAD_ACQ_SSE2(p) _mm_cvtsi64_si128((long long)SYNC_LOAD_ACQ(p))
#define SYNC_COUNT(p) SYNC_STORE((p), SYNC_LOAD(p) + 1)
#define SYNC_IS_ACQ(p, v) (SYNC_LOAD_ACQ(p) == (v))
#define SYNC_HAS_ACQ(p, bit) ((SYNC_LOAD_ACQ(p) >> (bit) & 1) != 0)
#endif

// Plain memory that threads hand to each other: the scheduler checks that each
// access is ordered with every other.  No-ops otherwise.
#define SYNC_DATA_READ(p) ((void)(p))
#define SYNC_DATA_WRITE(p) ((void)(p))

// A variable of which each thread has its own, zero at first:
//     static SYNC_THREAD_LOCAL(struct record *, own_record);
//     ... SYNC_TLS(own_record) = r;
#define SYNC_THREAD_LOCAL(type, name) SYNC_INITIAL_EXEC _Thread_local type name
#define SYNC_TLS(name) name

// The same with another first value, a constant.
#define SYNC_THREAD_LOCAL_FROM(type, name, first) \
    SYNC_INITIAL_EXEC _Thread_local type name = (first)

// Before the type of a mutable global: the scheduler puts it back between two
// executions.
//     static SYNC_GLOBAL sync_atomic_u32 n_records;
#define SYNC_GLOBAL

// How often to look again before sleeping: n, but never on the scheduler, where
// a second look without a change in between can't tell anything new.
#define SYNC_SPINS(n) (n)

#endif  // !SYNC_SCHED

// The light half of an asymmetric fence, between a store and a later load: it
// holds the compiler only.  The processor is held by sync_heavy_fence() on the
// other side.  Where sync_heavy_fence_available() is 0, make the store with
// SYNC_XCHG_SC instead; SYNC_SYMMETRIC_FENCES is 1 where it always is.
#define SYNC_SYMMETRIC_FENCES SYNC_TSAN
#define SYNC_LIGHT_FENCE() atomic_signal_fence(memory_order_seq_cst)

#endif  // __cplusplus

typedef SYNC_ATOMIC(uint8_t) sync_atomic_u8;
typedef SYNC_ATOMIC(uint32_t) sync_atomic_u32;
typedef SYNC_ATOMIC(uint64_t) sync_atomic_u64;
typedef SYNC_ATOMIC(void *) sync_atomic_ptr;

// A full barrier in every thread of the process: on return each has executed
// one since the call.  Stores made before SYNC_LIGHT_FENCE() there are visible
// here; stores made before the call here are visible there, after it.
// If sync_heavy_fence_available() is 0, a full barrier in this thread only.
//
// Return 1; or 0: the system refuses now what it had allowed (it is out of memory,
// or this thread has gone into a sandbox), and only this thread has executed one.
// Others may rely on the light half already, so there is no other way.
SYNC_API int sync_heavy_fence(void);

// Return whether heavy fences work: Linux's membarrier(2), since 4.14, which
// a sandbox may forbid.  Asks the system once: all threads get the same answer.
SYNC_API int sync_heavy_fence_available(void);

// Sleep while *word is expected, until a sync_futex_wake() of word or the
// deadline.  Return SYNC_ETIMEDOUT; or 0, which tells nothing: look at *word.
// A waker that has stored to *word may wake a word that is no longer there;
// the sleeper on its successor looks, and goes back to sleep.
SYNC_API int sync_futex_wait(sync_atomic_u32 *word, uint32_t expected,
                             int64_t deadline_ns);

// Wake up to n sleepers; return how many.
SYNC_API int sync_futex_wake(sync_atomic_u32 *word, int n);

struct sync_thread {
    uintptr_t handle;  // private
};

// Start a thread that runs fn(arg).  Return 0, or SYNC_EAGAIN if the system
// has no more.  Each is either joined, which returns fn's result, or detached.
SYNC_API int sync_thread_start(struct sync_thread *t, void *(*fn)(void *),
                               void *arg);
SYNC_API void *sync_thread_join(struct sync_thread *t);
SYNC_API void sync_thread_detach(struct sync_thread *t);

// End this thread; cleanups of the frames it is in run (-fexceptions).
SYNC_API SYNC_NORETURN void sync_thread_exit(void);

// Have fn(arg) called when this thread ends, the latest first; in the main
// thread only if it ends by itself and not by leaving main().  Return 0,
// SYNC_ENOMEM or SYNC_EAGAIN.
SYNC_API int sync_thread_at_exit(void (*fn)(void *), void *arg);

// Have these called around every fork() from now on, in the thread that forks:
// before() first, then in_parent() and in_child() in their process.  What was
// registered last is called first before, and last after.  Of the threads of the
// process the child has only this one: what others had locked stays locked there,
// unless before() has waited for it.  Return 0 or SYNC_ENOMEM.
//
// Threads: any.  Blocks: no.  Locks: none of sync's.
SYNC_API int sync_at_fork(void (*before)(void), void (*in_parent)(void),
                          void (*in_child)(void));

// Let others run: to be called in every turn of a loop that waits by looking.
SYNC_API void sync_yield(void);

#ifndef SYNC_SCHED
SYNC_INLINE void sync_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}
#endif

// Memory for sync/ itself: malloc() and free().
SYNC_API void *sync_alloc(size_t size);
SYNC_API void sync_free(void *p);

#ifdef __cplusplus
}
#elif defined(SYNC_SCHED)
#include "sync/sched_ops.h"
#endif

#endif  // MEMO_SYNC_ATOMIC_H_
