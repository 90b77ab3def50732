// Dependencies between keys: D1, and with them I1 and I2.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"
#include "test/support/timed_cache.h"

namespace {

MEMO_SUITE(Depend);
MEMO_SUITE(DependAuto);
MEMO_SUITE(DependTime);

// The value of another key, made a part of l's.
std::string Part(memo_load *l, const std::string &key) {
    Value v;
    int error = memo_load_get(l, key.data(), key.size(), nullptr, v.out());
    return error == 0 ? v.Bytes() : memo_error_name(error);
}

// A key is a list of keys in brackets, or a leaf: "[ab[cd]]" is made from "a", "b"
// and "[cd]", of which the leaves are made from `source`.  So what a value was made
// from can be read in it.
class Nest {
   public:
    explicit Nest(const Config &config,
                  std::function<void(memo_options *)> tweak = nullptr)
        : cache(config, [this](memo_load *l) { return Load(l); }, tweak) {
    }

    // A leaf gets a new value; the cache isn't told.
    void Set(char leaf, const std::string &bytes) {
        source[leaf] = bytes;
    }

    std::string Get(const std::string &key) {
        Value v;
        EXPECT_EQ(memo_get(cache, key.data(), key.size(), v.out()), 0);
        return v.Bytes();
    }

    bool Has(const std::string &key) {
        return cache.Peek(key).error == 0;
    }

    std::map<char, std::string> source;
    int loads = 0;
    Cache cache;

