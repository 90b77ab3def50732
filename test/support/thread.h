// Threads for tests: that join themselves, and that can be waited for until
// they are asleep, so that a test needs no sleeping of its own.
#ifndef MEMO_TEST_SUPPORT_THREAD_H_
#define MEMO_TEST_SUPPORT_THREAD_H_

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

class Thread {
   public:
    template <typename Function>
    explicit Thread(Function f)
        : thread_([this, f = std::move(f)]() mutable {
              tid_.store(gettid());
              f();
          }) {
    }

    ~Thread() {
        Join();
    }

    void Join() {
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    // Wait until the thread is blocked in the kernel.  Call it when the thread
    // has nothing else to be blocked on than what the test is about.
    void AwaitAsleep() {
        while (!IsAsleep()) {
            std::this_thread::yield();
        }
    }

    // Interrupt the thread with a signal whose handler does nothing, as often
    // as it takes to see it asleep again n times.
    void Interrupt(int n) {
        struct sigaction action = {};
        action.sa_handler = [](int) {};  // and no SA_RESTART: EINTR
        sigaction(SIGUSR1, &action, nullptr);
        for (int i = 0; i < n; i++) {
            Signal(SIGUSR1);
            AwaitAsleep();
        }
    }

    void Signal(int number) {
        pthread_kill(thread_.native_handle(), number);
    }

    void Cancel() {
        pthread_cancel(thread_.native_handle());
    }

   private:
    bool IsAsleep() {
        pid_t tid = tid_.load();
        if (tid == 0) {
            return false;
        }
        std::ifstream in("/proc/self/task/" + std::to_string(tid) + "/stat");
        std::string stat;
        std::getline(in, stat);
        size_t name_end = stat.rfind(')');
        return name_end != std::string::npos && stat[name_end + 2] == 'S';
    }

    std::atomic<pid_t> tid_{0};
    std::thread thread_;  // last: it uses the others
};

#endif  // MEMO_TEST_SUPPORT_THREAD_H_
