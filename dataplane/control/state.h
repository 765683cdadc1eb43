// What a restarted data plane finds again: the last image and the ports, as files in the run directory.
//
//   <run>/image/<digest>     the sections, as they were published
//   <run>/image/enforced     which of them, in order, and the generation
//   <run>/ports              the attach requests in force, with the identity of their namespace
//
// `enforced` and `ports` are replaced by rename, so a reader sees the old or the new state, whole, whenever the process was
// killed. The run directory is on tmpfs: a reboot starts from nothing, and with nothing forwarded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/abi/messages.h"
#include "dataplane/swap/enforced.h"

namespace bulkhead::control {

/// A namespace's identity: a path may lead to another namespace after a restart (a reused process id).
struct NetnsId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  bool operator==(const NetnsId&) const = default;
};

/// Zero if `fd` is -1.
NetnsId netns_id(int fd);
/// Zero if `path` leads nowhere.
NetnsId netns_id(const char* path);

struct SavedPort {
  abi::Attach request;
  NetnsId netns;
  bool path_leads = false;  // netns_path led to `netns` when the port was opened; not saved
};

class State {
 public:
  /// Makes the directories. Throws std::system_error if it cannot.
  explicit State(const std::string& run_dir);

  /// Errors are returned for logging: what is enforced stays enforced.
  std::string save_image(const swap::Enforced& enforced);
  std::string save_ports(const std::vector<SavedPort>& ports);

  /// Null and an empty reason: there was none. Bytes are validated like any others.
  std::unique_ptr<swap::Enforced> load_image(std::string& reason);
  std::vector<SavedPort> load_ports() const;

 private:
  std::string path_of(const image::Digest& section) const;
  void remove_strangers() const;

  std::string image_dir_;
  std::string ports_file_;
  std::vector<image::Digest> saved_;  // of sections whose files exist, in the order of `enforced`
};

}  // namespace bulkhead::control
