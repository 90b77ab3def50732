#include "memo/memo.h"

const char *memo_error_name(int error) {
    switch (error) {
    case MEMO_OK:
        return "MEMO_OK";
#define MEMO_X_(name, code, text) \
    case name:                    \
        return #name;
        MEMO_ERRORS(MEMO_X_)
#undef MEMO_X_
    default:
        return "unknown";
    }
}

const char *memo_error_text(int error) {
    switch (error) {
    case MEMO_OK:
        return "success";
#define MEMO_X_(name, code, text) \
    case name:                    \
        return text;
        MEMO_ERRORS(MEMO_X_)
#undef MEMO_X_
    default:
        return error > 0 ? "an error of the load function" : "unknown";
    }
}
