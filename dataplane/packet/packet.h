// What the data plane knows of one packet after reading its headers, once.
//
// Promises: parse() reads nothing beyond `readable` bytes, whatever the bytes say; everything a later stage
// trusts (offsets, lengths, header checksum, address plausibility) was checked here. Any thread; no state; no
// allocation.
//
//   frame: | Ethernet [802.1Q] | IPv4+options or IPv6+extensions | TCP/UDP/SCTP/ICMP | payload |
//                               ^ l3_offset                        ^ l4_offset
//
// The first 37 bytes of Parsed are a flow key in the layout of abi::FlowEntry, so that a lookup compares them
// directly.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dataplane/abi/address.h"
#include "dataplane/abi/fate.h"
#include "dataplane/packet/bytes.h"

namespace bulkhead::packet {

/// What a packet asks of the data plane. Everything else about it is data.
enum class Kind : std::uint8_t {
  kFlow,       // belongs to a conversation: flow table, then policy
  kIcmpError,  // quotes a packet of a conversation: related, or dropped
  kArp,
  kNeighbour,  // ICMPv6 types 133-137 (RFC 4861), hop limit 255
  kDrop,       // `fate` says why
};

enum Flags : std::uint8_t {
  kIpv4 = 1,
  kFragment = 2,  // any fragment; fragment_offset 0 is the first one
  kMoreFragments = 4,
  kDontFragment = 8,  // IPv4 DF; always set for IPv6
  kVlanTagged = 16,   // carried the 802.1Q tag that the port expects
  kGatewayTtl = 32,   // reserved for forward/
};

struct alignas(64) Parsed {
  abi::Address source;
  abi::Address destination;
  std::uint16_t source_port =
      0;  // host order; ICMP query: identifier in both; other ICMP: type << 8 | code in both
  std::uint16_t destination_port = 0;
  std::uint8_t protocol = 0;  // IANA number of the transport header; a later IPv6 fragment: of what follows
                              // the fragment header, which may be another extension header

  Kind kind = Kind::kDrop;
  abi::Fate fate = abi::Fate::kMalformedEthernet;
  std::uint8_t flags = 0;
  std::uint8_t tcp_flags = 0;  // as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32
  std::uint8_t hop_limit = 0;
  std::uint16_t policy_port =
      0;  // what image::port_class wants: destination port, ICMP type, or the protocol number
  std::uint8_t l3_offset = 0;   // bytes from the frame's start
  std::uint8_t icmp_type = 0;   // ARP: the operation
  std::uint16_t l4_offset = 0;  // bytes from the frame's start; a later fragment: where its payload starts
  std::uint16_t fragment_offset = 0;  // bytes into the datagram's fragmentable part
  std::uint32_t fragment_id = 0;
  std::uint32_t l3_bytes = 0;  // of the whole IP packet, header included; frame padding excluded

