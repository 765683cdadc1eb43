// The straight way: what is allowed passes, what is not is counted by its reason, and who may say what.
#include "dataplane/forward/checksum.h"
#include "tests/unit/worker/village.h"

namespace bulkhead::worker {
namespace {

using abi::Fate;

class Path : public Village {
 protected:
  void SetUp() override {
    for (std::uint32_t who : {kWeb, kApi, kDb}) attach(who);
    publish(everybody(kSome));
  }
};

TEST_F(Path, allowed_packet_leaves_with_new_macs_one_hop_less_and_nothing_else_changed) {
  for (const Bytes& frame : {udp4(kWeb, kApi, 4000, 53), tcp4(kWeb, kApi, 4001, 80, kSyn),
                             v6(kWeb, kApi, 17, frames::udp(4000, 53, {1, 2, 3})),
                             v6(kWeb, kApi, 6, frames::tcp(4001, 80, kSyn, {}))}) {
    send(kWeb, frame);
    const auto left = left_by(kApi);
    ASSERT_EQ(left.size(), 1u);
    EXPECT_EQ(left[0], passed_on(frame, kApi));
  }
  EXPECT_EQ(fate(kWeb, Fate::kForwarded), 4u);
  EXPECT_TRUE(left_by(kDb).empty());
  EXPECT_TRUE(left_by(kWeb).empty());
}

TEST_F(Path, replies_pass_and_only_replies) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kApi, udp4(kApi, kWeb, 53, 4000));
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  send(kApi, udp4(kApi, kWeb, 53, 4001));
  send(kApi, udp4(kApi, kWeb, 54, 4000));
  EXPECT_TRUE(left_by(kWeb).empty());
  EXPECT_EQ(fate(kApi, Fate::kDeniedPosture), 2u);
}

TEST_F(Path, each_denial_is_counted_by_its_own_reason) {
  Policy policy = everybody(kNothing);
  policy[kApi][kWeb] = kNo;
  publish(policy, true);
  send(kWeb, udp4(kWeb, kApi, 1, 53));
  send(kWeb, udp4(kWeb, kDb, 1, 53));
  send(kApi, udp4(kApi, kWeb, 1, 53));
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPolicy), 1u);
  EXPECT_EQ(fate(kWeb, Fate::kDeniedDefault), 1u);
  EXPECT_EQ(fate(kApi, Fate::kDeniedPosture), 1u);
  EXPECT_TRUE(left_by(kApi).empty() && left_by(kDb).empty() && left_by(kWeb).empty());
}

TEST_F(Path, nobody_speaks_as_another) {
  publish(everybody(kAll));
  Bytes wrong_mac = udp4(kWeb, kApi, 1, 53);
  wrong_mac[11] ^= 1;
  send(kWeb, wrong_mac);
  EXPECT_EQ(fate(kWeb, Fate::kSpoofedMac), 1u);
  Bytes wrong_address = udp4(kDb, kApi, 1, 53);
  wrong_address[11] = mac(kWeb).bytes[5];
  send(kWeb, wrong_address);
  EXPECT_EQ(fate(kWeb, Fate::kSpoofedAddress), 1u);
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Path, stranger_does_not_end_or_join_a_flow) {
  publish(everybody(kAll));
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kSyn | kAck));
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck));
  for (const bool stale : {false, true}) {
    if (stale) publish(everybody(kAll));
    for (Bytes reset : {tcp4(kWeb, kApi, 4000, 80, kRst), tcp4(kApi, kWeb, 80, 4000, kRst)}) {
      reset[11] = mac(kDb).bytes[5];
      send(kDb, reset);
    }
  }
  EXPECT_EQ(fate(kDb, Fate::kSpoofedAddress), 4u);
  left_by(kApi);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck, {1}));
  EXPECT_EQ(left_by(kApi).size(), 1u);
  EXPECT_EQ(flows_ended(), 0u);
}

