// The memory of the modelled machine.
//
// Order is tracked as C11 defines it: each thread has a vector clock, each
// atomic the clock that a release store left with it.  A plain access is a race
// if its thread's clock doesn't cover the last conflicting one.  So a missing
// release or acquire is found in an execution in which nothing bad happened.
#include <string.h>
#include "sync/sched_internal.h"

#include "sync/fault.h"
#include "sync/machine.h"

// Objects --------------------------------------------------------------------

enum { OBJECTS_LOG2 = 12, OBJECTS = 1 << OBJECTS_LOG2 };

// Open addressing.  An object of an earlier execution is an empty place.
static struct sched_object objects[OBJECTS];
static struct sched_object *used[OBJECTS / 2];
static int n_used;
static uint64_t execution;

static struct sched_object *add_object(struct sched_object *o,
                                       const volatile void *address) {
    if (n_used == OBJECTS / 2) {
        sched_failf_("too large: more than %d objects", OBJECTS / 2);
    }
    used[n_used++] = o;
    memset(o, 0, sizeof *o);
    o->address = address;
    o->execution = execution;
    o->released_by = SCHED_NOBODY;
    o->written_by = SCHED_NOBODY;
    return o;
}

struct sched_object *sched_object_(const volatile void *address) {
    uint64_t hash = (uint64_t)(uintptr_t)address * 0x9e3779b97f4a7c15u;
    size_t i = hash >> (64 - OBJECTS_LOG2);
    while (objects[i].execution == execution) {
        if (objects[i].address == address) {
            return &objects[i];
        }
        i = (i + 1) % OBJECTS;
    }
    return add_object(&objects[i], address);
}

// Blocks of memory -----------------------------------------------------------

// Blocks are cut from one arena and not reused within an execution, so that any
// use after free is seen.
enum {
    ARENA_SIZE = 1 << 20,
    ARENA_GRAIN = 16,
    ARENA_HEADER = ARENA_GRAIN,  // before each block; holds its size
};

enum grain_state { GRAIN_OUTSIDE = 0, GRAIN_LIVE = 1, GRAIN_FREED = 2 };

static _Alignas(ARENA_GRAIN) unsigned char arena[ARENA_SIZE];
static unsigned char grains[ARENA_SIZE / ARENA_GRAIN];  // enum grain_state
static size_t arena_used;
static int live_blocks;

static int in_arena(const volatile void *p) {
    return (uintptr_t)p - (uintptr_t)arena < ARENA_SIZE;
}

static unsigned char *grain_of(const volatile void *p) {
    return &grains[((uintptr_t)p - (uintptr_t)arena) / ARENA_GRAIN];
}

static void check_alive(const volatile void *p, const char *where) {
    if (in_arena(p) && *grain_of(p) != GRAIN_LIVE) {
        sched_failf_("%s: %s",
                     *grain_of(p) == GRAIN_FREED
                         ? "use after free"
                         : "access outside of any block",
                     where);
    }
    if (sched_is_left_(p)) {
        sched_failf_("use after return: %s", where);
    }
}

void *sync_alloc(size_t size) {
    if (sync_fault_()) {
        return NULL;
    }
    size_t whole = (size + ARENA_GRAIN - 1) & ~(size_t)(ARENA_GRAIN - 1);
    if (whole < size || whole + ARENA_HEADER > ARENA_SIZE - arena_used) {
        sched_failf_("too large: more than %d bytes", ARENA_SIZE);
    }
    unsigned char *p = arena + arena_used + ARENA_HEADER;
    memcpy(p - ARENA_HEADER, &whole, sizeof whole);
    memset(p, 0xa5, whole);
    memset(grain_of(p), GRAIN_LIVE, whole / ARENA_GRAIN);
    arena_used += ARENA_HEADER + whole;
    live_blocks++;
    return p;
}

int sched_live_blocks(void) {
    return live_blocks;
}

static void forget_blocks(void) {
    memset(grains, GRAIN_OUTSIDE, arena_used / ARENA_GRAIN);
    arena_used = 0;
    live_blocks = 0;
}

// Pages are cut from one reservation, too.
enum { PAGES_SIZE = 64 << 20, PAGE = 4096 };

static _Alignas(PAGE) char pages[PAGES_SIZE];
static size_t pages_used;
static unsigned char is_committed[PAGES_SIZE / PAGE];

void *sync_pages_reserve(size_t size) {
    size = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
    // Callers are content with less, and there may be others.
    if (sync_fault_() || size > (PAGES_SIZE - pages_used) / 2) {
        return NULL;
    }
    pages_used += size;
    return pages + pages_used - size;
}

