// A gate: threads wait at it until it is opened, which is for ever.
#ifndef MEMO_TEST_SUPPORT_GATE_H_
#define MEMO_TEST_SUPPORT_GATE_H_

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <chrono>
#include <mutex>
#include <thread>

class Gate {
   public:
    void Open() {
        std::lock_guard<std::mutex> lock(mu_);
        open_ = true;
        opened_.notify_all();
    }

    void Wait() {
        std::unique_lock<std::mutex> lock(mu_);
        waiting_++;
        opened_.wait(lock, [this] { return open_; });
        waiting_--;
    }

    bool IsOpen() {
        std::lock_guard<std::mutex> lock(mu_);
        return open_;
    }

    // How many threads stand before the gate.
    int Waiting() {
        std::lock_guard<std::mutex> lock(mu_);
        return waiting_;
    }

   private:
    std::mutex mu_;
    std::condition_variable opened_;
    bool open_ = false;
    int waiting_ = 0;
};

// Return when holds() does.  Abort if that takes longer than anything in these
// tests may: a thread hangs, and to go on would hang too.
template <typename Predicate>
void Await(Predicate holds) {
    auto give_up = std::chrono::steady_clock::now() + std::chrono::minutes(2);

    while (!holds()) {
        if (std::chrono::steady_clock::now() > give_up) {
            std::fprintf(stderr, "Await: waited in vain\n");
            std::abort();
        }
        std::this_thread::yield();
    }
}

#endif  // MEMO_TEST_SUPPORT_GATE_H_
