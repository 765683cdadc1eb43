// How long a conversation may be silent before it ends, by protocol and state.
#pragma once

#include <cstdint>

#include "dataplane/abi/flow.h"

namespace bulkhead::flow {

/// The table's clock shows 16 bits: a longer timeout than this could not be told from a short one.
inline constexpr std::uint32_t kTimeoutMaxS = 43'200;

/// Seconds, in the order of abi::FlowState: new, SYN+ACK, established, closing, closed. The defaults follow
/// RFC 5382 and RFC 4787 where they speak, and common practice elsewhere. Values above kTimeoutMaxS count as
/// kTimeoutMaxS.
struct Timeouts {
  std::uint16_t tcp[5] = {60, 60, 21'600, 120, 10};
  std::uint16_t udp[5] = {30, 30, 180, 30, 10};
  std::uint16_t icmp[5] = {30, 30, 30, 30, 10};
  std::uint16_t sctp[5] = {30, 30, 3'600, 120, 10};
  std::uint16_t other[5] = {600, 600, 600, 600, 10};

  /// By IANA protocol number; ICMP stands for both families.
  std::uint16_t limit_s(std::uint8_t protocol, abi::FlowState state) const {
    const auto& of = protocol == 6                     ? tcp
                     : protocol == 17                  ? udp
                     : protocol == 1 || protocol == 58 ? icmp
                     : protocol == 132                 ? sctp
                                                       : other;
    const std::uint16_t limit = of[static_cast<unsigned>(state) % 5];
    return limit < kTimeoutMaxS ? limit : static_cast<std::uint16_t>(kTimeoutMaxS);
  }
};

}  // namespace bulkhead::flow
