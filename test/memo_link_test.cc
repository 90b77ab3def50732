// Tags: I1 to I3 for what hangs on more than its own
// key.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/gate.h"
#include "test/support/keys.h"
#include "test/support/seed.h"
#include "test/support/pending_cache.h"
#include "test/support/thread.h"

namespace {

MEMO_SUITE(Tags);

int AddTag(memo_load *l, const std::string &tag) {
    return memo_load_add_tag(l, tag.data(), tag.size());
}

int InvalidateTag(memo *m, const std::string &tag) {
    return memo_invalidate_tag(m, tag.data(), tag.size());
}

// A load that began before a cache had any tags may have been joined when anything
// happened; so make it have had some.
void HaveHadTags(memo *m) {
    EXPECT_EQ(InvalidateTag(m, "the first"), 0);
}

// The tag of a key in these tests: its first letter.
int LoadTagged(memo_load *l) {
    EXPECT_EQ(AddTag(l, KeyOf(l).substr(0, 1)), 0);
    return LoadInBrackets(l);
}

// Drop what is out of date, wherever it is.
void Sweep(Cache *cache) {
    EXPECT_EQ(memo_clear(*cache), 0);
    cache->CatchUp();
    Await([&] { return cache->Stats().retired == 0; });
}

// ------------------------------------------------------------------ tags

// I1
TEST_P(Tags, InvalidatingOneDropsWhatHasIt) {
    Cache cache(GetParam(), LoadTagged);

    for (int i = 0; i < 100; i++) {
        cache.Get("a" + Key(i));
        cache.Get("b" + Key(i));
    }
    EXPECT_EQ(cache.Stats().sources, 2u);
    EXPECT_EQ(InvalidateTag(cache, "a"), 0);
    memo_check(cache);
    for (int i = 0; i < 100; i++) {
        EXPECT_EQ(cache.Peek("a" + Key(i)), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Peek("b" + Key(i)), Hit("<b" + Key(i) + ">"));
    }
    EXPECT_EQ(cache.Get("a" + Key(1)), Loaded("<a" + Key(1) + ">"));
    EXPECT_EQ(cache.Get("a" + Key(1)), Hit("<a" + Key(1) + ">"));
}

// I1: every way to look.
TEST_P(Tags, NobodyGetsWhatIsOutOfDate) {
    Cache cache(GetParam(), LoadTagged);
    memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
    memo_bytes key = {"k", 1};
    Value v;
    int error = 0;

    cache.Get("k");
    EXPECT_EQ(cache.Get("k"), Hit("<k>"));
    EXPECT_EQ(cache.GetPlain("k"), Hit("<k>"));
    EXPECT_EQ(InvalidateTag(cache, "k"), 0);
    EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));
    EXPECT_EQ(memo_get_many(cache, &key, 1, &no_load, v.out(), &error),
              int(MEMO_ENOENT));
    EXPECT_EQ(cache.GetPlain("k"), Loaded("<k>"));
}

// I1: though somebody finds at that very moment that its many tags hold.
TEST_P(Tags, NobodyGetsWhatOthersSawGoOutOfDate) {
    Cache cache(GetParam());
    memo_bytes tags[] = {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}};
    memo_put_options put = {};
    std::atomic<bool> done{false};
    std::atomic<int> looks{0};
    int outdated = 0;

    put.size = sizeof(put);
    put.tags = tags;
    put.n_tags = 4;
    {
        Thread other([&] {
            while (!done) {
                cache.Peek("k");
                looks++;
            }
        });
        for (int i = 0; i < 3000; i++) {
            EXPECT_EQ(memo_put_with(cache, "k", 1, "v", 1, &put), 0);
            int seen = looks;
            Await([&] { return looks != seen; });
            EXPECT_EQ(InvalidateTag(cache, "a"), 0);
            outdated += cache.Peek("k").error == 0;
        }
        done = true;
    }
    EXPECT_EQ(outdated, 0);
}

