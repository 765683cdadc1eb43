#include <gtest/gtest.h>

#include "dataplane/forward/forward.h"
#include "tests/unit/packet/frames.h"

namespace bulkhead::forward {
namespace {

using namespace frames;
using packet::Kind;
using packet::Parsed;

constexpr abi::Mac kOwn{{0x02, 0xb1, 0, 0, 0, 1}};
constexpr abi::Mac kAll{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr std::uint32_t kGateway4 = 0xa9fe'0101;
constexpr abi::Address kGateway6{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
constexpr abi::Address kLinkA{{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa}};

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

TEST(Arp, reply_tells_the_asker_our_mac) {
  const Bytes request = ethernet(0x0806, arp(1, kMacA, kA4, kB4), {.destination = kAll});
  const Parsed parsed = read(request);
  EXPECT_TRUE(owes_arp_reply(parsed, {.served = true}));
  Bytes reply(kArpFrameBytes);
  build_arp_reply(request.data(), parsed, kOwn, reply.data());
  Bytes expected = arp(2, kOwn, kB4, kA4);
  std::copy(kMacA.bytes.begin(), kMacA.bytes.end(), expected.begin() + 18);
  EXPECT_EQ(reply, ethernet(0x0806, expected, {.destination = kMacA, .source = kOwn}));

  Bytes in_place = request;
  build_arp_reply(in_place.data(), parsed, kOwn, in_place.data());
  EXPECT_EQ(in_place, reply);
}

TEST(Arp, the_reply_goes_to_the_sender_that_the_request_names) {
  const Bytes request = ethernet(0x0806, arp(1, kMacB, kA4, kB4), {.destination = kAll, .source = kMacA});
  Bytes reply(kArpFrameBytes);
  build_arp_reply(request.data(), read(request), kOwn, reply.data());
  EXPECT_EQ(part(reply, 0, 6), Bytes(kMacB.bytes.begin(), kMacB.bytes.end()));
}

TEST(Arp, nobody_is_answered_about_its_own_address) {
  const Parsed probe = read(ethernet(0x0806, arp(1, kMacA, 0, kA4)));
  EXPECT_FALSE(owes_arp_reply(probe, {.served = true, .of_asker = true}));
  EXPECT_TRUE(owes_arp_reply(probe, {.served = true, .of_asker = false}));
  EXPECT_FALSE(owes_arp_reply(read(ethernet(0x0806, arp(1, kMacA, kA4, kA4))), {.served = true}));
  EXPECT_FALSE(owes_arp_reply(read(ethernet(0x0806, arp(2, kMacA, kA4, kB4))), {.served = true}));
  EXPECT_FALSE(owes_arp_reply(read(ethernet(0x0806, arp(1, kMacA, kA4, kB4))), {.served = false}));
}

TEST(Arp, our_request_and_its_reply_resolve_the_next_hop) {
  Bytes request(kArpFrameBytes);
  build_arp_request(kOwn, abi::address_v4(kA4), abi::address_v4(kB4), request.data());
  EXPECT_EQ(request, ethernet(0x0806, arp(1, kOwn, kA4, kB4), {.destination = kAll, .source = kOwn}));
  Neighbour next;
  const Bytes reply = ethernet(0x0806, arp(2, kMacB, kB4, kA4), {.destination = kOwn, .source = kMacB});
  ASSERT_TRUE(read_arp_sender(reply.data(), read(reply), next));
  EXPECT_EQ(next.address, abi::address_v4(kB4));
  EXPECT_EQ(next.mac, kMacB);
}

TEST(Arp, senders_that_lie_or_have_no_address_teach_nothing) {
  Neighbour next;
  const Bytes liar = ethernet(0x0806, arp(2, kMacB, kB4, kA4), {.destination = kOwn, .source = kMacA});
  EXPECT_FALSE(read_arp_sender(liar.data(), read(liar), next));
  const Bytes probe = ethernet(0x0806, arp(1, kMacB, 0, kA4), {.destination = kOwn, .source = kMacB});
  EXPECT_FALSE(read_arp_sender(probe.data(), read(probe), next));
}

Bytes solicitation(const abi::Address& from, const abi::Address& target, const Bytes& options) {
  Ipv6 ip{.next = 58, .source = from, .destination = {}, .hop_limit = 255};
  ip.destination = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0}};
  std::copy(target.bytes.begin() + 13, target.bytes.end(), ip.destination.bytes.begin() + 13);
  const Bytes message = icmp(135, 0, 0, join({address_bytes(target), options}));
  const abi::Mac group{{0x33, 0x33, 0xff, target.bytes[13], target.bytes[14], target.bytes[15]}};
  return ethernet(0x86dd, sealed(ipv6(ip, message)), {.destination = group});
}
const Bytes kSourceOption = {1, 1, 2, 0, 0, 0, 0, 0xaa};

TEST(Neighbour, solicitation_is_answered_with_an_advertisement) {
  const Bytes frame = solicitation(kLinkA, kB6, kSourceOption);
  const Parsed parsed = read(frame);
  Solicitation asked;
  ASSERT_TRUE(read_solicitation(frame.data(), size32(frame), parsed, asked));
  EXPECT_EQ(asked.target, kB6);
  EXPECT_FALSE(asked.detects_duplicates);
  EXPECT_TRUE(owes_advertisement(asked, {.served = true}));
  EXPECT_FALSE(owes_advertisement(asked, {.served = true, .of_asker = true}));

  Bytes answer(kNdFrameBytes);
  build_advertisement(frame.data(), parsed, asked, kOwn, false, answer.data());
  const Bytes option = {2, 1, 2, 0xb1, 0, 0, 0, 1};
  const Bytes message = icmp(136, 0, 0xe000'0000, join({address_bytes(kB6), option}));
  const Ipv6 ip{.next = 58, .source = kB6, .destination = kLinkA, .hop_limit = 255};
  EXPECT_EQ(answer, ethernet(0x86dd, sealed(ipv6(ip, message)), {.destination = kMacA, .source = kOwn}));

  build_advertisement(frame.data(), parsed, asked, kOwn, true, answer.data());
  EXPECT_EQ(answer[14 + 40 + 4], 0xc0);
  EXPECT_EQ(transport_checksum(ip_of(answer)), 0u);
}

TEST(Neighbour, duplicate_detection_is_answered_to_all_nodes) {
  const Bytes frame = solicitation({}, kB6, {});
  const Parsed parsed = read(frame);
  Solicitation asked;
  ASSERT_TRUE(read_solicitation(frame.data(), size32(frame), parsed, asked));
  EXPECT_TRUE(asked.detects_duplicates);
  Bytes answer(kNdFrameBytes);
  build_advertisement(frame.data(), parsed, asked, kOwn, false, answer.data());
  EXPECT_EQ(part(answer, 0, 6), (Bytes{0x33, 0x33, 0, 0, 0, 1}));
  EXPECT_EQ(part(answer, 38, 16), (Bytes{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}));
  EXPECT_EQ(answer[58], 0xa0);
  EXPECT_EQ(transport_checksum(ip_of(answer)), 0u);
}

TEST(Neighbour, broken_solicitations_are_not_believed) {
  Solicitation asked;
  const auto believed = [&](const Bytes& frame) {
    return read_solicitation(frame.data(), size32(frame), read(frame), asked);
  };
  Bytes flipped = solicitation(kLinkA, kB6, kSourceOption);
  flipped.back() ^= 1;
  EXPECT_FALSE(believed(flipped));
  EXPECT_FALSE(believed(solicitation(kLinkA, kB6, {1, 0, 2, 0, 0, 0, 0, 0xaa})));
  EXPECT_FALSE(believed(solicitation(kLinkA, kB6, {1, 2, 2, 0, 0, 0, 0, 0xaa})));
  EXPECT_FALSE(believed(solicitation(kLinkA, kB6, {1, 1, 2, 0})));
  EXPECT_FALSE(believed(solicitation({}, kB6, kSourceOption)));
  EXPECT_FALSE(believed(solicitation(kLinkA, {{0xff, 2}}, kSourceOption)));
  EXPECT_TRUE(believed(solicitation(kLinkA, kB6, join({{14, 1, 0, 0, 0, 0, 0, 0}, kSourceOption}))));
}

TEST(Neighbour, messages_are_read_whole_and_as_what_they_are) {
  const Bytes frame = solicitation(kLinkA, kB6, kSourceOption);
  const Parsed parsed = read(frame);
  Solicitation asked;
  Neighbour neighbour;
  EXPECT_FALSE(read_solicitation(frame.data(), size32(frame) - 1, parsed, asked));
  EXPECT_FALSE(read_advertisement(frame.data(), size32(frame), parsed, neighbour));
  Parsed other_kind = parsed;
  other_kind.kind = Kind::kFlow;
  EXPECT_FALSE(read_solicitation(frame.data(), size32(frame), other_kind, asked));
  const Bytes nobody = solicitation(kLinkA, {}, kSourceOption);
  EXPECT_FALSE(read_solicitation(nobody.data(), size32(nobody), read(nobody), asked));
  const Bytes mapped = solicitation(kLinkA, abi::address_v4(kB4), kSourceOption);
  EXPECT_FALSE(read_solicitation(mapped.data(), size32(mapped), read(mapped), asked));
}

TEST(Neighbour, our_solicitation_and_its_answer_resolve_the_next_hop) {
  Bytes frame(kNdFrameBytes);
  build_solicitation(kMacA, kLinkA, kB6, frame.data());
  EXPECT_EQ(frame, solicitation(kLinkA, kB6, kSourceOption));

  const auto advertisement = [](std::uint32_t flags, const Bytes& options) {
    const Ipv6 ip{.next = 58, .source = kB6, .destination = kLinkA, .hop_limit = 255};
    const Bytes message = icmp(136, 0, flags, join({address_bytes(kB6), options}));
    return ethernet(0x86dd, sealed(ipv6(ip, message)), {.destination = kMacA, .source = kMacB});
  };
  Neighbour next;
  const Bytes full = advertisement(0x6000'0000, {2, 1, 2, 0, 0, 0, 0, 0xcc});
  ASSERT_TRUE(read_advertisement(full.data(), size32(full), read(full), next));
  EXPECT_EQ(next.address, kB6);
  EXPECT_EQ(next.mac, (abi::Mac{{2, 0, 0, 0, 0, 0xcc}}));
  const Bytes bare = advertisement(0x4000'0000, {});
  ASSERT_TRUE(read_advertisement(bare.data(), size32(bare), read(bare), next));
  EXPECT_EQ(next.mac, kMacB);
  const Bytes other = advertisement(0x4000'0000, {14, 1, 2, 0, 0, 0, 0, 0xdd});
  ASSERT_TRUE(read_advertisement(other.data(), size32(other), read(other), next));
  EXPECT_EQ(next.mac, kMacB);
  const Bytes unasked = advertisement(0, {});
  EXPECT_FALSE(read_advertisement(unasked.data(), size32(unasked), read(unasked), next));
  const Bytes group_mac = advertisement(0x4000'0000, {2, 1, 3, 0, 0, 0, 0, 0xcc});
  EXPECT_FALSE(read_advertisement(group_mac.data(), size32(group_mac), read(group_mac), next));
}

TEST(Echo, a_ping_becomes_its_reply_in_place) {
  for (std::size_t payload : {0u, 56u, 1201u}) {
    Bytes frame =
        ethernet(0x0800, sealed(ipv4({.protocol = 1, .ttl = 3}, icmp(8, 0, 0x0042'0001, filler(payload)))));
    const Parsed parsed = read(frame);
    ASSERT_TRUE(asks_echo(parsed));
    answer_echo(frame.data(), parsed);
    const Ipv4 ip{.protocol = 1, .source = kB4, .destination = kA4};
    EXPECT_EQ(frame, ethernet(0x0800, sealed(ipv4(ip, icmp(0, 0, 0x0042'0001, filler(payload)))),
                              {.destination = kMacA, .source = kMacB}));
  }
  Bytes frame =
      ethernet(0x86dd, sealed(ipv6({.next = 58, .hop_limit = 2}, icmp(128, 0, 0x0042'0001, filler(33)))));
  const Parsed parsed = read(frame);
  ASSERT_TRUE(asks_echo(parsed));
  answer_echo(frame.data(), parsed);
  EXPECT_EQ(frame, ethernet(0x86dd,
                            sealed(ipv6({.next = 58, .source = kB6, .destination = kA6},
                                        icmp(129, 0, 0x0042'0001, filler(33)))),
                            {.destination = kMacA, .source = kMacB}));
}

TEST(Echo, fragments_are_answered_one_by_one) {
  const Bytes whole = sealed(ipv4({.protocol = 1}, icmp(8, 0, 7, filler(120))));
  Bytes first = ethernet(0x0800, ipv4({.protocol = 1, .fragment = 0x2000}, part(whole, 20, 64)));
  Bytes later = ethernet(0x0800, ipv4({.protocol = 1, .fragment = 8}, part(whole, 84, 64)));
  const Parsed first_parsed = read(first), later_parsed = read(later);
  ASSERT_TRUE(asks_echo(first_parsed));
  ASSERT_FALSE(asks_echo(later_parsed));
  answer_echo(first.data(), first_parsed);
  answer_echo(later.data(), later_parsed);
  EXPECT_EQ(read(first).kind, Kind::kFlow);
  EXPECT_EQ(read(later).kind, Kind::kFlow);
  EXPECT_EQ(read(later).source, abi::address_v4(kB4));
  EXPECT_EQ(internet_checksum(join({part(first, 34, 64), part(later, 34, 64)})), 0u);
  EXPECT_EQ(part(later, 34, 64), part(whole, 84, 64));
}

TEST(Echo, only_requests_ask) {
  EXPECT_FALSE(asks_echo(read(ethernet(0x0800, ipv4({.protocol = 1}, icmp(0, 0, 7, {}))))));
  EXPECT_FALSE(asks_echo(read(ethernet(0x86dd, ipv6({.next = 58}, icmp(129, 0, 7, {}))))));
  EXPECT_FALSE(asks_echo(read(ethernet(0x0800, ipv4({.protocol = 17}, udp(8, 8, {}))))));
  Parsed dropped = read(ethernet(0x0800, ipv4({.protocol = 1}, icmp(8, 0, 7, {}))));
  EXPECT_TRUE(asks_echo(dropped));
  dropped.kind = Kind::kDrop;
  EXPECT_FALSE(asks_echo(dropped));
}

Bytes error_about(const Bytes& frame, Problem problem, std::uint32_t mtu, const abi::Address& gateway) {
  Bytes error(kErrorFrameBytesMax, 0xa5);  // what was in the buffer must not shine through
  error.resize(
      build_error(frame.data(), size32(frame), read(frame), problem, mtu, kOwn, gateway, error.data()));
  return error;
}

TEST(IcmpError, time_exceeded_quotes_the_packet) {
  const Bytes lost = ipv4({.ttl = 1}, udp(33434, 33435, filler(40)));
  Bytes frame = ethernet(0x0800, lost);
  frame.resize(frame.size() + 6);  // Ethernet padding is not quoted
  const Bytes error = error_about(frame, Problem::kTimeExceeded, 0, abi::address_v4(kGateway4));
  Ipv4 ip{.protocol = 1, .source = kGateway4, .destination = kA4, .id = 0};
  Bytes expected = sealed(ipv4(ip, icmp(11, 0, 0, lost)));
  expected[1] = 0xc0;
  put16(expected, 10, 0);
  put16(expected, 10, internet_checksum(part(expected, 0, 20)));
  EXPECT_EQ(error, ethernet(0x0800, expected, {.destination = kMacA, .source = kOwn}));
}

TEST(IcmpError, fragmentation_needed_names_the_mtu_within_576_bytes) {
  const Bytes lost = ipv4({.protocol = 6, .fragment = 0x4000}, tcp(1, 2, 16, filler(1460)));
  const Bytes ip = ip_of(error_about(ethernet(0x0800, lost), Problem::kTooBig, 1400, abi::address_v4(kB4)));
  EXPECT_EQ(ip.size(), 576u);
  EXPECT_EQ(ip[20], 3);
  EXPECT_EQ(ip[21], 4);
  EXPECT_EQ(get32(ip, 24), 1400u);
  EXPECT_EQ(transport_checksum(ip), 0u);
  EXPECT_EQ(internet_checksum(part(ip, 0, 20)), 0u);
  EXPECT_EQ(part(ip, 28, 548), part(lost, 0, 548));
}

TEST(IcmpError, only_what_is_readable_is_quoted) {
  const Bytes frame = ethernet(0x86dd, ipv6({.next = 6}, tcp(1, 2, 16, filler(1440))));
  Bytes error(kErrorFrameBytesMax);
  error.resize(build_error(frame.data(), 200, read(frame), Problem::kTooBig, 1400, kOwn, kB6, error.data()));
  EXPECT_EQ(error.size(), 14 + 48 + 186u);
  EXPECT_EQ(transport_checksum(ip_of(error)), 0u);
}

TEST(IcmpError, packet_too_big_names_the_mtu_within_1280_bytes) {
  const Bytes lost = ipv6({.next = 6}, tcp(1, 2, 16, filler(1440)));
  const Bytes error = error_about(ethernet(0x86dd, lost), Problem::kTooBig, 1400, kB6);
  const Bytes ip = ip_of(error);
  EXPECT_EQ(ip.size(), 1280u);
  EXPECT_EQ(ip[40], 2);
  EXPECT_EQ(get32(ip, 44), 1400u);
  EXPECT_EQ(transport_checksum(ip), 0u);
  EXPECT_EQ(part(ip, 48, 1232), part(lost, 0, 1232));
  EXPECT_EQ(read(error).kind, Kind::kIcmpError);
}

TEST(IcmpError, time_exceeded_over_ipv6_is_readable_as_related) {
  const Bytes lost = ipv6({.hop_limit = 1}, udp(33434, 33435, filler(40)));
  const Bytes error = error_about(ethernet(0x86dd, lost), Problem::kTimeExceeded, 0, kB6);
  const Parsed parsed = read(error);
  ASSERT_EQ(parsed.kind, Kind::kIcmpError);
  EXPECT_EQ(parsed.icmp_type, 3);
  EXPECT_EQ(transport_checksum(ip_of(error)), 0u);
  Parsed quoted;
  ASSERT_TRUE(packet::parse_quoted(error.data(), size32(error), parsed, quoted));
  EXPECT_EQ(quoted.destination_port, 33435);
}

TEST(IcmpError, is_owed_only_where_rfc_1122_and_4443_say) {
  const auto owed = [](std::uint16_t type, const Bytes& ip, Problem problem) {
    return owes_error(read(ethernet(type, ip)), problem);
  };
  const Bytes datagram = udp(1, 2, filler(60));
  EXPECT_TRUE(owed(0x0800, ipv4({}, datagram), Problem::kTimeExceeded));
  EXPECT_FALSE(owed(0x0800, ipv4({}, datagram), Problem::kTooBig));
  EXPECT_TRUE(owed(0x0800, ipv4({.fragment = 0x4000}, datagram), Problem::kTooBig));
  EXPECT_TRUE(owed(0x86dd, ipv6({}, datagram), Problem::kTooBig));
  EXPECT_FALSE(owed(0x0800, ipv4({.fragment = 100}, datagram), Problem::kTimeExceeded));
  EXPECT_TRUE(owed(0x0800, ipv4({.fragment = 0x2000}, udp(1, 2, filler(56), 900)), Problem::kTimeExceeded));
  EXPECT_FALSE(
      owed(0x0800, ipv4({.protocol = 1}, icmp(3, 0, 0, ipv4({}, datagram))), Problem::kTimeExceeded));
  EXPECT_FALSE(owed(0x86dd, ipv6({.next = 58}, icmp(1, 0, 0, ipv6({}, datagram))), Problem::kTooBig));
  EXPECT_FALSE(owed(0x0800, ipv4({.destination = 0xe000'0001}, datagram), Problem::kTimeExceeded));
}

TEST(Bucket, errors_are_held_to_a_rate_with_a_burst) {
  TokenBucket bucket(100, 3);
  EXPECT_TRUE(bucket.take(1'000'000));
  EXPECT_TRUE(bucket.take(1'000'000));
  EXPECT_TRUE(bucket.take(1'000'000));
  EXPECT_FALSE(bucket.take(1'000'000));
  EXPECT_FALSE(bucket.take(1'000'099));
  EXPECT_TRUE(bucket.take(1'000'100));
  EXPECT_FALSE(bucket.take(999'000));
  unsigned taken = 0;
  while (bucket.take(~std::uint64_t{0})) ++taken;
  EXPECT_EQ(taken, 3u);
}

}  // namespace
}  // namespace bulkhead::forward
