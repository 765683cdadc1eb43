// Cilium's policies, by the clauses of its documentation ("Layer 3 Policies", "Layer 4 Policies", "Deny Policies",
// "Policy Enforcement Modes", and the API document of CiliumNetworkPolicy).
#include "tests/unit/import/shop.h"

namespace bulkhead::policies::imports {
namespace {

std::string policy(const std::string& spec, const std::string& name = "p") {
  return "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: " + name +
         ", namespace: shop}\nspec:\n  endpointSelector: {matchLabels: {app: web}}\n" + spec;
}
std::string clusterwide(const std::string& spec) {
  return "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\nspec:\n" +
         spec;
}

// "Upon being selected by a policy, the endpoint permits only allowed traffic. This state is per-direction."
TEST(Cilium, allowed_endpoints_pass_and_all_else_into_the_endpoint_is_denied) {
  const Shop shop(policy(R"(
  ingress:
  - fromEndpoints: [{matchLabels: {app: api}}]
    toPorts: [{ports: [{port: "80", protocol: TCP}]}]
)"));
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("api", "web", 80));
  EXPECT_FALSE(shop.passes("api", "web", 81));
  EXPECT_FALSE(shop.passes("db", "web", 80));
  EXPECT_FALSE(shop.passes("203.0.113.9", "web", 80));
  EXPECT_TRUE(shop.passes("web", "203.0.113.9", 80));
  EXPECT_TRUE(shop.passes("api", "db", 81));  // an ingress rule says nothing about its peer's own egress
}

// "fromEndpoints: the namespace of the policy applies where no namespace is matched."
TEST(Cilium, selectors_mean_the_policys_namespace_unless_they_name_one) {
  const Shop own(policy("  ingress: [{fromEndpoints: [{}]}]\n"));
  EXPECT_TRUE(own.passes("db", "web", 1));
  EXPECT_FALSE(own.passes("prom", "web", 1));
  const Shop other(policy(R"(
  ingress:
  - fromEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": mon, "k8s:role": scrape}}]
)"));
  EXPECT_TRUE(other.passes("prom", "web", 1));
  EXPECT_FALSE(other.passes("db", "web", 1));
  const Shop labelled(policy(R"(
  ingress: [{fromEndpoints: [{matchLabels: {"k8s:io.cilium.k8s.namespace.labels.team": ops}}]}]
)"));
  EXPECT_TRUE(labelled.passes("prom", "web", 1));
  EXPECT_FALSE(labelled.passes("db", "web", 1));
  const Shop all(
      clusterwide("  endpointSelector: {matchLabels: {app: db}}\n  ingress: [{fromEndpoints: [{}]}]\n"));
  EXPECT_TRUE(all.passes("prom", "db", 1));
  EXPECT_FALSE(all.passes("203.0.113.9", "db", 1));
}

// "Deny policies take precedence over allow policies"; "Pods will enter default-deny mode as soon a single policy
// selects it."
TEST(Cilium, denies_win_over_every_allow_and_isolate) {
  const Shop both(policy("  ingress: [{fromEntities: [all]}]\n") + "\n---\n" +
                  policy(R"(
  ingressDeny:
  - fromEndpoints: [{matchLabels: {app: db}}]
    toPorts: [{ports: [{port: "80"}]}]
)",
                         "q"));
  EXPECT_EQ(both.losses(), "");
  EXPECT_TRUE(both.passes("api", "web", 80));
  EXPECT_FALSE(both.passes("db", "web", 80));
  EXPECT_TRUE(both.passes("db", "web", 81));
  const Shop alone(policy("  ingressDeny: [{fromEndpoints: [{matchLabels: {app: db}}]}]\n"));
  EXPECT_FALSE(alone.passes("db", "web", 80));
  EXPECT_FALSE(alone.passes("api", "web", 80));
}

// "ingress: - {}": "an empty rule selects the direction and allows nothing."
TEST(Cilium, empty_rules_isolate_and_empty_sections_do_not) {
  const Shop rule(policy("  ingress: [{}]\n"));
  EXPECT_FALSE(rule.passes("api", "web", 80));
  EXPECT_TRUE(rule.passes("web", "api", 80));
  const Shop section(policy("  ingress: []\n"));
  EXPECT_TRUE(section.passes("api", "web", 80));
}

// API document of EnableDefaultDeny: "If enabled, this causes all traffic not explicitly allowed to be dropped."
TEST(Cilium, without_default_deny_rules_allow_and_deny_but_isolate_nobody) {
  const Shop open(policy(R"(
  enableDefaultDeny: {ingress: false}
  ingress: [{fromEndpoints: [{matchLabels: {app: api}}]}]
  ingressDeny: [{fromEndpoints: [{matchLabels: {app: db}}]}]
)"));
  EXPECT_TRUE(open.passes("api", "web", 80));
  EXPECT_TRUE(open.passes("prom", "web", 80));
  EXPECT_FALSE(open.passes("db", "web", 80));
}

// API document of fromCIDR: "Only connections which do *not* originate from the cluster or from the local host are
// subject to CIDR rules."
TEST(Cilium, blocks_match_the_world_alone) {
  const Shop shop(policy(R"(
  egress:
  - toCIDRSet: [{cidr: 0.0.0.0/0, except: [198.51.100.0/24]}]
  - toCIDR: [198.51.100.7]
)"));
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("web", "203.0.113.9", 80));
  EXPECT_FALSE(shop.passes("web", "198.51.100.8", 80));
  EXPECT_TRUE(shop.passes("web", "198.51.100.7", 80));
  EXPECT_FALSE(shop.passes("web", "api", 80));
  EXPECT_FALSE(shop.passes("web", "other", 80));
}

TEST(Cilium, groups_of_blocks_are_expanded_and_unknown_ones_allow_nothing) {
  const std::string text = policy("  egress: [{toCIDRSet: [{cidrGroupRef: g, except: [203.0.113.0/24]}]}]\n");
  const Shop known(text +
                   "\n---\napiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {name: g}\n"
                   "spec: {externalCIDRs: [203.0.113.0/24, 192.0.2.0/24]}\n");
  EXPECT_EQ(known.losses(), "");
  EXPECT_TRUE(known.passes("web", "192.0.2.1", 80));
  EXPECT_FALSE(known.passes("web", "203.0.113.9", 80));
  const Shop unknown(text);
  EXPECT_EQ(unknown.losses(), "6:40 spec.egress[0].toCIDRSet[0].cidrGroupRef stricter\n");
  EXPECT_FALSE(unknown.passes("web", "192.0.2.1", 80));
}

// "Entities Based": host, remote-node, cluster, world, all. By default Cilium lets the own node in, never out.
TEST(Cilium, entities) {
  const Shop in(policy("  ingress: [{fromEntities: [remote-node]}]\n"));
  EXPECT_EQ(in.losses(), "");
  EXPECT_TRUE(in.passes("other", "web", 80));
  EXPECT_TRUE(in.passes("own", "web", 80));
  EXPECT_FALSE(in.passes("api", "web", 80));
  const Shop cluster(policy("  egress: [{toEntities: [cluster]}]\n"));
  EXPECT_TRUE(cluster.passes("web", "prom", 80));
  EXPECT_TRUE(cluster.passes("web", "own", 80));
  EXPECT_FALSE(cluster.passes("web", "203.0.113.9", 80));
  const Shop world(policy("  egress: [{toEntities: [world]}]\n"));
  EXPECT_TRUE(world.passes("web", "203.0.113.9", 80));
  EXPECT_FALSE(world.passes("web", "api", 80));
  EXPECT_FALSE(world.passes("web", "own", 80));
  const Shop server(policy("  egress: [{toEntities: [kube-apiserver, world-ipv6]}]\n"));
  EXPECT_EQ(server.losses(), "6:26 spec.egress[0].toEntities[0] stricter\n");
  EXPECT_FALSE(server.passes("web", "203.0.113.9", 80));
}

TEST(Cilium, the_own_node_is_met_on_the_ports_that_some_policy_of_the_endpoint_allows) {
  const Shop shop(policy("  egress: [{toEndpoints: [{}]}]\n") + "\n---\n" +
                  policy(R"(
  egress:
  - toEntities: [host]
    toPorts: [{ports: [{port: "9000", endPort: 9010, protocol: TCP}]}]
)",
                         "q"));
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("web", "own", 9005));
  EXPECT_FALSE(shop.passes("web", "own", 9011));
  EXPECT_FALSE(shop.passes("web", "own", 9005, Protocol::kUdp));
  EXPECT_FALSE(shop.passes("web", "own", 8, Protocol::kIcmp));
  EXPECT_FALSE(shop.passes("web", "other", 9005));
}

// "Layer 4": a port without a protocol is of every protocol with ports; ICMP types by number and name.
TEST(Cilium, ports_ranges_names_and_icmp_types) {
  const Shop shop(policy(R"(
  ingress:
  - toPorts: [{ports: [{port: "53"}, {port: "1000", endPort: 1002, protocol: UDP}, {port: HTTP, protocol: TCP}]}]
  - fromEndpoints: [{}]
    icmps: [{fields: [{type: 8, family: IPv4}, {type: EchoRequest, family: IPv6}]}]
)"));
  EXPECT_EQ(shop.losses(), "");
  for (const auto protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp})
    EXPECT_TRUE(shop.passes("203.0.113.9", "web", 53, protocol));
  EXPECT_TRUE(shop.passes("api", "web", 1002, Protocol::kUdp));
  EXPECT_FALSE(shop.passes("api", "web", 1003, Protocol::kUdp));
  EXPECT_FALSE(shop.passes("api", "web", 1002));
  EXPECT_TRUE(shop.passes("api", "web", 8080));
  EXPECT_TRUE(shop.passes("api", "web", 8, Protocol::kIcmp));
  EXPECT_FALSE(shop.passes("api", "web", 0, Protocol::kIcmp));
  EXPECT_FALSE(shop.passes("203.0.113.9", "web", 8, Protocol::kIcmp));
  EXPECT_NE(shop.yaml.find("icmpv6/128"), std::string::npos);
}

TEST(Cilium, what_packets_do_not_show_narrows_an_allow_and_widens_a_deny) {
  const Shop shop(policy(R"(
  ingress:
  - fromEndpoints: [{}]
    toPorts:
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET}]}
    - ports: [{port: "81", protocol: TCP}]
  - fromEndpoints: [{}]
    authentication: {mode: required}
  egress:
  - toFQDNs: [{matchName: example.com}]
  - toServices: [{k8sService: {serviceName: s}}]
  ingressDeny:
  - fromEndpoints: [{matchLabels: {app: db}}]
    toPorts: [{ports: [{port: "81"}], rules: {}}]
    comment: {}
    tomorrow: [a condition]
)"));
  EXPECT_EQ(shop.losses(),
            "11:14 spec.ingress[0].toPorts[0].rules stricter\n"
            "14:21 spec.ingress[1].authentication stricter\n"
            "16:15 spec.egress[0].toFQDNs[0] stricter\n"
            "17:18 spec.egress[1].toServices[0] stricter\n"
            "21:14 spec.ingressDeny[0].comment stricter\n"
            "22:15 spec.ingressDeny[0].tomorrow stricter\n");
  EXPECT_FALSE(shop.passes("api", "web", 80));
  EXPECT_TRUE(shop.passes("api", "web", 81));
  EXPECT_FALSE(shop.passes("db", "web", 81));
  EXPECT_FALSE(shop.passes("web", "203.0.113.9", 443));  // isolated all the same
}

