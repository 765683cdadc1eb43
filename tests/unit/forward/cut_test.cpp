#include <gtest/gtest.h>

#include "dataplane/forward/forward.h"
#include "tests/unit/packet/frames.h"

namespace bulkhead::forward {
namespace {

using namespace frames;
using packet::Kind;
using packet::Parsed;

constexpr std::uint8_t kFin = 1, kPsh = 8, kAck = 16, kCwr = 128;

std::uint32_t size32(const Bytes& bytes) {
  return static_cast<std::uint32_t>(bytes.size());
}
Parsed read(const Bytes& frame, std::uint16_t vlan = 0) {
  Parsed parsed;
  packet::parse(frame.data(), size32(frame), size32(frame), vlan, parsed);
  return parsed;
}
Bytes ip_of(const Bytes& frame) {
  return part(frame, 14, frame.size() - 14);
}
std::vector<Range> ranges_of(Bytes& frame, std::initializer_list<std::uint32_t> cuts) {
  std::vector<Range> ranges;
  std::uint32_t at = 0;
  for (std::uint32_t cut : cuts) {
    ranges.push_back({frame.data() + at, cut - at});
    at = cut;
  }
  ranges.push_back({frame.data() + at, size32(frame) - at});
  return ranges;
}

TEST(Checksum, sums_agree_with_the_plain_one_at_every_length_and_place) {
  const Bytes data = filler(200);
  for (std::size_t from = 0; from < 9; ++from)
    for (std::size_t bytes = 0; bytes + from <= data.size(); ++bytes) {
      const std::uint16_t raw = finish(sum_bytes(data.data() + from, static_cast<std::uint32_t>(bytes)));
      ASSERT_EQ(__builtin_bswap16(raw), internet_checksum(part(data, from, bytes))) << from << " " << bytes;
    }
  const Bytes ones(65535, 0xff);
  EXPECT_EQ(__builtin_bswap16(finish(sum_bytes(ones.data(), 65535))), internet_checksum(ones));
}

TEST(Checksum, scattered_bytes_sum_as_contiguous_ones) {
  Bytes data = filler(300);
  for (std::uint32_t one = 0; one <= 40; ++one)
    for (std::uint32_t two = one; two <= 45; ++two) {
      const std::vector<Range> ranges = ranges_of(data, {one, two, 100});
      for (std::uint32_t offset : {0u, 1u, 33u, 150u}) {
        const std::uint16_t expected = fold(sum_bytes(data.data() + offset, 140));
        ASSERT_EQ(fold(sum_ranges(ranges, offset, 140)), expected);
        Bytes copy(140);
        ASSERT_EQ(fold(copy_and_sum(ranges, offset, 140, copy.data())), expected);
        ASSERT_EQ(copy, part(data, offset, 140));
      }
    }
}

/// Puts what a container's kernel leaves in the field: the pseudo header's sum.
Bytes partial(Bytes ip, std::size_t field) {
  const bool v4 = ip[0] >> 4 == 4;
  const std::size_t header = v4 ? 20 : 40;
  const Bytes addresses = v4 ? part(ip, 12, 8) : part(ip, 8, 32);
  const auto bytes = static_cast<std::uint32_t>(ip.size() - header);
  put16(ip, header + field,
        ~internet_checksum(join({addresses, be32(bytes), {0, 0, 0, v4 ? ip[9] : ip[6]}})) & 0xffff);
  return ip;
}

TEST(Checksum, partial_ones_are_completed_over_scattered_bytes) {
  for (std::size_t payload : {0u, 1u, 1000u, 1447u}) {
    const Bytes v4 = ipv4({.protocol = 6}, tcp(1, 2, kAck, filler(payload)));
    Bytes frame = ethernet(0x0800, partial(v4, 16));
    frame.resize(frame.size() + 7, 0x55);  // padding is not summed
    const std::uint32_t end = size32(frame) - 7;
    const Parsed parsed = read(frame);
    ASSERT_TRUE(partial_fits(parsed, 34, 16));
    ASSERT_TRUE(
        complete_partial(ranges_of(frame, {54, 54 + static_cast<std::uint32_t>(payload) / 2}), 34, 16, end));
    EXPECT_EQ(part(frame, 14, v4.size()), sealed(v4));

    const Bytes v6 = ipv6({}, udp(1, 2, filler(payload)));
    Bytes frame6 = ethernet(0x86dd, partial(v6, 6));
    ASSERT_TRUE(complete_partial(ranges_of(frame6, {60}), 54, 6, size32(frame6)));
    EXPECT_EQ(ip_of(frame6), sealed(v6));
  }
}

TEST(Checksum, a_field_outside_or_torn_is_refused) {
  Bytes frame = ethernet(0x0800, ipv4({}, udp(1, 2, filler(9))));
  const Bytes before = frame;
  const std::uint32_t end = size32(frame);
  EXPECT_FALSE(complete_partial(ranges_of(frame, {}), 34, end - 35, end));
  EXPECT_FALSE(complete_partial(ranges_of(frame, {}), end, 0, end));
  EXPECT_FALSE(complete_partial(ranges_of(frame, {}), 34, 0xffff'fff0, end));
  EXPECT_FALSE(complete_partial(ranges_of(frame, {41}), 34, 6, end));
  EXPECT_FALSE(complete_partial(ranges_of(frame, {}), 34, 6, end + 1));
  EXPECT_EQ(frame, before);
  Bytes padded = join({frame, Bytes(8)});  // what lies behind the packet's end is not its field
  const Bytes padded_before = padded;
  EXPECT_FALSE(complete_partial(ranges_of(padded, {}), 34, end - 35, end));
  EXPECT_FALSE(complete_partial(ranges_of(padded, {}), end, 0, end));
  EXPECT_EQ(padded, padded_before);
}

TEST(Checksum, only_the_transport_headers_own_field_may_be_asked_for) {
  const Parsed tcp4 = read(ethernet(0x0800, ipv4({.protocol = 6}, tcp(1, 2, kAck, {}))));
  EXPECT_TRUE(partial_fits(tcp4, 34, 16));
  EXPECT_FALSE(partial_fits(tcp4, 34, 6));
  EXPECT_FALSE(partial_fits(tcp4, 14, 16));
  EXPECT_FALSE(partial_fits(tcp4, 26, 4));
  EXPECT_FALSE(partial_fits(read(ethernet(0x0800, ipv4({.fragment = 100}, filler(40)))), 34, 6));
  EXPECT_FALSE(partial_fits(read(ethernet(0x0800, ipv4({.protocol = 132}, filler(40)))), 34, 8));
  EXPECT_FALSE(partial_fits(read(ethernet(0x0806, arp(1, kMacA, kA4, kB4))), 42, 6));
  const Parsed udp4 = read(ethernet(0x0800, ipv4({}, udp(1, 2, {}))));
  EXPECT_TRUE(partial_fits(udp4, 34, 6));
  EXPECT_FALSE(partial_fits(udp4, 34, 16));
  const Parsed echo4 = read(ethernet(0x0800, ipv4({.protocol = 1}, icmp(8, 0, 1, {}))));
  EXPECT_TRUE(partial_fits(echo4, 34, 2));
  EXPECT_FALSE(partial_fits(echo4, 34, 6));
  EXPECT_TRUE(partial_fits(read(ethernet(0x86dd, ipv6({.next = 58}, icmp(128, 0, 1, {})))), 54, 2));
  EXPECT_TRUE(partial_fits(read(ethernet(0x0800, ipv4({.protocol = 136}, filler(8)))), 34, 6));
  EXPECT_FALSE(partial_fits(read(ethernet(0x0800, ipv4({.protocol = 136}, filler(7)))), 34, 6));
  Parsed dropped = udp4;
  dropped.kind = Kind::kDrop;
  EXPECT_FALSE(partial_fits(dropped, 34, 6));
}

TEST(Rewrite, every_hop_keeps_the_header_checksum_right) {
  for (std::uint32_t id = 0; id < 65536; id += 5) {
    Bytes frame = ethernet(0x0800, ipv4({.id = static_cast<std::uint16_t>(id), .ttl = 255}, udp(1, 2, {})));
    for (int hops = 0; hops < 3; ++hops) {
      ASSERT_TRUE(spend_hop(frame.data(), read(frame)));
      ASSERT_EQ(read(frame).kind, Kind::kFlow) << id;
    }
    ASSERT_EQ(frame[22], 252);
  }
  Bytes frame6 = ethernet(0x86dd, ipv6({.hop_limit = 2}, udp(1, 2, {})));
  EXPECT_TRUE(spend_hop(frame6.data(), read(frame6)));
  EXPECT_EQ(frame6[21], 1);
}

TEST(Rewrite, passing_on_is_a_hop_and_both_macs_whatever_the_checksum) {
  const abi::Mac to{{2, 1, 2, 3, 4, 5}}, from{{2, 6, 7, 8, 9, 10}};
  Bytes frame = ethernet(0x0800, ipv4({.ttl = 2}, udp(1, 2, {})));
  const packet::Parsed parsed = read(frame);
  for (std::uint32_t checksum = 0; checksum < 65536; ++checksum) {
    frame[22] = static_cast<std::uint8_t>(2 + checksum % 254);
    put16(frame, 24, checksum);
    Bytes expected = frame;
    ASSERT_TRUE(spend_hop(expected.data(), parsed));
    set_macs(expected.data(), to, from);
    Bytes passed = frame;
    pass_on_v4(passed.data(), packet::frame_head(to, from));
    ASSERT_EQ(passed, expected) << checksum;
  }
}

TEST(Rewrite, the_last_hop_is_not_spent) {
  for (std::uint8_t ttl : {0, 1}) {
    Bytes frame = ethernet(0x0800, ipv4({.ttl = ttl}, udp(1, 2, {})));
    const Bytes before = frame;
    EXPECT_FALSE(spend_hop(frame.data(), read(frame)));
    EXPECT_EQ(frame, before);
  }
}

TEST(Rewrite, a_tag_is_pushed_and_popped) {
  const Bytes plain = ethernet(0x0800, ipv4({}, udp(1, 2, {})));
  Bytes room = join({Bytes(4), plain});
  std::uint8_t* start = push_vlan(room.data() + 4, 0x123);
  EXPECT_EQ(start, room.data());
  EXPECT_EQ(room, ethernet(0x0800, ipv4({}, udp(1, 2, {})), {.vlan = 0x123}));
  start = pop_vlan(start);
  EXPECT_EQ(Bytes(start, start + plain.size()), plain);
  set_macs(start, kMacA, kMacB);
  EXPECT_EQ(part(Bytes(start, start + 12), 0, 12), (Bytes{2, 0, 0, 0, 0, 0xaa, 2, 0, 0, 0, 0, 0xbb}));
}

/// All segments as whole frames.
std::vector<Bytes> segments(Bytes& frame, std::uint32_t segment_bytes, std::uint16_t vlan = 0) {
  SegmentPlan plan;
  const Parsed parsed = read(frame, vlan);
  EXPECT_TRUE(plan_segments(frame.data(), size32(frame), parsed, segment_bytes, plan));
  const std::vector<Range> ranges =
      ranges_of(frame, {plan.header_bytes, plan.header_bytes + plan.payload_bytes / 3});
  std::vector<Bytes> all;
  for (std::uint32_t k = 0; k < plan.count; ++k) {
    const Cut cut = segment_cut(plan, k);
    Bytes out(plan.header_bytes + cut.bytes);
    EXPECT_LE(out.size() - parsed.l3_offset, plan.l3_bytes_max());
    const std::uint64_t sum = copy_and_sum(ranges, cut.offset, cut.bytes, out.data() + plan.header_bytes);
    write_segment_headers(plan, k, sum, out.data());
    all.push_back(out);
  }
  return all;
}

TEST(Segment, tcp_over_ipv4_becomes_what_the_sender_meant) {
  const Bytes options = {1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8};
  const Bytes payload = filler(3001);
  Bytes frame = ethernet(0x0800, ipv4({.protocol = 6, .fragment = 0x4000, .id = 0xffff},
                                      tcp(1, 2, kAck | kPsh | kFin | kCwr, payload, 0xffff'ff00, options)));
  const std::vector<Bytes> all = segments(frame, 1001);
  ASSERT_EQ(all.size(), 3u);
  const std::uint8_t flags[] = {kAck | kCwr, kAck, kAck | kPsh | kFin};
  for (std::uint32_t k = 0; k < 3; ++k) {
    const std::size_t bytes = k == 2 ? 999 : 1001;
    const Ipv4 ip{.protocol = 6, .fragment = 0x4000, .id = static_cast<std::uint16_t>(0xffff + k)};
    const Bytes expected =
        tcp(1, 2, flags[k], part(payload, k * 1001, bytes), 0xffff'ff00 + k * 1001, options);
    EXPECT_EQ(all[k], ethernet(0x0800, sealed(ipv4(ip, expected)))) << k;
  }
}

TEST(Segment, tcp_over_ipv6_and_a_tag) {
  const Bytes payload = filler(2000);
  Bytes frame = ethernet(0x86dd, ipv6({.next = 6}, tcp(1, 2, kAck | kPsh, payload)), {.vlan = 7});
  const std::vector<Bytes> all = segments(frame, 1000, 7);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], ethernet(0x86dd, sealed(ipv6({.next = 6}, tcp(1, 2, kAck, part(payload, 0, 1000)))),
                             {.vlan = 7}));
  EXPECT_EQ(
      all[1],
      ethernet(0x86dd, sealed(ipv6({.next = 6}, tcp(1, 2, kAck | kPsh, part(payload, 1000, 1000), 2000))),
               {.vlan = 7}));
}

TEST(Segment, udp_datagrams_get_their_own_lengths_and_checksums) {
  const Bytes payload = filler(2500);
  Bytes frame4 = ethernet(0x0800, ipv4({}, udp(5, 6, payload)));
  Bytes frame6 = ethernet(0x86dd, ipv6({}, udp(5, 6, payload)));
  const std::vector<Bytes> all4 = segments(frame4, 1200), all6 = segments(frame6, 1200);
  ASSERT_EQ(all4.size(), 3u);
  ASSERT_EQ(all6.size(), 3u);
  for (std::uint32_t k = 0; k < 3; ++k) {
    const Bytes datagram = udp(5, 6, part(payload, k * 1200, k == 2 ? 100 : 1200));
    EXPECT_EQ(all4[k],
              ethernet(0x0800, sealed(ipv4({.id = static_cast<std::uint16_t>(0x1234 + k)}, datagram))));
    EXPECT_EQ(all6[k], ethernet(0x86dd, sealed(ipv6({}, datagram))));
  }
}

TEST(Segment, what_fits_stays_one_and_what_cannot_be_cut_is_refused) {
  Bytes frame = ethernet(0x0800, ipv4({.protocol = 6}, tcp(1, 2, kAck, {})));
  const std::vector<Bytes> all = segments(frame, 1000);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0], ethernet(0x0800, sealed(ipv4({.protocol = 6}, tcp(1, 2, kAck, {})))));
  SegmentPlan plan;
  const auto planned = [&](const Bytes& bytes, std::uint32_t readable, std::uint32_t segment_bytes) {
    return plan_segments(bytes.data(), readable, read(bytes), segment_bytes, plan);
  };
  EXPECT_FALSE(planned(frame, size32(frame), 0));
  const Bytes optioned = ethernet(0x0800, ipv4({.protocol = 6}, tcp(1, 2, kAck, {}, 1, Bytes(8))));
  EXPECT_FALSE(planned(optioned, 61, 1000));
  EXPECT_FALSE(planned(ethernet(0x0800, ipv4({.protocol = 1}, icmp(8, 0, 1, {}))), 42, 1000));
  EXPECT_FALSE(planned(ethernet(0x0800, ipv4({.fragment = 0x2000}, udp(1, 2, filler(56), 900))), 98, 1000));
}

/// All fragments as whole frames.
std::vector<Bytes> fragments(Bytes& frame, std::uint32_t mtu) {
  FragmentPlan plan;
  EXPECT_TRUE(plan_fragments(frame.data(), read(frame), mtu, plan));
  const std::vector<Range> ranges = ranges_of(frame, {});
  std::vector<Bytes> all;
  for (std::uint32_t k = 0; k < plan.count; ++k) {
    const Cut cut = fragment_cut(plan, k);
    Bytes out(plan.header_bytes(k) + cut.bytes, 0xa5);
    EXPECT_LE(out.size() - 14, mtu);
    copy_and_sum(ranges, cut.offset, cut.bytes, out.data() + plan.header_bytes(k));
    write_fragment_headers(plan, k, out.data());
    all.push_back(out);
  }
  return all;
}

TEST(Fragment, a_datagram_is_cut_at_eight_bytes) {
  const Bytes datagram = udp(1, 2, filler(2000));
  Bytes frame = ethernet(0x0800, ipv4({}, datagram));
  const std::vector<Bytes> all = fragments(frame, 1006);  // 986 bytes of payload, 984 in whole words of 8
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0], ethernet(0x0800, ipv4({.fragment = 0x2000}, part(datagram, 0, 984))));
  EXPECT_EQ(all[1], ethernet(0x0800, ipv4({.fragment = 0x2000 | 123}, part(datagram, 984, 984))));
  EXPECT_EQ(all[2], ethernet(0x0800, ipv4({.fragment = 246}, part(datagram, 1968, 40))));
}

TEST(Fragment, only_copied_options_follow) {
  const Bytes options = {7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0};  // record route, no-op, router alert (copied)
  const Bytes datagram = udp(1, 2, filler(200));
  Bytes frame = ethernet(0x0800, ipv4({.options = options}, datagram));
  const std::vector<Bytes> all = fragments(frame, 128);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0], ethernet(0x0800, ipv4({.fragment = 0x2000, .options = options}, part(datagram, 0, 96))));
  EXPECT_EQ(all[1], ethernet(0x0800, ipv4({.fragment = 0x2000 | 12, .options = {148, 4, 0, 0}},
                                          part(datagram, 96, 104))));
  EXPECT_EQ(all[2],
            ethernet(0x0800, ipv4({.fragment = 25, .options = {148, 4, 0, 0}}, part(datagram, 200, 8))));
}

