// What not to do: the chapter's data races, on purpose.  ThreadSanitizer must
// say so; see racy_test.cc.
#include <stdlib.h>

#include "sync/atomic.h"
#include "sync/event.h"
#include "test/gopl/gopl.h"

static int n;                  // 9.1: touched by two threads, with nothing
static const char **table;     // 9.5: "if icons == nil { loadIcons() }"
static const char *loaded[4];  // what loadIcons would make

static void *count(void *arg) {
    int i;

    (void)arg;
    for (i = 0; i < 1000; i++) {
        n++;
    }
    return NULL;
}

static void *load_if_missing(void *arg) {
    (void)arg;
    if (table == NULL) {
        loaded[0] = "spades";
        table = loaded;  // another thread may see this before the line above
    }
    return (void *)(uintptr_t)(table[0] != NULL);
}

// Run fn in two threads.
static int in_two(void *(*fn)(void *)) {
    struct sync_thread t[2];
    int results = 0;

    sync_thread_start(&t[0], fn, NULL);
    sync_thread_start(&t[1], fn, NULL);
    results += sync_thread_join(&t[0]) != NULL;
    results += sync_thread_join(&t[1]) != NULL;
    return results;
}

int racy_counter(void) {
    in_two(count);
    return n;
}

int racy_icons(void) {
    return in_two(load_if_missing);
}
