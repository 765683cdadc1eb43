// Calico's policies, by the clauses of its reference ("Network policy", "Global network policy", "Tier",
// "Global network set", and the API documents of EntityRule and GlobalNetworkPolicySpec).
#include "tests/unit/import/shop.h"

namespace bulkhead::policies::imports {
namespace {

std::string global(const std::string& name, const std::string& spec) {
  return "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: " + name +
         "}\nspec:\n" + spec + "\n---\n";
}
std::string of_shop(const std::string& spec) {
  return "apiVersion: crd.projectcalico.org/v1\nkind: NetworkPolicy\nmetadata: {name: default.p, namespace: "
         "shop}\nspec:\n" +
         spec + "\n---\n";
}
std::string tier(const std::string& name, const std::string& order) {
  return "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: " + name +
         "}\nspec: {order: " + order + "}\n---\n";
}
constexpr char kDns[] = R"(apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: dns, labels: {set: dns}}
spec: {nets: [198.51.100.53, 203.0.113.0/24]}
---
)";

// "order: policies with higher order are applied after those with lower order"; rules "in order"; equal orders by name.
TEST(Calico, the_first_rule_of_the_first_policy_counts) {
  const std::string allow = "  selector: app == 'web'\n  order: ";
  const Shop shop(
      global("late", allow + "20\n  ingress: [{action: Deny}]") +
      global("early", allow + "3\n  ingress: [{action: Deny, source: {selector: app == 'db'}}, {action: "
                              "Allow, source: {selector: has(app)}}]"));
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("api", "web", 80));
  EXPECT_FALSE(shop.passes("db", "web", 80));
  EXPECT_FALSE(shop.passes("203.0.113.9", "web", 80));
  const Shop named(global("b", "  order: 1\n  ingress: [{action: Deny}]") +
                   global("a", "  order: 1\n  ingress: [{action: Allow}]"));
  EXPECT_TRUE(named.passes("api", "web", 80));
  const Shop last(global("a", "  ingress: [{action: Deny}]") +
                  global("b", "  order: 1e3\n  ingress: [{action: Allow}]"));
  EXPECT_TRUE(last.passes("api", "web", 80));
}

// A namespace's name is a label of it: one that no namespace can have is nobody's.
TEST(Calico, a_name_that_no_namespace_can_have_admits_nobody) {
  const Shop shop(global("g",
                         "  selector: app == 'web'\n  ingress: [{action: Allow, source: "
                         "{namespaceSelector: projectcalico.org/name == 'shOp', selector: has(app)}}]"));
  EXPECT_EQ(shop.losses(), "");
  EXPECT_FALSE(shop.passes("api", "web", 80));
}

// Tier: "if a policy in the tier selects the endpoint and no rule matches, the packet is denied"; types default.
TEST(Calico, selected_endpoints_are_denied_at_the_end_in_the_policys_directions) {
  const Shop ingress(of_shop("  selector: app == 'web'"));
  EXPECT_FALSE(ingress.passes("api", "web", 80));
  EXPECT_TRUE(ingress.passes("web", "api", 80));
  EXPECT_TRUE(ingress.passes("api", "db", 80));
  EXPECT_TRUE(ingress.passes("own", "web", 80));  // the own node is always let in
  const Shop egress(
      of_shop("  selector: app == 'web'\n  egress: [{action: Allow, destination: {nets: [10.0.0.2]}}]"));
  EXPECT_TRUE(egress.passes("web", "api", 80));
  EXPECT_FALSE(egress.passes("web", "db", 80));
  EXPECT_FALSE(egress.passes("web", "own", 80));
  EXPECT_TRUE(egress.passes("db", "web", 80));
  const Shop node(
      of_shop("  types: [Egress]\n  egress: [{action: Allow, destination: {nets: [192.168.0.0/24]}}]"));
  EXPECT_TRUE(node.passes("web", "own", 80));
}

TEST(Calico, kubernetes_policies_still_allow_whom_the_default_tier_selects) {
  const char kubernetes[] = R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: k, namespace: shop}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}
)";
  const Shop shop(
      of_shop("  selector: app == 'web'\n  order: 10\n  ingress: [{action: Allow, source: {selector: app == "
              "'api'}}]"),
      {}, kubernetes);
  EXPECT_TRUE(shop.passes("api", "web", 80));
  EXPECT_TRUE(shop.passes("db", "web", 80));
  EXPECT_FALSE(shop.passes("prom", "web", 80));
}

