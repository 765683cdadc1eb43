// What the kinds of policy.networking.k8s.io become, and their limits.
#include <gtest/gtest.h>

#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

std::string repeated(int count, const std::string& line) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line;
  return text;
}

TEST(ClusterPolicy, kinds_have_their_tier_and_priority_and_no_namespace) {
  const auto loaded = load_text(
      cluster_object("v1alpha1", "AdminNetworkPolicy", "  priority: 7\n  subject: {namespaces: {}}\n") +
      "---\n" + cluster_object("v1alpha1", "BaselineAdminNetworkPolicy", "  subject: {namespaces: {}}\n") +
      "---\n" +
      cluster_object("v1beta1", "ClusterNetworkPolicy",
                     "  tier: Baseline\n  priority: 1000\n  subject: {namespaces: {}}\n"));
  ASSERT_TRUE(loaded.ok()) << format(loaded.errors.front());
  const auto& policies = loaded.policies.policies;
  ASSERT_EQ(policies.size(), 3u);
  EXPECT_EQ(describe(policies[0]), "AdminNetworkPolicy default");
  EXPECT_EQ(policies[0].tier, Tier::kPlatform);
  EXPECT_EQ(policies[0].priority, 7u);
  EXPECT_EQ(policies[1].tier, Tier::kBaseline);
  EXPECT_EQ(policies[1].priority, kPriorityMax + 1);
  EXPECT_EQ(policies[2].tier, Tier::kBaseline);
  EXPECT_EQ(policies[2].priority, 1000u);
  for (const auto& policy : policies) EXPECT_TRUE(policy.clauses.empty()) << "no rules, no effect";
}

TEST(ClusterPolicy, rules_peers_and_ports) {
  const auto loaded = load_text(cluster_object(
      "v1alpha1", "AdminNetworkPolicy",
      "  priority: 7\n"
      "  subject: {pods: {namespaceSelector: {matchLabels: {a: b}}, podSelector: {}}}\n"
      "  ingress:\n"
      "  - {name: Any name at all, action: Pass, from: [{namespaces: {matchLabels: {c: d}}}], ports: "
      "[{portNumber: {port: 80}}, {portNumber: {port: 53, protocol: UDP}}, {portRange: {start: 1, end: 2, "
      "protocol: SCTP}}, {namedPort: web}]}\n"
      "  egress:\n"
      "  - {action: Deny, to: [{nodes: {matchLabels: {e: f}}}, {nodes: {}}, {networks: [10.0.0.1/8, "
      "fd00::/8]}]}\n"));
  ASSERT_TRUE(loaded.ok()) << format(loaded.errors.front());
  const auto& clauses = loaded.policies.policies[0].clauses;
  ASSERT_EQ(clauses.size(), 2u);
  EXPECT_FALSE(clauses[0].isolates);
  EXPECT_EQ(describe(Peer{clauses[0].subject}), "every pod in namespaces a=b");
  EXPECT_EQ(clauses[0].rules[0].name, "Any name at all");
  EXPECT_EQ(clauses[0].rules[0].action, Action::kPass);
  EXPECT_EQ(describe_peers(clauses[0].rules[0]), "every pod in namespaces c=d");
  EXPECT_EQ(describe_ports(clauses[0].rules[0]), "tcp/80, udp/53, sctp/1-2, tcp/web, udp/web, sctp/web");
  EXPECT_EQ(clauses[1].rules[0].name, "egress[0]");
  EXPECT_EQ(describe_peers(clauses[1].rules[0]), "nodes e=f; every node; 10.0.0.0/8; fd00::/8");
  EXPECT_TRUE(clauses[1].rules[0].all_ports);
}

TEST(ClusterPolicy, lone_pod_selector_means_every_namespace_from_v1alpha2_on) {
  const auto loaded = load_text(cluster_object("v1alpha2", "ClusterNetworkPolicy",
                                               "  tier: Admin\n  priority: 0\n"
                                               "  subject: {pods: {podSelector: {matchLabels: {a: b}}}}\n"
                                               "  ingress: [{action: Accept, from: [{namespaces: {}}]}]\n"));
  ASSERT_TRUE(loaded.ok()) << format(loaded.errors.front());
  EXPECT_EQ(describe(Peer{loaded.policies.policies[0].clauses[0].subject}), "pods a=b in every namespace");
}

TEST(ClusterPolicy, accept_rule_with_domain_names_matches_nothing_and_says_so) {
  const auto loaded = load_text(cluster_object("v1alpha2", "ClusterNetworkPolicy",
                                               "  tier: Admin\n  priority: 0\n  subject: {namespaces: {}}\n"
                                               "  egress: [{action: Accept, to: [{networks: [10.0.0.0/8]}, "
                                               "{domainNames: [\"*.kubernetes.io\"]}]}]\n"));
  ASSERT_TRUE(loaded.ok()) << format(loaded.errors.front());
  EXPECT_TRUE(loaded.policies.policies[0].clauses[0].rules[0].peers.empty());
  ASSERT_EQ(loaded.warnings.size(), 1u);
  EXPECT_EQ(
      format(loaded.warnings[0]),
      "p.yaml:8:74: spec.egress[0].to[1].domainNames: found domainNames, which are not resolved here: as the "
      "API demands, the whole rule \"egress[0]\" matches nothing");
}