   private:
    int Load(memo_load *l) {
        std::string key = KeyOf(l), value = "(", part;
        int depth = 0;

        loads++;
        if (key.size() == 1) {
            return Return(l, source[key[0]]);
        }
        for (size_t i = 1; i + 1 < key.size(); i++) {
            depth += (key[i] == '[') - (key[i] == ']');
            part += key[i];
            if (depth == 0) {
                value += Part(l, part);
                part.clear();
            }
        }
        return Return(l, value + ")");
    }
};

// D1: whatever changes a key takes along what was made from it.
TEST_P(Depend, AValueGoesWithWhatItWasMadeFrom) {
    using Change = std::function<int(Cache &)>;
    const std::pair<const char *, Change> changes[] = {
        {"invalidate", [](Cache &cache) { return cache.Invalidate("a"); }},
        {"put", [](Cache &cache) { return cache.Put("a", "2"); }},
        {"clear", [](Cache &cache) { return memo_clear(cache); }},
        {"refresh", [](Cache &cache) { return memo_refresh(cache, "a", 1); }},
    };
    for (const auto &change : changes) {
        SCOPED_TRACE(change.first);
        Nest nest(GetParam());
        nest.Set('a', "1");
        nest.Set('b', "x");
        EXPECT_EQ(nest.Get("[ab]"), "(1x)");
        EXPECT_EQ(nest.Get("[b]"), "(x)");
        nest.Set('a', "2");
        EXPECT_EQ(nest.Get("[ab]"), "(1x)");
        EXPECT_EQ(change.second(nest.cache), 0);
        EXPECT_FALSE(nest.Has("[ab]"));
        EXPECT_EQ(nest.Has("[b]"), std::string(change.first) != "clear");
        EXPECT_EQ(nest.Get("[ab]"), "(2x)");
        EXPECT_TRUE(nest.Has("[ab]"));
        memo_check(nest.cache);
    }
}

// D1: however long the chain, and by whatever way.
TEST_P(Depend, IsTransitive) {
    Nest nest(GetParam());
    std::string key = "a";
    std::vector<std::string> keys;

    nest.Set('a', "1");
    nest.Set('b', "x");
    for (int i = 0; i < 40; i++) {
        key = "[" + key + (i % 5 == 0 ? "b]" : "]");
        keys.push_back(key);
    }
    nest.Get(key);
    EXPECT_EQ(nest.loads, 42);
    for (const std::string &each : keys) {
        EXPECT_TRUE(nest.Has(each));
    }
    EXPECT_EQ(nest.cache.Invalidate("a"), 0);
    for (const std::string &each : keys) {
        EXPECT_FALSE(nest.Has(each)) << each;
    }
    EXPECT_TRUE(nest.Has("b"));
    nest.Set('a', "2");
    EXPECT_NE(nest.Get(key).find("2"), std::string::npos);
    // The links of all that is between are those of the ends.
    EXPECT_EQ(nest.cache.Invalidate(keys[20]), 0);
    EXPECT_TRUE(nest.Has(keys[19]));
    EXPECT_FALSE(nest.Has(keys[21]));
    EXPECT_FALSE(nest.Has(key));
}

// A diamond: two ways to the same source.
TEST_P(Depend, OfOneValueInTwoWays) {
    Nest nest(GetParam());

    nest.Set('a', "1");
    EXPECT_EQ(nest.Get("[[a][aa]]"), "((1)(11))");
    EXPECT_EQ(nest.loads, 4);
    nest.Set('a', "2");
    EXPECT_EQ(nest.cache.Invalidate("[a]"), 0);
    EXPECT_FALSE(nest.Has("[[a][aa]]"));
    EXPECT_TRUE(nest.Has("[aa]"));
    EXPECT_EQ(nest.cache.Invalidate("a"), 0);
    EXPECT_EQ(nest.Get("[[a][aa]]"), "((2)(22))");
}

// A tag of what a value is made from is its own.
TEST_P(Depend, TakesOverTags) {
    Cache cache(GetParam(), [](memo_load *l) {
        if (KeyOf(l) == "a") {
            EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
            return Return(l, "1");
        }
        return Return(l, Part(l, KeyOf(l).substr(1)));
    });

    EXPECT_EQ(cache.Get("xxxa"), Loaded("1"));
    EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
    for (const char *key : {"a", "xa", "xxa", "xxxa"}) {
        EXPECT_EQ(cache.Peek(key), Failed(MEMO_ENOENT)) << key;
    }
}

// Whatever shards the keys are in.
TEST_P(Depend, AcrossShards) {
    const int kKeys = 200;
    Nest nest(GetParam());
    std::string all = "[";

    for (int i = 0; i < kKeys; i++) {
        nest.Set(char(i % 60 + 2), Key(i));
        std::string leaf(1, char(i % 60 + 2));
        all += leaf;
        nest.Get("[" + leaf + "]");
    }
    nest.Get(all + "]");
    for (int i = 0; i < 60; i += 7) {
        std::string leaf(1, char(i + 2));
        EXPECT_TRUE(nest.Has("[" + leaf + "]"));
        EXPECT_EQ(nest.cache.Invalidate(leaf), 0);
        EXPECT_FALSE(nest.Has("[" + leaf + "]"));
        EXPECT_FALSE(nest.Has(all + "]"));
        nest.Get(all + "]");
        EXPECT_TRUE(nest.Has(all + "]"));
    }
}

// What is dropped for want of room has not changed.
TEST_P(Depend, EvictionIsNoChange) {
    Config config = GetParam();
    config.shards = 1;
    Nest nest(config, [](memo_options *options) { options->max_entries = 20; });

    nest.Set('a', "1");
    EXPECT_EQ(nest.Get("[a]"), "(1)");
    for (int i = 0; i < 3000; i++) {
        EXPECT_EQ(nest.Get("[a]"), "(1)");
        EXPECT_EQ(nest.cache.Put("p" + Key(i % 40), "v"), 0);
        (void)nest.Has("p" + Key((i + 37) % 40));
    }
    EXPECT_EQ(nest.loads, 2);
    EXPECT_FALSE(nest.Has("a"));
    EXPECT_TRUE(nest.Has("[a]"));
    EXPECT_EQ(nest.Get("a"), "1");
    EXPECT_TRUE(nest.Has("[a]"));
    EXPECT_EQ(nest.cache.Invalidate("a"), 0);
    EXPECT_FALSE(nest.Has("[a]"));
}

// Also if the source isn't there any more: a change is a change.
TEST_P(Depend, AnAbsentSourceCanChange) {
    Nest nest(GetParam());

    nest.Set('a', "1");
    nest.Get("[[a]]");
    EXPECT_EQ(nest.cache.Invalidate("[a]"), 0);
    EXPECT_FALSE(nest.Has("[[a]]"));
    nest.Get("[[a]]");
    EXPECT_EQ(nest.cache.Put("a", "put"), 0);
    EXPECT_EQ(nest.Get("[[a]]"), "((put))");
}

// To have found nothing is to depend on that.
TEST_P(Depend, AValueMadeFromNothingGoesWhenThereIsSomething) {
    Cache cache(GetParam(), [](memo_load *l) {
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        Value v;
        if (KeyOf(l) == "a") {
            return 42;
        }
        int error = KeyOf(l) == "peeks"
                        ? memo_load_get(l, "a", 1, &no_load, v.out())
                        : memo_load_get(l, "a", 1, nullptr, v.out());
        EXPECT_EQ(v.IsEmpty(), error != 0);
        return Return(l, error == 0 ? v.Bytes() : "nothing");
    });

    EXPECT_EQ(cache.Get("peeks"), Loaded("nothing"));
    EXPECT_EQ(cache.Get("loads"), Loaded("nothing"));
    EXPECT_EQ(cache.Put("a", "1"), 0);
    EXPECT_EQ(cache.Get("peeks"), Loaded("1"));
    EXPECT_EQ(cache.Get("loads"), Loaded("1"));
}

// ------------------------------------------------------------------ races

// The old value was used; then it was changed; then the load ended.
TEST_P(Depend, WhatChangedBeforeTheEndOfTheLoadCounts) {
    for (bool load_anew : {false, true}) {
        PendingCache cache(GetParam());
        EXPECT_EQ(memo_invalidate_tag(cache, "the first", 9), 0);
        cache.Finish(cache.Start("b"), "old b");
        memo_load *l = cache.Start("a");
        Thread joiner([&] { EXPECT_EQ(cache.Get("a"), Detached("old a")); });
        cache.AwaitJoins(1);
        EXPECT_EQ(Part(l, "b"), "old b");
        EXPECT_EQ(cache.Invalidate("b"), 0);
        if (load_anew) {
            cache.Finish(cache.Start("b"), "new b");
        }
        // Who comes now starts anew; what is older can't get in his way.
        memo_load *next = cache.Start("a");
        EXPECT_NE(next, l);
        cache.Finish(l, "old a");
        joiner.Join();
        EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
        cache.Finish(next, "new a");
        EXPECT_EQ(cache.Get("a"), Hit("new a"));
    }
}

// What had changed before it was used doesn't count: the load has the new value.
TEST_P(Depend, WhatChangedBeforeItWasUsedDoesntCount) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("a");

