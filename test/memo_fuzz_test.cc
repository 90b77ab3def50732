// Everything, at random, beside a simple model of what the contract permits: what an
// answer may be, and what must still be there.
//
// The same each time.  For a campaign:
//
//     FUZZ_STEPS=20000 memo_fuzz_test --gtest_random_seed=N
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "memo/memo.h"
#include "test/support/cache.h"
#include "test/support/fake_clock.h"
#include "test/support/keys.h"
#include "test/support/pending_cache.h"

namespace {

constexpr int kKeys = 24;
constexpr int kTags = 6;
constexpr int kError = 7;
constexpr int64_t kStart = 1000000;
constexpr unsigned kRuns = 2;

int64_t After(int64_t at, int64_t span) {
    return at > INT64_MAX - span ? INT64_MAX : at + span;
}

// A key (below kKeys) or a tag (from there on).
struct Link {
    int source;
    uint64_t as_of;
};

// A value, as the model knows it.
struct Info {
    int key;
    uint64_t began;
    std::vector<Link> links;
    int64_t until_most = INT64_MAX, until_least = INT64_MAX;  // fresh
    bool made = false, strict = false, adopted = false, vague = false;
    int told = 0;
    size_t size = 0;
};

struct Kept {
    int error = 0;
    int64_t until = INT64_MIN;
    uint64_t began = 0;
    std::vector<Link> links;
    bool vague = false;
};

struct Kind {
    const char *name;
    std::function<void(memo_options *)> tweak;
    bool bounded, collide, out_of_memory, jumps;
};

class Fuzz {
   public:
    struct Load {
        int key;
        uint64_t began, claimed;  // claimed then, at the earliest
        bool pending = false, alone = false;
        bool has_ttl = false, strict = false, pass = false;
        bool has_refresh = false, vague = false;
        int verdict = 0;  // 1: not found, 2: not modified
        uint64_t value = 0;  // id
        int64_t ttl = 0;
        int64_t until_most = INT64_MAX, until_least = INT64_MAX;
        std::vector<Link> links;
        std::vector<uint64_t> dropped;
    };

    Fuzz(const Config &config, const Kind &kind, unsigned seed)
        : kind_(kind), random_(seed), main_(std::this_thread::get_id()),
          config_(config),
          cache_(config, [this](memo_load *l) { return Run(l); },
                 [this](memo_options *o) { Tweak(o); }) {
        cache_.objects.on_destroy = [this](const std::string &) { Nested(); };
    }

    void Go(int steps) {
        EXPECT_EQ(memo_invalidate_tag(cache_, "", 0), 0);
        start_bytes_ = cache_.allocator.LiveBytes();
        first_source_bytes_ = int64_t(cache_.Stats().source_bytes);
        for (int i = 0; i < steps && !testing::Test::HasFailure(); i++) {
            step_ = i;
            bool fails = kind_.out_of_memory && Below(6) == 0;
            if (fails) {
                failing_ = true;
                cache_.allocator.FailAt(uint64_t(Below(6)) + 1, Below(2) == 0);
            }
            Step();
            if (fails) {
                cache_.allocator.FailAt(0);
                failing_ = false;
            }
            if (Below(8) == 0) {
                RunLoop();
            }
            while (held_.size() > 60) {
                LetGo();
            }
            if (i % 100 == 99) {
                memo_check(cache_);
                Bounds();
            }
            if (i % 1000 == 999) {
                Account();
            }
        }
        End();
    }

   private:
    // ------------------------------------------------------------ set up

    void Tweak(memo_options *o) {
        hook_ = clock_.Hook();
        o->clock = &hook_;
        listener_ = {Told, this};
        if (Below(2) == 0) {
            o->listener = &listener_;
        }
        listens_ = o->listener != nullptr;
        o->ttl_ns = 0;
        kind_.tweak(o);
        if (kind_.collide) {
            seed_(o);
        } else {
            for (auto &w : fixed_) {
                w = uint64_t(random_()) << 32 | random_();
            }
            o->hash_seed = fixed_;
        }
        options_ = *o;
        fresh_ = o->idle_ttl_ns || o->refresh_after_ns || o->stale_if_error_ns ||
                 o->negative_ttl_ns || o->pass_ttl_ns || o->backoff_ns ||
                 o->keep_old_ns || (o->flags & MEMO_EARLY_REFRESH);
        timed_ = o->ttl_ns || fresh_;
        backoff_max_ = o->backoff_max_ns != 0 ? o->backoff_max_ns
                                              : o->backoff_ns * 100;
    }

    int Below(int n) {
        return int(random_() % unsigned(n));
    }

    bool InMain() const {
        return std::this_thread::get_id() == main_;
    }

    std::string KeyBytes(int key) const {
        static const size_t sizes[] = {1, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31,
                                       32, 33, 64, 100, 300};
        if (kind_.collide) {
            return seed_.Key(uint64_t(key));
        }
        if (key == 0) {
            return "";
        }
        std::string s(sizes[key % 16], 'k');
        s[0] = char('A' + key);
        return s;
    }

