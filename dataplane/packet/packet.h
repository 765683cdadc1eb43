// What the data plane knows of one packet after reading its headers, once.
//
// Promises: parse() reads nothing beyond `readable` bytes, whatever the bytes say; everything a later stage
// trusts (offsets, lengths, header checksum, address plausibility) was checked here. Any thread; no state; no
// allocation.
//
// parsed.h has the result, plain.h the short way for nearly all packets, and the files named after headers the
// whole way for the rest: parse_any() asks them in turn (stages.h).
#pragma once

#include <cstdint>

#include "dataplane/packet/parsed.h"
#include "dataplane/packet/plain.h"

namespace bulkhead::packet {

/// Reads one Ethernet frame. `frame` has `readable` contiguous bytes of a packet of `frame_bytes` in all (a
/// super-packet's payload may lie elsewhere; headers must be readable, at most 256 bytes are looked at).
/// `vlan` is the 802.1Q VLAN the port carries, 0 for none. Always fills `parsed`; kind kDrop with a fate if
/// the packet must go no further. ARP: addresses are the sender's and the target's.
void parse(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes, std::uint16_t vlan,
           Parsed& parsed);

/// The same for what is not plain IPv4 without a tag.
void parse_other(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                 std::uint16_t vlan, Parsed& parsed);

/// The same, header by header, for every kind of packet.
void parse_any(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
               std::uint16_t vlan, Parsed& parsed);

/// Reads the packet quoted inside an ICMP error: the same key fields, from an IP header plus at least 8 bytes
/// of transport. False if it cannot be read, or is of the other family, a later fragment or itself an ICMP
/// error. `parsed` is the error's own; `quoted` has offsets from the same frame's start, and l3_bytes is what
/// the quoted header says, more than is there.
bool parse_quoted(const std::uint8_t* frame, std::uint32_t readable, const Parsed& parsed, Parsed& quoted);

inline void parse(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                  std::uint16_t vlan, Parsed& parsed) {
  if (vlan != 0 || !parse_plain_v4(frame, readable, frame_bytes, 0, parsed)) [[unlikely]]
    parse_other(frame, readable, frame_bytes, vlan, parsed);
}

}  // namespace bulkhead::packet
