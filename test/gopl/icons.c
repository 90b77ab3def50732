// Lazy initialisation (9.5): the table is loaded when somebody needs an icon,
// once, however many come at the same time.  The eager table needs no lock: it
// is there before the first thread, and nobody writes to it.
#include <stdlib.h>
#include <string.h>

#include "sync/once.h"
#include "test/gopl/gopl.h"

struct icon {
    const char *name;
    const char *image;
};

static const struct icon eager_table[] = {
    {"spades.png", "♠"},
    {"hearts.png", "♥"},
    {"diamonds.png", "♦"},
    {"clubs.png", "♣"},
};

enum { N_ICONS = sizeof eager_table / sizeof eager_table[0] };

struct icons {
    struct sync_once load_once;
    // Published by load_once.
    struct icon *table;
    int loads;
};

static const char *find(const struct icon *table, const char *name) {
    int i;

    for (i = 0; i < N_ICONS; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return table[i].image;
        }
    }
    return NULL;
}

static void load_icons(void *arg) {
    struct icons *icons = arg;

    icons->loads++;
    icons->table = malloc(sizeof eager_table);
    memcpy(icons->table, eager_table, sizeof eager_table);
}

const char *icons_lazy(struct icons *icons, const char *name) {
    sync_once_do(&icons->load_once, load_icons, icons);
    return find(icons->table, name);
}

const char *icons_eager(const char *name) {
    return find(eager_table, name);
}

struct icons *icons_new(void) {
    return calloc(1, sizeof(struct icons));
}

int icons_loads(const struct icons *icons) {
    return icons->loads;
}

void icons_free(struct icons *icons) {
    free(icons->table);
    free(icons);
}
