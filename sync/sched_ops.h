// The operations of sync/atomic.h on the deterministic scheduler.
//
// Included by sync/atomic.h, at its end, if SYNC_SCHED is defined, and by
// nobody else.  Each macro evaluates its arguments, once; announces the
// operation to the scheduler, which may run other threads first; then carries
// it out. sync/sched.h is what tests include.
#ifndef MEMO_SYNC_SCHED_OPS_H_
#define MEMO_SYNC_SCHED_OPS_H_

#include <stddef.h>

#include "sync/annotate.h"

// Threads of one execution, the ones a test starts included.
#define SYNC_SCHED_THREADS 16

// (No pointer below is to const, for gcc believes that what is passed as such,
// and has no value yet, will be read.)

// What an operation does: bits.
enum {
    SYNC_READS_ = 1,
    SYNC_WRITES_ = 2,
    SYNC_ACQUIRES_ = 4,
    SYNC_RELEASES_ = 8,
    SYNC_MODIFIES_ = SYNC_READS_ | SYNC_WRITES_,
    SYNC_SYNCHRONIZES_ = SYNC_MODIFIES_ | SYNC_ACQUIRES_ | SYNC_RELEASES_,
};

// Wait for the calling thread's turn to do what bits say to the atomic at p.
void sync_sched_op_(volatile void *p, size_t size, int bits, const char *where);

// The same for a compare-and-swap, which doesn't write if it finds another
// value than *expected.
void sync_sched_cas_(volatile void *p, size_t size, const void *expected,
                     int bits, const char *where);

// Not switch points: only checked for being ordered with all other accesses.
void sync_sched_data_(volatile void *p, int bits, const char *where);

// The functions of sync/atomic.h that are switch points, with where they are
// called.
int sync_sched_futex_wait_(sync_atomic_u32 *word, uint32_t expected,
                           int64_t deadline_ns, const char *where);
int sync_sched_futex_wake_(sync_atomic_u32 *word, int n, const char *where);
void sync_sched_heavy_fence_(const char *where);
int sync_sched_thread_start_(struct sync_thread *t, void *(*fn)(void *),
                             void *arg, const char *where);
void *sync_sched_thread_join_(struct sync_thread *t, const char *where);
void sync_sched_yield_(const char *where);

// The number of the calling thread; SYNC_SCHED_THREADS outside of all threads.
extern int sync_sched_self_;

#define SYNC_TEXT_(x) #x
#define SYNC_LINE_(x) SYNC_TEXT_(x)
#define SYNC_HERE_ __FILE__ ":" SYNC_LINE_(__LINE__)

// The type of the value of the atomic at p.
#define SYNC_VALUE_(p) __typeof__((void)0, *(p))

