#include "dataplane/packet/packet.h"

#include "tests/unit/packet/reading.h"

namespace bulkhead::packet {
namespace {

TEST(Ethernet, truncated_or_from_a_group_is_malformed) {
  EXPECT_EQ(read({}).fate, Fate::kMalformedEthernet);
  EXPECT_EQ(read(Bytes(13)).fate, Fate::kMalformedEthernet);
  EXPECT_EQ(read(ethernet(0x0800, ipv4({}, udp(1, 2, {})), {.source = {{1, 0, 0, 0, 0, 1}}})).fate,
            Fate::kMalformedEthernet);
  EXPECT_EQ(read(ethernet(0x8847, filler(60))).fate, Fate::kEtherTypeUnknown);
}

TEST(Ethernet, groups_are_not_forwarded) {
  const Ethernet group{.destination = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}};
  EXPECT_EQ(read(ethernet(0x0800, ipv4({}, udp(1, 2, filler(20))), group)).fate, Fate::kGroupDestination);
  EXPECT_EQ(read(ethernet(0x86dd, ipv6({}, udp(1, 2, {})), group)).fate, Fate::kGroupDestination);
}

TEST(Vlan, the_expected_tag_is_stepped_over) {
  const Bytes ip = ipv4({}, udp(1, 2, filler(20)));
  const Parsed p = read(ethernet(0x0800, ip, {.vlan = 0xa005}), 5);
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.flags, kIpv4 | kVlanTagged);
  EXPECT_EQ(p.l3_offset, 18);
  EXPECT_EQ(p.l4_offset, 38);
}

TEST(Vlan, anything_but_the_expected_tag_is_refused) {
  const Bytes ip = ipv4({}, udp(1, 2, filler(20)));
  EXPECT_EQ(read(ethernet(0x0800, ip, {.vlan = 5})).fate, Fate::kVlanUnexpected);
  EXPECT_EQ(read(ethernet(0x0800, ip, {.vlan = 6}), 5).fate, Fate::kVlanUnexpected);
  EXPECT_EQ(read(ethernet(0x0800, ip), 5).fate, Fate::kVlanUnexpected);
  EXPECT_EQ(read(ethernet(0x0800, ip, {.vlan = 0}), 5).fate, Fate::kVlanUnexpected);
  EXPECT_EQ(read(ethernet(0x8100, join({be16(7), be16(0x0800), ip}), {.vlan = 5}), 5).fate,
            Fate::kVlanUnexpected);
  EXPECT_EQ(read(ethernet(0x88a8, join({be16(5), be16(0x0800), ip})), 5).fate, Fate::kVlanUnexpected);
}

TEST(Vlan, a_priority_tag_counts_as_untagged) {
  const Parsed p = read(ethernet(0x0800, ipv4({}, udp(1, 2, {})), {.vlan = 0xe000}));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.flags, kIpv4 | kVlanTagged);
  EXPECT_EQ(p.l3_offset, 18);
}

TEST(Arp, request_and_reply_are_read) {
  const Ethernet all{.destination = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}};
  const Parsed p = read(ethernet(0x0806, arp(1, kMacA, kA4, kB4), all));
  EXPECT_EQ(p.kind, Kind::kArp);
  EXPECT_EQ(p.icmp_type, 1);
  EXPECT_EQ(p.source, abi::address_v4(kA4));
  EXPECT_EQ(p.destination, abi::address_v4(kB4));
  EXPECT_EQ(read(ethernet(0x0806, arp(2, kMacA, kA4, kB4))).kind, Kind::kArp);
}

TEST(Arp, broken_ones_are_malformed) {
  Bytes short_one = arp(1, kMacA, kA4, kB4);
  short_one.pop_back();
  EXPECT_EQ(read(ethernet(0x0806, short_one)).fate, Fate::kMalformedArp);
  EXPECT_EQ(read(ethernet(0x0806, arp(3, kMacA, kA4, kB4))).fate, Fate::kMalformedArp);
  EXPECT_EQ(read(ethernet(0x0806, arp(1, {{1, 0, 0, 0, 0, 1}}, kA4, kB4))).fate, Fate::kMalformedArp);
  Bytes token_ring = arp(1, kMacA, kA4, kB4);
  token_ring[1] = 6;
  EXPECT_EQ(read(ethernet(0x0806, token_ring)).fate, Fate::kMalformedArp);
  EXPECT_EQ(read(ethernet(0x0806, arp(1, kMacA, kA4, kB4), {.destination = {{1, 0, 0, 0, 0, 1}}})).fate,
            Fate::kGroupDestination);
}

