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

  /// Control thread. `at(number)` is what workers see from now on; take() leaves the caller to wait for the
  /// grace period.
  void put(std::unique_ptr<Port> port) {
    const std::uint32_t number = port->number();
    ports_[number].store(port.release(), std::memory_order_release);
  }
  std::unique_ptr<Port> take(std::uint32_t number) {
    return std::unique_ptr<Port>(ports_[number].exchange(nullptr, std::memory_order_acq_rel));
  }

  Table() = default;
  ~Table() {
    for (auto& port : ports_) delete port.load();
  }
  Table(const Table&) = delete;

 private:
  std::array<std::atomic<Port*>, abi::kPortsMax> ports_{};
};

}  // namespace bulkhead::port
