// What becomes of conversations that policy denies now: kept, cut, or reset.
#include "tests/unit/worker/village.h"

namespace bulkhead::worker {
namespace {

using abi::Fate;

Bytes mac_bytes(std::uint32_t who) {
  const abi::Mac of = mac(who);
  return Bytes(of.bytes.begin(), of.bytes.end());
}

class Ending : public Village {
 protected:
  void SetUp() override {
    for (std::uint32_t who : {kWeb, kApi, kDb}) attach(who);
    publish(everybody(kSome));
  }

  void connect(std::uint32_t to) {
    send(kWeb, tcp4(kWeb, to, 4000, 80, kSyn));
    send(to, tcp4(to, kWeb, 80, 4000, kSyn | kAck));
    send(kWeb, tcp4(kWeb, to, 4000, 80, kAck));
    left_by(kWeb), left_by(to);
  }
  static Policy revoked(std::uint32_t receiver, Says says = kNo) {
    Policy policy = everybody(kSome);
    policy[receiver][kWeb] = says;
    return policy;
  }
};

TEST_F(Ending, kept_conversation_goes_on_both_ways_and_new_ones_do_not_begin) {
  connect(kApi);
  publish(revoked(kApi), false, image::kKeepEstablished);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck, {1}));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kAck, {2}));
  EXPECT_EQ(left_by(kApi).size(), 1u);
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  EXPECT_EQ(block().flows_kept, 1u);
  EXPECT_EQ(flows_ended(), 0u);
  send(kWeb, tcp4(kWeb, kApi, 4001, 80, kSyn));
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPolicy), 1u);
  EXPECT_TRUE(left_by(kApi).empty());
}

TEST_F(Ending, kept_conversation_survives_every_further_image_that_keeps_it_and_none_that_does_not) {
  connect(kApi);
  for (int i = 0; i < 3; ++i) {
    publish(revoked(kApi), false, image::kKeepEstablished);
    send(kApi, tcp4(kApi, kWeb, 80, 4000, kAck, {1}));
  }
  EXPECT_EQ(left_by(kWeb).size(), 3u);
  EXPECT_EQ(block().flows_kept, 3u);
  publish(revoked(kApi));
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kAck, {1}));
  EXPECT_TRUE(left_by(kWeb).empty());
  EXPECT_EQ(fate(kApi, Fate::kDeniedPolicy), 1u);
  EXPECT_EQ(flows_ended(), 1u);
}

TEST_F(Ending, what_isolates_by_default_keeps_too_and_the_posture_never_does) {
  send(kWeb, udp4(kWeb, kDb, 4000, 53));
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  left_by(kDb), left_by(kApi);
  Policy nobody = everybody(kNothing);
  publish(nobody, true, image::kKeepEstablished);
  send(kWeb, udp4(kWeb, kDb, 4000, 53));
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  EXPECT_EQ(left_by(kDb).size(), 1u);
  EXPECT_TRUE(left_by(kApi).empty());
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPosture), 1u);
}

TEST_F(Ending, a_finished_conversation_is_not_kept_for_its_ports_next_use) {
  connect(kApi);
  publish(revoked(kApi), false, image::kKeepEstablished);
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kRst | kAck));
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kSyn));
  EXPECT_TRUE(left_by(kApi).empty());
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPolicy), 1u);
}

TEST_F(Ending, whoever_has_the_address_later_inherits_no_conversation) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  left_by(kApi);
  detach(kApi);
  attach(kApi, 1500, 777);
  publish(revoked(kApi), false, image::kKeepEstablished, 777);
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  EXPECT_TRUE(left_by(kApi).empty());
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPolicy), 1u);
  EXPECT_EQ(flows_ended(), 1u);
}

TEST_F(Ending, reset_tells_both_ends_of_a_connection) {
  connect(kApi);
  publish(revoked(kApi), false, image::kResetEstablished);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck, {1, 2, 3}));
  const auto to_web = left_by(kWeb), to_api = left_by(kApi);
  ASSERT_EQ(to_web.size(), 1u);
  ASSERT_EQ(to_api.size(), 1u);
  EXPECT_EQ(to_web[0][47], kRst);
  EXPECT_EQ(frames::get32(to_web[0], 38), 2000u) << "what the sender acknowledged";
  EXPECT_EQ(frames::part(to_web[0], 0, 6), mac_bytes(kWeb));
  EXPECT_EQ(frames::part(to_web[0], 26, 4), frames::be32(ip4(kApi)));
  EXPECT_EQ(to_api[0][47], kRst | kAck);
  EXPECT_EQ(frames::get32(to_api[0], 38), 1000u) << "what the sender would have sent next";
  EXPECT_EQ(frames::part(to_api[0], 0, 6), mac_bytes(kApi));
  EXPECT_EQ(fate(kWeb, Fate::kDeniedPolicy), 1u);
  EXPECT_EQ(block().resets_sent, 2u);
  EXPECT_EQ(flows_ended(), 1u);
  send(kWeb, tcp4(kWeb, kApi, 4000, 80, kAck, {1, 2, 3}));
  EXPECT_TRUE(left_by(kWeb).empty() && left_by(kApi).empty()) << "once";
}

TEST_F(Ending, the_reply_s_sender_is_told_like_the_other) {
  connect(kApi);
  publish(revoked(kApi), false, image::kResetEstablished);
  send(kApi, tcp4(kApi, kWeb, 80, 4000, kAck, {1}));
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  EXPECT_EQ(left_by(kApi).size(), 1u);
  connect(kDb);
  publish(revoked(kDb), false, image::kResetEstablished);
  send(kDb, tcp4(kDb, kWeb, 80, 4000, kRst));
  EXPECT_EQ(left_by(kWeb).size(), 1u);
  EXPECT_TRUE(left_by(kDb).empty()) << "a reset is not answered";
}

TEST_F(Ending, other_protocols_are_told_by_icmp) {
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kWeb, v6(kWeb, kApi, 17, frames::udp(4000, 53, {1})));
  left_by(kApi);
  publish(revoked(kApi), false, image::kResetEstablished);
  send(kWeb, udp4(kWeb, kApi, 4000, 53));
  send(kWeb, v6(kWeb, kApi, 17, frames::udp(4000, 53, {1})));
  const auto left = left_by(kWeb);
  ASSERT_EQ(left.size(), 2u);
  EXPECT_EQ(left[0][34], 3);
  EXPECT_EQ(left[0][35], 13);
  EXPECT_EQ(left[1][54], 1);
  EXPECT_EQ(left[1][55], 1);
  for (const Bytes& frame : left) EXPECT_EQ(frames::transport_checksum(ip_part(frame)), 0u);
  EXPECT_TRUE(left_by(kApi).empty());
  EXPECT_EQ(block().resets_sent, 2u);
}

TEST_F(Ending, stranger_s_reply_resets_nothing) {
  connect(kApi);
  publish(revoked(kApi), false, image::kResetEstablished);
  Bytes forged = tcp4(kApi, kWeb, 80, 4000, kAck, {1});
  forged[11] = mac(kDb).bytes[5];
  send(kDb, forged);
  EXPECT_EQ(fate(kDb, Fate::kSpoofedAddress), 1u);
  EXPECT_TRUE(left_by(kWeb).empty() && left_by(kApi).empty());
  EXPECT_EQ(flows_ended(), 0u);
}

}  // namespace
}  // namespace bulkhead::worker
