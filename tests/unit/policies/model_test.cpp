#include <gtest/gtest.h>

#include "policies/model/address.h"
#include "policies/oracle/oracle.h"
#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

AddressBytes at(const char* text) {
  return parse_address(text).value();
}

TEST(Address, text_and_bytes_agree) {
  for (const char* text :
       {"0.0.0.0", "10.0.0.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fd00:10:1::3"})
    EXPECT_EQ(format(at(text)), text);
  for (const char* wrong :
       {"", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1 ", "0x0a000001", "1", "::ffff:10.0.0.1",
        "::ffff:a00:1", "fe80::1%eth0", "[::1]", "2001:db8:::1", "1:2:3:4:5:6:7"})
    EXPECT_FALSE(parse_address(wrong)) << wrong;
  EXPECT_FALSE(parse_address(std::string_view("10.0.0.1\0", 9)));
}

TEST(Address, blocks_hold_their_family_only) {
  const auto block = [](const char* text) { return parse_block(text).value(); };
  EXPECT_TRUE(block("0.0.0.0/0").contains(at("203.0.113.9")));
  EXPECT_FALSE(block("0.0.0.0/0").contains(at("2001:db8::1")));
  EXPECT_TRUE(block("::/0").contains(at("2001:db8::1")));
  EXPECT_FALSE(block("::/0").contains(at("10.0.0.1")));
  EXPECT_TRUE(block("10.0.0.0/15").contains(at("10.1.255.255")));
  EXPECT_FALSE(block("10.0.0.0/15").contains(at("10.2.0.0")));
  EXPECT_TRUE(block("2001:db8::/33").contains(at("2001:db8:7fff::")));
  EXPECT_FALSE(block("2001:db8::/33").contains(at("2001:db8:8000::")));
  EXPECT_TRUE(contains(block("10.0.0.0/8"), block("10.0.0.0/8")));
  EXPECT_TRUE(contains(block("10.0.0.0/8"), block("10.1.0.0/16")));
  EXPECT_FALSE(contains(block("10.1.0.0/16"), block("10.0.0.0/8")));
  EXPECT_FALSE(contains(block("::/0"), block("10.0.0.0/8")));
  EXPECT_EQ(format(block("10.1.2.3/8")), "10.0.0.0/8");
  EXPECT_EQ(format(block("2001:db8::1/32")), "2001:db8::/32");
  for (const char* wrong : {"10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08",
                            "10.0.0.0/8 ", "::/129", "::ffff:0.0.0.0/96", "/8"})
    EXPECT_FALSE(parse_block(wrong)) << wrong;
}

TEST(Address, exceptions_are_holes) {
  const IpBlock block{parse_block("10.0.0.0/8").value(), {parse_block("10.1.0.0/16").value()}};
  EXPECT_TRUE(block.contains(at("10.2.0.1")));
  EXPECT_FALSE(block.contains(at("10.1.0.1")));
  EXPECT_FALSE(block.contains(at("11.0.0.1")));
}

TEST(Selector, operators) {
  const Labels labels = {{"app", "web"}, {"empty", ""}};
  const auto holds = [&](Operator op, const char* key, std::vector<std::string> values) {
    return Selector{{{key, op, std::move(values)}}}.matches(labels);
  };
  EXPECT_TRUE(Selector{}.matches(labels));
  EXPECT_TRUE(holds(Operator::kIn, "app", {"api", "web"}));
  EXPECT_FALSE(holds(Operator::kIn, "app", {"api"}));
  EXPECT_FALSE(holds(Operator::kIn, "none", {""}));
  EXPECT_TRUE(holds(Operator::kIn, "empty", {""}));
  EXPECT_FALSE(holds(Operator::kNotIn, "app", {"web"}));
  EXPECT_TRUE(holds(Operator::kNotIn, "none", {"web"}));
  EXPECT_TRUE(holds(Operator::kExists, "empty", {}));
  EXPECT_FALSE(holds(Operator::kExists, "none", {}));
  EXPECT_FALSE(holds(Operator::kDoesNotExist, "empty", {}));
  EXPECT_TRUE(holds(Operator::kDoesNotExist, "none", {}));
}

TEST(EndpointSelector, host_network_endpoints_are_never_selected) {
  Endpoint pod;
  pod.namespace_name = "shop";
  EXPECT_TRUE(EndpointSelector{}.matches(pod, {}));
  EXPECT_TRUE((EndpointSelector{"shop", {}, {}}.matches(pod, {})));
  EXPECT_FALSE((EndpointSelector{"bank", {}, {}}.matches(pod, {})));
  pod.host_network = true;
  EXPECT_FALSE(EndpointSelector{}.matches(pod, {}));
}

