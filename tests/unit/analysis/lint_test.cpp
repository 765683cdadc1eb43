#include "controlplane/analysis/lint.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "controlplane/analysis/party.h"
#include "controlplane/analysis/redundancy.h"
#include "policies/load/load.h"
#include "policies/model/address.h"
#include "tests/unit/analysis/every_packet.h"

namespace bulkhead::analysis {
namespace {

policies::Endpoint pod(const char* home, const char* name, const char* app, const char* address,
                       std::vector<policies::NamedPort> ports = {}) {
  policies::Endpoint endpoint;
  endpoint.id = std::string(home) + "-" + name;
  endpoint.namespace_name = home;
  endpoint.name = name;
  endpoint.labels = {{"app", app}};
  endpoint.addresses = {*policies::parse_address(address)};
  endpoint.ports = std::move(ports);
  endpoint.kubernetes = true;
  return endpoint;
}

policies::Cluster shop() {
  policies::Cluster cluster;
  for (const char* home : {"shop", "lab"})
    cluster.namespaces.push_back({home, {{"kubernetes.io/metadata.name", home}}});
  cluster.endpoints = {pod("shop", "web", "web", "10.0.0.1", {{"https", policies::Protocol::kTcp, 443}}),
                       pod("shop", "db", "db", "10.0.0.2", {{"psql", policies::Protocol::kTcp, 5432}}),
                       pod("lab", "job", "job", "10.0.1.1")};
  return cluster;
}

/// "check:line" of each finding about a NetworkPolicy in namespace shop with this spec, which starts at line 4.
std::vector<std::string> found(const std::string& spec, std::vector<Finding>* findings = nullptr) {
  const policies::File file{
      "p.yaml",
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: "
      "shop}\nspec:\n" +
          spec};
  const policies::Loaded loaded = policies::load(std::span(&file, 1));
  for (const policies::Error& error : loaded.errors) ADD_FAILURE() << policies::format(error);
  const Linted linted = lint(shop(), loaded.policies, {});
  EXPECT_EQ(linted.refusal, "");
  EXPECT_EQ(linted.unproven, 0u);
  std::vector<std::string> words;
  for (const Finding& finding : linted.findings) {
    words.push_back(std::string(name(finding.check)) + ":" + std::to_string(finding.origin.line));
    EXPECT_TRUE(!finding.fix.empty() || finding.witness) << words.back();
    EXPECT_EQ(finding.origin.file, "p.yaml");
  }
  if (findings != nullptr) *findings = linted.findings;
  return words;
}

using Words = std::vector<std::string>;

TEST(Lint, finds_nothing_in_a_policy_that_means_what_it_says) {
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{podSelector: {matchLabels: {app: web}}}]\n"
                  "    ports: [{port: psql}]\n"),
            Words{});
}

TEST(Lint, names_a_policy_that_no_endpoint_meets) {
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: dbb}}\n"
                  "  ingress: [{}]\n"),
            Words{"unmet-policy:1"});
}

TEST(Lint, names_a_selector_that_no_endpoint_meets_and_does_not_call_its_rule_redundant_too) {
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{podSelector: {matchLabels: {app: nobody}}}]\n"),
            Words{"empty-selector:7"});
}

TEST(Lint, names_the_endpoints_that_a_block_covers) {
  std::vector<Finding> findings;
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{ipBlock: {cidr: 10.0.1.0/24}}]\n"
                  "    ports: [{port: 5432}]\n",
                  &findings),
            Words{"block-covers-endpoints:7"});
  EXPECT_NE(findings.at(0).message.find("lab/job"), std::string::npos) << findings[0].message;
}

TEST(Lint, names_a_port_name_that_nobody_bears_and_those_that_they_bear) {
  std::vector<Finding> findings;
  const Words words = found(
      "  podSelector: {matchLabels: {app: db}}\n"
      "  ingress:\n"
      "  - from: [{podSelector: {matchLabels: {app: web}}}]\n"
      "    ports: [{port: postgres}, {port: 5432}]\n",
      &findings);
  EXPECT_EQ(words, Words{"unborne-port:7"});
  EXPECT_NE(findings.at(0).fix.find("tcp/psql"), std::string::npos) << findings[0].fix;
}

TEST(Lint, does_not_call_a_rule_shadowed_too_whose_ports_nobody_bears) {
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{podSelector: {matchLabels: {app: web}}}]\n"
                  "    ports: [{port: postgres}]\n"),
            Words{"unborne-port:7"});
}