    int KeyOfLoad(memo_load *l) {
        std::string bytes = KeyOf(l);
        for (int k = 0; k < kKeys; k++) {
            if (KeyBytes(k) == bytes) {
                return k;
            }
        }
        ADD_FAILURE() << "unknown key";
        return 0;
    }

    void Require(bool holds, const char *what) {
        if (!holds) {
            ADD_FAILURE() << what << " (step " << step_ << ", op " << op_
                          << ", key " << key_ << ", error " << error_ << ")";
        }
    }

    // ------------------------------------------------------------ the model

    // Whether the result of a load that began then isn't outdated, for sure.
    bool IsCurrent(int key, uint64_t began, const std::vector<Link> &links) const {
        for (const Link &link : links) {
            if (std::max(changed_[link.source], perhaps_[link.source]) >
                link.as_of) {
                return false;
            }
        }
        return began >= std::max(floor_[key], dropping_[key]);
    }

    // Whether it is, for a call that began at that tick.
    bool IsOutdated(int key, uint64_t began, const std::vector<Link> &links,
                    uint64_t call) const {
        for (const Link &link : links) {
            if (changed_[link.source] > link.as_of &&
                changed_[link.source] <= call) {
                return true;
            }
        }
        return began < floor_[key] && floor_[key] <= call;
    }

    uint64_t NewInfo(int key, uint64_t began) {
        std::lock_guard<std::recursive_mutex> lock(mu_);
        infos_.emplace_back(new Info{});
        infos_.back()->key = key;
        infos_.back()->began = began;
        return infos_.size() - 1;
    }

    std::string Bytes(uint64_t id, size_t filling) {
        std::string s(8 + filling, char(id));
        std::memcpy(&s[0], &id, 8);
        infos_[id]->size = s.size();
        return s;
    }

    Info *Parse(const void *data, size_t size, uint64_t *id) {
        std::lock_guard<std::recursive_mutex> lock(mu_);
        if (size < 8) {
            ADD_FAILURE() << "short";
            return nullptr;
        }
        std::memcpy(id, data, 8);
        if (*id >= infos_.size() || infos_[*id]->size != size) {
            ADD_FAILURE() << "garbage";
            return nullptr;
        }
        for (size_t i = 8; i < size; i++) {
            if (static_cast<const char *>(data)[i] != char(*id)) {
                ADD_FAILURE() << "garbled";
                return nullptr;
            }
        }
        return infos_[*id].get();
    }

    static void Told(void *self, memo_cause cause, const void *key,
                     size_t key_size, const memo_value *v) {
        auto *f = static_cast<Fuzz *>(self);
        uint64_t id;
        (void)cause;
        {
            std::lock_guard<std::recursive_mutex> lock(f->mu_);
            Info *info = f->Parse(v->data, v->size, &id);
            if (info != nullptr) {
                f->Require(info->told++ == 0, "told twice");
                f->Require(f->KeyBytes(info->key) ==
                           std::string(static_cast<const char *>(key), key_size),
                           "told of another key");
            }
        }
        f->Nested();
    }

    // What became of a key is no longer known.
    void Unknown(int key) {
        resident_[key] = 0;
    }

    // Something did change it, beginning at that tick.
    void Changed(int key, uint64_t tick) {
        floor_[key] = std::max(floor_[key], tick);
        changed_[key] = std::max(changed_[key], tick);
        if (kept_[key].began < tick) {
            kept_[key] = Kept();
        }
    }

    int64_t Now() const {
        return clock_.Now();
    }

    // The answer of a call that began when the clock said now.
    void Check(int key, uint64_t call, int64_t now, int error,
               const memo_value &v, bool peeked = false) {
        uint64_t id = 0;
        key_ = key;
        error_ = error;
        if (error != 0) {
            Require(v.pin == nullptr, "error and value");
            if (v.from == MEMO_NEGATIVE && !kept_[key].vague) {
                const Kept &k = kept_[key];
                Require(timed_ && k.error == error, "kept another error");
                Require(backwards_ || now < k.until, "kept an error too long");
                Require(!IsOutdated(key, k.began, k.links, call),
                        "kept a bad error");
            }
            Require(error == kError || error == MEMO_ENOENT ||
                    error == MEMO_ETIMEDOUT || error == MEMO_ECANCELED ||
                    error == MEMO_EDEADLK ||
                    (error == MEMO_ENOMEM && kind_.out_of_memory) ||
                    error == MEMO_EABANDONED, "strange error");
            if (peeked && tick_ == call && resident_[key] != 0 &&
                MustBeFresh(key, now)) {
                Require(false, "lost a value");
            }
            return;
        }
        Info *info = Parse(v.data, v.size, &id);
        if (info == nullptr) {
            return;
        }
        Require(info->key == key, "another key's");
        Require(v.from == MEMO_DETACHED ||
                    !IsOutdated(key, info->began, info->links, call),
                "outdated");
        // What comes late was judged when it was given.
        if (v.from == MEMO_HIT && timed_ && !backwards_ && call != 0) {
            Require(now < info->until_most, "expired");
        }
        if (v.from == MEMO_STALE && !backwards_) {
            Require(timed_ && now < After(info->until_most,
                                          options_.stale_if_error_ns) &&
                    !info->strict, "too stale");
        }
        if (v.from == MEMO_HIT) {
            if (tick_ == call && resident_[key] != 0 && MustBeFresh(key, now)) {
                Require(resident_[key] == id + 1, "another value");
            }
            // A refresh may have gone wrong meanwhile.
            resident_[key] = tick_ == call && clearing_ == 0 ? id + 1 : 0;
            used_[key] = now;
        } else if (peeked) {
            Require(v.from == MEMO_STALE, "peeked");
        }
    }

