// hosts: whose turn it is.
//
// So many transfers run at a time, in all and for each host; the others wait.
// Hosts take turns; the transfers of one host go in the order in which they
// came.  (libcurl has such limits too, but transfers that it makes wait may be
// left behind when a connection becomes free.)
#ifndef MEMO_FETCH_HOSTS_H_
#define MEMO_FETCH_HOSTS_H_

#include <stdint.h>

#include "sync/list.h"

// A transfer's part in this; the rest is in internal.h.
struct fetch_turn {
    struct sync_link link;       // in the list of all who wait
    struct sync_link host_link;  // in the list of those who wait for the host
    struct fetch_host *host;
    int64_t deadline_ns;  // for the transfer, waiting included
};

// Owned by one thread.
struct fetch_hosts {
    // Const after init.
    uint32_t max_running;
    uint32_t max_running_per_host;

    struct sync_list hosts;    // that have transfers, the next to go first
    struct sync_list waiting;  // turns, the oldest first
    uint32_t n_running;
};

// Let t, whose deadline is set, wait for its turn at the host of that name
// (compared without regard to case).  Return 0 or MEMO_ENOMEM.
int fetch_hosts_add_(struct fetch_hosts *h, const char *name,
                     struct fetch_turn *t);

// Return one whose turn it is, which now runs; or NULL, if none may.
struct fetch_turn *fetch_hosts_next_(struct fetch_hosts *h);

// t, which waits, no longer does.
void fetch_hosts_leave_(struct fetch_hosts *h, struct fetch_turn *t);

// t, which ran, has ended.
void fetch_hosts_done_(struct fetch_hosts *h, struct fetch_turn *t);

// Return one that has waited until its deadline, and no longer waits; or NULL.
// SYNC_NEVER brings out all.
struct fetch_turn *fetch_hosts_late_(struct fetch_hosts *h, int64_t now_ns);

// The earliest deadline of those who wait; SYNC_NEVER if nobody does.
int64_t fetch_hosts_deadline_(const struct fetch_hosts *h);

#endif  // MEMO_FETCH_HOSTS_H_
