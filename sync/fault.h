// Failures on order: the Nth thing that could fail does.
//
// In builds with SYNC_FAULT=1 every operation of sync/ that the system may
// refuse (memory, a thread, a thread key, a descriptor) asks sync_fault_()
// first, and fails as if the system had refused when the answer is 1.  A
// torture runs its scenario with n = 1, 2, 3, ... until one passes with nothing
// failed:
//
//     for (uint64_t n = 1;; n++) {
//         sync_fault_set(n, sticky);
//         scenario();                     // must cope, and leak nothing
//         if (sync_fault_count() < n) break;
//     }
//
// Elsewhere sync_fault_() is the constant 0 and costs nothing.
#ifndef MEMO_SYNC_FAULT_H_
#define MEMO_SYNC_FAULT_H_

#include <stdint.h>

#include "sync/annotate.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef SYNC_FAULT

// Make the nth operation from here on fail; if sticky, all later ones too.
// n = 0: none fails.  Starts counting anew.
SYNC_API void sync_fault_set(uint64_t n, int sticky);

// Return how many operations have asked since sync_fault_set().
SYNC_API uint64_t sync_fault_count(void);

// Count one operation; return 1 if it must fail.
SYNC_API int sync_fault_(void);

#else
#define sync_fault_() 0
#endif

#ifdef __cplusplus
}
#endif

#endif  // MEMO_SYNC_FAULT_H_
