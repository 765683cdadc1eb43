#include "tools/ctl/explain.h"

#include <gtest/gtest.h>

#include "tests/unit/ctl/shop.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {
namespace {

class Explain : public testing::Test {
 protected:
  Value ask(const std::string& from, const std::string& to, const std::string& port) {
    const End a = resolve_end(view(), from), b = resolve_end(view(), to);
    return explain(view(), {a.addresses[0], b.addresses[0], a.name, b.name, parse_port(port)});
  }
  const image::View& view() const { return shop_.view; }

  shop::Image shop_ = shop::compile_shop();
};

TEST_F(Explain, an_allowed_flow_names_the_rule_and_line_at_both_ends) {
  const Value answer = ask("web", "api", "tcp/8080");
  EXPECT_EQ(answer["allowed"], true);
  EXPECT_EQ(answer["fate"], "forwarded");
  for (const char* side : {"egress", "ingress"}) {
    EXPECT_EQ(answer[side]["allowed"], true) << side;
    ASSERT_FALSE(answer[side]["rule"].is_null()) << side;
    EXPECT_EQ(answer[side]["rule"]["policy"], "SegmentationPolicy shop/shop");
    EXPECT_EQ(answer[side]["rule"]["name"], "web-to-api");
    EXPECT_EQ(answer[side]["rule"]["file"], "shop.yaml");
    EXPECT_EQ(answer[side]["rule"]["line"], 6);
  }
}

TEST_F(Explain, a_quarantine_is_named_with_author_and_reason_at_both_ends) {
  const policies::Quarantine quarantine{"shop", "web", "beacons to 198.51.100.7", "alice"};
  shop_ = shop::compile_shop("", {&quarantine, 1});
  for (const auto& [from, to] : {std::pair("web", "api"), std::pair("api", "web")}) {
    const Value answer = ask(from, to, "tcp/8080");
    EXPECT_EQ(answer["fate"], "denied_policy");
    for (const char* side : {"egress", "ingress"}) {
      EXPECT_EQ(answer[side]["why"], "denied: shop/web is quarantined by alice: beacons to 198.51.100.7");
      EXPECT_EQ(answer[side]["rule"]["tier"], "quarantine");
    }
  }
  const Value egress = ask("web", "api", "tcp/8080")["egress"];
  ASSERT_EQ(egress["selected_by"].size(), 2u);
  EXPECT_EQ(egress["selected_by"][0]["policy"], "Quarantine shop/web");
  EXPECT_EQ(egress["selected_by"][0]["answer"], "decides");
  EXPECT_EQ(ask("job", "db", "tcp/5432")["fate"], "denied_posture") << "others as before";
}

TEST_F(Explain, an_answer_names_its_tier_and_the_rules_that_passed_the_packet_on) {
  shop_ = shop::compile_shop(R"(apiVersion: policy.networking.k8s.io/v1alpha1
kind: AdminNetworkPolicy
metadata: {name: guard}
spec:
  priority: 7
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: api}}}}
  ingress:
  - {name: own, action: Pass, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]}
  - {name: rest, action: Deny, from: [{namespaces: {}}]}
)");
  const Value passed = ask("web", "api", "tcp/8080")["ingress"];
  EXPECT_EQ(passed["rule"]["name"], "web-to-api");
  EXPECT_EQ(passed["rule"]["tier"], "application");
  ASSERT_EQ(passed["passed"].size(), 1u);
  EXPECT_EQ(passed["passed"][0]["action"], "pass");
  EXPECT_EQ(
      passed["why"],
      "allowed by SegmentationPolicy shop/shop, rule 'web-to-api' (shop.yaml:6), after AdminNetworkPolicy "
      "guard, rule 'own' (more.yaml:8) passed it on");
  const Value isolated = ask("web", "api", "tcp/22")["ingress"];
  EXPECT_EQ(isolated["fate"], "denied_default");
  EXPECT_EQ(isolated["passed"].size(), 1u);
  const Value denied = ask("job", "api", "tcp/8080")["ingress"];
  EXPECT_EQ(denied["fate"], "denied_policy");
  EXPECT_EQ(denied["why"], "denied by AdminNetworkPolicy guard, rule 'rest' (more.yaml:9)");
  EXPECT_EQ(denied["rule"]["tier"], "platform");
  EXPECT_EQ(denied["rule"]["priority"], 7);
}

constexpr const char* kMeshPolicy = R"(apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: mesh, namespace: shop}
spec:
  selector: {matchLabels: {app: api}}
  rules:
  - from: [{source: {serviceAccounts: [nobody]}}]
  - {from: [{source: {namespaces: [shop]}}], to: [{operation: {ports: ["8080"]}}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: shop}
spec: {selector: {matchLabels: {app: api}}}
)";

