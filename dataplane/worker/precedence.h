// A worker's place among the threads of its processor.
//
// Where containers run on a worker's processor, too, they wait for the packets that it carries, and it waits for its turn. The
// kernel's fair scheduler hands out turns of 0.7 to 3 ms, in which dozens of super-packets could cross; who gives its processor
// away (sched_yield) goes to the end of such a queue. So a worker asks for short turns, which come at once and are over at once, and
// for some more weight than a container has. With both it can afford to sleep as soon as nothing is there, as it will be woken in time.
// On a processor of its own nothing of this matters.
#pragma once

#include <cstdint>
#include <string>

namespace bulkhead::worker {

/// Three times the weight of a container's thread.
constexpr std::int32_t kNice = -5;
/// The shortest that kernels grant. Before Linux 6.12 they take no notice.
constexpr std::uint64_t kTurnNs = 100'000;

/// `struct sched_attr` of sched_setattr(2), its first version (48 bytes). The kernel's header that declares it cannot be included
/// beside <sched.h>.
struct SchedulerAttributes {
  std::uint32_t size = sizeof(SchedulerAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime_ns = 0;  // of a fair policy: the length of a turn
  std::uint64_t deadline_ns = 0, period_ns = 0;
};

/// For the calling thread. What somebody has chosen already stays: a niceness that is not 0 (nice, systemd's Nice=), and with another
/// policy of the scheduler than the ordinary one (chrt) everything.
///
/// Returns nothing, or what was refused: a niceness below 0 needs CAP_SYS_NICE. The short turns are asked for all the same.
/// Source: sched_setattr(2), Documentation/scheduler/sched-eevdf.rst of Linux.
std::string take_precedence();

}  // namespace bulkhead::worker
