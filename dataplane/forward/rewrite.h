// What a router changes in every packet it passes on, in place.
#pragma once

#include <cstdint>
#include <cstring>

#include "dataplane/abi/address.h"
#include "dataplane/forward/checksum.h"
#include "dataplane/packet/packet.h"

namespace bulkhead::forward {

inline constexpr std::uint32_t kVlanTagBytes = 4;

inline void set_macs(std::uint8_t* frame, const abi::Mac& destination, const abi::Mac& source) {
  std::memcpy(frame, destination.bytes.data(), 6);
  std::memcpy(frame + 6, source.bytes.data(), 6);
}

/// One hop less. False, and nothing changed, where none is left: the packet must not go on (RFC 1812, section
/// 5.3.1; RFC 8200, section 3).
inline bool spend_hop(std::uint8_t* frame, const packet::Parsed& parsed) {
  if (parsed.hop_limit <= 1) return false;
  std::uint8_t* ip = frame + parsed.l3_offset;
  if ((parsed.flags & packet::kIpv4) == 0) {
    --ip[7];
    return true;
  }
  // The TTL is the high byte of its word, so the checksum's high byte rises by one and carries around
  // (RFC 1141, with the correction of RFC 1624 for 0xffff).
  --ip[8];
  std::uint32_t sum = packet::load_be16(ip + 10) + 0x0100u;
  sum += sum >= 0xffff ? 1 : 0;
  packet::store_be16(ip + 10, sum);
  return true;
}

/// spend_hop() and both MACs, for an IPv4 header right behind an untagged Ethernet one, with a hop left.
inline void pass_on_v4(std::uint8_t* frame, const packet::FrameHead& head) {
  // TTL, protocol, checksum: the checksum's high byte comes first, so its carry is one of this word's upper half.
  std::uint8_t* at = frame + 14 + 8;
  std::uint32_t word = packet::load_raw32(at);
  word += word < 0xfffe'0000u ? 0xffffu : 0x1'ffffu;
  std::memcpy(at, &word, sizeof word);
  std::memcpy(frame, &head.first, 8);
  std::memcpy(frame + 8, &head.rest, 4);
}

/// Moves both MACs over the 802.1Q tag. Returns the frame's new start, 4 bytes later.
inline std::uint8_t* pop_vlan(std::uint8_t* frame) {
  std::memmove(frame + kVlanTagBytes, frame, 12);
  return frame + kVlanTagBytes;
}

/// Inserts an 802.1Q tag (priority 0). The 4 bytes before `frame` must be writable. Returns the frame's new
/// start, 4 bytes earlier.
inline std::uint8_t* push_vlan(std::uint8_t* frame, std::uint16_t vlan) {
  std::uint8_t* start = frame - kVlanTagBytes;
  std::memmove(start, frame, 12);
  packet::store_be16(start + 12, 0x8100);
  packet::store_be16(start + 14, vlan & 0x0fffu);
  return start;
}

}  // namespace bulkhead::forward
