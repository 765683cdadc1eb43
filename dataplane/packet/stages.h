// The stages of parse_any(). Each returns kForwarded to go on or the fate that ends it, and reads only what
// it has compared with `readable`.
#pragma once

#include "dataplane/packet/packet.h"

namespace bulkhead::packet {

/// No header beyond this many bytes is looked at, so a chain of them cannot buy unbounded work.
inline constexpr std::uint32_t kHeaderBytesMax = 256;

struct Frame {
  const std::uint8_t* data;
  std::uint32_t readable;     // at most kHeaderBytesMax
  std::uint32_t frame_bytes;  // at least `readable`
  bool group;                 // destination MAC is multicast or broadcast
};

abi::Fate read_arp(const Frame& frame, Parsed& parsed);
abi::Fate read_ipv4(const Frame& frame, Parsed& parsed);
abi::Fate read_ipv6(const Frame& frame, Parsed& parsed);

/// From l4_offset: ports, ICMP types, flags, lengths. Not for later fragments.
abi::Fate read_transport(const Frame& frame, Parsed& parsed);

/// What a later fragment may be, from its protocol, offset and length (RFC 1858, 3128, 8900).
abi::Fate judge_fragment(const Parsed& parsed, std::uint32_t l3_bytes_min);

/// Addresses inside an IPv6 header: true where no packet may carry them (RFC 4291, sections 2.5.2, 2.5.3,
/// 2.5.5, 2.7). An unspecified source is left to the caller.
bool impossible_v6(const abi::Address& source, const abi::Address& destination);

/// Walks extension headers from `at` (the header numbered parsed.protocol) up to the transport header or, in
/// a later fragment, to its payload. Sets protocol, l4_offset and the fragment fields. `end`: of readable
/// bytes that belong to the packet.
abi::Fate walk_extensions(const std::uint8_t* data, std::uint32_t at, std::uint32_t end, Parsed& parsed);

enum Protocol : std::uint8_t {
  kProtocolHopByHop = 0,
  kProtocolIcmp = 1,
  kProtocolTcp = 6,
  kProtocolUdp = 17,
  kProtocolRouting = 43,
  kProtocolFragment = 44,
  kProtocolAuthentication = 51,
  kProtocolIcmpV6 = 58,
  kProtocolDestination = 60,
  kProtocolSctp = 132,
};

inline bool is_query_v4(std::uint8_t type) {
  return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

/// The ports that stand for an ICMP message: in a query the asker's is the identifier, the other end's the type of the
/// request, so that two ends which ask each other under one identifier have two conversations. In any other message both
/// are type << 8 | code. `message` has 6 readable bytes, 8 of a query.
struct IcmpPorts {
  std::uint16_t source;
  std::uint16_t destination;
};
inline IcmpPorts icmp_ports(bool v4, const std::uint8_t* message) {
  const std::uint8_t type = message[0];
  const bool query = v4 ? is_query_v4(type) : type == 128 || type == 129;
  if (!query) return {load_be16(message), load_be16(message)};
  const std::uint16_t identifier = load_be16(message + 4);
  const bool reply = v4 ? type == 0 || (type != 8 && type % 2 == 0) : type == 129;
  if (!reply) return {identifier, type};
  return {static_cast<std::uint16_t>(v4 && type == 0 ? 8 : type - 1), identifier};
}
inline bool is_error_v4(std::uint8_t type) {
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}
inline bool is_multicast_v6(const abi::Address& address) {
  return address.bytes[0] == 0xff;
}
inline bool is_link_local_v6(const abi::Address& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

}  // namespace bulkhead::packet