    EXPECT_EQ(cache.Put("b", "old b"), 0);
    EXPECT_EQ(cache.Put("b", "new b"), 0);
    EXPECT_EQ(Part(l, "b"), "new b");
    cache.Finish(l, "new a");
    EXPECT_EQ(cache.Get("a"), Hit("new a"));
    EXPECT_EQ(cache.Put("b", "newer b"), 0);
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
}

// Nor does the load of a source that was out of date, of which this is the first
// use.
TEST_P(Depend, WhatIsLoadedForItIsNotAChange) {
    Nest nest(GetParam());

    for (int i = 0; i < 5; i++) {
        nest.Set('a', Key(i));
        EXPECT_EQ(nest.cache.Get("[[a]]"), Loaded("((" + Key(i) + "))"));
        EXPECT_TRUE(nest.Has("[[a]]"));
        EXPECT_EQ(nest.cache.Invalidate("a"), 0);
    }
    EXPECT_EQ(nest.loads, 15);
}

// I2: what waited for a load that was detached is out of date like that.
TEST_P(Depend, OnALoadThatIsDetached) {
    for (bool by_tag : {false, true}) {
        PendingCache cache(GetParam());
        EXPECT_EQ(memo_invalidate_tag(cache, "the first", 9), 0);
        memo_load *b = cache.Start("b"), *a = cache.Start("a");
        Thread thread([&] {
            EXPECT_EQ(Part(a, "b"), "old b");
            cache.Finish(a, "old a");
        });
        cache.AwaitJoins(1);
        if (by_tag) {
            EXPECT_EQ(memo_load_add_tag(b, "t", 1), 0);
            EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
        } else {
            EXPECT_EQ(cache.Invalidate("b"), 0);
        }
        cache.Finish(b, "old b");
        thread.Join();
        EXPECT_EQ(cache.Peek("b"), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
    }
}

// I1: a load that began in the middle of memo_clear() may have used what was about
// to go; here, between two shards.
TEST_P(Depend, NothingMadeFromWhatWasClearedStays) {
    Nest nest(GetParam());

    nest.Set('a', "1");
    nest.Get("[a]");
    EXPECT_EQ(memo_clear(nest.cache), 0);
    nest.Set('a', "2");
    EXPECT_EQ(nest.Get("[a]"), "(2)");
    EXPECT_TRUE(nest.Has("[a]"));
}

// ------------------------------------------------------------------ cycles

// Each is made from what the other was.
TEST_P(Depend, CyclesDoNoHarm) {
    std::map<std::string, std::string> other = {{"a", "b"}, {"b", "a"}};
    int n = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        const std::string &key = other[KeyOf(l)];
        Value v;
        (void)memo_load_get(l, key.data(), key.size(), &no_load, v.out());
        return Return(l, std::to_string(n++));
    });

    for (int i = 0; i < 3; i++) {
        cache.Get("a");
        cache.Get("b");
        EXPECT_EQ(memo_refresh(cache, "a", 1), 0);
        EXPECT_EQ(cache.Peek("a").error, 0);  // it hasn't put itself out of date
        EXPECT_EQ(cache.Peek("b"), Failed(MEMO_ENOENT));
        cache.Get("b");
        EXPECT_EQ(memo_refresh(cache, "b", 1), 0);
        EXPECT_EQ(cache.Peek("b").error, 0);
        EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
        cache.Get("a");
        EXPECT_EQ(cache.Invalidate(i % 2 == 0 ? "a" : "b"), 0);
        EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Peek("b"), Failed(MEMO_ENOENT));
    }
}

