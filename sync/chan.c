// Every operation is a select; sending and receiving have one case.
//
// A select locks its channels and tries its cases in random order.  If none can
// be done, it puts each case on its channel's list of senders or receivers,
// unlocks, and sleeps on an event of its own.  Who comes later and finds a case
// on a list claims the select, does the case for it, and sets its event.
//
// A select waits on several lists, and may be found on several at once:
// claiming is a compare-and-swap of chosen, which one thread wins, the selector
// itself included when it gives up.  Who claims takes all the select's cases off
// the lists of the channel that he has locked.  On another channel a case whose
// select is claimed is passed over; the selector takes it off when it wakes.
//
// Locks: a select holds those of all its channels together, taken in the order
// of their addresses, so that between trying and sleeping nothing can change.
// This is the one place in sync/ where a lock is taken while another is held.
// Events are set with nothing locked.
//
// LIFETIME: cases, and what send and recv point to, are the selector's, usually
// on its stack.  It doesn't return before it is claimed and its event set, or
// has claimed itself; nor before all its cases are off their lists.  The
// channel of the case that was done is not used any more after that.
//
// Memory ordering: all but chosen is guarded by the channels' locks, and what
// the claimer leaves in a case is seen after its event.
//
//   ORDER(claim)  claim:A  acquire and release, compare-and-swap of chosen
#include "sync/chan.h"

#include <string.h>

#include "sync/error.h"
#include "sync/event.h"
#include "sync/mutex.h"

struct sync_chan {
    // Const after init.
    size_t elem_size;
    size_t capacity;

    // Guarded by mu.
    //
    // INVARIANT(idle)  Cases wait on senders only while the buffer is full, on
    //                  receivers only while it is empty, and on neither list
    //                  when the channel is closed; save those whose select is
    //                  claimed for another case.
    struct sync_mutex mu;
    int closed;
    size_t first;   // index of the oldest value
    size_t length;  // how many there are
    struct sync_list senders;
    struct sync_list receivers;
    unsigned char buffer[];
};

// One select that waits; on its thread's stack.
struct sync_selector {
    struct sync_select_case *cases;
    uint32_t n;
    sync_atomic_u32
        chosen;  // 0, or one more than the index; or SELECT_GIVEN_UP
    struct sync_event done;  // set when the chosen case has been done
};

#define SELECT_GIVEN_UP UINT32_MAX

struct sync_chan *sync_chan_new(size_t elem_size, size_t capacity) {
    struct sync_chan *c;

    if (elem_size != 0 && capacity > (SIZE_MAX / 2) / elem_size) {
        return NULL;
    }
    c = sync_alloc(sizeof *c + elem_size * capacity);
    if (c != NULL) {
        memset(c, 0, sizeof *c);
        c->elem_size = elem_size;
        c->capacity = capacity;
        sync_mutex_init(&c->mu);
    }
    return c;
}

void sync_chan_free(struct sync_chan *c) {
    sync_free(c);
}

// -------------------------------------------------- one case, channel locked

// to is NULL where the value isn't wanted, from where it is zero.
static void copy_elem(const struct sync_chan *c, void *to, const void *from) {
    if (to == NULL || c->elem_size == 0) {
        return;
    }
    SYNC_DATA_WRITE(to);
    if (from == NULL) {
        memset(to, 0, c->elem_size);
    } else {
        SYNC_DATA_READ(from);
        memcpy(to, from, c->elem_size);
    }
}

// The place of the ith value, counted from the oldest, in the buffer.
static void *slot(struct sync_chan *c, size_t i) {
    return c->buffer + (c->first + i) % c->capacity * c->elem_size;
}

static int choose(struct sync_selector *s, uint32_t chosen) {
    uint32_t nobody = 0;

    // ORDER(claim) claim:A
    return SYNC_CAS_ACQREL(&s->chosen, &nobody, chosen);
}

// Take k off its list, if it is still on one.
static void delist(struct sync_select_case *k) {
    if (k->link.next != NULL) {
        sync_list_remove(
            k->send != NULL ? &k->chan->senders : &k->chan->receivers,
            &k->link);
    }
}

// Take the cases that wait for c off its lists.
static void delist_those_of(struct sync_selector *s, struct sync_chan *c) {
    uint32_t i;

    for (i = 0; i < s->n; i++) {
        if (s->cases[i].chan == c) {
            delist(&s->cases[i]);
        }
    }
}

// Take the first case off the list whose select can be claimed for it, or NULL.
static struct sync_select_case *pop_claimed(struct sync_list *list) {
    struct sync_link *link;

    while ((link = sync_list_pop(list)) != NULL) {
        struct sync_select_case *w =
            SYNC_CONTAINER(link, struct sync_select_case, link);

        if (choose(w->selector, (uint32_t)(w - w->selector->cases) + 1)) {
            delist_those_of(w->selector, w->chan);
            return w;
        }
    }
    return NULL;
}

