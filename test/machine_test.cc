// What the machine is asked for, when it refuses.
#include "sync/machine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

bool Readable(int fd) {
    pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 0) == 1;
}

bool IsOpen(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

// While it lives, new descriptors have numbers below that.
class DescriptorsBelow {
   public:
    explicit DescriptorsBelow(int most) {
        getrlimit(RLIMIT_NOFILE, &before_);
        rlimit less = {static_cast<rlim_t>(most), before_.rlim_max};
        setrlimit(RLIMIT_NOFILE, &less);
    }
    ~DescriptorsBelow() {
        setrlimit(RLIMIT_NOFILE, &before_);
    }

   private:
    rlimit before_;
};

TEST(Bell, IsReadableWhileItRings) {
    int fd = sync_bell_new();
    ASSERT_GE(fd, 0);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_FALSE(Readable(fd));
    sync_bell_ring(fd);
    sync_bell_ring(fd);
    EXPECT_TRUE(Readable(fd));
    sync_bell_hush(fd);
    sync_bell_hush(fd);
    EXPECT_FALSE(Readable(fd));
    sync_bell_free(fd);
    EXPECT_FALSE(IsOpen(fd));
}

TEST(Bell, RenewedIsAnotherWithTheSameNumber) {
    int fd = sync_bell_new();
    int of_parent = fcntl(fd, F_DUPFD, 0);
    sync_bell_ring(fd);
    ASSERT_EQ(sync_bell_renew(fd), fd);
    EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_FALSE(Readable(fd));
    sync_bell_ring(fd);
    sync_bell_hush(of_parent);
    EXPECT_TRUE(Readable(fd));
    close(of_parent);
    sync_bell_free(fd);
}

TEST(Bell, IsRenewedWithTheLastDescriptorThereIs) {
    int fd = sync_bell_new();
    {
        DescriptorsBelow limit(fd + 1);
        EXPECT_EQ(sync_bell_renew(fd), fd);
    }
    EXPECT_TRUE(IsOpen(fd));
    sync_bell_free(fd);
}

// The limit was lowered since the number was given out.
TEST(Bell, ThatCannotHaveItsNumberIsClosed) {
    int low = sync_bell_new();
    int fd = fcntl(low, F_DUPFD, 200);
    ASSERT_GE(fd, 200);
    {
        DescriptorsBelow limit(100);
        EXPECT_EQ(sync_bell_renew(fd), -1);
    }
    EXPECT_FALSE(IsOpen(fd));
    sync_bell_free(low);
}

TEST(Bell, ThatCannotBeHadIsClosed) {
    int fd = sync_bell_new();
    {
        DescriptorsBelow limit(0);
        EXPECT_EQ(sync_bell_renew(fd), -1);
    }
    EXPECT_FALSE(IsOpen(fd));
}

}  // namespace
