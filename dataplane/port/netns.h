// Being in another network namespace for a moment. Only the calling thread moves.
#pragma once

#include <string>

namespace bulkhead::port {

/// Enters `netns` (-1: stays where it is) and returns on destruction. Check failed() before relying on it.
class NetnsVisit {
 public:
  explicit NetnsVisit(int netns);
  ~NetnsVisit();
  NetnsVisit(const NetnsVisit&) = delete;
  const std::string& failed() const { return failed_; }  // empty: inside

 private:
  int home_ = -1;
  std::string failed_;
};

}  // namespace bulkhead::port