// Send for k if that needs no wait, and return 1.  *woken is set to the case of
// another select that was done thereby.
static int try_send(struct sync_chan *c, struct sync_select_case *k,
                    struct sync_select_case **woken) SYNC_REQUIRES(&c->mu) {
    sync_mutex_assert_held(&c->mu);
    k->error = c->closed ? SYNC_ECLOSED : SYNC_OK;
    if (c->closed) {
        return 1;
    }
    if ((*woken = pop_claimed(&c->receivers)) != NULL) {
        copy_elem(c, (*woken)->recv, k->send);
        (*woken)->error = SYNC_OK;
        return 1;
    }
    if (c->length == c->capacity) {
        return 0;
    }
    copy_elem(c, slot(c, c->length++), k->send);
    return 1;
}

static int try_recv(struct sync_chan *c, struct sync_select_case *k,
                    struct sync_select_case **woken) SYNC_REQUIRES(&c->mu) {
    sync_mutex_assert_held(&c->mu);
    k->error = SYNC_OK;
    *woken = pop_claimed(&c->senders);
    if (*woken != NULL) {
        (*woken)->error = SYNC_OK;
    }
    if (c->length != 0) {
        copy_elem(c, k->recv, slot(c, 0));
        c->first = (c->first + 1) % c->capacity;
        c->length--;
        if (*woken != NULL) {  // there is room now for what it sends
            copy_elem(c, slot(c, c->length++), (*woken)->send);
        }
        return 1;
    }
    if (*woken != NULL) {
        copy_elem(c, k->recv, (*woken)->send);
        return 1;
    }
    if (c->closed) {
        copy_elem(c, k->recv, NULL);
        k->error = SYNC_ECLOSED;
    }
    return c->closed;
}

// ----------------------------------------------------------- several channels

// A number below n, by lot.
static uint32_t draw_below(uint32_t n) {
    static SYNC_THREAD_LOCAL(uint64_t, drawn);
    uint64_t x = SYNC_TLS(drawn) += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((x ^ (x >> 31)) >> 32) % n;
}

// Give each case its place in the order of locking, and draw that of trying.
static void arrange(struct sync_select_case *cases, uint32_t n) {
    uint32_t i, j;

    for (i = 0; i < n; i++) {
        j = draw_below(i + 1);
        cases[i].draw = cases[j].draw;
        cases[j].draw = i;
        for (j = i; j > 0 && (uintptr_t)cases[cases[j - 1].place].chan >
                                 (uintptr_t)cases[i].chan;
             j--) {
            cases[j].place = cases[j - 1].place;
        }
        cases[j].place = i;
    }
}

// The ith channel to be locked, or NULL: none, or it is locked already.
static struct sync_chan *ith_chan(struct sync_select_case *cases, uint32_t i) {
    struct sync_chan *c = cases[cases[i].place].chan;

    return i > 0 && c == cases[cases[i - 1].place].chan ? NULL : c;
}

SYNC_NO_LOCK_CHECK static void lock_all(struct sync_select_case *cases,
                                        uint32_t n) {
    uint32_t i;

    for (i = 0; i < n; i++) {
        struct sync_chan *c = ith_chan(cases, i);

        if (c != NULL) {
            sync_mutex_lock(&c->mu);
        }
    }
}

SYNC_NO_LOCK_CHECK static void unlock_all(struct sync_select_case *cases,
                                          uint32_t n) {
    uint32_t i;

    for (i = 0; i < n; i++) {
        struct sync_chan *c = ith_chan(cases, i);

        if (c != NULL) {
            sync_mutex_unlock(&c->mu);
        }
    }
}

// Do one case that needs no wait and return its index, or -1.  All are locked.
SYNC_NO_LOCK_CHECK static int try_all(struct sync_select_case *cases,
                                      uint32_t n,
                                      struct sync_select_case **woken) {
    uint32_t i;

    for (i = 0; i < n; i++) {
        struct sync_select_case *k = &cases[cases[i].draw];

        if (k->chan != NULL &&
            (k->send != NULL ? try_send(k->chan, k, woken)
                             : try_recv(k->chan, k, woken))) {
            return (int)cases[i].draw;
        }
    }
    return -1;
}

// Put all cases on their channels' lists.  All are locked.
static void enlist_all(struct sync_selector *s) {
    uint32_t i;

    for (i = 0; i < s->n; i++) {
        struct sync_select_case *k = &s->cases[i];

        k->selector = s;
        if (k->chan != NULL) {
            sync_list_push(
                k->send != NULL ? &k->chan->senders : &k->chan->receivers,
                &k->link);
        }
    }
}

