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

TEST(Time, only_whole_moments_with_a_zone_are_read) {
  EXPECT_EQ(format(*parse_time("2026-12-01T09:00:00+01:00")), "2026-12-01T08:00:00Z");
  EXPECT_EQ(format(*parse_time("2024-02-29T23:59:59Z")), "2024-02-29T23:59:59Z");
  EXPECT_EQ(format(*parse_time("9999-12-31T23:59:59-23:59")), "10000-01-01T23:58:59Z");
  for (const char* wrong : {"",
                            "2026-12-01",
                            "2026-12-01T08:00:00",
                            "2026-12-01T08:00Z",
                            "2026-12-01 08:00:00Z",
                            "2026-12-01t08:00:00z",
                            "2026-02-29T08:00:00Z",
                            "2026-13-01T08:00:00Z",
                            "2026-12-32T08:00:00Z",
                            "2026-12-01T24:00:00Z",
                            "2026-12-01T08:60:00Z",
                            "2026-12-01T08:00:60Z",
                            "2026-12-01T08:00:00.5Z",
                            "2026-12-01T08:00:00+1:00",
                            "2026-12-01T08:00:00+01:60",
                            "2026-12-01T08:00:00+24:00",
                            "2026-12-01T08:00:00Zulu",
                            "1969-12-31T23:59:59Z",
                            "-026-12-01T08:00:00Z",
                            "2026-12-01T08:00:0 Z",
                            "2026-12-01T08:00:00 01:00"})
    EXPECT_FALSE(parse_time(wrong)) << wrong;
}

TEST(Expiry, an_edge_is_as_if_it_were_not_written_and_isolates_nobody_either) {
  Cluster cluster;
  const auto pod = [](const char* name, const char* address) {
    return Endpoint{name, "shop", name, {{"app", name}}, "", {at(address)}, {}, true, false};
  };
  cluster.endpoints = {pod("web", "10.0.0.1"), pod("api", "10.0.0.2"), pod("db", "10.0.0.3")};
  const auto loaded = load_text(segmentation_policy(
      "  - {name: probe, from: {matchLabels: {app: web}}, to: {matchLabels: {app: api}}, ports: [tcp/80],\n"
      "     expires: 2026-12-01T09:00:00+01:00}\n"
      "  - {name: never, from: {matchLabels: {app: web}}, to: {matchLabels: {app: db}}, ports: [tcp/23], "
      "action: deny,\n"
      "     expires: 2026-12-02T00:00:00Z}\n"
      "  - {name: stays, from: {matchLabels: {app: web}}, to: {matchLabels: {app: db}}, ports: [tcp/80]}\n"));
  ASSERT_TRUE(loaded.ok());
  const Time end = *parse_time("2026-12-01T08:00:00Z");
  const auto judge = [&](const char* to, std::uint16_t port, Time now) {
    return Oracle(cluster, loaded.policies, {}, "n", {}, now)
        .judge(at("10.0.0.1"), at(to), Protocol::kTcp, port);
  };
  using std::chrono::seconds;
  EXPECT_TRUE(judge("10.0.0.2", 80, end - seconds(1)).allow);
  const Judgement after = judge("10.0.0.2", 80, end);
  EXPECT_EQ(after.egress.reason, Reason::kIsolated) << "by the edge that stays";
  EXPECT_EQ(after.ingress.reason, Reason::kPosture) << "the edge alone isolated api";
  EXPECT_TRUE(after.ingress.allow);
  EXPECT_EQ(judge("10.0.0.3", 23, end).egress.reason, Reason::kRule);
  EXPECT_EQ(judge("10.0.0.3", 23, end + std::chrono::days(2)).egress.reason, Reason::kIsolated);

  EXPECT_EQ(expiries(loaded.policies), (std::vector{end, *parse_time("2026-12-02T00:00:00Z")}));
  const auto soon = expiring(loaded.policies, end);
  ASSERT_EQ(soon.size(), 1u) << "once, though it is a rule at both ends";
  EXPECT_EQ(
      describe(soon[0], end - std::chrono::hours(50)),
      "SegmentationPolicy shop/p, rule 'probe' expires at 2026-12-01T08:00:00Z, in 2 days; whom it alone "
      "isolates is open then, as far as the posture is");
  EXPECT_EQ(
      describe(soon[0], end),
      "SegmentationPolicy shop/p, rule 'probe' has expired at 2026-12-01T08:00:00Z: it is as if it were not "
      "written, and isolates nobody any more");
  EXPECT_EQ(without_expired(loaded.policies, end).policies[0].clauses.size(), 4u);
  EXPECT_TRUE(expiries(without_expired(loaded.policies, end + std::chrono::days(3))).empty());
}

TEST(Expiry, of_a_policy_and_its_edge_the_earlier_counts) {
  const auto loaded = load_text(
      "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p}\nspec:\n"
      "  expires: 2026-12-02T00:00:00Z\n  edges:\n"
      "  - {name: a, from: {any: {}}, to: {namespace: x}, ports: [any], expires: 2026-12-01T00:00:00Z}\n"
      "  - {name: b, from: {any: {}}, to: {namespace: x}, ports: [any], expires: 2026-12-03T00:00:00Z}\n"
      "  - {name: c, from: {any: {}}, to: {namespace: x}, ports: [any]}\n");
  ASSERT_TRUE(loaded.ok());
  for (const Expiry& expiry : expiring(loaded.policies, *parse_time("2030-01-01T00:00:00Z")))
    EXPECT_EQ(format(expiry.at), expiry.rule->name == "a" ? "2026-12-01T00:00:00Z" : "2026-12-02T00:00:00Z");
  ASSERT_EQ(loaded.warnings.size(), 1u);
  EXPECT_EQ(loaded.warnings[0].path, "spec.edges[1].expires");
}

