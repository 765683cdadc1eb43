#include "bench/dataplane.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <thread>

namespace bulkhead::bench {

Dataplane::Dataplane(const std::vector<std::string>& arguments) {
  // A memory file system, as /run is on a real node: every image is saved in the run directory.
  char name[] = "/dev/shm/bulkhead-bench-XXXXXX";
  if (mkdtemp(name) == nullptr) throw Failure("cannot make a directory in /dev/shm");
  directory_ = name;
  log_ = directory_ + "/dataplane.log";
  std::vector<std::string> words = {std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() /
                                        "dataplane/bulkhead-dataplane",
                                    "--run-dir", directory_};
  words.insert(words.end(), arguments.begin(), arguments.end());
  try {
    start(std::move(words));
    connect();
  } catch (...) {
    end();
    throw;
  }
}

Dataplane::~Dataplane() {
  end();
  if (std::uncaught_exceptions() == exceptions_) std::filesystem::remove_all(directory_);
}

void Dataplane::start(std::vector<std::string> words) {
  pid_ = fork();
  if (pid_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  setpgid(0, 0);  // a terminal's interrupt is for the bench, which then ends this
  const int out = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(out, 1);
  dup2(out, 2);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

void Dataplane::connect() {
  for (int attempt = 0; attempt < 100 && !channel_; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (waitpid(pid_, nullptr, WNOHANG) != 0) {
      pid_ = -1;
      break;
    }
    try {
      channel_.emplace(publish::Channel::connect(directory_ + "/dataplane.sock", "bench"));
    } catch (const publish::ChannelError&) {
    }
  }
  if (!channel_)
    throw Failure("bulkhead-dataplane does not start, see " + log_ + " (was it built? ninja -C build)");
  const publish::Regions regions = channel_->regions();
  region_bytes_ = regions.telemetry_bytes;
  region_ = mmap(nullptr, region_bytes_, PROT_READ, MAP_SHARED, regions.telemetry.get(), 0);
  if (region_ == MAP_FAILED) throw Failure("cannot map the telemetry region");
  const auto* header = static_cast<const abi::TelemetryHeader*>(region_);
  block_ = reinterpret_cast<const abi::WorkerBlock*>(static_cast<const std::byte*>(region_) +
                                                     header->blocks_offset);
}

void Dataplane::attach_ethdev(std::uint32_t port, const std::string& device) {
  abi::Attach attach{};
  attach.port = port;
  attach.port_key = port;
  attach.kind = abi::PortKind::kEthdev;
  attach.role = abi::kRoleEndpoint;
  attach.mac = mac_of(port);
  if (device.size() >= sizeof attach.device) throw Failure("device name too long: " + device);
  std::snprintf(attach.device, sizeof attach.device, "%s", device.c_str());
  channel_->attach(attach);
}

void Dataplane::end() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  if (region_ != nullptr) munmap(const_cast<void*>(region_), region_bytes_);
  region_ = nullptr;
  // The flow table is kept there for a restart; there will be none.
  umount2((directory_ + "/hugepages").c_str(), MNT_DETACH);
  std::vector<std::filesystem::path> made(std::filesystem::directory_iterator{directory_}, {});
  for (const auto& path : made)
    if (path != log_) std::filesystem::remove_all(path);
}

}  // namespace bulkhead::bench
