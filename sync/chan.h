// chan: a channel, as Go has them: values pass from senders to receivers.
//
// A buffered channel holds up to its capacity of values; senders wait while it
// is full, receivers while it is empty.  On an unbuffered one (capacity 0) a
// sender and a receiver wait for each other.  After sync_chan_close() nothing
// more is sent; what is in the buffer is still received, and then SYNC_ECLOSED.
//
//     struct sync_chan *c = sync_chan_new(sizeof(int), 0);
//
//     sync_chan_send(c, &n, SYNC_NEVER, NULL);     // c <- n
//     sync_chan_recv(c, &n, SYNC_NEVER, NULL);     // n = <-c
//     sync_chan_close(c);                          // close(c)
//
//     struct sync_select_case cases[] = {          // select {
//         {.chan = c, .recv = &n},                 // case n = <-c:
//         {.chan = d, .send = &one},               // case d <- one:
//     };
//     switch (sync_chan_select(cases, 2, SYNC_NEVER, NULL)) {
//         case 0: ...                              //     n was received
//         case 1: ...                              //     one was sent
//     }                                            // }
//
// Where Go panics, these return an error: sending on a closed channel, closing
// it twice, closing no channel.  As in Go no channel (NULL) is never ready; but
// to wait for that alone, and for ever, is SYNC_EDEADLK.
//
// LIFETIME: a channel may be freed by a thread that has received the last value
// that is sent, without waiting for the sender to return.
#ifndef MEMO_SYNC_CHAN_H_
#define MEMO_SYNC_CHAN_H_

#include <stddef.h>
#include <stdint.h>

#include "sync/annotate.h"
#include "sync/atomic.h"
#include "sync/list.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sync_chan;
struct sync_note;      // a cancellation, see sync/note.h
struct sync_selector;  // private

// A deadline in the past: don't wait, as a select with a default case doesn't.
#define SYNC_NOW ((int64_t)0)

// One communication that a select may choose, in the caller's memory.  What the
// caller doesn't set is zero at first.
struct sync_select_case {
    struct sync_chan *chan;
    const void *send;  // where the value to send is; NULL: this case receives
    void *recv;        // where to put what is received; NULL: nowhere
    // Set if this case is chosen: 0, or SYNC_ECLOSED.
    int error;

    // Private.  Those of cases[i] say which case is the ith
    uint32_t place;  // to have its channel locked
    uint32_t draw;   // to be tried
    struct sync_link link;
    struct sync_selector *selector;
};

// Make a channel of values of elem_size bytes (which may be 0) that holds
// capacity of them.  Return NULL if out of memory.
//
// Owner:   the caller, who calls sync_chan_free().
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API struct sync_chan *sync_chan_new(size_t elem_size, size_t capacity);

// Free c, and the values in it.  NULL is allowed.
//
// Threads: any, but no other call on c may be in progress or follow.
SYNC_API void sync_chan_free(struct sync_chan *c);

// Send the value at elem.
//
// Return 0: it is in the buffer, or a receiver has it.  Else it was not sent:
// SYNC_ECLOSED, SYNC_ETIMEDOUT (deadline_ns came; SYNC_NOW: a wait would have
// been needed), SYNC_ECANCELED (note, which may be NULL, was notified),
// SYNC_EDEADLK or SYNC_EINVAL.
//
// Owner:   elem is copied.
// Threads: any.
// Blocks:  while the buffer is full, or without one until it is received; a
//          signal doesn't end the wait.
// Locks:   none.
SYNC_API int sync_chan_send(struct sync_chan *c, const void *elem,
                            int64_t deadline_ns, struct sync_note *note);

// Receive a value into elem.
//
// Return 0; or SYNC_ECLOSED: closed, and nothing is left (elem becomes zero);
// or as sync_chan_send() does, with elem unchanged.
//
// Owner:   the value is copied to elem.
// Threads: any.
// Blocks:  while there is nothing to receive; a signal doesn't end the wait.
// Locks:   none.
SYNC_API int sync_chan_recv(struct sync_chan *c, void *elem,
                            int64_t deadline_ns, struct sync_note *note);

// Close c: waiting senders and receivers return SYNC_ECLOSED.
//
// Return 0; SYNC_ECLOSED if it was closed before; SYNC_EINVAL if c is NULL.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_chan_close(struct sync_chan *c);

// How many values are in the buffer now, and how many there is room for.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API size_t sync_chan_length(struct sync_chan *c);
SYNC_API size_t sync_chan_capacity(const struct sync_chan *c);

// Do one of the n cases, and only one: one that can be done now, each with the
// same chance; if there is none, the first that can be.  A channel may be in
// several cases.
//
// Return its index, with error set in it: a closed channel is always ready.  Or
// a negative error, and no case was done: SYNC_ETIMEDOUT (SYNC_NOW: the default
// case), SYNC_ECANCELED, SYNC_EDEADLK or SYNC_EINVAL.
//
// Owner:   cases are in use until this returns.
// Threads: any.
// Blocks:  until a case can be done, the deadline, or the note.
// Locks:   none.
SYNC_API int sync_chan_select(struct sync_select_case *cases, int n,
                              int64_t deadline_ns, struct sync_note *note);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_CHAN_H_
