#include "tools/ctl/policy_test.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace bulkhead::ctl {
namespace {

namespace fs = std::filesystem;

constexpr char kCluster[] = R"(
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
- apiVersion: v1
  kind: Node
  metadata: {name: n1}
  status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: shop, labels: {app: web}}
  spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
  status: {phase: Running, podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: api, namespace: shop, labels: {app: api}}
  spec: {nodeName: n1, containers: [{name: c}]}
  status: {phase: Running, podIPs: [{ip: 10.0.0.2}, {ip: "fd00::2"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: six, namespace: shop}
  spec: {nodeName: n1, containers: [{name: c}]}
  status: {phase: Running, podIPs: [{ip: "fd00::3"}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: done, namespace: shop}
  spec: {nodeName: n1, containers: [{name: c}]}
  status: {phase: Succeeded, podIPs: [{ip: 10.0.0.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: agent, namespace: shop}
  spec: {nodeName: n1, hostNetwork: true, containers: [{name: c}]}
  status: {phase: Running, podIPs: [{ip: 192.168.0.1}]}
)";

constexpr char kPolicies[] = R"(apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: api}}}]
    ports: [{port: http}]
)";

class PolicyTest : public testing::Test {
 protected:
  PolicyTest() {
    fs::create_directories(directory_ / "policies");
    write("cluster.yaml", kCluster);
    write("policies/web.yaml", kPolicies);
  }
  ~PolicyTest() override { fs::remove_all(directory_); }

  void write(const std::string& name, const std::string& text) { std::ofstream(directory_ / name) << text; }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  int ask(const std::string& questions) {
    write("queries.csv", questions);
    std::ostringstream out, err;
    const int code =
        policy_test({{path("cluster.yaml")}, {path("policies")}, path("queries.csv"), {}}, out, err);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  const fs::path directory_ =
      fs::temp_directory_path() / ("bulkhead-policy-test-" + std::to_string(getpid()));
  std::string out_, err_;
};

TEST_F(PolicyTest, answers_carry_verdict_reason_and_rule) {
  ASSERT_EQ(ask("src,dst,proto,port\n"
                "shop/api,shop/web,tcp,8080\n"
                "shop/api,shop/web,TCP,8081\n"
                "shop/web,shop/api,17,53\n"
                "shop/web,shop/web,tcp,1\n"
                "192.168.0.1,shop/web,tcp,1\n"
                "shop/agent,shop/web,tcp,1\n"
                "198.51.100.1,shop/web,tcp,8080\n"),
            0)
      << err_;
  EXPECT_EQ(out_,
            "src,dst,proto,port,verdict,reason,rule\n"
            "shop/api,shop/web,tcp,8080,allow,allowed,NetworkPolicy shop/web ingress[0] " +
                path("policies/web.yaml") +
                ":7\n"
                "shop/api,shop/web,TCP,8081,deny,denied_default,\n"
                "shop/web,shop/api,17,53,allow,allowed,\n"
                "shop/web,shop/web,tcp,1,allow,self,\n"
                "192.168.0.1,shop/web,tcp,1,allow,own_node,\n"
                "shop/agent,shop/web,tcp,1,allow,own_node,\n"
                "198.51.100.1,shop/web,tcp,8080,deny,denied_default,\n");
}

TEST_F(PolicyTest, header_comments_and_blank_lines_are_optional) {
  ASSERT_EQ(ask("# a comment\r\n\r\n shop/web , shop/api , icmp , \r\n"), 0) << err_;
  EXPECT_EQ(out_, "shop/web,shop/api,icmp,,allow,allowed,\n");
  ASSERT_EQ(ask("shop/web,shop/api,icmp\n"), 0) << err_;
  EXPECT_EQ(out_, "shop/web,shop/api,icmp,allow,allowed,\n");
}

TEST_F(PolicyTest, a_finished_pod_is_known_and_has_no_address) {
  ASSERT_EQ(ask("shop/done,shop/api,tcp,1\nshop/api,shop/done,tcp,1\n"), 0) << err_;
  EXPECT_EQ(out_, "shop/done,shop/api,tcp,1,deny,no_route,\nshop/api,shop/done,tcp,1,deny,no_route,\n");
}

TEST_F(PolicyTest, protocols_have_names_and_numbers) {
  write("policies/web.yaml",
        "apiVersion: bulkhead.io/v1alpha1\nkind: SegmentationPolicy\nmetadata: {name: s, namespace: shop}\n"
        "spec:\n  edges:\n"
        "  - {name: gre, action: deny, ports: [protocol/47], from: {any: {}}, to: {matchLabels: {app: "
        "web}}}\n");
  ASSERT_EQ(ask("shop/api,shop/web,47,\nshop/api,shop/web,other,47\nshop/api,shop/web,other,46\n"
                "shop/api,shop/web,UDP,47\n"),
            0)
      << err_;
  const std::string rule = "SegmentationPolicy shop/s gre " + path("policies/web.yaml") + ":6";
  EXPECT_EQ(out_,
            "shop/api,shop/web,47,,deny,denied_policy," + rule +
                "\nshop/api,shop/web,other,47,deny,denied_policy," + rule +
                "\nshop/api,shop/web,other,46,allow,allowed,\nshop/api,shop/web,UDP,47,allow,allowed,\n");
}

TEST_F(PolicyTest, a_policy_of_the_whole_cluster_is_called_by_its_name_alone) {
  write("policies/admin.yaml",
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: guard}\n"
        "spec:\n  priority: 1\n  subject: {namespaces: {}}\n"
        "  egress: [{action: Deny, to: [{namespaces: {}}]}]\n");
  ASSERT_EQ(ask("shop/api,shop/web,tcp,8080\n"), 0) << err_;
  EXPECT_EQ(out_, "shop/api,shop/web,tcp,8080,deny,denied_policy,AdminNetworkPolicy guard egress[0] " +
                      path("policies/admin.yaml") + ":7\n");
}

TEST_F(PolicyTest, columns_may_come_in_any_order_and_others_are_kept) {
  ASSERT_EQ(ask("case,port,proto,dst,src\n\"1,a\",8080,tcp,shop/web,shop/six\n"), 0) << err_;
  EXPECT_EQ(out_,
            "case,port,proto,dst,src,verdict,reason,rule\n"
            "\"1,a\",8080,tcp,shop/web,shop/six,deny,denied_default,\n");
}

TEST_F(PolicyTest, ends_meet_in_a_common_family_or_not_at_all) {
  ASSERT_EQ(ask("shop/six,shop/api,tcp,1\nshop/six,10.0.0.2,tcp,1\nfd00::2,shop/web,tcp,8080\n"), 0) << err_;
  EXPECT_EQ(out_,
            "shop/six,shop/api,tcp,1,allow,allowed,\n"
            "shop/six,10.0.0.2,tcp,1,deny,no_route,\n"
            "fd00::2,shop/web,tcp,8080,allow,allowed,NetworkPolicy shop/web ingress[0] " +
                path("policies/web.yaml") + ":7\n");
}

TEST_F(PolicyTest, what_cannot_be_asked_is_named_with_its_line_and_nothing_is_answered) {
  EXPECT_EQ(ask("shop/api,shop/web,tcp,8080\n"
                "shop/apu,shop/web,tcp,8080\n"
                "api,shop/web,tcp,8080\n"
                "shop/api,10.0.0.300,tcp,8080\n"
                "shop/api,shop/web,tpc,8080\n"
                "shop/api,shop/web,tcp,http\n"
                "shop/api,shop/web\n"
                "shop/api,\"shop/web,tcp,8080\n"),
            1);
  EXPECT_EQ(out_, "");
  const std::string file = path("queries.csv");
  EXPECT_EQ(
      err_,
      file +
          ":2:1: src: found \"shop/apu\", expected namespace/pod or an address; did you mean "
          "\"shop/api\"?\n" +
          file +
          ":3:1: src: found \"api\", expected namespace/pod or an address; did you mean \"shop/api\"?\n" +
          file + ":4:10: dst: found \"10.0.0.300\", expected namespace/pod or an address\n" + file +
          ":5:19: proto: found protocol \"tpc\", expected tcp, udp, sctp, icmp or icmpv6, or a number up to "
          "255; did "
          "you mean \"tcp\"?\n" +
          file + ":6:23: port: found port \"http\", expected a number from 0 to 65535\n" + file +
          ":7:1: found 2 fields, expected src,dst,proto,port\n" + file +
          ":8:10: found a quote that nothing closes in its line, expected its partner\n");
}

TEST_F(PolicyTest, bad_policy_answers_nothing) {
  write("policies/bad.yaml", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nspec: {}\n");
  EXPECT_EQ(ask("shop/api,shop/web,tcp,8080\n"), 1);
  EXPECT_EQ(out_, "");
  EXPECT_NE(err_.find("bad.yaml:"), std::string::npos) << err_;
  write("policies/bad.yaml", "apiVersion: example.org/v1\nkind: Firewall\n");
  EXPECT_EQ(ask("shop/api,shop/web,tcp,8080\n"), 1);
  EXPECT_NE(err_.find("bad.yaml:2:7: kind: found the kind \"Firewall\""), std::string::npos) << err_;
}

}  // namespace
}  // namespace bulkhead::ctl