TEST_P(Tags, AnUnknownTagIsNobodys) {
    Cache cache(GetParam());

    cache.Get("k");
    EXPECT_EQ(InvalidateTag(cache, "k"), 0);  // not a tag, but a key
    EXPECT_EQ(InvalidateTag(cache, ""), 0);
    EXPECT_EQ(cache.Peek("k"), Hit("<k>"));
}

// A tag is a byte string; an equal key is something else.
TEST_P(Tags, AnyBytesWillDo) {
    const std::string tags[] = {"", std::string("\0", 1), std::string("\0\0", 2),
                                "k", std::string(1000, 'x')};
    for (const std::string &mine : tags) {
        for (const std::string &other : tags) {
            Cache cache(GetParam(), [&](memo_load *l) {
                EXPECT_EQ(AddTag(l, mine), 0);
                return LoadInBrackets(l);
            });
            cache.Get("k");
            EXPECT_EQ(InvalidateTag(cache, other), 0);
            EXPECT_EQ(cache.Peek("k"),
                      mine == other ? Failed(MEMO_ENOENT) : Hit("<k>"));
        }
    }
}

TEST_P(Tags, AValueCanHaveMany) {
    const int kTags = 300;
    Cache cache(GetParam(), [&](memo_load *l) {
        for (int i = 0; i < kTags; i++) {
            EXPECT_EQ(AddTag(l, Key(i)), 0);
            EXPECT_EQ(AddTag(l, Key(i / 2)), 0);  // again: fine
        }
        return LoadInBrackets(l);
    });
    for (int i = 0; i < kTags; i += 23) {
        EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
        EXPECT_EQ(cache.Stats().sources, uint64_t(kTags));
        EXPECT_EQ(cache.Get("k"), Hit("<k>"));
        EXPECT_EQ(InvalidateTag(cache, Key(kTags)), 0);
        EXPECT_EQ(cache.Get("k"), Hit("<k>"));
        EXPECT_EQ(InvalidateTag(cache, Key(i)), 0);
    }
    memo_check(cache);
}

// Whether the value comes first or the tag, and in a cache that had no tags so far:
// it is the same value, and destroyed once.
TEST_P(Tags, TheValueIsKeptAsItWasMade) {
    const std::string large(100 * 1000, 'v');
    Objects objects;
    std::map<std::string, std::function<int(memo_load *)>> ways = {
        {"return", [&](memo_load *l) { return Return(l, "value"); }},
        {"empty", [&](memo_load *l) { return Return(l, ""); }},
        {"large", [&](memo_load *l) { return Return(l, large); }},
        {"adopt", [&](memo_load *l) { return objects.Adopt(l, "value"); }},
        {"reserve", [&](memo_load *l) {
             void *room = memo_load_reserve(l, 5);
             memcpy(room, "value", 5);
             return 0;
         }}};
    for (auto &way : ways) {
        for (int fresh = 0; fresh < 2; fresh++) {
            for (int first = 0; first < 2; first++) {
                SCOPED_TRACE(way.first);
                Cache cache(GetParam(), [&](memo_load *l) {
                    EXPECT_EQ(first ? AddTag(l, "t") : 0, 0);
                    EXPECT_EQ(way.second(l), 0);
                    EXPECT_EQ(first ? 0 : AddTag(l, "t"), 0);
                    return 0;
                });
                if (!fresh) {
                    EXPECT_EQ(InvalidateTag(cache, "first of all"), 0);
                }
                std::string value = way.first == "empty"   ? ""
                                    : way.first == "large" ? large
                                                           : "value";
                EXPECT_EQ(cache.Get("k"), Loaded(value));
                EXPECT_EQ(cache.Get("k"), Hit(value));
                EXPECT_EQ(InvalidateTag(cache, "t"), 0);
                EXPECT_EQ(cache.Get("k"), Loaded(value));
            }
        }
    }
    EXPECT_EQ(objects.Adopted(), 8);
    EXPECT_EQ(objects.Destroyed(), 8);
}

