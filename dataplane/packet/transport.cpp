#include "dataplane/packet/stages.h"

namespace bulkhead::packet {

namespace {

/// Of a packet's transport part: all its bytes, and how many of them may be read.
struct Extent {
  const std::uint8_t* at;
  std::uint32_t bytes;
  std::uint32_t readable;
};

Extent extent_of(const Frame& frame, const Parsed& parsed) {
  const std::uint32_t end = parsed.l3_offset + parsed.l3_bytes;
  const std::uint32_t readable = end < frame.readable ? end : frame.readable;
  return {frame.data + parsed.l4_offset, end - parsed.l4_offset,
          readable > parsed.l4_offset ? readable - parsed.l4_offset : 0};
}

abi::Fate read_tcp(const Extent& segment, Parsed& parsed) {
  const std::uint32_t header_bytes = segment.at[12] >> 4 << 2;
  if (header_bytes < 20) return abi::Fate::kMalformedTransport;
  if (header_bytes > segment.bytes)
    return (parsed.flags & kFragment) != 0 ? abi::Fate::kFragmentTiny : abi::Fate::kMalformedTransport;
  parsed.tcp_flags = segment.at[13] & 0x3f;
  return (kTcpFlagsValid >> parsed.tcp_flags & 1) != 0 ? abi::Fate::kForwarded : abi::Fate::kTcpFlags;
}

// A first fragment's length field speaks of the whole datagram. Zero belongs to jumbograms, which are
// refused.
abi::Fate read_udp(const Extent& datagram, const Parsed& parsed) {
  const std::uint32_t bytes = load_be16(datagram.at + 4);
  const bool fits = (parsed.flags & kFragment) != 0 || bytes <= datagram.bytes;
  return bytes >= 8 && fits ? abi::Fate::kForwarded : abi::Fate::kMalformedTransport;
}

abi::Fate read_icmp_v4(const Extent& message, Parsed& parsed) {
  if (is_error_v4(parsed.icmp_type)) {
    // Source quench is dead (RFC 6633) and redirects belong to one link: neither is about a conversation.
    if (parsed.icmp_type == 4 || parsed.icmp_type == 5) return abi::Fate::kIcmpUnrelated;
    if ((parsed.flags & kFragment) != 0) return abi::Fate::kMalformedIcmp;
    parsed.kind = Kind::kIcmpError;
    return message.bytes >= 8 + 20 + 8 ? abi::Fate::kForwarded : abi::Fate::kMalformedIcmp;
  }
  return abi::Fate::kForwarded;
}

abi::Fate read_neighbour(const Extent& message, Parsed& parsed) {
  // Router solicitation and advertisement, neighbour solicitation and advertisement, redirect.
  static constexpr std::uint8_t kBytesMin[] = {8, 16, 24, 24, 40};
  if (parsed.hop_limit != 255 || message.at[1] != 0 || (parsed.flags & kFragment) != 0 ||
      message.bytes < kBytesMin[parsed.icmp_type - 133])
    return abi::Fate::kMalformedIcmp;
  parsed.kind = Kind::kNeighbour;
  return abi::Fate::kForwarded;
}

abi::Fate read_icmp_v6(const Extent& message, Parsed& parsed) {
  if (parsed.icmp_type >= 133 && parsed.icmp_type <= 137) return read_neighbour(message, parsed);
  if (parsed.icmp_type < 128) {
    if (parsed.icmp_type < 1 || parsed.icmp_type > 4) return abi::Fate::kIcmpUnrelated;
    if ((parsed.flags & kFragment) != 0) return abi::Fate::kMalformedIcmp;
    parsed.kind = Kind::kIcmpError;
    return message.bytes >= 8 + 40 + 8 ? abi::Fate::kForwarded : abi::Fate::kMalformedIcmp;
  }
  return abi::Fate::kForwarded;
}

abi::Fate read_icmp(const Extent& message, Parsed& parsed) {
  const bool v4 = (parsed.flags & kIpv4) != 0;
  parsed.icmp_type = message.at[0];
  const IcmpPorts ports = icmp_ports(v4, message.at);
  parsed.source_port = ports.source;
  parsed.destination_port = ports.destination;
  parsed.policy_port = parsed.icmp_type;
  return v4 ? read_icmp_v4(message, parsed) : read_icmp_v6(message, parsed);
}

std::uint32_t header_bytes_min(std::uint8_t protocol) {
  switch (protocol) {
    case kProtocolTcp:
      return 20;
    case kProtocolUdp:
    case kProtocolIcmp:
    case kProtocolIcmpV6:
      return 8;
    case kProtocolSctp:
      return 12;
    default:
      return 0;
  }
}

}  // namespace

abi::Fate read_transport(const Frame& frame, Parsed& parsed) {
  const Extent part = extent_of(frame, parsed);
  if (part.readable < header_bytes_min(parsed.protocol)) {
    if ((parsed.flags & kFragment) != 0) return abi::Fate::kFragmentTiny;
    const bool icmp = parsed.protocol == kProtocolIcmp || parsed.protocol == kProtocolIcmpV6;
    return icmp ? abi::Fate::kMalformedIcmp : abi::Fate::kMalformedTransport;
  }
  switch (parsed.protocol) {
    case kProtocolIcmp:
    case kProtocolIcmpV6:
      return read_icmp(part, parsed);
    case kProtocolTcp:
    case kProtocolUdp:
    case kProtocolSctp:
      parsed.source_port = load_be16(part.at);
      parsed.destination_port = parsed.policy_port = load_be16(part.at + 2);
      break;
    default:
      parsed.policy_port = parsed.protocol;
      return abi::Fate::kForwarded;
  }
  if (parsed.protocol == kProtocolTcp) return read_tcp(part, parsed);
  if (parsed.protocol == kProtocolUdp) return read_udp(part, parsed);
  return abi::Fate::kForwarded;
}

abi::Fate judge_fragment(const Parsed& parsed, std::uint32_t l3_bytes_min) {
  if ((parsed.flags & kMoreFragments) != 0 && parsed.l3_bytes < l3_bytes_min) return abi::Fate::kFragmentTiny;
  if (parsed.fragment_offset == 0) return abi::Fate::kForwarded;
  // A later fragment that begins inside the transport header would rewrite what the first one was judged by.
  const bool empty = parsed.l4_offset >= parsed.l3_offset + parsed.l3_bytes;
  return empty || parsed.fragment_offset < header_bytes_min(parsed.protocol) ? abi::Fate::kFragmentTiny
                                                                             : abi::Fate::kForwarded;
}

}  // namespace bulkhead::packet
