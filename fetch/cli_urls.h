// The list of URLs to fetch, and the different ones among them.
#ifndef MEMO_FETCH_CLI_URLS_H_
#define MEMO_FETCH_CLI_URLS_H_

#include <stddef.h>
#include <stdint.h>

#include "fetch/cli_options.h"

struct cli_url {
    char *text;
    // Guarded by the lock of the run.
    int error;            // of the load that failed last
    char *error_text;     // and why, or NULL
    uint32_t n_loads;     // but for those that found the old response good
    int64_t load_ns;      // in all of these
    uint64_t load_bytes;  // received by all of these
    int is_not_modified;  // the last load found so
};

// Zeroed, it is empty.
struct cli_urls {
    struct cli_url *urls;  // each different one once
    uint32_t n_urls;
    uint32_t *list;  // as given: indices of urls
    uint32_t n_list;
    // Private.
    uint32_t *slots;  // a hash table: indices of urls, plus one
    uint32_t n_slots;
    uint32_t list_size;
};

// Add text to the list.  Return 0; or -1: out of memory.
int cli_urls_add(struct cli_urls *u, const char *text);

// Return the index in u->urls of text, which is among them.
uint32_t cli_urls_find(const struct cli_urls *u, const char *text);

// Read the inputs and URLs of the command line, standard input if there are
// none.  What is wrong with them is said on standard error; the other URLs are
// in the list.  The first failure, or a lack of any URL, is put in *exit_code.
void cli_urls_read(struct cli_urls *u, const struct cli_options *o,
                   int *exit_code);

void cli_urls_free(struct cli_urls *u);

#endif  // MEMO_FETCH_CLI_URLS_H_