// I2
TEST_P(Tags, AFlightThatHasTheTagIsDetached) {
    PendingCache cache(GetParam());
    HaveHadTags(cache);
    memo_load *old_load = cache.Start("k");

    EXPECT_EQ(AddTag(old_load, "t"), 0);
    Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Detached("old")); });
    cache.AwaitJoins(1);
    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    // Who comes now doesn't wait for it.
    memo_load *new_load = cache.Start("k");
    EXPECT_NE(new_load, old_load);
    EXPECT_EQ(cache.Stats().detached, 1u);
    EXPECT_EQ(AddTag(new_load, "t"), 0);
    cache.Finish(new_load, "new");
    cache.Finish(old_load, "old");
    joiner.Join();
    EXPECT_EQ(cache.Get("k"), Hit("new"));
    EXPECT_EQ(cache.Stats().detached, 1u);
}

// I1: as if everybody had come after it, for that can't be told.
TEST_P(Tags, TheVeryFirstTagOfACacheMayComeTooLateToTell) {
    PendingCache cache(GetParam());
    memo_load *old_load = cache.Start("k");

    Thread joiner([&] {
        Seen seen = cache.Get("k");
        EXPECT_EQ(seen.bytes, "new") << seen;
    });
    cache.AwaitJoins(1);
    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    EXPECT_EQ(AddTag(old_load, "t"), 0);
    cache.Finish(old_load, "old");
    Await([&] { return cache.loads == 2; });
    cache.Finish(cache.last, "new");
}

// I1, I2: a load may find out its tags late, when nothing has the tag any more.
TEST_P(Tags, ATagCountsFromTheBeginOfTheLoad) {
    for (bool was_in_use : {false, true}) {
        PendingCache cache(GetParam());
        HaveHadTags(cache);
        if (was_in_use) {
            memo_load *other = cache.Start("other");
            EXPECT_EQ(AddTag(other, "t"), 0);
            cache.Finish(other, "other");
        }
        memo_load *l = cache.Start("k");
        Thread joiner([&] { EXPECT_EQ(cache.Get("k"), Detached("old")); });
        cache.AwaitJoins(1);
        EXPECT_EQ(InvalidateTag(cache, "t"), 0);
        EXPECT_EQ(cache.Invalidate("other"), 0);
        (void)memo_maintain(cache, 1);
        Await([&] { return cache.Stats().sources == 0; });
        EXPECT_EQ(AddTag(l, "u"), 0);
        EXPECT_EQ(AddTag(l, "t"), 0);
        cache.Finish(l, "old");
        joiner.Join();
        EXPECT_EQ(cache.Peek("k"), Failed(MEMO_ENOENT));
        EXPECT_EQ(cache.Stats().detached, 1u);
        l = cache.Start("k");
        EXPECT_EQ(AddTag(l, "t"), 0);
        cache.Finish(l, "new");
        EXPECT_EQ(cache.Peek("k"), Hit("new"));
    }
}

// A load isn't concerned by what happened before it began, nor by other tags.
TEST_P(Tags, OnlyWhatChangedSinceTheLoadBeganCounts) {
    PendingCache cache(GetParam());

    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    memo_load *l = cache.Start("k");
    for (int i = 0; i < 500; i++) {
        EXPECT_EQ(InvalidateTag(cache, Key(i)), 0);
        EXPECT_EQ(cache.Put(Key(i), "v"), 0);
    }
    EXPECT_EQ(AddTag(l, "t"), 0);
    cache.Finish(l, "v");
    EXPECT_EQ(cache.Get("k"), Hit("v"));
}

