// The result of reading a packet's headers.
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
  kVlanTagged = 16,   // an 802.1Q tag lies before the IP header: the port's own, or a priority tag
};

struct alignas(64) Parsed {
  abi::Address source;
  abi::Address destination;
  std::uint16_t source_port = 0;  // host order; ICMP: see icmp_ports() in stages.h
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

}  // namespace bulkhead::packet