    bool MustBeFresh(int key, int64_t now) {
        const Info &i = *infos_[resident_[key] - 1];
        int64_t idle = options_.idle_ttl_ns;
        return !kind_.bounded && !backwards_ && !i.vague &&
               IsCurrent(key, i.began, i.links) &&
               (!timed_ || (now < i.until_least &&
                (idle == 0 || now - used_[key] < idle - idle / 64 - 2)));
    }

    int64_t Shortened(int64_t span) const {
        if (span == INT64_MAX) {
            return span;
        }
        int64_t left = span - span / 100 * options_.jitter_percent -
               span % 100 * options_.jitter_percent / 100 - 1;
        return std::max(left, int64_t(0));
    }

    void Date(Info *i, const Load *l, bool renewed) {
        int64_t ttl = options_.ttl_ns == 0 ? INT64_MAX : options_.ttl_ns;
        if (l->has_ttl) {
            ttl = l->ttl;
        }
        int64_t most =
            std::max(Now(), std::min(After(Now(), ttl), l->until_most));
        int64_t least = std::min(After(Now(), Shortened(ttl)), l->until_least);
        // What it was made from may stand closer than its ttl: then jitter counts
        // from there.
        if (l->until_least != INT64_MAX) {
            least = std::min(least, After(Now(), Shortened(
                l->until_least > Now() ? l->until_least - Now() : 0)));
        }
        if (renewed && i->made) {
            i->until_most = std::max(i->until_most, most);
            i->until_least = std::min(i->until_least, least);
        } else {
            i->until_most = most;
            i->until_least = least;
        }
        i->made = true;
    }

    // ------------------------------------------------------------ loads

    // Whether what it is linked to may have changed before the function ran.
    bool LinkedBefore(const Load *o) const {
        for (const Link &link : o->links) {
            if (std::max(changed_[link.source], perhaps_[link.source]) >
                o->claimed) {
                return true;
            }
        }
        return false;
    }

    Load *StateOf(memo_load *l) {
        auto it = loads_.find(l);
        return it == loads_.end() ? nullptr : it->second.get();
    }

    int Run(memo_load *l) {
        int key = KeyOfLoad(l);
        for (auto &other : loads_) {
            Load *o = other.second.get();
            if (o->key == key && IsCurrent(key, o->claimed, o->links) &&
                !o->vague && !has_passed_ && !LinkedBefore(o) &&
                !(options_.flags & MEMO_DEPEND_AUTO) && !failing_ &&
                (o->links.empty() ||
                 !(kind_.collide || kind_.out_of_memory)) &&
                !(options_.flags & MEMO_CANCEL_UNWANTED)) {
                Require(false, "two loads of a key");
            }
        }
        Load *s = new Load();
        s->key = key;
        s->claimed = many_ != 0 ? many_ : tick_;
        s->began = ++tick_;
        loads_[l].reset(s);
        depth_++;
        for (int n = Below(3); n > 0; n--) {
            Say(l, s);
        }
        for (int n = Below(4) == 0 ? Below(3) : 0; n > 0 && depth_ < 5; n--) {
            Step();
        }
        depth_--;
        if (Below(3) == 0) {
            s->pending = true;
            pending_.push_back(l);
            return MEMO_PENDING;
        }
        if (StateOf(l) != s) {
            return MEMO_PENDING;  // finished in there
        }
        if (Below(8) == 0) {
            s->pending = true;
            memo_load_retain(l);
            Finish(l);
            memo_load_release(l);
            return 0;
        }
        return Ending(l, s);
    }

    bool Allowed(int error) const {
        return error == 0 || (error == MEMO_ENOMEM && failing_);
    }

    // Give it a value.
    void Give(memo_load *l, Load *s) {
        uint64_t id = NewInfo(s->key, s->began);
        size_t filling = Below(20) == 0 ? 3000 : size_t(Below(60));
        std::string bytes = Bytes(id, filling);
        int error;
        switch (Below(3)) {
        case 0:
            infos_[id]->adopted = true;
            error = cache_.objects.Adopt(l, bytes);
            break;
        case 1: {
            void *p = memo_load_reserve(l, bytes.size() + 5);
            if (p != nullptr) {
                std::memcpy(p, bytes.data(), bytes.size());
                p = memo_load_reserve(l, bytes.size());
                if (p == nullptr) {
                    // what was there before still is
                    infos_[id]->size = bytes.size() + 5;
                    p = memo_load_reserve(l, 0);
                    s->value = 0;
                    s->verdict = 1;
                    memo_load_not_found(l);
                    if (p == nullptr) {
                        error = MEMO_ENOMEM;
                        break;
                    }
                    return;
                }
                error = 0;
            } else {
                error = MEMO_ENOMEM;
            }
            break;
        }
        default:
            error = Return(l, bytes);
            break;
        }
        Require(Allowed(error), "give");
        if (error == 0) {
            s->value = id + 1;
            s->verdict = 0;
        }
    }

