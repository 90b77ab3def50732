// What is measured: memo, or a peer of it in C or C++.  Each source that
// implements this is linked with serve.c, which answers turns.c, or with
// growth.c.  Peers in other languages answer turns.c themselves.
//
// subject_run() is a loop, not one operation, so that no call of ours stands
// between the loop and the subject.
#ifndef MEMO_BENCH_SUBJECT_H_
#define MEMO_BENCH_SUBJECT_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Language and version, in a word each.
extern const char subject_about[];

// Be ready for that many entries.  A bounded cache takes it as its bound, which
// must not evict before it is reached.
void subject_init(size_t capacity);

// Give everything back, as far as the library can; subject_init() may follow.
void subject_exit(void);

// Add one of many entries, from one thread.  The value is what make_value()
// says, 64 bytes; memory of the caller's may be kept.
void subject_put(const void *key, size_t size, const void *value);

// What a thread must do before its first subject_run() or subject_put(), and
// after its last.
void subject_thread_begin(void);
void subject_thread_end(void);

// Look up n keys that are there, stride bytes apart, and return the sum of all
// words of their values.  stride is 16, or 64 and the key's size is in its last
// byte.
uint64_t subject_run(const unsigned char *key, size_t stride, size_t n);

static inline size_t subject_key_size(const unsigned char *key, size_t stride) {
    return stride == 16 ? 16 : key[63];
}

#ifdef __cplusplus
}
#endif

#endif  // MEMO_BENCH_SUBJECT_H_
