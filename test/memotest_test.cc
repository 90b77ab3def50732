// The experiments of A. Donovan and B. Kernighan, "The Go Programming Language",
// 9.7, on this cache; then what they don't ask: very many callers, and hits
// while everybody else stands still.
#include <gtest/gtest.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/seed.h"
#include "test/support/thread.h"

namespace {

MEMO_LONG_SUITE(Memotest);

constexpr int Many(int n) {
    return MEMO_TEST_SANITIZED ? n / 10 : n;
}

// Peek at key without allocating; whether it is there, with this value.
bool IsHit(memo *m, const std::string &key, const std::string &bytes) {
    memo_value v;
    bool right = memo_peek(m, key.data(), key.size(), &v) == 0 &&
                 v.from == MEMO_HIT && v.size == bytes.size() &&
                 std::memcmp(v.data, bytes.data(), v.size) == 0;

    memo_release(&v);
    return right;
}

// ------------------------------------------------------------------ 9.7

std::vector<std::string> IncomingUrls() {
    return {"https://golang.org",      "https://godoc.org",
            "https://play.golang.org", "http://gopl.io",
            "https://golang.org",      "https://godoc.org",
            "https://play.golang.org", "http://gopl.io"};
}

// Stands for the web, and counts who asks for what.
class Web {
   public:
    int Fetch(memo_load *l) {
        {
            std::lock_guard<std::mutex> lock(mu_);
            fetched_[KeyOf(l)]++;
        }
        return Return(l, "<html>" + KeyOf(l) + "</html>");
    }

    // How often each was fetched.
    std::map<std::string, int> Fetched() {
        std::lock_guard<std::mutex> lock(mu_);
        return fetched_;
    }

   private:
    std::mutex mu_;
    std::map<std::string, int> fetched_;
};

void ExpectEachFetchedOnce(Web &web) {
    std::map<std::string, int> once;

    for (const std::string &url : IncomingUrls()) {
        once[url] = 1;
    }
    EXPECT_EQ(web.Fetched(), once);
}

TEST_P(Memotest, Sequential) {
    Web web;
    Cache cache(GetParam(), [&](memo_load *l) { return web.Fetch(l); });
    int n = 0;

    for (const std::string &url : IncomingUrls()) {
        std::string page = "<html>" + url + "</html>";
        EXPECT_EQ(cache.GetPlain(url), n++ < 4 ? Loaded(page) : Hit(page));
    }
    ExpectEachFetchedOnce(web);
}

// F1; and F2, for each fetch waits until all have begun.
TEST_P(Memotest, Concurrent) {
    Web web;
    std::atomic<int> begun{0}, right{0};
    Cache cache(GetParam(), [&](memo_load *l) {
        begun++;
        Await([&] { return begun >= 4; });
        return web.Fetch(l);
    });
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (const std::string &url : IncomingUrls()) {
            threads.emplace_back(new Thread([&, url] {
                right += cache.GetPlain(url).bytes == "<html>" + url + "</html>";
            }));
        }
    }
    EXPECT_EQ(right, 8);
    ExpectEachFetchedOnce(web);
}

// ------------------------------------------------------------------ many

// F1
TEST_P(Memotest, TenThousandThreadsAndOneLoad) {
    const int kThreads = Many(10000);
    struct Shared {
        Gate gate;
        std::atomic<int> loads{0}, right{0};
        memo *m = nullptr;
    } shared;
    Cache cache(GetParam(), [&](memo_load *l) {
        shared.loads++;
        shared.gate.Wait();
        return Return(l, "value");
    });
    std::vector<pthread_t> threads;
    pthread_attr_t attr;
    auto get = [](void *arg) -> void * {
        auto *s = static_cast<Shared *>(arg);
        memo_value v;
        if (memo_get(s->m, "k", 1, &v) == 0 && v.size == 5 &&
            std::memcmp(v.data, "value", 5) == 0) {
            s->right++;
        }
        memo_release(&v);
        return nullptr;
    };

    shared.m = cache;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 128 << 10);
    for (int i = 0; i < kThreads; i++) {
        pthread_t t;
        ASSERT_EQ(pthread_create(&t, &attr, get, &shared), 0) << i;
        threads.push_back(t);
    }
    pthread_attr_destroy(&attr);
    Await([&] {
        usleep(1000);  // the others have better use for the processor
        return cache.Stats().joins == uint64_t(kThreads - 1);
    });
    EXPECT_EQ(shared.right, 0);
    shared.gate.Open();
    for (pthread_t t : threads) {
        pthread_join(t, nullptr);
    }
    EXPECT_EQ(shared.loads, 1);
    EXPECT_EQ(shared.right, kThreads);
}