// Take all cases off that are still on a list.  Those of the chosen one's channel
// (if one is chosen) aren't, and it may be gone.
static void delist_all(struct sync_selector *s, uint32_t chosen) {
    struct sync_chan *done = chosen < s->n ? s->cases[chosen].chan : NULL;
    uint32_t i;

    for (i = 0; i < s->n; i++) {
        struct sync_select_case *k = &s->cases[i];

        if (k->chan != NULL && k->chan != done) {
            sync_mutex_lock(&k->chan->mu);
            delist(k);
            sync_mutex_unlock(&k->chan->mu);
        }
    }
}

// Sleep until a case has been done, and return its index; or give up.
static int await_case(struct sync_selector *s, int64_t deadline_ns,
                      struct sync_note *note) {
    int error = sync_event_wait(&s->done, deadline_ns, note);
    uint32_t chosen;

    if (error != SYNC_OK && !choose(s, SELECT_GIVEN_UP)) {
        error = sync_event_wait(&s->done, SYNC_NEVER, NULL);
    }
    chosen = SYNC_LOAD(&s->chosen) - 1;
    delist_all(s, chosen);
    return error != SYNC_OK ? error : (int)chosen;
}

// Return how many cases have a channel; or SYNC_EINVAL.
static int check_cases(struct sync_select_case *cases, int n) {
    int i;
    int live = 0;

    if (n < 0 || (n > 0 && cases == NULL)) {
        return SYNC_EINVAL;
    }
    for (i = 0; i < n; i++) {
        if (cases[i].send != NULL && cases[i].recv != NULL) {
            return SYNC_EINVAL;
        }
        cases[i].link.next = NULL;
        live += cases[i].chan != NULL;
    }
    return live;
}

SYNC_NO_LOCK_CHECK int sync_chan_select(struct sync_select_case *cases, int n,
                                        int64_t deadline_ns,
                                        struct sync_note *note) {
    struct sync_selector s = {.cases = cases, .n = (uint32_t)n};
    struct sync_select_case *woken = NULL;
    int live = check_cases(cases, n);
    int done;

    if (live < 0) {
        return live;
    }
    if (live == 0 && deadline_ns == SYNC_NEVER && note == NULL) {
        return SYNC_EDEADLK;
    }
    arrange(cases, (uint32_t)n);
    lock_all(cases, (uint32_t)n);
    done = try_all(cases, (uint32_t)n, &woken);
    if (done < 0 && deadline_ns > SYNC_NOW) {
        enlist_all(&s);
    }
    unlock_all(cases, (uint32_t)n);
    if (woken != NULL) {
        sync_event_set(&woken->selector->done);
    }
    if (done >= 0) {
        return done;
    }
    return deadline_ns > SYNC_NOW
               ? await_case(&s, deadline_ns, note)
               : SYNC_ETIMEDOUT;
}

// ---------------------------------------------------------------- one channel

int sync_chan_send(struct sync_chan *c, const void *elem, int64_t deadline_ns,
                   struct sync_note *note) {
    struct sync_select_case k = {.chan = c, .send = elem};
    int error;

    if (elem == NULL) {
        return SYNC_EINVAL;
    }
    error = sync_chan_select(&k, 1, deadline_ns, note);
    return error == 0 ? k.error : error;
}

int sync_chan_recv(struct sync_chan *c, void *elem, int64_t deadline_ns,
                   struct sync_note *note) {
    struct sync_select_case k = {.chan = c, .recv = elem};
    int error = sync_chan_select(&k, 1, deadline_ns, note);

    return error == 0 ? k.error : error;
}

// Move the cases that can be claimed from one list to another; their channel is
// closed.
static void close_list(struct sync_chan *c, struct sync_list *from,
                       struct sync_list *to) {
    struct sync_select_case *k;

    while ((k = pop_claimed(from)) != NULL) {
        copy_elem(c, k->recv, NULL);
        k->error = SYNC_ECLOSED;
        sync_list_push(to, &k->link);
    }
}

int sync_chan_close(struct sync_chan *c) {
    struct sync_list woken = {NULL};
    struct sync_link *link;
    int was_closed;

    if (c == NULL) {
        return SYNC_EINVAL;
    }
    sync_mutex_lock(&c->mu);
    was_closed = c->closed;
    c->closed = 1;
    close_list(c, &c->receivers, &woken);
    close_list(c, &c->senders, &woken);
    sync_mutex_unlock(&c->mu);
    while ((link = sync_list_pop(&woken)) != NULL) {
        sync_event_set(&SYNC_CONTAINER(link, struct sync_select_case, link)
                            ->selector->done);
    }
    return was_closed ? SYNC_ECLOSED : SYNC_OK;
}

size_t sync_chan_length(struct sync_chan *c) {
    size_t length;

    sync_mutex_lock(&c->mu);
    length = c->length;
    sync_mutex_unlock(&c->mu);
    return length;
}

size_t sync_chan_capacity(const struct sync_chan *c) {
    return c->capacity;
}
