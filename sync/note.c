// A note is an event, and a child is a watcher of its parent's event: notifying
// the parent calls the watcher, which notifies the child.  There is no other
// tree, and no lock but the events' own, which are never held together.
//
// LIFETIME: two counts keep the memory alive.
//   users  the owner, each child, each wait and each watcher that is not yet
//          taken off.  When it reaches zero nobody is left who could call n, or
//          care whether it is notified; it then leaves its parent.
//   refs   one for all users together, and one for the parent, which holds the
//          note as a watcher.  Who takes it to zero frees the note.
// Leaving the parent may come too late: the parent is notified, and calls, or
// is about to call, on_parent.  Then the parent's reference is dropped there.
//
// A child uses its parent (users) until it is freed, so a parent's memory is
// there for the child's unwatch.
//
// Memory ordering.
//
//   ORDER(unref)  unref:A  release and acquire, subtraction from a count
//       Whoever reads the count's last value at unref:A sees what was done
//       before every other unref:A.
#include "sync/note.h"

struct sync_note {
    // Const after init.
    struct sync_note *parent;
    int64_t deadline_ns;  // min with those of all ancestors

    // Each guards itself.
    struct sync_event event;        // set: notified
    struct sync_watcher on_parent;  // on parent's event

    // Owned by the thread that notifies it.
    struct sync_note *next;  // to be notified

    // Atomic.
    sync_atomic_u32 users;
    sync_atomic_u32 refs;
};

static int64_t min_ns(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void drop_refs(struct sync_note *n, uint32_t dropped) {
    if (SYNC_SUB_ACQREL(&n->refs, dropped) ==
        dropped) {  // ORDER(unref) unref:A
        sync_free(n);
    }
}

// Drop a user of n; then, if n has no more, of its parent, and so on up.
static void drop_user(struct sync_note *n) {
    while (n != NULL && SYNC_SUB_ACQREL(&n->users, 1) == 1) {  // ORDER(unref)
        struct sync_note *parent = n->parent;
        uint32_t dropped = 1;

        if (parent != NULL &&
            sync_event_unwatch(&parent->event, &n->on_parent)) {
            dropped++;
        }
        drop_refs(n, dropped);
        n = parent;
    }
}

// The children of what this thread is notifying, which are to come next: a tree is
// walked without recursion, however deep it is.
static SYNC_THREAD_LOCAL(struct sync_note *, to_notify);

// A child has been notified; drop its parent's reference.
static void drop_listed(struct sync_note **n) {
    drop_refs(*n, 1);
}

static void notify_child_of_list(void) {
    SYNC_CLEANUP(drop_listed) struct sync_note *n = SYNC_TLS(to_notify);

    SYNC_TLS(to_notify) = n->next;
    sync_event_set(&n->event);
}

static void notify_list(struct sync_note *outer);

static void notify_the_rest(struct sync_note **outer) {
    if (SYNC_TLS(to_notify) != NULL) {
        notify_list(*outer);
    } else {
        SYNC_TLS(to_notify) = *outer;
    }
}

// All of them, also when a watcher ends the thread, or throws; then outer is what
// is to come next again.
static void notify_list(struct sync_note *outer) {
    SYNC_CLEANUP(notify_the_rest) struct sync_note *back_to = outer;

    while (SYNC_TLS(to_notify) != NULL) {
        notify_child_of_list();
    }
}

// LIFETIME: nothing follows the setting of n, so that who sees it may free n.
void sync_note_notify(struct sync_note *n) {
    // A watcher may call this.
    SYNC_CLEANUP(notify_the_rest) struct sync_note *outer = SYNC_TLS(to_notify);

    SYNC_TLS(to_notify) = NULL;
    sync_event_set(&n->event);
}

// CALLBACK: called by the notification of the parent.
static void notify_child(struct sync_watcher *w) {
    struct sync_note *n = SYNC_CONTAINER(w, struct sync_note, on_parent);

    n->next = SYNC_TLS(to_notify);
    SYNC_TLS(to_notify) = n;
}

struct sync_note *sync_note_new(struct sync_note *parent, int64_t deadline_ns) {
    struct sync_note *n = sync_alloc(sizeof *n);

    if (n == NULL) {
        return NULL;
    }
    n->parent = parent;
    n->deadline_ns = deadline_ns;
    sync_event_init(&n->event);
    n->on_parent.fn = notify_child;
    SYNC_INIT(&n->users, 1);
    SYNC_INIT(&n->refs, 1);
    if (parent != NULL) {
        n->deadline_ns = min_ns(parent->deadline_ns, deadline_ns);
        (void)SYNC_ADD(&parent->users, 1);
        (void)SYNC_ADD(&n->refs, 1);
        if (!sync_event_watch(&parent->event, &n->on_parent)) {
            sync_note_notify(n);
            drop_refs(n, 1);
        }
    }
    return n;
}

void sync_note_free(struct sync_note *n) {
    drop_user(n);
}

int sync_note_is_notified(struct sync_note *n) {
    return sync_event_is_set(&n->event) ||
           (n->deadline_ns != SYNC_NEVER &&
            n->deadline_ns <= sync_clock_now_ns());
}

int64_t sync_note_deadline(const struct sync_note *n) {
    return n->deadline_ns;
}

int sync_note_wait(struct sync_note *n, int64_t deadline_ns) {
    int64_t until_ns = min_ns(n->deadline_ns, deadline_ns);
    int error;

    (void)SYNC_ADD(&n->users, 1);
    error = sync_event_wait(&n->event, until_ns, NULL);
    if (sync_note_is_notified(n)) {
        error = SYNC_OK;
    }
    drop_user(n);
    return error;
}

int sync_note_watch(struct sync_note *n, struct sync_watcher *w) {
    (void)SYNC_ADD(&n->users, 1);
    if (!sync_event_watch(&n->event, w)) {
        drop_user(n);
        return 0;
    }
    return 1;
}

int sync_note_unwatch(struct sync_note *n, struct sync_watcher *w) {
    int in_time = sync_event_unwatch(&n->event, w);

    drop_user(n);
    return in_time;
}