TEST_F(Explain, the_mesh_rule_that_admitted_a_packet_is_named_before_who_allows_it) {
  shop_ = shop::compile_shop(kMeshPolicy);
  const Value side = ask("web", "api", "tcp/8080")["ingress"];
  EXPECT_EQ(side["rule"]["name"], "web-to-api");
  ASSERT_EQ(side["passed"].size(), 1u);
  EXPECT_EQ(side["passed"][0]["tier"], "mesh");
  EXPECT_EQ(side["why"],
            "allowed by SegmentationPolicy shop/shop, rule 'web-to-api' (shop.yaml:6), after "
            "AuthorizationPolicy shop/mesh, rule 'rules[1]' (more.yaml:8) passed it on");
  ASSERT_EQ(side["selected_by"].size(), 3u);
  EXPECT_EQ(side["selected_by"][0]["answer"], nullptr);
  EXPECT_EQ(side["selected_by"][1]["answer"], "passes");
  EXPECT_EQ(side["selected_by"][2]["answer"], "decides");
}

TEST_F(Explain, what_no_mesh_rule_admits_names_the_nearest_that_would_have) {
  shop_ = shop::compile_shop(kMeshPolicy);
  const Value side = ask("web", "api", "tcp/9000")["ingress"];
  EXPECT_EQ(side["fate"], "denied_policy");
  EXPECT_EQ(side["why"],
            "shop/api is governed by AuthorizationPolicy shop/closed (more.yaml:10), and no rule of an ALLOW "
            "policy lets this in");
  ASSERT_FALSE(side["nearest"].is_null());
  EXPECT_EQ(side["nearest"]["lacks"], "port");
  EXPECT_EQ(side["nearest"]["rule"]["name"], "rules[1]");
  EXPECT_EQ(side["nearest"]["words"], "it allows tcp/8080 from shop/web, not tcp/9000");

  const Value stranger = ask("world", "api", "tcp/8080")["ingress"];
  EXPECT_EQ(stranger["nearest"]["lacks"], "peer");
  EXPECT_EQ(stranger["nearest"]["rule"]["name"], "rules[1]");
}

TEST_F(Explain, a_default_denial_names_who_isolates_and_the_ports_that_the_peer_may_use) {
  const Value side = ask("web", "api", "tcp/22")["ingress"];
  EXPECT_EQ(side["fate"], "denied_default");
  ASSERT_EQ(side["isolated_by"].size(), 1u);
  EXPECT_EQ(side["isolated_by"][0]["policy"], "SegmentationPolicy shop/shop");
  EXPECT_EQ(side["isolated_by"][0]["file"], "shop.yaml");
  EXPECT_GT(side["isolated_by"][0]["line"], 0);
  ASSERT_FALSE(side["nearest"].is_null());
  EXPECT_EQ(side["nearest"]["lacks"], "port");
  EXPECT_EQ(side["nearest"]["ports"], "tcp/8080, tcp/9000-9100");
  EXPECT_EQ(side["nearest"]["words"], "it allows tcp/8080, tcp/9000-9100 from shop/web, not tcp/22");
}

TEST_F(Explain, an_end_names_every_policy_that_selects_it_and_the_one_that_decides) {
  const Value allowed = ask("api", "db", "tcp/5432")["ingress"]["selected_by"];
  ASSERT_EQ(allowed.size(), 1u);
  EXPECT_EQ(allowed[0]["policy"], "SegmentationPolicy shop/shop");
  EXPECT_EQ(allowed[0]["rules"], 2);
  EXPECT_EQ(allowed[0]["isolates"], true);
  EXPECT_EQ(allowed[0]["answer"], "decides");
  EXPECT_TRUE(ask("api", "db", "tcp/1")["ingress"]["selected_by"][0]["answer"].is_null());
  EXPECT_TRUE(ask("lab/open", "lab/open", "tcp/1")["ingress"]["selected_by"].empty());
  EXPECT_TRUE(ask("world", "web", "tcp/443")["egress"]["selected_by"].empty());
}

TEST_F(Explain, a_peer_that_no_rule_admits_is_told_whom_the_port_is_open_for) {
  const Value answer = ask("job", "api", "tcp/8080");
  EXPECT_EQ(answer["allowed"], false);
  const Value side = answer["ingress"];
  EXPECT_EQ(side["fate"], "denied_default");
  EXPECT_EQ(side["nearest"]["lacks"], "peer");
  EXPECT_EQ(side["nearest"]["rule"]["name"], "web-to-api");
  EXPECT_EQ(side["nearest"]["like"]["labels"], "app=web");
  const std::string words = side["nearest"]["words"];
  EXPECT_NE(words.find("app=web"), std::string::npos) << words;
  EXPECT_NE(words.find("shop/job is app=job in namespace shop"), std::string::npos) << words;
}