// A value made from the old one of the same key doesn't go when it replaces that.
TEST_P(Depend, OnItsOwnKeyMeansNothing) {
    int n = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
        Value v;
        EXPECT_EQ(memo_load_depend_key(l, "k", 1), 0);
        (void)memo_load_get(l, "k", 1, &no_load, v.out());
        return Return(l, std::to_string(n++));
    });

    cache.Get("k");
    EXPECT_EQ(cache.Get("k"), Hit("0"));
    EXPECT_EQ(memo_refresh(cache, "k", 1), 0);
    EXPECT_EQ(cache.Get("k"), Hit("1"));
    EXPECT_EQ(cache.Stats().sources, 0u);
}

// W4: to wait in a cycle is an error as ever.
TEST_P(Depend, ToWaitInACycleIsADeadlock) {
    Cache cache(GetParam(), [](memo_load *l) {
        return Return(l, Part(l, KeyOf(l) == "a" ? "b" : "a"));
    });

    EXPECT_EQ(cache.Get("a"), Loaded("MEMO_EDEADLK"));
    EXPECT_EQ(cache.Get("b"), Hit("MEMO_EDEADLK"));
}

// ------------------------------------------------------------------ by value

// A value got in another way.
TEST_P(Depend, OnAValueInHand) {
    Cache cache(GetParam(), [&](memo_load *l) {
        std::string key = KeyOf(l);
        if (key == "leaf") {
            return Return(l, "1");
        }
        Value v;
        key = key.substr(1);
        EXPECT_EQ(memo_get(cache, key.data(), key.size(), v.out()), 0);
        EXPECT_EQ(memo_load_depend(l, &*v), 0);
        EXPECT_EQ(memo_load_depend(l, &*v), 0);  // again: fine
        return Return(l, v.Bytes());
    });

    EXPECT_EQ(cache.Get("xxleaf"), Loaded("1"));
    EXPECT_EQ(cache.Get("xxleaf"), Hit("1"));
    EXPECT_EQ(cache.Invalidate("leaf"), 0);
    EXPECT_EQ(cache.Peek("xleaf"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("xxleaf"), Failed(MEMO_ENOENT));
}

// Whatever became of it since: what it was made from is in the value.
TEST_P(Depend, OnAValueThatIsNoLongerResident) {
    PendingCache cache(GetParam());
    auto start_b = [&](const std::string &bytes) {
        memo_load *b = cache.Start("b");
        EXPECT_EQ(memo_load_add_tag(b, "t", 1), 0);
        cache.Finish(b, bytes);
    };

    start_b("b");
    memo_load *a = cache.Start("a");
    Value v = cache.Hold("b");
    EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
    EXPECT_EQ(cache.Peek("b"), Failed(MEMO_ENOENT));
    start_b("new b");
    EXPECT_EQ(memo_load_depend(a, &*v), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));

    // And if it was the key itself that changed.
    a = cache.Start("a");
    v = cache.Hold("b");
    EXPECT_EQ(cache.Put("b", "put"), 0);
    EXPECT_EQ(memo_load_depend(a, &*v), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
}

TEST_P(Depend, OnAValueOfAnotherCacheIsRefused) {
    PendingCache cache(GetParam()), other(GetParam());
    memo_load *b = other.Start("b");

    EXPECT_EQ(memo_load_add_tag(b, "t", 1), 0);
    other.Finish(b, "b");
    Value v = other.Hold("b");
    memo_load *a = cache.Start("a");
    EXPECT_EQ(memo_load_depend(a, &*v), int(MEMO_EINVAL));
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Get("a"), Hit("a"));
}

// Though nothing of that cache has tags or times, as those of this one have.
TEST_P(Depend, OnAPlainValueOfAnotherCacheIsRefused) {
    Cache other(GetParam());
    Value resident = other.Hold("b"), gone = other.Hold("c");
    int errors[2] = {0, 0};
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            errors[0] = memo_load_depend(l, &*resident);
            errors[1] = memo_load_depend(l, &*gone);
            return LoadInBrackets(l);
        },
        [](memo_options *o) { o->idle_ttl_ns = kSecond; });

    EXPECT_EQ(other.Invalidate("c"), 0);
    EXPECT_EQ(cache.Put("b", "of the same key"), 0);
    EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
    EXPECT_EQ(errors[0], int(MEMO_EINVAL));
    EXPECT_EQ(errors[1], int(MEMO_EINVAL));
    EXPECT_EQ(cache.Get("a"), Hit("<a>"));
    EXPECT_EQ(cache.Stats().sources, 0u);
}