// However many changes a load has seen, none is missed; and those that nobody can
// ask for any more take up no room.
TEST_P(Tags, NoChangeIsForgottenAsLongAsItMatters) {
    const int kTags = 200 * 1000;
    PendingCache cache(GetParam());
    std::vector<memo_load *> loads;

    for (int i = 0; i < 20; i++) {
        loads.push_back(cache.Start("k" + Key(i)));
        EXPECT_EQ(InvalidateTag(cache, "t" + Key(i)), 0);
    }
    for (int i = 0; i < kTags; i++) {
        ASSERT_EQ(InvalidateTag(cache, Key(i)), 0);
    }
    for (int i = 0; i < 20; i++) {
        EXPECT_EQ(AddTag(loads[i], "t" + Key(i)), 0);
        cache.Finish(loads[i], "old");
        EXPECT_EQ(cache.Peek("k" + Key(i)), Failed(MEMO_ENOENT));
    }
    // A load that is younger than all that isn't suspected of anything.
    memo_load *l = cache.Start("k");
    EXPECT_EQ(AddTag(l, Key(7)), 0);
    cache.Finish(l, "new");
    EXPECT_EQ(cache.Get("k"), Hit("new"));

    uint64_t bytes = cache.Stats().source_bytes;
    for (int i = 0; i < kTags; i++) {
        ASSERT_EQ(InvalidateTag(cache, Key(i)), 0);
    }
    EXPECT_EQ(cache.Stats().source_bytes, bytes);
    EXPECT_LT(bytes, 2u << 20);
}

// I1: who asks after the tag was invalidated doesn't get what was loaded before,
// not even if only the end of the load tells that it had the tag.
TEST_P(Tags, WhoJoinedAfterTheChangeLoadsAgain) {
    PendingCache cache(GetParam());
    HaveHadTags(cache);
    memo_load *old_load = cache.Start("k");

    Thread early([&] { EXPECT_EQ(cache.Get("k"), Detached("old")); });
    cache.AwaitJoins(1);
    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    auto get_new = [&] {
        Seen seen = cache.Get("k");
        EXPECT_EQ(seen.bytes, "new") << seen;
    };
    Thread late(get_new);
    Thread many([&] {
        memo_bytes key = {"k", 1};
        Value v;
        int error = -1;
        EXPECT_EQ(memo_get_many(cache, &key, 1, nullptr, v.out(), &error), 0);
        EXPECT_EQ(v.Seen(error).bytes, "new");
    });
    cache.AwaitJoins(3);
    EXPECT_EQ(AddTag(old_load, "t"), 0);
    cache.Finish(old_load, "old");
    early.Join();
    Await([&] { return cache.loads == 2; });
    cache.AwaitJoins(4);
    cache.Finish(cache.last, "new");
    late.Join();
    many.Join();
    EXPECT_EQ(cache.Get("k"), Hit("new"));
    EXPECT_EQ(cache.loads, 2);
}

// An error of such a load is out of date as well.
TEST_P(Tags, WhoJoinedAfterTheChangeDoesntGetTheErrorEither) {
    PendingCache cache(GetParam());
    memo_load *old_load = cache.Start("k");

    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    Thread late([&] { EXPECT_EQ(cache.Get("k"), Loaded("new")); });
    cache.AwaitJoins(1);
    EXPECT_EQ(AddTag(old_load, "t"), 0);
    EXPECT_EQ(memo_load_finish(old_load, 42), 0);
    Await([&] { return cache.loads == 2; });
    cache.Finish(cache.last, "new");
}

// Answers to memo_get_async().
struct Answers {
    std::mutex mu;
    std::vector<Seen> seen;

    static void Done(void *self, int error, memo_value *value) {
        Answers *answers = static_cast<Answers *>(self);
        std::lock_guard<std::mutex> lock(answers->mu);
        answers->seen.push_back(
            {error, value->from,
             std::string(static_cast<const char *>(value->data),
                         value->size)});
        memo_release(value);
    }
    size_t Count() {
        std::lock_guard<std::mutex> lock(mu);
        return seen.size();
    }
};

