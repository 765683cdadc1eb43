// Noticing that files changed, by inotify(7).
//
// Watched are each path itself (through links) and the directory it lies in, because editors write a new file
// and rename it into place and mounted ConfigMaps switch a link. A file that is open for writing makes the
// watch *busy*: a reader that waits until it is not never sees half a file. What cannot be watched yet (a
// missing directory) is taken up by the next rearm().
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace bulkhead::source {

class Watch {
 public:
  /// `paths` are files and directories. Throws std::runtime_error where the kernel has no inotify instance
  /// left.
  explicit Watch(std::vector<std::string> paths);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Readable when something happened.
  int fd() const { return fd_; }

  /// Takes in all events. True if anything watched may have changed. Never blocks.
  bool drain();

  /// Some watched file was written to and not closed yet.
  bool busy() const { return !writing_.empty(); }
  /// Stops waiting for the writers known so far.
  void forget_writers() { writing_.clear(); }

  /// Watches what was not there before; true if that was anything, which then may have changed too.
  bool rearm();

 private:
  /// What one watch descriptor is for. A directory may be watched for itself and as the folder of other
  /// targets.
  struct Target {
    std::string path;
    bool whole = false;           // a target itself: everything in it counts
    std::set<std::string> names;  // a target's folder: only these count
  };
  bool counts(const Target& target, const std::string& name) const;

  int fd_ = -1;
  std::vector<std::string> paths_;
  std::map<int, Target> targets_;  // by watch descriptor
  std::set<std::string> writing_;
};

}  // namespace bulkhead::source
