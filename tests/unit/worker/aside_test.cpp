// What belongs to no flow: resolution of addresses, errors towards and about flows, the uplink.
#include <cstring>

#include "tests/unit/worker/village.h"

namespace bulkhead::worker {
namespace {

using abi::Fate;
using frames::get16;
using frames::get32;
using frames::part;

class Aside : public Village {
 protected:
  void SetUp() override {
    for (std::uint32_t who : {kWeb, kApi, kDb}) attach(who);
    publish(everybody(kAll));
  }

  static Bytes arp(std::uint32_t who, std::uint32_t sender, std::uint32_t target) {
    frames::Ethernet all = from(who);
    all.destination.bytes.fill(0xff);
    return frames::ethernet(0x0806, frames::arp(1, mac(who), sender, target), all);
  }
  static Bytes solicitation(std::uint32_t who, const abi::Address& source, const abi::Address& target) {
    const abi::Mac own = mac(who);
    const Bytes sender_mac(own.bytes.begin(), own.bytes.end());
    frames::Ipv6 fields{.next = 58, .source = source, .destination = target, .hop_limit = 255};
    const Bytes message =
        frames::join({{135, 0, 0, 0}, frames::be32(0), frames::address_bytes(target), {1, 1}, sender_mac});
    return frames::ethernet(0x86dd, frames::sealed(frames::ipv6(fields, message)), from(who));
  }
};

TEST_F(Aside, arp_is_answered_for_whom_the_image_knows_and_for_the_gateway) {
  for (const std::uint32_t target : {ip4(kApi), kGateway4, kNode4}) {
    send(kWeb, arp(kWeb, ip4(kWeb), target));
    const auto left = left_by(kWeb);
    ASSERT_EQ(left.size(), 1u);
    EXPECT_EQ(get16(left[0], 20), 2u);
    EXPECT_EQ(get32(left[0], 28), target);
    EXPECT_EQ(get32(left[0], 38), ip4(kWeb));
    EXPECT_EQ(part(left[0], 22, 6), Bytes(kOwn.bytes.begin(), kOwn.bytes.end()));
    EXPECT_EQ(part(left[0], 0, 6), part(left[0], 32, 6));
  }
  EXPECT_EQ(fate(kWeb, Fate::kAnsweredArp), 3u);
}

TEST_F(Aside, arp_is_not_answered_for_the_asker_itself_for_strangers_or_to_an_impostor) {
  send(kWeb, arp(kWeb, ip4(kWeb), ip4(kWeb)));
  send(kWeb, arp(kWeb, 0, ip4(kWeb)));
  send(kWeb, arp(kWeb, ip4(kWeb), 0x0808'0808));
  EXPECT_EQ(fate(kWeb, Fate::kGroupDestination), 3u);
  send(kWeb, arp(kWeb, ip4(kApi), ip4(kDb)));
  EXPECT_EQ(fate(kWeb, Fate::kSpoofedAddress), 1u);
  EXPECT_TRUE(left_by(kWeb).empty());
}

TEST_F(Aside, neighbour_solicitation_is_answered_but_not_an_impostor_s) {
  send(kWeb, solicitation(kWeb, ip6(kWeb), ip6(kApi)));
  const auto left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0][54], 136);
  EXPECT_EQ(frames::transport_checksum(ip_part(left[0])), 0u);
  EXPECT_EQ(fate(kWeb, Fate::kAnsweredNd), 1u);
  send(kWeb, solicitation(kWeb, ip6(kDb), ip6(kApi)));
  send(kWeb, solicitation(kWeb, ip6(kWeb), ip6(kWeb)));
  EXPECT_EQ(fate(kWeb, Fate::kSpoofedAddress), 1u);
  EXPECT_EQ(fate(kWeb, Fate::kGroupDestination), 1u);
  EXPECT_TRUE(left_by(kWeb).empty());
}

TEST_F(Aside, gateway_answers_ping_where_there_is_no_host_port) {
  send(kWeb, v4(kWeb, kGateway4, 1, frames::icmp(8, 0, 0x1234'0001, {1, 2, 3, 4, 5})));
  const auto left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0][34], 0);
  EXPECT_EQ(get32(left[0], 26), kGateway4);
  EXPECT_EQ(frames::transport_checksum(ip_part(left[0])), 0u);
  EXPECT_EQ(fate(kWeb, Fate::kAnsweredEcho), 1u);
  attach(kHost);
  send(kWeb, v4(kWeb, kGateway4, 1, frames::icmp(8, 0, 0x1234'0001, {1})));
  EXPECT_EQ(left_by(kHost).size(), 1u);
}

TEST_F(Aside, last_hop_is_told_to_the_sender_only_where_policy_lets_the_packet_through) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53, {1, 2}, 1));
  auto left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0][34], 11);
  EXPECT_EQ(get32(left[0], 26), kGateway4);
  EXPECT_EQ(get32(left[0], 30), ip4(kWeb));
  EXPECT_EQ(frames::transport_checksum(ip_part(left[0])), 0u);
  EXPECT_EQ(frames::internet_checksum(part(left[0], 14, 20)), 0u);
  EXPECT_EQ(part(left[0], 42, 28), part(udp4(kWeb, kApi, 4000, 53, {1, 2}, 1), 14, 28));
  send(kWeb, v6(kWeb, kApi, 17, frames::udp(4000, 53, {1, 2}), 1));
  left = left_by(kWeb);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0][54], 3);
  EXPECT_EQ(frames::transport_checksum(ip_part(left[0])), 0u);
  EXPECT_EQ(fate(kWeb, Fate::kIcmpTimeExceeded), 2u);
  publish(everybody(kNothing));
  send(kWeb, udp4(kWeb, kApi, 4000, 53, {1, 2}, 1));
  EXPECT_TRUE(left_by(kWeb).empty());
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Aside, one_port_cannot_use_up_the_errors_that_another_is_owed) {
  for (int round = 0; round < 40; ++round) {
    std::vector<rte_mbuf*> burst;
    for (int i = 0; i < 32; ++i) burst.push_back(packet(udp4(kWeb, kApi, 4000, 53, {1}, 1)));
    send_packets(kWeb, burst);
    left_by(kWeb);
  }
  EXPECT_GT(fate(kWeb, Fate::kHopLimit), 0u);
  EXPECT_GE(fate(kWeb, Fate::kIcmpTimeExceeded), 100u);
  send(kDb, udp4(kDb, kApi, 4000, 53, {1}, 1));
  EXPECT_EQ(fate(kDb, Fate::kIcmpTimeExceeded), 1u);
  EXPECT_EQ(left_by(kDb).size(), 1u);
}

