#include "test/sched_programs.h"

#include <string.h>

#include "sync/atomic.h"

int program_size;

// x[i] is zero at first.  plain is handed from thread to thread.
static sync_atomic_u32 x[SYNC_SCHED_THREADS];
static int plain;
static SYNC_ATOMIC(struct node *) shared;

struct node {
    sync_atomic_u32 atomic;
    int plain;
};

static void reset(void *arg) {
    (void)arg;
    memset(x, 0, sizeof x);
    plain = 0;
    SYNC_INIT(&shared, NULL);
}

static void write_plain(void) {
    SYNC_DATA_WRITE(&plain);
    plain++;
}

static int read_plain(void) {
    SYNC_DATA_READ(&plain);
    return plain;
}

#define PROGRAM(name, n_threads, check)                                      \
    static void name(void *arg, int id);                                     \
    const struct sched_test program_##name = {n_threads, reset, name, check, \
                                              NULL};                         \
    static void name(void *arg, int id)
#define UNUSED ((void)arg, (void)id)

// Counting -------------------------------------------------------------------

PROGRAM(apart, 3, NULL) {
    UNUSED;
    for (int i = 0; i < program_size; i++) {
        SYNC_STORE(&x[id], 1);
    }
}

PROGRAM(together, 3, NULL) {
    UNUSED;
    for (int i = 0; i < program_size; i++) {
        SYNC_STORE(&x[0], (uint32_t)id);
    }
}

// One writer; each reader comes before or after: 2^8.
PROGRAM(readers, 9, NULL) {
    UNUSED;
    if (id == 0) {
        SYNC_STORE(&x[0], 1);
    } else {
        (void)SYNC_LOAD(&x[0]);
    }
}

// From the paper that sched.h names: 64 classes.
PROGRAM(last_zero, 6, NULL) {
    UNUSED;
    if (id == 0) {
        for (int i = 5; SYNC_LOAD(&x[i]) != 0; i--) {
        }
    } else {
        SYNC_STORE(&x[id], SYNC_LOAD(&x[id - 1]) + 1);
    }
}

static struct {
    int kind;
    int v;
    uint32_t e;
} drawn[3][4];

static uint64_t lots;

static int draw(int n) {
    lots = lots * 6364136223846793005u + 1442695040888963407u;
    return (int)((lots >> 33) % (uint64_t)n);
}

void program_draw(uint64_t seed) {
    lots = seed;
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 4; j++) {
            drawn[i][j].kind = draw(11);
            drawn[i][j].v = draw(2);
            drawn[i][j].e = (uint32_t)draw(2);
        }
    }
}

PROGRAM(random, 3, NULL) {
    UNUSED;
    for (int i = 0; i < program_size; i++) {
        sync_atomic_u32 *p = &x[drawn[id][i].v];
        uint32_t e = drawn[id][i].e;
        switch (drawn[id][i].kind) {
            case 0:
                SYNC_STORE(p, e);
                break;
            case 1:
                SYNC_STORE(&x[2], SYNC_LOAD(p));
                break;
            case 2:
                (void)SYNC_CAS(p, &e, e ^ 1);
                break;
            case 3:
                (void)sync_futex_wait(p, e, 3);
                break;
            case 4:
                (void)sync_futex_wake(p, 1 + (int)e);
                break;
            case 5:
                (void)SYNC_ADD(p, 1);
                break;
            case 6:
                (void)sync_heavy_fence();
                break;
            case 7:
                (void)SYNC_LOAD(p);
                break;
            case 8:
                SYNC_STORE(p, sync_clock_now_ns() > 2000000000);
                break;
            case 9:
                (void)sync_futex_wait(p, e, 2500000000);
                break;
            default:
                if (SYNC_LOAD(p) == e) {
                    sync_yield();
                }
        }
    }
}

// Futexes and time -----------------------------------------------------------

PROGRAM(wait_and_set, 2, NULL) {
    UNUSED;
    if (id == 0) {
        while (SYNC_LOAD_ACQ(&x[0]) == 0) {
            (void)sync_futex_wait(&x[0], 0, SYNC_NEVER);
        }
    } else {
        SYNC_STORE_REL(&x[0], 1);
        (void)sync_futex_wake(&x[0], 1);
    }
}

