// deaf: to start threads that are deaf to all signals, which are the
// application's.
//
//     sigset_t before = deaf_begin();
//     ...                             // threads started here are deaf
//     deaf_end(&before);
#ifndef MEMO_FETCH_DEAF_H_
#define MEMO_FETCH_DEAF_H_

#include <signal.h>

// Block all signals in this thread.  Return those that were blocked before.
static inline sigset_t deaf_begin(void) {
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    return before;
}

static inline void deaf_end(const sigset_t *before) {
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

#endif  // MEMO_FETCH_DEAF_H_
