#include "sync/pin.h"

#include <stddef.h>
#include <string.h>

#include "sync/mutex.h"

// Memory ordering.
//
//   ORDER(pin)    pin:A   store of the slot, then a light fence
//                 look:B  the caller's second look at where it found p
//                 gone:C  the freer makes p unreachable
//                 scan:D  heavy fence, then load of the slot
//       Store-buffering: of look:B and scan:D at least one sees the other
//       side's store, for the heavy fence acts as a full fence in every thread
//       of the process.  So if look:B still finds p, scan:D finds the pin.
//       Without membarrier, pin:A is a sequentially consistent exchange.
//       used:E, the store of how many slots may be in use, comes before pin:A in
//       the same thread, and so is seen by scan:D too.
//
//   ORDER(unpin)  unpin:A release store of NULL into the slot
//                 scan:D  acquire load of the slot
//       If scan:D doesn't find p any more, all reads of *p came before.  The
//       owner's next pin:A may hide unpin:A (made by another thread) from
//       scan:D: it has read NULL with acquire and stores with release, so the
//       chain holds.
//
//   ORDER(record) add:A   release compare-and-swap of head
//                 scan:B  acquire load of head
//       If scan:B reaches a record, it reads an initialized one.

_Static_assert(sizeof(struct sync_pin_record) <= SYNC_PIN_RECORD,
               "a record outgrew its size");

// LIFETIME: a record is never freed, only handed on; it is reachable from head
// for ever.
static SYNC_GLOBAL SYNC_ATOMIC(struct sync_pin_record *) head;
static SYNC_GLOBAL sync_atomic_u32 n_records;

// The next slot of a thread that has none.
static SYNC_GLOBAL sync_pin_slot never_free = &never_free;

SYNC_THREAD_LOCAL_FROM(sync_pin_slot *, sync_pin_next_, &never_free);

static SYNC_THREAD_LOCAL(struct sync_pin_record *, own_record);

static void give_record_up(void *arg) {
    struct sync_pin_record *r = arg;

    SYNC_TLS(own_record) = NULL;
    SYNC_TLS(sync_pin_next_) = &never_free;
    SYNC_STORE_REL(&r->taken, 0);  // ORDER(record): the next owner acquires
}

static struct sync_pin_record *take_abandoned_record(void) {
    struct sync_pin_record *r;

    for (r = SYNC_LOAD_ACQ(&head); r != NULL; r = r->next) {
        uint32_t free = 0;
        SYNC_DATA_READ(&r->next);
        if (SYNC_LOAD(&r->taken) == 0 && SYNC_CAS_ACQ(&r->taken, &free, 1)) {
            return r;
        }
    }
    return NULL;
}

static struct sync_pin_record *add_record(void) {
    const uintptr_t mask = SYNC_PIN_RECORD - 1;
    void *memory = sync_alloc(2 * SYNC_PIN_RECORD);
    struct sync_pin_record *r, *first;

    if (memory == NULL) {
        return NULL;
    }
    r = (struct sync_pin_record *)(((uintptr_t)memory + mask) & ~mask);
    memset(r, 0, sizeof(*r));
    SYNC_INIT(&r->taken, 1);
    (void)SYNC_ADD(&n_records, 1);
    first = SYNC_LOAD(&head);
    SYNC_DATA_WRITE(&r->next);
    do {
        r->next = first;
    } while (!SYNC_CAS_ACQREL(&head, &first, r));  // ORDER(record) add:A
    return r;
}

static struct sync_pin_record *record_of_this_thread(void) {
    struct sync_pin_record *r = SYNC_TLS(own_record);

    if (SYNC_LIKELY(r != NULL)) {
        return r;
    }
    r = take_abandoned_record();
    if (r == NULL) {
        r = add_record();
    }
    if (r == NULL) {
        return NULL;
    }
    if (sync_thread_at_exit(give_record_up, r) != 0) {
        SYNC_STORE_REL(&r->taken, 0);
        return NULL;
    }
    SYNC_TLS(own_record) = r;
    return r;
}

// Slots below n may be used from now on.
static void use_up_to(struct sync_pin_record *r, uint32_t n) {
    if (SYNC_LOAD(&r->used) < n) {
        SYNC_STORE_REL(&r->used, n);  // ORDER(pin) used:E
    }
}

static sync_pin_slot *publish(sync_pin_slot *slot, void *p) {
    (void)SYNC_XCHG_SC(slot, p);  // ORDER(pin) pin:A, with its own full fence
    return slot;
}

// Where to look for a free slot: behind the last one.
static uint32_t first_to_try(const struct sync_pin_record *r) {
    const sync_pin_slot *next = SYNC_TLS(sync_pin_next_);

    return next == &never_free
               ? 0
               : (uint32_t)(next - r->slot + 1) % (SYNC_PIN_SLOTS - 1);
}