// The waiter announces itself after it has looked.
PROGRAM(lost_wakeup, 2, NULL) {
    UNUSED;
    if (id == 0) {
        if (SYNC_LOAD_ACQ(&x[0]) == 0) {
            SYNC_STORE(&x[1], 1);
            (void)sync_futex_wait(&x[1], 1, SYNC_NEVER);
        }
    } else {
        SYNC_STORE_REL(&x[0], 1);
        if (SYNC_LOAD(&x[1]) != 0) {
            SYNC_STORE(&x[1], 2);
            (void)sync_futex_wake(&x[1], 1);
        }
    }
}

// One wake-up for two, one of whom may have timed out: nobody passes it on.
PROGRAM(lost_beside_time_out, 3, NULL) {
    UNUSED;
    if (id == 0) {
        SYNC_STORE_REL(&x[0], 1);
        (void)sync_futex_wake(&x[0], 1);
    } else {
        (void)sync_futex_wait(&x[0], 0, id == 1 ? 2000000000 : SYNC_NEVER);
    }
}

int program_timed_out, program_woken;

PROGRAM(time_out_or_wake, 2, NULL) {
    UNUSED;
    if (id == 0) {
        if (sync_futex_wait(&x[0], 0, 2000000000) == SYNC_ETIMEDOUT) {
            program_timed_out = 1;
            SCHED_ASSERT(sync_clock_now_ns() >= 2000000000);
        } else {
            program_woken = 1;
            SCHED_ASSERT(sync_clock_now_ns() < 2000000000);
        }
    } else {
        (void)sync_futex_wake(&x[0], 1);
    }
}

PROGRAM(time_passes, 2, NULL) {
    UNUSED;
    if (id == 0) {
        sched_advance_ns(5);
    } else {
        int64_t first = sync_clock_now_ns();
        int64_t second = sync_clock_now_ns();
        SCHED_ASSERT(second == first || second == first + 5);
    }
}

PROGRAM(spin, 2, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE_REL(&x[0], 1);
    } else {
        while (SYNC_LOAD_ACQ(&x[0]) == 0) {
            sync_yield();
        }
        SCHED_ASSERT(read_plain() == 1);
    }
}

PROGRAM(livelock, 2, NULL) {
    UNUSED;
    while (SYNC_LOAD_ACQ(&x[id]) == 0) {
        sync_cpu_relax();
    }
}

PROGRAM(deadlock, 2, NULL) {
    UNUSED;
    int locks[] = {id, 1 - id};
    for (int i = 0; i < 2; i++) {
        while (SYNC_XCHG_ACQREL(&x[locks[i]], 1) != 0) {
            (void)sync_futex_wait(&x[locks[i]], 1, SYNC_NEVER);
        }
    }
    for (int i = 0; i < 2; i++) {
        SYNC_STORE_REL(&x[locks[i]], 0);
        (void)sync_futex_wake(&x[locks[i]], 1);
    }
}

// Visibility -----------------------------------------------------------------

PROGRAM(publish, 2, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE_REL(&x[0], 1);
    } else if (SYNC_LOAD_ACQ(&x[0]) == 1) {
        SCHED_ASSERT(read_plain() == 1);
    }
}

PROGRAM(publish_relaxed, 2, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE(&x[0], 1);
    } else if (SYNC_LOAD_ACQ(&x[0]) == 1) {
        SCHED_ASSERT(read_plain() == 1);
    }
}

PROGRAM(publish_late, 2, NULL) {
    UNUSED;
    if (id == 0) {
        SYNC_STORE_REL(&x[0], 1);
        write_plain();
    } else if (SYNC_LOAD_ACQ(&x[0]) == 1) {
        (void)read_plain();
    }
}

PROGRAM(read_relaxed, 2, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE_REL(&x[0], 1);
    } else if (SYNC_LOAD(&x[0]) == 1) {
        SCHED_ASSERT(read_plain() == 1);
    }
}

