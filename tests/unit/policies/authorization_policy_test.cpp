#include <gtest/gtest.h>

#include "policies/load/port_ranges.h"
#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

std::string warnings(const std::string& text) {
  const Loaded loaded = load_text(text);
  std::string lines;
  for (const auto& error : loaded.errors) lines += "error: " + format(error) + "\n";
  for (const auto& warning : loaded.warnings) lines += format(warning) + "\n";
  return lines;
}

TEST(AuthorizationPolicy, says_what_it_cannot_judge_and_what_that_does) {
  EXPECT_EQ(
      warnings(authorization_policy("  rules: [{to: [{operation: {methods: [GET]}}]}]\n")),
      "p.yaml:5:39: spec.rules[0].to[0].operation.methods: found methods, which packets do not show: the "
      "whole rule allows nothing here\n");
  EXPECT_EQ(
      warnings(authorization_policy(
          "  action: DENY\n  rules: [{when: [{key: remote.ip, values: [10.0.0.1]}]}]\n")),
      "p.yaml:6:25: spec.rules[0].when[0].key: found remote.ip, which packets do not show: the rule denies "
      "here whatever this is\n");
  EXPECT_EQ(warnings(authorization_policy("  action: DENY\n")),
            "p.yaml:1:1: found DENY without rules, which denies nothing\n");
  EXPECT_EQ(
      warnings(
          authorization_policy("  rules: [{from: [{source: {principals: [other.org/ns/shop/sa/web]}}]}]\n")),
      "p.yaml:5:42: spec.rules[0].from[0].source.principals[0]: found the principal "
      "\"other.org/ns/shop/sa/web\", which nobody bears: expected cluster.local/ns/NAMESPACE/sa/ACCOUNT\n");
}

TEST(AuthorizationPolicy, audit_and_dry_runs_are_audited) {
  const auto only = [](const std::string& text) {
    Loaded loaded = load_text(text);
    EXPECT_TRUE(loaded.ok() && loaded.warnings.empty()) << text;
    return loaded.policies.policies.at(0);
  };
  const Policy audit = only(authorization_policy("  action: AUDIT\n  rules: [{}]\n"));
  EXPECT_EQ(audit.mode, Mode::kAudit);
  ASSERT_EQ(audit.clauses.size(), 1u);
  EXPECT_EQ(audit.clauses[0].rules[0].action, Action::kDeny);
  const auto annotated = [&](const char* value) {
    return only(
        std::string(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, annotations: "
            "{istio.io/dry-run: \"") +
        value + "\"}}\nspec: {}\n");
  };
  EXPECT_EQ(annotated("true").mode, Mode::kAudit);
  EXPECT_EQ(annotated("true").clauses.size(), 1u);
  EXPECT_EQ(annotated("false").mode, Mode::kEnforce);
}

TEST(AuthorizationPolicy, is_of_the_mesh_tier_and_about_ingress_alone) {
  const Loaded loaded = load_text(authorization_policy(
      "  selector: {matchLabels: {app: web}}\n  rules: [{from: [{source: {namespaces: [\"sh*\"]}}], to: "
      "[{operation: {ports: [\"80\"]}}]}]\n"));
  ASSERT_TRUE(loaded.ok()) << format(loaded.errors.front());
  const Policy& policy = loaded.policies.policies.at(0);
  EXPECT_EQ(policy.tier, Tier::kMesh);
  ASSERT_EQ(policy.clauses.size(), 1u);
  EXPECT_EQ(policy.clauses[0].direction, Direction::kIngress);
  const auto& rules = policy.clauses[0].rules;
  ASSERT_EQ(rules.size(), 3u) << "its own, its own node, and nobody else";
  EXPECT_EQ(rules[0].name, "rules[0]");
  EXPECT_EQ(describe_peers(rules[0]), "namespace sh*");
  EXPECT_EQ(describe_ports(rules[0]), "tcp/80");
  EXPECT_EQ(rules[2].name, "otherwise");
  EXPECT_EQ(rules[2].action, Action::kDeny);
}

