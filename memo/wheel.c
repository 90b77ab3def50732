#include "memo/wheel.h"

#include "memo/memo.h"

// Times are signed, ticks are not: the least time is tick 0.
//
//     level 2   .  .  .  [u]  .  .  .        each slot 64 times as long
//     level 1   .  [t]  .  .  .  .  .        as one of the level below
//     level 0   .  .  [s]  .  .  .  .
//               |   now   |
//
//     [s] --> up to 15 names --> 15 names --> 15 names     a pile, newest first
//
// When now comes to the begin of a slot, its names are taken off, some at a time: the
// caller finds what they stand for, and puts what isn't due where it belongs now, on a
// lower level.  Since a name says no time, it can't be moved without looking at what it
// stands for.

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

static unsigned slot_at(unsigned level, unsigned digit) {
    return level * WHEEL_SLOTS + digit;
}

void memo_wheel_init_(struct wheel *w, void *pages, size_t size, int64_t now_ns) {
    w->now = tick_of(now_ns);
    // And what is aside.
    memo_names_init_(&w->names, pages, size, 0, WHEEL_ALL_SLOTS + 1);
}

int memo_wheel_reserve_(struct wheel *w, uint64_t more) {
    return memo_names_reserve_(&w->names, more);
}

// The tick that a slot begins with; now, if that has come.
static uint64_t begin_of_slot(const struct wheel *w, unsigned slot) {
    unsigned level = slot / WHEEL_SLOTS, digit = slot % WHEEL_SLOTS;
    unsigned shift = WHEEL_BITS * level;
    uint64_t above = w->now >> shift >> WHEEL_BITS << WHEEL_BITS << shift;
    uint64_t tick = above | (uint64_t)digit << shift;

    return tick < w->now ? w->now : tick;
}

unsigned memo_wheel_slot_(const struct wheel *w, int64_t at_ns) {
    uint64_t tick = tick_from(at_ns);
    unsigned level;

    tick = tick < w->now ? w->now : tick;
    level = tick == w->now
                ? 0
                : (63 - (unsigned)__builtin_clzll(tick ^ w->now)) / WHEEL_BITS;
    return slot_at(level, digit_of(tick, level));
}

void memo_wheel_put_(struct wheel *w, unsigned slot, uint32_t name) {
    uint64_t begin = begin_of_slot(w, slot);

    w->idle_until = begin < w->idle_until ? begin : w->idle_until;
    w->occupied[slot / WHEEL_SLOTS] |= UINT64_C(1) << slot % WHEEL_SLOTS;
    memo_names_put_(&w->names, &w->slot[slot], name);
}

// The first slot from now on that isn't empty, on one level; -1: none.
static int first_slot(struct wheel *w, unsigned level) {
    unsigned now = digit_of(w->now, level);
    uint64_t bits;

    while ((bits = w->occupied[level] >> now << now) != 0) {
        int digit = __builtin_ctzll(bits);
        if (!wheel_is_slot_empty(w, slot_at(level, (unsigned)digit))) {
            return digit;
        }
        w->occupied[level] &= ~(UINT64_C(1) << digit);
    }
    return -1;
}

// The slot to be emptied next, and the tick in which; -1: all are empty.
static int next_slot(struct wheel *w, uint64_t *tick) {
    int next = -1;
    unsigned level;

    for (level = 0; level < WHEEL_LEVELS; level++) {
        int digit = first_slot(w, level);
        uint64_t begin;
        if (digit < 0) {
            continue;
        }
        begin = begin_of_slot(w, slot_at(level, (unsigned)digit));
        if (next < 0 || begin < *tick) {
            next = (int)slot_at(level, (unsigned)digit);
            *tick = begin;
        }
    }
    return next;
}

// Up to n names of one pile.
static unsigned take_names(struct wheel *w, uint32_t *pile, uint32_t names[],
                           unsigned n) {
    unsigned taken = 0;

    while (taken < n &&
           (names[taken] = memo_names_take_(&w->names, pile)) != 0) {
        taken++;
    }
    return taken;
}

unsigned memo_wheel_next_(struct wheel *w, int64_t now_ns, uint32_t names[],
                          unsigned n, unsigned *slot) {
    uint64_t now = tick_of(now_ns), tick = TICKS;
    int next = -1;

    if (now >= w->idle_until) {
        next = next_slot(w, &tick);
        w->idle_until = tick;
    }
    if (next < 0 || tick > now) {
        // No slot begins between the two, so all digits stay in their order.
        w->now = now > w->now ? now : w->now;
        return 0;
    }
    w->now = tick;
    *slot = (unsigned)next;
    return take_names(w, w->slot[next] != 0 ? &w->slot[next] : &w->aside, names, n);
}

int64_t memo_wheel_due_ns_(struct wheel *w) {
    uint64_t tick = 0;

    return next_slot(w, &tick) < 0 ? MEMO_NEVER : begin_of(tick);
}

// ------------------------------------------------------------------ all names

// The slot after the one walked through that may not be empty; or that one again.
static unsigned next_to_walk(const struct wheel *w) {
    unsigned at = w->walked + 1, i;

    for (i = 0; i <= WHEEL_LEVELS; i++) {
        unsigned level = at / WHEEL_SLOTS % WHEEL_LEVELS;
        unsigned digit = at % WHEEL_SLOTS;
        uint64_t bits = w->occupied[level] >> digit << digit;
        if (bits != 0) {
            return slot_at(level, (unsigned)__builtin_ctzll(bits));
        }
        at += WHEEL_SLOTS - digit;
    }
    return w->walked;
}

unsigned memo_wheel_take_some_(struct wheel *w, uint32_t names[], unsigned n,
                               unsigned *slot) {
    if (w->aside == 0) {
        w->walked = next_to_walk(w);
        w->aside = w->slot[w->walked];
        w->slot[w->walked] = 0;
    }
    *slot = w->walked;
    return take_names(w, &w->aside, names, n);
}

void memo_wheel_forget_(struct wheel *w) {
    unsigned level;

    for (level = 0; level < WHEEL_LEVELS; level++) {
        uint64_t bits = w->occupied[level];
        for (; bits != 0; bits &= bits - 1) {
            w->slot[slot_at(level, (unsigned)__builtin_ctzll(bits))] = 0;
        }
        w->occupied[level] = 0;
    }
    w->aside = 0;
    memo_names_forget_(&w->names);
}

struct walk {
    void (*each)(void *arg, uint32_t name, unsigned slot, int64_t at_ns);
    void *arg;
    unsigned slot;
    int64_t at_ns;
};

static void walk_name(void *arg, uint32_t name) {
    const struct walk *walk = arg;

    walk->each(walk->arg, name, walk->slot, walk->at_ns);
}

void memo_wheel_walk_(const struct wheel *w,
                      void (*each)(void *arg, uint32_t name, unsigned slot,
                                   int64_t at_ns),
                      void *arg) {
    struct walk walk = {each, arg, 0, 0};

    for (; walk.slot < WHEEL_ALL_SLOTS; walk.slot++) {
        uint64_t tick = begin_of_slot(w, walk.slot);
        walk.at_ns = tick == w->now ? INT64_MIN : begin_of(tick);
        memo_names_walk_pile_(&w->names, w->slot[walk.slot], walk_name, &walk);
        if (walk.slot == w->walked) {
            memo_names_walk_pile_(&w->names, w->aside, walk_name, &walk);
        }
    }
}