/// An ICMP error of `who` about `quoted`, a whole frame.
Bytes unreachable(std::uint32_t who, std::uint32_t to, const Bytes& quoted) {
  return v4(who, to, 1,
            frames::icmp(3, 3, 0, part(quoted, 14, std::min<std::size_t>(28, quoted.size() - 14))));
}

TEST_F(Aside, error_about_a_flow_goes_back_to_its_sender_and_no_other_error_goes_anywhere) {
  publish(everybody(kSome));
  const Bytes asked = udp4(kWeb, kApi, 4000, 53);
  send(kWeb, asked);
  send(kApi, unreachable(kApi, kWeb, asked));
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  EXPECT_EQ(fate(kApi, Fate::kForwarded), 1u);

  send(kApi, unreachable(kApi, kDb, asked));                        // not to whom it was quoted
  send(kApi, unreachable(kApi, kWeb, udp4(kWeb, kApi, 4001, 53)));  // about nothing
  EXPECT_EQ(fate(kApi, Fate::kIcmpUnrelated), 2u);
  send(kDb, unreachable(kDb, kWeb, asked));  // from where the packet never went
  EXPECT_EQ(fate(kDb, Fate::kIcmpUnrelated), 1u);
  Bytes posing = unreachable(kApi, kWeb, asked);
  posing[11] = mac(kDb).bytes[5];
  send(kDb, posing);
  EXPECT_EQ(fate(kDb, Fate::kSpoofedAddress), 1u);
  EXPECT_TRUE(left_by(kWeb).empty());

  publish(everybody(kNothing));
  send(kApi, unreachable(kApi, kWeb, asked));
  EXPECT_EQ(fate(kApi, Fate::kIcmpUnrelated), 3u) << "the flow is revoked, and with it what belongs to it";
  EXPECT_TRUE(left_by(kWeb).empty());
}

class Uplink : public Aside {
 protected:
  static constexpr std::uint32_t kHop = 0xc0a8'0001, kMine = 0xc0a8'0002, kFar = 0x0808'0808;
  const abi::Mac hop_mac_{{0x02, 0, 0, 0, 0x77, 1}};

  void outside(std::uint16_t vlan = 0, bool hop = true) {
    attach(kOutside, 1500, 0, [&](abi::Attach& request) {
      request.vlan = vlan;
      if (!hop) return;
      request.next_hop[0] = abi::address_v4(kHop);
      request.own[0] = abi::address_v4(kMine);
    });
  }
  /// From the outside: source address and all.
  Bytes from_outside(std::uint32_t source, std::uint32_t to, std::uint16_t source_port, std::uint16_t port) {
    frames::Ipv4 fields;
    fields.source = source;
    fields.destination = ip4(to);
    return frames::ethernet(0x0800, frames::sealed(frames::ipv4(fields, frames::udp(source_port, port, {1}))),
                            {kOwn, hop_mac_, -1});
  }
};

