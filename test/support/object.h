// Objects for a cache to adopt, whose destruction is watched.
#ifndef MEMO_TEST_SUPPORT_OBJECT_H_
#define MEMO_TEST_SUPPORT_OBJECT_H_

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>

#include "memo/memo.h"
#include "test/support/gate.h"

class Objects {
   public:
    // Called in each destructor, with the object's bytes.
    std::function<void(const std::string &)> on_destroy;

    // Make an object and have l adopt it.
    int Adopt(memo_load *l, std::string bytes) {
        Object *o = new Object{this, std::move(bytes)};
        int error = memo_load_adopt(l, &o->bytes[0], o->bytes.size(), Destroy, o);

        if (error != 0) {
            delete o;
        } else {
            adopted_++;
        }
        return error;
    }

    int Adopted() const {
        return adopted_;
    }

    int Destroyed() const {
        return destroyed_;
    }

    // Wait until n have been destroyed: a monitor may take its time.
    void AwaitDestroyed(int n) const {
        Await([&] { return destroyed_ >= n; });
    }

    int Alive() const {
        return adopted_ - destroyed_;
    }

   private:
    struct Object {
        Objects *all;
        std::string bytes;
        std::atomic<bool> destroyed{false};

        Object(Objects *a, std::string b) : all(a), bytes(std::move(b)) {
        }
    };

    static void Destroy(void *arg, void *data, size_t size) {
        Object *o = static_cast<Object *>(arg);
        Objects *all = o->all;

        if (o->destroyed.exchange(true) || data != &o->bytes[0] ||
            size != o->bytes.size()) {
            std::fprintf(stderr, "Objects: destroyed twice, or another\n");
            std::abort();
        }
        if (all->on_destroy) {
            all->on_destroy(o->bytes);
        }
        delete o;
        all->destroyed_++;
    }

    std::atomic<int> adopted_{0};
    std::atomic<int> destroyed_{0};
};

#endif  // MEMO_TEST_SUPPORT_OBJECT_H_
