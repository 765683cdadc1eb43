#include "dataplane/telemetry/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "dataplane/abi/messages.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace bulkhead::telemetry {
namespace {

std::uint64_t unix_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
}

std::string failed(const char* call) {
  return std::string("telemetry region: ") + call + ": " + strerror(errno);
}

}  // namespace

std::variant<Region, std::string> Region::create(std::uint32_t workers) {
  assert(workers >= 1 && workers <= abi::kWorkersMax);
  const std::uint64_t bytes = sizeof(abi::TelemetryHeader) + workers * sizeof(abi::WorkerBlock);
  const int fd = memfd_create("bulkhead-telemetry", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return failed("memfd_create");
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    std::string reason = failed("ftruncate");
    close(fd);
    return reason;
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) {
    std::string reason = failed("mmap");
    close(fd);
    return reason;
  }
  // Our mapping stays writable; from here on nobody, this process included, can make another one.
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    std::string reason = failed("fcntl(F_ADD_SEALS)");
    munmap(memory, bytes);
    close(fd);
    return reason;
  }
  auto* header = static_cast<abi::TelemetryHeader*>(memory);
  header->magic = abi::kTelemetryMagic;
  header->version = abi::kVersion;
  header->workers = workers;
  header->started_ms = unix_ms();
  header->blocks_offset = sizeof(abi::TelemetryHeader);
  header->bytes = bytes;
  return Region(fd, memory);
}

Region::Region(int fd, void* memory)
    : fd_(fd),
      header_(static_cast<abi::TelemetryHeader*>(memory)),
      blocks_(reinterpret_cast<abi::WorkerBlock*>(static_cast<char*>(memory) + header_->blocks_offset),
              header_->workers) {}

Region::Region(Region&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      header_(std::exchange(other.header_, nullptr)),
      blocks_(other.blocks_) {}

Region::~Region() {
  if (header_ != nullptr) munmap(header_, header_->bytes);
  if (fd_ >= 0) close(fd_);
}

}  // namespace bulkhead::telemetry
