// A token bucket: how often something may happen. One owner, no lock.
#pragma once

#include <algorithm>
#include <cstdint>

namespace bulkhead::forward {

/// Time is whatever the caller counts in: `ticks_per_token` of its clock bring one token, `tokens_max` may
/// gather. Starts full. Used for ICMP errors (RFC 4443, section 2.4(f)).
class TokenBucket {
 public:
  TokenBucket(std::uint64_t ticks_per_token, std::uint64_t tokens_max)
      : ticks_per_token_(ticks_per_token), ticks_max_(ticks_per_token * tokens_max), ticks_(ticks_max_) {}

  /// True if one more may happen at `now`. A clock that steps back brings nothing.
  bool take(std::uint64_t now) {
    if (now > last_) {
      ticks_ = std::min(ticks_max_, ticks_ + std::min(now - last_, ticks_max_));
      last_ = now;
    }
    if (ticks_ < ticks_per_token_) return false;
    ticks_ -= ticks_per_token_;
    return true;
  }

 private:
  std::uint64_t ticks_per_token_;
  std::uint64_t ticks_max_;
  std::uint64_t ticks_;
  std::uint64_t last_ = 0;
};

}  // namespace bulkhead::forward
