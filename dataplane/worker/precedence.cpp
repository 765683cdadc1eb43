#include "dataplane/worker/precedence.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace bulkhead::worker {

std::string take_precedence() {
  SchedulerAttributes chosen;
  if (syscall(SYS_sched_getattr, 0, &chosen, sizeof chosen, 0) != 0)
    return std::string("sched_getattr: ") + strerror(errno);
  if (chosen.policy != SCHED_OTHER) return {};

  SchedulerAttributes wanted{.nice = chosen.nice != 0 ? chosen.nice : kNice, .runtime_ns = kTurnNs};
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) == 0) return {};
  const std::string refused = "niceness " + std::to_string(wanted.nice) + ": " + strerror(errno);
  wanted.nice = chosen.nice;
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0) return std::string("sched_setattr: ") + strerror(errno);
  return refused;
}

}  // namespace bulkhead::worker