// What the load has is the new value, as can be seen.
TEST_P(Depend, OnTheValueThatIsResidentNow) {
    PendingCache cache(GetParam());
    memo_load *a = cache.Start("a");

    EXPECT_EQ(cache.Put("b", "old b"), 0);
    EXPECT_EQ(cache.Put("b", "new b"), 0);
    EXPECT_EQ(memo_load_depend(a, &*cache.Hold("b")), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Get("a"), Hit("a"));
    EXPECT_EQ(cache.Put("b", "newer b"), 0);
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
}

// By name alone.
TEST_P(Depend, OnAKey) {
    PendingCache cache(GetParam());
    EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
    memo_load *a = cache.Start("a");

    EXPECT_EQ(memo_load_depend_key(a, "b", 1), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Get("a"), Hit("a"));
    EXPECT_EQ(cache.Invalidate("b"), 0);
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));

    a = cache.Start("a");
    EXPECT_EQ(cache.Put("b", "since the load began"), 0);
    EXPECT_EQ(memo_load_depend_key(a, "b", 1), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
}

// The first of all comes too late to know what has happened before.
TEST_P(Depend, OnAKeyWhoseHistoryIsUnknown) {
    PendingCache cache(GetParam());
    memo_load *a = cache.Start("a");

    EXPECT_EQ(cache.Put("b", "since the load began"), 0);
    EXPECT_EQ(memo_load_depend_key(a, "b", 1), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
    a = cache.Start("a");
    EXPECT_EQ(memo_load_depend_key(a, "b", 1), 0);
    cache.Finish(a, "a");
    EXPECT_EQ(cache.Get("a"), Hit("a"));
}

// ------------------------------------------------------------------ by itself

auto kAuto = [](memo_options *options) { options->flags |= MEMO_DEPEND_AUTO; };

// D1: every way to get.
TEST_P(DependAuto, EveryGetCounts) {
    using Way = std::function<int(memo *, memo_value *)>;
    const std::pair<const char *, Way> ways[] = {
        {"get", [](memo *m, memo_value *v) { return memo_get(m, "b", 1, v); }},
        {"wait", [](memo *m,
                    memo_value *v) { return memo_get_wait(m, "b", 1, nullptr,
                                                          v); }},
        {"peek", [](memo *m, memo_value *v) { return memo_peek(m, "b", 1, v); }},
        {"many", [](memo *m, memo_value *v) {
             memo_bytes key = {"b", 1};
             int error;
             return memo_get_many(m, &key, 1, nullptr, v, &error);
         }}};
    for (const auto &way : ways) {
        for (bool resident : {true, false}) {
            SCOPED_TRACE(way.first);
            Cache cache(
                GetParam(),
                [&](memo_load *l) {
                    if (KeyOf(l) == "c" || KeyOf(l) == "b") {
                        EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
                        return LoadInBrackets(l);
                    }
                    Value v;
                    int error = way.second(cache, v.out());
                    return Return(l, error == 0 ? v.Bytes() : "nothing");
                },
                kAuto);
            if (resident) {
                EXPECT_EQ(cache.Get("b"), Loaded("<b>"));
                EXPECT_EQ(cache.Get("b"), Hit("<b>"));
                EXPECT_EQ(cache.GetPlain("b"), Hit("<b>"));
            }
            bool peeks = !resident && std::string(way.first) == "peek";
            EXPECT_EQ(cache.Get("a"), Loaded(peeks ? "nothing" : "<b>"));
            EXPECT_EQ(cache.Get("a"), Hit(peeks ? "nothing" : "<b>"));
            EXPECT_EQ(cache.Put("b", "2"), 0);
            EXPECT_EQ(cache.Get("a"), Loaded("2"));
            EXPECT_EQ(cache.Invalidate("b"), 0);
            cache.Get("b");
            EXPECT_EQ(cache.Get("a"), Loaded("<b>"));
            EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
            EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
        }
    }
}

// Loads in loads: each depends on what it got itself, and so on.
TEST_P(DependAuto, LoadsInLoads) {
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            std::string key = KeyOf(l);
            if (key.size() == 1) {
                return LoadInBrackets(l);
            }
            Value v;
            EXPECT_EQ(memo_get(cache, &key[1], key.size() - 1, v.out()), 0);
            return Return(l, v.Bytes());
        },
        kAuto);

    EXPECT_EQ(cache.Get("dcba"), Loaded("<a>"));
    EXPECT_EQ(cache.Invalidate("ba"), 0);
    EXPECT_EQ(cache.Peek("a"), Hit("<a>"));
    EXPECT_EQ(cache.Peek("ba"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("cba"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("dcba"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("dcba"), Loaded("<a>"));
    EXPECT_EQ(cache.Invalidate("a"), 0);
    EXPECT_EQ(cache.Peek("dcba"), Failed(MEMO_ENOENT));
}

// All keys of a bulk load depend on what it gets.
TEST_P(DependAuto, BulkLoads) {
    static memo *m;
    Cache cache(GetParam(), LoadInBrackets, [](memo_options *options) {
        options->flags |= MEMO_DEPEND_AUTO;
        options->load_many = [](void *, memo_load *const loads[], size_t n) {
            Value v;
            EXPECT_EQ(memo_get(m, "leaf", 4, v.out()), 0);
            for (size_t i = 0; i < n; i++) {
                EXPECT_EQ(Return(loads[i], v.Bytes()), 0);
            }
            return 0;
        };
    });
    m = cache;
    memo_bytes keys[] = {{"a", 1}, {"b", 1}};
    memo_value v[2];
    int errors[2];

    EXPECT_EQ(memo_get_many(cache, keys, 2, nullptr, v, errors), 0);
    memo_release(&v[0]);
    memo_release(&v[1]);
    EXPECT_EQ(cache.Peek("a"), Hit("<leaf>"));
    EXPECT_EQ(cache.Invalidate("leaf"), 0);
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("b"), Failed(MEMO_ENOENT));
}

// C4: what is for one caller alone doesn't reach others inside of something else.
TEST_P(DependAuto, WhatIsMadeFromPassIsForItsCallerToo) {
    for (bool is_timed : {false, true}) {
        for (unsigned flags : {0u, MEMO_DEPEND_AUTO}) {
            std::atomic<int> made{0};
            Cache cache(
                GetParam(),
                [&](memo_load *l) {
                    Value v;
                    if (KeyOf(l) == "own") {
                        EXPECT_EQ(memo_load_pass(l), 0);
                        return Return(l, std::to_string(++made));
                    }
                    if (flags == 0) {
                        EXPECT_EQ(memo_load_get(l, "own", 3, nullptr, v.out()),
                                  0);
                    } else {
                        EXPECT_EQ(memo_get(cache, "own", 3, v.out()), 0);
                    }
                    return Return(l, "from " + v.Bytes());
                },
                [&](memo_options *options) {
                    options->flags |= flags;
                    options->ttl_ns = is_timed ? 1000 * kSecond : 0;
                });

            EXPECT_EQ(cache.Get("a"), Loaded("from 1"));
            EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
            EXPECT_EQ(cache.Get("a"), Loaded("from 2"));
            EXPECT_EQ(cache.Stats().passes, 4u);
        }
    }
}

// What is got outside of loads, or from another cache, means nothing.
TEST_P(DependAuto, OnlyOnTheSameCache) {
    Cache other(GetParam(), LoadInBrackets, kAuto);
    Cache cache(
        GetParam(),
        [&](memo_load *l) {
            other.Get("b");
            return LoadInBrackets(l);
        },
        kAuto);

    cache.Get("b");
    cache.Get("a");
    EXPECT_EQ(cache.Get("a"), Hit("<a>"));
    EXPECT_EQ(cache.Invalidate("b"), 0);
    EXPECT_EQ(other.Invalidate("b"), 0);
    EXPECT_EQ(cache.Get("a"), Hit("<a>"));
    EXPECT_EQ(cache.Stats().sources, 0u);
}

// Without the option nothing is recorded, and nothing is paid.
TEST_P(DependAuto, NotUnlessAskedFor) {
    Cache cache(GetParam(), [&](memo_load *l) {
        if (KeyOf(l) == "a") {
            cache.Get("b");
        }
        return LoadInBrackets(l);
    });

    cache.Get("a");
    EXPECT_EQ(cache.Invalidate("b"), 0);
    EXPECT_EQ(cache.Peek("a"), Hit("<a>"));
    EXPECT_EQ(cache.Stats().source_bytes, 0u);
}

// ------------------------------------------------------------------ time

// No value stays fresh longer than what it was made from.
TEST_P(DependTime, AValueExpiresWithWhatItWasMadeFrom) {
    TimedCache cache(
        GetParam(),
        [](memo_load *l) {
            std::string key = KeyOf(l);
            if (key == "leaf") {
                EXPECT_EQ(memo_load_set_ttl(l, 10 * kSecond), 0);
                return Return(l, "1");
            }
            return Return(l, Part(l, key.substr(1)));
        },
        [](memo_options *options) { options->ttl_ns = 100 * kSecond; });

    EXPECT_EQ(cache.Get("leaf"), Loaded("1"));
    cache.clock.Advance(4 * kSecond);
    EXPECT_EQ(cache.Get("xxleaf"), Loaded("1"));
    cache.clock.Advance(6 * kSecond - 1);
    EXPECT_EQ(cache.Get("xxleaf"), Hit("1"));
    EXPECT_EQ(cache.Get("xleaf"), Hit("1"));
    cache.clock.Advance(1);
    EXPECT_EQ(cache.Get("xxleaf"), Loaded("1"));
}

// What is made from a value that stands in isn't fresh longer than that does, though
// the next attempt is later than that, or under way.
TEST_P(DependTime, AValueExpiresWithWhatStandsIn) {
    for (bool probed : {false, true}) {
        int n = 0;
        memo_load *probe = nullptr;
        memo_wait at_once = Until(1);
        TimedCache cache(
            GetParam(),
            [&](memo_load *l) {
                if (KeyOf(l) != "k") {
                    return Return(l, Part(l, "k"));
                }
                probe = l;
                return n++ == 0   ? LoadInBrackets(l)
                       : n == 2 ? 42
                                : int{MEMO_PENDING};
            },
            [&](memo_options *options) {
                options->ttl_ns = 10 * kSecond;
                options->stale_if_error_ns = 10 * kSecond;
                options->backoff_ns = probed ? kSecond : 100 * kSecond;
            });

        EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
        cache.clock.Advance(10 * kSecond);
        EXPECT_EQ(cache.Get("k"), Stale("<k>"));
        cache.clock.Advance(9 * kSecond);
        if (probed) {
            EXPECT_EQ(cache.Get("k", &at_once), Failed(MEMO_ETIMEDOUT));
        }
        EXPECT_EQ(cache.Get("made"), Loaded("<k>"));
        EXPECT_EQ(cache.Get("made"), Hit("<k>"));
        cache.clock.Advance(kSecond);
        EXPECT_EQ(cache.Peek("made"), Failed(MEMO_ENOENT));
        if (probed) {
            EXPECT_EQ(memo_load_finish(probe, 42), 0);
        }
    }
}

// T3: a refresh of the source is a change, if it gives a new value; not if it finds
// the old one good.
TEST_P(DependTime, ARefreshIsAChangeUnlessNothingWasModified) {
    int n = 0;
    bool modified = false;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            Value old;
            if (KeyOf(l) != "leaf") {
                return Return(l, Part(l, "leaf"));
            }
            if (!modified && memo_load_old(l, old.out()) == 0) {
                return memo_load_not_modified(l);
            }
            return Return(l, std::to_string(n++));
        },
        [](memo_options *options) { options->refresh_after_ns = 10 * kSecond; });

    EXPECT_EQ(cache.Get("leaf"), Loaded("0"));
    EXPECT_EQ(cache.Get("a"), Loaded("0"));
    EXPECT_EQ(memo_refresh(cache, "leaf", 4), 0);
    EXPECT_EQ(cache.Get("a"), Hit("0"));
    modified = true;
    EXPECT_EQ(memo_refresh(cache, "leaf", 4), 0);
    EXPECT_EQ(cache.Get("a"), Loaded("1"));
    EXPECT_EQ(cache.Get("a"), Hit("1"));
}

