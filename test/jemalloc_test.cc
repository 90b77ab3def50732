// A jemalloc arena for a cache: what it counts is what there is, and it goes at
// once, but not before the last value.
#include "memo/jemalloc.h"

#include <gtest/gtest.h>
#include <jemalloc/jemalloc.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Arena);

std::string Key(uint64_t i) {
    return "k" + std::to_string(i);
}

int LoadOfManySizes(memo_load *l) {
    std::string key = KeyOf(l);
    return Return(l, std::string(std::stoul(key.substr(1)) * 37 % 3000, 'x'));
}

struct memo_jemalloc_stats StatsOf(memo_jemalloc *j) {
    struct memo_jemalloc_stats stats = {};
    stats.size = sizeof(stats);
    EXPECT_EQ(memo_jemalloc_stats(j, &stats), 0);
    return stats;
}

// A cache in an arena.
struct InArena {
    explicit InArena(const Config &config, LoadFunction load = LoadOfManySizes,
                     uint64_t max_bytes = 0) {
        EXPECT_EQ(memo_jemalloc_new(&j), 0);
        memo_allocator allocator = memo_jemalloc_allocator(j);
        cache = std::make_unique<Cache>(config, std::move(load),
                                        [&](memo_options *o) {
                                            o->allocator = &allocator;
                                            o->max_bytes = max_bytes;
                                        });
    }

    memo_jemalloc *j = nullptr;
    std::unique_ptr<Cache> cache;
};

unsigned Arenas() {
    unsigned n = 0;
    size_t size = sizeof(n);
    EXPECT_EQ(mallctl("arenas.narenas", &n, &size, nullptr, 0), 0);
    return n;
}

// C1: no factor at all.
TEST_P(Arena, StatsAgreeWithTheArena) {
    InArena in(GetParam(), LoadOfManySizes, 4000000);
    uint64_t empty = StatsOf(in.j).allocated;

    for (uint64_t i = 0; i < 8000; i++) {
        in.cache->GetPlain(Key(i));
    }
    Await([&] {
        memo_maintain(*in.cache, 0);
        return in.cache->Stats().retired == 0;
    });
    struct memo_stats stats = in.cache->Stats();
    EXPECT_GT(stats.evictions, 0u);
    EXPECT_EQ(stats.bytes, StatsOf(in.j).allocated - empty);
    in.cache.reset();
    EXPECT_EQ(StatsOf(in.j).blocks, 0u);
    EXPECT_EQ(StatsOf(in.j).allocated, 0u);
    EXPECT_EQ(memo_jemalloc_free(in.j), 0);
}

// V2, and the same with everything left to the arena.
TEST_P(Arena, ObjectsAreDestroyedOnce) {
    for (bool leave : {false, true}) {
        Objects objects;
        InArena in(GetParam(), [&](memo_load *l) {
            return objects.Adopt(l, KeyOf(l));
        }, 100000);
        for (uint64_t i = 0; i < 3000; i++) {
            in.cache->GetPlain(Key(i));
        }
        if (leave) {
            memo_jemalloc_leave(in.j);
        }
        in.cache.reset();
        EXPECT_EQ(objects.Destroyed(), 3000);
        EXPECT_EQ(memo_jemalloc_free(in.j), 0);
    }
}

// V1: what is held stays, though everything else has gone.
TEST_P(Arena, ValuesHeldOutliveTheArenasEnd) {
    unsigned before = Arenas();

    for (int round = 0; round < 20; round++) {
        InArena in(GetParam());
        for (uint64_t i = 0; i < 500; i++) {
            in.cache->GetPlain(Key(i));
        }
        Value held = in.cache->Hold(Key(77)), other = in.cache->Hold(Key(78));
        if (round % 2 == 0) {
            memo_jemalloc_leave(in.j);
        }
        in.cache.reset();
        EXPECT_EQ(memo_jemalloc_free(in.j), MEMO_EBUSY);
        EXPECT_EQ(held.Seen(0).bytes, std::string(77 * 37 % 3000, 'x'));
        Thread([&] { held.Release(); });
        EXPECT_EQ(other.Seen(0).bytes, std::string(78 * 37 % 3000, 'x'));
        other.Release();
    }
    EXPECT_LE(Arenas(), before + 1);  // they were used again, so they had gone
}

