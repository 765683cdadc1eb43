// Frames read: for tests that ask what parse() makes of one.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "dataplane/packet/packet.h"
#include "tests/unit/packet/frames.h"

namespace bulkhead::packet {

using abi::Fate;
using namespace frames;

inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32;

/// Parses out of a heap block of exactly that size, so that a sanitizer sees any byte read beyond.
inline Parsed read(const Bytes& frame, std::uint16_t vlan = 0, std::uint32_t frame_bytes = 0) {
  const auto exact = std::make_unique<std::uint8_t[]>(frame.size());
  if (!frame.empty()) std::memcpy(exact.get(), frame.data(), frame.size());
  Parsed parsed;
  parsed.fragment_id = 0xdead;  // whatever was there before must not shine through
  parsed.icmp_type = 77;
  const auto bytes = static_cast<std::uint32_t>(frame.size());
  parse(exact.get(), bytes, frame_bytes == 0 ? bytes : frame_bytes, vlan, parsed);
  return parsed;
}
inline Parsed read4(const Ipv4& fields, const Bytes& payload) {
  return read(ethernet(0x0800, ipv4(fields, payload)));
}
inline Parsed read6(const Ipv6& fields, const Bytes& payload) {
  return read(ethernet(0x86dd, ipv6(fields, payload)));
}
inline Fate fate4(const Ipv4& fields, const Bytes& payload = udp(1, 2, filler(20))) {
  return read4(fields, payload).fate;
}
inline Fate fate6(const Ipv6& fields, const Bytes& payload = udp(1, 2, filler(20))) {
  return read6(fields, payload).fate;
}
inline abi::Address v6(std::initializer_list<std::uint8_t> front, std::uint8_t last = 0) {
  abi::Address address;
  std::copy(front.begin(), front.end(), address.bytes.begin());
  if (last != 0) address.bytes[15] = last;
  return address;
}

}  // namespace bulkhead::packet