// Nothing is annotated: the first value of an atomic is a plain write.
PROGRAM(publish_init, 2, NULL) {
    UNUSED;
    if (id == 0) {
        struct node *n = sync_alloc(sizeof *n);
        SYNC_INIT(&n->atomic, 7);
        SYNC_STORE(&shared, n);
    } else {
        struct node *n = SYNC_LOAD_ACQ(&shared);
        SCHED_ASSERT(n == NULL || SYNC_LOAD(&n->atomic) == 7);
    }
}

// What was released stays so through read-modify-writes of others, ...
PROGRAM(sequence_of_adds, 3, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE_REL(&x[0], 1);
    } else if (id == 1) {
        (void)SYNC_ADD(&x[0], 2);
    } else if (SYNC_LOAD_ACQ(&x[0]) & 1) {
        SCHED_ASSERT(read_plain() == 1);
    }
}

// ... through relaxed stores of the same thread, ...
PROGRAM(sequence_of_stores, 2, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE_REL(&x[0], 1);
        SYNC_STORE(&x[0], 2);
    } else if (SYNC_LOAD_ACQ(&x[0]) == 2) {
        SCHED_ASSERT(read_plain() == 1);
    }
}

// ... but not through those of another.
PROGRAM(sequence_broken, 3, NULL) {
    UNUSED;
    if (id == 0) {
        write_plain();
        SYNC_STORE_REL(&x[0], 1);
    } else if (id == 1) {
        if (SYNC_LOAD(&x[0]) == 1) {
            SYNC_STORE(&x[0], 2);
        }
    } else if (SYNC_LOAD_ACQ(&x[0]) == 2) {
        (void)read_plain();
    }
}

// x[2 + id] becomes 1 if the thread did not see the other's store, else 2.
static void one_saw_the_other(void *arg) {
    (void)arg;
    SCHED_ASSERT(SYNC_LOAD(&x[2]) + SYNC_LOAD(&x[3]) > 2);
}

PROGRAM(store_buffering, 2, one_saw_the_other) {
    UNUSED;
    SYNC_STORE(&x[id], 1);
    SYNC_STORE(&x[2 + id], 1 + SYNC_LOAD(&x[1 - id]));
}

PROGRAM(store_buffering_xchg, 2, one_saw_the_other) {
    UNUSED;
    (void)SYNC_XCHG_SC(&x[id], 1);
    SYNC_STORE(&x[2 + id], 1 + SYNC_LOAD(&x[1 - id]));
}

PROGRAM(store_buffering_fence, 2, one_saw_the_other) {
    UNUSED;
    SYNC_STORE(&x[id], 1);
    if (id == 0) {
        SYNC_LIGHT_FENCE();
    } else {
        (void)sync_heavy_fence();
    }
    SYNC_STORE(&x[2 + id], 1 + SYNC_LOAD(&x[1 - id]));
}

// Buffers are first in, first out; and a thread sees its own stores.
PROGRAM(message, 2, NULL) {
    UNUSED;
    if (id == 0) {
        SYNC_STORE(&x[0], 1);
        SYNC_STORE(&x[1], 1);
        SYNC_STORE(&x[0], 2);
        SCHED_ASSERT(SYNC_LOAD(&x[0]) == 2);
    } else if (SYNC_LOAD(&x[1]) == 1) {
        SCHED_ASSERT(SYNC_LOAD(&x[0]) >= 1);
    }
}

// Lifetimes ------------------------------------------------------------------

PROGRAM(use_after_free, 2, NULL) {
    UNUSED;
    if (id == 0) {
        struct node *n = sync_alloc(sizeof *n);
        SYNC_INIT(&n->atomic, 7);
        SYNC_STORE_REL(&shared, n);
        sync_free(n);
    } else {
        struct node *n = SYNC_LOAD_ACQ(&shared);
        if (n != NULL) {
            (void)SYNC_LOAD(&n->atomic);
        }
    }
}