TEST_F(Path, without_an_identity_nothing_passes_either_way) {
  publish(everybody(kAll));
  detach(kApi);
  attach(kApi, 1500, 999);  // the number again, another endpoint's key
  send(kApi, udp4(kApi, kWeb, 1, 53));
  send(kWeb, udp4(kWeb, kApi, 1, 53));
  EXPECT_EQ(fate(kApi, Fate::kPortOnHold), 1u);
  EXPECT_EQ(fate(kWeb, Fate::kPortOnHold), 1u);
  EXPECT_TRUE(left_by(kApi).empty() && left_by(kWeb).empty());
}

TEST_F(Path, flow_of_a_port_that_went_does_not_reach_its_successor) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  left_by(kApi);
  detach(kApi);
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  EXPECT_EQ(fate(kWeb, Fate::kPortGone), 1u);
  attach(kApi, 1500, 999);
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  EXPECT_EQ(fate(kWeb, Fate::kPortOnHold), 1u);
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Path, revoked_rule_cuts_the_flow_and_leaves_others) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kWeb, udp4(kWeb, kDb, 4000, 53));
  Policy policy = everybody(kSome);
  policy[kApi][kWeb] = kNothing;
  publish(policy);
  left_by(kApi), left_by(kDb);
  send(kApi, udp4(kApi, kWeb, 53, 4000));  // the reply is judged as what it answers
  EXPECT_EQ(fate(kApi, Fate::kDeniedPosture), 1u);
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPosture), 1u);
  send(kWeb, udp4(kWeb, kDb, 4000, 53));
  send(kDb, udp4(kDb, kWeb, 53, 4000));
  EXPECT_EQ(left_by(kDb).size(), 1u);
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  EXPECT_TRUE(left_by(kApi).empty());
  EXPECT_EQ(flows_ended(), 1u);
}

TEST_F(Path, tcp_goes_only_as_a_connection_may) {
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck));
  EXPECT_EQ(fate(kWeb, Fate::kTcpNotSyn), 1u);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck));
  EXPECT_EQ(fate(kWeb, Fate::kTcpState), 1u) << "an answer nobody asked for";
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kSyn | kAck));
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kSyn));
  EXPECT_EQ(fate(kApi, Fate::kTcpState), 1u) << "a connection against the flow's direction";
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn | kFin));
  EXPECT_EQ(fate(kWeb, Fate::kTcpFlags), 1u);
  EXPECT_EQ(left_by(kApi).size(), 2u);
  EXPECT_EQ(left_by(kWeb).size(), 1u);
}

TEST_F(Path, finished_connection_s_ports_may_be_used_again_within_one_burst) {
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kRst | kAck));
  left_by(kApi);
  send_packets(kWeb, {packet(tcp4(kWeb, kApi, 4000, 80, kSyn)), packet(tcp4(kWeb, kApi, 4000, 80, kSyn))});
  EXPECT_EQ(left_by(kApi).size(), 2u);
  EXPECT_EQ(flows_ended(), 1u) << "one flow ended, once";
  EXPECT_EQ(flows_.live(), 1u);
}

TEST_F(Path, packets_of_one_burst_keep_their_order_and_share_a_flow) {
  std::vector<rte_mbuf*> burst;
  for (std::uint8_t i = 0; i < 32; ++i)
    burst.push_back(packet(udp4(kWeb, i % 2 ? kApi : kDb, 4000, 53, {i})));
  send_packets(kWeb, burst);
  for (const std::uint32_t to : {kDb, kApi}) {
    const auto left = left_by(to);
    ASSERT_EQ(left.size(), 16u);
    for (std::size_t i = 0; i < left.size(); ++i) EXPECT_EQ(left[i].back(), 2 * i + (to == kApi));
  }
  EXPECT_EQ(flows_.live(), 2u);
}

