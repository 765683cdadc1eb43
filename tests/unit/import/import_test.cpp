// What holds for every dialect: origins, names, the report, and other objects among the files.
#include "tests/unit/import/shop.h"

namespace bulkhead::policies::imports {
namespace {

TEST(Import, objects_bear_their_origin_and_a_name_of_their_own) {
  const Shop shop(R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicyList
items:
- apiVersion: cilium.io/v2
  kind: CiliumNetworkPolicy
  metadata: {name: p, namespace: shop}
  spec: {endpointSelector: {}, ingress: [{}]}
- metadata: {name: two, namespace: shop}
  specs: [{endpointSelector: {}, ingress: [{}]}, {endpointSelector: {}, egress: [{}]}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec: {ingress: [{action: Allow}]}
)");
  EXPECT_EQ(shop.losses(), "");
  std::string names;
  for (const auto& object : shop.imported.objects)
    names += object.name + " of " + object.source + ":" + std::to_string(object.origin.line) + "\n";
  EXPECT_EQ(names,
            "p of CiliumNetworkPolicy shop/p:4\n"
            "two-1 of CiliumNetworkPolicy shop/two:8\n"
            "two-2 of CiliumNetworkPolicy shop/two:8\n"
            "p-2 of NetworkPolicy shop/p:11\n"
            "p-isolates of NetworkPolicy shop/p:11\n");
  EXPECT_NE(shop.yaml.find("# NetworkPolicy shop/p, in.yaml:11\n"), std::string::npos);
}

TEST(Import, other_objects_are_kept_refused_or_passed_over) {
  const Shop shop(R"(apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: k, namespace: shop}
spec: {podSelector: {}}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: h}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: s, namespace: shop}
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: pool}
---
just: text
)");
  EXPECT_EQ(shop.losses(), "5:1  none\n10:1  refused\n14:1  refused\n22:1  refused\n");
  EXPECT_TRUE(shop.imported.objects.empty());
}

TEST(Import, a_file_that_is_no_yaml_is_reported_and_the_others_are_imported) {
  const std::vector<File> files = {{"bad.yaml", "a: [\n"},
                                   {"good.yaml",
                                    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: "
                                    "p}\nspec: {endpointSelector: {}, ingress: [{}]}\n"}};
  const Imported imported = import_files(files, {});
  ASSERT_EQ(imported.losses.size(), 1u);
  EXPECT_EQ(imported.losses[0].origin.file, "bad.yaml");
  EXPECT_EQ(imported.losses[0].effect, Effect::kRefused);
  EXPECT_EQ(imported.objects.size(), 1u);
}

TEST(Import, more_ends_than_an_edge_may_have_become_several_edges) {
  std::string blocks;
  for (int i = 0; i < 150; ++i)
    blocks += (i == 0 ? "" : ", ") + std::string("203.0.113.") + std::to_string(i) + "/32";
  const Shop shop(
      "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
      "spec: {endpointSelector: {}, ingress: [{fromCIDR: [" +
      blocks + "]}]}\n");
  EXPECT_EQ(shop.losses(), "");
  EXPECT_TRUE(shop.passes("203.0.113.149", "web", 80));
  EXPECT_FALSE(shop.passes("203.0.113.150", "web", 80));
}

TEST(Import, texts_that_a_reader_could_take_for_anything_else_are_quoted) {
  const Shop shop(R"(apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: "on", namespace: "y"}
spec: {endpointSelector: {matchLabels: {"no": "1.0", "null": "", "true": "0x10"}}, ingress: [{}]}
)");
  EXPECT_EQ(shop.losses(), "");
  EXPECT_EQ(shop.imported.objects.size(), 1u);
}