    // It is for its caller alone, from now on; and so may be what is made of it.
    void Pass(Load *s) {
        s->pass = true;
        passes_[s->key] = true;
        has_passed_ = true;
    }

    void AddDependency(Load *s, const Info *i, uint64_t as_of) {
        if (i->key != s->key) {
            s->links.push_back({i->key, as_of});
        }
        for (const Link &link : i->links) {
            if (link.source != s->key) {
                s->links.push_back(link);
            }
        }
        if (timed_) {
            s->until_most = std::min(s->until_most, i->until_most);
            s->until_least = std::min(s->until_least, i->until_least);
        }
    }

    // Have a load say something.
    void Say(memo_load *l, Load *s) {
        switch (Below(11)) {
        case 0:
        case 1: {
            int tag = Below(kTags);
            std::string t = Tag(tag);
            int error = memo_load_add_tag(l, t.data(), t.size());
            Require(Allowed(error), "tag");
            if (error == 0) {
                s->links.push_back({kKeys + tag, s->began});
            }
            break;
        }
        case 2:
        case 3:
            LoadGet(l, s);
            break;
        case 4:
            if (!held_.empty()) {
                // Nested calls may let go of others, not of this one.
                size_t at = size_t(Below(int(held_.size())));
                Value v = std::move(held_[at]);
                held_.erase(held_.begin() + int64_t(at));
                uint64_t id;
                Info *i = Parse(v->data, v->size, &id);
                int error = memo_load_depend(l, &*v);
                Require(Allowed(error), "depend");
                if (i != nullptr && (error == 0 || error == MEMO_ENOMEM)) {
                    // It may have been got before the load began, and so be older: all
                    // that is known is that changes from now on count.
                    int64_t until = s->until_most;
                    if (error == 0) {
                        AddDependency(s, i, tick_);
                    }
                    // It may stand in.
                    s->until_most = error != 0 ? until : std::min(
                        until, After(i->until_most, options_.stale_if_error_ns));
                    s->until_least = INT64_MIN;
                    s->vague = true;
                }
            }
            break;
        case 5: {
            int key = Below(kKeys);
            std::string k = KeyBytes(key);
            int error = memo_load_depend_key(l, k.data(), k.size());
            Require(Allowed(error), "depend key");
            if (error == 0 && key != s->key) {
                s->links.push_back({key, s->began});
            }
            break;
        }
        case 6: {
            int64_t ttl = int64_t(Below(4)) * 300;
            int error = memo_load_set_ttl(l, ttl);
            Require(error == (timed_ ? 0 : int(MEMO_EINVAL)), "ttl");
            if (error == 0) {
                s->has_ttl = true;
                s->ttl = ttl;
            }
            break;
        }
        case 7:
            if (fresh_) {
                Require(memo_load_set_refresh(l, int64_t(Below(3)) * 100) == 0,
                        "refresh");
            }
            break;
        case 8:
            if (fresh_ && Below(3) == 0) {
                Require(memo_load_must_revalidate(l) == 0, "strict");
                s->strict = true;
            }
            break;
        case 9: {
            memo_value old;
            if (memo_load_old(l, &old) == 0) {
                uint64_t id;
                Info *i = Parse(old.data, old.size, &id);
                Require(i != nullptr && i->key == s->key, "old");
                memo_release(&old);
            }
            break;
        }
        case 10:
            Require(memo_load_set_weight(l, uint32_t(Below(9))) == 0, "weight");
            break;
        }
    }

    void LoadGet(memo_load *l, Load *s) {
        int key = Below(kKeys);
        std::string k = KeyBytes(key);
        memo_wait wait = Until(-1);
        Value v;
        int64_t now = Now();
        uint64_t as_of = tick_;
        bool is_plain = false;  // it is known what it got
        if (depth_ > 5) {
            return;
        }
        depth_++;
        int error = memo_load_get(l, k.data(), k.size(), &wait, v.out());
        depth_--;
        Check(key, as_of, now, error, *v);
        if (error == 0 && v->from != MEMO_DETACHED) {
            uint64_t id;
            Info *i = Parse(v->data, v->size, &id);
            is_plain = i != nullptr && v->from != MEMO_STALE;
            if (is_plain) {
                AddDependency(s, i, as_of);
            }
        }
        if (!is_plain) {
            if (error != MEMO_ENOMEM) {
                s->links.push_back({key, as_of});
            }
            s->until_least = INT64_MIN;
            s->vague = true;
        }
        if (key == s->key) {
            while (!s->links.empty() && s->links.back().source == key) {
                s->links.pop_back();
            }
        }
        Hold(std::move(v));
    }

    // What the load returns.
    int Ending(memo_load *l, Load *s) {
        int error = 0;
        switch (Below(12)) {
        case 0:
            error = kError;
            break;
        case 1:
            memo_load_not_found(l);
            s->verdict = 1;
            break;
        case 2:
        case 3:
            if (memo_load_not_modified(l) == 0) {
                s->verdict = 2;
                break;
            }
            Give(l, s);
            break;
        case 4:
            memo_load_pass(l);
            Pass(s);
            Give(l, s);
            break;
        default:
            Give(l, s);
        }
        Ended(l, s, error);
        return error;
    }

