// Changes of keys and tags at random, by several threads, while values are made from
// others that have them: nobody gets what is out of date.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"
#include "test/support/seed.h"
#include "test/support/thread.h"

namespace {

MEMO_LONG_SUITE(ChangeStress);

constexpr int kThreads = 3;
constexpr int kKeys = 24;
constexpr int kSources = kKeys + 6;  // and tags
constexpr int kLinks = 40;           // of a value, at most
constexpr int kSteps = MEMO_TEST_SANITIZED ? 1500 : 6000;

// What a value says of itself: what it hangs on, and the version of that.
struct Made {
    int key, n;
    struct {
        int source;
        uint64_t version;
    } link[kLinks];

    void Add(int source, uint64_t version) {
        if (n < kLinks) {
            link[n++] = {source, version};
        }
    }
};

class Changes {
   public:
    Changes(const Config &config, std::function<void(memo_options *)> tweak)
        : cache_(config, [this](memo_load *l) { return Load(l); },
                 [&](memo_options *o) {
                     hook_ = clock_.Hook();
                     listener_ = {Told, this};
                     o->clock = &hook_;
                     tweak(o);
                     if (o->ttl_ns != 0) {
                         o->listener = &listener_;
                     }
                 }) {
    }

    void Run() {
        {
            std::vector<std::unique_ptr<Thread>> threads;
            for (int i = 0; i < kThreads; i++) {
                threads.emplace_back(new Thread([this, i] { Work(i); }));
            }
        }
        memo_check(cache_);
        EXPECT_GT(answers_, 0);
        EXPECT_EQ(outdated_, 0);
        EXPECT_EQ(memo_clear(cache_), 0);
        cache_.AwaitNoneRetired();
        Await([&] {
            memo_maintain(cache_, clock_.Now());
            return cache_.Stats().sources == 0;
        });
        EXPECT_EQ(cache_.Stats().bytes, 0u);
    }

   private:
    using Random = std::minstd_rand;

    static int Below(Random &random, int n) {
        return int(random() % unsigned(n));
    }

    static void Told(void *self, memo_cause, const void *, size_t,
                     const memo_value *v) {
        auto *all = static_cast<Changes *>(self);
        Made made;
        std::memcpy(&made, v->data, sizeof(made));
        if (made.key < 0 || made.key >= kKeys) {
            all->outdated_++;
        }
    }

    static std::string Tag(int source) {
        return "tag" + std::to_string(source);
    }

    // ------------------------------------------------------------ loads

    int Load(memo_load *l) {
        thread_local Random random{unsigned(gettid())};
        int key = std::stoi(KeyOf(l).substr(1));
        Made made = {};
        uint64_t versions[kSources];

        for (int i = 0; i < kSources; i++) {
            versions[i] = version_[i];
        }
        made.key = key;
        made.Add(key, versions[key]);
        for (int n = Below(random, 3); n > 0; n--) {
            int tag = kKeys + Below(random, kSources - kKeys);
            EXPECT_EQ(memo_load_add_tag(l, Tag(tag).data(), Tag(tag).size()), 0);
            made.Add(tag, versions[tag]);
        }
        for (int n = key == kKeys - 1 ? 0 : Below(random, 3); n > 0; n--) {
            // Of greater keys only: so nobody waits for himself.
            if (!Use(l, key + 1 + Below(random, kKeys - key - 1), random, &made)) {
                return 1;
            }
        }
        switch (Below(random, 12)) {
        case 0:
            return 7;
        case 1:
            return memo_load_not_found(l);
        case 2:
            if (memo_load_not_modified(l) == 0) {
                return 0;
            }
            break;
        case 3:
            memo_load_pass(l);
            break;
        }
        std::string bytes(sizeof(made) + size_t(Below(random, 100)), 'x');
        std::memcpy(&bytes[0], &made, sizeof(made));
        return Below(random, 2) == 0 ? cache_.objects.Adopt(l, bytes)
                                     : Return(l, bytes);
    }

    bool Use(memo_load *l, int key, Random &random, Made *made) {
        std::string k = Key(uint64_t(key));
        Value v;
        int error = Below(random, 2) == 0
                        ? memo_load_get(l, k.data(), k.size(), nullptr, v.out())
                        : memo_get(cache_, k.data(), k.size(), v.out());

        if (error == 0 && memo_load_depend(l, &*v) != 0) {
            return false;
        }
        if (error == 0 && v->from != MEMO_DETACHED) {
            Made from;
            std::memcpy(&from, v->data, sizeof(from));
            for (int i = 0; i < from.n && from.key == key; i++) {
                if (from.link[i].source != made->key) {
                    made->Add(from.link[i].source, from.link[i].version);
                }
            }
        }
        return true;
    }