// I1, T4: what is out of date doesn't stand in for a load that fails.
TEST_P(DependTime, WhatIsOutOfDateDoesntStandIn) {
    bool fails = false;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
            return fails ? 42 : LoadInBrackets(l);
        },
        [](memo_options *options) {
            options->ttl_ns = 10 * kSecond;
            options->stale_if_error_ns = 100 * kSecond;
        });

    EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
    fails = true;
    cache.clock.Advance(10 * kSecond);
    EXPECT_EQ(cache.Get("a").from, uint32_t(MEMO_STALE));
    EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
    EXPECT_EQ(cache.Get("a"), Failed(42));
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
}

// Not even if it wasn't yet when the load began.
TEST_P(DependTime, WhatBecomesOutOfDateDoesntStandIn) {
    std::atomic<memo_load *> load{nullptr};
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            Value old;
            if (memo_load_old(l, old.out()) == 0) {
                load = l;
                return int{MEMO_PENDING};
            }
            EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
            return LoadInBrackets(l);
        },
        [](memo_options *options) {
            options->ttl_ns = 10 * kSecond;
            options->stale_if_error_ns = 100 * kSecond;
        });

    for (bool changes : {false, true}) {
        EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
        cache.clock.Advance(10 * kSecond);
        load = nullptr;
        Thread thread([&] {
            Seen seen = cache.Get("a");
            EXPECT_EQ(seen.error, changes ? 42 : 0);
            EXPECT_EQ(seen.from, uint32_t(changes ? MEMO_NOWHERE : MEMO_STALE));
        });
        Await([&] { return load != nullptr; });
        if (changes) {
            EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
        }
        EXPECT_EQ(memo_load_finish(load, 42), 0);
        thread.Join();
        EXPECT_EQ(cache.Invalidate("a"), 0);
    }
}

