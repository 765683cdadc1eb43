// The file that the flow table lies in, so that it survives the process.
//
// In hugepages (`<hugepage_directory>/bulkhead-flows`) where a hugetlbfs mount is given and has room, else
// `<run_directory>/flows`, which should be on tmpfs. All of it is reserved at once: a table that was opened
// never faults for want of memory later. The file is locked while it is open: a second data plane is refused,
// and a tool's read-only mapping is not affected. A file of another size is made anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>

#include "dataplane/flow/table.h"

namespace bulkhead::flow {

struct MemoryOptions {
  std::string run_directory;       // exists and is writable
  std::string hugepage_directory;  // a hugetlbfs mount; empty: do not try
  std::uint64_t flows_max = 1'000'000;
};

/// One sentence for people: path, what failed, why.
struct MemoryError {
  std::string reason;
};

/// The mapping. Closing it leaves the file in place.
class Memory {
 public:
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&&) = delete;
  ~Memory();

  std::span<std::byte> bytes() const { return bytes_; }
  /// Opened O_RDONLY, for tools (abi kRegions); owned by this object.
  int read_only_fd() const { return read_only_fd_; }
  bool hugepages() const { return hugepages_; }
  const std::string& path() const { return path_; }
  /// Why hugepages were not used though a directory was given; empty otherwise.
  const std::string& notice() const { return notice_; }

 private:
  friend std::variant<Memory, MemoryError> open_memory(const MemoryOptions& options);
  Memory() = default;

  std::span<std::byte> bytes_;
  int fd_ = -1;
  int read_only_fd_ = -1;
  bool hugepages_ = false;
  std::string path_;
  std::string notice_;
};

std::variant<Memory, MemoryError> open_memory(const MemoryOptions& options);

/// Table options of this machine at this moment: boot id, clock and a random seed.
TableOptions table_options(std::uint64_t flows_max, std::uint32_t workers);

/// CLOCK_BOOTTIME in seconds; what Table::clock_s() takes.
std::uint64_t boottime_s();

}  // namespace bulkhead::flow
