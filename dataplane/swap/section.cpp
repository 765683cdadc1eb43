#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/swap/enforced.h"

namespace bulkhead::swap {
namespace {

constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK;

std::string failed(const char* call) {
  return std::string(call) + ": " + strerror(errno);
}

}  // namespace

std::variant<Section, std::string> Section::map(int fd) {
  Section section(fd, {});
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) return std::string("section is not a sealable memory file: ") + strerror(errno);
  if ((seals & kSeals) != kSeals)
    return std::string("section is not sealed against writing, growing and shrinking");
  struct stat info {};
  if (fstat(fd, &info) != 0) return failed("fstat");
  if (info.st_size <= 0 || static_cast<std::uint64_t>(info.st_size) > image::kSectionBytesMax)
    return "section of " + std::to_string(info.st_size) + " bytes: expected 1 to " +
           std::to_string(image::kSectionBytesMax);
  const auto bytes = static_cast<std::size_t>(info.st_size);
  // Populated now, so that no worker meets a page fault on a packet's way.
  void* memory = mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (memory == MAP_FAILED) return failed("mmap of a section");
  section.bytes_ = {static_cast<const std::byte*>(memory), bytes};
  return section;
}

std::variant<Section, std::string> Section::copy(std::span<const std::byte> bytes) {
  const int fd = memfd_create("bulkhead-section", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return failed("memfd_create");
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t n = write(fd, bytes.data() + written, bytes.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      std::string reason = failed("write to a memory file");
      close(fd);
      return reason;
    }
    written += static_cast<std::size_t>(n);
  }
  if (fcntl(fd, F_ADD_SEALS, kSeals | F_SEAL_SEAL) != 0) {
    std::string reason = failed("fcntl(F_ADD_SEALS)");
    close(fd);
    return reason;
  }
  return map(fd);
}

Section::Section(Section&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, {})) {}

Section::~Section() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  if (fd_ >= 0) close(fd_);
}

}  // namespace bulkhead::swap
