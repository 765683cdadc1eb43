// Claim: the whole path (parse, source check, flow table, accounting, rewrite, transmit) forwards at least 55 % of what
// dpdk-testpmd does in macswap mode at 1,000 established flows, and 45 % at 1 million: one worker core, 64-byte packets, the same
// two null ports fed by the same feeder, in turns within one run.
//
//   bench/forward [--flows 1000,100000,1000000] [--rounds 5] [--seconds 2]
//
// Each round measures the peer, then the product; the ratio is of medians. Needs root, hugepages help both alike.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "controlplane/publish/channel.h"
#include "dataplane/abi/telemetry.h"
#include "dataplane/image/builder.h"

namespace bulkhead::bench {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::uint32_t kClientPort = 1, kServerPort = 2;
constexpr std::uint32_t kServerAddresses = 64;

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench/forward: " << what << "\n";
  std::exit(1);
}

/// A child process in its own group, with its output in a file and a pipe to its input.
class Child {
 public:
  Child(std::vector<std::string> words, const std::string& log) {
    int in[2];
    if (pipe(in) != 0) fail("pipe");
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(in[0], 0);
      dup2(out, 1);
      dup2(out, 2);
      close(in[1]);
      std::vector<char*> argv;
      for (auto& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      execvp(argv[0], argv.data());
      dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
      _exit(127);
    }
    close(in[0]);
    in_ = in[1];
  }
  void type(const char* text) { [[maybe_unused]] const ssize_t n = write(in_, text, std::strlen(text)); }
  void end() {
    if (pid_ <= 0) return;
    close(in_);
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  ~Child() { end(); }
  bool running() const { return waitpid(pid_, nullptr, WNOHANG) == 0; }

 private:
  pid_t pid_;
  int in_;
};

/// Everybody may talk to everybody: the established path does not depend on policy.
std::pair<std::vector<std::byte>, std::vector<std::byte>> open_image() {
  image::PolicyTables policy;
  policy.page_of.assign(image::kProtocolSlots * 256, 0);
  policy.pages.assign(image::kPageEntries, 0);
  policy.port_classes = 1;
  policy.rule_sets = 1;
  policy.verdicts = {image::kAllowBit};
  for (std::uint32_t direction = 0; direction < image::kDirections; ++direction) {
    policy.subject_classes[direction] = policy.peer_classes[direction] = 1;
    policy.matrix[direction] = {0};
    policy.subjects[direction] = {image::SubjectClass{0, 0, 0, 0, image::Verdict::kAllow, 0}};
  }
  policy.policies.resize(1);
  policy.rules.resize(1);
  constexpr image::Profile kEverybody = 1;
  policy.profiles = {{kEverybody, 1, {0, 0}, {0, 0}, image::kRecordEndpoint}};
  policy.worlds = {{0, 0, {image::kNoSubject, image::kNoSubject}, {0, 0}, image::kRecordWorld}};

  std::vector<abi::Address> addresses[2] = {{abi::address_v4(0x0a090001)}, {}};
  for (std::uint32_t k = 0; k < kServerAddresses; ++k)
    addresses[1].push_back(abi::address_v4(0x0a090101 + k));
  image::ShardTables shard;
  shard.endpoint_table = 4;
  for (std::uint32_t i = 1; i <= 2; ++i) {
    const char* name = i == 1 ? "client" : "server";
    shard.endpoints.push_back({"", name, name, i, i, image::kEndpointLocal, addresses[i - 1], i});
    for (const abi::Address& address : addresses[i - 1]) shard.bound.push_back({address, kEverybody, i});
  }
  return {std::get<std::vector<std::byte>>(image::build_policy(policy)),
          std::get<std::vector<std::byte>>(image::build_shard(shard))};
}

int sealed(const std::vector<std::byte>& bytes) {
  const int fd = memfd_create("section", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  if (write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) fail("memfd");
  fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  return fd;
}

struct Setup {
  std::string build, work;
  double seconds;
};

/// Packets per second that testpmd's one forwarding core sent.
double peer(const Setup& setup) {
  const std::string log = setup.work + "/testpmd.log";
  Child testpmd({"dpdk-testpmd", "-d", setup.build + "/bench/libbulkhead-feeder.so", "--lcores", "0@0,1@1",
                 "--in-memory", "--no-pci", "--file-prefix", "bulkhead-peer", "--vdev", "net_null0,size=64",
                 "--vdev", "net_null1,size=64", "--", "-i", "--forward-mode=macswap", "--nb-cores=1",
                 "--burst=64", "--total-num-mbufs=65536"},
                log);
  std::this_thread::sleep_for(Seconds(1.5));
  if (!testpmd.running()) fail("dpdk-testpmd (Debian's package dpdk-dev) does not start, see " + log);
  testpmd.type("start\n");
  std::this_thread::sleep_for(Seconds(1));
  testpmd.type("clear port stats all\n");
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(Seconds(setup.seconds));
  testpmd.type("show port stats all\n");
  const double took = Seconds(std::chrono::steady_clock::now() - begin).count();
  std::this_thread::sleep_for(Seconds(0.3));
  testpmd.type("stop\nquit\n");
  std::this_thread::sleep_for(Seconds(0.3));
  testpmd.end();
  // The first two are what `show port stats all` said; what comes after `stop` counts from another moment.
  std::ifstream in(log);
  double packets = 0, value = 0;
  int ports = 0;
  for (std::string word; ports < 2 && in >> word;)
    if (word == "TX-packets:" && in >> value) {
      packets += value;
      ++ports;
    }
  if (ports != 2) fail("no statistics of dpdk-testpmd in " + log);
  return packets / took;
}

double product(const Setup& setup, std::uint64_t flows) {
  const std::string run = setup.work + "/run", log = setup.work + "/dataplane.log";
  // A hugetlbfs of its own, which goes with this round: in one that is there already the flow table would outlive it, and be taken up.
  std::filesystem::create_directories(run + "/hugepages");
  mount("hugetlbfs", (run + "/hugepages").c_str(), "hugetlbfs", 0, "mode=0700");
  Child dataplane({setup.build + "/dataplane/bulkhead-dataplane", "--run-dir", run, "--cpus", "1",
                   "--packets", "65536", "--flows", std::to_string(flows + 64), "--eal", "-d", "--eal",
                   setup.build + "/bench/libbulkhead-feeder.so"},
                  log);
  std::optional<publish::Channel> channel;
  for (int attempt = 0; attempt < 100 && !channel; ++attempt) {
    std::this_thread::sleep_for(Seconds(0.1));
    try {
      channel.emplace(publish::Channel::connect(run + "/dataplane.sock", "bench"));
    } catch (const publish::ChannelError&) {
    }
  }
  if (!channel) fail("bulkhead-dataplane does not start, see " + log);
  for (std::uint32_t port : {kClientPort, kServerPort}) {
    abi::Attach attach{};
    attach.port = port;
    attach.port_key = port;
    attach.kind = abi::PortKind::kEthdev;
    attach.role = abi::kRoleEndpoint;
    attach.mac = {{2, 0, 0, 0, 0, static_cast<std::uint8_t>(port)}};
    std::snprintf(attach.device, sizeof attach.device, "net_null%u,size=64", port - 1);
    channel->attach(attach);
  }
  const auto [policy, shard] = open_image();
  const publish::OfferedSection sections[] = {{image::digest_of(policy), sealed(policy)},
                                              {image::digest_of(shard), sealed(shard)}};
  channel->swap(1, sections);

  const publish::Regions regions = channel->regions();
  const auto* header = static_cast<const abi::TelemetryHeader*>(
      mmap(nullptr, regions.telemetry_bytes, PROT_READ, MAP_SHARED, regions.telemetry.get(), 0));
  const auto& block = *reinterpret_cast<const abi::WorkerBlock*>(reinterpret_cast<const char*>(header) +
                                                                 header->blocks_offset);
  const auto sent = [&] {
    return __atomic_load_n(&block.ports[kClientPort].tx_packets, __ATOMIC_RELAXED) +
           __atomic_load_n(&block.ports[kServerPort].tx_packets, __ATOMIC_RELAXED);
  };
  // Every flow exists before the clock runs.
  for (int wait = 0; wait < 100 && __atomic_load_n(&block.flows_created, __ATOMIC_RELAXED) < flows; ++wait)
    std::this_thread::sleep_for(Seconds(0.1));
  if (block.flows_created < flows) fail("only " + std::to_string(block.flows_created) + " flows were made");
  std::this_thread::sleep_for(Seconds(0.5));
  const std::uint64_t before = sent(), created = block.flows_created;
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(Seconds(setup.seconds));
  const std::uint64_t after = sent();
  const double took = Seconds(std::chrono::steady_clock::now() - begin).count();
  if (block.flows_created != created) fail("flows ended while measuring");
  dataplane.end();
  umount2((run + "/hugepages").c_str(),
          MNT_DETACH);  // the flow table is kept for a restart; there will be none
  std::filesystem::remove_all(run);
  return static_cast<double>(after - before) / took;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int run(int argc, char** argv) {
  namespace po = boost::program_options;
  std::string flows_text = "1000,100000,1000000";
  int rounds = 5;
  Setup setup;
  setup.seconds = 2;
  po::options_description options("bench/forward");
  options.add_options()("help", "this text")("flows", po::value(&flows_text)->default_value(flows_text))(
      "rounds", po::value(&rounds)->default_value(rounds))(
      "seconds", po::value(&setup.seconds)->default_value(setup.seconds));
  po::variables_map values;
  try {
    po::store(po::parse_command_line(argc, argv, options), values);
    po::notify(values);
  } catch (const po::error& error) {
    std::cerr << error.what() << "\n";
    return 2;
  }
  if (values.count("help") != 0) {
    std::cout << options;
    return 0;
  }
  setup.build = std::filesystem::canonical("/proc/self/exe").parent_path().parent_path();
  char work[] = "/tmp/bulkhead-bench-XXXXXX";
  if (mkdtemp(work) == nullptr) fail("mkdtemp");
  setup.work = work;

  std::printf("%10s %16s %16s %8s\n", "flows", "macswap Mpps", "bulkhead Mpps", "ratio");
  std::istringstream in(flows_text);
  for (std::string text; std::getline(in, text, ',');) {
    setenv("BULKHEAD_FEEDER_FLOWS", text.c_str(), 1);
    std::vector<double> theirs, ours;
    for (int round = 0; round < rounds; ++round) {
      theirs.push_back(peer(setup));
      ours.push_back(product(setup, std::strtoull(text.c_str(), nullptr, 10)));
    }
    std::printf("%10s %16.2f %16.2f %7.1f%%\n", text.c_str(), median(theirs) / 1e6, median(ours) / 1e6,
                100 * median(ours) / median(theirs));
    std::fflush(stdout);
  }
  std::filesystem::remove_all(setup.work);
  return 0;
}

}  // namespace bulkhead::bench

int main(int argc, char** argv) {
  return bulkhead::bench::run(argc, argv);
}