TEST(ClusterPolicy, rule_with_an_unknown_peer_fails_closed_and_says_so) {
  const auto loaded = load_text(cluster_object(
      "v1alpha2", "ClusterNetworkPolicy",
      "  tier: Admin\n  priority: 0\n  subject: {namespaces: {}}\n  egress:\n"
      "  - {action: Accept, to: [{networks: [10.0.0.0/8]}, {services: {matchLabels: {a: b}}}]}\n"
      "  - {action: Pass, name: later, to: [{}], protocols: [{tcp: {destinationPort: {number: 80}}}]}\n"));
  ASSERT_TRUE(loaded.ok()) << format(loaded.errors.front());
  const auto& rules = loaded.policies.policies[0].clauses[0].rules;
  EXPECT_TRUE(rules[0].peers.empty());
  EXPECT_EQ(rules[1].action, Action::kDeny);
  EXPECT_EQ(describe_peers(rules[1]) + " " + describe_ports(rules[1]), "everyone every port");
  ASSERT_EQ(loaded.warnings.size(), 2u);
  EXPECT_EQ(format(loaded.warnings[0]),
            "p.yaml:9:53: spec.egress[0].to[1]: found a peer of an unknown kind, \"services\": as the API "
            "demands, the whole rule \"egress[0]\" matches nothing");
  EXPECT_EQ(format(loaded.warnings[1]),
            "p.yaml:10:38: spec.egress[1].to[0]: found an empty peer: as the API demands, the whole rule "
            "\"later\" denies everything");
}

TEST(ClusterPolicy, lists_are_bounded_by_their_version) {
  const std::string deny = "  - {action: Deny, from: [{namespaces: {}}]}\n";
  const auto admin = [&](int rules) {
    return refusal(
        cluster_object("v1alpha1", "AdminNetworkPolicy",
                       "  priority: 1\n  subject: {namespaces: {}}\n  ingress:\n" + repeated(rules, deny)));
  };
  const auto cluster = [&](const std::string& rules) {
    return refusal(cluster_object("v1alpha2", "ClusterNetworkPolicy",
                                  "  tier: Admin\n  priority: 1\n  subject: {namespaces: {}}\n" + rules));
  };
  EXPECT_EQ(admin(100), "");
  EXPECT_EQ(admin(101), "p.yaml:8:3: spec.ingress: found 101 rules, expected at most 100");
  EXPECT_EQ(cluster("  ingress:\n" + repeated(25, deny)), "");
  EXPECT_EQ(cluster("  ingress:\n" + repeated(26, deny)),
            "p.yaml:9:3: spec.ingress: found 26 rules, expected at most 25");
  EXPECT_EQ(cluster("  ingress:\n  - action: Deny\n    from:\n" + repeated(26, "    - namespaces: {}\n")),
            "p.yaml:11:5: spec.ingress[0].from: found 26 peers, expected at most 25");
  EXPECT_EQ(cluster("  egress:\n  - action: Deny\n    to: [{namespaces: {}}]\n    protocols:\n" +
                    repeated(26, "    - tcp: {destinationPort: {number: 80}}\n")),
            "p.yaml:12:5: spec.egress[0].protocols: found 26 protocols, expected at most 25");
  std::string networks;
  for (int i = 0; i < 26; ++i) networks += "      - 10." + std::to_string(i) + ".0.0/16\n";
  EXPECT_EQ(cluster("  egress:\n  - action: Deny\n    to:\n    - networks:\n" + networks),
            "p.yaml:12:7: spec.egress[0].to[0].networks: found 26 networks, expected at most 25");
}

TEST(SegmentationPolicy, edges_outside_the_application_tier_isolate_nobody_and_may_pass) {
  const auto text = [](const std::string& tier) {
    return "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p, namespace: "
           "shop}\nspec:\n" +
           tier + "  edges: [{name: e, from: {namespace: shop}, to: {namespace: bank}, ports: [any]}]\n";
  };
  const auto platform = load_text(text("  tier: platform\n  priority: 3\n"));
  ASSERT_TRUE(platform.ok()) << format(platform.errors.front());
  EXPECT_EQ(platform.policies.policies[0].tier, Tier::kPlatform);
  EXPECT_EQ(platform.policies.policies[0].priority, 3u);
  for (const auto& clause : platform.policies.policies[0].clauses) EXPECT_FALSE(clause.isolates);
  const auto application = load_text(text("  tier: application\n"));
  ASSERT_TRUE(application.ok());
  for (const auto& clause : application.policies.policies[0].clauses) EXPECT_TRUE(clause.isolates);
}

TEST(SegmentationPolicy, may_be_audited) {
  const auto mode = [](const std::string& field) {
    const auto loaded =
        load_text("apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p}\nspec:\n" +
                  field + "  edges: [{name: e, from: {any: {}}, to: {any: {}}, ports: [any]}]\n");
    EXPECT_TRUE(loaded.errors.empty());
    return loaded.policies.policies.at(0).mode;
  };
  EXPECT_EQ(mode(""), Mode::kEnforce);
  EXPECT_EQ(mode("  mode: enforce\n"), Mode::kEnforce);
  EXPECT_EQ(mode("  mode: audit\n"), Mode::kAudit);
}

TEST(SegmentationPolicy, says_what_becomes_of_established_conversations) {
  const auto established = [](const std::string& field) {
    const auto loaded =
        load_text("apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: p}\nspec:\n" +
                  field + "  edges: [{name: e, from: {any: {}}, to: {any: {}}, ports: [any]}]\n");
    EXPECT_TRUE(loaded.errors.empty());
    return loaded.policies.policies.at(0).established;
  };
  EXPECT_EQ(established(""), Established::kReevaluate);
  EXPECT_EQ(established("  established: reevaluate\n"), Established::kReevaluate);
  EXPECT_EQ(established("  established: keep\n"), Established::kKeep);
  EXPECT_EQ(established("  established: reset\n"), Established::kReset);
}

}  // namespace
}  // namespace bulkhead::policies
