// The telemetry region: who made it may write it, everybody else can only look.
//
// One memfd, mapped writable here once and then sealed against any further writable mapping
// (F_SEAL_FUTURE_WRITE), growth and shrinking. Each worker owns one WorkerBlock and is its only writer;
// readers hold a read-only mapping of the same pages. The region dies with the process; readers notice by the
// socket, not by the mapping.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "dataplane/abi/telemetry.h"

namespace bulkhead::telemetry {

class Region {
 public:
  /// Sized for `workers` (1 to abi::kWorkersMax). The error names the system call that failed.
  static std::variant<Region, std::string> create(std::uint32_t workers);

  Region(Region&& other) noexcept;
  Region& operator=(Region&&) = delete;
  ~Region();

  abi::WorkerBlock& block(std::uint32_t worker) { return blocks_[worker]; }
  int fd() const { return fd_; }  // readable by whoever receives it
  std::uint64_t bytes() const { return header_->bytes; }
  std::uint64_t started_ms() const { return header_->started_ms; }

 private:
  Region(int fd, void* memory);
  int fd_;
  abi::TelemetryHeader* header_;
  std::span<abi::WorkerBlock> blocks_;
};

/// A counter has one writer, so a plain add with a relaxed store is exact; readers see whole values.
inline void add(std::uint64_t& counter, std::uint64_t amount) {
  __atomic_store_n(&counter, counter + amount, __ATOMIC_RELAXED);
}

}  // namespace bulkhead::telemetry
