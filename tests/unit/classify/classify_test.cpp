#include "dataplane/classify/classify.h"

#include <gtest/gtest.h>

#include "dataplane/image/builder.h"

namespace bulkhead::classify {
namespace {

using abi::Address;
using abi::Fate;

constexpr std::uint32_t kHost = 900;
constexpr std::uint32_t kUplink = 901;
constexpr Router kBoth{kHost, kUplink};
constexpr Router kHostOnly{kHost, 0};

const Address kWeb = abi::address_v4(0x0a000001);     // local, port 1
const Address kApi = abi::address_v4(0x0a000002);     // local, port 2
const Address kRemote = abi::address_v4(0x0a000103);  // an endpoint of another node
const Address kNode = abi::address_v4(0xc0a80001);
const Address kGateway = abi::address_v4(0x0a0000fe);
const Address kWorld = abi::address_v4(0xcb007101);
const Address kWorld2 = abi::address_v4(0xcb007102);

/// Two rules: tcp/80 into any endpoint is allowed by rule 1, whatever leaves one by rule 2; udp is denied by rule
/// 3 on the way in, sctp by rule 4 on the way out; icmp has no rule and an isolating policy.
class Classify : public testing::Test {
 protected:
  Classify() {
    build();
    const auto result = image::validate({policy_, {shard_}});
    if (const auto* refusal = std::get_if<image::Refusal>(&result)) ADD_FAILURE() << refusal->reason;
    view_ = std::get<image::View>(result);
  }

  static void add_policy_tables(image::PolicyTables& p) {
    p.port_classes = image::kProtocolSlots;
    for (std::uint16_t slot = 0; slot < image::kProtocolSlots; ++slot) {
      p.page_of.insert(p.page_of.end(), 256, slot);
      p.pages.insert(p.pages.end(), image::kPageEntries, slot);
    }
    p.policies.resize(2);
    p.rules.resize(5);
    for (const std::uint32_t rule : {1u, 2u}) p.rules[rule].verdict = image::Verdict::kAllow;
    p.isolating = {1};
    p.rule_sets = 2;  // 0 ingress, 1 egress
    constexpr image::Decision kAllow1 = image::kAllowBit | 1;
    constexpr image::Decision kAllow2 = image::kAllowBit | 2;
    p.verdicts = {kAllow1, 3, kAllow1, 0, 0, 0, kAllow2, kAllow2, 4, kAllow2, kAllow2, kAllow2};
    for (std::uint32_t direction = 0; direction < image::kDirections; ++direction) {
      p.subject_classes[direction] = p.peer_classes[direction] = 1;
      p.matrix[direction] = {direction};
      p.subjects[direction] = {{0, 1, 0, 0, image::Verdict::kDeny, 0}};
    }
  }

  void build() {
    image::PolicyTables p;
    add_policy_tables(p);
    constexpr image::Profile kPod = 1, kOurNode = 2;
    p.profiles = {{kPod, 1, {0, 0}, {0, 0}, image::kRecordEndpoint},
                  {kOurNode, 0, {image::kNoSubject, image::kNoSubject}, {0, 0}, image::kRecordNode}};
    p.worlds = {{0, 0, {image::kNoSubject, image::kNoSubject}, {0, 0}, image::kRecordWorld}};
    p.gateway_v4 = kGateway;
    policy_ = std::get<0>(image::build_policy(p));

    image::ShardTables s;
    s.endpoint_table = 8;
    s.endpoints = {{"", "web", "1", 11, 1, image::kEndpointLocal, {&kWeb, 1}, 1},
                   {"", "api", "2", 12, 2, image::kEndpointLocal, {&kApi, 1}, 2},
                   {"", "remote", "3", 13, 0, image::kEndpointOther, {&kRemote, 1}, 3},
                   {"", "host", "4", 0, 0, image::kEndpointNode, {&kNode, 1}, 4}};
    s.bound = {{kWeb, kPod, 1}, {kApi, kPod, 2}, {kRemote, kPod, 3}, {kNode, kOurNode, 4}};
    shard_ = std::get<0>(image::build_shard(s));
  }