    // ------------------------------------------------------------ steps

    void Check(int key, const uint64_t floor[], int error, const memo_value &v) {
        Made made;

        if (error != 0) {
            return;
        }
        answers_++;
        std::memcpy(&made, v.data, sizeof(made));
        if (made.key != key) {
            outdated_++;
            return;
        }
        for (int i = 0; i < made.n && v.from != MEMO_DETACHED; i++) {
            if (made.link[i].version < floor[made.link[i].source]) {
                outdated_++;
            }
        }
    }

    template <typename Change>
    void Outdate(int source, Change change) {
        uint64_t version = ++version_[source];

        EXPECT_EQ(change(version), 0);
        uint64_t floor = floor_[source];
        while (floor < version &&
               !floor_[source].compare_exchange_weak(floor, version)) {
        }
    }

    // Some keys are changed by one thread only, so that puts have an order.
    bool MayPut(int thread, int key) const {
        return key % 4 == 0 && key / 4 % kThreads == thread;
    }

    void Put(int key, Random &random) {
        std::string k = Key(uint64_t(key));
        int tag = kKeys + Below(random, kSources - kKeys);
        std::string t = Tag(tag);
        memo_bytes tags[] = {{t.data(), t.size()}};
        memo_put_options put = {};
        put.size = sizeof(put);
        put.tags = tags;
        put.n_tags = size_t(Below(random, 2));
        Outdate(key, [&](uint64_t version) {
            Made made = {};
            made.key = key;
            made.Add(key, version);  // the tag counts from some later moment
            return memo_put_with(cache_, k.data(), k.size(), &made, sizeof(made),
                                 &put);
        });
    }

    void Work(int thread) {
        Random random(Seed() * unsigned(kThreads) + unsigned(thread));
        for (int i = 0; i < kSteps; i++) {
            Step(thread, random);
            if (i % 500 == 499) {
                memo_check(cache_);
            }
        }
    }

    void Step(int thread, Random &random) {
        int key = Below(random, kKeys);
        std::string k = Key(uint64_t(key));
        uint64_t floor[kSources];
        int op = Below(random, 16);
        Value v;

        for (int i = 0; i < kSources; i++) {
            floor[i] = floor_[i];
        }
        if (op < 8) {
            memo_wait wait = With(Below(random, 4) == 0 ? MEMO_WAIT_STRICT : 0u);
            Check(key, floor,
                  memo_get_wait(cache_, k.data(), k.size(), &wait, v.out()), *v);
        } else if (op < 10) {
            Check(key, floor, memo_peek(cache_, k.data(), k.size(), v.out()), *v);
        } else if (op == 10) {
            (void)memo_refresh(cache_, k.data(), k.size());
        } else if (op == 11) {
            memo_maintain(cache_, clock_.Now());
        } else if (op == 12) {
            clock_.Advance(Below(random, 200));
        } else if (op == 13) {
            int tag = kKeys + Below(random, kSources - kKeys);
            Outdate(tag, [&](uint64_t) {
                return memo_invalidate_tag(cache_, Tag(tag).data(),
                                           Tag(tag).size());
            });
        } else if (MayPut(thread, key)) {
            Put(key, random);
        } else if (key % 4 != 0) {
            Outdate(key, [&](uint64_t) {
                return memo_invalidate(cache_, k.data(), k.size());
            });
        }
    }

    std::atomic<uint64_t> version_[kSources] = {};  // raised before it is asked for
    std::atomic<uint64_t> floor_[kSources] = {};    // raised when it is done
    std::atomic<int> answers_{0}, outdated_{0};
    FakeClock clock_;
    memo_clock hook_;
    memo_listener listener_;
    Cache cache_;
};

// I1, D1
TEST_P(ChangeStress, NobodyGetsWhatIsOutOfDate) {
    Changes(GetParam(), [](memo_options *) {}).Run();
}

TEST_P(ChangeStress, NorThoughTimePassesAndValuesMakeRoom) {
    Changes(GetParam(), [](memo_options *o) {
        o->ttl_ns = 3000;
        o->idle_ttl_ns = 2000;
        o->refresh_after_ns = 500;
        o->stale_if_error_ns = 1000;
        o->negative_ttl_ns = 200;
        o->backoff_ns = 50;
        o->pass_ttl_ns = 100;
        o->max_entries = 16;
    }).Run();
}

TEST_P(ChangeStress, NorInASmallCacheOfBytes) {
    Changes(GetParam(), [](memo_options *o) {
        o->max_bytes = 16000;
        o->policy = MEMO_POLICY_SIZE;
        o->flags = MEMO_DEPEND_AUTO;
    }).Run();
}

}  // namespace
