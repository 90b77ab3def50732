// A web server that says what it is told to, byte by byte.
#ifndef MEMO_TEST_SUPPORT_RAW_ORIGIN_H_
#define MEMO_TEST_SUPPORT_RAW_ORIGIN_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

// Answers the i-th request with the i-th text, and closes the connection.
class RawOrigin {
   public:
    explicit RawOrigin(std::vector<std::string> answers)
        : answers_(std::move(answers)),
          listener_(socket(AF_INET, SOCK_STREAM, 0)) {
        struct sockaddr_in address = {};
        socklen_t size = sizeof address;
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        struct sockaddr *any = reinterpret_cast<struct sockaddr *>(&address);
        EXPECT_EQ(bind(listener_, any, size), 0);
        EXPECT_EQ(listen(listener_, 5), 0);
        EXPECT_EQ(getsockname(listener_, any, &size), 0);
        url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) +
               "/";
        thread_ = std::thread([this] { Serve(); });
    }
    ~RawOrigin() {
        shutdown(listener_, SHUT_RDWR);
        thread_.join();
        close(listener_);
    }

    const std::string &url() const {
        return url_;
    }

    // The header of each request that came.
    std::vector<std::string> requests() {
        std::lock_guard<std::mutex> lock(mu_);
        return requests_;
    }

   private:
    void Serve() {
        for (const std::string &answer : answers_) {
            int fd = accept(listener_, nullptr, nullptr);
            if (fd < 0) {
                return;
            }
            std::string request;
            char buf[4096];
            ssize_t n;
            while (request.find("\r\n\r\n") == std::string::npos &&
                   (n = read(fd, buf, sizeof buf)) > 0) {
                request.append(buf, (size_t)n);
            }
            {
                std::lock_guard<std::mutex> lock(mu_);
                requests_.push_back(request);
            }
            // Who doesn't want it all may have gone.
            (void)!send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
            close(fd);
        }
    }

    const std::vector<std::string> answers_;
    int listener_;
    std::string url_;
    std::mutex mu_;
    std::vector<std::string> requests_;
    std::thread thread_;
};

#endif  // MEMO_TEST_SUPPORT_RAW_ORIGIN_H_