TEST(Lint, asks_for_a_port_where_every_port_is_allowed_and_one_declared) {
  std::vector<Finding> findings;
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{podSelector: {matchLabels: {app: web}}}]\n",
                  &findings),
            Words{"any-port:7"});
  EXPECT_EQ(findings.at(0).fix, "ports: [tcp/5432]");
}

TEST(Lint, misses_dns_where_egress_is_isolated_and_not_where_nothing_is_allowed) {
  const std::string isolated =
      "  podSelector: {matchLabels: {app: web}}\n"
      "  policyTypes: [Egress]\n";
  EXPECT_EQ(found(isolated), Words{});
  const std::string rule =
      "  egress:\n  - to: [{podSelector: {matchLabels: {app: db}}}]\n    ports: [{port: 5432}]\n";
  EXPECT_EQ(found(isolated + rule), Words{"no-dns:1"});
  EXPECT_EQ(found(isolated + rule + "  - ports: [{port: 53, protocol: UDP}, {port: 53}]\n"), Words{});
  std::vector<Finding> findings;
  EXPECT_EQ(found(isolated + rule + "  - ports: [{port: 53, protocol: UDP}]\n", &findings),
            Words{"no-dns:1"});
  EXPECT_NE(findings.at(0).message.find("tcp/53"), std::string::npos);
}

// Isolation lets a pod talk to its own node: that is no name server unless some rule means it.
TEST(Lint, misses_dns_beside_a_node_that_nobody_asks) {
  policies::Cluster cluster = shop();
  cluster.nodes.push_back({"n1", {}, {*policies::parse_address("192.0.2.1")}});
  for (auto& endpoint : cluster.endpoints) endpoint.node = "n1";
  const auto checks = [&](const std::string& more) {
    const policies::File file{
        "p.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: "
        "shop}\nspec:\n  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Egress]\n"
        "  egress:\n  - to: [{podSelector: {matchLabels: {app: db}}}]\n    ports: [{port: 5432}]\n" +
            more};
    const policies::Loaded loaded = policies::load(std::span(&file, 1));
    Words words;
    for (const Finding& finding : lint(cluster, loaded.policies, {}).findings)
      words.push_back(std::string(name(finding.check)));
    return words;
  };
  const auto holds = [](const Words& words) { return std::count(words.begin(), words.end(), "no-dns") != 0; };
  EXPECT_TRUE(holds(checks("")));
  EXPECT_FALSE(holds(checks("  - ports: [{port: 53, protocol: UDP}, {port: 53}]\n")));
  EXPECT_FALSE(holds(checks(
      "  - to: [{ipBlock: {cidr: 192.0.2.1/32}}]\n    ports: [{port: 53, protocol: UDP}, {port: 53}]\n")));
}

TEST(Lint, tells_a_shadowed_rule_from_the_one_that_decides) {
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{podSelector: {}}]\n"
                  "    ports: [{port: 5000, endPort: 6000}]\n"
                  "  - from: [{podSelector: {matchLabels: {app: web}}}]\n"
                  "    ports: [{port: 5432}]\n"),
            Words{"shadowed:9"});
}

TEST(Lint, calls_a_rule_redundant_that_decides_and_changes_nothing) {
  EXPECT_EQ(found("  podSelector: {matchLabels: {app: db}}\n"
                  "  ingress:\n"
                  "  - from: [{podSelector: {matchLabels: {app: web}}}]\n"
                  "    ports: [{port: 5432}]\n"
                  "  - from: [{podSelector: {}}]\n"
                  "    ports: [{port: 5000, endPort: 6000}]\n"),
            Words{"redundant:7"});
}

constexpr char kEdges[] = R"(apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: p, namespace: shop}
spec:
  edges:
  - name: web-to-db
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: db}}
    ports: [tcp/5432]
  - name: not-by-night
    from: {matchLabels: {app: web}}
    to: {matchLabels: {app: db}}
    ports: [tcp/5000-6000]
    action: deny
)";

TEST(Lint, shows_a_packet_that_one_rule_denies_and_another_allows) {
  const policies::File file{"p.yaml", kEdges};
  const policies::Loaded loaded = policies::load(std::span(&file, 1));
  ASSERT_TRUE(loaded.ok());
  const Linted linted = lint(shop(), loaded.policies, {});
  const auto conflict = std::find_if(linted.findings.begin(), linted.findings.end(),
                                     [](const Finding& each) { return each.check == Check::kConflict; });
  ASSERT_NE(conflict, linted.findings.end());
  EXPECT_NE(conflict->object.find("not-by-night"), std::string::npos) << conflict->object;
  EXPECT_NE(conflict->message.find("web-to-db"), std::string::npos) << conflict->message;
  EXPECT_EQ(conflict->witness_text, "shop/web (10.0.0.1) -> shop/db (10.0.0.2) tcp/5432");
}

