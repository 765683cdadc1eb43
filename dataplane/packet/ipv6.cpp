#include "dataplane/packet/stages.h"

namespace bulkhead::packet {

namespace {

constexpr std::uint32_t kHeaderBytes = 40;
constexpr std::uint32_t kExtensionsMax = 8;

// Only a source cuts IPv6 packets, for links of at least 1280 bytes (RFC 8200, section 5). Far less than that
// in a fragment that others follow is an attempt to slip past a filter.
constexpr std::uint32_t kMiddleFragmentBytesMin = 128;

/// A TLV area (RFC 8200, section 4.2): well-formed, and no jumbogram (RFC 2675).
bool options_fit(const std::uint8_t* options, std::uint32_t bytes) {
  constexpr std::uint8_t kPad1 = 0, kJumboPayload = 0xc2;
  for (std::uint32_t at = 0; at < bytes;) {
    if (options[at] == kPad1) {
      ++at;
      continue;
    }
    if (options[at] == kJumboPayload || at + 2 > bytes || at + 2 + options[at + 1] > bytes) return false;
    at += 2u + options[at + 1];
  }
  return true;
}

/// False where the fragment cannot be part of any datagram.
bool read_fragment(const std::uint8_t* header, std::uint32_t at, Parsed& parsed) {
  const std::uint16_t field = load_be16(header + 2);
  if ((field & 0xfff9) == 0)
    return true;  // atomic (RFC 6946): whole, and judged as if the header were absent
  const std::uint32_t payload_bytes = parsed.l3_offset + parsed.l3_bytes - (at + 8);
  const std::uint32_t unfragmentable_bytes = at - parsed.l3_offset - kHeaderBytes;
  const bool more = (field & 1) != 0;
  parsed.flags |= static_cast<std::uint8_t>(kFragment | (more ? kMoreFragments : 0));
  parsed.fragment_offset = field & 0xfff8;
  parsed.fragment_id = load_be32(header + 4);
  return unfragmentable_bytes + parsed.fragment_offset + payload_bytes <= 65535 &&
         (!more || payload_bytes % 8 == 0);
}

}  // namespace

bool impossible_v6(const abi::Address& source, const abi::Address& destination) {
  const auto unspecified_or_loopback = [](const abi::Address& address) {
    return load_raw64(address.bytes.data()) == 0 && load_raw32(address.bytes.data() + 8) == 0 &&
           load_be32(address.bytes.data() + 12) <= 1;
  };
  const bool nobody = source == abi::Address{};
  return source.is_v4() || destination.is_v4() || is_multicast_v6(source) ||
         unspecified_or_loopback(destination) || (!nobody && unspecified_or_loopback(source));
}

abi::Fate walk_extensions(const std::uint8_t* data, std::uint32_t at, std::uint32_t end, Parsed& parsed) {
  // How often each header may come (RFC 8200, section 4.1): destination options twice, the others once.
  std::uint32_t destinations = 0, routings = 0, fragments = 0, authentications = 0;
  const auto cut_short = [&] {
    return (parsed.flags & kFragment) != 0 ? abi::Fate::kFragmentTiny : abi::Fate::kMalformedExtension;
  };
  for (std::uint32_t step = 0;; ++step) {
    const std::uint8_t* header = data + at;
    std::uint32_t bytes = 8;
    parsed.l4_offset = static_cast<std::uint16_t>(at);
    switch (parsed.protocol) {
      case kProtocolHopByHop:
      case kProtocolDestination:
      case kProtocolRouting:
        if (at + 8 > end) return cut_short();
        bytes = (header[1] + 1u) * 8;
        break;
      case kProtocolFragment:
        if (at + 8 > end) return abi::Fate::kMalformedExtension;
        break;
      case kProtocolAuthentication:
        if (at + 8 > end) return cut_short();
        bytes = (header[1] + 2u) * 4;
        break;
      default:
        return abi::Fate::kForwarded;
    }
    if (step == kExtensionsMax) return abi::Fate::kMalformedExtension;
    if (at + bytes > end) return cut_short();
    switch (parsed.protocol) {
      case kProtocolHopByHop:
        if (step != 0 || !options_fit(header + 2, bytes - 2)) return abi::Fate::kMalformedExtension;
        break;
      case kProtocolDestination:
        if (++destinations > 2 || !options_fit(header + 2, bytes - 2)) return abi::Fate::kMalformedExtension;
        break;
      case kProtocolRouting:
        // Type 0 is dead (RFC 5095). Any other type with segments left ends elsewhere than its destination
        // address says, so no policy could judge it.
        if (header[2] == 0 || header[3] != 0) return abi::Fate::kSourceRouted;
        if (++routings > 1) return abi::Fate::kMalformedExtension;
        break;
      case kProtocolFragment:
        if (++fragments > 1 || !read_fragment(header, at, parsed)) return abi::Fate::kMalformedExtension;
        break;
      default:
        if (++authentications > 1 || bytes < 12) return abi::Fate::kMalformedExtension;
    }
    parsed.protocol = header[0];
    at += bytes;
    if (parsed.fragment_offset != 0) {
      parsed.l4_offset = static_cast<std::uint16_t>(at);
      return abi::Fate::kForwarded;
    }
  }
}

abi::Fate read_ipv6(const Frame& frame, Parsed& parsed) {
  const std::uint32_t at = parsed.l3_offset;
  const std::uint8_t* header = frame.data + at;
  if (frame.readable < at + kHeaderBytes || header[0] >> 4 != 6) return abi::Fate::kMalformedIpv6;
  parsed.l3_bytes = kHeaderBytes + load_be16(header + 4);
  if (at + parsed.l3_bytes > frame.frame_bytes) return abi::Fate::kMalformedIpv6;
  std::memcpy(parsed.source.bytes.data(), header + 8, 16);
  std::memcpy(parsed.destination.bytes.data(), header + 24, 16);
  const bool to_group = is_multicast_v6(parsed.destination);
  // Nobody (::) speaks to groups only: duplicate address detection, router solicitation, group membership.
  if (impossible_v6(parsed.source, parsed.destination) || (parsed.source == abi::Address{} && !to_group))
    return abi::Fate::kMalformedIpv6;

  parsed.kind = Kind::kFlow;
  parsed.flags |= kDontFragment;
  parsed.protocol = header[6];
  parsed.hop_limit = header[7];
  const std::uint32_t packet_end = at + parsed.l3_bytes;
  const std::uint32_t end = packet_end < frame.readable ? packet_end : frame.readable;
  abi::Fate fate = walk_extensions(frame.data, at + kHeaderBytes, end, parsed);
  if (fate != abi::Fate::kForwarded) return fate;
  if (parsed.protocol == kProtocolIcmp) return abi::Fate::kMalformedTransport;
  if ((parsed.flags & kFragment) != 0) fate = judge_fragment(parsed, kMiddleFragmentBytesMin);
  if (fate == abi::Fate::kForwarded && parsed.fragment_offset == 0) fate = read_transport(frame, parsed);
  if (fate != abi::Fate::kForwarded || parsed.kind == Kind::kNeighbour) return fate;
  if (to_group || frame.group) return abi::Fate::kGroupDestination;
  if (is_link_local_v6(parsed.source) || is_link_local_v6(parsed.destination)) return abi::Fate::kLinkLocal;
  return abi::Fate::kForwarded;
}

}  // namespace bulkhead::packet
