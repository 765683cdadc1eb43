#include "dataplane/packet/stages.h"

namespace bulkhead::packet {

namespace {

// Every link carries 68 bytes (RFC 791, section 3.2), so cutting at any MTU leaves at least this much of a
// fragment that others follow.
constexpr std::uint32_t kMiddleFragmentBytesMin = 61;

std::uint32_t header_sum(const std::uint8_t* header, std::uint32_t header_bytes) {
  std::uint32_t sum = 0;
  for (std::uint32_t at = 0; at < header_bytes; at += 4)
    sum += load_raw16(header + at) + load_raw16(header + at + 2);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

abi::Fate walk_options(const std::uint8_t* header, std::uint32_t header_bytes) {
  constexpr std::uint8_t kEnd = 0, kNothing = 1, kLooseRoute = 131, kStrictRoute = 137;
  for (std::uint32_t at = 20; at < header_bytes;) {
    const std::uint8_t option = header[at];
    if (option == kEnd) break;
    if (option == kNothing) {
      ++at;
      continue;
    }
    if (option == kLooseRoute || option == kStrictRoute) return abi::Fate::kSourceRouted;
    if (at + 2 > header_bytes || header[at + 1] < 2 || at + header[at + 1] > header_bytes)
      return abi::Fate::kMalformedIpv4;
    at += header[at + 1];
  }
  return abi::Fate::kForwarded;
}

// RFC 1122, section 3.2.1.3 and RFC 3927. A host without an address yet may shout 0.0.0.0 -> 255.255.255.255
// (DHCP): well-formed, and not forwarded as any broadcast.
abi::Fate judge_addresses(std::uint32_t source, std::uint32_t destination) {
  constexpr std::uint32_t kBroadcast = 0xffff'ffff;
  const std::uint32_t from = source >> 24, to = destination >> 24;
  const bool nobody_shouts = source == 0 && destination == kBroadcast;
  if ((from == 0 && !nobody_shouts) || from == 127 || from >= 224) return abi::Fate::kMalformedIpv4;
  if (to == 0 || to == 127 || (to >= 240 && destination != kBroadcast)) return abi::Fate::kMalformedIpv4;
  if (to >= 224) return abi::Fate::kGroupDestination;
  if (source >> 16 == 0xa9fe || destination >> 16 == 0xa9fe) return abi::Fate::kLinkLocal;
  return abi::Fate::kForwarded;
}

}  // namespace

abi::Fate read_ipv4(const Frame& frame, Parsed& parsed) {
  const std::uint32_t at = parsed.l3_offset;
  const std::uint8_t* header = frame.data + at;
  if (frame.readable < at + 20) return abi::Fate::kMalformedIpv4;
  const std::uint32_t header_bytes = (header[0] & 0xfu) << 2;
  const std::uint32_t ip_bytes = load_be16(header + 2);
  if (header[0] >> 4 != 4 || header_bytes < 20 || ip_bytes < header_bytes ||
      at + ip_bytes > frame.frame_bytes || at + header_bytes > frame.readable)
    return abi::Fate::kMalformedIpv4;
  if (header_sum(header, header_bytes) != 0xffff) return abi::Fate::kBadChecksumIpv4;
  abi::Fate fate = walk_options(header, header_bytes);
  if (fate != abi::Fate::kForwarded) return fate;
  fate = judge_addresses(load_be32(header + 12), load_be32(header + 16));
  if (fate != abi::Fate::kForwarded) return fate;
  if (frame.group) return abi::Fate::kGroupDestination;

  const std::uint16_t fragment = load_be16(header + 6);
  store_address_v4(parsed.source.bytes.data(), load_raw32(header + 12));
  store_address_v4(parsed.destination.bytes.data(), load_raw32(header + 16));
  parsed.kind = Kind::kFlow;
  parsed.protocol = header[9];
  parsed.hop_limit = header[8];
  parsed.flags |= static_cast<std::uint8_t>(kIpv4 | ((fragment & 0x4000) != 0 ? kDontFragment : 0));
  parsed.l4_offset = static_cast<std::uint16_t>(at + header_bytes);
  parsed.l3_bytes = ip_bytes;
  if (parsed.protocol == kProtocolIcmpV6) return abi::Fate::kMalformedTransport;
  if ((fragment & 0x3fff) != 0) {
    parsed.flags |= static_cast<std::uint8_t>(kFragment | ((fragment & 0x2000) != 0 ? kMoreFragments : 0));
    parsed.fragment_offset = static_cast<std::uint16_t>((fragment & 0x1fff) << 3);
    parsed.fragment_id = load_be16(header + 4);
    const std::uint32_t payload_bytes = ip_bytes - header_bytes;
    if (header_bytes + parsed.fragment_offset + payload_bytes > 65535 ||
        ((parsed.flags & kMoreFragments) != 0 && payload_bytes % 8 != 0))
      return abi::Fate::kMalformedIpv4;
    fate = judge_fragment(parsed, kMiddleFragmentBytesMin);
    if (fate != abi::Fate::kForwarded || parsed.fragment_offset != 0) return fate;
  }
  return read_transport(frame, parsed);
}

}  // namespace bulkhead::packet