    // It ends, now.
    void Ended(memo_load *l, Load *s, int error) {
        bool current = IsCurrent(s->key, s->began, s->links);
        memo_value old;
        if (memo_load_old(l, &old) == 0) {
            perhaps_[s->key] = ++tick_;
            memo_release(&old);
        }
        if (error == 0 && s->verdict == 0 && s->value == 0) {
            error = MEMO_EABANDONED;
        }
        if (error == 0 && s->verdict == 1) {
            error = MEMO_ENOENT;
        }
        if (error == 0 && s->verdict == 2) {
            uint64_t id;
            if (memo_load_old(l, &old) == 0) {
                Info *i = Parse(old.data, old.size, &id);
                if (i != nullptr) {
                    Date(i, s, true);
                    i->strict = i->strict && s->strict;
                }
                memo_release(&old);
            }
        } else if (error == 0) {
            Info *i = infos_[s->value - 1].get();
            i->links = s->links;
            i->vague = s->vague;
            i->strict = s->strict;
            Date(i, s, false);
            kept_[s->key].vague |= failing_;
        } else {
            kept_[s->key].error = error;
            kept_[s->key].began = s->began;
            kept_[s->key].links = s->links;
            kept_[s->key].vague = (options_.flags & MEMO_CANCEL_UNWANTED) ||
                                  failing_ || !current || passes_[s->key] || s->vague;
            kept_[s->key].until = After(
                Now(), error == MEMO_ENOENT ? options_.negative_ttl_ns
                                            : After(backoff_max_, backoff_max_));
        }
        Unknown(s->key);
        loads_.erase(l);
    }

    void Finish(memo_load *l) {
        Load *s = StateOf(l);
        if (s == nullptr) {
            return;
        }
        int error = Ending(l, s);
        memo_load_retain(l);
        Require(memo_load_finish(l, error) == 0, "finished before");
        Require(memo_load_finish(l, 1) == MEMO_EALREADY, "finished twice");
        memo_load_release(l);
    }

    memo_load *TakePending() {
        size_t i = size_t(Below(int(pending_.size())));
        memo_load *l = pending_[i];
        pending_.erase(pending_.begin() + int64_t(i));
        return l;
    }

    bool IsLoading(int key) const {
        for (auto &load : loads_) {
            if (load.second->key == key) {
                return true;
            }
        }
        return false;
    }

    // ------------------------------------------------------------ steps

    std::string Tag(int tag) const {
        return std::string(size_t(tag) * 3, 't');
    }

    void Nested() {
        if (InMain() && depth_ < 3 && !ending_ && Below(8) == 0) {
            depth_++;
            Step();
            depth_--;
        }
    }

    void LetGo() {
        size_t i = size_t(Below(int(held_.size())));
        std::swap(held_[i], held_.back());
        Value v = std::move(held_.back());
        held_.pop_back();
        uint64_t id;
        if (v->pin != nullptr) {
            Parse(v->data, v->size, &id);
        }
        v.Release();
    }

    struct Question {
        Fuzz *all;
        int key;
        int64_t now;
        int answers;
    };

    static void Answer(void *arg, int error, memo_value *v) {
        auto *q = static_cast<Question *>(arg);
        q->all->Require(q->answers++ == 0, "answered twice");
        q->all->Check(q->key, 0, q->all->Now(), error, *v);
        q->all->Nested();
        memo_release(v);
    }

    void Hold(Value v) {
        if (v->pin != nullptr) {
            held_.push_back(std::move(v));
        }
    }