TEST(Lint, shows_a_packet_on_which_two_policies_of_one_priority_disagree) {
  const auto policy = [](const char* name, const char* action) {
    return "---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: " +
           std::string(name) +
           "}\nspec:\n  priority: 7\n  subject: {namespaces: {}}\n  ingress:\n  - action: " + action +
           "\n    from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: lab}}}]\n";
  };
  const policies::File file{"p.yaml", policy("one", "Allow") + policy("two", "Deny")};
  const policies::Loaded loaded = policies::load(std::span(&file, 1));
  for (const policies::Error& error : loaded.errors) ADD_FAILURE() << policies::format(error);
  const Linted linted = lint(shop(), loaded.policies, {});
  const auto conflict = std::find_if(linted.findings.begin(), linted.findings.end(), [](const Finding& each) {
    return each.check == Check::kConflict && each.fix == "give them different priorities";
  });
  ASSERT_NE(conflict, linted.findings.end());
  ASSERT_TRUE(conflict->witness);
  EXPECT_NE(conflict->message.find("disagree"), std::string::npos) << conflict->message;
  EXPECT_TRUE(conflict->witness_text.starts_with("lab/job (10.0.1.1) -> shop/")) << conflict->witness_text;
}

policies::PolicySet without(policies::PolicySet set, const Written& rule) {
  for (auto place = rule.places.rbegin(); place != rule.places.rend(); ++place) {
    auto& list = set.policies[rule.policy].clauses[place->clause].rules;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(place->rule));
  }
  return set;
}

/// Rules of one line are one written rule, as the edges of a SegmentationPolicy are: in each clause the first with an
/// action, or each rule by itself.
void number_lines(policies::PolicySet& set, bool edges) {
  std::uint32_t line = 100;
  for (auto& policy : set.policies)
    for (auto& clause : policy.clauses) {
      std::set<policies::Action> seen;
      for (auto& rule : clause.rules) {
        const bool edge = edges && seen.insert(rule.action).second;
        rule.origin = {"p.yaml", edge ? 1 + static_cast<std::uint32_t>(rule.action) : line++, 1};
        if (edge) rule.name = "edge";
      }
    }
}

std::size_t rules_of(const policies::PolicySet& set) {
  std::size_t count = 0;
  for (const auto& policy : set.policies)
    for (const auto& clause : policy.clauses) count += clause.rules.size();
  return count;
}

std::vector<Outcome> effects_of(const property::Scenario& scenario, const Compiled& whole,
                                const std::vector<Written>& rules) {
  return effects(whole_input(scenario.cluster, scenario.policies, scenario.posture),
                 Space(whole.view, whole.view), rules, 1'000'000'000);
}

/// The fast way, without a compile, says what compiling without rule after rule says; a disputed packet is one.
TEST(Lint, effects_are_those_of_leaving_out_each_rule_alone) {
  std::size_t none = 0, some = 0, disputed = 0;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    property::Scenario scenario = property::make_scenario(seed);
    if (scenario.cluster.endpoints.size() > 20) continue;
    number_lines(scenario.policies, seed % 2 == 0);
    if (rules_of(scenario.policies) > 30) continue;
    auto compiled = compile_all(scenario.cluster, scenario.policies, scenario.posture);
    ASSERT_TRUE(std::holds_alternative<std::unique_ptr<Compiled>>(compiled))
        << std::get<std::string>(compiled);
    const Compiled& whole = *std::get<std::unique_ptr<Compiled>>(compiled);
    const auto rules = written_rules(scenario.policies);
    const auto outcomes = effects_of(scenario, whole, rules);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      auto fewer = compile_all(scenario.cluster, without(scenario.policies, rules[i]), scenario.posture);
      const image::View& view = std::get<std::unique_ptr<Compiled>>(fewer)->view;
      const bool changes = !compare(Space(whole.view, view)).empty();
      EXPECT_EQ(outcomes[i].effect, changes ? Effect::kSome : Effect::kNone)
          << "seed " << seed << " rule " << i;
      ++(changes ? some : none);
      if (!outcomes[i].disputed) continue;
      ++disputed;
      EXPECT_EQ(rules[i].rule->action, policies::Action::kDeny);
      EXPECT_FALSE(judge(whole.view, *outcomes[i].disputed).allowed()) << "seed " << seed << " rule " << i;
      const image::Judgement after = judge(view, *outcomes[i].disputed);
      ASSERT_TRUE(after.allowed()) << "seed " << seed << " rule " << i;
      const std::uint32_t other = after.rule != 0 ? after.rule : after.egress_rule;
      ASSERT_NE(other, 0u) << "seed " << seed << " rule " << i;
      EXPECT_EQ(outcomes[i].other_text, rule_text(view, other)) << "seed " << seed << " rule " << i;
    }
  }
  EXPECT_GT(none, 30u);
  EXPECT_GT(some, 30u);
  EXPECT_GT(disputed, 10u);
}

