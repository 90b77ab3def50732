// The little that the stages of memo need of Go's maps.  Not synchronized.
#ifndef MEMO_TEST_GOPL_MAP_H_
#define MEMO_TEST_GOPL_MAP_H_

#include <stdlib.h>
#include <string.h>

#include "sync/event.h"

struct entry {
    struct entry *next;
    char key[16];
    int value;
    struct sync_event ready;  // memo4 and memo5: set when value is there
};

struct map {
    struct entry *first;
};

static inline struct entry *map_find(struct map *m, const char *key) {
    struct entry *e = m->first;

    while (e != NULL && strcmp(e->key, key) != 0) {
        e = e->next;
    }
    return e;
}

static inline struct entry *map_add(struct map *m, const char *key) {
    struct entry *e = (struct entry *)calloc(1, sizeof *e);

    strncpy(e->key, key, sizeof e->key - 1);
    e->next = m->first;
    m->first = e;
    return e;
}

static inline void map_free(struct map *m) {
    while (m->first != NULL) {
        struct entry *e = m->first;

        m->first = e->next;
        free(e);
    }
}

#endif  // MEMO_TEST_GOPL_MAP_H_
