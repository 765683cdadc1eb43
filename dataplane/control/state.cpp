#include "dataplane/control/state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <type_traits>

#include "dataplane/control/server.h"

namespace bulkhead::control {
namespace {

constexpr std::uint64_t kEnforcedMagic = 0x32'46'4e'45'48'4b'4c'42;  // "BLKHENF2"
constexpr std::uint64_t kPortsMagic = 0x31'54'52'50'48'4b'4c'42;     // "BLKHPRT1"

/// Digests follow.
struct EnforcedHeader {
  std::uint64_t magic;
  std::uint64_t generation;
  std::uint64_t sections;
};

struct PortsHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t count;
};
static_assert(std::is_trivially_copyable_v<SavedPort>);

std::string failed(const std::string& what) {
  return what + ": " + strerror(errno);
}

/// Over what is there: pages that a file has need not be found again.
std::string write_all(const std::string& path, std::span<const std::byte> bytes) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (fd.get() < 0 || ftruncate(fd.get(), static_cast<off_t>(bytes.size())) != 0)
    return failed("writing " + path);
  while (!bytes.empty()) {
    const ssize_t written = write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed("writing " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

/// All or nothing at `path`. What was there becomes the next one's paper.
std::string replace(const std::string& path, std::span<const std::byte> bytes) {
  const std::string next = path + ".next";
  if (std::string reason = write_all(next, bytes); !reason.empty()) return reason;
  if (renameat2(AT_FDCWD, next.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) return {};
  if (rename(next.c_str(), path.c_str()) != 0) return failed("replacing " + path);
  return {};
}

/// What is no section, and may be written over: as large as the next of its kind, most likely.
const char* spare_name(std::size_t place) {
  return place == 0 ? "/spare-policy" : "/spare-shard";
}

std::vector<std::byte> read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return {};
  const std::streamoff size = in.tellg();
  if (size < 0 || static_cast<std::uint64_t>(size) > image::kSectionBytesMax) return {};  // a directory, say
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) return {};
  return bytes;
}

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

/// Most likely at the same place, else anywhere.
bool holds(const std::vector<image::Digest>& digests, std::size_t place, const image::Digest& digest) {
  return (place < digests.size() && digests[place] == digest) ||
         std::find(digests.begin(), digests.end(), digest) != digests.end();
}

}  // namespace

NetnsId netns_id(int fd) {
  struct stat info {};
  if (fd < 0 || fstat(fd, &info) != 0) return {};
  return {info.st_dev, info.st_ino};
}

NetnsId netns_id(const char* path) {
  struct stat info {};
  if (stat(path, &info) != 0) return {};
  return {info.st_dev, info.st_ino};
}

State::State(const std::string& run_dir) : image_dir_(run_dir + "/image"), ports_file_(run_dir + "/ports") {
  std::filesystem::create_directories(image_dir_);
  std::filesystem::permissions(image_dir_, std::filesystem::perms::owner_all);
}

std::string State::save_image(const swap::Enforced& enforced) {
  const EnforcedHeader header{kEnforcedMagic, enforced.generation, enforced.sections.size()};
  std::vector<std::byte> file(bytes_of(header).begin(), bytes_of(header).end());
  std::vector<image::Digest> digests;
  for (const swap::SharedSection& section : enforced.sections) {
    const auto digest = std::as_bytes(std::span(section->digest.bytes));
    file.insert(file.end(), digest.begin(), digest.end());
    if (!holds(saved_, digests.size(), section->digest)) {
      const std::string spare = image_dir_ + spare_name(digests.size()), path = path_of(section->digest);
      if (std::string reason = write_all(spare, section->section.bytes()); !reason.empty()) return reason;
      if (rename(spare.c_str(), path.c_str()) != 0) return failed("writing " + path);
    }
    digests.push_back(section->digest);
  }
  if (std::string reason = replace(image_dir_ + "/enforced", file); !reason.empty()) return reason;
  for (std::size_t i = 0; i < saved_.size(); ++i)
    if (!holds(digests, i, saved_[i]))
      rename(path_of(saved_[i]).c_str(), (image_dir_ + spare_name(i)).c_str());
  saved_ = std::move(digests);
  return {};
}

/// Sections that a process wrote and was killed before it could name them.
void State::remove_strangers() const {
  std::error_code ignored;
  constexpr std::size_t kNameBytes = 2 * sizeof(image::Digest);
  for (const auto& entry : std::filesystem::directory_iterator(image_dir_, ignored)) {
    const std::string name = entry.path().filename();
    const bool known = std::any_of(saved_.begin(), saved_.end(),
                                   [&](const image::Digest& digest) { return image::hex(digest) == name; });
    if (name.size() == kNameBytes && !known) std::filesystem::remove(entry.path(), ignored);
  }
}

std::string State::path_of(const image::Digest& section) const {
  return image_dir_ + "/" + image::hex(section);
}

std::unique_ptr<swap::Enforced> State::load_image(std::string& reason) {
  const std::string path = image_dir_ + "/enforced";
  const std::vector<std::byte> bytes = read_all(path);
  if (bytes.empty()) return nullptr;
  EnforcedHeader header{};
  if (bytes.size() >= sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kEnforcedMagic || header.generation == 0 || header.sections > abi::kSectionsMax ||
      bytes.size() != sizeof header + header.sections * sizeof(image::Digest)) {
    reason = path + " is not ours, or cut short";
    return nullptr;
  }
  std::vector<swap::SharedSection> sections;
  std::vector<image::Digest> digests;
  for (std::size_t i = 0; i < header.sections; ++i) {
    image::Digest digest;
    std::memcpy(digest.bytes, bytes.data() + sizeof header + i * sizeof digest, sizeof digest);
    digests.push_back(digest);
    const std::string name = image::hex(digest);
    auto copied = swap::Section::copy(read_all(image_dir_ + "/" + name));
    const auto* wrong = std::get_if<std::string>(&copied);
    if (wrong != nullptr) {
      reason = image_dir_ + "/" + name + ": " + *wrong;
      return nullptr;
    }
    auto checked = swap::check(std::move(std::get<swap::Section>(copied)));
    if (wrong = std::get_if<std::string>(&checked); wrong != nullptr) {
      reason = image_dir_ + "/" + name + ": " + *wrong;
      return nullptr;
    }
    sections.push_back(std::get<swap::SharedSection>(checked));
    if (!(sections.back()->digest == digest)) {
      reason = image_dir_ + "/" + name + " holds another section than its name says";
      return nullptr;
    }
  }
  image::ImageDigests no_others;
  auto loaded = swap::load(std::move(sections), header.generation, no_others);
  if (auto* wrong = std::get_if<std::string>(&loaded)) {
    reason = *wrong;
    return nullptr;
  }
  saved_ = std::move(digests);
  remove_strangers();
  return std::move(std::get<std::unique_ptr<swap::Enforced>>(loaded));
}

std::string State::save_ports(const std::vector<SavedPort>& ports) {
  const PortsHeader header{kPortsMagic, abi::kVersion, static_cast<std::uint32_t>(ports.size())};
  std::vector<std::byte> bytes(sizeof header + ports.size() * sizeof(SavedPort));
  std::memcpy(bytes.data(), &header, sizeof header);
  if (!ports.empty())
    std::memcpy(bytes.data() + sizeof header, ports.data(), ports.size() * sizeof(SavedPort));
  return replace(ports_file_, bytes);
}

std::vector<SavedPort> State::load_ports() const {
  const std::vector<std::byte> bytes = read_all(ports_file_);
  PortsHeader header{};
  if (bytes.size() < sizeof header) return {};
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kPortsMagic || header.version != abi::kVersion || header.count >= abi::kPortsMax ||
      bytes.size() != sizeof header + header.count * sizeof(SavedPort))
    return {};
  std::vector<SavedPort> ports(header.count);
  if (!ports.empty())
    std::memcpy(ports.data(), bytes.data() + sizeof header, ports.size() * sizeof(SavedPort));
  return ports;
}

}  // namespace bulkhead::control