TEST_F(Uplink, next_hop_is_asked_for_and_only_its_answer_is_learned) {
  outside();
  send(kWeb, udp4(kWeb, kFar, 4000, 53));
  EXPECT_EQ(fate(kWeb, Fate::kNextHopUnresolved), 1u);
  std::vector<Bytes> asked;
  for (int i = 0; i < 2000 && asked.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    asked = left_by(kOutside);
  }
  ASSERT_FALSE(asked.empty());
  EXPECT_EQ(get16(asked[0], 20), 1u);
  EXPECT_EQ(get32(asked[0], 38), kHop);

  const auto answer = [&](std::uint32_t sender) {
    return frames::ethernet(0x0806, frames::arp(2, hop_mac_, sender, kMine), {kOwn, hop_mac_, -1});
  };
  send(kOutside, answer(0xc0a8'0003));
  send(kWeb, udp4(kWeb, kFar, 4000, 53));
  EXPECT_EQ(fate(kWeb, Fate::kNextHopUnresolved), 2u);
  send(kOutside, answer(kHop));
  left_by(kOutside);
  send(kWeb, udp4(kWeb, kFar, 4000, 53));
  auto left = left_by(kOutside);
  std::erase_if(left, [](const Bytes& frame) { return get16(frame, 12) == 0x0806; });
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(part(left[0], 0, 6), Bytes(hop_mac_.bytes.begin(), hop_mac_.bytes.end()));
  send(kOutside, from_outside(kFar, kWeb, 53, 4000));
  EXPECT_EQ(left_by(kWeb).size(), 1u);
}

TEST_F(Uplink, vlan_of_the_uplink_is_put_on_and_taken_off) {
  outside(7, false);
  send(kWeb, udp4(kWeb, kFar, 4000, 53));
  const auto left = left_by(kOutside);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(get16(left[0], 12), 0x8100u);
  EXPECT_EQ(get16(left[0], 14), 7u);
  EXPECT_EQ(get16(left[0], 16), 0x0800u);
  Bytes answer = from_outside(kFar, kWeb, 53, 4000);
  send(kOutside, answer);
  EXPECT_EQ(fate(kOutside, Fate::kVlanUnexpected), 1u);
  const Bytes tag = {0x81, 0, 0, 7};
  answer.insert(answer.begin() + 12, tag.begin(), tag.end());
  send(kOutside, answer);
  EXPECT_EQ(left_by(kWeb).size(), 1u);
}

TEST_F(Uplink, outside_does_not_speak_as_an_endpoint_the_node_or_a_gateway) {
  outside(0, false);
  attach(kHost);
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  left_by(kApi);
  for (const std::uint32_t source : {ip4(kWeb), kNode4, kGateway4}) {
    send(kOutside, from_outside(source, kApi, 4000, 53));
    frames::Ipv4 error{.protocol = 1, .source = source, .destination = ip4(kWeb)};
    send(kOutside,
         frames::ethernet(0x0800,
                          frames::sealed(frames::ipv4(
                              error, frames::icmp(3, 3, 0, part(udp4(kWeb, kApi, 4000, 53), 14, 28)))),
                          {kOwn, hop_mac_, -1}));
    frames::Ipv4 piece{.source = source, .destination = ip4(kApi), .fragment = 185};
    send(kOutside, frames::ethernet(0x0800, frames::ipv4(piece, frames::filler(200)), {kOwn, hop_mac_, -1}));
  }
  EXPECT_EQ(fate(kOutside, Fate::kSpoofedAddress), 9u);
  EXPECT_TRUE(left_by(kApi).empty() && left_by(kWeb).empty());
}

TEST_F(Uplink, node_does_not_carry_the_outside_s_traffic_to_the_outside) {
  outside(0, false);
  attach(kHost);
  Bytes transit = from_outside(kFar, kWeb, 1, 53);
  Bytes packet = ip_part(transit);
  for (int i = 0; i < 4; ++i) packet[16 + static_cast<std::size_t>(i)] = 9;
  frames::put16(packet, 10, 0);
  frames::put16(packet, 10, frames::internet_checksum(part(packet, 0, 20)));
  send(kOutside, frames::ethernet(0x0800, frames::sealed(packet), {kOwn, hop_mac_, -1}));
  EXPECT_EQ(fate(kOutside, Fate::kNoRoute), 1u);
}

}  // namespace
}  // namespace bulkhead::worker
