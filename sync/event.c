// An event has two sorts of waiters: threads that sleep on its word, and
// watchers on its list.
//
//   UNSET ---- somebody is about to sleep --> SLEPT_ON
//   UNSET, SLEPT_ON ---- set ---------------> SET
//
// Setting takes two steps, because the second ends the event's life:
//   1. With mu held, the list of watchers is taken, and sealed: nobody can be
//      added to it or taken off it any more.
//   2. The word becomes SET.  From here on the setter uses the watchers that it
//      took, and the address of the word, but not the event.
// Between the two the event is neither watchable nor set; whoever comes then
// waits for step 2, which nothing can delay but the processor.
//
// INVARIANT(sealed)   The list is sealed if the word is SET; it is sealed once,
//                     by the one thread that then stores SET.
// INVARIANT(cascade)  While the word is SET and threads sleep on it, a wake-up
//                     is to come: from the setter, or from one that was woken.
//
// Memory ordering.
//
//   ORDER(set)  set:A    release exchange of word
//               is_set:A acquire load of word
//       If is_set:A reads SET, what was done before set:A is seen after it.
//   ORDER(fired)  fire:A   release of a bit of fired
//                 fired:A  acquire load of fired
//       The setter, or notifier, has done its last with a noted waiter that
//       sees its bit.
#include "sync/event.h"

#include "sync/note.h"

// The values of word.
enum event_state { EVENT_UNSET = 0, EVENT_SLEPT_ON = 1, EVENT_SET = 2 };

// How many sleepers a setter wakes, and each sleeper in its turn.  The setter
// wakes only one: a second would often be put on the setter's own core, and
// take it.  A sleeper wakes two, so that no single delay holds the others up.
enum { EVENT_SETTER_WAKES = 1, EVENT_SLEEPER_WAKES = 2 };

// A list whose first link is this is sealed.
static struct sync_link sealed;

void sync_event_init(struct sync_event *e) {
    SYNC_INIT(&e->word, EVENT_UNSET);
    sync_mutex_init(&e->mu);
    e->watchers.first = NULL;
}

int sync_event_is_set(struct sync_event *e) {
    return SYNC_LOAD_ACQ(&e->word) == EVENT_SET;  // ORDER(set) is_set:A
}

static int sleep_until_set(struct sync_event *e, int64_t deadline_ns) {
    uint32_t state = EVENT_UNSET;
    int error;

    if (!SYNC_CAS_ACQ(&e->word, &state, EVENT_SLEPT_ON) && state == EVENT_SET) {
        return SYNC_OK;
    }
    do {
        error = sync_futex_wait(&e->word, EVENT_SLEPT_ON, deadline_ns);
    } while (error == SYNC_OK && !sync_event_is_set(e));
    if (!sync_event_is_set(e)) {
        return error;
    }
    // INVARIANT(cascade): a wake-up may have ended this sleep.
    (void)sync_futex_wake(&e->word, EVENT_SLEEPER_WAKES);
    return SYNC_OK;
}

// Take the watchers in *list and return 1; or return 0 if another thread has.
static int seal(struct sync_event *e, struct sync_list *list) {
    sync_mutex_lock(&e->mu);
    SYNC_DATA_WRITE(&e->watchers);
    *list = e->watchers;
    e->watchers.first = &sealed;
    sync_mutex_unlock(&e->mu);
    return list->first != &sealed;
}

static void call_watchers(struct sync_list *watchers);

static void call_the_rest(struct sync_list **watchers) {
    if (!sync_list_is_empty(*watchers)) {
        call_watchers(*watchers);
    }
}

// All of them, also when one ends the thread, or throws.
static void call_watchers(struct sync_list *watchers) {
    SYNC_CLEANUP(call_the_rest) struct sync_list *rest = watchers;
    struct sync_link *link;

    while ((link = sync_list_pop(rest)) != NULL) {
        struct sync_watcher *w =
            SYNC_CONTAINER(link, struct sync_watcher, link);

        SYNC_DATA_READ(w);
        w->fn(w);  // CALLBACK: nothing is locked
    }
}

void sync_event_set(struct sync_event *e) {
    struct sync_list watchers;

    if (sync_event_is_set(e)) {
        return;
    }
    if (!seal(e, &watchers)) {
        (void)sleep_until_set(e, SYNC_NEVER);
        return;
    }
    // ORDER(set) set:A
    if (SYNC_XCHG_ACQREL(&e->word, EVENT_SET) == EVENT_SLEPT_ON) {
        // LIFETIME: e may be gone; its address is all that is used.
        (void)sync_futex_wake(&e->word, EVENT_SETTER_WAKES);
    }
    call_watchers(&watchers);
}

static int is_noted_waiter(const struct sync_watcher *w);

