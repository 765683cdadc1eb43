// Any bytes as a frame: parse() and parse_quoted() read only what is there, and what they promise holds.
//
// The first three bytes of an input choose the VLAN, whether the IPv4 header's checksum is made right, and how
// much of the packet is readable; the rest is the frame, in a heap block of exactly its size.
#include <cstdlib>
#include <cstring>
#include <memory>

#include "dataplane/packet/packet.h"

namespace {

using namespace bulkhead;
using packet::Kind;
using packet::Parsed;

void require(bool holds) {
  if (!holds) std::abort();
}

/// An IPv4 checksum is what a fuzzer does not guess.
void repair_checksum(std::uint8_t* frame, std::uint32_t bytes) {
  const std::uint32_t at = bytes > 18 && frame[12] == 0x81 ? 18 : 14;
  if (bytes < at + 20) return;
  const std::uint32_t header_bytes = (frame[at] & 15u) * 4;
  if (frame[at] >> 4 != 4 || header_bytes < 20 || bytes < at + header_bytes) return;
  packet::store_raw16(frame + at + 10, 0);
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0; i < header_bytes; i += 2) sum += packet::load_raw16(frame + at + i);
  sum = (sum & 0xffff) + (sum >> 16);
  packet::store_raw16(frame + at + 10, static_cast<std::uint16_t>(~((sum & 0xffff) + (sum >> 16))));
}

void check(const Parsed& p, std::uint32_t readable, std::uint32_t frame_bytes, std::uint16_t vlan) {
  require((p.kind == Kind::kDrop) == (p.fate != abi::Fate::kForwarded));
  if (p.kind == Kind::kDrop) return;
  const bool tagged = (p.flags & packet::kVlanTagged) != 0;
  require(p.l3_offset == (tagged ? 18 : 14) && (tagged || vlan == 0));
  require(p.l3_offset + p.l3_bytes <= frame_bytes);
  require(p.l4_offset > p.l3_offset && p.l4_offset <= p.l3_offset + p.l3_bytes && p.l4_offset <= readable);
  if (p.kind == Kind::kArp) return;

  const bool v4 = (p.flags & packet::kIpv4) != 0;
  require(p.source.is_v4() == v4 && p.destination.is_v4() == v4);
  require(v4 || (p.flags & packet::kDontFragment) != 0);
  if (p.kind != Kind::kNeighbour) require(p.destination.bytes[0] != 0xff);
  if (p.kind != Kind::kFlow) require((p.flags & packet::kFragment) == 0);
  if ((p.flags & packet::kFragment) == 0) require(p.fragment_offset == 0 && p.fragment_id == 0);
  const std::uint32_t payload = p.l3_offset + p.l3_bytes - p.l4_offset;
  if (p.fragment_offset != 0) {
    require(p.source_port == 0 && p.destination_port == 0 && payload > 0);
    require(p.fragment_offset + payload <= 65535);
    require(p.protocol != 6 || p.fragment_offset >= 20);
    return;
  }
  if (p.protocol == 6) {
    require(payload >= 20 && (packet::kTcpFlagsValid >> p.tcp_flags & 1) != 0 &&
            p.l4_offset + 20u <= readable);
  }
  if (p.protocol == 17 || p.protocol == 1 || p.protocol == 58)
    require(payload >= 8 && p.l4_offset + 8u <= readable);
  if (p.protocol == 132) require(payload >= 12 && p.l4_offset + 12u <= readable);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes < 3) return 0;
  const std::uint16_t vlan = (data[0] & 1) != 0 ? 5 : 0;
  // A super-packet's payload lies elsewhere: the frame may be longer than what is readable.
  const std::uint32_t elsewhere = data[1] | (data[0] & 2) << 7;
  const auto readable = static_cast<std::uint32_t>(bytes - 3);
  const std::uint32_t frame_bytes = readable + elsewhere * 64;
  const auto frame = std::make_unique<std::uint8_t[]>(readable);
  if (readable != 0) std::memcpy(frame.get(), data + 3, readable);
  if ((data[0] & 4) != 0) repair_checksum(frame.get(), readable);

  Parsed parsed, again;
  parsed.fragment_id = 0xdead;  // what was there before must not shine through
  parsed.icmp_type = 77;
  packet::parse(frame.get(), readable, frame_bytes, vlan, parsed);
  packet::parse_any(frame.get(), readable, frame_bytes, vlan, again);
  require(parsed == again);
  check(parsed, readable, frame_bytes, vlan);
  if (parsed.kind != Kind::kIcmpError) return 0;

  Parsed quoted;
  if (!packet::parse_quoted(frame.get(), readable, parsed, quoted)) return 0;
  require(quoted.fragment_offset == 0 && quoted.l4_offset + 8u <= readable);
  require(quoted.source.is_v4() == parsed.source.is_v4() &&
          quoted.destination.is_v4() == parsed.source.is_v4());
  return 0;
}
