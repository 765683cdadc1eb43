// Frames for tests, built field by field and checksummed by the plainest possible code, so that nothing under
// test vouches for itself. Fuzzers and benches use them as seeds.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "dataplane/abi/address.h"

namespace bulkhead::frames {

using Bytes = std::vector<std::uint8_t>;

inline constexpr abi::Mac kMacA{{0x02, 0, 0, 0, 0, 0xaa}};
inline constexpr abi::Mac kMacB{{0x02, 0, 0, 0, 0, 0xbb}};
inline constexpr std::uint32_t kA4 = 0x0a00'0001, kB4 = 0x0a00'0002;
inline constexpr abi::Address kA6{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa}};
inline constexpr abi::Address kB6{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb}};

inline Bytes be16(std::uint32_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}
inline Bytes be32(std::uint32_t value) {
  Bytes bytes = be16(value >> 16);
  const Bytes low = be16(value & 0xffff);
  bytes.insert(bytes.end(), low.begin(), low.end());
  return bytes;
}
inline Bytes join(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}
inline void put16(Bytes& bytes, std::size_t at, std::uint32_t value) {
  bytes.at(at) = static_cast<std::uint8_t>(value >> 8);
  bytes.at(at + 1) = static_cast<std::uint8_t>(value);
}
inline std::uint32_t get16(const Bytes& bytes, std::size_t at) {
  return std::uint32_t{bytes.at(at)} << 8 | bytes.at(at + 1);
}
inline std::uint32_t get32(const Bytes& bytes, std::size_t at) {
  return get16(bytes, at) << 16 | get16(bytes, at + 2);
}
inline Bytes part(const Bytes& bytes, std::size_t from, std::size_t count) {
  return Bytes(bytes.begin() + static_cast<std::ptrdiff_t>(from),
               bytes.begin() + static_cast<std::ptrdiff_t>(from + count));
}

/// RFC 1071 word by word; 0 over bytes that hold a right checksum.
inline std::uint32_t internet_checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 2) {
    sum += std::uint32_t{bytes[at]} << 8 | (at + 1 < bytes.size() ? bytes[at + 1] : 0u);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  }
  return ~sum & 0xffff;
}

inline Bytes address_bytes(std::uint32_t v4) {
  return be32(v4);
}
inline Bytes address_bytes(const abi::Address& v6) {
  return Bytes(v6.bytes.begin(), v6.bytes.end());
}

/// 0 where the transport part of an IPv4 or IPv6 packet (header without extensions) carries a right checksum.
inline std::uint32_t transport_checksum(const Bytes& ip_packet) {
  const bool v4 = ip_packet[0] >> 4 == 4;
  const std::size_t header = v4 ? (ip_packet[0] & 15u) * 4 : 40;
  const std::uint8_t protocol = v4 ? ip_packet[9] : ip_packet[6];
  const Bytes transport = part(ip_packet, header, ip_packet.size() - header);
  if (protocol == 1) return internet_checksum(transport);
  const Bytes addresses = v4 ? part(ip_packet, 12, 8) : part(ip_packet, 8, 32);
  return internet_checksum(
      join({addresses, be32(static_cast<std::uint32_t>(transport.size())), {0, 0, 0, protocol}, transport}));
}

struct Ethernet {
  abi::Mac destination = kMacB;
  abi::Mac source = kMacA;
  int vlan = -1;  // -1: no tag
};

inline Bytes ethernet(std::uint16_t type, const Bytes& payload, const Ethernet& fields = {}) {
  const auto mac = [](const abi::Mac& m) { return Bytes(m.bytes.begin(), m.bytes.end()); };
  const Bytes tag =
      fields.vlan < 0 ? Bytes{} : join({be16(0x8100), be16(static_cast<std::uint32_t>(fields.vlan))});
  return join({mac(fields.destination), mac(fields.source), tag, be16(type), payload});
}

struct Ipv4 {
  std::uint8_t protocol = 17;
  std::uint32_t source = kA4, destination = kB4;
  std::uint16_t fragment = 0;  // flags and offset as in the header
  std::uint16_t id = 0x1234;
  std::uint8_t ttl = 64;
  Bytes options = {};      // a multiple of 4
  int total_bytes = -1;    // -1: right
  std::uint8_t first = 0;  // 0: version 4 and the right header length
};

