#include "dataplane/flow/tcp.h"

#include <gtest/gtest.h>

#include <string>

namespace bulkhead::flow {
namespace {

using abi::FlowState;
constexpr std::uint8_t kSyn = kTcpSyn, kAck = kTcpAck, kSynAck = kTcpSyn | kTcpAck, kFin = kTcpFin | kTcpAck,
                       kRst = kTcpRst, kPush = 8 | kTcpAck;

struct Conversation {
  abi::FlowEntry entry{};
  abi::FlowDetail detail{};

  Advance original(std::uint8_t flags) { return advance_tcp(entry, detail, 0, flags); }
  Advance reply(std::uint8_t flags) { return advance_tcp(entry, detail, 1, flags); }
  FlowState state() const { return entry.state; }
  /// As after a handshake.
  Conversation& established() {
    entry.state = FlowState::kEstablished;
    return *this;
  }
};

TEST(Tcp, only_a_syn_without_ack_opens) {
  for (unsigned flags = 0; flags < 64; ++flags)
    EXPECT_EQ(opens(static_cast<std::uint8_t>(flags)), (flags & 0x17) == kSyn) << flags;
}

TEST(Tcp, a_handshake_with_repeated_segments_establishes) {
  Conversation c;
  EXPECT_EQ(c.original(kSyn), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kNew);
  EXPECT_EQ(c.reply(kSynAck), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kSynAck);
  EXPECT_EQ(c.original(kSyn), Advance::kPass);
  EXPECT_EQ(c.reply(kSynAck), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kSynAck);
  EXPECT_EQ(c.original(kAck), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kEstablished);
  EXPECT_EQ(c.reply(kSynAck), Advance::kPass) << "the last ACK may be lost";
  EXPECT_EQ(c.reply(kPush), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kEstablished);
}

TEST(Tcp, nothing_but_a_syn_passes_from_the_originator_before_an_answer) {
  for (const std::uint8_t flags : {kAck, kSynAck, kFin, kPush}) {
    Conversation c;
    EXPECT_EQ(c.original(flags), Advance::kInvalid) << unsigned{flags};
    EXPECT_EQ(c.state(), FlowState::kNew);
  }
}

TEST(Tcp, simultaneous_open_establishes) {
  Conversation c;
  EXPECT_EQ(c.reply(kSyn), Advance::kPass);
  EXPECT_EQ(c.original(kSynAck), Advance::kPass);
  EXPECT_EQ(c.reply(kSynAck), Advance::kPass);
  EXPECT_EQ(c.original(kAck), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kEstablished);
}

TEST(Tcp, half_close_lets_the_other_side_go_on) {
  Conversation c;
  c.established();
  EXPECT_EQ(c.original(kFin), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kClosing);
  EXPECT_EQ(c.reply(kPush), Advance::kPass);
  EXPECT_EQ(c.original(kFin), Advance::kPass) << "repeated";
  EXPECT_EQ(c.state(), FlowState::kClosing);
  EXPECT_EQ(c.detail.fin_seen, 1);
  EXPECT_EQ(c.reply(kFin), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kClosed);
  EXPECT_EQ(c.original(kAck), Advance::kPass) << "the last ACK";
  EXPECT_EQ(c.state(), FlowState::kClosed);
}

TEST(Tcp, a_reset_closes_from_any_state) {
  for (unsigned state = 0; state < 5; ++state)
    for (const std::uint32_t direction : {0u, 1u})
      for (const std::uint8_t flags : {kRst, static_cast<std::uint8_t>(kRst | kAck)}) {
        Conversation c;
        c.entry.state = static_cast<FlowState>(state);
        EXPECT_EQ(advance_tcp(c.entry, c.detail, direction, flags), Advance::kPass);
        EXPECT_EQ(c.state(), FlowState::kClosed);
      }
}

TEST(Tcp, an_open_against_the_flows_direction_is_refused) {
  Conversation c;
  c.established();
  EXPECT_EQ(c.reply(kSyn), Advance::kInvalid);
  EXPECT_EQ(c.original(kSynAck), Advance::kInvalid);
  EXPECT_EQ(c.original(kSyn), Advance::kPass) << "a rebooted originator, to be challenged";
  EXPECT_EQ(c.state(), FlowState::kEstablished);
  c.original(kFin);
  EXPECT_EQ(c.reply(kSyn), Advance::kInvalid);
}

TEST(Tcp, a_syn_on_a_finished_conversation_is_a_new_one) {
  Conversation c;
  c.established();
  c.original(kFin);
  EXPECT_EQ(c.original(kSyn), Advance::kReopen);
  EXPECT_EQ(c.state(), FlowState::kClosing) << "left to the caller";
  c.reply(kFin);
  EXPECT_EQ(c.original(kSyn), Advance::kReopen);
  EXPECT_EQ(c.reply(kSyn), Advance::kReopen);
}

TEST(Tcp, a_stale_peer_may_challenge_a_syn) {
  Conversation c;
  EXPECT_EQ(c.reply(kAck), Advance::kPass);
  EXPECT_EQ(c.state(), FlowState::kNew);
  EXPECT_EQ(c.original(kRst), Advance::kPass);
  EXPECT_EQ(c.original(kSyn), Advance::kReopen);
}

TEST(Tcp, impossible_flags_pass_nowhere) {
  for (unsigned state = 0; state < 5; ++state)
    for (const std::uint8_t flags : {0, 3, 5, 6, 7, 32})
      for (const std::uint32_t direction : {0u, 1u}) {
        Conversation c;
        c.entry.state = static_cast<FlowState>(state);
        EXPECT_EQ(advance_tcp(c.entry, c.detail, direction, flags), Advance::kInvalid) << unsigned{flags};
        EXPECT_EQ(c.state(), static_cast<FlowState>(state));
      }
}

TEST(Tcp, what_surely_stays_moves_nothing) {
  std::uint32_t stay = 0;
  for (unsigned state = 0; state < 5; ++state)
    for (const std::uint32_t direction : {0u, 1u})
      for (const std::uint8_t flags : {kAck, kPush, kFin, kSyn, kSynAck, kRst}) {
        Conversation c;
        c.entry.state = static_cast<FlowState>(state);
        c.entry.protocol = 6;
        if (!stays(c.entry, direction, (flags & (kTcpFin | kTcpSyn | kTcpRst)) != 0)) continue;
        ++stay;
        EXPECT_EQ(advance_tcp(c.entry, c.detail, direction, flags), Advance::kPass);
        EXPECT_EQ(c.state(), static_cast<FlowState>(state));
      }
  EXPECT_EQ(stay, 4u) << "data of an established conversation, either way";
}

TEST(OtherProtocols, what_surely_stays_moves_nothing) {
  std::uint32_t stay = 0;
  for (const FlowState state : {FlowState::kNew, FlowState::kEstablished})
    for (const std::uint32_t direction : {0u, 1u}) {
      abi::FlowEntry entry{};
      entry.protocol = 17;
      entry.state = state;
      if (!stays(entry, direction, false)) continue;
      ++stay;
      advance_other(entry, direction);
      EXPECT_EQ(entry.state, state);
    }
  EXPECT_EQ(stay, 3u) << "all but the first reply";
}

TEST(OtherProtocols, the_first_reply_establishes) {
  abi::FlowEntry entry{};
  advance_other(entry, 0);
  EXPECT_EQ(entry.state, FlowState::kNew);
  advance_other(entry, 1);
  EXPECT_EQ(entry.state, FlowState::kEstablished);
  advance_other(entry, 0);
  EXPECT_EQ(entry.state, FlowState::kEstablished);
}

TEST(OtherProtocols, a_reply_flow_carries_no_icmp_questions) {
  EXPECT_TRUE(icmp_fits(1, 8, 0));
  EXPECT_FALSE(icmp_fits(1, 8, 1));
  EXPECT_TRUE(icmp_fits(1, 0, 1));
  EXPECT_FALSE(icmp_fits(1, 0, 0));
  EXPECT_TRUE(icmp_fits(58, 128, 0));
  EXPECT_TRUE(icmp_fits(58, 129, 1));
  EXPECT_FALSE(icmp_fits(58, 128, 1));
}

}  // namespace
}  // namespace bulkhead::flow