TEST_P(Tags, WhoWaitsWithoutAThreadLoadsAgainToo) {
    PendingCache cache(GetParam());
    HaveHadTags(cache);
    Answers answers;
    memo_load *old_load = cache.Start("k");
    memo_ticket *early = nullptr, *late = nullptr;

    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, Answers::Done, &answers,
                             &early),
              0);
    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    EXPECT_EQ(memo_get_async(cache, "k", 1, nullptr, Answers::Done, &answers,
                             &late),
              0);
    EXPECT_EQ(AddTag(old_load, "t"), 0);
    EXPECT_EQ(cache.loads, 1);
    cache.Finish(old_load, "old");
    ASSERT_EQ(answers.Count(), 1u);
    EXPECT_EQ(answers.seen[0], Detached("old"));
    EXPECT_EQ(cache.loads, 2);
    EXPECT_EQ(memo_ticket_cancel(early), int(MEMO_EALREADY));
    cache.Finish(cache.last, "new");
    ASSERT_EQ(answers.Count(), 2u);  // W2
    EXPECT_EQ(answers.seen[1], Loaded("new"));
    EXPECT_EQ(memo_ticket_cancel(late), int(MEMO_EALREADY));
    memo_ticket_free(early);
    memo_ticket_free(late);
}

// Nobody loads for one who didn't want that.
TEST_P(Tags, WhoWaitsButDoesntLoadIsToldThatThereIsNothing) {
    PendingCache cache(GetParam());
    memo_wait no_load = With(MEMO_WAIT_NO_LOAD);
    Answers answers;
    memo_load *old_load = cache.Start("k");

    EXPECT_EQ(InvalidateTag(cache, "t"), 0);
    EXPECT_EQ(memo_get_async(cache, "k", 1, &no_load, Answers::Done, &answers,
                             nullptr),
              0);
    Thread thread([&] {
        EXPECT_EQ(cache.Get("k", &no_load), Failed(MEMO_ENOENT));
    });
    cache.AwaitJoins(2);
    EXPECT_EQ(AddTag(old_load, "t"), 0);
    cache.Finish(old_load, "old");
    ASSERT_EQ(answers.Count(), 1u);
    EXPECT_EQ(answers.seen[0], Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.loads, 1);
}

// I2
TEST_P(Tags, StrictCallersLoadAgain) {
    int loads = 0;
    Cache cache(GetParam(), [&](memo_load *l) {
        EXPECT_EQ(AddTag(l, "t"), 0);
        if (loads++ == 0) {
            EXPECT_EQ(InvalidateTag(cache, "t"), 0);
        }
        return LoadInBrackets(l);
    });
    memo_wait strict = With(MEMO_WAIT_STRICT);
    memo_bytes key = {"k", 1};
    Value v;
    int error = -1;

    EXPECT_EQ(cache.Get("k", &strict), Loaded("<k>"));
    EXPECT_EQ(loads, 2);
    loads = 0;
    EXPECT_EQ(cache.Invalidate("k"), 0);
    EXPECT_EQ(memo_get_many(cache, &key, 1, &strict, v.out(), &error), 0);
    EXPECT_EQ(v.Seen(error), Loaded("<k>"));
    EXPECT_EQ(loads, 2);
}

// A bulk load gives each of its keys its own tags.
TEST_P(Tags, BulkLoadsTagEachKey) {
    Cache cache(GetParam(), LoadTagged, [](memo_options *options) {
        options->load_many = [](void *, memo_load *const loads[], size_t n) {
            for (size_t i = 0; i < n; i++) {
                EXPECT_EQ(LoadTagged(loads[i]), 0);
            }
            return 0;
        };
    });
    memo_bytes keys[] = {{"a1", 2}, {"b1", 2}, {"a2", 2}};
    memo_value v[3];
    int errors[3];

    EXPECT_EQ(memo_get_many(cache, keys, 3, nullptr, v, errors), 0);
    for (memo_value &each : v) {
        memo_release(&each);
    }
    EXPECT_EQ(InvalidateTag(cache, "a"), 0);
    EXPECT_EQ(cache.Peek("a1"), Failed(MEMO_ENOENT));
    EXPECT_EQ(cache.Peek("b1"), Hit("<b1>"));
    EXPECT_EQ(cache.Peek("a2"), Failed(MEMO_ENOENT));
}