// API document of EntityRule.Selector: "!has(my_label)" matches endpoints; NotSelector matches non-Calico sources too.
TEST(Calico, a_negated_selector_is_of_endpoints_and_notSelector_of_everybody) {
  const Shop negated(global(
      "p", "  selector: app == 'web'\n  ingress: [{action: Allow, source: {selector: '!has(tier)'}}]"));
  EXPECT_TRUE(negated.passes("prom", "web", 80));
  EXPECT_FALSE(negated.passes("api", "web", 80));
  EXPECT_FALSE(negated.passes("203.0.113.9", "web", 80));
  const Shop all_but(global(
      "p", "  selector: app == 'web'\n  ingress: [{action: Allow, source: {notSelector: has(tier)}}]"));
  EXPECT_TRUE(all_but.passes("prom", "web", 80));
  EXPECT_FALSE(all_but.passes("api", "web", 80));
  EXPECT_TRUE(all_but.passes("203.0.113.9", "web", 80));
  EXPECT_TRUE(all_but.passes("other", "web", 80));
}

// "For NetworkPolicy, an empty NamespaceSelector implies the Selector is limited to the same namespace."
TEST(Calico, namespaces_of_peers) {
  const Shop own(of_shop("  ingress: [{action: Allow, source: {selector: all()}}]"));
  EXPECT_TRUE(own.passes("api", "web", 80));
  EXPECT_FALSE(own.passes("prom", "web", 80));
  const Shop other(
      of_shop("  ingress: [{action: Allow, source: {namespaceSelector: team == 'ops' || "
              "projectcalico.org/name == 'x', selector: role == 'scrape'}}]"));
  EXPECT_EQ(other.losses(), "");
  EXPECT_TRUE(other.passes("prom", "web", 80));
  EXPECT_FALSE(other.passes("api", "web", 80));
  const Shop by_label(
      global("p",
             "  selector: projectcalico.org/namespace == 'shop' && app in {'web'}\n  ingress: "
             "[{action: Allow, source: {selector: projectcalico.org/namespace != 'shop'}}]"));
  EXPECT_EQ(by_label.losses(), "");
  EXPECT_TRUE(by_label.passes("prom", "web", 80));
  EXPECT_FALSE(by_label.passes("api", "web", 80));
}

// "Global network set": "selected by label in rules"; global() in a namespaced policy.
TEST(Calico, network_sets_are_expanded_where_a_selector_selects_them) {
  const std::string rule =
      "  types: [Egress]\n  egress: [{action: Allow, destination: {selector: set == 'dns'";
  const Shop shop(kDns + global("p", rule + "}}]"));
  EXPECT_TRUE(shop.passes("web", "198.51.100.53", 53));
  EXPECT_TRUE(shop.passes("web", "203.0.113.9", 53));
  EXPECT_FALSE(shop.passes("web", "198.51.100.54", 53));
  const Shop namespaced(kDns + of_shop(rule + "}}]"));
  EXPECT_FALSE(namespaced.passes("web", "203.0.113.9", 53));
  const Shop asked(kDns + of_shop(rule + ", namespaceSelector: global()}}]"));
  EXPECT_TRUE(asked.passes("web", "203.0.113.9", 53));
}

TEST(Calico, addresses_ports_and_protocols_with_their_negations) {
  const Shop shop(global("p", R"(  selector: app == 'web'
  ingress:
  - {action: Allow, protocol: TCP, source: {nets: [10.0.0.0/16], notNets: [10.0.0.3]}, destination: {ports: [80, "1000:1002", http]}}
  - {action: Deny, notProtocol: UDP, source: {notNets: [203.0.113.0/24]}}
  - {action: Allow, protocol: 17, destination: {notPorts: [53]}}
  - {action: Allow, protocol: ICMP, icmp: {type: 8}}
  - {action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [99]}}
)"));
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("api", "web", 80));
  EXPECT_TRUE(shop.passes("api", "web", 1001));
  EXPECT_TRUE(shop.passes("api", "web", 8080));
  EXPECT_FALSE(shop.passes("api", "web", 81));
  EXPECT_FALSE(shop.passes("db", "web", 80));
  EXPECT_TRUE(shop.passes("db", "web", 54, Protocol::kUdp));
  EXPECT_FALSE(shop.passes("db", "web", 53, Protocol::kUdp));
  EXPECT_TRUE(shop.passes("203.0.113.9", "web", 8, Protocol::kIcmp));
  EXPECT_FALSE(shop.passes("203.0.113.9", "web", 0, Protocol::kIcmp));
  EXPECT_TRUE(shop.passes("203.0.113.9", "web", 99));
  EXPECT_FALSE(shop.passes("api", "web", 99));
}

