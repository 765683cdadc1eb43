#include "dataplane/control/closer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

namespace bulkhead::control {
namespace {

bool is_open(int fd) {
  return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

TEST(Closer, whoever_waits_for_a_device_finds_it_closed) {
  Closer closer;
  for (int i = 0; i < 2000; ++i) {
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    closer.close(Fd(ends[0]), {NetnsId{1, 1}, "eth0"});
    closer.close(Fd(ends[1]), {NetnsId{1, 2}, "eth0"});
    closer.wait_for({NetnsId{1, 2}, "eth0"});
    ASSERT_FALSE(is_open(ends[1])) << i;
    closer.wait_for({NetnsId{1, 1}, "eth0"});
    ASSERT_FALSE(is_open(ends[0])) << i;
  }
  closer.wait_for({NetnsId{9, 9}, "eth0"});  // of whom nobody knows
}

TEST(Closer, all_are_closed_before_it_ends) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  {
    Closer closer;
    for (const int end : ends) closer.close(Fd(end), {NetnsId{1, 1}, "eth0"});
  }
  for (const int end : ends) EXPECT_FALSE(is_open(end));
}

}  // namespace
}  // namespace bulkhead::control
