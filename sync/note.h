// note: a cancellation that many may wait for.
//
// A note is notified once, by sync_note_notify(), by its parent, or by its
// deadline, whichever comes first.  Waits that take a note end then, with
// SYNC_ECANCELED.  Notes form trees: cancelling a request cancels its parts.
//
//     struct sync_note *request = sync_note_new(NULL, now_ns + 5 * second);
//     ...
//     error = sync_event_wait(&ready, SYNC_NEVER, request);   // one thread
//     sync_note_notify(request);                              // another
//     sync_note_free(request);
//
// A deadline is a notification that nobody has to send: no thread and no timer
// stands behind it.  Waits end by it because they take it for their own; a
// watcher is not called by it.
#ifndef MEMO_SYNC_NOTE_H_
#define MEMO_SYNC_NOTE_H_

#include <stdint.h>

#include "sync/annotate.h"
#include "sync/event.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sync_note;

// Make a note.  parent may be NULL; if it is notified, now or later, so is the
// new note.  deadline_ns is absolute and monotonic, or SYNC_NEVER; the parent's
// counts too, if it is earlier.
//
// Return NULL if out of memory.
//
// Owner:   the caller, who calls sync_note_free().
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API struct sync_note *sync_note_new(struct sync_note *parent,
                                         int64_t deadline_ns);

// Give the note up.  NULL is allowed.  Its children, watchers and waits are not
// disturbed: they remain, and a notified parent still reaches them; the memory
// goes with the last of them.
//
// Owner:   n is no longer the caller's.
// Threads: any, but calls on n other than waits that have begun, and the
//          unwatch of what was watched, must be over.
// Blocks:  no.
// Locks:   none.
SYNC_API void sync_note_free(struct sync_note *n);

// Notify n and its children: waits return, watchers are called.  Notifying
// again does nothing; in particular it doesn't wait until a thread that
// notifies n at this moment has come to the children and watchers.
//
// Owner:   watchers go back to their owners, see sync_note_unwatch().
// Threads: any.
// Blocks:  no, except for what watchers do.  However deep the tree below n is,
//          no more stack is used.
// Locks:   none while a watcher is called.
SYNC_API void sync_note_notify(struct sync_note *n);

// Return 1 if n was notified, or its deadline has come; else 0.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int sync_note_is_notified(struct sync_note *n);

// Return the time at which n is notified if nobody does it before: its own
// deadline, its parent's, and so on up, whichever is earliest; or SYNC_NEVER.
//
// Threads: any.  Blocks: no.  Locks: none.
SYNC_API int64_t sync_note_deadline(const struct sync_note *n);

// Wait until n is notified.
//
// Return 0; or SYNC_ETIMEDOUT, if deadline_ns came.  A note that is notified is
// always 0.
//
// Threads: any.
// Blocks:  until one of the two; a signal doesn't end the wait.
// Locks:   none.
SYNC_API int sync_note_wait(struct sync_note *n, int64_t deadline_ns);

// Have w->fn called once, by the thread that notifies n (not by a deadline).
//
// Return 1; or 0 if n is notified already: fn will not be called.
//
// Owner:   w belongs to n, if 1 is returned, until sync_note_unwatch(), which
//          must then be called exactly once, whether fn was called or not.  It
//          may be called by fn.
// Threads: any.
// Blocks:  no.
// Locks:   none while fn runs; it may call any function.
SYNC_API int sync_note_watch(struct sync_note *n, struct sync_watcher *w);

// Take w off.
//
// Return 1: fn has not been called and never will be.  Or 0: too late, fn has
// been, or is being, or is about to be called.
//
// Owner:   w is the caller's again, if 1 is returned; else when fn is called.
// Threads: any; n may have been freed meanwhile.
// Blocks:  no; in particular not until fn has ended.
// Locks:   none.
SYNC_API int sync_note_unwatch(struct sync_note *n, struct sync_watcher *w);

#ifdef __cplusplus
}  // extern "C"
#endif

#endif  // MEMO_SYNC_NOTE_H_