// H2
TEST_P(Memotest, ReadersNeverMissWhileAWriterGrowsTheTable) {
    // Each write is a message, with a monitor.
    const int kResident = Many(
        GetParam().engine == MEMO_ENGINE_MONITOR ? 5000 : 200000);
    Cache cache(GetParam(), LoadInBrackets,
                [](memo_options *o) { o->allocator = nullptr; });
    std::atomic<bool> done{false};
    std::atomic<int> misses{0}, looked{0};

    for (int i = 0; i < kResident; i++) {
        ASSERT_EQ(cache.Put(Key(uint64_t(i)), Key(uint64_t(i))), 0);
    }
    auto read = [&](unsigned seed) {
        std::minstd_rand random(seed);
        while (!done) {
            std::string key = Key(random() % unsigned(kResident));
            misses += !IsHit(cache, key, key);
            looked++;
        }
    };
    Thread a([&] { read(Seed()); }), b([&] { read(Seed() + 1); });
    for (int i = kResident; i < 4 * kResident; i++) {
        ASSERT_EQ(cache.Put(Key(uint64_t(i)), ""), 0);
    }
    done = true;
    a.Join();
    b.Join();
    EXPECT_EQ(misses, 0);
    EXPECT_GT(looked, 0);
    EXPECT_EQ(cache.Stats().entries, uint64_t(4 * kResident));
}

// ------------------------------------------------------------------ H2

void PutMany(Cache &cache, int n) {
    for (int i = 0; i < n; i++) {
        EXPECT_EQ(cache.Put(Key(uint64_t(i)), Key(uint64_t(i))), 0);
    }
}

// If a hit waits, this doesn't return.
int Hits(memo *m, int n) {
    int hits = 0;

    for (int i = 0; i < n; i++) {
        std::string key = Key(uint64_t(i));
        hits += IsHit(m, key, key);
    }
    return hits;
}

TEST_P(Memotest, HitsDoNotWaitForALoad) {
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        gate.Wait();
        return LoadInBrackets(l);
    });
    PutMany(cache, 1000);
    Thread t([&] { EXPECT_EQ(cache.Get("slow"), Loaded("<slow>")); });

    Await([&] { return gate.Waiting() == 1; });
    EXPECT_EQ(Hits(cache, 1000), 1000);
    EXPECT_FALSE(gate.IsOpen());
    gate.Open();
}

TEST_P(Memotest, HitsDoNotWaitForADestructor) {
    Gate gate;
    Cache cache(GetParam(), [&](memo_load *l) {
        return cache.objects.Adopt(l, "object");
    });
    cache.objects.on_destroy = [&](const std::string &) { gate.Wait(); };
    PutMany(cache, 1000);
    EXPECT_EQ(cache.Get("object"), Loaded("object"));
    Thread t([&] { EXPECT_EQ(cache.Invalidate("object"), 0); });

    Await([&] { return gate.Waiting() == 1; });
    EXPECT_EQ(Hits(cache, 1000), 1000);
    gate.Open();
}

