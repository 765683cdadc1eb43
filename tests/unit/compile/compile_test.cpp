#include "controlplane/compile/compile.h"

#include <algorithm>

#include "controlplane/compile/compiler.h"
#include "tests/unit/compile/town.h"

namespace bulkhead::compile {
namespace {

std::string refusal_of(const Input& input) {
  const auto compiled = compile(input);
  const auto* refusal = std::get_if<Refusal>(&compiled);
  return refusal == nullptr ? "" : refusal->reason;
}

TEST(Compile, same_input_in_any_order_gives_the_same_bytes) {
  Town town, shuffled;
  for (Town* one : {&town, &shuffled}) {
    one->policies.policies.push_back(
        isolate("api", app("shop", "api"), {allow(policies::Everyone{}, tcp(443))}));
    one->cluster.endpoints[0].addresses.push_back(*policies::parse_address("fd00::1"));
  }
  std::reverse(shuffled.cluster.endpoints.begin(), shuffled.cluster.endpoints.end());
  std::reverse(shuffled.cluster.endpoints.back().addresses.begin(),
               shuffled.cluster.endpoints.back().addresses.end());
  std::reverse(shuffled.cluster.namespaces.begin(), shuffled.cluster.namespaces.end());
  std::reverse(shuffled.cluster.nodes.begin(), shuffled.cluster.nodes.end());
  std::reverse(shuffled.policies.policies.begin(), shuffled.policies.policies.end());
  Input one = town.input(), other = shuffled.input();
  one.ports = {{"id-web-1", 3, 33}, {"id-api-1", 4, 44}};
  other.ports = {{"id-api-1", 4, 44}, {"id-web-1", 3, 33}};
  const Output a = must_compile(one), b = must_compile(other);
  EXPECT_EQ(a.image, b.image);
}

TEST(Compile, endpoints_that_no_rule_tells_apart_share_a_record) {
  const Town town;
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  EXPECT_EQ(bound(view, "10.0.0.1").record, bound(view, "10.0.0.2").record);
  EXPECT_NE(bound(view, "10.0.0.1").endpoint, bound(view, "10.0.0.2").endpoint);
  EXPECT_NE(bound(view, "10.0.0.1").record, bound(view, "10.0.0.3").record);
}

TEST(Compile, new_container_with_known_labels_leaves_the_policy_section_alone) {
  Town town;
  const Output before = must_compile(town.input());
  town.add("shop", "web-3", "web", "10.0.0.9");
  const Output after = must_compile(town.input());
  EXPECT_EQ(*before.image.policy, *after.image.policy);
  EXPECT_NE(before.image, after.image);
}

TEST(Compile, policy_of_other_nodes_endpoints_changes_nothing_here) {
  Town town;
  const Output before = must_compile(town.input());
  town.policies.policies.push_back(
      isolate("vault", app("bank", "vault"), {allow(policies::World{}, tcp(1))}));
  const Output after = must_compile(town.input());
  EXPECT_EQ(before.image, after.image);
}

TEST(Compile, only_endpoints_of_this_node_are_judged_unless_all_are_wanted) {
  Town town;
  town.policies.policies.push_back(isolate("vault", app("bank", "vault"), {}));
  Input input = town.input();
  const Output local = must_compile(input);
  EXPECT_TRUE(judge(view_of(local), "10.0.0.1", "10.0.1.1", 80).allowed());
  input.subjects = Subjects::kEvery;
  const Output every = must_compile(input);
  EXPECT_EQ(judge(view_of(every), "10.0.0.1", "10.0.1.1", 80).fate, abi::Fate::kDeniedDefault);
}

TEST(Compile, verdict_leads_to_the_rule_its_policy_and_its_line) {
  const Town town;
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  const auto judgement = judge(view, "10.0.0.3", "10.0.0.1", 80);
  ASSERT_TRUE(judgement.allowed());
  ASSERT_NE(judgement.rule, 0u);
  const image::Rule& rule = view.rules[judgement.rule];
  EXPECT_EQ(view.policy_text(rule.name), "ingress[0]");
  EXPECT_EQ(view.policy_text(rule.peers),
            policies::describe_peers(town.policies.policies[0].clauses[0].rules[0]));
  EXPECT_EQ(view.policy_text(rule.ports), "tcp/80");
  EXPECT_EQ(rule.line, 9u);
  EXPECT_EQ(rule.column, 5u);
  const image::Policy& policy = view.policies[rule.policy];
  EXPECT_EQ(view.policy_text(policy.kind), "NetworkPolicy");
  EXPECT_EQ(view.policy_text(policy.namespace_name), "shop");
  EXPECT_EQ(view.policy_text(policy.name), "web");
  EXPECT_EQ(view.policy_text(policy.file), "p.yaml");
  EXPECT_EQ(policy.line, 3u);
}

TEST(Compile, default_denial_leads_to_who_isolates_and_to_the_governing_rules) {
  Town town;
  town.policies.policies.push_back(isolate("closed", app("shop", "web"), {}));
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  const auto judgement = judge(view, "10.0.0.3", "10.0.0.1", 81);
  EXPECT_EQ(judgement.fate, abi::Fate::kDeniedDefault);
  const auto subject = view.record(bound(view, "10.0.0.1").record).subject[image::kIngress];
  const image::SubjectClass& traits = view.subjects[image::kIngress][subject];
  ASSERT_EQ(traits.isolating_count, 2u);
  const auto name = [&](std::uint32_t at) {
    return view.policy_text(view.policies[view.isolating[traits.isolating_first + at]].name);
  };
  EXPECT_EQ(name(0), "closed");
  EXPECT_EQ(name(1), "web");
  ASSERT_EQ(traits.rules_count, 1u);
  EXPECT_EQ(view.policy_text(view.rules[view.governing[traits.rules_first]].ports), "tcp/80");
}

TEST(Compile, node_is_the_endpoint_host_and_other_nodes_are_marked) {
  const Town town;
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  const image::Bound here = bound(view, "192.168.0.1"), there = bound(view, "192.168.0.2");
  ASSERT_NE(here.endpoint, 0u);
  EXPECT_EQ(view.name_of(here.endpoint), "host");
  EXPECT_EQ(view.endpoint(here.endpoint).flags, image::kEndpointNode);
  EXPECT_EQ(there.endpoint, 0u);
  EXPECT_EQ(view.record(there.record).flags, image::kRecordNode);
  EXPECT_EQ(view.record(there.record).subject[image::kIngress], image::kNoSubject);
  EXPECT_TRUE(judge(view, "192.168.0.1", "10.0.0.1", 1).allowed()) << "its own node reaches it";
  EXPECT_FALSE(judge(view, "192.168.0.2", "10.0.0.1", 1).allowed()) << "another node does not";
}

TEST(Compile, ports_tie_endpoints_to_the_data_plane) {
  const Town town;
  Input input = town.input();
  input.ports = {{"id-web-2", 7, 0x1234}, {"id-nobody", 8, 1}};
  const Output output = must_compile(input);
  const image::View view = view_of(output);
  const image::Endpoint& web = view.endpoint(bound(view, "10.0.0.2").endpoint);
  EXPECT_EQ(web.port, 7u);
  EXPECT_EQ(web.port_key, 0x1234u);
  EXPECT_EQ(web.flags, image::kEndpointLocal);
  const image::Endpoint& api = view.endpoint(bound(view, "10.0.0.3").endpoint);
  EXPECT_EQ(api.port, 0u);
  EXPECT_EQ(api.flags, image::kEndpointOther);
}

TEST(Compile, port_name_means_on_each_receiver_what_it_says_there) {
  Town town;
  town.cluster.endpoints[0].ports = {{"http", policies::Protocol::kTcp, 8080}};
  town.cluster.endpoints[1].ports = {{"http", policies::Protocol::kTcp, 9090}};
  town.policies.policies = {isolate("web", app("shop", "web"),
                                    {allow(policies::Everyone{}, {policies::Protocol::kTcp, 0, 0, "http"})})};
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  EXPECT_TRUE(judge(view, "10.0.0.3", "10.0.0.1", 8080).allowed());
  EXPECT_FALSE(judge(view, "10.0.0.3", "10.0.0.1", 9090).allowed());
  EXPECT_TRUE(judge(view, "10.0.0.3", "10.0.0.2", 9090).allowed());
  EXPECT_FALSE(judge(view, "10.0.0.3", "10.0.0.2", 8080).allowed());
}

TEST(Compile, address_claimed_twice_is_refused_with_both_names) {
  Town town;
  town.add("bank", "thief", "web", "10.0.0.1");
  const std::string reason = refusal_of(town.input());
  EXPECT_NE(reason.find("shop/web-1"), std::string::npos) << reason;
  EXPECT_NE(reason.find("bank/thief"), std::string::npos) << reason;
  EXPECT_NE(reason.find("10.0.0.1"), std::string::npos) << reason;
}

TEST(Compile, address_of_two_nodes_is_refused) {
  Town town;
  town.cluster.nodes[1].addresses = town.cluster.nodes[0].addresses;
  EXPECT_NE(refusal_of(town.input()).find("192.168.0.1"), std::string::npos);
}

TEST(Compile, host_network_endpoint_is_its_node) {
  Town town;
  auto& agent = town.add("shop", "agent", "web", "192.168.0.1");
  agent.host_network = true;
  const Output output = must_compile(town.input());
  const image::View view = view_of(output);
  EXPECT_EQ(view.name_of(bound(view, "192.168.0.1").endpoint), "host");
}

TEST(Compile, candidate_beyond_a_bound_is_refused_whole_with_the_bound) {
  const Town town;
  Input section = town.input();
  section.limits.section_bytes_max = 1024;
  EXPECT_NE(refusal_of(section).find("1024"), std::string::npos) << refusal_of(section);
  Input work = town.input();
  work.limits.work_bytes_max = 8;
  EXPECT_NE(refusal_of(work).find("8 bytes"), std::string::npos) << refusal_of(work);
}

TEST(Compile, port_number_out_of_range_is_refused) {
  const Town town;
  Input input = town.input();
  input.ports = {{"id-web-1", 4096, 1}};
  EXPECT_NE(refusal_of(input).find("4096"), std::string::npos) << refusal_of(input);
}

TEST(Compile, what_the_caller_knows_to_be_the_same_is_not_all_there_is) {
  Town town;
  Compiler compiler;
  constexpr Same kAll{.policies = true, .cluster = true};
  Input input = town.input();
  const auto expect_whole = [&](const char* what, Same same) {
    EXPECT_EQ(std::get<Output>(compiler.update(input, same)).image, must_compile(input).image) << what;
  };
  expect_whole("nothing is known of before", kAll);
  input.ports = {{"id-web-1", 3, 33}};
  expect_whole("a port", kAll);
  input.ports[0].port_key = 34;
  expect_whole("another key", kAll);
  input.node.addresses = {*policies::parse_address("192.168.0.9")};
  expect_whole("another address of the node", kAll);
  input.posture.action = policies::Action::kAllow;
  expect_whole("another posture", kAll);
  town.policies.policies.push_back(isolate("api", app("shop", "api"), {}));
  expect_whole("a policy", {.policies = false, .cluster = true});
  town.add("shop", "api-2", "api", "10.0.0.9");
  expect_whole("an endpoint", {.policies = true, .cluster = false});
  expect_whole("nothing", kAll);
}

TEST(Compile, nothing_at_all_compiles_to_world_alone) {
  const policies::Cluster nobody;
  const policies::PolicySet nothing;
  const Output output = must_compile({.cluster = nobody, .policies = nothing});
  const image::View view = view_of(output);
  EXPECT_EQ(bound(view, "10.0.0.1").endpoint, 0u);
  EXPECT_NE(bound(view, "fd00::1").record, 0u);
}

}  // namespace
}  // namespace bulkhead::compile
