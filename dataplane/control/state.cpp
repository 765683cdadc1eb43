#include "dataplane/control/state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <type_traits>

#include "dataplane/control/server.h"

namespace bulkhead::control {
namespace {

constexpr std::uint64_t kEnforcedMagic = 0x31'46'4e'45'48'4b'4c'42;  // "BLKHENF1"
constexpr std::uint64_t kPortsMagic = 0x31'54'52'50'48'4b'4c'42;     // "BLKHPRT1"

struct EnforcedFile {
  std::uint64_t magic;
  std::uint64_t generation;
  char policy[80];
  char binding[80];
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

std::string write_all(const std::string& path, std::span<const std::byte> bytes) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd.get() < 0) return failed("writing " + path);
  while (!bytes.empty()) {
    const ssize_t written = write(fd.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return failed("writing " + path);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

/// All or nothing at `path`.
std::string replace(const std::string& path, std::span<const std::byte> bytes) {
  const std::string next = path + ".next";
  if (std::string reason = write_all(next, bytes); !reason.empty()) return reason;
  if (rename(next.c_str(), path.c_str()) != 0) return failed("replacing " + path);
  return {};
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
  const std::string policy = "policy-" + image::hex(enforced.view.policy->digest);
  const std::string binding = "binding-" + image::hex(enforced.view.binding->digest);
  if (policy != policy_name_)
    if (std::string reason = write_all(image_dir_ + "/" + policy, enforced.policy.bytes()); !reason.empty())
      return reason;
  if (binding != binding_name_)
    if (std::string reason = write_all(image_dir_ + "/" + binding, enforced.binding.bytes()); !reason.empty())
      return reason;

  EnforcedFile file{};
  file.magic = kEnforcedMagic;
  file.generation = enforced.generation;
  policy.copy(file.policy, sizeof file.policy - 1);
  binding.copy(file.binding, sizeof file.binding - 1);
  if (std::string reason = replace(image_dir_ + "/enforced", bytes_of(file)); !reason.empty()) return reason;
  for (const auto& [old, now] : {std::pair{&policy_name_, policy}, std::pair{&binding_name_, binding}}) {
    if (!old->empty() && *old != now) unlink((image_dir_ + "/" + *old).c_str());
    *old = now;
  }
  return {};
}

std::unique_ptr<swap::Enforced> State::load_image(std::string& reason) {
  const std::vector<std::byte> bytes = read_all(image_dir_ + "/enforced");
  if (bytes.empty()) return nullptr;
  EnforcedFile file;
  if (bytes.size() != sizeof file) {
    reason = image_dir_ + "/enforced has a wrong size";
    return nullptr;
  }
  std::memcpy(&file, bytes.data(), sizeof file);
  file.policy[sizeof file.policy - 1] = file.binding[sizeof file.binding - 1] = '\0';
  if (file.magic != kEnforcedMagic || file.generation == 0 || std::strchr(file.policy, '/') != nullptr ||
      std::strchr(file.binding, '/') != nullptr) {
    reason = image_dir_ + "/enforced is not ours";
    return nullptr;
  }
  auto policy = swap::Section::copy(read_all(image_dir_ + "/" + file.policy));
  auto binding = swap::Section::copy(read_all(image_dir_ + "/" + file.binding));
  for (const auto& [name, section] : {std::pair{file.policy, &policy}, std::pair{file.binding, &binding}})
    if (const auto* wrong = std::get_if<std::string>(section)) {
      reason = image_dir_ + "/" + name + ": " + *wrong;
      return nullptr;
    }
  auto loaded = swap::load(std::move(std::get<swap::Section>(policy)),
                           std::move(std::get<swap::Section>(binding)), file.generation);
  if (auto* wrong = std::get_if<std::string>(&loaded)) {
    reason = *wrong;
    return nullptr;
  }
  policy_name_ = file.policy;
  binding_name_ = file.binding;
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
