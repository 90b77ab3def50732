// Checking what callers say.
#ifndef MEMO_MEMO_ARGS_H_
#define MEMO_MEMO_ARGS_H_

#include "memo/memo.h"
#include "sync/annotate.h"

// Whether that is no key, nor a tag.
SYNC_INLINE int memo_is_bad_name_(const void *bytes, size_t size) {
    return (bytes == NULL && size != 0) || size > MEMO_KEY_MAX;
}

SYNC_INLINE int memo_is_bad_key_(const struct memo *m, const void *key,
                                 size_t key_size) {
    return m == NULL || memo_is_bad_name_(key, key_size);
}

// A public struct of more bytes is none, but garbage; and so is one of a size that
// isn't a multiple of its alignment.
#define STRUCT_MOST 4096

SYNC_INLINE int memo_is_bad_size_(size_t size, size_t least) {
    return size < least || size > STRUCT_MOST || size % sizeof(uint64_t) != 0;
}

// Copy a struct of the caller's, of his version's size, to *to, of ours.  Return
// MEMO_EINVAL if size is less than least, or none, or if something is set that isn't
// known here.  What *to has more than his stays as it is.
int memo_take_struct_(const void *from, size_t size, size_t least, void *to,
                      size_t to_size);

#define MEMO_WAIT_FLAGS (MEMO_WAIT_STRICT | MEMO_WAIT_NO_LOAD)

// Whether what that says is refused, whatever its size.
SYNC_INLINE int memo_says_nonsense_(const struct memo_wait *wait) {
    return wait->zero != 0 || (wait->flags & ~MEMO_WAIT_FLAGS) != 0 ||
           wait->soft_deadline_ns < 0;
}

// Have *wait, which may be NULL, point to a copy in *own; or return MEMO_EINVAL.
int memo_take_wait_(const struct memo_wait **wait, struct memo_wait *own);

// Whether that is refused: quick to say of one of this version.
SYNC_INLINE int memo_is_bad_wait_(const struct memo_wait *wait) {
    struct memo_wait own;

    return wait != NULL &&
           (wait->size != sizeof(*wait) || memo_says_nonsense_(wait)) &&
           memo_take_wait_(&wait, &own) != 0;
}

// Whether some of them are no keys, nor tags.
int memo_are_bad_names_(const struct memo_bytes names[], size_t n);

#endif  // MEMO_MEMO_ARGS_H_