TEST(CidrGroup, its_blocks_stand_where_it_is_named_whichever_file_it_is_in) {
  const File files[] = {{"a.yaml",
                         "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p, "
                         "namespace: shop}\nspec:\n"
                         "  edges:\n  - {name: out, from: {matchLabels: {app: web}}, ports: [any],\n"
                         "     to: [{cidr: 192.0.2.0/24}, {cidrGroup: corp}, {cidrGroup: home}]}\n"},
                        {"b.yaml",
                         "apiVersion: bulkhead.io/v1alpha1\nkind: CidrGroup\nmetadata: {name: corp}\n"
                         "spec: {blocks: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {group: home}, {cidr: "
                         "172.16.0.0/12}, {cidr: \"fd00::/8\"}]}\n"
                         "---\napiVersion: bulkhead.io/v1alpha1\nkind: CidrGroup\nmetadata: {name: home}\n"
                         "spec: {blocks: [{cidr: 198.51.100.0/24}, {cidr: 198.51.100.0/24}]}\n"}};
  const Loaded loaded = load(files);
  for (const auto& error : loaded.errors) ADD_FAILURE() << format(error);
  ASSERT_EQ(loaded.policies.groups.size(), 2u);
  EXPECT_EQ(loaded.policies.groups[0].blocks.size(), 4u);
  const Rule& rule = loaded.policies.policies.at(0).clauses.at(0).rules.at(0);
  ASSERT_EQ(rule.peers.size(), 6u);
  EXPECT_EQ(
      describe_peers(rule),
      "192.0.2.0/24; group corp (10.0.0.0/8 except 10.1.0.0/16, 172.16.0.0/12, 198.51.100.0/24 and 1 more); "
      "group home (198.51.100.0/24)");
  const Cluster nobody;
  const Oracle oracle(nobody, loaded.policies, {});
  const Endpoint web{"web", "shop", "web", {{"app", "web"}}, "", {at("10.9.9.9")}, {}, false, false};
  const auto allows = [&](const char* to) {
    return oracle.judge({at("10.9.9.9"), &web, nullptr}, oracle.end(at(to)), Protocol::kTcp, 80).allow;
  };
  for (const char* in : {"10.2.0.1", "172.16.0.1", "198.51.100.7", "fd00::1", "192.0.2.1"})
    EXPECT_TRUE(allows(in)) << in;
  for (const char* out : {"10.1.0.1", "172.32.0.1", "198.51.101.7", "fe00::1"})
    EXPECT_FALSE(allows(out)) << out;
}

TEST(CidrGroup, what_would_grow_without_bound_is_refused) {
  std::string deep, wide;
  for (int i = 0; i < 20; ++i)
    deep += "---\napiVersion: bulkhead.io/v1alpha1\nkind: CidrGroup\nmetadata: {name: g" + std::to_string(i) +
            "}\nspec: {blocks: [" +
            (i < 19 ? "{group: g" + std::to_string(i + 1) + "}" : "{cidr: 10.0.0.0/8}") + "]}\n";
  const auto message = [](const Loaded& loaded) {
    return loaded.errors.empty() ? "" : loaded.errors[0].message;
  };
  EXPECT_NE(message(load_text(deep)).find("deeper than 16"), std::string::npos) << message(load_text(deep));
  wide = "apiVersion: bulkhead.io/v1alpha1\nkind: CidrGroup\nmetadata: {name: wide}\nspec:\n  blocks:\n";
  for (int i = 0; i < 9'000; ++i)
    wide += "  - {cidr: 10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24}\n";
  wide +=
      "---\napiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p}\nspec:\n  "
      "edges:\n";
  for (int i = 0; i < 120; ++i)
    wide +=
        "  - {name: e" + std::to_string(i) + ", from: {namespace: x}, to: {cidrGroup: wide}, ports: [any]}\n";
  EXPECT_NE(message(load_text(wide)).find("found 1080000 blocks where groups are named"), std::string::npos)
      << message(load_text(wide));
  for (int i = 0; i < 120; ++i)
    wide += "---\napiVersion: bulkhead.io/v1alpha1\nkind: CidrGroup\nmetadata: {name: in-" +
            std::to_string(i) + "}\nspec: {blocks: [{group: wide}]}\n";
  EXPECT_NE(message(load_text(wide)).find("blocks where groups lie in groups"), std::string::npos)
      << message(load_text(wide));
}

TEST(CidrGroup, names_of_no_group_are_no_flood) {
  std::string text = segmentation_policy("");
  for (std::size_t i = 0; i < 10 * Report::kErrorsMax; ++i)
    text += "  - {name: e" + std::to_string(i) +
            ", from: {any: {}}, to: {namespace: a}, ports: [any]}\n  - {name: f" + std::to_string(i) +
            ", from: {cidrGroup: none}, to: {namespace: a}, ports: [any]}\n";
  const auto loaded = load_text(text);
  ASSERT_EQ(loaded.errors.size(), Report::kErrorsMax + 1);
  EXPECT_EQ(loaded.errors.back().message, kMoreErrors);
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