// The use comes first, but nothing says so.
PROGRAM(free_unordered, 2, NULL) {
    UNUSED;
    if (id == 0) {
        struct node *n = sync_alloc(sizeof *n);
        SYNC_INIT(&n->atomic, 7);
        SYNC_STORE_REL(&shared, n);
        while (SYNC_LOAD(&x[0]) == 0) {
            sync_yield();
        }
        sync_free(n);
    } else {
        struct node *n = SYNC_LOAD_ACQ(&shared);
        while (n == NULL) {
            sync_yield();
            n = SYNC_LOAD_ACQ(&shared);
        }
        (void)SYNC_LOAD(&n->atomic);
        SYNC_STORE(&x[0], 1);
    }
}

static __attribute__((noinline)) void lend(void) {
    struct node mine;
    SYNC_INIT(&mine.atomic, 7);
    SYNC_STORE_REL(&shared, &mine);
}

PROGRAM(use_after_return, 2, NULL) {
    UNUSED;
    if (id == 0) {
        lend();
        SYNC_STORE(&x[0], 1);
    } else {
        struct node *n = SYNC_LOAD_ACQ(&shared);
        if (n != NULL) {
            (void)SYNC_LOAD(&n->atomic);
        }
    }
}

static __attribute__((noinline)) int deeper(int n) {
    volatile char here[1024];
    here[0] = 1;
    return n == 0 ? 0 : deeper(n - 1) + here[0];
}

PROGRAM(overflow, 1, NULL) {
    UNUSED;
    SYNC_STORE(&x[0], (uint32_t)deeper(1000000));
}

// Threads --------------------------------------------------------------------

static void *started(void *arg) {
    SCHED_ASSERT(read_plain() == 1);
    write_plain();
    return arg;
}

PROGRAM(start_and_join, 1, NULL) {
    UNUSED;
    struct sync_thread t;
    write_plain();
    SCHED_ASSERT(sync_thread_start(&t, started, x) == SYNC_OK);
    SCHED_ASSERT(sync_thread_join(&t) == x);
    SCHED_ASSERT(read_plain() == 2);
}

static void cleaned_up(int *n) {
    (void)SYNC_ADD(&x[0], (uint32_t)*n);
}

static void at_exit(void *arg) {
    // The latest first, and all after the cleanups.
    uint32_t expected = arg == &x[1] ? 1 : 2;
    SCHED_ASSERT(SYNC_LOAD(&x[0]) == expected);
    (void)SYNC_ADD(&x[0], 1);
}

static void *ends(void *arg) {
    __attribute__((cleanup(cleaned_up))) int n = 1;
    (void)arg;
    (void)n;
    SCHED_ASSERT(sync_thread_at_exit(at_exit, &x[2]) == SYNC_OK);
    SCHED_ASSERT(sync_thread_at_exit(at_exit, &x[1]) == SYNC_OK);
    sync_thread_exit();
}

PROGRAM(end_of_thread, 1, NULL) {
    UNUSED;
    struct sync_thread t;
    SCHED_ASSERT(sync_thread_start(&t, ends, NULL) == SYNC_OK);
    (void)sync_thread_join(&t);
    SCHED_ASSERT(SYNC_LOAD(&x[0]) == 3);
    SCHED_ASSERT(sched_live_blocks() == 0);
}

static SYNC_THREAD_LOCAL(int, local);
static SYNC_GLOBAL int global = 5;

PROGRAM(locals, 3, NULL) {
    UNUSED;
    for (int i = 0; i < 2; i++) {
        SCHED_ASSERT(SYNC_TLS(local) == i * (id + 1));
        SYNC_TLS(local) += id + 1;
        (void)SYNC_ADD(&x[0], 1);
    }
    if (id == 0) {
        SCHED_ASSERT(global == 5);
        global = 6;
    }
}

// Every other execution is another, for reset() doesn't bring this back.
static int is_other;

PROGRAM(differs, 2, NULL) {
    UNUSED;
    is_other ^= id;
    (void)SYNC_ADD(&x[0], 1);
    if (is_other) {
        (void)SYNC_ADD(&x[0], 1);
    }
}

PROGRAM(many_threads, SYNC_SCHED_THREADS, NULL) {
    UNUSED;
    if (id == 0) {
        struct sync_thread t;
        (void)sync_thread_start(&t, started, NULL);
    }
}
