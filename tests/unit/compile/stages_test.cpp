// The stages that have an invariant of their own.
#include <random>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/selectors.h"
#include "tests/unit/compile/town.h"

namespace bulkhead::compile {
namespace {

TEST(ListTable, equal_lists_have_one_number_and_numbers_follow_first_use) {
  ListTable table;
  for (std::uint32_t i = 0; i < 1000; ++i) ASSERT_EQ(table.intern({i, i * 7}), i);
  for (std::uint32_t i = 0; i < 1000; ++i) ASSERT_EQ(table.intern({i, i * 7}), i);
  EXPECT_EQ(table.intern({7, 1}), 1000u);
  EXPECT_EQ(table.intern({}), 1001u);
  EXPECT_EQ(table[1001].size(), 0u);
  EXPECT_EQ(table[5][1], 35u);
}

TEST(Selectors, wide_answers_from_the_index_equal_trying_each_identity) {
  std::mt19937 random(7);
  const char* const values[] = {"a", "b", "c", ""};
  const char* const keys[] = {"k0", "k1", "k2", "k3", "k4"};
  policies::Cluster cluster;
  for (int i = 0; i < 5; ++i)
    cluster.namespaces.push_back({"ns" + std::to_string(i), {{"zone", values[random() % 2]}}});
  for (int i = 0; i < 900; ++i) {
    policies::Endpoint endpoint;
    endpoint.id = endpoint.name = std::to_string(i);
    endpoint.namespace_name = "ns" + std::to_string(random() % 5);
    for (const char* key : keys)
      if (random() % 4 != 0) endpoint.labels[key] = values[random() % 4];
    cluster.endpoints.push_back(endpoint);
  }
  const policies::PolicySet none;
  const Input input{.cluster = cluster, .policies = none};
  const Census census = take_census(input);
  ASSERT_GT(census.identities.size(), 500u);

  std::vector<policies::EndpointSelector> asked(400);
  for (auto& selector : asked) {
    if (random() % 3 == 0)
      selector.namespace_name = "ns" + std::to_string(random() % 6);
    else if (random() % 2 == 0)
      selector.namespaces.requirements = {{"zone", policies::Operator::kIn, {"a"}}};
    for (std::uint32_t count = random() % 3; count > 0; --count) {
      policies::Requirement requirement{
          keys[random() % 5], static_cast<policies::Operator>(random() % 4), {}};
      if (random() % 10 == 0) requirement.key = "unheard-of";
      if (requirement.op == policies::Operator::kIn || requirement.op == policies::Operator::kNotIn)
        requirement.values = {values[random() % 4]};
      selector.endpoints.requirements.push_back(requirement);
    }
  }
  Selectors selectors(census, input.limits);
  for (const auto& selector : asked) {
    const auto found = selectors.identities(selectors.intern(selector));
    std::vector<std::uint32_t> wanted;
    for (std::uint32_t i = 0; i < census.identities.size(); ++i) {
      policies::Endpoint endpoint;
      endpoint.namespace_name = census.namespaces[census.identities[i].namespace_index].name;
      endpoint.labels = *census.identities[i].labels;
      if (selector.matches(endpoint, *census.namespaces[census.identities[i].namespace_index].labels))
        wanted.push_back(i);
    }
    ASSERT_EQ(std::vector<std::uint32_t>(found.begin(), found.end()), wanted)
        << policies::describe(policies::Peer{selector});
  }
}

policies::IpBlock block(const std::string& text, const std::vector<std::string>& except = {}) {
  policies::IpBlock result{*policies::parse_block(text), {}};
  for (const auto& hole : except) result.except.push_back(*policies::parse_block(hole));
  return result;
}

TEST(Blocks, region_of_an_address_holds_exactly_the_blocks_that_contain_it) {
  const std::vector<policies::IpBlock> written = {block("0.0.0.0/0", {"10.0.0.0/8"}),
                                                  block("10.0.0.0/8", {"10.1.0.0/16", "10.2.3.4/32"}),
                                                  block("10.1.2.0/24"),
                                                  block("::/0"),
                                                  block("fd00::/8", {"fd00::/64"}),
                                                  block("10.2.0.0/15", {"10.2.0.0/16"})};
  std::vector<const policies::IpBlock*> blocks[2];
  for (const auto& one : written) blocks[0].push_back(&one);
  const Blocks tree(blocks);
  for (const char* text :
       {"0.0.0.0",  "9.255.255.255", "10.0.0.0", "10.0.255.255", "10.1.0.0", "10.1.2.0", "10.1.2.255",
        "10.1.3.0", "10.2.3.3",      "10.2.3.4", "10.2.3.5",     "10.3.0.0", "11.0.0.0", "255.255.255.255",
        "::",       "fcff::",        "fd00::1",  "fd00:0:0:1::", "fdff::",   "fe00::"}) {
    const auto address = *policies::parse_address(text);
    std::vector<std::uint32_t> wanted;
    for (std::uint32_t i = 0; i < written.size(); ++i)
      if (written[i].contains(address)) wanted.push_back(i);
    const auto& region = tree.regions()[tree.region_of(address)];
    const auto found = tree.set(region.sets[0]);
    EXPECT_EQ(std::vector<std::uint32_t>(found.begin(), found.end()), wanted) << text;
    EXPECT_TRUE(tree.set(region.sets[1]).empty()) << "no rule of the other direction names a block";
  }
}

TEST(Ports, classes_are_cut_where_terms_begin_and_end_and_shared_where_terms_agree) {
  policies::Rule web = allow(policies::Everyone{}, tcp(80));
  web.ports.push_back({policies::Protocol::kUdp, 300, 700, {}});
  const policies::Rule all_tcp = allow(policies::Everyone{}, {policies::Protocol::kTcp, 0, 0xffff, {}});
  Ports ports;
  const std::uint32_t web_ports = ports.intern(web), tcp_ports = ports.intern(all_tcp);
  EXPECT_EQ(ports.intern(web), web_ports);
  ports.settle();
  const auto class_of = [&](std::uint32_t slot, std::uint32_t port) -> std::uint32_t {
    return ports.pages[ports.page_of[slot * 256 + port / 256] * 256u + port % 256];
  };
  EXPECT_EQ(ports.class_count(), 4u) << "nothing; tcp; tcp/80; udp/300-700";
  EXPECT_EQ(class_of(image::kSctp, 80), 0u);
  EXPECT_EQ(class_of(image::kTcp, 79), class_of(image::kTcp, 65535));
  EXPECT_EQ(class_of(image::kTcp, 81), class_of(image::kTcp, 0));
  EXPECT_NE(class_of(image::kTcp, 80), class_of(image::kTcp, 81));
  EXPECT_EQ(class_of(image::kUdp, 299), 0u);
  EXPECT_EQ(class_of(image::kUdp, 300), class_of(image::kUdp, 700));
  EXPECT_NE(class_of(image::kUdp, 512), 0u);
  EXPECT_NE(class_of(image::kUdp, 512), class_of(image::kTcp, 80));
  EXPECT_EQ(class_of(image::kUdp, 701), 0u);

  std::vector<std::uint32_t> covered;
  ports.classes(tcp_ports, 0, covered);
  sort_unique(covered);
  EXPECT_EQ(covered.size(), 2u);
}

}  // namespace
}  // namespace bulkhead::compile
