#include "memo/alarm.h"

#include "memo/entry.h"
#include "memo/expire.h"
#include "memo/internal.h"
#include "memo/shard.h"
#include "memo/wheel.h"

// The names on a wheel: what they stand for, and those that stand for nothing.

// BOUND  Dead names are swept, NAMES_AT_ONCE for each that is added, while there are
//     more than SPARE_NAMES and as many as entries with an alarm.  A sweep is through
//     before a NAMES_AT_ONCE-th more have come, and leaves one dead in 255 at most.  So
//     there are never more than some 2.2 names for each entry that there was at once,
//     and a few hundred: 10 bytes an entry at worst.
//
//     Where so many keys collide that most stamps are in use, most dead names look
//     alive.  But then, most new ones are there already.
#define SPARE_NAMES 256
#define NAMES_AT_ONCE 32
#define SWEEP_AT_LEAST 4  // where there are more than so many candidates:
#define CANDIDATES (2 * NAMES_AT_ONCE)

// ------------------------------------------------------------------ lookup

struct alarm_search {
    uint32_t name;
    unsigned slot;
    struct alarm_found found;
};

static void consider_alarm(struct entry *e, void *arg) {
    struct alarm_search *find = arg;

    if (alarm_is_of(e, find->name, find->slot)) {
        find->found.more = find->found.entry != NULL;
        find->found.entry = e;
    }
}

struct alarm_found memo_find_alarm_owned_(struct shard *s, uint32_t name,
                                          unsigned slot) {
    struct alarm_search find = {name, slot, {NULL, 0}};

    memo_table_named_owned_(s, name & TABLE_NAME, consider_alarm, &find);
    return find.found;
}

static void consider_and_fetch(struct entry *e, void *arg) {
    struct alarm_found *found = arg;

    __builtin_prefetch(entry_prefix(e));
    found->more = found->entry != NULL;
    found->entry = e;
}

void memo_find_alarms_owned_(struct shard *s, const uint32_t names[], unsigned n,
                             struct alarm_found found[]) {
    unsigned i;

    for (i = 0; i < n; i++) {
        memo_table_fetch_named_owned_(s, names[i] & TABLE_NAME);
    }
    for (i = 0; i < n; i++) {
        found[i].entry = NULL;
        found[i].more = 0;
        memo_table_named_owned_(s, names[i] & TABLE_NAME, consider_and_fetch,
                                &found[i]);
    }
}

// ------------------------------------------------------------------ too many

int memo_has_dead_alarms_owned_(const struct shard *s) {
    return s->wheel->names.n > 2 * s->wheel->n_set + SPARE_NAMES;
}

// Names of one slot that are looked up together, so that the cache misses overlap.
struct names_batch {
    uint32_t name[NAMES_AT_ONCE];
    unsigned slot;
    int stands[NAMES_AT_ONCE];
    unsigned n, n_candidates, at;
    struct {
        struct entry *entry;
        unsigned at;  // whose name[at] it may be
    } candidate[CANDIDATES];
};

static void take_down(struct entry *e, void *arg) {
    struct names_batch *b = arg;

    if (b->n_candidates < CANDIDATES) {
        __builtin_prefetch(entry_prefix(e));
        b->candidate[b->n_candidates].entry = e;
        b->candidate[b->n_candidates++].at = b->at;
    }
}

// Return of how many names all candidates are found.
static unsigned find_candidates(struct shard *s, struct names_batch *b) {
    unsigned i;

    for (i = 0; i < b->n; i++) {
        memo_table_fetch_named_owned_(s, b->name[i] & TABLE_NAME);
    }
    b->n_candidates = 0;
    for (b->at = 0; b->at < b->n; b->at++) {
        memo_table_named_owned_(s, b->name[b->at] & TABLE_NAME, take_down, b);
        if (b->n_candidates == CANDIDATES) {
            break;
        }
    }
    return b->at;
}

// Where there are very many candidates, a few more names are looked up, and the rest
// is taken to stand.
static void find_what_stands(struct shard *s, struct names_batch *b) {
    unsigned found = find_candidates(s, b), i;

    for (i = 0; i < b->n; i++) {
        b->stands[i] = i >= found + SWEEP_AT_LEAST;
    }
    for (i = 0; i < b->n_candidates; i++) {
        unsigned at = b->candidate[i].at;
        b->stands[at] |=
            alarm_is_of(b->candidate[i].entry, b->name[at], b->slot);
    }
    for (i = found; i < b->n && i < found + SWEEP_AT_LEAST; i++) {
        b->stands[i] =
            memo_find_alarm_owned_(s, b->name[i], b->slot).entry != NULL;
    }
}

void memo_sweep_alarms_owned_(struct shard *s) {
    struct wheel *w = s->wheel;
    struct names_batch b;
    unsigned i;

    b.n = memo_wheel_take_some_(w, b.name, NAMES_AT_ONCE, &b.slot);
    find_what_stands(s, &b);
    for (i = 0; i < b.n; i++) {
        if (b.stands[i]) {
            memo_wheel_put_(w, b.slot, b.name[i]);
        }
    }
}

struct twin {
    const struct shard *shard;
    uint32_t name;
    unsigned slot;
    int is_there;
};

static void compare(struct entry *e, void *arg) {
    struct twin *twin = arg;

    twin->is_there |=
        alarm_is_of(e, twin->name, twin->slot) &&
        table_name(entry_hash(&twin->shard->memo->seed, e)) == (twin->name & TABLE_NAME);
}

int memo_is_alarm_there_owned_(struct shard *s, uint32_t name, unsigned slot) {
    struct twin twin = {s, name, slot, 0};

    memo_table_named_owned_(s, name & TABLE_NAME, compare, &twin);
    return twin.is_there;
}

// ------------------------------------------------------------------ checking

struct sighting {
    struct shard *shard;
    uint32_t name;
    unsigned slot;
    int64_t at_ns;
    uint64_t names;
};

static void see(struct entry *e, void *arg) {
    const struct sighting *seen = arg;
    const struct memo *m = seen->shard->memo;
    int64_t end = memo_end_of_(m, e);

    if (alarm_is_of(e, seen->name, seen->slot) &&
        (m->idle_ttl_ns != 0 || seen->at_ns <= end ||
         (uint64_t)seen->at_ns - (uint64_t)end < (uint64_t)WHEEL_TICK_NS)) {
        entry_prefix(e)->seen = 1;
    }
}

static void see_name(void *arg, uint32_t name, unsigned slot, int64_t at_ns) {
    struct sighting *seen = arg;

    seen->name = name;
    seen->slot = slot;
    seen->at_ns = at_ns;
    seen->names++;
    memo_table_named_owned_(seen->shard, name & TABLE_NAME, see, seen);
}

uint64_t memo_see_alarms_owned_(struct shard *s) {
    struct sighting seen = {s, 0, 0, 0, 0};

    memo_wheel_walk_(s->wheel, see_name, &seen);
    return seen.names;
}