  bool operator==(const Parsed&) const = default;
};
static_assert(sizeof(Parsed) == 64);

/// Reads one Ethernet frame. `frame` has `readable` contiguous bytes of a packet of `frame_bytes` in all (a
/// super-packet's payload may lie elsewhere; headers must be readable, at most 256 bytes are looked at).
/// `vlan` is the 802.1Q VLAN the port carries, 0 for none. Always fills `parsed`; kind kDrop with a fate if
/// the packet must go no further. ARP: addresses are the sender's and the target's.
void parse(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes, std::uint16_t vlan,
           Parsed& parsed);

/// The same for every kind of packet, at leisure. parse() asks it when the packet is not a plain one.
void parse_any(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
               std::uint16_t vlan, Parsed& parsed);

/// Reads the packet quoted inside an ICMP error: the same key fields, from an IP header plus at least 8 bytes
/// of transport. False if it cannot be read, or is of the other family, a later fragment or itself an ICMP
/// error. `parsed` is the error's own; `quoted` has offsets from the same frame's start, and l3_bytes is what
/// the quoted header says, more than is there.
bool parse_quoted(const std::uint8_t* frame, std::uint32_t readable, const Parsed& parsed, Parsed& quoted);

/// Bit n is set where the low six TCP flags n (PSH ignored) are what a stack sends: SYN, SYN+URG, SYN+ACK,
/// RST, RST+ACK, FIN+ACK, FIN+ACK+URG, ACK, ACK+URG (what netfilter's connection tracking accepts).
inline constexpr std::uint64_t kTcpFlagsValid = [] {
  std::uint64_t valid = 0;
  for (unsigned flags : {0x02, 0x22, 0x12, 0x04, 0x14, 0x11, 0x31, 0x10, 0x30})
    valid |= std::uint64_t{1} << flags | std::uint64_t{1} << (flags | 0x08);
  return valid;
}();

/// An untagged IPv4 packet without options or fragmentation, TCP or UDP, of unremarkable addresses, in at
/// least 54 readable bytes. All tests are summed up without a branch, so that a mix of protocols costs no
/// misses. False says nothing about the packet, and `parsed` is undefined.
inline bool parse_plain(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                        std::uint16_t vlan, Parsed& parsed) {
  constexpr std::uint32_t kIp = 14, kTransport = kIp + 20;
  if (readable < kTransport + 20 || vlan != 0) return false;
  const std::uint32_t ip_bytes = load_be16(frame + kIp + 2);
  const std::uint32_t protocol = frame[kIp + 9];
  const std::uint32_t source = load_raw32(frame + kIp + 12);
  const std::uint32_t destination = load_raw32(frame + kIp + 16);
  const std::uint32_t fragment = load_raw16(frame + kIp + 6);
  const std::uint32_t header_bytes = frame[kTransport + 12] >> 4 << 2;
  const std::uint32_t tcp_flags = frame[kTransport + 13] & 0x3fu;
  const std::uint32_t udp_bytes = load_be16(frame + kTransport + 4);

  // EtherType 0x0800, version 4, header of 5 words; group bits of both MACs; reserved bit, MF and offset.
  std::uint32_t odd = (load_raw32(frame + 12) & 0x00ff'ffffu) ^ 0x0045'0008u;
  odd |= (frame[0] | frame[6]) & 1u;
  odd |= fragment & 0xffbfu;
  odd |= std::uint32_t{ip_bytes + kIp > frame_bytes};
  odd |= std::uint32_t{header_sum20(frame + kIp) != 0xffff};
  odd |= remarkable_v4(source & 0xff) | remarkable_v4(destination & 0xff);
  const bool tcp = (protocol == 6) & (header_bytes >= 20) & (20 + header_bytes <= ip_bytes) &
                   ((kTcpFlagsValid >> tcp_flags & 1) != 0);
  const bool udp = (protocol == 17) & (udp_bytes >= 8) & (20 + udp_bytes <= ip_bytes);
  odd |= std::uint32_t{!(tcp | udp)};
  if (odd != 0) return false;

  store_address_v4(parsed.source.bytes.data(), source);
  store_address_v4(parsed.destination.bytes.data(), destination);
  parsed.source_port = load_be16(frame + kTransport);
  parsed.destination_port = load_be16(frame + kTransport + 2);
  parsed.protocol = static_cast<std::uint8_t>(protocol);
  parsed.kind = Kind::kFlow;
  parsed.fate = abi::Fate::kForwarded;
  parsed.flags = static_cast<std::uint8_t>(kIpv4 | ((fragment & 0x40) != 0 ? kDontFragment : 0));
  parsed.tcp_flags = tcp ? static_cast<std::uint8_t>(tcp_flags) : std::uint8_t{0};
  parsed.hop_limit = frame[kIp + 8];
  parsed.policy_port = parsed.destination_port;
  parsed.l3_offset = kIp;
  parsed.icmp_type = 0;
  parsed.l4_offset = kTransport;
  parsed.fragment_offset = 0;
  parsed.fragment_id = 0;
  parsed.l3_bytes = ip_bytes;
  return true;
}

inline void parse(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                  std::uint16_t vlan, Parsed& parsed) {
  if (!parse_plain(frame, readable, frame_bytes, vlan, parsed)) [[unlikely]]
    parse_any(frame, readable, frame_bytes, vlan, parsed);
}

}  // namespace bulkhead::packet
