// The data plane's command line. It reads no configuration file: what changes at run time comes over the socket.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/flow/timeouts.h"

namespace bulkhead::control {

struct Options {
  std::string run_dir = "/run/bulkhead";
  std::uint32_t workers = 1;
  std::vector<std::uint32_t>
      cpus;  // worker i runs on cpus[i]; empty: the last processors this process may use
  std::uint64_t flows_max = 1u << 20;
  bool hugepages = true;          // used if there are any
  std::string huge_dir;           // a hugetlbfs mount for the flow table; empty: found or mounted
  std::uint32_t packets = 16384;  // packet buffers
  std::vector<std::string> eal;   // handed to DPDK as they are
  std::string log_level = "info";
  flow::Timeouts timeouts;
};

/// Parses and checks. Prints help, version or one error line itself: then the value is the exit code (0 or 2).
struct Parsed {
  std::optional<Options> options;
  int exit_code = 0;
};
Parsed parse_options(int argc, const char* const* argv);

}  // namespace bulkhead::control