// A policy without its spec would select everybody, an ICMP type that is not seen would be every one.
TEST(Import, a_misspelt_field_is_never_passed_over) {
  const auto losses = [](const std::string& text) {
    const std::vector<File> files = {{"in.yaml", text}};
    const Imported imported = import_files(files, {});
    std::string lines;
    for (const auto& loss : imported.losses) lines += format(loss) + "\n";
    EXPECT_TRUE(imported.objects.empty() || imported.losses[0].effect == Effect::kStricter) << lines;
    return lines;
  };
  const std::string calico = "apiVersion: projectcalico.org/v3\nkind: ";
  EXPECT_EQ(losses(calico + "NetworkPolicy\nmetadata: {name: p, namespace: shop}\nsepc: {}\n"),
            "in.yaml:4:7: NetworkPolicy shop/p: sepc: refused: found the unknown field \"sepc\"; did you "
            "mean \"spec\"?\n");
  EXPECT_EQ(losses(calico + "NetworkPolicy\nmetadata: {name: p, namspace: shop}\nspec: {}\n"),
            "in.yaml:3:31: NetworkPolicy p: metadata.namspace: refused: found the unknown field "
            "\"namspace\"; did you "
            "mean \"namespace\"?\n");
  EXPECT_EQ(losses(calico + "Tier\nmetadata: {name: t}\nspec: {oder: 1}\n"),
            "in.yaml:4:14: Tier t: spec.oder: refused: found the unknown field \"oder\"; did you mean "
            "\"order\"?\n");
  EXPECT_EQ(losses(calico + "Tier\nmetadata: {name: t}\nspec: {defaultAction: pass}\n"),
            "in.yaml:4:23: Tier t: spec.defaultAction: refused: found \"pass\", expected Deny or Pass\n");
  const std::string rules =
      calico + "NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  ingress:\n  - ";
  EXPECT_EQ(losses(rules + "{action: Allow, protocol: ICMP, icmp: {tpe: 8}}\n"),
            "in.yaml:6:49: NetworkPolicy shop/p: spec.ingress[0].icmp.tpe: stricter: found a field that is "
            "not known at "
            "an ICMP type: the rule allows nothing here\n");
  for (const char* port : {"010", "0x50", "1e3"})
    EXPECT_EQ(losses(rules + "{action: Allow, protocol: TCP, destination: {ports: [" + port + "]}}\n"),
              "in.yaml:6:58: NetworkPolicy shop/p: spec.ingress[0].destination.ports[0]: refused: found \"" +
                  std::string(port) + "\", expected a port, a range such as 8000:8080, or a name\n");
  const std::string cilium = "apiVersion: cilium.io/v2\nkind: Cilium";
  EXPECT_EQ(
      losses(cilium + "NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  endpointSelector: {}\n"
                      "  enableDefaultDeny: {ingres: true}\n"),
      "in.yaml:6:31: CiliumNetworkPolicy shop/p: spec.enableDefaultDeny.ingres: refused: found the unknown "
      "field "
      "\"ingres\"; did you mean \"ingress\"?\n");
  EXPECT_EQ(losses(cilium + "CIDRGroup\nmetadata: {name: g}\nspec: {externalCIDR: [10.0.0.0/8]}\n"),
            "in.yaml:4:22: CiliumCIDRGroup g: spec.externalCIDR: refused: found the unknown field "
            "\"externalCIDR\"; did "
            "you mean \"externalCIDRs\"?\n");
}

// Each would take minutes, or gigabytes, put together as written.
TEST(Import, what_a_small_file_may_ask_for_is_bounded) {
  std::string addresses, conditions, groups, entities;
  for (int i = 0; i < 20'000; ++i) {
    const std::string comma = i == 0 ? "" : ", ";
    addresses += comma + "10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".0/24";
    conditions += comma + "{destination_port: 80}";
    if (i < 100) groups += comma + "{cidrGroupRef: g}";
    entities += "  - {toEntities: [remote-node, host]}\n";
  }
  const auto refused = [](const std::string& text) {
    const std::vector<File> files = {{"in.yaml", text}};
    const Imported imported = import_files(files, {});
    return !imported.losses.empty() && imported.losses[0].effect == Effect::kRefused &&
           imported.objects.empty();
  };
  EXPECT_TRUE(refused(
      "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n"
      "  ingress: [{action: Allow, source: {nets: [" +
      addresses + "], notNets: [" + addresses + "]}}]\n"));
  const std::string policy =
      "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: "
      "shop}\nspec:\n"
      "  endpointSelector: {}\n";
  EXPECT_TRUE(refused(
      "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: {externalCIDRs: [" +
      addresses + "]}\n" + policy + "  ingress: [{fromCIDRSet: [" + groups + "]}]\n"));
  EXPECT_FALSE(refused(policy + "  egress:\n" + entities));
  EXPECT_TRUE(refused("rules:\n  policies:\n    p: {principals: [{any: true}], permissions: [" + conditions +
                      "]}\n"));
}

}  // namespace
}  // namespace bulkhead::policies::imports