TEST_F(Explain, a_rule_that_lacks_only_the_port_is_nearer_than_one_that_lacks_the_peer) {
  const Value nearest = ask("far/pod", "api", "tcp/8080")["ingress"]["nearest"];
  EXPECT_EQ(nearest["lacks"], "port");
  EXPECT_EQ(nearest["rule"]["name"], "far-to-api");
}

TEST_F(Explain, where_neither_fits_a_rule_that_governs_is_still_shown) {
  const Value side = ask("job", "api", "udp/53")["ingress"];
  EXPECT_EQ(side["fate"], "denied_default");
  EXPECT_EQ(side["nearest"]["lacks"], "neither");
  EXPECT_EQ(side["nearest"]["rule"]["name"], "web-to-api");
}

TEST_F(Explain, where_no_rule_could_allow_the_posture_answers_and_nothing_is_near) {
  const Value side = ask("job", "db", "tcp/5432")["egress"];
  EXPECT_EQ(side["fate"], "denied_posture");
  EXPECT_TRUE(side["nearest"].is_null());
  // The deny edge `no-legacy` is about everybody: it speaks of job, and allows nothing.
  EXPECT_EQ(side["why"], "no policy allows this egress of shop/job, and the node's posture is deny");
}

TEST_F(Explain, an_end_that_no_policy_speaks_of_is_told_so) {
  const Value side = ask("world", "job", "tcp/80")["ingress"];
  EXPECT_EQ(side["fate"], "denied_posture");
  EXPECT_EQ(side["why"], "no policy speaks of the ingress of shop/job, and the node's posture is deny");
}

TEST_F(Explain, a_deny_rule_is_named_and_no_nearest_rule_is_sought) {
  const Value side = ask("api", "db", "tcp/23")["ingress"];
  EXPECT_EQ(side["fate"], "denied_policy");
  EXPECT_EQ(side["rule"]["name"], "no-legacy");
  EXPECT_EQ(side["rule"]["action"], "deny");
  EXPECT_TRUE(side["nearest"].is_null());
}

TEST_F(Explain, the_world_has_no_end_of_its_own) {
  const Value answer = ask("world", "web", "tcp/443");
  EXPECT_EQ(answer["allowed"], true);
  EXPECT_EQ(answer["egress"]["judged"], false);
  EXPECT_EQ(answer["ingress"]["rule"]["name"], "customers-to-web");
}

TEST_F(Explain, an_endpoint_of_another_node_is_judged_there) {
  const Value side = ask("far/pod", "web", "tcp/443")["egress"];
  EXPECT_EQ(side["judged"], false);
  EXPECT_NE(side["why"].get<std::string>().find("its own node judges"), std::string::npos);
}

TEST_F(Explain, an_endpoint_always_reaches_itself) {
  const Value answer = ask("job", "job", "tcp/1");
  EXPECT_EQ(answer["allowed"], true);
  EXPECT_EQ(answer["ingress"]["why"], "an endpoint always reaches itself");
}

TEST_F(Explain, a_kubernetes_endpoint_is_open_until_a_policy_isolates_it) {
  EXPECT_EQ(ask("lab/open", "lab/open", "tcp/1")["allowed"], true);
  const Value answer = ask("lab/open", "lab/pod", "tcp/80");
  EXPECT_NE(answer["egress"]["why"].get<std::string>().find("open until one does"), std::string::npos);
  EXPECT_EQ(answer["ingress"]["fate"], "denied_default");
  EXPECT_EQ(answer["ingress"]["isolated_by"][0]["policy"], "NetworkPolicy lab/pods-in");
}

TEST_F(Explain, a_kubernetes_endpoint_is_reached_by_its_own_node) {
  const Value answer = ask("host", "lab/pod", "tcp/10250");
  EXPECT_EQ(answer["egress"]["judged"], false);
  EXPECT_NE(answer["egress"]["why"].get<std::string>().find("is a node"), std::string::npos);
  const Value side = answer["ingress"];
  EXPECT_EQ(side["allowed"], true);
  EXPECT_NE(side["why"].get<std::string>().find("own node"), std::string::npos);
}

TEST_F(Explain, the_top_of_the_answer_is_the_data_planes_judgement) {
  for (const char* from : {"web", "api", "db", "job", "lab/pod", "lab/open", "far/pod", "world", "host"}) {
    for (const char* to : {"web", "api", "db", "job", "lab/pod", "lab/open", "far/pod", "world", "host"}) {
      for (const char* port : {"tcp/8080", "tcp/5432", "tcp/23", "tcp/443", "udp/53", "icmp", "proto/47"}) {
        const End a = resolve_end(view(), from), b = resolve_end(view(), to);
        const Port asked = parse_port(port);
        const auto judged = image::judge(view(), image::bind(view(), a.addresses[0]),
                                         image::bind(view(), b.addresses[0]), asked.slot, asked.number);
        const Value answer = ask(from, to, port);
        SCOPED_TRACE(std::string(from) + " -> " + to + " " + port);
        EXPECT_EQ(answer["allowed"], judged.allowed());
        EXPECT_EQ(answer["fate"], abi::name(judged.fate));
        EXPECT_EQ(answer["allowed"].get<bool>(),
                  answer["egress"]["allowed"].get<bool>() && answer["ingress"]["allowed"].get<bool>());
      }
    }
  }
}