int sync_event_watch(struct sync_event *e, struct sync_watcher *w) {
    int is_sealed;

    sync_mutex_lock(&e->mu);
    SYNC_DATA_WRITE(&e->watchers);
    is_sealed = e->watchers.first == &sealed;
    if (!is_sealed && is_noted_waiter(w)) {
        sync_list_push_first(&e->watchers, &w->link);
    } else if (!is_sealed) {
        sync_list_push(&e->watchers, &w->link);
    }
    sync_mutex_unlock(&e->mu);
    if (is_sealed) {
        (void)sleep_until_set(e, SYNC_NEVER);
    }
    return !is_sealed;
}

int sync_event_unwatch(struct sync_event *e, struct sync_watcher *w) {
    int is_sealed;

    sync_mutex_lock(&e->mu);
    SYNC_DATA_WRITE(&e->watchers);
    is_sealed = e->watchers.first == &sealed;
    if (!is_sealed) {
        sync_list_remove(&e->watchers, &w->link);
    }
    sync_mutex_unlock(&e->mu);
    return !is_sealed;
}

// A thread that waits for an event or a note, whichever comes first: a watcher
// of both, asleep on a word of its own.
//
// It goes before all watchers of other kinds, since what they do may take long, and
// may even be to wait for that thread.
struct noted_waiter {
    struct sync_watcher of_event;
    struct sync_watcher of_note;
    sync_atomic_u32 fired;  // NOTED_* bits
};

enum { NOTED_BY_EVENT = 1, NOTED_BY_NOTE = 2 };

// LIFETIME: the waiter returns, and its stack is reused, as soon as it has seen
// the bits of those watchers that it can't take off.
static void fire(struct noted_waiter *w, uint32_t bit) {
    (void)SYNC_OR_ACQREL(&w->fired, bit);  // ORDER(fired) fire:A
    (void)sync_futex_wake(&w->fired, 1);
}

static void fire_by_event(struct sync_watcher *w) {
    fire(SYNC_CONTAINER(w, struct noted_waiter, of_event), NOTED_BY_EVENT);
}

static void fire_by_note(struct sync_watcher *w) {
    fire(SYNC_CONTAINER(w, struct noted_waiter, of_note), NOTED_BY_NOTE);
}

static int is_noted_waiter(const struct sync_watcher *w) {
    return w->fn == fire_by_event || w->fn == fire_by_note;
}

// Sleep until one of bits is there.
static int sleep_until_fired(struct noted_waiter *w, uint32_t bits,
                             int64_t deadline_ns) {
    uint32_t fired;
    int error = SYNC_OK;

    // ORDER(fired) fired:A
    while (((fired = SYNC_LOAD_ACQ(&w->fired)) & bits) == 0 &&
           error == SYNC_OK) {
        error = sync_futex_wait(&w->fired, fired, deadline_ns);
    }
    return (fired & bits) != 0 ? SYNC_OK : error;
}

static int wait_noted(struct sync_event *e, int64_t deadline_ns,
                      struct sync_note *note) {
    struct noted_waiter w = {.of_event.fn = fire_by_event,
                             .of_note.fn = fire_by_note};
    int64_t note_ns = sync_note_deadline(note);
    int error = SYNC_ECANCELED;

    if (!sync_event_watch(e, &w.of_event)) {
        return SYNC_OK;
    }
    if (sync_note_watch(note, &w.of_note)) {
        int timeout =
            sleep_until_fired(&w, NOTED_BY_EVENT | NOTED_BY_NOTE,
                              note_ns < deadline_ns ? note_ns : deadline_ns);

        if (sync_note_unwatch(note, &w.of_note)) {
            if (timeout && deadline_ns < note_ns) {
                error = SYNC_ETIMEDOUT;
            }
        } else {
            (void)sleep_until_fired(&w, NOTED_BY_NOTE, SYNC_NEVER);
        }
    }
    if (!sync_event_unwatch(e, &w.of_event)) {
        (void)sleep_until_fired(&w, NOTED_BY_EVENT, SYNC_NEVER);
        error = SYNC_OK;
    }
    // LIFETIME: the setter and the notifier have done their last with w.
    SYNC_DATA_WRITE(&w.of_event);
    SYNC_DATA_WRITE(&w.of_note);
    return error;
}

int sync_event_wait(struct sync_event *e, int64_t deadline_ns,
                    struct sync_note *note) {
    if (sync_event_is_set(e)) {
        return SYNC_OK;
    }
    return note == NULL ? sleep_until_set(e, deadline_ns)
                        : wait_noted(e, deadline_ns, note);
}

// LIFETIME: noted waiters are on stacks that the child gives to other threads.
SYNC_NO_LOCK_CHECK void sync_event_forked(struct sync_event *e) {
    struct sync_list kept = {NULL};
    struct sync_link *link;

    if (e->watchers.first != &sealed) {
        while ((link = sync_list_pop(&e->watchers)) != NULL) {
            if (SYNC_CONTAINER(link, struct sync_watcher, link)->fn !=
                fire_by_event) {
                sync_list_push(&kept, link);
            }
        }
        e->watchers = kept;
    } else {
        SYNC_STORE(&e->word, EVENT_SET);  // a thread that is no more was about to
    }
    sync_mutex_init(&e->mu);
}