  Answer ask(const Address& source, const Address& destination, std::uint32_t port,
             const Router& router = kBoth, image::ProtocolSlot slot = image::kTcp) {
    const Question question{&source, &destination, port, slot, 80};
    Answer answer;
    classify(view_, router, {&question, 1}, {&answer, 1});
    return answer;
  }

  void expect_way(const Address& source, const Address& destination, std::uint32_t from, std::uint32_t to,
                  const Router& router = kBoth) {
    const Answer answer = ask(source, destination, from, router);
    EXPECT_EQ(answer.fate, Fate::kForwarded) << abi::name(answer.fate);
    EXPECT_EQ(answer.egress_port, to);
  }

  void expect_fate(Fate fate, const Address& source, const Address& destination, std::uint32_t from,
                   const Router& router = kBoth) {
    const Answer answer = ask(source, destination, from, router);
    EXPECT_EQ(answer.fate, fate) << abi::name(answer.fate);
    EXPECT_EQ(answer.egress_port, 0u);
    EXPECT_EQ(answer.rule[0], 0u);
    EXPECT_EQ(answer.rule[1], 0u);
  }

  std::vector<std::byte> policy_;
  std::vector<std::byte> shard_;
  image::View view_;
};

TEST_F(Classify, endpoint_may_send_only_as_itself) {
  expect_way(kWeb, kApi, 1, 2);
  expect_fate(Fate::kSpoofedAddress, kApi, kWeb, 1);
  expect_fate(Fate::kSpoofedAddress, kRemote, kApi, 1);
  expect_fate(Fate::kSpoofedAddress, kWorld, kApi, 1);
  expect_fate(Fate::kSpoofedAddress, kNode, kApi, 1);
  expect_fate(Fate::kSpoofedAddress, kGateway, kApi, 1);
  expect_fate(Fate::kSpoofedAddress, kWeb, kApi, 7);  // a port without an endpoint
}

TEST_F(Classify, local_endpoints_do_not_come_from_outside) {
  expect_fate(Fate::kSpoofedAddress, kWeb, kApi, kHost);
  expect_fate(Fate::kSpoofedAddress, kWeb, kApi, kUplink);
  expect_way(kRemote, kApi, kUplink, 2);
  expect_way(kWorld, kApi, kUplink, 2);
  expect_way(kWorld, kApi, kHost, 2);
}

TEST_F(Classify, node_and_gateway_come_from_the_host_port_only) {
  expect_way(kNode, kApi, kHost, 2);
  expect_way(kGateway, kApi, kHost, 2);
  expect_fate(Fate::kSpoofedAddress, kNode, kApi, kUplink);
  expect_fate(Fate::kSpoofedAddress, kGateway, kApi, kUplink);
}

TEST_F(Classify, port_0_is_nobodys) {
  expect_fate(Fate::kSpoofedAddress, kWorld, kApi, 0);
  expect_fate(Fate::kSpoofedAddress, kWorld, kApi, 0, Router{});
  expect_fate(Fate::kSpoofedAddress, kRemote, kApi, 0, kHostOnly);
}

TEST_F(Classify, outside_lies_behind_the_uplink_or_else_the_host) {
  expect_way(kWeb, kWorld, 1, kUplink);
  expect_way(kWeb, kRemote, 1, kUplink);
  expect_way(kWeb, kWorld, 1, kHost, kHostOnly);
  expect_way(kWeb, kRemote, 1, kHost, kHostOnly);
  expect_fate(Fate::kNoRoute, kWeb, kWorld, 1, Router{});
}

TEST_F(Classify, node_and_gateway_lie_behind_the_host_port) {
  expect_way(kWeb, kNode, 1, kHost);
  expect_way(kWeb, kGateway, 1, kHost);
  expect_way(kWorld, kNode, kUplink, kHost);
  expect_fate(Fate::kNoRoute, kWeb, kNode, 1, Router{0, kUplink});
}

TEST_F(Classify, missing_gateway_is_not_the_unspecified_address) {
  expect_way(kWeb, Address{}, 1, kUplink);
  expect_way(Address{}, kWeb, kUplink, 1);
}

TEST_F(Classify, nothing_leaves_where_it_came_in) {
  expect_fate(Fate::kNoRoute, kWeb, kWeb, 1);
  expect_fate(Fate::kNoRoute, kNode, kWorld, kHost, kHostOnly);
  expect_fate(Fate::kNoRoute, kNode, kGateway, kHost);
}

TEST_F(Classify, strangers_do_not_pass_through_this_node) {
  expect_fate(Fate::kNoRoute, kWorld, kWorld2, kHost);
  expect_fate(Fate::kNoRoute, kWorld, kRemote, kHost);
  expect_fate(Fate::kNoRoute, kRemote, kWorld, kUplink);
  expect_way(kNode, kWorld, kHost, kUplink);
}

TEST_F(Classify, answer_names_the_rule_of_each_end) {
  Answer answer = ask(kWeb, kApi, 1);
  EXPECT_EQ(answer.rule[image::kIngress], 1u);
  EXPECT_EQ(answer.rule[image::kEgress], 2u);
  EXPECT_EQ(answer.source.endpoint, 1u);
  EXPECT_EQ(answer.destination.endpoint, 2u);

  answer = ask(kWeb, kApi, 1, kBoth, image::kUdp);
  EXPECT_EQ(answer.fate, Fate::kDeniedPolicy);
  EXPECT_EQ(answer.direction, image::kIngress);
  EXPECT_EQ(answer.rule[image::kIngress], 3u);
  EXPECT_EQ(answer.rule[image::kEgress], 2u);
  EXPECT_EQ(answer.egress_port, 2u);

  answer = ask(kWeb, kApi, 1, kBoth, image::kSctp);
  EXPECT_EQ(answer.fate, Fate::kDeniedPolicy);
  EXPECT_EQ(answer.direction, image::kEgress);
  EXPECT_EQ(answer.rule[image::kIngress], 0u);
  EXPECT_EQ(answer.rule[image::kEgress], 4u);

  answer = ask(kWeb, kApi, 1, kBoth, image::kIcmp);
  EXPECT_EQ(answer.fate, Fate::kDeniedDefault);
  EXPECT_EQ(answer.rule[image::kIngress], 0u);
}

TEST_F(Classify, burst_answers_each_question_for_itself) {
  const Address* ends[] = {&kWeb, &kApi, &kRemote, &kNode, &kWorld, &kGateway};
  std::vector<Question> questions;
  for (const Address* source : ends)
    for (const Address* destination : ends)
      for (const std::uint32_t port : {1u, 2u, kHost, kUplink})
        questions.push_back({source, destination, port, image::kTcp, 80});
  std::vector<Answer> answers(questions.size());
  classify(view_, kBoth, questions, answers);
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const Question& q = questions[i];
    const Answer alone = ask(*q.source, *q.destination, q.ingress_port);
    EXPECT_EQ(answers[i].fate, alone.fate);
    EXPECT_EQ(answers[i].egress_port, alone.egress_port);
  }
}

TEST_F(Classify, packet_and_its_flow_ask_the_same) {
  packet::Parsed packet;
  packet.source = kWeb;
  packet.destination = kApi;
  packet.protocol = 17;
  packet.policy_port = 53;
  const Question fresh = classify::ask(packet, 1);
  EXPECT_EQ(fresh.slot, image::kUdp);

  abi::FlowEntry flow{};
  flow.source = packet.source;
  flow.destination = packet.destination;
  abi::FlowDetail detail{};
  detail.policy_slot = static_cast<std::uint8_t>(fresh.slot);
  detail.policy_port = fresh.port;
  const Question again = classify::ask(flow, detail, 1);
  EXPECT_EQ(*again.source, *fresh.source);
  EXPECT_EQ(*again.destination, *fresh.destination);
  EXPECT_EQ(again.slot, fresh.slot);
  EXPECT_EQ(again.port, fresh.port);
  EXPECT_EQ(again.ingress_port, fresh.ingress_port);

  detail.policy_slot = 200;  // a damaged table must not lead out of the image
  EXPECT_EQ(classify::ask(flow, detail, 1).slot, image::kOtherProtocol);
}

}  // namespace
}  // namespace bulkhead::classify
