// A map from hashes to objects, for who owns it: four-way nodes, each of which is
// an object, indexed by the hash two bits at a time from the top.  The objects
// below one share its path.
//
// It needs no memory beside the objects and is never rebuilt.  Depth is
// logarithmic, for hashes are keyed; objects whose whole hashes are equal hang on
// one path, on which who looks for a key compares.
//
// An object begins with its children: void *child[TRIE_WAYS], all NULL while it is
// in no map.  A map is its root, NULL while it is empty.
#ifndef MEMO_MEMO_TRIE_H_
#define MEMO_MEMO_TRIE_H_

#include <stdint.h>
#include <string.h>

#include "sync/annotate.h"

#define TRIE_BITS 2
#define TRIE_WAYS (1 << TRIE_BITS)

// Where a path that has led to object goes on.  It begins as the whole hash.
SYNC_INLINE void **trie_below(void *object, uint64_t *path) {
    void **child = object;
    unsigned way = (unsigned)(*path >> (64 - TRIE_BITS));

    *path <<= TRIE_BITS;
    return &child[way];
}

// Put an object there; return the new root.
SYNC_INLINE void *trie_insert(void *root, void *object, uint64_t hash) {
    void **at = &root;

    while (*at != NULL) {
        at = trie_below(*at, &hash);
    }
    *at = object;
    return root;
}

// Some leaf at or below *at: the place that holds it.
SYNC_INLINE void **trie_leaf(void **at) {
    int i = 0;

    while (i < TRIE_WAYS) {
        void **child = *at;
        if (child[i] == NULL) {
            i++;
        } else {
            at = &child[i];
            i = 0;
        }
    }
    return at;
}

// Put another object, which is in no map, in the place of one that is there, and
// whose hash is the same; return the new root.
SYNC_INLINE void *trie_replace(void *root, void *object, void *other,
                               uint64_t hash) {
    size_t size = TRIE_WAYS * sizeof(void *);
    void **at = &root;

    while (*at != object) {
        at = trie_below(*at, &hash);
    }
    memcpy(other, object, size);
    memset(object, 0, size);
    *at = other;
    return root;
}

// Take an object that is there off the map; return the new root.
SYNC_INLINE void *trie_remove(void *root, void *object, uint64_t hash) {
    size_t size = TRIE_WAYS * sizeof(void *);
    void **at = &root, **place, *leaf;

    while (*at != object) {
        at = trie_below(*at, &hash);
    }
    // Any leaf below object may take its place: it shares the path to there.
    place = trie_leaf(at);
    leaf = *place;
    *place = NULL;
    if (leaf != object) {
        memcpy(leaf, object, size);
        *at = leaf;
    }
    memset(object, 0, size);
    return root;
}

#endif  // MEMO_MEMO_TRIE_H_
