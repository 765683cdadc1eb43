#include "controlplane/source/manifest.h"

#include <gtest/gtest.h>

#include "policies/model/address.h"

namespace bulkhead::source {
namespace {

using policies::Protocol;

Manifests read(const std::string& text) {
  const std::vector<policies::File> files = {{"m.yaml", text}};
  return read_manifests(files);
}

std::string refusal(const std::string& text) {
  const Manifests manifests = read(text);
  std::string lines;
  for (const auto& error : manifests.errors) lines += (lines.empty() ? "" : "\n") + policies::format(error);
  EXPECT_TRUE(manifests.ok() || (manifests.cluster.endpoints.empty() && manifests.policies.policies.empty()));
  return lines;
}

std::string pod(const std::string& name, const std::string& status, const std::string& metadata = "",
                const std::string& spec = "") {
  return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: shop" + metadata +
         "}\nspec: {nodeName: n1" + spec + "}\nstatus: {" + status + "}\n";
}

TEST(Manifest, what_kubectl_prints_is_read) {
  const Manifests read_list = read(R"(apiVersion: v1
items:
- apiVersion: v1
  kind: Namespace
  metadata:
    creationTimestamp: "2026-01-01T00:00:00Z"
    labels:
      kubernetes.io/metadata.name: shop
      team: red
    name: shop
    resourceVersion: "12"
    uid: 11111111-1111-1111-1111-111111111111
  spec:
    finalizers:
    - kubernetes
  status:
    phase: Active
- apiVersion: v1
  kind: Node
  metadata:
    annotations:
      volumes.kubernetes.io/controller-managed-attach-detach: "true"
    labels:
      kubernetes.io/os: linux
    name: n1
  spec:
    podCIDR: 10.0.0.0/24
  status:
    addresses:
    - address: 192.168.0.1
      type: InternalIP
    - address: 203.0.113.1
      type: ExternalIP
    - address: n1
      type: Hostname
    capacity:
      cpu: "2"
- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      script: |
        if true; then
        	echo tab
        fi
    labels:
      app: web
    managedFields:
    - apiVersion: v1
      fieldsType: FieldsV1
      fieldsV1:
        f:metadata: {}
    name: web-0
    namespace: shop
    uid: 22222222-2222-2222-2222-222222222222
  spec:
    containers:
    - args: ["--x", yes, 1]
      image: web:1
      name: web
      ports:
      - containerPort: 8080
        name: http
        protocol: TCP
      - containerPort: 9090
      - containerPort: 53
        name: dns
        protocol: UDP
    initContainers:
    - name: once
      ports:
      - containerPort: 1
        name: once
    - name: mesh
      restartPolicy: Always
      ports:
      - containerPort: 15008
        name: mesh
    nodeName: n1
  status:
    hostIP: 192.168.0.1
    hostIPs:
    - ip: 192.168.0.1
    - ip: fd00:192::1
    phase: Running
    podIP: 10.0.0.7
    podIPs:
    - ip: 10.0.0.7
    - ip: fd00:10::7
kind: List
metadata:
  resourceVersion: ""
)");
  for (const auto& error : read_list.errors) ADD_FAILURE() << policies::format(error);
  const auto& cluster = read_list.cluster;
  ASSERT_EQ(cluster.namespaces.size(), 1u);
  EXPECT_EQ(cluster.namespaces[0].labels.at("team"), "red");
  ASSERT_EQ(cluster.nodes.size(), 1u);
  EXPECT_EQ(cluster.nodes[0].addresses.size(), 3u);
  ASSERT_EQ(cluster.endpoints.size(), 1u);
  const auto& web = cluster.endpoints[0];
  EXPECT_EQ(web.id, "22222222-2222-2222-2222-222222222222");
  EXPECT_TRUE(web.kubernetes);
  EXPECT_FALSE(web.host_network);
  EXPECT_EQ(web.node, "n1");
  ASSERT_EQ(web.addresses.size(), 2u);
  EXPECT_EQ(policies::format(web.addresses[0]), "10.0.0.7");
  ASSERT_EQ(web.ports.size(), 3u);
  EXPECT_EQ(web.ports[0], (policies::NamedPort{"http", Protocol::kTcp, 8080}));
  EXPECT_EQ(web.ports[1], (policies::NamedPort{"dns", Protocol::kUdp, 53}));
  EXPECT_EQ(web.ports[2], (policies::NamedPort{"mesh", Protocol::kTcp, 15008}));
}

TEST(Manifest, finished_pods_have_released_their_address) {
  const Manifests manifests =
      read(pod("a", "phase: Succeeded, podIP: 10.0.0.1") + pod("b", "phase: Failed, podIP: 10.0.0.1") +
           pod("c", "phase: Running, podIP: 10.0.0.1") + pod("d", "phase: Pending"));
  ASSERT_TRUE(manifests.ok());
  ASSERT_EQ(manifests.cluster.endpoints.size(), 2u);
  EXPECT_EQ(manifests.finished, (std::vector<std::string>{"shop/a", "shop/b"}));
  EXPECT_EQ(manifests.cluster.endpoints[0].name, "c");
  EXPECT_TRUE(manifests.cluster.endpoints[1].addresses.empty());
}

TEST(Manifest, terminating_pods_live_on_but_yield_their_address) {
  const std::string leaving = ", deletionTimestamp: \"2026-01-01T00:00:00Z\"";
  for (const bool leaving_first : {true, false}) {
    const std::string old_pod = pod("old", "phase: Running, podIP: 10.0.0.1", leaving);
    const std::string new_pod = pod("new", "phase: Running, podIP: 10.0.0.1");
    const Manifests manifests = read(leaving_first ? old_pod + new_pod : new_pod + old_pod);
    ASSERT_TRUE(manifests.ok());
    ASSERT_EQ(manifests.cluster.endpoints.size(), 2u);
    for (const auto& endpoint : manifests.cluster.endpoints)
      EXPECT_EQ(endpoint.addresses.size(), endpoint.name == "new" ? 1u : 0u);
  }
  const Manifests alone = read(pod("old", "phase: Running, podIP: 10.0.0.1", leaving));
  EXPECT_EQ(alone.cluster.endpoints[0].addresses.size(), 1u);
}

TEST(Manifest, host_network_pods_lend_their_addresses_to_the_node) {
  const Manifests manifests = read(pod("a", "podIP: 192.168.0.1", "", ", hostNetwork: true") +
                                   pod("b", "podIP: 192.168.0.1", "", ", hostNetwork: true"));
  ASSERT_TRUE(manifests.ok());
  ASSERT_EQ(manifests.cluster.nodes.size(), 1u);
  EXPECT_EQ(manifests.cluster.nodes[0].name, "n1");
  EXPECT_EQ(manifests.cluster.nodes[0].addresses.size(), 1u);
  EXPECT_TRUE(manifests.cluster.endpoints[0].host_network);
}

TEST(Manifest, namespaces_that_only_pods_mention_bear_their_name_as_a_label) {
  const Manifests manifests = read(pod("a", "podIP: 10.0.0.1"));
  ASSERT_EQ(manifests.cluster.namespaces.size(), 1u);
  EXPECT_EQ(manifests.cluster.namespaces[0].labels,
            (policies::Labels{{"kubernetes.io/metadata.name", "shop"}}));
  EXPECT_EQ(manifests.cluster.endpoints[0].id, "shop/a");
}

TEST(Manifest, no_namespace_bears_another_name_than_its_own) {
  const Manifests manifests = read(
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {kubernetes.io/metadata.name: "
      "bank}}\n");
  ASSERT_TRUE(manifests.ok());
  EXPECT_EQ(manifests.cluster.namespaces.at(0).labels,
            (policies::Labels{{"kubernetes.io/metadata.name", "shop"}}));
}

TEST(Manifest, policies_stand_among_objects_and_harmless_kinds_are_passed_over) {
  const Manifests manifests = read(
      "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
      "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\n" +
      pod("a", "podIP: 10.0.0.1"));
  ASSERT_TRUE(manifests.ok());
  EXPECT_EQ(manifests.policies.policies.size(), 1u);
  EXPECT_EQ(manifests.cluster.endpoints.size(), 1u);
}

TEST(Manifest, lists_of_one_kind_lend_it_to_their_items) {
  const Manifests manifests = read(
      "apiVersion: v1\nkind: PodList\nmetadata: {resourceVersion: \"1\"}\nitems:\n"
      "- metadata: {name: a, namespace: shop, creationTimestamp: null}\n  status: {podIP: 10.0.0.1}\n"
      "- apiVersion: v1\n  kind: Pod\n  metadata: {name: b}\n  status: {podIP: 10.0.0.2}\n"
      "---\n{\"apiVersion\": \"v1\", \"kind\": \"NamespaceList\", \"items\": [{\"metadata\": {\"name\": "
      "\"shop\", \"labels\": {\"team\": \"red\"}}}]}\n"
      "---\napiVersion: v1\nkind: NodeList\nitems: [{metadata: {name: n1}}]\n"
      "---\napiVersion: v1\nkind: SecretList\nitems: [{metadata: {name: s}}]\n"
      "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList\nitems: [{metadata: {name: p}}]\n");
  for (const auto& error : manifests.errors) ADD_FAILURE() << policies::format(error);
  ASSERT_EQ(manifests.cluster.endpoints.size(), 2u);
  EXPECT_EQ(manifests.cluster.endpoints[1].name, "b");
  ASSERT_EQ(manifests.cluster.namespaces.size(), 2u);
  EXPECT_EQ(manifests.cluster.namespaces[0].labels.at("team"), "red");
  EXPECT_EQ(manifests.cluster.nodes.size(), 1u);
  EXPECT_EQ(manifests.policies.policies.size(), 1u);
}

TEST(Manifest, host_network_pods_have_their_nodes_addresses_whatever_their_status) {
  const Manifests manifests = read(
      "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"
      "status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}\n" +
      pod("a", "phase: Running", "", ", hostNetwork: true"));
  ASSERT_TRUE(manifests.ok());
  ASSERT_EQ(manifests.cluster.endpoints[0].addresses.size(), 1u);
}

TEST(Manifest, other_kinds_are_refused_where_that_is_asked) {
  const std::vector<policies::File> files = {{"m.yaml", "apiVersion: v1\nkind: Service\n"}};
  EXPECT_TRUE(read_manifests(files).ok());
  EXPECT_FALSE(read_manifests(files, {}).ok());
}

TEST(Manifest, refusals) {
  EXPECT_EQ(refusal(pod("a", "podIP: 10.0.0.1") + pod("b", "podIP: 10.0.0.1")),
            "m.yaml:8:1: status.podIPs: found 10.0.0.1 at pod shop/a too, expected one owner");
  EXPECT_EQ(refusal(pod("a", "phase: Running") + pod("a", "phase: Running")),
            "m.yaml:8:1: found Pod shop/a a second time, expected it once (also at m.yaml:2)");
  EXPECT_EQ(refusal(pod("a", "phase: Running", ", uid: u") + pod("b", "phase: Running", ", uid: u")),
            "m.yaml:8:1: found Pod with uid u a second time, expected it once (also at m.yaml:2)");
  EXPECT_EQ(refusal(pod("a", "podIP: 10.0.0")),
            "m.yaml:6:17: status.podIP: found \"10.0.0\", expected an IPv4 or IPv6 address");
  EXPECT_EQ(
      refusal(pod("a", "phase: Running", ", labels: {v: 1.10}")),
      "m.yaml:4:50: metadata.labels.v: found the number 1.10, expected a string; write \"1.10\" in quotes");
  EXPECT_EQ(
      refusal("apiVersion: v1\nkind: Pdo\n"),
      "m.yaml:2:7: kind: found the kind \"Pdo\", expected Namespace, Node or Pod; did you mean \"Pod\"?");
  EXPECT_EQ(refusal("apiVersion: v2\nkind: Pod\n"),
            "m.yaml:1:13: apiVersion: found \"v2\", expected v1 for Pod");
  EXPECT_EQ(refusal("apiVersion: v1\nkind: Node\nmetadata: {name: a}\nstatus: {addresses: [{type: "
                    "InternalIP, address: 10.0.0.1}]}\n"
                    "---\napiVersion: v1\nkind: Node\nmetadata: {name: b}\nstatus: {addresses: [{type: "
                    "InternalIP, address: 10.0.0.1}]}\n"),
            "m.yaml:9:50: status.addresses[0].address: found 10.0.0.1 at node a too, expected one owner");
  EXPECT_EQ(refusal("apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"),
            "m.yaml:2:7: kind: found the kind \"CiliumNetworkPolicy\", expected List, AdminNetworkPolicy, "
            "AuthorizationPolicy, BaselineAdminNetworkPolicy, CidrGroup, ClusterNetworkPolicy, Invariant, "
            "NetworkPolicy or "
            "SegmentationPolicy; what it says "
            "about traffic would be lost");
}

TEST(Manifest, slips_of_the_pen_are_not_passed_over) {
  EXPECT_EQ(refusal(pod("a", "podIP: 10.0.0.1", ", lables: {a: b}")),
            "m.yaml:4:38: metadata.lables: found the unknown field \"lables\"; did you mean \"labels\"?");
  for (const char* word :
       {"hostnetwork", "host_network", "hostNetwrok", "HostNetwork", "hostNetworks", "ostNetwork"})
    EXPECT_EQ(refusal(pod("a", "podIP: 10.0.0.1", "", std::string(", ") + word + ": true")),
              "m.yaml:5:22: spec." + std::string(word) + ": found the unknown field \"" + word +
                  "\"; did you mean \"hostNetwork\"?");
  EXPECT_EQ(refusal(pod("a", "podip: 10.0.0.1")),
            "m.yaml:6:10: status.podip: found the unknown field \"podip\"; did you mean \"podIPs\"?");
  EXPECT_EQ(refusal(pod("a", "podIPs: [{ip: 10.0.0.1}], podip: 10.0.0.1")),
            "m.yaml:6:36: status.podip: found the unknown field \"podip\"; did you mean \"podIP\"?");
  // What other objects have there, and what an API of tomorrow may.
  EXPECT_EQ(refusal(pod("a", "podIP: 10.0.0.1, qosClass: x, startTime: y",
                        ", generateName: a, selfLink: b, creationTimestamp: c",
                        ", hostPID: true, hostname: h, nodeSelector: {}, ephemeralContainers: [], hostUsers: "
                        "false, somethingNew: 1")),
            "");
}

TEST(Manifest, states_of_pods_are_read_strictly) {
  EXPECT_EQ(refusal(pod("a", "phase: Succeded, podIP: 10.0.0.1")),
            "m.yaml:6:17: status.phase: found \"Succeded\", expected Pending, Running, Unknown, Succeeded or "
            "Failed; did "
            "you mean \"Succeeded\"?");
  EXPECT_EQ(refusal(pod("a", "phase: \"\", podIP: \"\"")), "");
  EXPECT_EQ(refusal(pod("a", "podIP: [10.0.0.1]")),
            "m.yaml:6:17: status.podIP: found a list, expected an address");
  EXPECT_EQ(refusal(pod("a", "podIP: 10.0.0, podIPs: [{ip: 10.0.0.1}]")),
            "m.yaml:6:17: status.podIP: found \"10.0.0\", expected an IPv4 or IPv6 address");
  EXPECT_EQ(refusal(pod("a", "podIPs: [{}]")),
            "m.yaml:6:19: status.podIPs[0].ip: the field \"ip\" is missing");
  std::string many;
  for (int i = 0; i < 17; ++i) many += "{ip: 10.0.0.1}, ";
  EXPECT_EQ(refusal(pod("a", "podIPs: [" + many + "]")),
            "m.yaml:6:18: status.podIPs: found 17 addresses, expected at most 16");
}

TEST(Manifest, a_shared_address_is_no_flood_of_errors) {
  std::string pods;
  for (int i = 0; i < 1000; ++i) pods += pod("a" + std::to_string(i), "podIP: 10.0.0.1");
  EXPECT_EQ(read(pods).errors.size(), policies::Report::kErrorsMax);
}

TEST(Manifest, what_a_policy_warns_of_is_kept) {
  const Manifests read = read_manifests(
      std::vector<policies::File>{{"a.yaml",
                                   "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
                                   "metadata: {name: a, namespace: shop}\nspec: {rules: [{from: [{source: "
                                   "{principals: [alien/ns/a/sa/b]}}]}]}\n"}});
  EXPECT_TRUE(read.ok());
  ASSERT_EQ(read.warnings.size(), 1u);
  EXPECT_EQ(read.warnings[0].origin.file, "a.yaml");
}

}  // namespace
}  // namespace bulkhead::source
