// A value held, and what a test sees of an answer.
#ifndef MEMO_TEST_SUPPORT_VALUE_H_
#define MEMO_TEST_SUPPORT_VALUE_H_

#include <cstring>
#include <memory>
#include <ostream>
#include <string>

#include "memo/memo.h"

// An answer: an error, or bytes and where they came from.
struct Seen {
    int error;
    uint32_t from;
    std::string bytes;

    bool operator==(const Seen &other) const {
        return error == other.error && from == other.from &&
               bytes == other.bytes;
    }
};

inline std::ostream &operator<<(std::ostream &out, const Seen &seen) {
    static const char *const from[] = {"NOWHERE", "HIT",      "JOINED",  "LOADED",
                                       "STALE",   "NEGATIVE", "DETACHED"};

    if (seen.error != 0) {
        return out << (seen.from == MEMO_NEGATIVE ? "kept error " : "error ")
                   << seen.error << " " << memo_error_name(seen.error)
                   << seen.bytes;
    }
    return out << (seen.from < 7 ? from[seen.from] : "?") << " '"
               << seen.bytes.substr(0, 60) << "'";
}

inline Seen Hit(const std::string &bytes) {
    return {0, MEMO_HIT, bytes};
}
inline Seen Joined(const std::string &bytes) {
    return {0, MEMO_JOINED, bytes};
}
inline Seen Loaded(const std::string &bytes) {
    return {0, MEMO_LOADED, bytes};
}
inline Seen Detached(const std::string &bytes) {
    return {0, MEMO_DETACHED, bytes};
}
inline Seen Stale(const std::string &bytes) {
    return {0, MEMO_STALE, bytes};
}
inline Seen Failed(int error) {
    return {error, MEMO_NOWHERE, ""};
}
// An error that the cache has kept.
inline Seen Negative(int error) {
    return {error, MEMO_NEGATIVE, ""};
}

// A memo_value that is released at the end.
class Value {
   public:
    Value() : v_(new memo_value()) {
    }
    Value(Value &&other) : Value() {
        std::swap(v_, other.v_);
    }
    Value &operator=(Value &&other) {
        std::swap(v_, other.v_);
        return *this;
    }
    ~Value() {
        memo_release(v_.get());
    }

    void Release() {
        memo_release(v_.get());
    }

    // Where a function of memo puts a value: whatever it returns, it must
    // overwrite the garbage in there.
    memo_value *out() {
        memo_release(v_.get());
        std::memset(v_.get(), 0xee, sizeof(*v_));
        return v_.get();
    }

    const memo_value &operator*() const {
        return *v_;
    }
    const memo_value *operator->() const {
        return v_.get();
    }

    std::string Bytes() const {
        return std::string(static_cast<const char *>(v_->data), v_->size);
    }

    bool IsEmpty() const {
        return v_->data == nullptr && v_->size == 0 && v_->pin == nullptr &&
               v_->from == MEMO_NOWHERE && v_->zero == 0;
    }

    // Nothing but where an error comes from.
    bool IsError() const {
        return v_->data == nullptr && v_->size == 0 && v_->pin == nullptr &&
               v_->zero == 0 &&
               (v_->from == MEMO_NOWHERE || v_->from == MEMO_NEGATIVE);
    }

    // What was seen, given what the call returned.  A value that holds bytes in
    // spite of an error, or nothing in spite of success, shows.
    struct Seen Seen(int error) const {
        return {error, v_->from,
                v_->pin != nullptr ? Bytes()
                : error == 0       ? "(holds nothing)"
                : IsError()        ? ""
                                   : "(not all zeros)"};
    }

   private:
    std::unique_ptr<memo_value> v_;
};

#endif  // MEMO_TEST_SUPPORT_VALUE_H_
