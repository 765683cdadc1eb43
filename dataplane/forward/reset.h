// Ending a TCP connection from the middle, by a reset to each end (RFC 9293, section 3.10.7).
#pragma once

#include <cstdint>

#include "dataplane/abi/address.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

/// Ethernet, IPv6, TCP without options.
inline constexpr std::uint32_t kResetFrameBytesMax = 14 + 40 + 20;

enum class Toward : std::uint8_t {
  kSender,    // as the receiver's stack would answer a segment of no connection of its own
  kReceiver,  // as the sender would end its connection behind this segment
};

/// Whether that end owes the other's packet a reset: a whole TCP header, and to its sender none for a reset.
bool owes_reset(const packet::Parsed& parsed, Toward toward);

/// Writes the reset that the segment in `frame` gives rise to, to `reset` (room for kResetFrameBytesMax), and
/// returns its bytes. Its sequence number is the one that the end expects next, if the segment came in order;
/// then it counts at once (RFC 5961, section 3.2).
std::uint32_t build_reset(const std::uint8_t* frame, const packet::Parsed& parsed, Toward toward,
                          const abi::Mac& own_mac, const abi::Mac& peer_mac, std::uint8_t* reset);

}  // namespace bulkhead::forward
