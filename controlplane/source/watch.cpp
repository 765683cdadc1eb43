#include "controlplane/source/watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace bulkhead::source {
namespace {

constexpr std::uint32_t kEvents = IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                                  IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF;

}  // namespace

Watch::Watch(std::vector<std::string> paths)
    : fd_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), paths_(std::move(paths)) {
  if (fd_ < 0) throw std::runtime_error(std::string("inotify: ") + std::strerror(errno));
  rearm();
}

Watch::~Watch() {
  ::close(fd_);
}

bool Watch::rearm() {
  bool added = false;
  for (const std::string& path : paths_) {
    const std::filesystem::path whole(path);
    const std::string folder = whole.has_parent_path() ? whole.parent_path().string() : ".";
    if (const int wd = ::inotify_add_watch(fd_, path.c_str(), kEvents); wd >= 0) {
      Target& target = targets_[wd];
      added |= !target.whole;
      target.whole = true;
      target.path = path;
    }
    if (const int wd = ::inotify_add_watch(fd_, folder.c_str(), kEvents); wd >= 0) {
      Target& target = targets_[wd];
      if (target.path.empty()) target.path = folder;
      added |= target.names.insert(whole.filename().string()).second;
    }
  }
  return added;
}

bool Watch::counts(const Target& target, const std::string& name) const {
  if (name.empty()) return target.whole;
  if (name.starts_with("..")) return true;  // a mounted ConfigMap switches its link `..data`
  return target.names.contains(name) || (target.whole && name.front() != '.');
}

bool Watch::drain() {
  bool changed = false;
  alignas(inotify_event) char buffer[16 * 1024];
  for (;;) {
    const ssize_t bytes = ::read(fd_, buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    for (ssize_t at = 0; at < bytes;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      const std::string name = event.len == 0 ? "" : buffer + at + sizeof event;
      at += static_cast<ssize_t>(sizeof event + event.len);
      if ((event.mask & IN_Q_OVERFLOW) != 0) changed = true;  // what was lost may have been anything
      const auto target = targets_.find(event.wd);
      if (target == targets_.end()) continue;
      if (counts(target->second, name)) {
        changed = true;
        const std::string path = target->second.path + "/" + name;
        if ((event.mask & (IN_MODIFY | IN_CREATE)) != 0 && (event.mask & IN_ISDIR) == 0) {
          writing_.insert(path);
        } else {
          writing_.erase(path);
        }
      }
      if ((event.mask & IN_IGNORED) != 0) targets_.erase(target);
    }
  }
  if (changed) rearm();
  return changed;
}

}  // namespace bulkhead::source
