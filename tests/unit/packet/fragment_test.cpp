#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "dataplane/packet/packet.h"
#include "tests/unit/packet/frames.h"

namespace bulkhead::packet {
namespace {

using abi::Fate;
using namespace frames;

constexpr std::uint16_t kMore = 0x2000;

Parsed read(const Bytes& frame) {
  Parsed parsed;
  const auto bytes = static_cast<std::uint32_t>(frame.size());
  parse(frame.data(), bytes, bytes, 0, parsed);
  return parsed;
}
Parsed read4(std::uint8_t protocol, std::uint16_t fragment, const Bytes& payload) {
  return read(ethernet(0x0800, ipv4({.protocol = protocol, .fragment = fragment}, payload)));
}
Parsed read6(std::uint8_t next, std::uint16_t field, const Bytes& payload) {
  return read(
      ethernet(0x86dd, ipv6({.next = 44}, join({fragment_header(next, field, 0xabcd'ef01), payload}))));
}

TEST(FirstFragment, holds_the_whole_transport_header) {
  const Parsed p = read4(17, kMore, udp(1000, 53, filler(56), 3000));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.flags, kIpv4 | kFragment | kMoreFragments);
  EXPECT_EQ(p.fragment_offset, 0);
  EXPECT_EQ(p.fragment_id, 0x1234u);
  EXPECT_EQ(p.destination_port, 53);
  EXPECT_EQ(p.policy_port, 53);
  Bytes header = tcp(1, 2, 16, filler(36));
  EXPECT_EQ(read4(6, kMore, header).kind, Kind::kFlow);
  header[12] = 0xf0;
  EXPECT_EQ(read4(6, kMore, header).fate, Fate::kFragmentTiny);
}

TEST(FirstFragment, of_less_than_a_link_carries_is_tiny) {
  EXPECT_EQ(read4(6, kMore, filler(8)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read4(17, kMore, udp(1, 2, filler(32), 3000)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read4(17, kMore, udp(1, 2, filler(40), 3000)).kind, Kind::kFlow);
  EXPECT_EQ(read6(17, 1, udp(1, 2, filler(64), 3000)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read6(17, 1, udp(1, 2, filler(72), 3000)).kind, Kind::kFlow);
}

TEST(LaterFragment, is_a_flow_without_ports) {
  const Parsed p = read4(17, kMore | 100, filler(64));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.flags, kIpv4 | kFragment | kMoreFragments);
  EXPECT_EQ(p.fragment_offset, 800);
  EXPECT_EQ(p.source_port, 0);
  EXPECT_EQ(p.destination_port, 0);
  EXPECT_EQ(p.l4_offset, 34);
  const Parsed last = read4(6, 100, filler(3));
  EXPECT_EQ(last.kind, Kind::kFlow);
  EXPECT_EQ(last.flags, kIpv4 | kFragment);
}

TEST(LaterFragment, may_not_touch_the_transport_header) {
  EXPECT_EQ(read4(6, 1, filler(40)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read4(6, 2, filler(40)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read4(6, 3, filler(40)).kind, Kind::kFlow);
  EXPECT_EQ(read4(132, 1, filler(40)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read4(17, 1, filler(40)).kind, Kind::kFlow);
  EXPECT_EQ(read6(6, 8, filler(40)).fate, Fate::kFragmentTiny);
}

TEST(LaterFragment, of_no_or_minute_payload_is_tiny) {
  EXPECT_EQ(read4(17, 100, {}).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read4(17, kMore | 100, filler(8)).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read6(17, 800, {}).fate, Fate::kFragmentTiny);
}

TEST(AnyFragment, must_be_cut_at_eight_bytes_and_end_in_a_datagram) {
  EXPECT_EQ(read4(17, kMore | 100, filler(63)).fate, Fate::kMalformedIpv4);
  EXPECT_EQ(read4(17, 0x1fff, filler(8)).fate, Fate::kMalformedIpv4);
  EXPECT_EQ(read4(17, 0x1ffd, filler(3)).kind, Kind::kFlow);
  EXPECT_EQ(read4(17, 0x1ffd, filler(4)).fate, Fate::kMalformedIpv4);
  EXPECT_EQ(read6(17, 801, filler(127)).fate, Fate::kMalformedExtension);
  EXPECT_EQ(read6(17, 0xfff8, filler(7)).kind, Kind::kFlow);
  EXPECT_EQ(read6(17, 0xfff8, filler(8)).fate, Fate::kMalformedExtension);
}

TEST(Ipv6Fragment, fills_offset_identification_and_payload) {
  const Parsed p = read6(17, 1600 | 1, filler(128));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.flags, kDontFragment | kFragment | kMoreFragments);
  EXPECT_EQ(p.fragment_offset, 1600);
  EXPECT_EQ(p.fragment_id, 0xabcd'ef01u);
  EXPECT_EQ(p.protocol, 17);
  EXPECT_EQ(p.l4_offset, 62);
}

TEST(Ipv6Fragment, an_atomic_one_is_a_whole_packet) {
  const Parsed p = read6(17, 0, udp(1000, 53, filler(3)));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.flags, kDontFragment);
  EXPECT_EQ(p.fragment_id, 0u);
  EXPECT_EQ(p.policy_port, 53);
  EXPECT_EQ(p.l4_offset, 62);
}

TEST(Ipv6Fragment, the_first_one_holds_every_header) {
  const Bytes options = join({{17, 31, 1, 252}, Bytes(116)});  // ends beyond the fragment (RFC 7112)
  EXPECT_EQ(read6(60, 1, options).fate, Fate::kFragmentTiny);
  EXPECT_EQ(read6(44, 1, join({fragment_header(17, 1, 1), udp(1, 2, filler(112), 3000)})).fate,
            Fate::kMalformedExtension);
}

Parsed quote_of(std::uint8_t type, const Bytes& quoted, bool v6, bool expected) {
  const Bytes frame = v6 ? ethernet(0x86dd, ipv6({.next = 58}, icmp(type, 0, 0, quoted)))
                         : ethernet(0x0800, ipv4({.protocol = 1}, icmp(type, 0, 0, quoted)));
  const Parsed error = read(frame);
  EXPECT_EQ(error.kind, Kind::kIcmpError);
  Parsed quote;
  EXPECT_EQ(parse_quoted(frame.data(), static_cast<std::uint32_t>(frame.size()), error, quote), expected);
  return quote;
}

TEST(Quoted, the_key_of_the_lost_packet_is_read) {
  const Parsed p = quote_of(3, ipv4({.protocol = 6}, part(tcp(40000, 443, 2, {}), 0, 8)), false, true);
  EXPECT_EQ(p.source, abi::address_v4(kA4));
  EXPECT_EQ(p.destination, abi::address_v4(kB4));
  EXPECT_EQ(p.source_port, 40000);
  EXPECT_EQ(p.destination_port, 443);
  EXPECT_EQ(p.protocol, 6);
  EXPECT_EQ(p.l3_offset, 42);
  EXPECT_EQ(p.l4_offset, 62);
  const Parsed q = quote_of(2, ipv6({.next = 58}, icmp(128, 0, 0x0042'0001, {})), true, true);
  EXPECT_EQ(q.source, kA6);
  EXPECT_EQ(q.source_port, 0x42);
  EXPECT_EQ(q.policy_port, 128);
}

TEST(Quoted, first_fragments_and_extension_headers_are_understood) {
  const Parsed p =
      quote_of(2, ipv6({.next = 44}, join({fragment_header(17, 1, 9), udp(5, 6, {}, 3000)})), true, true);
  EXPECT_EQ(p.destination_port, 6);
  quote_of(11, ipv4({.fragment = kMore}, udp(5, 6, {}, 3000)), false, true);
}

TEST(Quoted, a_cut_quote_is_read_only_as_far_as_it_goes) {
  for (const bool v6 : {false, true}) {
    const Bytes quote = v6 ? ipv6({}, part(udp(5, 6, {}), 0, 8)) : ipv4({}, part(udp(5, 6, {}), 0, 8));
    const Bytes frame = v6 ? ethernet(0x86dd, ipv6({.next = 58}, icmp(1, 0, 0, quote)))
                           : ethernet(0x0800, ipv4({.protocol = 1}, icmp(3, 0, 0, quote)));
    const Parsed error = read(frame);
    for (std::size_t readable = 0; readable <= frame.size(); ++readable) {
      const Bytes cut = part(frame, 0, readable);
      const auto exact = std::make_unique<std::uint8_t[]>(readable);
      if (readable != 0) std::memcpy(exact.get(), cut.data(), readable);
      Parsed quoted;
      EXPECT_EQ(parse_quoted(exact.get(), static_cast<std::uint32_t>(readable), error, quoted),
                readable == frame.size());
    }
  }
}

TEST(Quoted, flags_and_identification_are_the_lost_packets) {
  Parsed p = quote_of(3, ipv4({.fragment = 0x4000}, udp(5, 6, {})), false, true);
  EXPECT_EQ(p.flags, kIpv4 | kDontFragment);
  EXPECT_EQ(p.fragment_id, 0u);
  p = quote_of(3, ipv4({.fragment = kMore}, udp(5, 6, {})), false, true);
  EXPECT_EQ(p.flags, kIpv4 | kFragment | kMoreFragments);
  EXPECT_EQ(p.fragment_id, 0x1234u);
  p = quote_of(1, ipv6({.next = 58}, icmp(139, 2, 7, {})), true, true);
  EXPECT_EQ(p.source_port, 139 << 8 | 2);
}

TEST(Quoted, what_has_no_key_is_refused) {
  quote_of(3, ipv4({.fragment = 100}, udp(5, 6, {})), false, false);
  quote_of(3, ipv4({.protocol = 1}, icmp(3, 0, 0, {})), false, false);
  quote_of(1, ipv6({.next = 58}, icmp(1, 0, 0, {})), true, false);
  quote_of(3, join({ipv6({}, udp(5, 6, {})), filler(4)}), false, false);
  quote_of(3, ipv4({.options = {1, 1, 1, 1}}, filler(7)), false, false);
  quote_of(3, ipv4({.first = 0x44}, filler(16)), false, false);
  quote_of(3, ipv4({.protocol = 58}, filler(16)), false, false);
  quote_of(1, ipv6({.next = 1}, filler(16)), true, false);
  quote_of(1, ipv6({.source = abi::address_v4(kA4)}, udp(5, 6, {})), true, false);
}

}  // namespace
}  // namespace bulkhead::packet