#if !MEMO_TEST_SANITIZED
double ResidentMib() {
    long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    EXPECT_EQ(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return double(resident) * double(sysconf(_SC_PAGESIZE)) / 0x1p20;
}

// What 100 MiB took up is given back to the system.
TEST_P(Arena, AllMemoryGoesBackAtTheEnd) {
    InArena in(GetParam(), [](memo_load *l) {
        return Return(l, std::string(20000, 'x'));
    });
    double before = ResidentMib();

    for (uint64_t i = 0; i < 5000; i++) {
        in.cache->GetPlain(Key(i));
    }
    EXPECT_GT(ResidentMib(), before + 80);
    EXPECT_GT(StatsOf(in.j).resident, 80u << 20);
    memo_jemalloc_leave(in.j);
    in.cache.reset();
    EXPECT_GT(ResidentMib(), before + 80);
    EXPECT_EQ(memo_jemalloc_free(in.j), 0);
    EXPECT_LT(ResidentMib(), before + 20);
}
#endif

TEST_P(Arena, HoldsUnderStress) {
    const int kThreads = 4, kOps = 4000;
    InArena in(GetParam(), LoadOfManySizes, 300000);
    {
        std::vector<std::unique_ptr<Thread>> threads;
        for (int t = 0; t < kThreads; t++) {
            threads.emplace_back(new Thread([&, t] {
                std::mt19937_64 random(t);
                for (int i = 0; i < kOps; i++) {
                    std::string key = Key(random() % 1000);
                    if (random() % 8 == 0) {
                        in.cache->Put(key, "put");
                    } else {
                        in.cache->GetPlain(key);
                    }
                }
            }));
        }
    }
    memo_jemalloc_leave(in.j);
    in.cache.reset();
    EXPECT_EQ(memo_jemalloc_free(in.j), 0);
}

// Several caches may share an arena.
TEST_P(Arena, GoesWithTheLastCache) {
    memo_jemalloc *j = nullptr;
    ASSERT_EQ(memo_jemalloc_new(&j), 0);
    memo_allocator allocator = memo_jemalloc_allocator(j);
    auto use = [&](memo_options *o) { o->allocator = &allocator; };
    auto a = std::make_unique<Cache>(GetParam(), LoadInBrackets, use);
    auto b = std::make_unique<Cache>(GetParam(), LoadInBrackets, use);

    EXPECT_EQ(a->Get("k"), Loaded("<k>"));
    EXPECT_EQ(memo_jemalloc_free(j), MEMO_EBUSY);
    EXPECT_EQ(b->Get("k"), Loaded("<k>"));
    a.reset();
    EXPECT_EQ(b->Get("k"), Hit("<k>"));
    b.reset();
}

// max_bytes, without an allocator of one's own: malloc is jemalloc's in this
// program, and its sizes aren't glibc's.
TEST(Malloc, SizesAreThoseOfTheMallocThatThereIs) {
    for (size_t size : {1, 100, 1000, 2100, 5000, 70000}) {
        Config config = {"", 1, MEMO_ENGINE_LOCK};
        memo_options options = OptionsOf(config);
        memo *m = nullptr;
        options.load = [](void *, memo_load *l) { return LoadInBrackets(l); };
        ASSERT_EQ(memo_new(&options, &m), 0);
        std::string value(size, 'x');
        ASSERT_EQ(memo_put(m, "k", 1, value.data(), value.size()), 0);
        struct memo_stats stats = {};
        stats.size = sizeof(stats);
        memo_stats(m, &stats);
        EXPECT_GE(stats.bytes, size + 17);
        EXPECT_EQ(stats.bytes, nallocx(stats.bytes, 0));
        EXPECT_EQ(stats.bytes, nallocx(size + 32, 0));
        memo_free(m);
    }
}

TEST(Jemalloc, ArgumentsThatAreNone) {
    struct memo_jemalloc_stats stats = {};
    memo_jemalloc *j = nullptr;

    EXPECT_EQ(memo_jemalloc_new(nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_jemalloc_stats(nullptr, &stats), MEMO_EINVAL);
    EXPECT_EQ(memo_jemalloc_free(nullptr), 0);
    memo_jemalloc_leave(nullptr);
    memo_allocator none = memo_jemalloc_allocator(nullptr);
    memo_options options = {};
    options.size = sizeof(options);
    options.load = [](void *, memo_load *) { return 1; };
    options.allocator = &none;
    memo *m;
    EXPECT_EQ(memo_new(&options, &m), MEMO_EINVAL);
    ASSERT_EQ(memo_jemalloc_new(&j), 0);
    EXPECT_EQ(memo_jemalloc_stats(j, nullptr), MEMO_EINVAL);
    EXPECT_EQ(memo_jemalloc_stats(j, &stats), MEMO_EINVAL);  // no size
    EXPECT_EQ(memo_jemalloc_free(j), 0);
}

TEST(Jemalloc, MoreArenasThanThereAreAreRefused) {
    std::vector<memo_jemalloc *> all;
    memo_jemalloc *j = nullptr;
    int error;

    while ((error = memo_jemalloc_new(&j)) == 0 && all.size() < 10000) {
        all.push_back(j);
    }
    EXPECT_EQ(error, MEMO_ENOMEM);
    EXPECT_EQ(j, nullptr);
    EXPECT_GT(all.size(), 1000u);
    for (memo_jemalloc *arena : all) {
        EXPECT_EQ(memo_jemalloc_free(arena), 0);
    }
    EXPECT_EQ(memo_jemalloc_new(&j), 0);
    EXPECT_EQ(memo_jemalloc_free(j), 0);
}

// E4
TEST_P(Arena, WhatTheArenaHasNotIsOutOfMemory) {
    InArena in(GetParam(), [](memo_load *l) {
        return memo_load_reserve(l, SIZE_MAX / 4) == nullptr
                   ? MEMO_ENOMEM
                   : LoadInBrackets(l);
    });

    EXPECT_EQ(in.cache->Get("k"), Failed(MEMO_ENOMEM));
    EXPECT_EQ(in.cache->Put("k", "v"), 0);
    in.cache.reset();
    EXPECT_EQ(memo_jemalloc_free(in.j), 0);
}

}  // namespace
