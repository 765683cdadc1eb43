// Closes taps beside the control thread.
//
// The kernel takes some 20 ms to take a network device away (it waits for a grace period of its own), and containers live for
// seconds: whoever detached one after the other would answer nothing else meanwhile, no new image either. It takes several away
// at a time as quickly as one.
#pragma once

#include <condition_variable>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/control/server.h"
#include "dataplane/control/state.h"

namespace bulkhead::control {

class Closer {
 public:
  struct Device {
    NetnsId netns;
    std::string name;
    bool operator==(const Device&) const = default;
  };

  Closer();
  /// Returns when all are closed.
  ~Closer();
  Closer(const Closer&) = delete;

  /// Takes over `fd` and returns at once. Nobody uses it any more.
  void close(Fd fd, Device device);
  /// Returns when this device is not being closed: one of its name can be made then.
  void wait_for(const Device& device);

 private:
  struct Closing {
    Fd fd;
    Device device;
    bool begun = false;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::list<Closing> closing_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace bulkhead::control