TEST(Ipv4, lengths_and_version_are_checked) {
  const Bytes payload = udp(1, 2, filler(20));
  EXPECT_EQ(fate4({.first = 0x55}), Fate::kMalformedIpv4);
  EXPECT_EQ(fate4({.first = 0x44}), Fate::kMalformedIpv4);
  EXPECT_EQ(fate4({.first = 0x4f}, {}), Fate::kMalformedIpv4);
  EXPECT_EQ(fate4({.total_bytes = 19}), Fate::kMalformedIpv4);
  EXPECT_EQ(fate4({.total_bytes = 49}), Fate::kMalformedIpv4);
  for (std::size_t bytes = 0; bytes < 20; ++bytes)
    EXPECT_EQ(read(ethernet(0x0800, part(ipv4({}, payload), 0, bytes))).fate, Fate::kMalformedIpv4);
}

TEST(Ipv4, a_wrong_header_checksum_is_its_own_fate) {
  Bytes frame = ethernet(0x0800, ipv4({}, udp(1, 2, filler(20))));
  frame[25] ^= 1;
  EXPECT_EQ(read(frame).fate, Fate::kBadChecksumIpv4);
  Bytes optioned = ethernet(0x0800, ipv4({.options = {148, 4, 0, 0}}, udp(1, 2, filler(20))));
  EXPECT_EQ(read(optioned).kind, Kind::kFlow);
  optioned[36] ^= 1;
  EXPECT_EQ(read(optioned).fate, Fate::kBadChecksumIpv4);
}

TEST(Ipv4, options_are_walked) {
  const Parsed p = read4({.options = {148, 4, 0, 0, 1, 1, 0, 99}}, udp(7, 8, {}));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.l4_offset, 14 + 28);
  EXPECT_EQ(p.destination_port, 8);
  EXPECT_EQ(fate4({.options = {131, 7, 4, 1, 2, 3, 4, 0}}), Fate::kSourceRouted);
  EXPECT_EQ(fate4({.options = {1, 137, 7, 4, 1, 2, 3, 4}}), Fate::kSourceRouted);
  EXPECT_EQ(fate4({.options = {148, 5, 0, 0}}), Fate::kMalformedIpv4);
  EXPECT_EQ(fate4({.options = {148, 1, 0, 0}}), Fate::kMalformedIpv4);
  EXPECT_EQ(fate4({.options = {1, 1, 1, 148}}), Fate::kMalformedIpv4);
}