TEST_F(Explain, an_unknown_end_names_the_nearest_one) {
  try {
    resolve_end(view(), "shop/wbe");
    FAIL();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.exit, kExitUsage);
    EXPECT_NE(std::string(failure.what()).find("did you mean 'shop/web'?"), std::string::npos)
        << failure.what();
  }
}

TEST_F(Explain, a_name_of_two_endpoints_must_be_told_apart) {
  try {
    resolve_end(view(), "pod");
    FAIL();
  } catch (const Failure& failure) {
    EXPECT_NE(std::string(failure.what()).find("lab/pod"), std::string::npos) << failure.what();
    EXPECT_NE(std::string(failure.what()).find("far/pod"), std::string::npos) << failure.what();
  }
}

TEST(Port, is_read_in_the_ways_people_write_it) {
  EXPECT_EQ(port_text(parse_port("tcp/443")), "tcp/443");
  EXPECT_EQ(port_text(parse_port("443/TCP")), "tcp/443");
  EXPECT_EQ(port_text(parse_port("icmp")), "icmp/8");
  EXPECT_EQ(port_text(parse_port("icmpv6")), "icmpv6/128");
  EXPECT_EQ(port_text(parse_port("proto/47")), "proto/47");
}

TEST(Port, is_refused_where_it_is_none) {
  for (const char* wrong :
       {"", "tcp", "tcp/", "tcp/65536", "tcp/-1", "tcp/http", "icmp/256", "443", "tpc/80", "/"}) {
    try {
      parse_port(wrong);
      ADD_FAILURE() << wrong;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.exit, kExitUsage);
    }
  }
}

TEST_F(Explain, without_audited_policies_there_is_one_verdict) {
  EXPECT_TRUE(ask("web", "api", "tcp/8080")["audit"].is_null());
}

TEST_F(Explain, an_audited_policy_decides_nothing_and_says_what_it_would_have) {
  shop_ = shop::compile_shop(R"(apiVersion: bulkhead.io/v1alpha1
kind: SegmentationPolicy
metadata: {name: trial, namespace: shop}
spec:
  mode: audit
  edges:
  - {name: no-web, from: {matchLabels: {app: web}}, to: {matchLabels: {app: api}}, ports: [tcp/8080], action: deny}
  - {name: api-to-job, from: {matchLabels: {app: api}}, to: {matchLabels: {app: job}}, ports: [tcp/80]}
)");
  const Value denied = ask("web", "api", "tcp/8080");
  EXPECT_EQ(denied["allowed"], true);
  EXPECT_EQ(denied["ingress"]["rule"]["name"], "web-to-api");
  EXPECT_EQ(denied["audit"]["allowed"], false);
  EXPECT_EQ(denied["audit"]["differs"], true);
  EXPECT_EQ(denied["audit"]["rule"]["name"], "no-web");
  EXPECT_EQ(denied["audit"]["why"],
            "denied at shop/web by SegmentationPolicy shop/trial, rule 'no-web' (more.yaml:7)");
  const Value allowed = ask("api", "job", "tcp/80");
  EXPECT_TRUE(allowed["ingress"]["isolated_by"].empty()) << "an audited policy isolates nobody";
  EXPECT_EQ(allowed["ingress"]["fate"], "denied_posture");
  EXPECT_EQ(allowed["audit"]["allowed"], true);
  EXPECT_EQ(allowed["audit"]["differs"], true);
  const Value isolated = ask("world", "job", "tcp/80");
  EXPECT_EQ(isolated["fate"], "denied_posture");
  EXPECT_EQ(isolated["audit"]["fate"], "denied_default");
  EXPECT_EQ(isolated["audit"]["differs"], false);
  EXPECT_EQ(isolated["audit"]["isolated_by"][0]["policy"], "SegmentationPolicy shop/trial");
  EXPECT_EQ(
      isolated["audit"]["why"],
      "shop/job would be isolated by SegmentationPolicy shop/trial (more.yaml:1), and no rule allows this");
  bool marked = false;
  for (const Value& policy : isolated["ingress"]["selected_by"])
    marked |= policy["policy"] == "SegmentationPolicy shop/trial" && policy["audited"] == true;
  EXPECT_TRUE(marked);
}

}  // namespace
}  // namespace bulkhead::ctl