/// Established, stale, ending and odd packets between one another: each meets its fate, and none overtakes another of its conversation.
TEST_F(Path, mixed_burst_keeps_every_conversation_s_order) {
  for (std::uint16_t port = 4000; port < 4004; ++port) {
    const std::uint32_t to = port % 2 ? kApi : kDb;
    send(kWeb, udp4(kWeb, to, port, 53));
    send(to, udp4(to, kWeb, 53, port));
    send(kWeb, tcp4(kWeb, to, port, 80, kSyn));
    send(to, tcp4(to, kWeb, 80, port, kSyn | kAck));
    send(kWeb, tcp4(kWeb, to, port, 80, kAck));
  }
  left_by(kApi), left_by(kDb), left_by(kWeb);
  for (const bool stale : {false, true}) {
    if (stale) publish(everybody(kSome));
    std::vector<rte_mbuf*> burst;
    std::vector<Bytes> expected[4];
    const auto add = [&](std::uint32_t to, const Bytes& frame) {
      burst.push_back(packet(frame));
      expected[to].push_back(passed_on(frame, to));
    };
    for (std::uint8_t i = 0; i < 60; ++i) {
      const auto port = static_cast<std::uint16_t>(4000 + i / 3 % 4);
      const std::uint32_t to = port % 2 ? kApi : kDb;
      if (i % 3 == 0) add(to, udp4(kWeb, to, port, 53, {i}));
      if (i % 3 == 1) add(to, tcp4(kWeb, to, port, 80, i < 48 ? kAck : kFin | kAck));
      if (i == 2) burst.push_back(packet(v4(kWeb, kApi, 17, frames::udp(4001, 53, {i}), 1)));
      if (i == 5) burst.push_back(packet(udp4(kWeb, kApi, 4001, 54, {i})));
    }
    const std::uint64_t forwarded = fate(kWeb, Fate::kForwarded);
    send_packets(kWeb, burst);
    for (const std::uint32_t to : {kApi, kDb}) {
      auto left = left_by(to);
      ASSERT_EQ(left.size(), expected[to].size());
      for (std::uint16_t port = 4000; port < 4004; ++port)
        for (const std::uint8_t protocol : {6, 17}) {
          const auto of = [&](const std::vector<Bytes>& all) {
            std::vector<Bytes> some;
            for (const Bytes& frame : all)
              if (frame[23] == protocol && frames::get16(frame, 34) == port) some.push_back(frame);
            return some;
          };
          EXPECT_EQ(of(left), of(expected[to])) << port << " " << int{protocol} << " stale " << stale;
        }
    }
    EXPECT_EQ(fate(kWeb, Fate::kForwarded) - forwarded, 40u);
  }
  std::uint32_t closing = 0;
  flows_.for_each([&](std::uint32_t, const abi::FlowEntry& entry, const abi::FlowDetail&) {
    closing += entry.state == abi::FlowState::kClosing;
  });
  EXPECT_EQ(closing, 4u) << "every connection saw its FIN";
  EXPECT_EQ(fate(kWeb, Fate::kIcmpTimeExceeded), 2u);
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPosture), 2u);
}

/// More than one lane holds, and more than one burst: nothing is lost, nothing is counted twice.
TEST_F(Path, flood_of_one_conversation_is_counted_to_the_byte) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kApi, udp4(kApi, kWeb, 53, 4000));
  left_by(kApi);
  const std::uint64_t bytes = block().ports[kApi].tx_bytes, packets = block().ports[kApi].tx_packets;
  std::vector<rte_mbuf*> burst;
  for (int i = 0; i < 500; ++i) burst.push_back(packet(udp4(kWeb, kApi, 4000, 53, Bytes(20, 1))));
  send_packets(kWeb, burst);
  const auto left = left_by(kApi);
  ASSERT_EQ(left.size(), 500u);
  EXPECT_EQ(block().ports[kApi].tx_packets - packets, 500u);
  EXPECT_EQ(block().ports[kApi].tx_bytes - bytes, 500 * left[0].size());
  std::uint32_t seen = 0;
  flows_.for_each([&](std::uint32_t, const abi::FlowEntry& entry, const abi::FlowDetail&) {
    ++seen;
    EXPECT_EQ(entry.count[0].packets, 501u);
    EXPECT_EQ(entry.count[0].bytes, 31u + 500 * 48);
    EXPECT_EQ(entry.count[1].packets, 1u);
  });
  EXPECT_EQ(seen, 1u);
}

