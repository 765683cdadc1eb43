#include "dataplane/control/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace bulkhead::control {
namespace {

constexpr std::uint32_t kSmallRoom = RTE_PKTMBUF_HEADROOM + 2048;
constexpr std::uint32_t kLargeRoom = 65535;  // the most an mbuf can hold; with the small segment: any packet
constexpr std::uint32_t kLargeBuffers = 192;
constexpr std::uint32_t kMbufOverhead = 256;

std::uint64_t pool_bytes(const Options& options) {
  return std::uint64_t{options.packets} * (kSmallRoom + kMbufOverhead) +
         std::uint64_t{kLargeBuffers} * options.workers * (kLargeRoom + kMbufOverhead);
}

/// Of the default size, free now.
std::uint64_t free_hugepage_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  std::uint64_t value = 0, pages = 0, kilobytes = 0;
  std::string rest;
  while (meminfo >> key >> value && std::getline(meminfo, rest)) {
    if (key == "HugePages_Free:") pages = value;
    if (key == "Hugepagesize:") kilobytes = value;
  }
  return pages * kilobytes * 1024;
}

std::vector<std::uint32_t> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<std::uint32_t> cpus;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (std::uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

/// "0@(0,1),1@1": the control lcore floats, each worker has its processor.
std::string lcores(const Options& options) {
  const std::vector<std::uint32_t> allowed = allowed_cpus();
  std::ostringstream text;
  text << "0@(";
  for (std::size_t i = 0; i < allowed.size(); ++i) text << (i != 0 ? "," : "") << allowed[i];
  text << ")";
  for (std::uint32_t worker = 0; worker < options.workers; ++worker) {
    const std::uint32_t cpu = options.cpus.empty() ? allowed[allowed.size() - 1 - worker % allowed.size()]
                                                   : options.cpus[worker % options.cpus.size()];
    text << "," << worker + 1 << "@" << cpu;
  }
  return text.str();
}

/// A mount made in a mount namespace of our own (`ip netns exec`, a container) would end with us, and the flow table with it.
bool mounts_outlive_us() {
  struct stat own {
  }, init{};
  return stat("/proc/self/ns/mnt", &own) == 0 && stat("/proc/1/ns/mnt", &init) == 0 &&
         own.st_ino == init.st_ino;
}

bool wants_pci(const Options& options) {
  return std::any_of(options.eal.begin(), options.eal.end(), [](const std::string& argument) {
    return argument == "-a" || argument.rfind("--allow", 0) == 0 || argument == "--pci";
  });
}

}  // namespace

std::variant<Eal, std::string> start_eal(const Options& options) {
  Eal eal;
  const std::vector<std::uint32_t> allowed = allowed_cpus();
  for (const std::uint32_t cpu : options.cpus)
    if (std::find(allowed.begin(), allowed.end(), cpu) == allowed.end())
      return "--cpus: processor " + std::to_string(cpu) + " found, expected one that this process may use";
  const std::uint64_t needed = pool_bytes(options) + (std::uint64_t{32} << 20);
  eal.hugepages = options.hugepages && free_hugepage_bytes() >= needed;
  if (options.hugepages && !eal.hugepages)
    spdlog::warn(
        "{} MiB of free hugepages found, {} MiB wanted: going on without; packets cost more "
        "(sysctl vm.nr_hugepages={} would do)",
        free_hugepage_bytes() >> 20, needed >> 20, (needed >> 21) + 160);

  // Either way no file is left behind. Ordinary memory is "legacy" to DPDK 22.11, which it refuses --in-memory for.
  std::vector<std::string> arguments = {"bulkhead-dataplane", eal.hugepages ? "--in-memory" : "--no-shconf",
                                        "--no-telemetry", "--lcores", lcores(options)};
  if (!wants_pci(options)) arguments.emplace_back("--no-pci");
  if (!eal.hugepages) {
    arguments.insert(arguments.end(), {"--no-huge", "-m", std::to_string((needed >> 20) + 32)});
  }
  arguments.insert(arguments.end(), {"--log-level", "*:warning", "--log-level", "lib.eal:error"});
  arguments.insert(arguments.end(), options.eal.begin(), options.eal.end());
  std::erase(arguments, "--pci");

  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
    return std::string("DPDK does not start: ") + rte_strerror(rte_errno);

  eal.pools.small = rte_pktmbuf_pool_create("small", options.packets - 1, 256, 0, kSmallRoom, SOCKET_ID_ANY);
  if (eal.pools.small == nullptr)
    return "no memory for " + std::to_string(options.packets) + " packet buffers: " + rte_strerror(rte_errno);
  eal.pools.large =
      rte_pktmbuf_pool_create("large", kLargeBuffers * options.workers - 1, 8, 0, kLargeRoom, SOCKET_ID_ANY);
  if (eal.pools.large == nullptr)
    return std::string("no memory for super-packets: ") + rte_strerror(rte_errno);
  return eal;
}

std::string find_huge_dir(const Options& options) {
  if (!options.hugepages) return {};
  if (!options.huge_dir.empty()) return options.huge_dir;
  if (free_hugepage_bytes() == 0) return {};
  const std::string own = options.run_dir + "/hugepages";
  std::ifstream mounts("/proc/mounts");
  std::string device, where, type, rest, found;
  while (mounts >> device >> where >> type && std::getline(mounts, rest)) {
    if (type != "hugetlbfs") continue;
    if (where == own) return own;
    found = where;
  }
  if (!found.empty()) return found;
  if (!mounts_outlive_us()) {
    spdlog::warn(
        "no hugetlbfs is mounted, and a mount made here would not outlive this process: the flow table lies "
        "in {}; "
        "mount hugetlbfs for it, or give --huge-dir",
        options.run_dir);
    return {};
  }
  if (mkdir(own.c_str(), 0700) != 0 && errno != EEXIST) return {};
  if (mount("hugetlbfs", own.c_str(), "hugetlbfs", 0, "mode=0700") != 0) {
    spdlog::warn("hugetlbfs cannot be mounted on {}: {}; the flow table lies in ordinary memory", own,
                 strerror(errno));
    return {};
  }
  return own;
}

}  // namespace bulkhead::control
