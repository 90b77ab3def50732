/* The public header, alone, as the strictest C99. */
#include "memo/memo.h"

int main(void) {
    return memo_error_name(MEMO_EINVAL) != 0 ? 0 : 1;
}
