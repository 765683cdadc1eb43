// The tiers, in tables: order, passing, provenance, and what is said about policies of one priority.
#include "tests/unit/compile/town.h"

namespace bulkhead::compile {
namespace {

using policies::Action;
using policies::Tier;

policies::Policy tiered(Tier tier, std::uint32_t priority, const std::string& name, Action action,
                        policies::Peer peer, std::uint16_t port) {
  static std::uint32_t line = 100;
  policies::Rule rule = allow(std::move(peer), tcp(port));
  rule.action = action;
  rule.origin.line = ++line;
  return {"ClusterNetworkPolicy",
          "",
          name,
          {{policies::Direction::kIngress, app("shop", "web"), false, {std::move(rule)}}},
          {"c.yaml", line - 1, 1},
          tier,
          priority};
}

std::string policy_of(const image::View& view, std::uint32_t rule) {
  return rule == 0 ? "" : std::string(view.policy_text(view.policies[view.rules[rule].policy].name));
}

image::Passed passed(const image::View& view, const std::string& source, const std::string& destination,
                     std::uint16_t port) {
  return image::passed(view, image::kIngress,
                       view.record(bound(view, destination).record).subject[image::kIngress],
                       view.record(bound(view, source).record).peer[image::kIngress],
                       image::port_class(view, image::kTcp, port));
}

TEST(Tiers, lower_priority_number_is_asked_first_and_a_pass_leaves_the_tier) {
  Town town;  // the NetworkPolicy "web" admits api on 80
  town.policies.policies.push_back(
      tiered(Tier::kPlatform, 20, "late", Action::kDeny, policies::Everyone{}, 80));
  town.policies.policies.push_back(
      tiered(Tier::kPlatform, 10, "early", Action::kPass, app("shop", "api"), 80));
  town.policies.policies.push_back(
      tiered(Tier::kPlatform, 10, "open", Action::kAllow, app("shop", "api"), 81));
  town.policies.policies.push_back(
      tiered(Tier::kBaseline, 0, "closed", Action::kDeny, policies::Everyone{}, 82));
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  const auto by_web = judge(view, "10.0.0.3", "10.0.0.1", 80);
  EXPECT_TRUE(by_web.allowed());
  EXPECT_EQ(policy_of(view, by_web.rule), "web");
  EXPECT_EQ(policy_of(view, passed(view, "10.0.0.3", "10.0.0.1", 80).platform), "early");
  EXPECT_EQ(policy_of(view, judge(view, "192.168.0.1", "10.0.0.1", 80).rule), "late") << "even its own node";
  EXPECT_EQ(policy_of(view, judge(view, "10.0.0.3", "10.0.0.1", 81).rule), "open");
  EXPECT_EQ(judge(view, "10.0.0.3", "10.0.0.1", 82).fate, abi::Fate::kDeniedDefault) << "baseline not asked";
  EXPECT_TRUE(judge(view, "192.168.0.1", "10.0.0.1", 82).allowed()) << "its own node passes isolation";
  EXPECT_TRUE(output.conflicts.empty());

  const image::Rule& rule = view.rules[judge(view, "10.0.0.3", "10.0.0.1", 81).rule];
  EXPECT_EQ(view.policies[rule.policy].tier, image::kPlatformTier);
  EXPECT_EQ(view.policies[rule.policy].priority, 10);
}

TEST(Tiers, baseline_answers_where_nothing_isolates) {
  Town town;
  town.policies.policies = {tiered(Tier::kBaseline, 5, "closed", Action::kDeny, policies::Everyone{}, 82),
                            tiered(Tier::kBaseline, 4, "pass", Action::kPass, app("shop", "api"), 82)};
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  EXPECT_EQ(judge(view, "192.168.0.1", "10.0.0.1", 82).fate, abi::Fate::kDeniedPolicy) << "own node too";
  EXPECT_TRUE(judge(view, "10.0.0.3", "10.0.0.1", 82).allowed()) << "passed to the posture";
  EXPECT_EQ(policy_of(view, passed(view, "10.0.0.3", "10.0.0.1", 82).baseline), "pass");
  EXPECT_TRUE(judge(view, "10.0.0.2", "10.0.0.1", 83).allowed()) << "no implicit isolation";
}

TEST(Tiers, of_one_priority_deny_beats_pass_beats_allow_and_each_loser_is_reported_with_a_packet) {
  Town town;
  town.policies.policies = {tiered(Tier::kPlatform, 7, "a", Action::kAllow, policies::Everyone{}, 80),
                            tiered(Tier::kPlatform, 7, "b", Action::kPass, app("shop", "api"), 80),
                            tiered(Tier::kPlatform, 7, "c", Action::kDeny, app("bank", "vault"), 80),
                            tiered(Tier::kPlatform, 6, "first", Action::kAllow, app("shop", "web"), 80)};
  town.policies.policies[0].clauses[0].rules[0].origin.line = 11;
  town.policies.policies[1].clauses[0].rules[0].origin.line = 12;
  town.policies.policies[2].clauses[0].rules[0].origin.line = 13;
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  EXPECT_EQ(policy_of(view, judge(view, "203.0.113.9", "10.0.0.1", 80).rule), "a");
  EXPECT_EQ(policy_of(view, passed(view, "10.0.0.3", "10.0.0.1", 80).platform), "b");
  EXPECT_EQ(policy_of(view, judge(view, "10.0.1.1", "10.0.0.1", 80).rule), "c");
  ASSERT_EQ(output.conflicts.size(), 2u);
  EXPECT_EQ(output.conflicts[0].message,
            "ClusterNetworkPolicy b, rule 'ingress[0]' (p.yaml:12), pass and ClusterNetworkPolicy a, rule "
            "'ingress[0]' (p.yaml:11), allow disagree at the same priority, platform 7, about the ingress of "
            "shop/api-1 -> shop/web-1 on tcp/80: pass counts; give them different priorities");
  EXPECT_EQ(output.conflicts[1].winner.line, 13u);
  EXPECT_EQ(output.conflicts[1].source, *policies::parse_address("10.0.1.1"));
  EXPECT_EQ(output.conflicts[1].port, 80);
}

TEST(Tiers, conflict_about_the_world_has_an_address_that_nobody_owns) {
  Town town;
  const policies::IpBlock outer{*policies::parse_block("10.0.0.0/29"), {}},
      inner{*policies::parse_block("10.0.0.0/30"), {}};
  town.policies.policies = {tiered(Tier::kPlatform, 7, "a", Action::kAllow, outer, 80),
                            tiered(Tier::kPlatform, 7, "b", Action::kDeny, outer, 80),
                            tiered(Tier::kPlatform, 6, "inner", Action::kPass, inner, 80)};
  town.add("shop", "more", "more", "10.0.0.4");
  const Output output = must_compile(town.input());
  ASSERT_EQ(output.conflicts.size(), 1u);
  EXPECT_EQ(policies::format(output.conflicts[0].source), "10.0.0.4") << "an endpoint where there is one";
  town.cluster.endpoints.back().addresses = {*policies::parse_address("10.9.0.4")};
  const Output outside = must_compile(town.input());
  ASSERT_EQ(outside.conflicts.size(), 1u);
  EXPECT_EQ(policies::format(outside.conflicts[0].source), "10.0.0.4");
  EXPECT_NE(outside.conflicts[0].message.find("10.0.0.4 -> shop/web-1"), std::string::npos);
}

TEST(Tiers, dispute_that_a_tier_above_answers_is_not_reported) {
  Town town;
  town.policies.policies = {tiered(Tier::kPlatform, 0, "above", Action::kAllow, policies::Everyone{}, 80),
                            tiered(Tier::kBaseline, 7, "a", Action::kAllow, policies::Everyone{}, 80),
                            tiered(Tier::kBaseline, 7, "b", Action::kDeny, policies::Everyone{}, 80)};
  EXPECT_TRUE(must_compile(town.input()).conflicts.empty());
  town.policies.policies[0].clauses.clear();
  EXPECT_EQ(must_compile(town.input()).conflicts.size(), 1u);
}

TEST(Tiers, node_selectors_mean_the_addresses_of_nodes_with_these_labels) {
  Town town;
  town.cluster.nodes[1].labels = {{"zone", "edge"}};
  const policies::NodeSelector edge{{{{"zone", policies::Operator::kIn, {"edge"}}}}};
  town.policies.policies = {tiered(Tier::kPlatform, 1, "edge", Action::kDeny, edge, 80)};
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  EXPECT_FALSE(judge(view, "192.168.0.2", "10.0.0.1", 80).allowed());
  EXPECT_TRUE(judge(view, "192.168.0.1", "10.0.0.1", 80).allowed());
  EXPECT_TRUE(judge(view, "10.0.1.1", "10.0.0.1", 80).allowed()) << "a pod on that node is no node";
}

}  // namespace
}  // namespace bulkhead::compile