// I1, I2, T3: nor does a refresh that finds it good.
TEST_P(DependTime, WhatIsOutOfDateIsNotFoundGood) {
    std::atomic<memo_load *> load{nullptr};
    std::atomic<int> n{0};
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            Value old;
            if (memo_load_old(l, old.out()) == 0) {
                load = l;
                return int{MEMO_PENDING};
            }
            EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
            return Return(l, std::to_string(n++));
        },
        [](memo_options *options) { options->refresh_after_ns = 10 * kSecond; });

    EXPECT_EQ(cache.Get("a"), Loaded("0"));
    EXPECT_EQ(memo_refresh(cache, "a", 1), 0);
    EXPECT_EQ(cache.Get("a"), Hit("0"));
    EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
    // Who comes now joins the refresh, for it hasn't said yet what it will be.
    Thread late([&] { EXPECT_EQ(cache.Get("a"), Loaded("1")); });
    cache.AwaitJoins(1);
    EXPECT_EQ(memo_load_not_modified(load), 0);
    EXPECT_EQ(memo_load_finish(load, 0), 0);
    late.Join();
    EXPECT_EQ(cache.Get("a"), Hit("1"));
    EXPECT_EQ(cache.Stats().detached, 1u);
}

// E2: an error that is kept has tags as well.
TEST_P(DependTime, AKeptErrorGoesWithItsTag) {
    int error = MEMO_ENOENT;
    TimedCache cache(
        GetParam(),
        [&](memo_load *l) {
            EXPECT_EQ(memo_load_add_tag(l, "t", 1), 0);
            return error == 0 ? LoadInBrackets(l)
                   : error == MEMO_ENOENT ? memo_load_not_found(l)
                                          : error;
        },
        [](memo_options *options) {
            options->negative_ttl_ns = 100 * kSecond;
            options->backoff_ns = 100 * kSecond;
        });

    for (int kept : {int{MEMO_ENOENT}, 42}) {
        error = kept;
        EXPECT_EQ(cache.Get("a").error, kept);
        error = 0;
        EXPECT_EQ(cache.Get("a").error, kept);
        EXPECT_EQ(memo_invalidate_tag(cache, "t", 1), 0);
        EXPECT_EQ(cache.Get("a"), Loaded("<a>"));
        EXPECT_EQ(cache.Invalidate("a"), 0);
    }
}

