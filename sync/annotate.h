// Attributes: what the compiler, or a reader, is told about a declaration.
//
// The lock annotations are checked by clang (-Wthread-safety), in C too:
//
//     int n SYNC_GUARDED_BY(mu);
//     void push_locked(struct stack *s) SYNC_REQUIRES(&s->mu);
#ifndef MEMO_SYNC_ANNOTATE_H_
#define MEMO_SYNC_ANNOTATE_H_

#if defined(__clang__)
#define SYNC_ATTR_(x) __attribute__((x))
#else
#define SYNC_ATTR_(x)
#endif

// On a lock's struct.
#define SYNC_CAPABILITY(name) SYNC_ATTR_(capability(name))

// On functions: what they do to the lock, or want of it.
#define SYNC_ACQUIRES(mu) SYNC_ATTR_(acquire_capability(mu))
#define SYNC_ACQUIRES_SHARED(mu) SYNC_ATTR_(acquire_shared_capability(mu))
#define SYNC_RELEASES(mu) SYNC_ATTR_(release_capability(mu))
#define SYNC_RELEASES_SHARED(mu) SYNC_ATTR_(release_shared_capability(mu))
#define SYNC_TRY_ACQUIRES(ok, mu) SYNC_ATTR_(try_acquire_capability(ok, mu))
#define SYNC_REQUIRES(mu) SYNC_ATTR_(requires_capability(mu))
#define SYNC_EXCLUDES(mu) SYNC_ATTR_(locks_excluded(mu))
#define SYNC_ASSERTS_HELD(mu) SYNC_ATTR_(assert_capability(mu))
#define SYNC_NO_LOCK_CHECK SYNC_ATTR_(no_thread_safety_analysis)

// On fields.
#define SYNC_GUARDED_BY(mu) SYNC_ATTR_(guarded_by(mu))

#if defined(__GNUC__)
#define SYNC_API __attribute__((visibility("default")))
// Before a local variable: call fn(&variable) when it goes out of scope, also
// by the end of the thread or an exception (-fexceptions).  (That is a use of the
// variable, but not to clang.)
#define SYNC_CLEANUP(fn) __attribute__((cleanup(fn), unused))
#define SYNC_COLD __attribute__((cold, noinline))
// A thread-local variable that needs no call to be found in a shared library
// either, which must then not need much of what a process has for them.
#define SYNC_INITIAL_EXEC __attribute__((tls_model("initial-exec")))
#define SYNC_NORETURN __attribute__((noreturn))
#define SYNC_INLINE static inline __attribute__((always_inline))
#define SYNC_LIKELY(x) __builtin_expect(!!(x), 1)
#define SYNC_UNLIKELY(x) __builtin_expect(!!(x), 0)
// x is true, and the compiler may rely on it.
#define SYNC_ASSUME(x) ((x) ? (void)0 : __builtin_unreachable())
// The compiler forgets where the variable x has its value from, and so doesn't
// prepare on the common way what only this one needs.
#define SYNC_FORGET(x) __asm__("" : "+r"(x))
#else
#define SYNC_API
#define SYNC_COLD
#define SYNC_INITIAL_EXEC
#define SYNC_NORETURN
#define SYNC_INLINE static inline
#define SYNC_LIKELY(x) (x)
#define SYNC_UNLIKELY(x) (x)
#define SYNC_ASSUME(x) ((void)0)
#define SYNC_FORGET(x) ((void)0)
#endif

// The initialiser of an object whose zero is its first state.
#ifdef __cplusplus
#define SYNC_ZERO \
    {}
#else
#define SYNC_ZERO \
    { 0 }
#endif

// 1 in builds for ThreadSanitizer, which doesn't know fences.
#if defined(__SANITIZE_THREAD__)
#define SYNC_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SYNC_TSAN 1
#endif
#endif
#ifndef SYNC_TSAN
#define SYNC_TSAN 0
#endif

#endif  // MEMO_SYNC_ANNOTATE_H_