int sync_pages_commit(void *p, size_t size) {
    if (sync_fault_()) {
        return SYNC_ENOMEM;
    }
    size_t first = (size_t)((char *)p - pages) / PAGE;
    size_t last = (size_t)((char *)p - pages + size - 1) / PAGE;
    for (size_t i = first; i <= last; i++) {
        if (!is_committed[i]) {
            is_committed[i] = 1;
            memset(pages + i * PAGE, 0, PAGE);
        }
    }
    return SYNC_OK;
}

void sync_pages_release(void *p, size_t size) {
    (void)p;
    (void)size;
}

static void forget_pages(void) {
    memset(is_committed, 0, pages_used / PAGE);
    pages_used = 0;
}

// Clocks ---------------------------------------------------------------------

static struct sched_clock clocks[SYNC_SCHED_THREADS];

static void clock_join(struct sched_clock *a, const struct sched_clock *b) {
    for (int i = 0; i < SYNC_SCHED_THREADS; i++) {
        a->at[i] = a->at[i] > b->at[i] ? a->at[i] : b->at[i];
    }
}

// What thread does from here on is not covered by what was handed out before.
static void clock_tick(int thread) {
    clocks[thread].at[thread]++;
}

void sched_clock_join_(int thread, int from) {
    if (thread != SCHED_MAIN && from != SCHED_MAIN) {
        clock_join(&clocks[thread], &clocks[from]);
        clock_tick(from);
    }
}

// o is stored to, as bits say, by thread when its clock was c.
static void release(struct sched_object *o, int thread,
                    const struct sched_clock *c, int bits) {
    if (!(bits & SYNC_RELEASES_)) {
        // A relaxed store ends what others have released (a read-modify-write
        // doesn't: it is part of the release sequence).
        if (!(bits & SYNC_READS_) && o->released_by != thread) {
            memset(&o->released, 0, sizeof o->released);
            o->released_by = SCHED_NOBODY;
        }
        return;
    }
    if (bits & SYNC_READS_) {
        clock_join(&o->released, c);
    } else {
        o->released = *c;
    }
    o->released_by = (int8_t)thread;
}

// Races ----------------------------------------------------------------------

SYNC_NORETURN static void fail_race(const char *a, const char *b) {
    sched_failf_("data race: %s and %s", a, b);
}

static void check_after_write(const struct sched_object *o, int thread,
                              const char *where) {
    if (o->written_by != SCHED_NOBODY && o->written_by != thread &&
        o->written_at > clocks[thread].at[o->written_by]) {
        fail_race(o->written_where, where);
    }
}

static void check_after_reads(const struct sched_object *o, int thread,
                              const char *where) {
    for (int i = 0; i < SYNC_SCHED_THREADS; i++) {
        if (i != thread && o->read.at[i] > clocks[thread].at[i]) {
            fail_race(o->read_where, where);
        }
    }
}

static void note_read(struct sched_object *o, int thread, const char *where) {
    o->read.at[thread] = clocks[thread].at[thread];
    o->read_where = where;
}

void sync_sched_data_(volatile void *p, int bits, const char *where) {
    int thread = sync_sched_self_;
    if (thread == SCHED_MAIN) {
        return;
    }
    check_alive(p, where);
    struct sched_object *o = sched_object_(p);
    check_after_write(o, thread, where);
    if (bits & SYNC_WRITES_) {
        check_after_reads(o, thread, where);
        o->written_by = (int8_t)thread;
        o->written_at = clocks[thread].at[thread];
        o->written_where = where;
    } else {
        note_read(o, thread, where);
    }
}

// Freeing is a write of all that is in the block.
void sync_free(void *p) {
    if (p == NULL) {
        return;
    }
    int thread = sync_sched_self_;
    size_t size;
    memcpy(&size, (unsigned char *)p - ARENA_HEADER, sizeof size);
    if (thread != SCHED_MAIN) {
        check_alive(p, "sync_free");
        for (int i = 0; i < n_used; i++) {
            uintptr_t offset = (uintptr_t)used[i]->address - (uintptr_t)p;
            if (offset < size) {
                check_after_write(used[i], thread, "sync_free");
                check_after_reads(used[i], thread, "sync_free");
            }
        }
    }
    memset(grain_of(p), GRAIN_FREED, size / ARENA_GRAIN);
    live_blocks--;
}

// Store buffers --------------------------------------------------------------

struct store {
    void *address;
    size_t size;
    uint64_t
        other;  // laid over memory: what is beneath; lifted: what is stored
    int bits;
    int step;
    int left_in;  // the step in which the last store in this place left
    struct sched_clock clock;
};

