// In a sandbox that forbids what the cache would ask the system for: from the start,
// or put up while it is in use.  Nothing is destroyed that somebody holds.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"

namespace {

enum { THREADS = 3, KEYS = 8, ROUNDS = 20000 };

// From now on a call of the system has that outcome, in this thread and those it
// starts; with all, in those that run already, too.
void Forbid(unsigned call, unsigned outcome, bool all) {
    sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, outcome),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                all ? SECCOMP_FILTER_FLAG_TSYNC : 0, &program) != 0) {
        fprintf(stderr, "no sandbox here\n");
        _exit(0);
    }
}

void ForbidMembarrier(bool all) {
    Forbid(SYS_membarrier, SECCOMP_RET_ERRNO | EPERM, all);
}

// A value is a number, which its destructor takes away.
std::atomic<int> made, destroyed;

void Destroy(void *, void *data, size_t) {
    *static_cast<int *>(data) = 0;
    destroyed++;
    delete static_cast<int *>(data);
}

int Load(void *, memo_load *l) {
    made++;
    return memo_load_adopt(l, new int(1), sizeof(int), Destroy, nullptr);
}

memo *New(int64_t ttl_ns = 0) {
    memo_options options = {};
    memo *m = nullptr;
    options.size = sizeof(options);
    options.load = Load;
    options.ttl_ns = ttl_ns;
    return memo_new(&options, &m) == 0 ? m : nullptr;
}

void Require(bool holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        _exit(1);
    }
}

void GetAndForget(memo *m, int rounds) {
    for (int i = 0; i < rounds; i++) {
        std::string key = std::to_string(i % KEYS);
        memo_value v;
        Require(memo_get(m, key.data(), key.size(), &v) == 0, "get");
        Require(*static_cast<const int *>(v.data) == 1, "destroyed while held");
        memo_release(&v);
        Require(memo_invalidate(m, key.data(), key.size()) == 0, "invalidate");
    }
}

void InThreads(memo *m) {
    std::vector<std::thread> threads;
    for (int t = 0; t < THREADS; t++) {
        threads.emplace_back([=] { GetAndForget(m, ROUNDS); });
    }
    for (std::thread &t : threads) {
        t.join();
    }
}

// Each in a process of its own, for what the sandbox forbids is asked for once.
void FromTheStart() {
    ForbidMembarrier(false);
    memo *m = New();
    InThreads(m);
    memo_check(m);
    memo_free(m);
    Require(made == destroyed, "not all are destroyed");
    _exit(0);
}

void Meanwhile() {
    memo *m = New();
    std::thread before([=] { GetAndForget(m, ROUNDS); });
    GetAndForget(m, ROUNDS);
    memo_value held;
    Require(memo_get(m, "held", 4, &held) == 0, "get");
    ForbidMembarrier(true);
    InThreads(m);
    before.join();
    Require(memo_invalidate(m, "held", 4) == 0, "invalidate");
    Require(*static_cast<const int *>(held.data) == 1, "destroyed while held");
    memo_release(&held);
    memo_check(m);
    memo_free(m);
    _exit(0);
}

// The others may still do what this one mustn't.
void InOneThread() {
    memo *m = New();
    GetAndForget(m, ROUNDS);
    std::thread([=] {
        ForbidMembarrier(false);
        GetAndForget(m, ROUNDS);
    }).join();
    GetAndForget(m, ROUNDS);
    memo_check(m);
    memo_free(m);
    Require(made == destroyed, "not all are destroyed");
    _exit(0);
}

// The machine is asked what it is when a cache is made, and not by the first hit.
void WithoutFiles() {
    memo *m = New(int64_t(1) << 40);
    Forbid(SYS_openat, SECCOMP_RET_KILL_PROCESS, false);
    GetAndForget(m, 100);
    for (int i = 0; i < 100; i++) {
        memo_value v;
        Require(memo_get(m, "k", 1, &v) == 0, "get");
        memo_release(&v);
    }
    _exit(0);
}

class Sandbox : public testing::Test {
   public:
    Sandbox() {
        testing::FLAGS_gtest_death_test_style = "fast";
    }
};

TEST_F(Sandbox, ForbidsHeavyFencesFromTheStart) {
    EXPECT_EXIT(FromTheStart(), testing::ExitedWithCode(0), "");
}

TEST_F(Sandbox, ForbidsHeavyFencesMeanwhile) {
    EXPECT_EXIT(Meanwhile(), testing::ExitedWithCode(0), "");
}

TEST_F(Sandbox, ForbidsHeavyFencesInOneThread) {
    EXPECT_EXIT(InOneThread(), testing::ExitedWithCode(0), "");
}

TEST_F(Sandbox, ForbidsFilesOnceTheCacheIsMade) {
    EXPECT_EXIT(WithoutFiles(), testing::ExitedWithCode(0), "");
}

}  // namespace
