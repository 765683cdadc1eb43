#include "dataplane/worker/precedence.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bulkhead::worker {

std::string take_precedence() {
  SchedulerAttributes attributes;
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0)
    return std::string("sched_getattr: ") + strerror(errno);
  if (attributes.policy != SCHED_OTHER || attributes.nice != 0) return {};

  const SchedulerAttributes short_turns{.runtime_ns = kTurnNs};
  SchedulerAttributes wanted = short_turns;
  wanted.nice = kNice;
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == 0) return {};
  const int refused = errno;
  if (syscall(SYS_sched_setattr, 0, &short_turns, 0) != 0)
    return std::string("sched_setattr: ") + strerror(errno);
  return "niceness " + std::to_string(kNice) + ": " + strerror(refused);
}

}  // namespace bulkhead::worker
