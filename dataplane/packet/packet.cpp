#include "dataplane/packet/packet.h"

#include <algorithm>

#include "dataplane/packet/stages.h"

namespace bulkhead::packet {

namespace {

constexpr std::uint32_t kEthernetBytes = 14;
constexpr std::uint16_t kTypeIpv4 = 0x0800, kTypeArp = 0x0806, kTypeIpv6 = 0x86dd;
constexpr std::uint16_t kTypeVlan = 0x8100, kTypeServiceVlan = 0x88a8;

/// Steps over the 802.1Q tag if it is the expected one; a priority tag (VID 0) counts as untagged.
abi::Fate read_ethernet(const Frame& frame, std::uint16_t vlan, std::uint16_t& type, Parsed& parsed) {
  if (frame.readable < kEthernetBytes || (frame.data[6] & 1) != 0) return abi::Fate::kMalformedEthernet;
  type = load_be16(frame.data + 12);
  parsed.l3_offset = kEthernetBytes;
  std::uint16_t tagged = 0;
  if (type == kTypeVlan) {
    if (frame.readable < kEthernetBytes + 4) return abi::Fate::kMalformedEthernet;
    tagged = load_be16(frame.data + 14) & 0x0fff;
    type = load_be16(frame.data + 16);
    parsed.l3_offset = kEthernetBytes + 4;
    parsed.flags |= kVlanTagged;
  }
  if (tagged != vlan || type == kTypeVlan || type == kTypeServiceVlan) return abi::Fate::kVlanUnexpected;
  return abi::Fate::kForwarded;
}

abi::Fate read_frame(const Frame& frame, std::uint16_t vlan, Parsed& parsed) {
  std::uint16_t type = 0;
  const abi::Fate fate = read_ethernet(frame, vlan, type, parsed);
  if (fate != abi::Fate::kForwarded) return fate;
  switch (type) {
    case kTypeIpv4:
      return read_ipv4(frame, parsed);
    case kTypeIpv6:
      return read_ipv6(frame, parsed);
    case kTypeArp:
      return read_arp(frame, parsed);
    default:
      return abi::Fate::kEtherTypeUnknown;
  }
}

}  // namespace

void parse_other(const std::uint8_t* frame, std::uint32_t readable, std::uint32_t frame_bytes,
                 std::uint16_t vlan, Parsed& parsed) {
  // A priority tag is for the general way, and so is any tag but the expected one.
  constexpr std::uint32_t kTagBytes = 4;
  const bool tagged = vlan != 0;
  if (!tagged) {
    if (parse_plain_v6(frame, readable, frame_bytes, 0, parsed)) return;
  } else if (readable >= kEthernetBytes + kTagBytes && load_be16(frame + 12) == kTypeVlan &&
             (load_be16(frame + 14) & 0x0fff) == vlan) {
    if (parse_plain_v4(frame, readable, frame_bytes, kTagBytes, parsed) ||
        parse_plain_v6(frame, readable, frame_bytes, kTagBytes, parsed))
      return;
  }
  parse_any(frame, readable, frame_bytes, vlan, parsed);
}

void parse_any(const std::uint8_t* data, std::uint32_t readable, std::uint32_t frame_bytes,
               std::uint16_t vlan, Parsed& parsed) {
  parsed = Parsed{};
  const Frame frame{data, std::min({readable, frame_bytes, kHeaderBytesMax}), frame_bytes,
                    readable != 0 && (data[0] & 1) != 0};
  parsed.fate = read_frame(frame, vlan, parsed);
  if (parsed.fate != abi::Fate::kForwarded) parsed.kind = Kind::kDrop;
}

// RFC 826 for Ethernet and IPv4. The ethernet destination is broadcast, or unicast where a neighbour is
// probed (RFC 1122, section 2.3.2.1).
abi::Fate read_arp(const Frame& frame, Parsed& parsed) {
  constexpr std::uint32_t kArpBytes = 28;
  const std::uint8_t* arp = frame.data + parsed.l3_offset;
  if (frame.readable < parsed.l3_offset + kArpBytes) return abi::Fate::kMalformedArp;
  if (load_be32(arp) != 0x0001'0800 || load_be16(arp + 4) != 0x0604) return abi::Fate::kMalformedArp;
  const std::uint16_t operation = load_be16(arp + 6);
  if ((operation != 1 && operation != 2) || (arp[8] & 1) != 0) return abi::Fate::kMalformedArp;
  if (frame.group && (load_raw32(frame.data) != 0xffff'ffff || load_raw16(frame.data + 4) != 0xffff))
    return abi::Fate::kGroupDestination;
  store_address_v4(parsed.source.bytes.data(), load_raw32(arp + 14));
  store_address_v4(parsed.destination.bytes.data(), load_raw32(arp + 24));
  parsed.kind = Kind::kArp;
  parsed.icmp_type = static_cast<std::uint8_t>(operation);
  parsed.l4_offset = static_cast<std::uint16_t>(parsed.l3_offset + kArpBytes);
  parsed.l3_bytes = kArpBytes;
  return abi::Fate::kForwarded;
}

}  // namespace bulkhead::packet