struct buffer {
    struct store store[SCHED_BUFFER];  // a ring
    uint32_t entered;
    uint32_t left;
    int laid;
};

static struct buffer buffers[SYNC_SCHED_THREADS];
static int buffer_size;  // 0: stores go to memory at once

static struct store *store_at(struct buffer *b, uint32_t number) {
    return &b->store[number % (uint32_t)buffer_size];
}

static void swap(struct store *s) {
    uint64_t memory = 0;
    memcpy(&memory, s->address, s->size);
    memcpy(s->address, &s->other, s->size);
    s->other = memory;
}

// Whatever thread wrote to the place since, plainly, is what is lifted off: it
// may have left the function whose variable it was.
void sched_buffer_lift_(int thread) {
    struct buffer *b = &buffers[thread];
    if (b->laid) {
        for (uint32_t i = b->entered; i != b->left; i--) {
            swap(store_at(b, i - 1));
        }
        b->laid = 0;
    }
}

void sched_buffer_lay_(int thread) {
    struct buffer *b = &buffers[thread];
    if (!b->laid) {
        for (uint32_t i = b->left; i != b->entered; i++) {
            swap(store_at(b, i));
        }
        b->laid = 1;
    }
}

int sched_buffer_count_(int thread) {
    return (int)(buffers[thread].entered - buffers[thread].left);
}

int sched_buffer_is_full_(int thread) {
    return sched_buffer_count_(thread) == buffer_size;
}

uint32_t sched_buffer_entered_(int thread) {
    return buffers[thread].entered;
}

uint32_t sched_buffer_left_(int thread) {
    return buffers[thread].left;
}

static int buffer_has(int thread, const volatile void *address) {
    struct buffer *b = &buffers[thread];
    for (uint32_t i = b->left; i != b->entered; i++) {
        if (store_at(b, i)->address == address) {
            return 1;
        }
    }
    return 0;
}

struct sched_object *sched_buffer_oldest_(int thread) {
    struct buffer *b = &buffers[thread];
    return sched_object_(store_at(b, b->left)->address);
}

int sched_buffer_oldest_step_(int thread) {
    struct buffer *b = &buffers[thread];
    return store_at(b, b->left)->step;
}

int sched_buffer_place_left_in_(int thread) {
    struct buffer *b = &buffers[thread];
    return store_at(b, b->entered)->left_in;
}

static void enter_buffer(int thread, const struct sched_op *op) {
    struct buffer *b = &buffers[thread];
    struct store *s = store_at(b, b->entered++);
    s->address = (void *)(uintptr_t)op->address;
    s->size = op->size;
    s->bits = op->bits;
    s->step = sched_step_();
    s->clock = clocks[thread];
    memcpy(&s->other, s->address, s->size);
}

void sched_buffer_drain_(int thread) {
    struct buffer *b = &buffers[thread];
    struct store *s = store_at(b, b->left++);
    memcpy(s->address, &s->other, s->size);
    s->left_in = sched_step_();
    release(sched_object_(s->address), thread, &s->clock, s->bits);
}

// ----------------------------------------------------------------------------

void sched_access_(int thread, const struct sched_op *op) {
    struct sched_object *o = op->object;
    check_alive(op->address, op->where);
    check_after_write(o, thread, op->where);
    note_read(o, thread, op->where);
    // What a thread has stored itself it doesn't acquire.
    if (op->bits & SYNC_ACQUIRES_ &&
        !(buffer_size != 0 && buffer_has(thread, op->address))) {
        clock_join(&clocks[thread], &o->released);
    }
    if ((op->bits & SYNC_MODIFIES_) == SYNC_WRITES_ && buffer_size != 0) {
        enter_buffer(thread, op);
    } else if (op->bits & SYNC_WRITES_) {
        release(o, thread, &clocks[thread], op->bits);
    }
    if (op->bits & SYNC_RELEASES_) {
        clock_tick(thread);
    }
}

void sched_memory_reset_(int size) {
    execution++;
    n_used = 0;
    forget_blocks();
    forget_pages();
    memset(clocks, 0, sizeof clocks);
    for (int i = 0; i < SYNC_SCHED_THREADS; i++) {
        clocks[i].at[i] = 1;
    }
    if (size != 0 || buffer_size != 0) {
        memset(buffers, 0, sizeof buffers);
    }
    for (int i = 0; i < SYNC_SCHED_THREADS; i++) {
        buffers[i].laid = 1;
    }
    buffer_size = size;
}
