#include "dataplane/packet/stages.h"

namespace bulkhead::packet {

namespace {

// A quoted header's lengths and checksum are not compared: routers on the way have changed them and the quote
// is cut. What counts is that the key can be read and is of a flow in the table.
bool quoted_ipv4(const std::uint8_t* data, std::uint32_t at, std::uint32_t end, Parsed& quoted) {
  const std::uint8_t* header = data + at;
  if (at + 20 > end) return false;
  const std::uint32_t header_bytes = (header[0] & 0xfu) << 2;
  if (header[0] >> 4 != 4 || header_bytes < 20 || at + header_bytes > end) return false;
  const std::uint16_t fragment = load_be16(header + 6);
  if ((fragment & 0x1fff) != 0) return false;
  store_address_v4(quoted.source.bytes.data(), load_raw32(header + 12));
  store_address_v4(quoted.destination.bytes.data(), load_raw32(header + 16));
  quoted.protocol = header[9];
  quoted.hop_limit = header[8];
  quoted.flags = static_cast<std::uint8_t>(kIpv4 | ((fragment & 0x4000) != 0 ? kDontFragment : 0) |
                                           ((fragment & 0x2000) != 0 ? kFragment | kMoreFragments : 0));
  quoted.fragment_id = (fragment & 0x2000) != 0 ? load_be16(header + 4) : 0;
  quoted.l3_bytes = load_be16(header + 2);
  quoted.l4_offset = static_cast<std::uint16_t>(at + header_bytes);
  return quoted.protocol != kProtocolIcmpV6;
}

bool quoted_ipv6(const std::uint8_t* data, std::uint32_t at, std::uint32_t end, Parsed& quoted) {
  const std::uint8_t* header = data + at;
  if (at + 40 > end || header[0] >> 4 != 6) return false;
  std::memcpy(quoted.source.bytes.data(), header + 8, 16);
  std::memcpy(quoted.destination.bytes.data(), header + 24, 16);
  if (impossible_v6(quoted.source, quoted.destination)) return false;
  quoted.protocol = header[6];
  quoted.hop_limit = header[7];
  quoted.flags = kDontFragment;
  quoted.l3_bytes = 40u + load_be16(header + 4);
  return walk_extensions(data, at + 40, end, quoted) == abi::Fate::kForwarded &&
         quoted.fragment_offset == 0 && quoted.protocol != kProtocolIcmp;
}

bool quoted_icmp(const std::uint8_t* message, Parsed& quoted) {
  const bool v4 = (quoted.flags & kIpv4) != 0;
  const std::uint8_t type = message[0];
  if (v4 ? is_error_v4(type) : type < 128) return false;
  quoted.icmp_type = type;
  quoted.policy_port = type;
  const IcmpPorts ports = icmp_ports(v4, message);
  quoted.source_port = ports.source;
  quoted.destination_port = ports.destination;
  return true;
}

}  // namespace

bool parse_quoted(const std::uint8_t* frame, std::uint32_t readable, const Parsed& parsed, Parsed& quoted) {
  quoted = Parsed{};
  quoted.kind = Kind::kFlow;
  quoted.fate = abi::Fate::kForwarded;
  const std::uint32_t at = parsed.l4_offset + 8u;
  std::uint32_t end = parsed.l3_offset + parsed.l3_bytes;
  if (end > readable) end = readable;
  if (end > at + kHeaderBytesMax) end = at + kHeaderBytesMax;
  quoted.l3_offset = static_cast<std::uint8_t>(at);
  const bool v4 = (parsed.flags & kIpv4) != 0;
  if (at > 255 || !(v4 ? quoted_ipv4(frame, at, end, quoted) : quoted_ipv6(frame, at, end, quoted)))
    return false;
  if (quoted.l4_offset + 8u > end) return false;
  const std::uint8_t* transport = frame + quoted.l4_offset;
  switch (quoted.protocol) {
    case kProtocolIcmp:
    case kProtocolIcmpV6:
      return quoted_icmp(transport, quoted);
    case kProtocolTcp:
    case kProtocolUdp:
    case kProtocolSctp:
      quoted.source_port = load_be16(transport);
      quoted.destination_port = quoted.policy_port = load_be16(transport + 2);
      return true;
    default:
      quoted.policy_port = quoted.protocol;
      return true;
  }
}

}  // namespace bulkhead::packet