TEST(Ipv4, impossible_addresses_are_malformed) {
  for (std::uint32_t source : {0x0000'0000u, 0x0001'0203u, 0x7f00'0001u, 0xe000'0001u, 0xf000'0001u, ~0u})
    EXPECT_EQ(fate4({.source = source}), Fate::kMalformedIpv4) << std::hex << source;
  for (std::uint32_t destination : {0x0000'0000u, 0x0001'0203u, 0x7f00'0001u, 0xf000'0001u})
    EXPECT_EQ(fate4({.destination = destination}), Fate::kMalformedIpv4) << std::hex << destination;
}

TEST(Ipv4, groups_and_link_local_have_their_own_fates) {
  EXPECT_EQ(fate4({.destination = 0xe000'00fb}), Fate::kGroupDestination);
  EXPECT_EQ(fate4({.destination = ~0u}), Fate::kGroupDestination);
  EXPECT_EQ(fate4({.source = 0, .destination = ~0u}), Fate::kGroupDestination);
  EXPECT_EQ(fate4({.destination = 0xa9fe'a9fe}), Fate::kLinkLocal);
  EXPECT_EQ(fate4({.source = 0xa9fe'0101}), Fate::kLinkLocal);
  EXPECT_EQ(fate4({.destination = 0xa9fd'0101}), Fate::kForwarded);
}

TEST(Tcp, only_flags_that_stacks_send_pass) {
  const std::initializer_list<unsigned> sent = {
      kSyn, kSyn | kUrg, kSyn | kAck, kRst, kRst | kAck, kFin | kAck, kAck, kFin | kAck | kUrg, kAck | kUrg};
  for (unsigned flags = 0; flags < 256; ++flags) {
    const bool valid = std::find(sent.begin(), sent.end(), flags & 0x37) != sent.end();
    const Parsed p = read4({.protocol = 6}, tcp(1, 2, static_cast<std::uint8_t>(flags), {}));
    EXPECT_EQ(p.fate, valid ? Fate::kForwarded : Fate::kTcpFlags) << flags;
    EXPECT_EQ(fate6({.next = 6}, tcp(1, 2, static_cast<std::uint8_t>(flags), {})), p.fate);
  }
}

TEST(Transport, truncated_headers_are_malformed) {
  Bytes offset = tcp(1, 2, kAck, {});
  offset[12] = 0x60;
  EXPECT_EQ(fate4({.protocol = 6}, offset), Fate::kMalformedTransport);
  offset[12] = 0x40;
  EXPECT_EQ(fate4({.protocol = 6}, offset), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({.protocol = 6}, filler(19)), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({.protocol = 17}, filler(7)), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({.protocol = 132}, filler(11)), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({.protocol = 132}, filler(12)), Fate::kForwarded);
  EXPECT_EQ(fate4({.protocol = 1}, filler(7)), Fate::kMalformedIcmp);
  EXPECT_EQ(fate4({.protocol = 58}, filler(60)), Fate::kMalformedTransport);
  EXPECT_EQ(fate6({.next = 1}, filler(60)), Fate::kMalformedTransport);
}

TEST(Transport, udp_lengths_must_fit) {
  EXPECT_EQ(fate4({}, udp(1, 2, filler(30), 0)), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({}, udp(1, 2, filler(30), 7)), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({}, udp(1, 2, filler(30), 39)), Fate::kMalformedTransport);
  EXPECT_EQ(fate4({}, udp(1, 2, filler(30), 20)), Fate::kForwarded);
}

TEST(Transport, other_protocols_are_known_by_their_number) {
  const Parsed p = read4({.protocol = 47}, filler(4));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.policy_port, 47);
  EXPECT_EQ(p.source_port, 0);
  EXPECT_EQ(read6({.next = 50}, filler(20)).policy_port, 50);
  EXPECT_EQ(read6({.next = 59}, {}).policy_port, 59);
}

TEST(Icmp, two_ends_that_ask_each_other_under_one_identifier_have_two_conversations) {
  for (const auto& [request, reply] : {std::pair{8, 0}, {13, 14}, {15, 16}, {17, 18}}) {
    const Parsed asks =
        read4({.protocol = 1}, icmp(static_cast<std::uint8_t>(request), 0, 0x0007'0001, filler(8)));
    const Parsed answers =
        read4({.protocol = 1}, icmp(static_cast<std::uint8_t>(reply), 0, 0x0007'0001, filler(8)));
    EXPECT_EQ(asks.source_port, 7);
    EXPECT_EQ(asks.destination_port, request);
    EXPECT_EQ(answers.source_port, request);
    EXPECT_EQ(answers.destination_port, 7);
  }
  const Parsed answers = read6({.next = 58}, icmp(129, 0, 0x0007'0001, filler(8)));
  EXPECT_EQ(answers.source_port, 128);
  EXPECT_EQ(answers.destination_port, 7);
}

TEST(Icmp, queries_are_flows_by_identifier) {
  const Parsed ping = read4({.protocol = 1}, icmp(8, 0, 0xbeef'0001, filler(8)));
  EXPECT_EQ(ping.kind, Kind::kFlow);
  EXPECT_EQ(ping.source_port, 0xbeef);
  EXPECT_EQ(ping.destination_port, 8);
  EXPECT_EQ(ping.policy_port, 8);
  EXPECT_EQ(ping.icmp_type, 8);
  const Parsed ping6 = read6({.next = 58}, icmp(128, 0, 0xbeef'0001, filler(8)));
  EXPECT_EQ(ping6.kind, Kind::kFlow);
  EXPECT_EQ(ping6.source_port, 0xbeef);
  EXPECT_EQ(ping6.policy_port, 128);
  const Parsed other = read4({.protocol = 1}, icmp(9, 16, 0xbeef'0001, filler(8)));
  EXPECT_EQ(other.source_port, 9 << 8 | 16);
  EXPECT_EQ(read6({.next = 58}, icmp(139, 2, 0xbeef'0001, {})).source_port, 139 << 8 | 2);
}

TEST(Icmp, errors_are_told_apart) {
  const Bytes quote4 = ipv4({}, udp(1, 2, {})), quote6 = ipv6({}, udp(1, 2, {}));
  for (std::uint8_t type : {3, 11, 12})
    EXPECT_EQ(read4({.protocol = 1}, icmp(type, 0, 0, quote4)).kind, Kind::kIcmpError);
  for (std::uint8_t type : {4, 5})
    EXPECT_EQ(fate4({.protocol = 1}, icmp(type, 0, 0, quote4)), Fate::kIcmpUnrelated);
  for (std::uint8_t type : {1, 2, 3, 4})
    EXPECT_EQ(read6({.next = 58}, icmp(type, 0, 0, quote6)).kind, Kind::kIcmpError);
  for (std::uint8_t type : {0, 5, 100, 127})
    EXPECT_EQ(fate6({.next = 58}, icmp(type, 0, 0, quote6)), Fate::kIcmpUnrelated);
  EXPECT_EQ(fate4({.protocol = 1}, icmp(3, 0, 0, filler(20))), Fate::kMalformedIcmp);
  EXPECT_EQ(fate4({.protocol = 1, .fragment = 0x2000}, icmp(3, 0, 0, join({quote4, filler(12)}))),
            Fate::kMalformedIcmp);
}

TEST(Ipv6, udp_fills_every_field) {
  const Parsed p = read6({.hop_limit = 9}, udp(1234, 53, filler(5)));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.source, kA6);
  EXPECT_EQ(p.destination, kB6);
  EXPECT_EQ(p.source_port, 1234);
  EXPECT_EQ(p.policy_port, 53);
  EXPECT_EQ(p.flags, kDontFragment);
  EXPECT_EQ(p.hop_limit, 9);
  EXPECT_EQ(p.l4_offset, 54);
  EXPECT_EQ(p.l3_bytes, 53u);
}

TEST(Ipv6, impossible_addresses_are_malformed) {
  const abi::Address loopback = v6({}, 1), mapped = abi::address_v4(kA4), group = v6({0xff, 0x0e}, 1);
  for (const abi::Address& source : {abi::Address{}, loopback, mapped, group})
    EXPECT_EQ(fate6({.source = source}), Fate::kMalformedIpv6);
  for (const abi::Address& destination : {abi::Address{}, loopback, mapped})
    EXPECT_EQ(fate6({.destination = destination}), Fate::kMalformedIpv6);
  EXPECT_EQ(fate6({.destination = group}), Fate::kGroupDestination);
  EXPECT_EQ(fate6({.source = v6({0xfe, 0x80}, 1)}), Fate::kLinkLocal);
  EXPECT_EQ(fate6({.destination = v6({0xfe, 0xbf}, 1)}), Fate::kLinkLocal);
  EXPECT_EQ(fate6({.destination = v6({0xfe, 0xc0}, 1)}), Fate::kForwarded);
}

TEST(Ipv6, lengths_are_checked_and_jumbograms_refused) {
  EXPECT_EQ(fate6({.payload_bytes = 29}), Fate::kMalformedIpv6);
  EXPECT_EQ(fate6({.next = 0, .payload_bytes = 0}, filler(40)), Fate::kMalformedExtension);
  const Bytes jumbo = join({{17, 0, 0xc2, 4}, be32(70000), udp(1, 2, {})});
  EXPECT_EQ(fate6({.next = 0}, jumbo), Fate::kMalformedExtension);
}

TEST(Ipv6, extension_headers_are_walked_to_the_transport) {
  const Bytes hop = {60, 0, 5, 2, 0, 0, 1, 0}, destination = {51, 0, 1, 4, 0, 0, 0, 0};
  const Bytes authentication = join({{17, 2}, Bytes(14)});
  const Parsed p = read6({.next = 0}, join({hop, destination, authentication, udp(9, 10, {})}));
  EXPECT_EQ(p.kind, Kind::kFlow);
  EXPECT_EQ(p.protocol, 17);
  EXPECT_EQ(p.policy_port, 10);
  EXPECT_EQ(p.l4_offset, 54 + 32);
}

TEST(Ipv6, disordered_or_endless_chains_are_refused) {
  const Bytes destination = {60, 0, 1, 4, 0, 0, 0, 0}, to_hop = {0, 0, 1, 4, 0, 0, 0, 0};
  const Bytes to_udp = {17, 0, 1, 4, 0, 0, 0, 0};
  EXPECT_EQ(fate6({.next = 60}, join({to_hop, to_udp, udp(1, 2, {})})), Fate::kMalformedExtension);
  EXPECT_EQ(fate6({.next = 60}, join({destination, to_udp, udp(1, 2, {})})), Fate::kForwarded);
  EXPECT_EQ(fate6({.next = 60}, join({destination, destination, to_udp, udp(1, 2, {})})),
            Fate::kMalformedExtension);
  EXPECT_EQ(fate6({.next = 60}, Bytes{17, 0, 1, 5, 0, 0, 0, 0}), Fate::kMalformedExtension);
  EXPECT_EQ(fate6({.next = 60}, Bytes{17, 40, 1, 4, 0, 0, 0, 0}), Fate::kMalformedExtension);
  const Bytes long_pad = join({{17, 31, 1, 252}, Bytes(252), udp(1, 2, {})});
  EXPECT_EQ(fate6({.next = 60}, long_pad), Fate::kMalformedExtension);
}

TEST(Ipv6, a_chain_may_end_where_the_packet_ends) {
  EXPECT_EQ(fate6({.next = 60}, Bytes{59, 0, 1, 4, 0, 0, 0, 0}), Fate::kForwarded);
  EXPECT_EQ(fate6({.next = 51}, join({{59, 1}, Bytes(10)})), Fate::kForwarded);
  EXPECT_EQ(fate6({.next = 51}, join({{59, 0}, Bytes(10)})), Fate::kMalformedExtension);
  for (std::uint8_t next : {0, 43, 44, 51, 60})
    EXPECT_EQ(fate6({.next = next}, Bytes(7)), Fate::kMalformedExtension) << int{next};
}

TEST(Ipv6, routing_headers_that_lead_elsewhere_are_refused) {
  const auto routing = [](std::uint8_t type, std::uint8_t left) {
    return join({{17, 2, type, left}, Bytes(20), udp(1, 2, {})});
  };
  EXPECT_EQ(fate6({.next = 43}, routing(0, 0)), Fate::kSourceRouted);
  EXPECT_EQ(fate6({.next = 43}, routing(4, 1)), Fate::kSourceRouted);
  EXPECT_EQ(fate6({.next = 43}, routing(4, 0)), Fate::kForwarded);
}

TEST(Neighbour, needs_hop_limit_255_and_its_whole_message) {
  const abi::Address link = v6({0xfe, 0x80}, 1), group = v6({0xff, 2}, 1);
  const Bytes solicitation = icmp(135, 0, 0, filler(16));
  EXPECT_EQ(read6({.next = 58, .source = link, .destination = group, .hop_limit = 255}, solicitation).kind,
            Kind::kNeighbour);
  EXPECT_EQ(read6({.next = 58, .source = {}, .destination = group, .hop_limit = 255}, solicitation).kind,
            Kind::kNeighbour);
  EXPECT_EQ(fate6({.next = 58, .source = link, .hop_limit = 254}, solicitation), Fate::kMalformedIcmp);
  EXPECT_EQ(fate6({.next = 58, .hop_limit = 255}, icmp(135, 1, 0, filler(16))), Fate::kMalformedIcmp);
  EXPECT_EQ(fate6({.next = 58, .hop_limit = 255}, icmp(135, 0, 0, filler(15))), Fate::kMalformedIcmp);
  EXPECT_EQ(
      fate6({.next = 44, .hop_limit = 255}, join({fragment_header(58, 1, 7), icmp(135, 0, 0, filler(112))})),
      Fate::kMalformedIcmp);
}

TEST(Neighbour, is_every_type_from_133_to_137) {
  for (std::uint8_t type = 130; type < 140; ++type)
    EXPECT_EQ(read6({.next = 58, .hop_limit = 255}, icmp(type, 0, 0, filler(32))).kind,
              type >= 133 && type <= 137 ? Kind::kNeighbour : Kind::kFlow);
}

TEST(Neighbour, other_group_messages_are_only_groups) {
  const abi::Address routers = v6({0xff, 2}, 0x16);
  const Bytes report = join({{58, 0, 5, 2, 0, 0, 1, 0}, icmp(143, 0, 1, filler(20))});
  EXPECT_EQ(fate6({.next = 0, .source = {}, .destination = routers, .hop_limit = 1}, report),
            Fate::kGroupDestination);
}

TEST(Sizes, no_prefix_of_a_frame_is_read_beyond_its_end) {
  const Bytes quote = ipv6({}, udp(1, 2, filler(4)));
  for (const Bytes& frame :
       {ethernet(0x0800, ipv4({.protocol = 6, .options = {148, 4, 0, 0}}, tcp(1, 2, kAck, filler(8)))),
        ethernet(0x86dd, ipv6({.next = 0}, join({{58, 0, 5, 2, 0, 0, 1, 0}, icmp(1, 0, 0, quote)})),
                 {.vlan = 3}),
        ethernet(0x0806, arp(1, kMacA, kA4, kB4))})
    for (std::size_t bytes = 0; bytes <= frame.size(); ++bytes) {
      const Parsed p = read(part(frame, 0, bytes), frame[12] == 0x81 ? 3 : 0);
      EXPECT_EQ(p.kind == Kind::kDrop, bytes != frame.size());
    }
}

}  // namespace
}  // namespace bulkhead::packet
