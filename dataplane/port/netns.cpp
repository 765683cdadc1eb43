#include "dataplane/port/netns.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace bulkhead::port {

NetnsVisit::NetnsVisit(int netns) {
  if (netns < 0) return;
  home_ = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home_ < 0) {
    failed_ = std::string("open /proc/thread-self/ns/net: ") + strerror(errno);
    return;
  }
  if (setns(netns, CLONE_NEWNET) != 0) failed_ = std::string("setns: ") + strerror(errno);
}

NetnsVisit::~NetnsVisit() {
  if (home_ < 0) return;
  // Going on in a stranger's namespace would attach later ports there: nothing else may be done.
  if (setns(home_, CLONE_NEWNET) != 0) std::abort();
  close(home_);
}

}  // namespace bulkhead::port
