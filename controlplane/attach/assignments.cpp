#include "controlplane/attach/assignments.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "dataplane/abi/telemetry.h"

namespace bulkhead::attach {
namespace {

constexpr int kFileVersion = 1;
constexpr std::uint64_t kAdoptSequencesMax = 4096;

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

std::uint64_t port_key(std::string_view endpoint_id, std::uint64_t sequence) {
  // The id may hold any byte: its length goes first, so that no two pairs have one encoding.
  std::string text = std::to_string(endpoint_id.size()) + ":";
  text.append(endpoint_id).append("#").append(std::to_string(sequence));
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  std::uint64_t key = 0;
  for (int i = 0; i < 8; ++i) key = key << 8 | digest[i];
  return key == 0 ? 1 : key;
}

Assignments::Assignments(std::string path) : path_(std::move(path)) {
  std::ifstream file(path_, std::ios::binary);
  if (!file) return;
  std::ostringstream text;
  text << file.rdbuf();
  try {
    load(text.str());
  } catch (const std::exception& error) {
    warning_ = path_ + ": " + error.what() + "; ports get new keys";
    assignments_.clear();
    last_sequence_ = 0;
  }
}

void Assignments::load(const std::string& text) {
  const auto root = nlohmann::json::parse(text);
  if (root.at("version").get<int>() != kFileVersion) throw std::runtime_error("another version");
  last_sequence_ = root.at("last_sequence").get<std::uint64_t>();
  std::set<std::uint32_t> ports;
  for (const auto& [id, item] : root.at("ports").items()) {
    Assignment assignment;
    assignment.port = item.at("port").get<std::uint32_t>();
    assignment.sequence = item.at("sequence").get<std::uint64_t>();
    assignment.place = item.at("place").get<std::string>();
    assignment.key = port_key(id, assignment.sequence);
    const bool in_range = assignment.port >= kFirstEndpointPort && assignment.port < abi::kPortsMax;
    if (!in_range || !ports.insert(assignment.port).second || assignment.sequence > last_sequence_) {
      throw std::runtime_error("the entry of " + id + " makes no sense");
    }
    assignments_[id] = std::move(assignment);
  }
}

const Assignment* Assignments::find(const std::string& endpoint_id) const {
  const auto found = assignments_.find(endpoint_id);
  return found == assignments_.end() ? nullptr : &found->second;
}

const Assignment* Assignments::at(const std::string& endpoint_id, const std::string& place,
                                  const std::set<std::uint32_t>& taken) {
  const auto found = assignments_.find(endpoint_id);
  if (found != assignments_.end()) {
    if (found->second.place != place) {
      found->second.place = place;
      renew(endpoint_id);
    }
    return &found->second;
  }
  std::set<std::uint32_t> used = taken;
  for (const auto& [id, assignment] : assignments_) used.insert(assignment.port);
  std::uint32_t port = kFirstEndpointPort;
  while (used.contains(port)) ++port;
  if (port >= abi::kPortsMax) return nullptr;
  const std::uint64_t sequence = ++last_sequence_;
  changed_ = true;
  return &(assignments_[endpoint_id] = {port, sequence, port_key(endpoint_id, sequence), place});
}

void Assignments::renew(const std::string& endpoint_id) {
  const auto found = assignments_.find(endpoint_id);
  if (found == assignments_.end()) return;
  found->second.sequence = ++last_sequence_;
  found->second.key = port_key(endpoint_id, found->second.sequence);
  changed_ = true;
}

bool Assignments::adopt(const std::string& endpoint_id, const std::string& place, std::uint32_t port,
                        std::uint64_t key) {
  if (assignments_.contains(endpoint_id) || port < kFirstEndpointPort || port >= abi::kPortsMax) return false;
  for (const auto& [id, assignment] : assignments_) {
    if (assignment.port == port) return false;
  }
  for (std::uint64_t sequence = 1; sequence <= kAdoptSequencesMax; ++sequence) {
    if (port_key(endpoint_id, sequence) != key) continue;
    assignments_[endpoint_id] = {port, sequence, key, place};
    last_sequence_ = std::max(last_sequence_, sequence);
    changed_ = true;
    return true;
  }
  return false;
}

void Assignments::release(const std::string& endpoint_id) {
  changed_ |= assignments_.erase(endpoint_id) != 0;
}

std::optional<std::string> Assignments::save() {
  if (!changed_) return std::nullopt;
  nlohmann::json ports = nlohmann::json::object();
  for (const auto& [id, assignment] : assignments_) {
    ports[id] = {{"port", assignment.port}, {"sequence", assignment.sequence}, {"place", assignment.place}};
  }
  const nlohmann::json root = {
      {"version", kFileVersion}, {"last_sequence", last_sequence_}, {"ports", std::move(ports)}};
  const std::string text = root.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";

  const std::string temporary = path_ + ".new";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && write_all(fd, text) && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!written) return temporary + ": " + std::strerror(reason);
  if (::rename(temporary.c_str(), path_.c_str()) != 0) return path_ + ": " + std::strerror(errno);
  changed_ = false;
  return std::nullopt;
}

}  // namespace bulkhead::attach
