#include "fetch/cli_urls.h"

#include <stdlib.h>
#include <string.h>

// -------------------------------------------------------------- the table

static uint64_t hash_text(const char *text) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);  // FNV-1a

    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

// The slot of text: where it is, or would be.
static uint32_t *slot_of(const struct cli_urls *u, const char *text) {
    uint32_t mask = u->n_slots - 1;
    uint32_t i = (uint32_t)hash_text(text) & mask;

    while (u->slots[i] != 0 &&
           strcmp(u->urls[u->slots[i] - 1].text, text) != 0) {
        i = (i + 1) & mask;
    }
    return &u->slots[i];
}

// Double the size of everything.
static int grow(struct cli_urls *u) {
    uint32_t size = u->list_size != 0 ? 2 * u->list_size : 64;
    struct cli_url *urls = realloc(u->urls, size * sizeof *urls);

    if (urls != NULL) {
        u->urls = urls;
    }
    uint32_t *list = realloc(u->list, size * sizeof *list);
    if (list != NULL) {
        u->list = list;
    }
    uint32_t *slots = calloc(2 * (size_t)size, sizeof *slots);
    if (urls == NULL || list == NULL || slots == NULL) {
        free(slots);
        return -1;
    }
    free(u->slots);
    u->slots = slots;
    u->n_slots = 2 * size;
    u->list_size = size;
    for (uint32_t i = 0; i < u->n_urls; i++) {
        *slot_of(u, u->urls[i].text) = i + 1;
    }
    return 0;
}

int cli_urls_add(struct cli_urls *u, const char *text) {
    if (u->n_list == u->list_size && grow(u) != 0) {
        return -1;
    }
    uint32_t *slot = slot_of(u, text);
    if (*slot == 0) {
        struct cli_url url = {.text = strdup(text)};

        if (url.text == NULL) {
            return -1;
        }
        u->urls[u->n_urls++] = url;
        *slot = u->n_urls;
    }
    u->list[u->n_list++] = *slot - 1;
    return 0;
}

uint32_t cli_urls_find(const struct cli_urls *u, const char *text) {
    return *slot_of(u, text) - 1;
}

void cli_urls_free(struct cli_urls *u) {
    for (uint32_t i = 0; i < u->n_urls; i++) {
        free(u->urls[i].text);
        free(u->urls[i].error_text);
    }
    free(u->urls);
    free(u->list);
    free(u->slots);
    memset(u, 0, sizeof *u);
}
