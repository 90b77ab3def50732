// An allocator that notices what a cache does wrong with memory: the wrong size
// in free, writes beyond the end, writes after the end, what is never freed.
// And that fails when it is told to.
#ifndef MEMO_TEST_SUPPORT_COUNTING_ALLOCATOR_H_
#define MEMO_TEST_SUPPORT_COUNTING_ALLOCATOR_H_

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

#include "memo/memo.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMO_TEST_SANITIZED 1
#else
#define MEMO_TEST_SANITIZED 0
#endif

class CountingAllocator {
   public:
    // What freed memory is filled with.
    static constexpr unsigned char kPoison = 0xdd;
    ~CountingAllocator() {
        for (auto &place : quarantine_) {
            Dispose(place.load());
        }
    }

    memo_allocator Hook() {
        return {[](void *self, size_t size) {
                    return static_cast<CountingAllocator *>(self)->Alloc(size);
                },
                [](void *self, void *p, size_t size) {
                    static_cast<CountingAllocator *>(self)->Free(p, size);
                },
                this, nullptr};
    }

    // From here on, the nth allocation fails; if sticky, all later ones too.
    // 0: none fails.
    void FailAt(uint64_t n, bool sticky = false) {
        fail_at_ = n;
        sticky_ = sticky;
        asked_ = 0;
    }

    // From here on, what() is called inside the nth allocation: where a cache must not
    // rely on what it has just seen.
    void DoAt(uint64_t n, std::function<void()> what) {
        asked_ = 0;
        what_ = std::move(what);
        do_at_ = n;
    }

    // How often alloc was called since FailAt() or DoAt().
    uint64_t Asked() const {
        return asked_;
    }

    int64_t LiveBlocks() const {
        return live_blocks_;
    }
    int64_t LiveBytes() const {
        return live_bytes_;
    }

   private:
    static constexpr unsigned char kFresh = 0xcd;
    static constexpr unsigned char kRedzone = 0xfd;
    static constexpr size_t kRedzoneSize = 32;
    static constexpr uint64_t kAlive = 0x616c6976656d656d;
    // Reuse is put off, to see writes to what was freed; but not where a
    // sanitizer sees more, and handing blocks on would hide races from it.
    static constexpr size_t kQuarantine = MEMO_TEST_SANITIZED ? 1 : 1024;

    struct alignas(16) Header {
        uint64_t alive;
        size_t size;
        unsigned char redzone[kRedzoneSize];
    };

    static unsigned char *Bytes(Header *h) {
        return reinterpret_cast<unsigned char *>(h + 1);
    }

    static void Require(bool holds, const char *what) {
        if (!holds) {
            std::fprintf(stderr, "CountingAllocator: %s\n", what);
            std::abort();
        }
    }

    static bool Filled(const unsigned char *p, size_t size, unsigned char by) {
        return size == 0 || (p[0] == by && std::memcmp(p, p + 1, size - 1) == 0);
    }

    void *Alloc(size_t size) {
        // Relaxed, all of it: an allocator that orders threads hides races.
        uint64_t mine = asked_.fetch_add(1, std::memory_order_relaxed) + 1;
        uint64_t n = fail_at_.load(std::memory_order_relaxed);
        Header *h;

        if (mine == do_at_.load(std::memory_order_relaxed)) {
            do_at_.store(0, std::memory_order_relaxed);
            what_();
        }
        if (n != 0 && (mine == n || (mine > n && sticky_))) {
            return nullptr;
        }
        h = static_cast<Header *>(
            size > SIZE_MAX / 2
                ? nullptr
                : std::malloc(sizeof(Header) + size + kRedzoneSize));
        if (h == nullptr) {
            return h;
        }
        h->alive = kAlive;
        h->size = size;
        std::memset(h->redzone, kRedzone, kRedzoneSize);
        std::memset(Bytes(h), kFresh, size);
        std::memset(Bytes(h) + size, kRedzone, kRedzoneSize);
        live_blocks_.fetch_add(1, std::memory_order_relaxed);
        live_bytes_.fetch_add(int64_t(size), std::memory_order_relaxed);
        return Bytes(h);
    }

    void Free(void *p, size_t size) {
        Header *h = static_cast<Header *>(p) - 1;

        Require(p != nullptr, "free of NULL");
        Require(h->alive == kAlive, "free of what isn't allocated");
        Require(h->size == size, "free with another size than alloc");
        Require(Filled(h->redzone, kRedzoneSize, kRedzone), "wrote before it");
        Require(Filled(Bytes(h) + size, kRedzoneSize, kRedzone), "overran");
        h->alive = 0;
        std::memset(p, kPoison, size);
        live_blocks_.fetch_sub(1, std::memory_order_relaxed);
        live_bytes_.fetch_sub(int64_t(size), std::memory_order_relaxed);
        if (MEMO_TEST_SANITIZED || size > 65536) {
            Dispose(h);
        } else {
            size_t i = next_.fetch_add(1, std::memory_order_relaxed);
            Dispose(quarantine_[i % kQuarantine].exchange(h));
        }
    }

    static void Dispose(Header *h) {
        if (h != nullptr) {
            Require(h->alive == 0 && Filled(Bytes(h), h->size, kPoison),
                    "wrote to it after free");
            std::free(h);
        }
    }

    std::atomic<uint64_t> fail_at_{0};
    std::atomic<bool> sticky_{false};
    std::atomic<uint64_t> do_at_{0};
    std::function<void()> what_;
    std::atomic<uint64_t> asked_{0};
    std::atomic<int64_t> live_blocks_{0};
    std::atomic<int64_t> live_bytes_{0};
    std::atomic<size_t> next_{0};
    std::atomic<Header *> quarantine_[kQuarantine] = {};
};

#endif  // MEMO_TEST_SUPPORT_COUNTING_ALLOCATOR_H_
