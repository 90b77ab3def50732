// list: an intrusive, doubly linked list, first in first out.
//
// The links are inside the objects, so that putting one on a list allocates
// nothing and taking it off takes no search:
//
//     struct job {
//         struct sync_link link;
//         int number;
//     };
//
//     struct sync_list jobs = {0};
//     sync_list_push(&jobs, &job->link);
//     ...
//     struct sync_link *l = sync_list_pop(&jobs);
//     if (l != NULL) {
//         run(SYNC_CONTAINER(l, struct job, link)->number);
//     }
//
// The list is a ring, and the list itself only a pointer to its first link; a
// zeroed list is empty.  Nothing here is atomic: whoever owns the list, or
// holds the lock that guards it, calls these.
#ifndef MEMO_SYNC_LIST_H_
#define MEMO_SYNC_LIST_H_

#include <stddef.h>

// One object's place on a list.
struct sync_link {
    struct sync_link *next;
    struct sync_link *prev;
};

struct sync_list {
    struct sync_link *first;  // NULL when empty
};

// The object of the given type that link is the named member of.
#define SYNC_CONTAINER(link, type, member) \
    ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline int sync_list_is_empty(const struct sync_list *list) {
    return list->first == NULL;
}

// Put link, which is on no list, at the end.
static inline void sync_list_push(struct sync_list *list,
                                  struct sync_link *link) {
    struct sync_link *first = list->first;

    if (first == NULL) {
        link->next = link;
        link->prev = link;
        list->first = link;
    } else {
        link->next = first;
        link->prev = first->prev;
        first->prev->next = link;
        first->prev = link;
    }
}

// Put link, which is on no list, at the front.
static inline void sync_list_push_first(struct sync_list *list,
                                        struct sync_link *link) {
    sync_list_push(list, link);
    list->first = link;  // a ring: the end is before the first
}

// Take link, which is on the list, off it.
static inline void sync_list_remove(struct sync_list *list,
                                    struct sync_link *link) {
    if (link->next == link) {
        list->first = NULL;
    } else {
        link->next->prev = link->prev;
        link->prev->next = link->next;
        if (list->first == link) {
            list->first = link->next;
        }
    }
    link->next = NULL;
    link->prev = NULL;
}

// Take the first link off and return it, or NULL if the list is empty.
static inline struct sync_link *sync_list_pop(struct sync_list *list) {
    struct sync_link *first = list->first;

    if (first != NULL) {
        sync_list_remove(list, first);
    }
    return first;
}

// Return the link after this one, or NULL after the last.
static inline struct sync_link *sync_list_next(const struct sync_list *list,
                                               const struct sync_link *link) {
    return link->next == list->first ? NULL : link->next;
}

#endif  // MEMO_SYNC_LIST_H_