// n makes names unique, so that operations may be arguments of operations.
#define SYNC_LOAD_N_(n, p, bits, order)                                        \
    __extension__({                                                            \
        __typeof__(p) p_##n = (p);                                             \
        sync_sched_op_((volatile void *)(uintptr_t)p_##n, sizeof *p_##n, bits, \
                       SYNC_HERE_);                                            \
        atomic_load_explicit(p_##n, order);                                    \
    })
#define SYNC_UPDATE_N_(n, p, v, bits, operation, order)         \
    __extension__({                                             \
        __typeof__(p) p_##n = (p);                              \
        SYNC_VALUE_(p) v_##n = (v);                             \
        sync_sched_op_(p_##n, sizeof *p_##n, bits, SYNC_HERE_); \
        operation(p_##n, v_##n, order);                         \
    })
#define SYNC_CAS_N_(n, p, e, d, bits, order, failure_order)                 \
    __extension__({                                                         \
        __typeof__(p) p_##n = (p);                                          \
        SYNC_VALUE_(p) *e_##n = (e);                                        \
        SYNC_VALUE_(p) d_##n = (d);                                         \
        sync_sched_cas_(p_##n, sizeof *p_##n, e_##n, bits, SYNC_HERE_);     \
        atomic_compare_exchange_strong_explicit(p_##n, e_##n, d_##n, order, \
                                                failure_order);             \
    })
#define SYNC_INIT_N_(n, p, v)                              \
    __extension__({                                        \
        __typeof__(p) p_##n = (p);                         \
        sync_sched_data_(p_##n, SYNC_WRITES_, SYNC_HERE_); \
        atomic_init(p_##n, (v));                           \
    })

// Two more levels, so that __COUNTER__ is a number before it is pasted.
#define SYNC_LOAD_C_(n, ...) SYNC_LOAD_N_(n, __VA_ARGS__)
#define SYNC_UPDATE_C_(n, ...) SYNC_UPDATE_N_(n, __VA_ARGS__)
#define SYNC_CAS_C_(n, ...) SYNC_CAS_N_(n, __VA_ARGS__)
#define SYNC_INIT_C_(n, ...) SYNC_INIT_N_(n, __VA_ARGS__)
#define SYNC_LOAD_(...) SYNC_LOAD_C_(__COUNTER__, __VA_ARGS__)
#define SYNC_UPDATE_(...) SYNC_UPDATE_C_(__COUNTER__, __VA_ARGS__)
#define SYNC_CAS_(...) SYNC_CAS_C_(__COUNTER__, __VA_ARGS__)

#define SYNC_INIT(p, v) SYNC_INIT_C_(__COUNTER__, p, v)
#define SYNC_LOAD(p) SYNC_LOAD_(p, SYNC_READS_, memory_order_relaxed)
#define SYNC_LOAD_ACQ(p) \
    SYNC_LOAD_(p, SYNC_READS_ | SYNC_ACQUIRES_, memory_order_acquire)
#define SYNC_STORE(p, v)                                    \
    SYNC_UPDATE_(p, v, SYNC_WRITES_, atomic_store_explicit, \
                 memory_order_relaxed)
#define SYNC_STORE_REL(p, v)                                                 \
    SYNC_UPDATE_(p, v, SYNC_WRITES_ | SYNC_RELEASES_, atomic_store_explicit, \
                 memory_order_release)
#define SYNC_XCHG_ACQREL(p, v)                                       \
    SYNC_UPDATE_(p, v, SYNC_SYNCHRONIZES_, atomic_exchange_explicit, \
                 memory_order_acq_rel)
#define SYNC_XCHG_SC(p, v)                                           \
    SYNC_UPDATE_(p, v, SYNC_SYNCHRONIZES_, atomic_exchange_explicit, \
                 memory_order_seq_cst)
#define SYNC_ADD(p, v)                                            \
    SYNC_UPDATE_(p, v, SYNC_MODIFIES_, atomic_fetch_add_explicit, \
                 memory_order_relaxed)
#define SYNC_ADD_ACQREL(p, v)                                         \
    SYNC_UPDATE_(p, v, SYNC_SYNCHRONIZES_, atomic_fetch_add_explicit, \
                 memory_order_acq_rel)
#define SYNC_SUB(p, v)                                            \
    SYNC_UPDATE_(p, v, SYNC_MODIFIES_, atomic_fetch_sub_explicit, \
                 memory_order_relaxed)
#define SYNC_SUB_REL(p, v)                              \
    SYNC_UPDATE_(p, v, SYNC_MODIFIES_ | SYNC_RELEASES_, \
                 atomic_fetch_sub_explicit, memory_order_release)
#define SYNC_SUB_ACQREL(p, v)                                         \
    SYNC_UPDATE_(p, v, SYNC_SYNCHRONIZES_, atomic_fetch_sub_explicit, \
                 memory_order_acq_rel)
#define SYNC_OR_ACQREL(p, v)                                         \
    SYNC_UPDATE_(p, v, SYNC_SYNCHRONIZES_, atomic_fetch_or_explicit, \
                 memory_order_acq_rel)
#define SYNC_AND_ACQREL(p, v)                                         \
    SYNC_UPDATE_(p, v, SYNC_SYNCHRONIZES_, atomic_fetch_and_explicit, \
                 memory_order_acq_rel)
#define SYNC_CAS(p, expected, desired)                                    \
    SYNC_CAS_(p, expected, desired, SYNC_MODIFIES_, memory_order_relaxed, \
              memory_order_relaxed)
#define SYNC_CAS_ACQ(p, expected, desired)                           \
    SYNC_CAS_(p, expected, desired, SYNC_MODIFIES_ | SYNC_ACQUIRES_, \
              memory_order_acquire, memory_order_acquire)
#define SYNC_CAS_REL(p, expected, desired)                           \
    SYNC_CAS_(p, expected, desired, SYNC_MODIFIES_ | SYNC_RELEASES_, \
              memory_order_release, memory_order_relaxed)
#define SYNC_CAS_ACQREL(p, expected, desired)                                 \
    SYNC_CAS_(p, expected, desired, SYNC_SYNCHRONIZES_, memory_order_acq_rel, \
              memory_order_acquire)

#define SYNC_DATA_READ(p) \
    sync_sched_data_((volatile void *)(uintptr_t)(p), SYNC_READS_, SYNC_HERE_)
#define SYNC_DATA_WRITE(p) sync_sched_data_((p), SYNC_WRITES_, SYNC_HERE_)

// All that must be as it was before the first execution is in one section.
#define SYNC_GLOBAL __attribute__((section("sync_sched_data")))
#define SYNC_THREAD_LOCAL(type, name) \
    SYNC_GLOBAL type name[SYNC_SCHED_THREADS + 1]
#define SYNC_LOAD_ACQ_SSE2(p) _mm_cvtsi64_si128((long long)SYNC_LOAD_ACQ(p))
#define SYNC_COUNT(p) SYNC_STORE((p), SYNC_LOAD(p) + 1)
#define SYNC_IS_ACQ(p, v) (SYNC_LOAD_ACQ(p) == (v))
#define SYNC_HAS_ACQ(p, bit) ((SYNC_LOAD_ACQ(p) >> (bit) & 1) != 0)

#define SYNC_THREAD_LOCAL_FROM(type, name, first)                 \
    __extension__ SYNC_GLOBAL type name[SYNC_SCHED_THREADS + 1] = \
        {[0 ... SYNC_SCHED_THREADS] = (first)}
#define SYNC_TLS(name) (name[sync_sched_self_])

#define SYNC_SPINS(n) (0 * (n))

#define sync_futex_wait(word, expected, deadline_ns) \
    sync_sched_futex_wait_((word), (expected), (deadline_ns), SYNC_HERE_)
#define sync_futex_wake(word, n) sync_sched_futex_wake_((word), (n), SYNC_HERE_)
#define sync_heavy_fence() (sync_sched_heavy_fence_(SYNC_HERE_), 1)
#define sync_thread_start(t, fn, arg) \
    sync_sched_thread_start_((t), (fn), (arg), SYNC_HERE_)
#define sync_thread_join(t) sync_sched_thread_join_((t), SYNC_HERE_)
#define sync_yield() sync_sched_yield_(SYNC_HERE_)
#define sync_cpu_relax() sync_sched_yield_(SYNC_HERE_)

#endif  // MEMO_SYNC_SCHED_OPS_H_
