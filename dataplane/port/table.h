// The ports that exist, by number. Written by the control thread, read by every worker, reclaimed by grace
// period.
#pragma once

#include <array>
#include <atomic>

#include "dataplane/port/port.h"

namespace bulkhead::port {

class Table {
 public:
  /// Workers: valid until the next quiescent state.
  Port* at(std::uint32_t number) const { return ports_[number].load(std::memory_order_acquire); }

  /// The ports that are nobody's; 0: there is none.
  std::uint32_t host() const { return host_.load(std::memory_order_relaxed); }
  std::uint32_t uplink() const { return uplink_.load(std::memory_order_relaxed); }

  /// Control thread. `at(number)` is what workers see from now on; take() leaves the caller to wait for the
  /// grace period.
  void put(std::unique_ptr<Port> port) {
    const std::uint32_t number = port->number();
    if (port->role() == abi::kRoleHost) host_.store(number, std::memory_order_relaxed);
    if (port->role() == abi::kRoleUplink) uplink_.store(number, std::memory_order_relaxed);
    ports_[number].store(port.release(), std::memory_order_release);
  }
  std::unique_ptr<Port> take(std::uint32_t number) {
    if (host() == number) host_.store(0, std::memory_order_relaxed);
    if (uplink() == number) uplink_.store(0, std::memory_order_relaxed);
    return std::unique_ptr<Port>(ports_[number].exchange(nullptr, std::memory_order_acq_rel));
  }

  Table() = default;
  ~Table() {
    for (auto& port : ports_) delete port.load();
  }
  Table(const Table&) = delete;

 private:
  std::atomic<std::uint32_t> host_{0}, uplink_{0};
  std::array<std::atomic<Port*>, abi::kPortsMax> ports_{};
};

}  // namespace bulkhead::port