sync_pin_slot *sync_pin_slow(void *p) {
    struct sync_pin_record *r = record_of_this_thread();
    uint32_t i, tried;

    if (r == NULL) {
        return NULL;
    }
    i = first_to_try(r);
    for (tried = 0; tried < SYNC_PIN_SLOTS - 1; tried++) {
        if (SYNC_LOAD_ACQ(&r->slot[i]) == NULL) {
            use_up_to(r, i + 1);
            // The same slot serves the next pins by the short way, if the
            // machine has the heavy fence that it relies on.
            SYNC_TLS(sync_pin_next_) =
                sync_heavy_fence_available() ? &r->slot[i] : &never_free;
            return publish(&r->slot[i], p);
        }
        i = (i + 1) % (SYNC_PIN_SLOTS - 1);
    }
    return NULL;
}

sync_pin_slot *sync_pin_prepare(size_t *n) {
    struct sync_pin_record *r =
        sync_heavy_fence_available() ? record_of_this_thread() : NULL;

    if (r == NULL) {
        return NULL;
    }
    *n = *n < SYNC_PIN_SLOTS - 1 ? *n : SYNC_PIN_SLOTS - 1;
    use_up_to(r, (uint32_t)*n);
    return &r->slot[0];
}

sync_pin_slot *sync_pin_brief(void *p) {
    struct sync_pin_record *r = record_of_this_thread();

    if (r == NULL) {
        return NULL;
    }
    use_up_to(r, SYNC_PIN_SLOTS);
    return publish(&r->slot[SYNC_PIN_SLOTS - 1], p);
}

int sync_pin_scan(void (*see)(void *arg, void *p), void *arg) {
    struct sync_pin_record *r;
    uint32_t i;

    if (!sync_heavy_fence()) {  // ORDER(pin) scan:D
        return 0;
    }
    for (r = SYNC_LOAD_ACQ(&head); r != NULL; r = r->next) {  // ORDER(record)
        SYNC_DATA_READ(&r->next);
        for (i = 0; i < SYNC_LOAD_ACQ(&r->used); i++) {  // ORDER(pin) scan:D
            void *p = SYNC_LOAD_ACQ(&r->slot[i]);  // ORDER(unpin) scan:D
            if (p != NULL) {
                see(arg, p);
            }
        }
    }
    return 1;
}

static SYNC_GLOBAL struct sync_mutex tallies_mu;

// A thread of the parent's may have had the mutex; but what it guards is a byte at
// a time.  Pins that end before their caller returns have lost their caller.
void sync_pin_forked(void) {
    struct sync_pin_record *r;

    sync_mutex_init(&tallies_mu);
    for (r = SYNC_LOAD_ACQ(&head); r != NULL; r = r->next) {
        if (r != SYNC_TLS(own_record)) {
            SYNC_STORE(&r->slot[SYNC_PIN_SLOTS - 1], NULL);
            SYNC_STORE_REL(&r->taken, 0);
        }
    }
}

uint32_t sync_pin_records(void) {
    return SYNC_LOAD(&n_records);
}

// ------------------------------------------------------------------ tallies

static SYNC_GLOBAL unsigned char tally_in_use[SYNC_TALLIES];  // by tallies_mu

uint64_t sync_tally_new(void) {
    uint64_t i;

    sync_mutex_lock(&tallies_mu);
    for (i = 0; i < SYNC_TALLIES && tally_in_use[i]; i++) {
    }
    if (i < SYNC_TALLIES) {
        tally_in_use[i] = 1;
    }
    sync_mutex_unlock(&tallies_mu);
    return i < SYNC_TALLIES ? i : SYNC_TALLY_NONE;
}

void sync_tally_free(uint64_t tally) {
    struct sync_pin_record *r;

    if (tally == SYNC_TALLY_NONE) {
        return;
    }
    for (r = SYNC_LOAD_ACQ(&head); r != NULL; r = r->next) {
        SYNC_STORE(&r->tally[tally], 0);
    }
    sync_mutex_lock(&tallies_mu);
    tally_in_use[tally] = 0;
    sync_mutex_unlock(&tallies_mu);
}

uint64_t sync_tally_sum(uint64_t tally) {
    struct sync_pin_record *r;
    uint64_t sum = 0;

    for (r = SYNC_LOAD_ACQ(&head); r != NULL; r = r->next) {
        sum += SYNC_LOAD(&r->tally[tally]);
    }
    return sum;
}

int sync_tally_add_slow(uint64_t tally) {
    struct sync_pin_record *r = record_of_this_thread();

    if (r == NULL) {
        return 0;
    }
    sync_tally_add(&r->slot[0], tally);
    return 1;
}