TEST(Describe, words_of_peers_and_ports) {
  const auto loaded = load_text(segmentation_policy(
      "  - name: e\n"
      "    from: {matchLabels: {app: web}, matchExpressions: [{key: t, operator: In, values: [b, a]}, {key: "
      "o, operator: DoesNotExist}, {key: s, operator: NotIn, values: [x]}]}\n"
      "    to: [{namespaceSelector: {}}, {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}, {host: {}}, "
      "{world: {}}, {any: {}}]\n"
      "    ports: [tcp/80, udp/1000-2000, tcp/http, sctp/any, icmp/8, icmpv6, protocol/47]\n"));
  ASSERT_TRUE(loaded.ok());
  const Policy& policy = loaded.policies.policies[0];
  EXPECT_EQ(describe(policy), "SegmentationPolicy shop/p");
  const Rule& egress = policy.clauses[0].rules[0];
  EXPECT_EQ(
      describe_peers(egress),
      "every pod in every namespace; 10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16; host; world; everyone");
  EXPECT_EQ(describe_ports(egress),
            "tcp/80, udp/1000-2000, tcp/http, every sctp port, icmp/8, icmpv6, protocol 47");
  EXPECT_EQ(describe_peers(policy.clauses[1].rules[0]), "pods app=web,!o,s!=x,t in (a,b) in namespace shop");
  EXPECT_EQ(describe(Selector{}), "everything");
  EXPECT_EQ(describe_peers(Rule{}), "nobody");
}

TEST(Oracle, reasons_name_the_end_the_policy_and_the_rule) {
  Cluster cluster;
  cluster.namespaces = {{"shop", {}}};
  cluster.nodes = {{"n", {}, {at("192.168.0.1")}}};
  const auto pod = [](const char* name, const char* address) {
    return Endpoint{name, "shop", name, {{"app", name}}, "", {at(address)}, {}, false, false};
  };
  cluster.endpoints = {pod("web", "10.0.0.1"), pod("api", "10.0.0.2"), pod("db", "10.0.0.3")};
  const auto loaded = load_text(segmentation_policy(
      "  - {name: ask, from: {matchLabels: {app: web}}, to: {matchLabels: {app: api}}, ports: [tcp/80]}\n"
      "  - {name: never, from: {any: {}}, to: {matchLabels: {app: db}}, ports: [any], action: deny}\n"));
  ASSERT_TRUE(loaded.ok());
  const Oracle oracle(cluster, loaded.policies, {}, "n");

  const Judgement asked = oracle.judge(at("10.0.0.1"), at("10.0.0.2"), Protocol::kTcp, 80);
  EXPECT_TRUE(asked.allow);
  EXPECT_EQ(asked.reason, Reason::kRule);
  EXPECT_EQ(asked.rule->name, "ask");
  EXPECT_EQ(asked.direction, Direction::kIngress);
  EXPECT_EQ(asked.rule->origin.line, 6u);

  const Judgement denied = oracle.judge(at("10.0.0.1"), at("10.0.0.3"), Protocol::kTcp, 80);
  EXPECT_FALSE(denied.allow);
  EXPECT_EQ(denied.direction, Direction::kEgress);
  EXPECT_EQ(denied.rule->name, "never");

  const Judgement isolated = oracle.judge(at("10.0.0.1"), at("10.0.0.2"), Protocol::kTcp, 81);
  EXPECT_EQ(isolated.reason, Reason::kIsolated);
  EXPECT_EQ(isolated.policy->name, "p");
  EXPECT_EQ(isolated.rule, nullptr);

  // Not isolated for going out, and not of Kubernetes: the node's posture, which is deny.
  const Judgement posture = oracle.judge(at("10.0.0.2"), at("10.0.0.1"), Protocol::kTcp, 81);
  EXPECT_FALSE(posture.allow);
  EXPECT_EQ(posture.reason, Reason::kPosture);
  EXPECT_TRUE(Oracle(cluster, loaded.policies, {Action::kAllow, false})
                  .judge(at("10.0.0.2"), at("10.0.0.1"), Protocol::kTcp, 81)
                  .allow);

  // The own node passes for endpoints that follow Kubernetes only, whatever the posture.
  EXPECT_FALSE(oracle.judge(at("192.168.0.1"), at("10.0.0.1"), Protocol::kTcp, 80).allow);
  cluster.endpoints[0].kubernetes = true;
  EXPECT_EQ(oracle.judge(at("192.168.0.1"), at("10.0.0.1"), Protocol::kTcp, 80).reason, Reason::kOwnNode);
  EXPECT_EQ(oracle.judge(at("10.0.0.1"), at("10.0.0.1"), Protocol::kTcp, 80).reason, Reason::kSelf);
  EXPECT_EQ(oracle.judge(at("1.1.1.1"), at("192.168.0.1"), Protocol::kTcp, 80).reason, Reason::kNoEnd);
}

}  // namespace
}  // namespace bulkhead::policies