// The tags go with the value that had them.
TEST_P(Tags, ANewValueHasItsOwnTags) {
    Cache cache(GetParam(), LoadTagged);

    cache.Get("k");
    EXPECT_EQ(cache.Put("k", "put"), 0);
    EXPECT_EQ(InvalidateTag(cache, "k"), 0);
    EXPECT_EQ(cache.Get("k"), Hit("put"));
}

// L1: what is out of date goes by and by, and its tags with it.
TEST_P(Tags, WhatIsOutOfDateIsSwept) {
    Cache cache(GetParam(), LoadTagged);

    for (int i = 0; i < 3000; i++) {
        cache.Get("a" + Key(i));
        cache.Get("b" + Key(i));
    }
    EXPECT_EQ(InvalidateTag(cache, "a"), 0);
    int steps = 0;
    while (memo_maintain(cache, 5) != MEMO_NEVER) {
        ASSERT_LT(steps++, 100000);
        memo_check(cache);
    }
    EXPECT_EQ(cache.Stats().entries, 3000u);
    EXPECT_EQ(cache.Peek("b" + Key(1)), Hit("<b" + Key(1) + ">"));
    Await([&] { return cache.Stats().sources == 1; });
}

// L1: when some go, others come home in their place, and from chains; of these none
// that is out of date is missed.
TEST_P(Tags, WhatIsOutOfDateIsSweptWhereKeysCollide) {
    std::mt19937 random(Seed());

    for (int i = 0; i < 60; i++) {
        WeakSeed seed = OddSeed(uint64_t(i));
        Cache cache(GetParam(), LoadTagged, [&](memo_options *options) {
            seed(options);
            options->shards = 1;
        });
        unsigned stay = 0;
        for (uint64_t n = 0; n < 40; n++) {
            uint64_t letter = random() % 2 ? 'a' : 'b';
            stay += letter == 'b';
            cache.Get(seed.Key(n << 8 | letter));
        }
        EXPECT_EQ(InvalidateTag(cache, "a"), 0);
        cache.CatchUp();
        memo_check(cache);
        EXPECT_EQ(cache.Stats().entries, stay);
    }
}

TEST_P(Tags, WritesSweepToo) {
    Cache cache(GetParam(), LoadTagged);

    for (int i = 0; i < 3000; i++) {
        cache.Get("a" + Key(i));
    }
    EXPECT_EQ(InvalidateTag(cache, "a"), 0);
    for (int i = 0; i < 5000; i++) {
        EXPECT_EQ(cache.Put("b" + Key(i % 100), "v"), 0);
    }
    EXPECT_LT(cache.Stats().entries, 200u);
}

// C1: links are counted, and what has them can be evicted.
TEST_P(Tags, ABoundedCacheCountsThem) {
    Cache cache(
        GetParam(),
        [](memo_load *l) {
            for (int i = 0; i < 20; i++) {
                EXPECT_EQ(AddTag(l, KeyOf(l) + Key(i)), 0);
            }
            return LoadInBrackets(l);
        },
        [](memo_options *options) { options->max_bytes = 1 << 20; });

    for (int i = 0; i < 5000; i++) {
        cache.Get(Key(i));
        if (i % 3 == 0) {
            EXPECT_EQ(InvalidateTag(cache, Key(i / 2) + Key(3)), 0);
        }
    }
    memo_check(cache);
    EXPECT_GT(cache.Stats().evictions, 0u);
    EXPECT_LT(cache.Stats().entries, 3000u);
    Sweep(&cache);
    EXPECT_EQ(cache.Stats().sources, 0u);
}