TEST(Cilium, what_can_be_neither_narrowed_nor_widened_refuses_the_object) {
  const char* const specs[] = {
      "  ingressDeny: [{fromEntities: [kube-apiserver]}]\n",
      "  egressDeny: [{toCIDRSet: [{cidrGroupRef: nowhere}]}]\n",
      "  egressDeny: [{toServices: [{k8sService: {serviceName: s}}]}]\n",
      "  ingress: [{fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]}]\n",
      "  ingress: [{fromRequires: [{matchLabels: {a: b}}]}]\n",
      "  ingressDeny: [{fromEndpoints: [{matchLabels: {\"reserved:host\": \"\", a: b}}]}]\n",
      "  ingressDeny: [{toPorts: [{ports: [{port: \"1\", protocol: VRRP}]}]}]\n",
      "  ingress: [{fromCIDR: [10.0.0.0/40]}]\n",
      "  ingress: [{fromEndpoints: {}}]\n",
      "  ingres: []\n",
      "  nodeSelector: {}\n",
  };
  for (const char* spec : specs) {
    const Shop shop(policy(spec));
    EXPECT_TRUE(shop.imported.objects.empty()) << spec;
    ASSERT_EQ(shop.imported.losses.size(), 1u) << spec << shop.losses();
    EXPECT_EQ(shop.imported.losses[0].effect, Effect::kRefused) << spec;
    EXPECT_EQ(shop.imported.losses[0].object, "CiliumNetworkPolicy shop/p");
  }
}

}  // namespace
}  // namespace bulkhead::policies::imports
