// Plain frames, which are read by a glance: the glance and the whole reading agree.
#include "tests/unit/packet/reading.h"

namespace bulkhead::packet {
namespace {

TEST(Plain, tcp_over_ipv4_fills_every_field) {
  const Parsed p = read4({.protocol = 6, .fragment = 0x4000, .ttl = 63}, tcp(40000, 443, kSyn, {}));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.fate, Fate::kForwarded);
  EXPECT_EQ(p.source, abi::address_v4(kA4));
  EXPECT_EQ(p.destination, abi::address_v4(kB4));
  EXPECT_EQ(p.source_port, 40000);
  EXPECT_EQ(p.destination_port, 443);
  EXPECT_EQ(p.policy_port, 443);
  EXPECT_EQ(p.protocol, 6);
  EXPECT_EQ(p.flags, kIpv4 | kDontFragment);
  EXPECT_EQ(p.tcp_flags, kSyn);
  EXPECT_EQ(p.hop_limit, 63);
  EXPECT_EQ(p.l3_offset, 14);
  EXPECT_EQ(p.l4_offset, 34);
  EXPECT_EQ(p.l3_bytes, 40u);
  EXPECT_EQ(p.fragment_id, 0u);
  EXPECT_EQ(p.icmp_type, 0);
}

/// Where the short way reads a frame, the general one says the same; and it does read `good`.
void expect_agreement(const Bytes& good, std::uint16_t vlan) {
  const std::uint32_t tag_bytes = vlan != 0 ? 4 : 0;
  const bool v4 = good[12 + tag_bytes] == 0x08;
  const auto bytes = static_cast<std::uint32_t>(good.size());
  const auto plain = [&](const Bytes& frame, Parsed& parsed) {
    return v4 ? parse_plain_v4(frame.data(), bytes, bytes, tag_bytes, parsed)
              : parse_plain_v6(frame.data(), bytes, bytes, tag_bytes, parsed);
  };
  Parsed fast, slow, chosen;
  ASSERT_TRUE(plain(good, fast));
  for (std::size_t at = 0; at < good.size(); ++at)
    for (unsigned value = 0; value < 256; ++value) {
      Bytes frame = good;
      frame[at] = static_cast<std::uint8_t>(value);
      if (v4 && at >= 14 + tag_bytes &&
          at < 34 + tag_bytes) {  // the field itself is judged, not its checksum
        put16(frame, 24 + tag_bytes, 0);
        put16(frame, 24 + tag_bytes, internet_checksum(part(frame, 14 + tag_bytes, 20)));
      }
      parse_any(frame.data(), bytes, bytes, vlan, slow);
      parse(frame.data(), bytes, bytes, vlan, chosen);
      ASSERT_TRUE(chosen == slow) << "byte " << at << " = " << value;
      const bool tag_untouched = at < 12 || at >= 12 + tag_bytes;
      if (tag_untouched && plain(frame, fast)) {
        ASSERT_TRUE(fast == slow) << "byte " << at << " = " << value;
      }
    }
}

TEST(Plain, both_ways_agree_whatever_byte_changes) {
  for (int vlan : {-1, 5})
    for (const bool v4 : {true, false})
      for (const bool is_tcp : {true, false}) {
        const auto protocol = static_cast<std::uint8_t>(is_tcp ? 6 : 17);
        const Bytes payload = is_tcp ? tcp(40000, 443, kAck | kPsh, filler(9)) : udp(5353, 53, filler(21));
        expect_agreement(
            ethernet(v4 ? 0x0800 : 0x86dd,
                     v4 ? ipv4({.protocol = protocol}, payload) : ipv6({.next = protocol}, payload),
                     {.vlan = vlan}),
            static_cast<std::uint16_t>(vlan < 0 ? 0 : vlan));
      }
}

/// What passes as a known neighbour's plain frame is one, but for addresses, which are left to the caller; and nothing of any other
/// neighbour passes.
TEST(Plain, known_neighbour_s_frame_is_told_by_a_glance_whatever_byte_changes) {
  const ExpectedV4 expected(frame_head(kMacB, kMacA));
  for (const bool is_tcp : {true, false}) {
    const auto protocol = static_cast<std::uint8_t>(is_tcp ? 6 : 17);
    const Bytes good = ethernet(
        0x0800, ipv4({.protocol = protocol, .fragment = static_cast<std::uint16_t>(is_tcp ? 0x4000 : 0)},
                     is_tcp ? tcp(40000, 443, kAck | kPsh, filler(9)) : udp(5353, 53, filler(21))));
    const auto bytes = static_cast<std::uint32_t>(good.size());
    std::uint32_t read = 0;
    for (std::size_t at = 0; at < good.size(); ++at)
      for (unsigned value = 0; value < 256; ++value)
        for (const bool right_sum : {true, false}) {
          Bytes frame = good;
          frame[at] = static_cast<std::uint8_t>(value);
          if (right_sum && at >= 14 && at < 34) {
            put16(frame, 24, 0);
            put16(frame, 24, internet_checksum(part(frame, 14, 20)));
          }
          Parsed slow;
          if (!is_expected_v4(frame.data(), bytes, bytes, expected)) continue;
          ++read;
          ASSERT_TRUE(at >= 12 || frame[at] == good[at]) << "byte " << at << " = " << value;
          parse_any(frame.data(), bytes, bytes, 0, slow);
          if (at >= 26 && at < 34 && slow.kind == Kind::kDrop) continue;
          ASSERT_EQ(slow.kind, Kind::kFlow) << "byte " << at << " = " << value;
          ASSERT_EQ(slow.protocol, protocol);
          ASSERT_EQ(slow.l4_offset, 34u);
          ASSERT_EQ(slow.flags & ~kDontFragment, kIpv4);
          ASSERT_EQ(plain_v4::bytes(frame.data()), slow.l3_bytes);
          ASSERT_EQ(plain_v4::hops(frame.data()), slow.hop_limit);
          ASSERT_EQ(plain_v4::moves_tcp(frame.data()),
                    is_tcp && (slow.tcp_flags & (kFin | kSyn | kRst)) != 0);
        }
    EXPECT_GT(read, 10'000u);
    EXPECT_FALSE(is_expected_v4(good.data(), 53, bytes, expected));
  }
}

TEST(Plain, the_header_sum_by_multiplication_is_the_plain_one) {
  Bytes header = part(ipv4({}, {}), 0, 20);
  for (std::uint32_t checksum = 0; checksum < 65536; ++checksum) {
    put16(header, 10, checksum);
    ASSERT_EQ(header_sums_up(header.data()), internet_checksum(header) == 0) << checksum;
  }
  std::uint32_t random = 1;
  for (int round = 0; round < 200'000; ++round) {
    for (std::uint8_t& byte : header) {
      random = random * 1664525 + 1013904223;
      byte = round % 3 == 0 ? static_cast<std::uint8_t>(random >> 31 != 0 ? 0xff : 0)
                            : static_cast<std::uint8_t>(random >> 24);
    }
    header[0] |= 0x40;
    if (round % 2 == 0) {
      put16(header, 10, 0);
      put16(header, 10, internet_checksum(header));
    }
    ASSERT_EQ(header_sums_up(header.data()), internet_checksum(header) == 0) << round;
  }
}

TEST(Plain, a_short_datagram_takes_the_other_path_and_passes) {
  const Parsed p = read4({}, udp(1000, 53, {}));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.policy_port, 53);
  EXPECT_EQ(p.l3_bytes, 28u);
}

TEST(Plain, ethernet_padding_is_not_of_the_packet) {
  Bytes frame = ethernet(0x0800, ipv4({}, udp(1000, 53, filler(2))));
  frame.resize(60);
  const Parsed p = read(frame);
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.l3_bytes, 30u);
}

TEST(Plain, a_super_packet_needs_only_its_headers_readable) {
  Bytes frame = ethernet(0x0800, ipv4({.protocol = 6, .total_bytes = 60000}, tcp(1, 2, kAck, filler(100))));
  const Parsed p = read(frame, 0, 14 + 60000);
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.l3_bytes, 60000u);
  EXPECT_EQ(read(frame, 0, 14 + 59999).fate, Fate::kMalformedIpv4);
}

}  // namespace
}  // namespace bulkhead::packet
