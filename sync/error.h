// What the functions of sync/ return: 0, or one of these.
//
// The numbers are those that memo/memo.h has for the same words, so that an
// error can be handed up unchanged; memo/ asserts that they agree.
#ifndef MEMO_SYNC_ERROR_H_
#define MEMO_SYNC_ERROR_H_

enum sync_error {
    SYNC_OK = 0,
    SYNC_EINVAL = -1,     // misuse that could be noticed
    SYNC_ENOMEM = -2,     // out of memory
    SYNC_ETIMEDOUT = -4,  // the deadline was reached
    SYNC_ECANCELED = -5,  // the wait was cancelled by its note
    SYNC_ECLOSED = -6,    // closed: nothing more goes in or comes out
    SYNC_EDEADLK = -9,    // waiting would be for ever
    SYNC_EBUSY = -10,     // held, or full, at this moment
    SYNC_EAGAIN = -13,    // the system has no more threads or descriptors
};

#endif  // MEMO_SYNC_ERROR_H_