// V1: a value that is held outlives its tags and its cache.
TEST_P(Tags, AHeldValueOutlivesItsTags) {
    Cache cache(GetParam(), LoadTagged);
    Value v = cache.Hold("k"), again = cache.Hold("k");

    EXPECT_EQ(InvalidateTag(cache, "k"), 0);
    EXPECT_EQ(cache.Get("k"), Loaded("<k>"));
    cache.Free();
    EXPECT_EQ(v.Bytes(), "<k>");
    EXPECT_EQ(again.Bytes(), "<k>");
}

// F5
TEST_P(Tags, EqualHashesDontMixThemUp) {
    const WeakSeed seeds[] = {ZeroSeed(), OddSeed(1)};
    for (const WeakSeed &seed : seeds) {
        int n = 0;
        Cache cache(
            GetParam(),
            [&](memo_load *l) {
                EXPECT_EQ(AddTag(l, seed.Key(n++)), 0);
                return LoadInBrackets(l);
            },
            seed);
        for (int i = 0; i < 50; i++) {
            cache.Get(Key(i));
        }
        memo_check(cache);
        for (int i = 0; i < 50; i++) {
            int which = i * 7 % 50;
            EXPECT_EQ(cache.Peek(Key(which)), Hit("<" + Key(which) + ">"));
            EXPECT_EQ(InvalidateTag(cache, seed.Key(which)), 0);
            EXPECT_EQ(cache.Peek(Key(which)), Failed(MEMO_ENOENT));
            EXPECT_EQ(cache.Invalidate(Key(which)), 0);
            memo_check(cache);
        }
    }
}

// E5
TEST_P(Tags, BadArgumentsAreRefused) {
    PendingCache cache(GetParam());
    memo_load *l = cache.Start("k");
    Value v;

    EXPECT_EQ(memo_invalidate_tag(nullptr, "t", 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_invalidate_tag(cache, nullptr, 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_invalidate_tag(cache, "t", MEMO_KEY_MAX + 1),
              int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_add_tag(nullptr, "t", 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_add_tag(l, nullptr, 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_add_tag(l, "t", MEMO_KEY_MAX + 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_add_tag(l, nullptr, 0), 0);
    EXPECT_EQ(memo_load_depend(nullptr, &*v), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_depend(l, nullptr), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_depend(l, &*v), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_depend_key(nullptr, "j", 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_depend_key(l, nullptr, 1), int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_get(nullptr, "j", 1, nullptr, v.out()),
              int(MEMO_EINVAL));
    EXPECT_TRUE(v.IsEmpty());
    EXPECT_EQ(memo_load_get(l, nullptr, 1, nullptr, v.out()),
              int(MEMO_EINVAL));
    EXPECT_EQ(memo_load_get(l, "j", 1, nullptr, nullptr), int(MEMO_EINVAL));
    memo_wait bad = {};
    EXPECT_EQ(memo_load_get(l, "j", 1, &bad, v.out()), int(MEMO_EINVAL));
    EXPECT_TRUE(v.IsEmpty());

    memo_load_retain(l);
    cache.Finish(l, "v");
    EXPECT_EQ(AddTag(l, "t"), int(MEMO_EALREADY));
    EXPECT_EQ(memo_load_depend_key(l, "j", 1), int(MEMO_EALREADY));
    EXPECT_EQ(memo_load_get(l, "j", 1, nullptr, v.out()),
              int(MEMO_EALREADY));
    EXPECT_EQ(memo_load_depend(l, &*cache.Hold("k")), int(MEMO_EALREADY));
    memo_load_release(l);
    EXPECT_EQ(memo_invalidate_tag(cache, nullptr, 0), 0);
    EXPECT_EQ(memo_close(cache, MEMO_NEVER), 0);
    EXPECT_EQ(InvalidateTag(cache, "t"), int(MEMO_ECLOSED));
}

}  // namespace
