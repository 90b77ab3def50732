// What mutants are made with; included before everything else of theirs.
#ifndef MEMO_TEST_SUPPORT_MUTANT_H_
#define MEMO_TEST_SUPPORT_MUTANT_H_

// An exchange that orders nothing.
#define MUTANT_XCHG(p, v)                                        \
    SYNC_UPDATE_(p, v, SYNC_MODIFIES_, atomic_exchange_explicit, \
                 memory_order_relaxed)

#endif  // MEMO_TEST_SUPPORT_MUTANT_H_