TEST_P(Memotest, NobodyWaitsForWhoHoldsValues) {
    Gate gate;
    Cache cache(GetParam());
    PutMany(cache, 1000);
    Thread t([&] {
        std::vector<Value> held;
        for (int i = 0; i < 100; i++) {
            held.push_back(cache.Hold(Key(uint64_t(i))));
        }
        gate.Wait();
        for (int i = 0; i < 100; i++) {
            EXPECT_EQ(held[size_t(i)].Bytes(), Key(uint64_t(i)));
        }
    });

    Await([&] { return gate.Waiting() == 1; });
    EXPECT_EQ(Hits(cache, 1000), 1000);
    EXPECT_EQ(cache.Invalidate("k0"), 0);
    EXPECT_EQ(cache.Put("k1", "new"), 0);
    EXPECT_EQ(cache.Get("k0"), Loaded("<k0>"));
    EXPECT_EQ(memo_clear(cache), 0);
    EXPECT_EQ(cache.Get("k1"), Loaded("<k1>"));
    gate.Open();
}

// ------------------------------------------------------- other threads

std::atomic<int> stopped{0};
std::atomic<bool> go_on{true};

// Ask something of every other thread of this process.
template <typename Function>
void ForEachOtherThread(Function f) {
    DIR *tasks = opendir("/proc/self/task");

    ASSERT_NE(tasks, nullptr);
    while (dirent *d = readdir(tasks)) {
        int tid = std::atoi(d->d_name);
        if (tid > 0 && tid != gettid()) {
            f(tid);
        }
    }
    closedir(tasks);
}

// Stop all of them, wherever they are; return how many.
int StopOthers() {
    struct sigaction action = {};
    int n = 0;

    go_on = false;
    action.sa_handler = [](int) {
        stopped++;
        while (!go_on) {
            sched_yield();
        }
        stopped--;
    };
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, nullptr);
    ForEachOtherThread([&](int tid) {
        n += syscall(SYS_tgkill, getpid(), tid, SIGUSR2) == 0;
    });
    Await([&] { return stopped == n; });
    return n;
}

// In the middle of any write, of owning a shard, of a reclamation.
TEST_P(Memotest, HitsDoNotWaitForThreadsStoppedAnywhere) {
#if MEMO_TEST_SANITIZED
    GTEST_SKIP() << "sanitizers put signals off, and have threads of their own";
#endif
    const int kResident = 300;
    Cache cache(GetParam());
    std::atomic<bool> done{false};
    std::vector<std::string> keys;

    PutMany(cache, kResident);
    for (int i = 0; i < kResident; i++) {
        keys.push_back(Key(uint64_t(i)));
    }
    Thread writer([&] {
        for (uint64_t i = kResident; !done; i++) {
            cache.Put(Key(i), "filling");
            cache.Invalidate(Key(i - i % 3));
            cache.GetPlain("x" + Key(i % 1000));
        }
    });
    for (int round = 0; round < 100; round++) {
        int hits = 0, n = StopOthers();
        for (const std::string &key : keys) {
            hits += IsHit(cache, key, key);
        }
        go_on = true;
        Await([] { return stopped == 0; });
        EXPECT_EQ(hits, kResident);
        EXPECT_GE(n, 1);
        std::this_thread::yield();
    }
    done = true;
}

// ------------------------------------------------------------------ H1