TEST(Fragment, copied_options_are_padded_to_words) {
  const Bytes options = {7, 3, 4, 148, 4, 0, 0, 130, 3, 9, 1, 1};
  const Bytes datagram = udp(0x9404, 2, filler(200));  // looks like an option where the header has ended
  Bytes frame = ethernet(0x0800, ipv4({.options = options}, datagram));
  const std::vector<Bytes> all = fragments(frame, 128);
  ASSERT_EQ(all.size(), 3u);
  const Bytes copied = {148, 4, 0, 0, 130, 3, 9, 0};
  EXPECT_EQ(all[1],
            ethernet(0x0800, ipv4({.fragment = 0x2000 | 12, .options = copied}, part(datagram, 96, 96))));
  EXPECT_EQ(all[2], ethernet(0x0800, ipv4({.fragment = 24, .options = copied}, part(datagram, 192, 16))));
}

TEST(Fragment, a_fragment_is_cut_again_in_its_place) {
  const Bytes payload = filler(160);
  Bytes frame = ethernet(0x0800, ipv4({.fragment = 0x2000 | 50}, payload));
  const std::vector<Bytes> all = fragments(frame, 100);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0], ethernet(0x0800, ipv4({.fragment = 0x2000 | 50}, part(payload, 0, 80))));
  EXPECT_EQ(all[1], ethernet(0x0800, ipv4({.fragment = 0x2000 | 60}, part(payload, 80, 80))));
}

TEST(Fragment, what_must_not_be_cut_is_refused) {
  FragmentPlan plan;
  const auto planned = [&](const Bytes& frame, std::uint32_t mtu) {
    return plan_fragments(frame.data(), read(frame), mtu, plan);
  };
  EXPECT_FALSE(planned(ethernet(0x0800, ipv4({.fragment = 0x4000}, udp(1, 2, filler(200)))), 100));
  EXPECT_FALSE(planned(ethernet(0x86dd, ipv6({}, udp(1, 2, filler(2000)))), 1280));
  EXPECT_FALSE(planned(ethernet(0x0800, ipv4({}, udp(1, 2, filler(200)))), 67));
  EXPECT_TRUE(planned(ethernet(0x0800, ipv4({}, udp(1, 2, filler(200)))), 68));
}

}  // namespace
}  // namespace bulkhead::forward