    void Step() {
        int key = Below(3) == 0 ? Below(4) : Below(kKeys);
        std::string k = KeyBytes(key);
        int64_t now = Now();
        uint64_t began = tick_;
        int op = op_ = Below(40);
        Value v;
        int error;

        switch (op) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
        case 6:
        case 7: {
            memo_wait wait = Until(-1);
            wait.flags = Below(4) == 0   ? MEMO_WAIT_STRICT
                         : Below(4) == 0 ? MEMO_WAIT_NO_LOAD
                                         : 0;
            wait.soft_deadline_ns = Below(4) == 0 ? 1 : 0;
            error = memo_get_wait(cache_, k.data(), k.size(), &wait, v.out());
            Check(key, began, now, error, *v);
            Hold(std::move(v));
            break;
        }
        case 8:
        case 9:
        case 10: {
            // Only what is resident, also after what a callback may have done meanwhile:
            // else it might wait for ever.
            error = memo_peek(cache_, k.data(), k.size(), v.out());
            if (error == 0 && v->from == MEMO_HIT && tick_ == began &&
                now == Now()) {
                Value again;
                error = memo_get(cache_, k.data(), k.size(), again.out());
                Check(key, began, now, error, *again);
                Require(error == 0 || kind_.out_of_memory, "vanished");
                Hold(std::move(again));
            }
            Hold(std::move(v));
            break;
        }
        case 11:
        case 12:
        case 13:
        case 14:
        case 15:
            error = memo_peek(cache_, k.data(), k.size(), v.out());
            Check(key, began, now, error, *v, true);
            Hold(std::move(v));
            break;
        case 16:
        case 17:
            Async(key, k);
            break;
        case 18:
        case 19:
            Many(now);
            break;
        case 20:
        case 21:
        case 22:
            Put(key, k);
            break;
        case 23:
        case 24:
            Unknown(key);
            began = dropping_[key] = ++tick_;
            error = memo_invalidate(cache_, k.data(), k.size());
            Require(error == 0, "invalidate");
            Changed(key, began);
            dropping_[key] = perhaps_[key] = tick_;  // what began meanwhile, too
            break;
        case 25: {
            int tag = Below(kTags);
            std::string t = Tag(tag);
            perhaps_[kKeys + tag] = began = ++tick_;
            Require(memo_invalidate_tag(cache_, t.data(), t.size()) == 0, "tag");
            changed_[kKeys + tag] = std::max(changed_[kKeys + tag], began);
            break;
        }
        case 26:
            if (Below(8) == 0) {
                Clear();
            }
            break;
        case 27:
            if (depth_ < 3) {
                error = memo_refresh(cache_, k.data(), k.size());
                Require(Allowed(error) ||
                            (error == MEMO_ENOMEM && kind_.out_of_memory),
                        "refresh");
            }
            break;
        case 28:
            memo_maintain(cache_, Below(3) == 0   ? 0
                                  : Below(2) == 0 ? Now()
                                                  : MEMO_NEVER);
            break;
        case 29:
            (void)cache_.Stats();
            break;
        case 30:
        case 31:
        case 32:
            Tick();
            break;
        case 33:
        case 34:
            if (!pending_.empty()) {
                memo_load *l = pending_[size_t(Below(int(pending_.size())))];
                Load *s = StateOf(l);
                if (s != nullptr && busy_.insert(l).second) {
                    depth_++;
                    Say(l, s);
                    depth_--;
                    busy_.erase(l);
                }
            }
            break;
        case 35:
        case 36:
        case 37:
            if (!pending_.empty()) {
                memo_load *l = TakePending();
                if (busy_.count(l) != 0) {
                    pending_.push_back(l);
                } else {
                    Finish(l);
                }
            }
            break;
        case 38:
            while (!held_.empty() && Below(4) != 0) {
                LetGo();
            }
            break;
        case 39:
            if (!held_.empty()) {
                Value copy;
                Require(memo_retain(&*held_[size_t(Below(int(held_.size())))],
                                    copy.out()) == 0, "retain");
                held_.push_back(std::move(copy));
            }
            break;
        }
    }

    void Clear() {
        uint64_t tick = ++tick_;
        for (int key = 0; key < kKeys; key++) {
            Unknown(key);
            dropping_[key] = tick;
        }
        clearing_++;  // what is put meanwhile may go, or not
        Require(memo_clear(cache_) == 0, "clear");
        clearing_--;
        for (int key = 0; key < kKeys; key++) {
            Changed(key, tick);
            Unknown(key);
            dropping_[key] = perhaps_[key] = tick_;  // what began meanwhile, too
        }
    }

    void Tick() {
        static const int64_t spans[] = {1, 10, 50, 100, 300, 1000, 5000, 100000};
        if (kind_.jumps && Below(30) == 0) {
            static const int64_t to[] = {0, 1, INT64_MAX - 1000, INT64_MAX - 1,
                                         INT64_MAX, kStart,
                                         int64_t(1) << 40};
            int64_t at = to[Below(7)];
            if (at < Now()) {
                backwards_ = true;
            }
            clock_.Advance(at - Now());
            return;
        }
        int64_t span = spans[Below(8)];
        clock_.Advance(std::min(span, INT64_MAX - Now()));
    }

    void Async(int key, const std::string &k) {
        memo_ticket *ticket = nullptr;
        bool kept = Below(2) == 0;
        memo_wait wait = With(Below(4) == 0 ? MEMO_WAIT_NO_LOAD : 0u);
        questions_.emplace_back(new Question{this, key, Now(), 0});
        Question *q = questions_.back().get();
        int error = memo_get_async(cache_, k.data(), k.size(), &wait, Answer, q,
                                   kept ? &ticket : nullptr);
        Require(Allowed(error) || error == MEMO_ENOENT ||
                (error == MEMO_ENOMEM && kind_.out_of_memory), "asked");
        if (error != 0) {
            Require(q->answers == 0, "answered in spite of it");
            q->answers = 1;
        }
        if (ticket != nullptr && Below(2) == 0) {
            error = memo_ticket_cancel(ticket);
            Require(error == 0 || error == MEMO_EALREADY, "cancel");
        }
        memo_ticket_free(ticket);
    }