// Gives memory of pages that can be made read-only all at once.
class Pages {
   public:
    Pages() {
        start_ = static_cast<unsigned char *>(
            mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        EXPECT_NE(start_, MAP_FAILED);
    }

    ~Pages() {
        munmap(start_, kSize);
    }

    memo_allocator Hook() {
        return {[](void *self, size_t size) -> void * {
                    auto *p = static_cast<Pages *>(self);
                    size_t at = p->used_.fetch_add((size + 63) / 64 * 64);
                    return at + size > kSize ? nullptr : p->start_ + at;
                },
                [](void *, void *, size_t) {}, this, nullptr};
    }

    void Protect(int protection) {
        EXPECT_EQ(mprotect(start_, kSize, protection), 0);
    }

   private:
    static constexpr size_t kSize = 64 << 20;
    unsigned char *start_;
    std::atomic<size_t> used_{0};
};

struct Mapping {
    uintptr_t begin, end;
    bool readable, writable;
};

std::vector<Mapping> Mappings() {
    std::ifstream in("/proc/self/maps");
    std::vector<Mapping> all;
    std::string line;

    while (std::getline(in, line)) {
        unsigned long begin, end;
        char readable, writable;
        if (sscanf(line.c_str(), "%lx-%lx %c%c", &begin, &end, &readable,
                   &writable) == 4) {
            all.push_back({begin, end, readable == 'r', writable == 'w'});
        }
    }
    return all;
}

// Where a cache keeps its tables: the large stretch that is mapped now and wasn't
// before.
Mapping Tables(const std::vector<Mapping> &before) {
    Mapping found = {};

    for (const Mapping &m : Mappings()) {
        bool is_new = true;
        for (const Mapping &old : before) {
            is_new = is_new && (m.end <= old.begin || old.end <= m.begin);
        }
        if (is_new && m.begin == found.end) {
            found.end = m.end;
        } else if (is_new && found.end - found.begin < (uintptr_t(1) << 30)) {
            found = m;
        }
    }
    return found;
}

// Change what of it has been written to.
void ProtectTables(const Mapping &tables, int protection) {
    for (const Mapping &m : Mappings()) {
        if (tables.begin <= m.begin && m.end <= tables.end &&
            m.readable && m.writable == (protection == PROT_READ)) {
            EXPECT_EQ(mprotect(reinterpret_cast<void *>(m.begin),
                               m.end - m.begin, protection),
                      0);
        }
    }
}

bool IsAsleep(int tid) {
    std::ifstream in("/proc/self/task/" + std::to_string(tid) + "/stat");
    std::string stat;

    std::getline(in, stat);
    size_t name_end = stat.rfind(')');
    return name_end != std::string::npos && stat[name_end + 2] == 'S';
}

// What the allocator gave - the entries, the cache, its shards - is read-only,
// and hits by all doors go on as if nothing had happened.  So are the buckets,
// where no thread of the cache's own begins to run before they can be told.
TEST_P(Memotest, HitsWriteNothingOnceUsesAreSaturated) {
    const int kResident = 1000;
    Pages pages;
    memo_allocator hook = pages.Hook();
    memo_options options = OptionsOf(GetParam());
    memo *m;

    options.allocator = &hook;
    options.load = [](void *, memo_load *) { return 1; };
    std::vector<Mapping> before = Mappings();
    ASSERT_EQ(memo_new(&options, &m), 0);
    Mapping tables = {};
    if (options.engine == MEMO_ENGINE_LOCK) {
        tables = Tables(before);
        EXPECT_GE(tables.end - tables.begin, uintptr_t(1) << 30);
    }
    for (int i = 0; i < kResident; i++) {
        std::string key = Key(uint64_t(i));
        ASSERT_EQ(memo_put(m, key.data(), key.size(), key.data(), key.size()),
                  0);
    }
    auto hit_all = [&] {
        int right = 0;
        for (int i = 0; i < kResident; i++) {
            std::string key = Key(uint64_t(i));
            memo_bytes bytes = {key.data(), key.size()};
            memo_value v;
            int error;
            right += IsHit(m, key, key);
            right += memo_get(m, key.data(), key.size(), &v) == 0 &&
                     v.from == MEMO_HIT && v.size == key.size();
            memo_release(&v);
            right += memo_get_wait(m, key.data(), key.size(), nullptr, &v) == 0;
            memo_release(&v);
            right += memo_get_many(m, &bytes, 1, nullptr, &v, &error) == 0;
            memo_release(&v);
        }
        return right;
    };
    EXPECT_EQ(hit_all(), 4 * kResident);
    // A monitor may still be about to finish its last step.
    ForEachOtherThread([](int tid) { Await([&] { return IsAsleep(tid); }); });
    pages.Protect(PROT_READ);
    ProtectTables(tables, PROT_READ);
    EXPECT_EQ(hit_all(), 4 * kResident);
    {
        Thread another([&] { EXPECT_EQ(hit_all(), 4 * kResident); });
    }
    pages.Protect(PROT_READ | PROT_WRITE);
    ProtectTables(tables, PROT_READ | PROT_WRITE);
    memo_free(m);
}

}  // namespace