/// One rule governs web's egress and job's ingress, the other job's egress and db's ingress: the way from web to db could be
/// either's doing, and is the first one's alone.
TEST(Lint, of_two_rules_at_both_ends_of_a_change_only_the_one_that_makes_it_has_an_effect) {
  const auto who = [](const char* app) {
    return policies::EndpointSelector{std::nullopt, {}, {{{"app", policies::Operator::kIn, {app}}}}};
  };
  const auto clause = [&](policies::Direction direction, const char* subject, bool isolates,
                          policies::Peer peer) {
    policies::Clause made{direction, who(subject), isolates, {}};
    made.rules.push_back({"edge", policies::Action::kAllow, {std::move(peer)}, true, {}, {"p.yaml", 1, 1}});
    return made;
  };
  policies::PolicySet set;
  for (const char* name : {"first", "second"}) {
    policies::Policy policy;
    policy.kind = "SegmentationPolicy";
    policy.namespace_name = "shop";
    policy.name = name;
    set.policies.push_back(policy);
  }
  set.policies[0].clauses = {clause(policies::Direction::kEgress, "web", true, who("db")),
                             clause(policies::Direction::kIngress, "job", true, who("job"))};
  set.policies[1].clauses = {clause(policies::Direction::kEgress, "job", false, policies::Everyone{}),
                             clause(policies::Direction::kIngress, "db", false, policies::Everyone{})};
  property::Scenario scenario;
  scenario.cluster = shop();
  scenario.policies = set;
  const auto compiled = compile_all(scenario.cluster, set, {});
  const auto rules = written_rules(scenario.policies);
  ASSERT_EQ(rules.size(), 2u);
  const auto outcomes = effects_of(scenario, *std::get<std::unique_ptr<Compiled>>(compiled), rules);
  EXPECT_EQ(outcomes[0].effect, Effect::kSome);
  EXPECT_EQ(outcomes[1].effect, Effect::kNone);
}

/// Of one kind are both ends; an endpoint with itself needs no rule.
TEST(Lint, a_rule_between_two_of_a_kind_has_an_effect_and_one_of_a_single_endpoint_with_itself_has_none) {
  for (const bool two : {false, true}) {
    property::Scenario scenario;
    scenario.cluster = shop();
    if (two) scenario.cluster.endpoints.push_back(pod("shop", "db-2", "db", "10.0.0.9"));
    scenario.cluster.endpoints[1].ports.clear();
    const policies::EndpointSelector db{"shop", {}, {{{"app", policies::Operator::kIn, {"db"}}}}};
    policies::Policy policy;
    policy.kind = "NetworkPolicy";
    policy.namespace_name = "shop";
    policy.clauses = {{policies::Direction::kIngress, db, true, {}}};
    policy.clauses[0].rules.push_back(
        {"replicate", policies::Action::kAllow, {db}, true, {}, {"p.yaml", 1, 1}});
    scenario.policies.policies = {policy};
    const auto compiled = compile_all(scenario.cluster, scenario.policies, {});
    const auto outcomes = effects_of(scenario, *std::get<std::unique_ptr<Compiled>>(compiled),
                                     written_rules(scenario.policies));
    EXPECT_EQ(outcomes.at(0).effect, two ? Effect::kSome : Effect::kNone);
  }
}

TEST(Lint, rules_are_left_undecided_where_no_steps_are_left) {
  const policies::File file{"p.yaml", kEdges};
  const policies::Loaded loaded = policies::load(std::span(&file, 1));
  EXPECT_EQ(lint(shop(), loaded.policies, {}, {.steps_max = 0}).unproven, 2u);
}

}  // namespace
}  // namespace bulkhead::analysis