    void Many(int64_t now) {
        memo_bytes keys[12];
        memo_value out[12];
        int errors[12], key[12];
        std::string k[12];
        size_t n = size_t(Below(13));
        memo_wait wait = Until(-1);
        uint64_t before = tick_;

        for (size_t i = 0; i < n; i++) {
            key[i] = Below(kKeys);
            k[i] = KeyBytes(key[i]);
            keys[i] = {k[i].data(), k[i].size()};
        }
        uint64_t outer = many_;
        many_ = many_ != 0 ? many_ : tick_;
        memo_get_many(cache_, keys, n, &wait, out, errors);
        many_ = outer;
        for (size_t i = 0; i < n; i++) {
            // Loads among them may change keys that were hits.
            if (tick_ == before && now == Now()) {
                Check(key[i], before, now, errors[i], out[i]);
            } else if (out[i].pin != nullptr) {
                uint64_t id;
                Info *info = Parse(out[i].data, out[i].size, &id);
                Require(info == nullptr || info->key == key[i], "many");
            }
            memo_release(&out[i]);
        }
    }

    void Put(int key, const std::string &k) {
        memo_put_options put = {};
        memo_bytes tags[3];
        std::string t[3];
        std::vector<Link> links;
        uint64_t id = NewInfo(key, 0);
        std::string bytes = Bytes(id, size_t(Below(60)));
        put.size = sizeof(put);
        put.tags = tags;
        put.n_tags = Below(2) == 0 ? size_t(Below(4)) : 0;
        for (size_t i = 0; i < put.n_tags; i++) {
            int tag = Below(kTags);
            t[i] = Tag(tag);
            tags[i] = {t[i].data(), t[i].size()};
            links.push_back({kKeys + tag, tick_});
        }
        Load l = {};
        l.until_most = l.until_least = INT64_MAX;
        if (timed_ && Below(3) == 0) {
            put.ttl_ns = 1 + Below(1000);
            l.has_ttl = true;
            l.ttl = put.ttl_ns;
        }
        if (fresh_ && Below(3) == 0) {
            put.refresh_after_ns = 1 + Below(500);
        }
        {
            // The model first, for nested calls see the put done.
            Info *i = infos_[id].get();
            i->links = links;
            Date(i, &l, false);
        }
        uint64_t before = resident_[key], tick = ++tick_;
        infos_[id]->began = tick;
        dropping_[key] = tick;
        Unknown(key);
        int error = memo_put_with(cache_, k.data(), k.size(), bytes.data(),
                                  bytes.size(), &put);
        Require(Allowed(error), "put");
        if (error != 0) {
            resident_[key] = tick_ == tick && clearing_ == 0 ? before : 0;
            infos_[id]->made = false;
            return;
        }
        if (tick_ == tick && !kind_.bounded && clearing_ == 0) {
            resident_[key] = id + 1;
            used_[key] = Now();
        }
        Changed(key, tick);
        perhaps_[key] = tick_;
    }

    // ------------------------------------------------------------ all in all

    void Bounds() {
        struct memo_stats s = cache_.Stats();
        if (options_.max_entries != 0) {
            Require(s.entries <= options_.max_entries, "too many");
        }
        if (options_.max_bytes != 0) {
            Require(s.bytes + s.ghost_bytes <= options_.max_bytes, "too large");
        }
        if (options_.max_weight != 0) {
            Require(s.weight <= options_.max_weight, "too heavy");
        }
    }

    void RunLoop() {
        if (config_.engine == MEMO_ENGINE_LOOP) {
            EXPECT_GE(memo_monitor_run(cache_, 100), 0);
        }
    }

    void AwaitNoneRetired() {
        Await([&] {
            RunLoop();
            memo_maintain(cache_, 0);
            return cache_.Stats().retired == 0;
        });
    }

    void FinishAll() {
        while (!pending_.empty()) {
            Finish(TakePending());
        }
        while (!held_.empty()) {
            LetGo();
        }
    }

    // Every byte is accounted for, when nothing is going on.
    void Account() {
        ending_ = true;
        FinishAll();
        AwaitNoneRetired();
        memo_check(cache_);
        struct memo_stats s = cache_.Stats();
        uint64_t entries = 0;
        for (int key = 0; key < kKeys; key++) {
            Value v;
            std::string k = KeyBytes(key);
            int64_t now = Now();
            int error = memo_peek(cache_, k.data(), k.size(), v.out());
            Check(key, tick_, now, error, *v, true);
            entries += error == 0;
        }
        Require(entries <= s.entries, "entries");
        Clear();
        for (int i = 0; i < 100; i++) {
            memo_maintain(cache_, Now());
        }
        AwaitNoneRetired();
        s = cache_.Stats();
        Require(s.entries == 0 && s.bytes == 0 && s.weight == 0, "cleared");
        Require(s.flights == 0, "flights");
        Require(s.sources == 0, "sources");
        Require(cache_.objects.Alive() == 0, "objects");
        for (auto &q : questions_) {
            Require(q->answers == 1, "unanswered");
        }
        questions_.clear();
        // The first sources were made before.
        int64_t more = cache_.allocator.LiveBytes() - start_bytes_;
        Require(more >= 0 && more <= 32 * 1024 * 16, "leak");
        Require(more == int64_t(s.source_bytes) - first_source_bytes_, "source bytes");
        ending_ = false;
    }

    void End() {
        ending_ = true;
        FinishAll();
        memo_check(cache_);
        if (listens_) {
            Require(memo_close(cache_, MEMO_NEVER) == 0, "close");
            for (auto &i : infos_) {
                if (i->made && i->key >= 0 && !kind_.out_of_memory &&
                    !testing::Test::HasFailure()) {
                    Require(i->told == 1, "not told");
                }
            }
        }
        for (auto &q : questions_) {
            Require(q->answers == 1, "unanswered");
        }
        cache_.Free();
    }

