#include "dataplane/flow/memory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <system_error>
#include <utility>

namespace bulkhead::flow {
namespace {

constexpr long kHugetlbfsMagic = 0x958458f6;
constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, Linux 5.14

std::string words(const char* what, const std::string& path) {
  return path + ": cannot " + what + ": " + std::generic_category().message(errno);
}

/// The bytes of a file at `path`, all of them reserved; or why not.
struct Mapped {
  int fd = -1;
  std::span<std::byte> bytes;
  std::string error;
  bool busy = false;  // another process has it
};

Mapped fail(int fd, std::string error) {
  if (fd >= 0) close(fd);
  return {-1, {}, std::move(error), false};
}

/// Reserves every page, so that a full file system is an error here and not a SIGBUS later.
bool reserve(int fd, std::span<std::byte> bytes) {
  if (madvise(bytes.data(), bytes.size(), kPopulateWrite) == 0) return true;
  if (errno != EINVAL) {
    if (errno == EFAULT) errno = ENOSPC;  // what the kernel says for a page that could not be had
    return false;
  }
  errno = posix_fallocate(fd, 0, static_cast<off_t>(bytes.size()));
  return errno == 0;
}

Mapped map_file(const std::string& path, std::uint64_t bytes, bool hugepages) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (fd < 0) return fail(fd, words("open the flow table's file", path));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    Mapped taken =
        fail(fd, path + ": another data plane holds this flow table (expected: one per directory)");
    taken.busy = true;
    return taken;
  }
  struct stat status {};
  if (fstat(fd, &status) != 0) return fail(fd, words("stat the flow table's file", path));
  const bool same_size = static_cast<std::uint64_t>(status.st_size) == bytes;
  if (!same_size && (ftruncate(fd, 0) != 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0))
    return fail(fd, words("size the flow table's file", path));
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return fail(fd, words(("map " + std::to_string(bytes >> 20) + " MiB").c_str(), path));
  const std::span<std::byte> mapped(static_cast<std::byte*>(at), bytes);
  if (!hugepages) madvise(at, bytes, MADV_HUGEPAGE);  // a wish: tmpfs grants it where the kernel is set so
  if (!reserve(fd, mapped)) {
    std::string error = words(("reserve " + std::to_string(bytes >> 20) + " MiB").c_str(), path);
    munmap(at, bytes);
    return fail(fd, std::move(error));
  }
  return {fd, mapped, {}, false};
}

/// A boot id is a UUID in text.
void read_boot_id(std::uint8_t (&id)[16]) {
  const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char text[64] = {};
  const ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  unsigned digits = 0;
  for (ssize_t i = 0; i < length && digits < 32; ++i) {
    const char c = text[i];
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (value < 0) continue;
    id[digits / 2] = static_cast<std::uint8_t>(id[digits / 2] << 4 | value);
    ++digits;
  }
}

}  // namespace

Memory::Memory(Memory&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      fd_(std::exchange(other.fd_, -1)),
      read_only_fd_(std::exchange(other.read_only_fd_, -1)),
      hugepages_(other.hugepages_),
      path_(std::move(other.path_)),
      notice_(std::move(other.notice_)) {}

Memory::~Memory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
  if (read_only_fd_ >= 0) close(read_only_fd_);
  if (fd_ >= 0) close(fd_);
}

std::variant<Memory, MemoryError> open_memory(const MemoryOptions& options) {
  const std::uint64_t bytes = geometry(options.flows_max).bytes;
  Memory memory;
  Mapped mapped;
  if (!options.hugepage_directory.empty()) {
    memory.path_ = options.hugepage_directory + "/bulkhead-flows";
    struct statfs mount {};
    if (statfs(options.hugepage_directory.c_str(), &mount) != 0) {
      mapped.error = words("look at the hugepage directory", options.hugepage_directory);
    } else if (static_cast<long>(mount.f_type) != kHugetlbfsMagic) {
      mapped.error = options.hugepage_directory + ": not a hugetlbfs mount";
    } else {
      const auto page = static_cast<std::uint64_t>(mount.f_bsize);
      mapped = map_file(memory.path_, (bytes + page - 1) / page * page, true);
    }
    memory.hugepages_ = mapped.fd >= 0;
    memory.notice_ = mapped.error;
  }
  if (mapped.fd < 0 && !mapped.busy) {
    // An empty hugetlbfs file would only mislead whoever looks for the table.
    if (!memory.path_.empty() && access(memory.path_.c_str(), F_OK) == 0) unlink(memory.path_.c_str());
    memory.path_ = options.run_directory + "/flows";
    mapped = map_file(memory.path_, bytes, false);
  }
  if (mapped.fd < 0) return MemoryError{mapped.error};
  memory.bytes_ = mapped.bytes;
  memory.fd_ = mapped.fd;
  memory.read_only_fd_ = open(memory.path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (memory.read_only_fd_ < 0)
    return MemoryError{words("open the flow table's file for reading", memory.path_)};
  return memory;
}

TableOptions table_options(std::uint64_t flows_max, std::uint32_t workers) {
  TableOptions options;
  options.flows_max = flows_max;
  options.workers = workers;
  options.boottime_s = boottime_s();
  read_boot_id(options.boot_id);
  if (getrandom(options.hash_seed, sizeof options.hash_seed, 0) != sizeof options.hash_seed)
    __builtin_trap();  // cannot happen: at most 256 bytes are never cut short (getrandom(2))
  return options;
}

std::uint64_t boottime_s() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec);
}

}  // namespace bulkhead::flow