inline Bytes ipv4(const Ipv4& fields, const Bytes& payload) {
  const std::size_t header_bytes = 20 + fields.options.size();
  const std::uint32_t total = fields.total_bytes >= 0
                                  ? static_cast<std::uint32_t>(fields.total_bytes)
                                  : static_cast<std::uint32_t>(header_bytes + payload.size());
  Bytes header =
      join({{fields.first != 0 ? fields.first : static_cast<std::uint8_t>(0x40 | header_bytes / 4), 0},
            be16(total),
            be16(fields.id),
            be16(fields.fragment),
            {fields.ttl, fields.protocol, 0, 0},
            be32(fields.source),
            be32(fields.destination),
            fields.options});
  put16(header, 10, internet_checksum(header));
  return join({header, payload});
}

struct Ipv6 {
  std::uint8_t next = 17;
  abi::Address source = kA6, destination = kB6;
  std::uint8_t hop_limit = 64;
  int payload_bytes = -1;  // -1: right
};

inline Bytes ipv6(const Ipv6& fields, const Bytes& payload) {
  const std::uint32_t bytes = fields.payload_bytes >= 0 ? static_cast<std::uint32_t>(fields.payload_bytes)
                                                        : static_cast<std::uint32_t>(payload.size());
  return join({be32(0x6000'0000),
               be16(bytes),
               {fields.next, fields.hop_limit},
               address_bytes(fields.source),
               address_bytes(fields.destination),
               payload});
}

/// Stores the transport checksum of an IP packet without extension headers.
inline Bytes sealed(Bytes ip_packet) {
  const bool v4 = ip_packet[0] >> 4 == 4;
  const std::size_t header = v4 ? (ip_packet[0] & 15u) * 4 : 40;
  const std::uint8_t protocol = v4 ? ip_packet[9] : ip_packet[6];
  const std::size_t field = header + (protocol == 6 ? 16 : protocol == 17 ? 6 : 2);
  put16(ip_packet, field, 0);
  const std::uint32_t checksum = transport_checksum(ip_packet);
  put16(ip_packet, field, checksum == 0 && protocol == 17 ? 0xffff : checksum);
  return ip_packet;
}

inline Bytes filler(std::size_t bytes) {
  Bytes filled(bytes);
  for (std::size_t i = 0; i < bytes; ++i) filled[i] = static_cast<std::uint8_t>(i * 7 + (i >> 8) + 1);
  return filled;
}

inline Bytes udp(std::uint16_t from, std::uint16_t to, const Bytes& payload, int bytes = -1) {
  return join(
      {be16(from), be16(to),
       be16(bytes >= 0 ? static_cast<std::uint32_t>(bytes) : static_cast<std::uint32_t>(8 + payload.size())),
       be16(0), payload});
}

inline Bytes tcp(std::uint16_t from, std::uint16_t to, std::uint8_t flags, const Bytes& payload,
                 std::uint32_t sequence = 1000, const Bytes& options = {}) {
  return join({be16(from),
               be16(to),
               be32(sequence),
               be32(2000),
               {static_cast<std::uint8_t>((20 + options.size()) / 4 << 4), flags},
               be16(512),
               be16(0),
               be16(0),
               options,
               payload});
}

inline Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint32_t rest, const Bytes& payload) {
  return join({{type, code, 0, 0}, be32(rest), payload});
}

inline Bytes arp(std::uint16_t operation, const abi::Mac& sender_mac, std::uint32_t sender,
                 std::uint32_t target) {
  return join({be32(0x0001'0800), be16(0x0604), be16(operation),
               Bytes(sender_mac.bytes.begin(), sender_mac.bytes.end()), be32(sender), Bytes(6),
               be32(target)});
}

/// An IPv6 fragment header; `field` is the offset and M bit as in the header.
inline Bytes fragment_header(std::uint8_t next, std::uint16_t field, std::uint32_t id) {
  return join({{next, 0}, be16(field), be32(id)});
}

}  // namespace bulkhead::frames
