#include "memo/args.h"

#include <string.h>

int memo_are_bad_names_(const struct memo_bytes names[], size_t n) {
    size_t i;
    int bad = 0;

    if (names == NULL) {
        return n != 0;
    }
    for (i = 0; i < n; i++) {
        bad |= memo_is_bad_name_(names[i].data, names[i].size);
    }
    return bad;
}

int memo_take_struct_(const void *from, size_t size, size_t least, void *to,
                      size_t to_size) {
    const unsigned char *bytes = from;
    size_t i;

    if (memo_is_bad_size_(size, least)) {
        return MEMO_EINVAL;
    }
    for (i = to_size; i < size; i++) {
        if (bytes[i] != 0) {
            return MEMO_EINVAL;
        }
    }
    memcpy(to, from, size < to_size ? size : to_size);
    return 0;
}

int memo_take_wait_(const struct memo_wait **wait, struct memo_wait *own) {
    const struct memo_wait *from = *wait;

    if (from == NULL) {
        return 0;
    }
    memset(own, 0, sizeof(*own));
    *wait = own;
    if (memo_take_struct_(from, from->size,
                          offsetof(struct memo_wait, soft_deadline_ns), own,
                          sizeof(*own)) != 0) {
        return MEMO_EINVAL;
    }
    return memo_says_nonsense_(own) ? MEMO_EINVAL : 0;
}
