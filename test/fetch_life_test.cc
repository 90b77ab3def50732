// The life of a fetch, and of its thread, where it meets what else goes on in a
// process: executors, descriptors, names, fork().
#include <curl/curl.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fetch/fetch.h"
#include "fetch/origin.h"
#include "test/support/with_origin.h"

namespace {

// Whether the next to wake the thread of a fetch does so at leisure; and whether
// he then finds it gone.
std::atomic<bool> is_slow{false}, is_gone{false}, was_gone{false};

// Whether a name takes long to resolve, and how many are being resolved.
std::atomic<bool> is_slow_name_held{false};
std::atomic<int> n_slow_names{0};

template <class Function>
Function Real(Function, const char *name) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// libcurl's own, but for the time that it takes.
extern "C" CURLMcode curl_multi_wakeup(CURLM *multi) {
    CURLMcode code = Real(curl_multi_wakeup, "curl_multi_wakeup")(multi);

    if (is_slow.exchange(false)) {
        for (int i = 0; i < 20000 && !is_gone; i++) {
            std::this_thread::yield();
        }
        was_gone = is_gone.load();
    }
    return code;
}

// The system's, but for one name that takes as long as it is told to.
extern "C" int getaddrinfo(const char *name, const char *service,
                           const struct addrinfo *hints,
                           struct addrinfo **out) {
    if (name == nullptr || strcmp(name, "slow.test") != 0) {
        return Real(getaddrinfo, "getaddrinfo")(name, service, hints, out);
    }
    n_slow_names++;
    while (is_slow_name_held) {
        std::this_thread::yield();
    }
    n_slow_names--;
    return EAI_NONAME;
}

extern "C" CURLMcode curl_multi_cleanup(CURLM *multi) {
    is_gone = true;
    return Real(curl_multi_cleanup, "curl_multi_cleanup")(multi);
}

namespace {

class FetchLife : public WithOrigin<::testing::Test> {};

// Runs each task in a thread of its own.
class Executor {
   public:
    void Join() {
        for (std::thread &t : threads_) {
            t.join();
        }
    }
    struct memo_executor Hook() {
        return {[](void *self, void (*run)(void *), void *task) {
                    static_cast<Executor *>(self)->threads_.emplace_back(run,
                                                                         task);
                    return 0;
                },
                this};
    }

   private:
    std::vector<std::thread> threads_;
};

TEST_F(FetchLife, WhoGivesATransferToTheThreadTouchesTheFetchNoMore) {
    struct memo_options cache = {};
    struct memo_wait wait = {};
    struct memo_value v;
    Executor executor;
    struct memo_executor hook = executor.Hook();

    cache.size = sizeof cache;
    cache.executor = &hook;
    options_.cache = &cache;
    fetch();
    is_gone = false;
    is_slow = true;
    // With a deadline the load is the executor's.
    wait.size = sizeof wait;
    wait.deadline_ns = MEMO_NEVER - 1;
    EXPECT_EQ(fetch_get_wait(fetch_, Url("/page/1").c_str(), &wait, &v), 0);
    memo_release(&v);
    fetch_free(fetch_);
    fetch_ = nullptr;
    executor.Join();
    EXPECT_FALSE(is_slow);
    EXPECT_FALSE(was_gone);
}

TEST_F(FetchLife, WithoutADescriptorToWakeItsThreadThereIsNoFetch) {
    struct rlimit before, few;
    std::vector<int> taken;

    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 64;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int fd; (fd = dup(1)) >= 0;) {
        taken.push_back(fd);
    }
    EXPECT_EQ(fetch_new(&options_, &fetch_), MEMO_ENOMEM);
    EXPECT_EQ(fetch_, nullptr);
    for (int fd : taken) {
        close(fd);
    }
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
}

// ------------------------------------------------------------------ slow names

// Begin to get a page of a host whose name takes long to resolve.
struct memo_ticket *BeginToGetSlowly(struct fetch *f) {
    struct memo_ticket *ticket = nullptr;
    const char url[] = "http://slow.test/";