TEST_F(Path, broken_frames_are_counted_not_lost) {
  send(kWeb, {});
  send(kWeb, Bytes(13, 0xff));
  send(kWeb, frames::ethernet(0x9000, Bytes(50), from(kWeb)));
  EXPECT_EQ(fate(kWeb, Fate::kMalformedEthernet), 2u);
  EXPECT_EQ(fate(kWeb, Fate::kEtherTypeUnknown), 1u);
}

TEST_F(Path, addresses_that_no_packet_may_bear_begin_no_conversation) {
  publish(everybody(kAll));
  const auto to = [](std::uint8_t first, std::uint8_t second) {
    Bytes frame = udp4(kWeb, kApi, 4000, 53, Bytes(20));
    frame[30] = first;
    frame[31] = second;
    forward::store_ipv4_checksum(frame.data() + 14);
    return frame;
  };
  send(kWeb, to(127, 0));
  send(kWeb, to(224, 0));
  send(kWeb, to(169, 254));
  EXPECT_EQ(fate(kWeb, Fate::kMalformedIpv4), 1u);
  EXPECT_EQ(fate(kWeb, Fate::kGroupDestination), 1u);
  EXPECT_EQ(fate(kWeb, Fate::kLinkLocal), 1u);
  EXPECT_EQ(flows_.live(), 0u);
}

TEST_F(Path, priority_tag_is_taken_off_and_a_vlan_is_refused) {
  const Bytes packet = frames::sealed(frames::ipv4(
      {.protocol = 17, .source = ip4(kWeb), .destination = ip4(kApi)}, frames::udp(4000, 53, {7})));
  frames::Ethernet tagged = from(kWeb);
  tagged.vlan = 0;
  send(kWeb, frames::ethernet(0x0800, packet, tagged));
  const auto left = left_by(kApi);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0], passed_on(frames::ethernet(0x0800, packet, from(kWeb)), kApi));
  tagged.vlan = 5;
  send(kWeb, frames::ethernet(0x0800, packet, tagged));
  EXPECT_EQ(fate(kWeb, Fate::kVlanUnexpected), 1u);
}

class NoImage : public Village {};

TEST_F(NoImage, nothing_is_forwarded_before_the_first_image) {
  attach(kWeb);
  attach(kHost);
  send(kWeb, udp4(kWeb, kHost, 1, 53));
  send(kHost, udp4(kHost, kWeb, 1, 53));
  EXPECT_EQ(fate(kWeb, Fate::kNoImage), 1u);
  EXPECT_EQ(fate(kHost, Fate::kNoImage), 1u);
  EXPECT_TRUE(left_by(kWeb).empty() && left_by(kHost).empty());
}

class TwoWorkers : public Village {
 protected:
  TwoWorkers() : Village(2) {}
};

TEST_F(TwoWorkers, both_directions_of_a_flow_pass_by_different_workers_while_images_change) {
  attach(kWeb);
  attach(kApi);
  publish(everybody(kSome));
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  EXPECT_EQ(left_by(kApi).size(), 1u);
  for (int round = 0; round < 200; ++round) {
    std::vector<rte_mbuf*> there, back;
    for (int i = 0; i < 16; ++i) {
      there.push_back(packet(udp4(kWeb, kApi, 4000, 53)));
      back.push_back(packet(udp4(kApi, kWeb, 53, 4000)));
    }
    send_packets(kWeb, there);
    publish(everybody(kSome));
    send_packets(kApi, back);
    ASSERT_EQ(left_by(kApi).size(), 16u);
    ASSERT_EQ(left_by(kWeb).size(), 16u);
  }
}

}  // namespace
}  // namespace bulkhead::worker