/// Each would take minutes, put together as written.
TEST(AuthorizationPolicy, combinations_are_bounded) {
  std::string addresses, sources, conditions, operations;
  for (int i = 0; i < 5'000; ++i) {
    const std::string comma = i == 0 ? "" : ", ";
    addresses += comma + "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256);
    conditions += comma + "{key: source.principal, values: [a]}";
    operations += comma + "{operation: {ports: [\"" + std::to_string(2 * i + 1) + "\"]}}";
    if (i < 500) sources += comma + "{source: {ipBlocks: [10.0.0.0/8]}}";
  }
  const std::string some = "{ipBlocks: [" + addresses + "]";
  const auto first = [](const std::string& rule) {
    const std::string all = refusal(authorization_policy("  rules:\n  - " + rule + "\n"));
    return all.substr(0, all.find('\n'));
  };
  const std::string limit =
      ": found more than 4000000 combinations of this policy's sources, conditions and ports, which is the "
      "limit";
  EXPECT_EQ(first("from: [{source: " + some + "}}]"), "");
  EXPECT_EQ(first("from: [{source: " + some + ", notIpBlocks: [" + addresses + "]}}]"),
            "p.yaml:6:5: spec.rules[0]" + limit);
  EXPECT_EQ(
      first("from: [{source: " + some + "}}]\n    when: [{key: source.ip, values: [" + addresses + "]}]"),
      "p.yaml:7:12: spec.rules[0].when[0]" + limit);
  EXPECT_TRUE(first("from: [" + sources + "]\n    when: [" + conditions + "]").ends_with(limit));
  EXPECT_TRUE(first("to: [" + operations + "]").ends_with(limit));
  std::string rules = "  rules: [{}";
  for (int i = 0; i < 600; ++i) rules += ", {}";
  EXPECT_EQ(refusal(authorization_policy(rules + "]\n")),
            "p.yaml:5:10: spec.rules: found 601 rules, expected at most 512");
}

TEST(PortRanges, complement_unite_and_intersect) {
  using Ranges = std::vector<PortRanges::Range>;
  EXPECT_EQ(PortRanges::of({80, 81, 443}).ranges(), (Ranges{{80, 81}, {443, 443}}));
  EXPECT_EQ(PortRanges::of({1, 80}).complement().ranges(), (Ranges{{0, 0}, {2, 79}, {81, 65535}}));
  EXPECT_EQ(PortRanges::of({0, 65535}).complement().ranges(), (Ranges{{1, 65534}}));
  EXPECT_TRUE(PortRanges::all().complement().ranges().empty());
  EXPECT_EQ(PortRanges::of({80, 443}).intersected(PortRanges::of({443, 8080})).ranges(),
            (Ranges{{443, 443}}));
  EXPECT_EQ(PortRanges::of({80}).united(PortRanges::of({81})).ranges(), (Ranges{{80, 81}}));
}

TEST(AuthorizationPolicy, trust_domain_and_root_namespace_are_those_of_the_mesh) {
  LoadOptions options;
  options.mesh = {"prod.example", "mesh"};
  const std::string text =
      "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: "
      "mesh}\nspec:\n"
      "  rules: [{from: [{source: {principals: [prod.example/ns/shop/sa/web]}}, {source: {serviceAccounts: "
      "[shop/api]}}]}]\n";
  const Loaded loaded = load_text(text, options);
  ASSERT_TRUE(loaded.ok());
  EXPECT_TRUE(loaded.warnings.empty());
  const Clause& clause = loaded.policies.policies.at(0).clauses.at(0);
  EXPECT_EQ(clause.subject.namespace_name, std::nullopt) << "of every namespace";
  EXPECT_TRUE(std::get<Source>(clause.rules[0].peers[0]).matches_identity("shop", "web"));
  EXPECT_TRUE(std::get<Source>(clause.rules[0].peers[1]).matches_identity("shop", "api"));
  const Loaded other = load_text(text);
  EXPECT_EQ(other.warnings.size(), 1u) << "nobody bears that principal";
  EXPECT_EQ(other.policies.policies.at(0).clauses.at(0).subject.namespace_name, "mesh");
}

}  // namespace
}  // namespace bulkhead::policies
