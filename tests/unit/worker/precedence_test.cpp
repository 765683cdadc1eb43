#include "dataplane/worker/precedence.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

namespace bulkhead::worker {
namespace {

/// However the tests were started.
void begin_ordinary() {
  const sched_param none{};
  sched_setscheduler(0, SCHED_OTHER, &none);
  setpriority(PRIO_PROCESS, 0, 0);
}

/// What the scheduler knows of a thread of its own after `before` and take_precedence().
template <class Before>
SchedulerAttributes after(const Before& before) {
  SchedulerAttributes seen{};
  std::thread([&] {
    begin_ordinary();
    before();
    EXPECT_EQ(take_precedence(), "");
    syscall(SYS_sched_getattr, 0, &seen, sizeof seen, 0);
  }).join();
  return seen;
}

/// Kernels from 6.12 on give a thread the turns that it asks for.
bool turns_can_be_asked_for() {
  utsname name;
  int major = 0, minor = 0;
  return uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 12));
}

TEST(Precedence, a_worker_has_short_turns_and_some_more_weight) {
  const SchedulerAttributes seen = after([] {});
  EXPECT_EQ(seen.policy, static_cast<unsigned>(SCHED_OTHER));
  EXPECT_EQ(seen.nice, kNice);
  if (turns_can_be_asked_for()) {
    EXPECT_EQ(seen.runtime_ns, kTurnNs);
  }
}

TEST(Precedence, what_somebody_has_chosen_is_left_alone) {
  const SchedulerAttributes polite = after([] { setpriority(PRIO_PROCESS, 0, 7); });
  EXPECT_EQ(polite.nice, 7);
  if (turns_can_be_asked_for()) {
    EXPECT_EQ(polite.runtime_ns, kTurnNs);
  }
  const SchedulerAttributes batch = after([] {
    const sched_param none{};
    sched_setscheduler(0, SCHED_BATCH, &none);
  });
  EXPECT_EQ(batch.policy, static_cast<unsigned>(SCHED_BATCH));
  EXPECT_EQ(batch.nice, 0);
}

TEST(Precedence, who_may_not_has_short_turns_all_the_same_and_is_told) {
  SchedulerAttributes seen{};
  std::string refused;
  std::thread([&] {
    begin_ordinary();
    // Of this thread alone: libc's setresuid() would change all of them.
    ASSERT_EQ(syscall(SYS_setresuid, 65534, 65534, 65534), 0);
    refused = take_precedence();
    syscall(SYS_sched_getattr, 0, &seen, sizeof seen, 0);
  }).join();
  EXPECT_EQ(refused, "niceness -5: Operation not permitted");
  EXPECT_EQ(seen.nice, 0);
  if (turns_can_be_asked_for()) {
    EXPECT_EQ(seen.runtime_ns, kTurnNs);
  }
}

}  // namespace
}  // namespace bulkhead::worker
