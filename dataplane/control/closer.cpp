#include "dataplane/control/closer.h"

#include <algorithm>
#include <utility>

namespace bulkhead::control {
namespace {

constexpr int kAtATime = 8;

}  // namespace

Closer::Closer() {
  for (int i = 0; i < kAtATime; ++i) threads_.emplace_back([this] { run(); });
}

Closer::~Closer() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Closer::close(Fd fd, Device device) {
  {
    const std::lock_guard lock(mutex_);
    closing_.push_back({std::move(fd), std::move(device)});
  }
  changed_.notify_all();
}

void Closer::wait_for(const Device& device) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return std::none_of(closing_.begin(), closing_.end(),
                        [&](const Closing& one) { return one.device == device; });
  });
}

void Closer::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    auto next = closing_.end();
    changed_.wait(lock, [&] {
      next = std::find_if(closing_.begin(), closing_.end(), [](const Closing& one) { return !one.begun; });
      return ending_ || next != closing_.end();
    });
    if (next == closing_.end()) return;
    next->begun = true;
    Fd fd = std::move(next->fd);
    lock.unlock();
    fd = Fd();
    lock.lock();
    closing_.erase(next);
    changed_.notify_all();
  }
}

}  // namespace bulkhead::control
