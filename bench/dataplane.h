// A data plane for one bench: started with a run directory of its own, asked over its socket, read through its telemetry region,
// and gone with everything it made when this object goes.
#pragma once

#include <cstdint>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "controlplane/publish/channel.h"
#include "dataplane/abi/telemetry.h"

namespace bulkhead::bench {

/// Why a bench cannot measure; its text is for people.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The MAC of the endpoint on a port.
inline abi::Mac mac_of(std::uint32_t port) {
  return {{2, 0, 0, 0, 0, static_cast<std::uint8_t>(port)}};
}

inline std::uint64_t load(const std::uint64_t& counter) {
  return __atomic_load_n(&counter, __ATOMIC_RELAXED);
}

class Dataplane {
 public:
  /// Starts build/dataplane/bulkhead-dataplane with one worker and these arguments beside --run-dir, and says hello.
  explicit Dataplane(const std::vector<std::string>& arguments);
  ~Dataplane();
  Dataplane(const Dataplane&) = delete;

  publish::Channel& channel() { return *channel_; }
  const abi::WorkerBlock& block() const { return *block_; }
  const std::string& directory() const { return directory_; }  // for whatever else the bench writes
  /// All that is left after a failure, so that it can be read.
  std::string log() const { return log_; }

  /// A DPDK device as the endpoint's port whose number and key are `port`.
  void attach_ethdev(std::uint32_t port, const std::string& device);

 private:
  void start(std::vector<std::string> words);
  void connect();
  void end();

  std::string directory_, log_;
  int exceptions_ = std::uncaught_exceptions();
  int pid_ = -1;
  std::optional<publish::Channel> channel_;
  const void* region_ = nullptr;
  std::size_t region_bytes_ = 0;
  const abi::WorkerBlock* block_ = nullptr;
};

}  // namespace bulkhead::bench