// A put can have tags.
TEST_P(DependTime, APutCanHaveTags) {
    TimedCache cache(GetParam(), LoadInBrackets, [](memo_options *options) {
        options->ttl_ns = 100 * kSecond;
    });
    const memo_bytes tags[] = {{"s", 1}, {"t", 1}, {"t", 1}};
    memo_put_options put = {};
    put.size = sizeof(put);
    put.tags = tags;
    put.n_tags = 3;
    put.ttl_ns = 10 * kSecond;

    for (const char *tag : {"s", "t"}) {
        EXPECT_EQ(memo_put_with(cache, "a", 1, "1", 1, &put), 0);
        EXPECT_EQ(cache.Get("a"), Hit("1"));
        EXPECT_EQ(memo_invalidate_tag(cache, tag, 1), 0);
        EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
    }
    put.tags = nullptr;
    EXPECT_EQ(memo_put_with(cache, "a", 1, "1", 1, &put), int(MEMO_EINVAL));
    const memo_bytes bad[] = {{nullptr, 1}};
    put.tags = bad;
    put.n_tags = 1;
    EXPECT_EQ(memo_put_with(cache, "a", 1, "1", 1, &put), int(MEMO_EINVAL));
    EXPECT_EQ(cache.Peek("a"), Failed(MEMO_ENOENT));
}

}  // namespace