    is_slow_name_held = true;
    n_slow_names = 0;
    EXPECT_EQ(memo_get_async(
                  fetch_memo(f), url, strlen(url), nullptr,
                  [](void *, int error, struct memo_value *) {
                      EXPECT_NE(error, 0);
                  },
                  nullptr, &ticket),
              0);
    while (n_slow_names == 0) {
        std::this_thread::yield();
    }
    return ticket;
}

void LetSlowNamesGo() {
    is_slow_name_held = false;
    while (n_slow_names != 0) {
        std::this_thread::yield();
    }
}

TEST_F(FetchLife, ClosingDoesntWaitForANameToBeResolved) {
    alarm(60);
    struct memo_ticket *ticket = BeginToGetSlowly(fetch());
    EXPECT_EQ(fetch_close(fetch_), 0);
    memo_ticket_free(ticket);
    LetSlowNamesGo();
    alarm(0);
}

TEST_F(FetchLife, NobodyElseWaitsForANameThatNobodyWaitsFor) {
    struct memo_options cache = {};
    struct memo_value v;

    cache.size = sizeof cache;
    cache.flags = MEMO_CANCEL_UNWANTED;
    options_.cache = &cache;
    alarm(60);
    struct memo_ticket *ticket = BeginToGetSlowly(fetch());
    EXPECT_EQ(memo_ticket_cancel(ticket), 0);
    memo_ticket_free(ticket);
    EXPECT_EQ(fetch_get(fetch_, Url("/page/1").c_str(), &v), 0);
    memo_release(&v);
    EXPECT_EQ(ended().size(), 2u);
    LetSlowNamesGo();
    alarm(0);
}

// ------------------------------------------------------------------- fork (L3)

// ThreadSanitizer has locks of its own that fork() leaves stuck, and lets no
// threads be started in a child.
#if defined(__SANITIZE_THREAD__)
const bool kChildrenMayDoAnything = false;
#else
const bool kChildrenMayDoAnything = true;
#endif

// Run child() in a child, and return what became of it: 0, if all was well.
int InAChild(const std::function<void()> &child) {
    int status = 0;

    if (!kChildrenMayDoAnything) {
        return status;
    }
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        child();
        _exit(::testing::Test::HasFailure());
    }
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    return status;
}

TEST_F(FetchLife, InAChildThereIsWhatWasResidentAndNothingIsLoaded) {
    const std::string url = Url("/page/1/a"), other = Url("/page/1/b");
    struct memo_value v, held;

    ASSERT_EQ(fetch_get(fetch(), url.c_str(), &held), 0);
    EXPECT_EQ(InAChild([&] {
                  EXPECT_EQ(fetch_get(fetch_, url.c_str(), &v), 0);
                  EXPECT_EQ(v.from, (uint32_t)MEMO_HIT);
                  memo_release(&v);
                  EXPECT_EQ(fetch_get(fetch_, other.c_str(), &v), MEMO_EFORKED);
                  EXPECT_EQ(fetch_close(fetch_), 0);
                  EXPECT_EQ(fetch_get(fetch_, url.c_str(), &v), MEMO_ECLOSED);
                  fetch_free(fetch_);
                  memo_release(&held);
                  // Another fetch is as good as any.
                  EXPECT_EQ(fetch_new(&options_, &fetch_), 0);
                  EXPECT_EQ(fetch_get(fetch_, other.c_str(), &v), 0);
                  memo_release(&v);
                  fetch_free(fetch_);
              }),
              0);
    memo_release(&held);
    EXPECT_EQ(fetch_get(fetch_, other.c_str(), &v), 0);
    memo_release(&v);
}

TEST_F(FetchLife, TransfersAreTheParents) {
    const std::string path = "/page/1/a";
    struct memo_options cache = {};

    cache.size = sizeof cache;
    cache.flags = MEMO_CANCEL_UNWANTED;
    options_.cache = &cache;
    fetch();
    origin_hold(origin_, path.c_str());
    std::thread getter([&] {
        struct memo_value v;
        EXPECT_EQ(fetch_get(fetch_, Url(path).c_str(), &v), 0);
        memo_release(&v);
    });
    origin_wait(origin_, path.c_str(), 1);
    EXPECT_EQ(InAChild([&] {
                  struct memo_value v;
                  EXPECT_EQ(fetch_get(fetch_, Url(path).c_str(), &v),
                            MEMO_EFORKED);
                  fetch_free(fetch_);
              }),
              0);
    origin_release(origin_, path.c_str());
    getter.join();
    EXPECT_EQ(Requests(path), 1u);
}

}  // namespace