    Kind kind_;
    std::minstd_rand random_;
    std::thread::id main_;
    Config config_;
    FakeClock clock_{kStart};
    memo_clock hook_;
    memo_listener listener_;
    memo_options options_;
    uint64_t fixed_[4];
    WeakSeed seed_ = OddSeed(3);
    int64_t backoff_max_, start_bytes_ = 0, first_source_bytes_ = 0;
    bool timed_, fresh_, listens_ = false, failing_ = false, backwards_ = false;
    bool ending_ = false;
    int clearing_ = 0, depth_ = 0, step_ = 0, op_ = 0, key_ = 0, error_ = 0;
    uint64_t tick_ = 1, many_ = 0;
    uint64_t floor_[kKeys] = {}, changed_[kKeys + kTags] = {};
    uint64_t dropping_[kKeys] = {};
    uint64_t perhaps_[kKeys + kTags] = {};  // changed then, or not
    uint64_t resident_[kKeys] = {};  // id + 1; 0: not known
    int64_t used_[kKeys] = {};
    bool passes_[kKeys] = {}, has_passed_ = false;
    Kept kept_[kKeys];
    std::recursive_mutex mu_;
    std::vector<std::unique_ptr<Info>> infos_;
    std::map<memo_load *, std::unique_ptr<Load>> loads_;
    std::set<memo_load *> busy_;
    std::vector<memo_load *> pending_;
    std::vector<Value> held_;
    std::vector<std::unique_ptr<Question>> questions_;
    Cache cache_;
};

void Times(memo_options *o) {
    o->ttl_ns = 1000;
    o->idle_ttl_ns = 640;
    o->refresh_after_ns = 300;
    o->stale_if_error_ns = 500;
    o->negative_ttl_ns = 200;
    o->backoff_ns = 50;
    o->pass_ttl_ns = 100;
}

std::vector<Kind> Kinds() {
    return {
        {"plain", [](memo_options *) {}, false, false, false, false},
        {"collide", [](memo_options *) {}, false, true, false, false},
        {"ttl", [](memo_options *o) { o->ttl_ns = 1000; o->jitter_percent = 30; },
         false, false, false, true},
        {"times", Times, false, false, false, true},
        {"jitter", [](memo_options *o) { Times(o); o->jitter_percent = 100;
             o->flags |= MEMO_EARLY_REFRESH; }, false, false, false, true},
        {"keep", [](memo_options *o) { o->keep_old_ns = 5000; o->ttl_ns = 200; },
         false, false, false, false},
        {"one", [](memo_options *o) { o->max_entries = 1; },
         true, false, false, false},
        {"two", [](memo_options *o) { Times(o); o->max_entries = 2; },
         true, false, false, true},
        {"three", [](memo_options *o) { Times(o); o->max_entries = 3;
             o->policy = MEMO_POLICY_COST; }, true, false, false, true},
        {"bytes", [](memo_options *o) { o->max_bytes = 6000; },
         true, false, false, false},
        {"bytes_size", [](memo_options *o) { Times(o); o->max_bytes = 9000;
             o->policy = MEMO_POLICY_SIZE; }, true, false, true, false},
        {"weight", [](memo_options *o) { o->max_weight = 20; o->max_entries = 9;
             o->policy = MEMO_POLICY_SIZE; }, true, false, true, false},
        {"oom", [](memo_options *) {}, false, false, true, false},
        {"oom_times", Times, false, true, true, true},
        {"cancel", [](memo_options *o) { Times(o); o->flags |= MEMO_CANCEL_UNWANTED; },
         false, false, true, false},
        {"auto", [](memo_options *o) { o->flags |= MEMO_DEPEND_AUTO; },
         true, false, false, false},
    };
}

class FuzzAll : public testing::TestWithParam<std::tuple<Config, int>> {};

TEST_P(FuzzAll, KeepsTheContract) {
    const Kind kind = Kinds()[size_t(std::get<1>(GetParam()))];
    const char *steps = getenv("FUZZ_STEPS");
    unsigned first = unsigned(GTEST_FLAG_GET(random_seed));

    for (unsigned i = 0; i < kRuns && !HasFailure(); i++) {
        unsigned seed = first + i * 7919;
        SCOPED_TRACE("seed " + std::to_string(seed));
        Fuzz f(std::get<0>(GetParam()), kind, seed);
        f.Go(steps != nullptr ? atoi(steps) : 3000);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Engines, FuzzAll,
    testing::Combine(testing::Values(Config{"lock_one_shard", 1, MEMO_ENGINE_LOCK},
                                     Config{"lock", 0, MEMO_ENGINE_LOCK},
                                     Config{"monitor", 1, MEMO_ENGINE_MONITOR},
                                     Config{"loop", 4, MEMO_ENGINE_LOOP}),
                     testing::Range(0, int(Kinds().size()))),
    [](const auto &tested) {
        return std::string(std::get<0>(tested.param).name) + "_" +
               Kinds()[size_t(std::get<1>(tested.param))].name;
    });

}  // namespace