// Tier: "Pass: skip to the next tier". Beyond the last tier that is imported: to the application tier.
TEST(Calico, tiers_are_asked_in_their_order) {
  const std::string security = tier("security", "10");
  const std::string deny =
      "  tier: security\n  selector: app == 'web'\n  ingress: [{action: Deny, source: {selector: "
      "app == 'db'}}, {action: ";
  const std::string application =
      global("app", "  selector: app == 'web'\n  order: 1\n  ingress: [{action: Allow}]");
  const Shop closed(security + global("security.s", deny + "Allow, source: {selector: app == 'api'}}]") +
                    application);
  EXPECT_EQ(closed.losses(), "");
  EXPECT_FALSE(closed.passes("db", "web", 80));
  EXPECT_TRUE(closed.passes("api", "web", 80));
  EXPECT_FALSE(closed.passes("prom", "web", 80));  // the end of the tier
  EXPECT_TRUE(closed.passes("prom", "api", 80));
  const Shop last(security + global("security.s", deny + "Pass}]"));
  EXPECT_EQ(last.losses(), "");
  EXPECT_FALSE(last.passes("db", "web", 80));
  EXPECT_TRUE(last.passes("api", "web", 80));  // no policy of Kubernetes isolates
  const Shop refused(security + global("security.s", deny + "Pass}]") + application);
  ASSERT_EQ(refused.imported.losses.size(), 1u);
  EXPECT_EQ(refused.imported.losses[0].effect, Effect::kRefused);
  const Shop unknown(global("strange.s", "  tier: strange\n  ingress: [{action: Deny}]"));
  EXPECT_EQ(unknown.losses(), "5:9 spec.tier refused\n");
}

TEST(Calico, what_cannot_be_said_narrows_an_allow_widens_a_deny_and_is_never_a_pass) {
  const Shop shop(global("p", R"(  selector: app == 'web'
  ingress:
  - {action: Deny, protocol: TCP, source: {selector: app == 'db', ports: [99]}}
  - {action: Allow, protocol: TCP, source: {ports: [99]}}
  - {action: Allow, source: {serviceAccounts: {names: [x]}}}
  - {action: Allow, source: {selector: "app starts with 'p' || app == 'api'"}, http: {methods: [GET]}}
  - {action: Allow, source: {selector: "app starts with 'p' || app == 'api'"}}
  - {action: Log}
)"));
  EXPECT_EQ(shop.losses(),
            "7:74 spec.ingress[0].source.ports stricter\n"
            "8:52 spec.ingress[1].source.ports stricter\n"
            "9:47 spec.ingress[2].source.serviceAccounts stricter\n"
            "10:86 spec.ingress[3].http stricter\n"
            "11:40 spec.ingress[4].source.selector stricter\n"
            "12:14 spec.ingress[5].action none\n");
  EXPECT_FALSE(shop.passes("db", "web", 80));
  EXPECT_TRUE(shop.passes("api", "web", 80));
  EXPECT_FALSE(shop.passes("prom", "web", 80));
  for (const char* spec :
       {"  ingress: [{action: Pass, protocol: TCP, source: {ports: [1]}}]", "  doNotTrack: true",
        "  preDNAT: true", "  selector: app contains 'w'", "  serviceAccountSelector: a == 'b'",
        "  ingress: [{action: Deny, source: {services: {name: s}}}]", "  selector: app = 'web'",
        "  ingress: [{action: Deny, destination: {ports: [1]}}]",
        "  ingress: [{action: Allow, protocol: TCP, icmp: {type: 8}}]", "  tomorrow: true"}) {
    const Shop refused(global("p", spec));
    EXPECT_TRUE(refused.imported.objects.empty()) << spec;
    ASSERT_EQ(refused.imported.losses.size(), 1u) << spec << refused.losses();
    EXPECT_EQ(refused.imported.losses[0].effect, Effect::kRefused) << spec;
  }
}

}  // namespace
}  // namespace bulkhead::policies::imports
