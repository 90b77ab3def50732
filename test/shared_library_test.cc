// libmemo.so as what a plug-in brings along: a host may close it while threads go
// on that have used it.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "memo/memo.h"

namespace {

int Load(void *, memo_load *) {
    return 1;
}

// Functions of the library, which this program isn't linked with.
struct Library {
    void *handle = dlopen("memo/libmemo.so", RTLD_NOW | RTLD_LOCAL);

    template <typename Function>
    Function *Get(const char *name) {
        return reinterpret_cast<Function *>(dlsym(handle, name));
    }
};

#define FUNCTION(library, name) (library).Get<decltype(name)>(#name)

TEST(SharedLibrary, MayBeClosedBeforeThreadsThatUsedItEnd) {
    Library library;
    ASSERT_NE(library.handle, nullptr) << dlerror();
    memo_options options = {};
    options.size = sizeof(options);
    options.load = Load;
    memo *m = nullptr;
    ASSERT_EQ(FUNCTION(library, memo_new)(&options, &m), 0);
    ASSERT_EQ(FUNCTION(library, memo_put)(m, "k", 1, "v", 1), 0);
    std::promise<void> used, closed;
    std::thread user([&] {
        memo_value v;
        EXPECT_EQ(FUNCTION(library, memo_get)(m, "k", 1, &v), 0);
        FUNCTION(library, memo_release)(&v);
        used.set_value();
        closed.get_future().wait();
    });
    used.get_future().wait();
    FUNCTION(library, memo_free)(m);
    EXPECT_EQ(dlclose(library.handle), 0);
    closed.set_value();
    user.join();
}

}  // namespace
