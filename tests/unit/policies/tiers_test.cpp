// The worked example at the top of policies/model/policy.h, asked of the oracle.
#include <gtest/gtest.h>

#include "policies/model/address.h"
#include "policies/oracle/oracle.h"

namespace bulkhead::policies {
namespace {

AddressBytes at(const char* text) {
  return parse_address(text).value();
}

Selector label(const char* key, const char* value) {
  return {{{key, Operator::kIn, {value}}}};
}

Policy about_web(Tier tier, std::uint32_t priority, const char* name, Action action, Peer peer) {
  Rule rule;
  rule.name = "only";
  rule.action = action;
  rule.peers = {std::move(peer)};
  rule.all_ports = true;
  const EndpointSelector web{std::nullopt, {}, label("app", "web")};
  return {"Kind", "",   name,    {{Direction::kIngress, web, tier == Tier::kApplication, {rule}}},
          {},     tier, priority};
}

Peer pods(const char* key, const char* value) {
  return EndpointSelector{std::nullopt, {}, label(key, value)};
}

class Tiers : public testing::Test {
 protected:
  Tiers() {
    cluster_.nodes = {{"n", {{"zone", "edge"}}, {at("192.168.0.1")}}};
    add("web", "10.0.0.1", {{"app", "web"}});
    add("api", "10.0.0.2", {{"app", "api"}});
    add("red", "10.0.0.3", {{"app", "api"}, {"team", "red"}});
    add("prometheus", "10.0.0.4", {{"app", "prometheus"}});
    add("other", "10.0.0.5", {});
    policies_.policies = {
        about_web(Tier::kPlatform, 10, "guard", Action::kDeny, pods("team", "red")),
        about_web(Tier::kPlatform, 20, "scrape", Action::kAllow, pods("app", "prometheus")),
        about_web(Tier::kApplication, 0, "shop", Action::kAllow, pods("app", "api")),
        about_web(Tier::kBaseline, 0, "closed", Action::kDeny, Everyone{}),
    };
  }

  void add(const char* name, const char* address, Labels labels) {
    cluster_.endpoints.push_back({name, "shop", name, std::move(labels), "", {at(address)}, {}, true, false});
  }

  void drop(const char* name) {
    std::erase_if(policies_.policies, [&](const Policy& policy) { return policy.name == name; });
  }

  /// What the web's ingress says: "allow by shop".
  std::string ask(const char* source) const {
    const Oracle oracle(cluster_, policies_, {}, "n");
    const Side side = oracle.judge(at(source), at("10.0.0.1"), Protocol::kTcp, 80).ingress;
    std::string text = side.allow ? "allow" : "deny";
    if (side.reason == Reason::kOwnNode) text += " as own node";
    if (side.reason == Reason::kPosture) text += " by posture";
    if (side.policy != nullptr) text += " by " + side.policy->name;
    for (const Passed& passed : {side.mesh, side.platform, side.baseline})
      if (passed.policy != nullptr) text += ", passed by " + passed.policy->name;
    return text;
  }

  Cluster cluster_;
  PolicySet policies_;
};

TEST_F(Tiers, each_tier_answers_in_its_turn) {
  EXPECT_EQ(ask("10.0.0.3"), "deny by guard");
  EXPECT_EQ(ask("10.0.0.4"), "allow by scrape");
  EXPECT_EQ(ask("10.0.0.2"), "allow by shop");
  EXPECT_EQ(ask("10.0.0.5"), "deny by shop") << "isolated; closed is not asked";
  EXPECT_EQ(ask("192.168.0.1"), "allow as own node");
  drop("shop");
  EXPECT_EQ(ask("10.0.0.5"), "deny by closed");
  EXPECT_EQ(ask("192.168.0.1"), "deny by closed") << "nothing isolates: the own node has no exception yet";
  drop("closed");
  EXPECT_EQ(ask("10.0.0.5"), "allow by posture") << "the platform tier isolates nobody";
}

TEST_F(Tiers, of_one_priority_deny_beats_pass_beats_allow) {
  policies_.policies.push_back(
      about_web(Tier::kPlatform, 20, "shared", Action::kPass, pods("app", "prometheus")));
  EXPECT_EQ(ask("10.0.0.4"), "deny by shop, passed by shared");
  policies_.policies.push_back(
      about_web(Tier::kPlatform, 20, "wall", Action::kDeny, pods("app", "prometheus")));
  EXPECT_EQ(ask("10.0.0.4"), "deny by wall");
  policies_.policies.push_back(
      about_web(Tier::kPlatform, 19, "sooner", Action::kAllow, pods("app", "prometheus")));
  EXPECT_EQ(ask("10.0.0.4"), "allow by sooner");
}

TEST_F(Tiers, pass_leads_through_the_tiers_to_the_posture) {
  drop("shop");
  policies_.policies.push_back(about_web(Tier::kPlatform, 0, "on", Action::kPass, pods("app", "api")));
  EXPECT_EQ(ask("10.0.0.3"), "deny by closed, passed by on")
      << "a pass leaves the whole tier, guard included";
  policies_.policies.insert(policies_.policies.begin(),
                            about_web(Tier::kBaseline, 0, "and-on", Action::kPass, pods("team", "red")));
  EXPECT_EQ(ask("10.0.0.3"), "deny by closed, passed by on") << "closed denies at the same priority";
  for (auto& policy : policies_.policies)
    if (policy.name == "closed") policy.priority = 1;
  EXPECT_EQ(ask("10.0.0.3"), "allow by posture, passed by on, passed by and-on");
}

TEST_F(Tiers, admin_rules_and_node_selectors_reach_the_own_node) {
  policies_.policies.push_back(
      about_web(Tier::kPlatform, 0, "nodes", Action::kDeny, NodeSelector{label("zone", "edge")}));
  EXPECT_EQ(ask("192.168.0.1"), "deny by nodes");
  EXPECT_EQ(ask("10.0.0.2"), "allow by shop") << "a pod on a node is not the node";
}

TEST_F(Tiers, quarantine_is_asked_before_them_all_at_both_ends) {
  const Quarantine quarantines[] = {{"shop", "prometheus", "odd", "alice"}};
  const Oracle oracle(cluster_, policies_, {Action::kAllow, false}, "n", quarantines);
  for (const char* other : {"10.0.0.1", "192.168.0.1", "198.51.100.1"}) {
    const Judgement out = oracle.judge(at("10.0.0.4"), at(other), Protocol::kTcp, 80);
    EXPECT_FALSE(out.allow) << other;
    EXPECT_EQ(out.egress.quarantine, &quarantines[0]) << other;
    const Judgement in = oracle.judge(at(other), at("10.0.0.4"), Protocol::kTcp, 80);
    EXPECT_FALSE(in.allow) << other;
    EXPECT_EQ(in.ingress.reason, Reason::kQuarantined) << other;
  }
  EXPECT_EQ(oracle.judge(at("10.0.0.4"), at("10.0.0.1"), Protocol::kTcp, 80).ingress.reason,
            Reason::kQuarantined)
      << "the other end denies it for itself, too";
  EXPECT_TRUE(oracle.judge(at("10.0.0.4"), at("10.0.0.4"), Protocol::kTcp, 80).allow) << "itself";
  EXPECT_TRUE(oracle.judge(at("10.0.0.2"), at("10.0.0.1"), Protocol::kTcp, 80).allow) << "others as before";
}

}  // namespace
}  // namespace bulkhead::policies
