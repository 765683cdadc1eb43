// Starting DPDK: lcores, memory, packet pools, and a clear word about hugepages.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "dataplane/control/options.h"
#include "dataplane/port/port.h"

namespace bulkhead::control {

struct Eal {
  port::Pools pools;
  bool hugepages = false;  // packet memory lies in hugepages
};

/// Once a process, before anything else of DPDK. lcore 0 becomes the calling thread, workers are lcores 1 to N. Without
/// hugepages it says so and goes on without. The error names what to change.
std::variant<Eal, std::string> start_eal(const Options& options);

/// The hugetlbfs directory that the flow table should lie in: the given one, a mount that exists, or one mounted under
/// the run directory. Empty: there are no free hugepages.
std::string find_huge_dir(const Options& options);

}  // namespace bulkhead::control
