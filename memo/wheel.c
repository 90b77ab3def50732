#include "memo/wheel.h"

#include "memo/entry.h"

// Times are signed, ticks are not: the least time is tick 0.

#define SIGN (UINT64_C(1) << 63)
#define TICKS (UINT64_C(1) << (64 - WHEEL_TICK_SHIFT))  // that there are

// The tick that ns falls into.
static uint64_t tick_of(int64_t ns) {
    return ((uint64_t)ns ^ SIGN) >> WHEEL_TICK_SHIFT;
}

// The first tick that doesn't begin before ns.
static uint64_t tick_from(int64_t ns) {
    uint64_t part = (uint64_t)ns & ((UINT64_C(1) << WHEEL_TICK_SHIFT) - 1);

    return tick_of(ns) + (part != 0);
}

static int64_t begin_of(uint64_t tick) {
    return tick >= TICKS ? MEMO_NEVER
                         : (int64_t)((tick << WHEEL_TICK_SHIFT) ^ SIGN);
}

static unsigned digit_of(uint64_t tick, unsigned level) {
    return (unsigned)(tick >> (WHEEL_BITS * level)) & (WHEEL_SLOTS - 1);
}

void memo_wheel_init_(struct wheel *w, int64_t now_ns) {
    w->now = tick_of(now_ns);
}

void memo_wheel_add_(struct wheel *w, struct entry *e, int64_t at_ns) {
    struct entry_prefix *p = entry_prefix(e);
    uint64_t tick = tick_from(at_ns);
    unsigned level, digit;
    struct entry **slot;

    p->wheel_at = NULL;
    if (at_ns == MEMO_NEVER) {
        return;
    }
    tick = tick < w->now ? w->now : tick;
    level = tick == w->now
                ? 0
                : (63 - (unsigned)__builtin_clzll(tick ^ w->now)) / WHEEL_BITS;
    digit = digit_of(tick, level);
    slot = &w->slot[level][digit];
    w->occupied[level] |= UINT64_C(1) << digit;
    p->wheel_next = *slot;
    p->wheel_at = slot;
    if (*slot != NULL) {
        entry_prefix(*slot)->wheel_at = &p->wheel_next;
    }
    *slot = e;
}

void memo_wheel_remove_(struct entry *e) {
    struct entry_prefix *p = entry_prefix(e);

    if (p->wheel_at == NULL) {
        return;
    }
    *p->wheel_at = p->wheel_next;
    if (p->wheel_next != NULL) {
        entry_prefix(p->wheel_next)->wheel_at = p->wheel_at;
    }
    p->wheel_at = NULL;
}

// The first slot from now on that isn't empty, on one level; -1: none.
static int first_slot(struct wheel *w, unsigned level) {
    unsigned now = digit_of(w->now, level);
    uint64_t bits;

    while ((bits = w->occupied[level] >> now << now) != 0) {
        int digit = __builtin_ctzll(bits);
        if (w->slot[level][digit] != NULL) {
            return digit;
        }
        w->occupied[level] &= ~(UINT64_C(1) << digit);
    }
    return -1;
}

// The tick that a slot begins with; now, if that has come.
static uint64_t begin_of_slot(const struct wheel *w, unsigned level,
                              unsigned digit) {
    unsigned shift = WHEEL_BITS * level;
    uint64_t above = w->now >> shift >> WHEEL_BITS << WHEEL_BITS << shift;
    uint64_t tick = above | (uint64_t)digit << shift;

    return tick < w->now ? w->now : tick;
}

// The slot to be emptied next, and the tick in which; NULL: all are empty.
static struct entry **next_slot(struct wheel *w, uint64_t *tick) {
    struct entry **next = NULL;
    unsigned level;

    for (level = 0; level < WHEEL_LEVELS; level++) {
        int digit = first_slot(w, level);
        uint64_t begin;
        if (digit < 0) {
            continue;
        }
        begin = begin_of_slot(w, level, (unsigned)digit);
        if (next == NULL || begin < *tick) {
            next = &w->slot[level][digit];
            *tick = begin;
        }
    }
    return next;
}

struct entry *memo_wheel_next_(struct wheel *w, int64_t now_ns) {
    uint64_t now = tick_of(now_ns), tick = 0;
    struct entry **slot = next_slot(w, &tick);
    struct entry *e;

    if (slot == NULL || tick > now) {
        // No slot begins between the two, so all digits stay in their order.
        w->now = now > w->now ? now : w->now;
        return NULL;
    }
    w->now = tick;
    e = *slot;
    memo_wheel_remove_(e);
    return e;
}

int64_t memo_wheel_due_ns_(struct wheel *w) {
    uint64_t tick = 0;

    return next_slot(w, &tick) == NULL ? MEMO_NEVER : begin_of(tick);
}
