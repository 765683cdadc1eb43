#include "controlplane/analysis/meeting.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "controlplane/analysis/redundancy.h"
#include "policies/model/address.h"
#include "tests/property/scenario.h"

namespace bulkhead::analysis {
namespace {

using Numbers = std::vector<std::uint32_t>;

template <typename Matches>
Numbers those_that(const policies::Cluster& cluster, Matches matches) {
  Numbers numbers;
  for (std::uint32_t i = 0; i < cluster.endpoints.size(); ++i)
    if (matches(cluster.endpoints[i])) numbers.push_back(i);
  return numbers;
}

void expect_met(const policies::Cluster& cluster, const Met& met, const Numbers& expected, bool ports) {
  EXPECT_EQ(met.count, expected.size());
  EXPECT_EQ(met.first,
            Numbers(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(
                                                             std::min(expected.size(), Meeting::kNamesMax))));
  if (!ports) return;
  std::set<std::pair<policies::Protocol, std::string>> names, met_names;
  std::set<std::pair<policies::Protocol, std::uint16_t>> numbers;
  bool all_declare = true;
  for (const std::uint32_t number : expected) {
    for (const auto& port : cluster.endpoints[number].ports) {
      names.emplace(port.protocol, port.name);
      numbers.emplace(port.protocol, port.port);
    }
    all_declare = all_declare && !cluster.endpoints[number].ports.empty();
  }
  for (const auto& port : met.ports) EXPECT_TRUE(met_names.emplace(port.protocol, port.name).second);
  EXPECT_EQ(met_names, names);
  EXPECT_EQ(met.numbers.size(), std::min(numbers.size(), Meeting::kNumbersMax));
  EXPECT_EQ(met.all_declare, all_declare);
}

/// The index says what asking endpoint after endpoint says.
TEST(Meeting, meets_whom_a_selector_matches_and_who_lies_in_a_block) {
  std::size_t selectors = 0, blocks = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    property::Scenario scenario = property::make_scenario(seed);
    const policies::Cluster& cluster = scenario.cluster;
    std::map<std::string, policies::Labels> homes;
    for (const auto& home : cluster.namespaces) homes[home.name] = home.labels;
    // Every address of either family, and one network each.
    std::vector<policies::IpBlock> more(4);
    more[0].block = {policies::AddressBytes{}, 0};
    more[1].block = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96};
    more[2].block = *policies::parse_block("10.0.0.0/8");
    more[3] = {*policies::parse_block("::/0"), {*policies::parse_block("fd00::/8")}};
    Meeting meeting(whole_input(cluster, scenario.policies, scenario.posture));
    const auto ask_block = [&](const policies::IpBlock& block) {
      ++blocks;
      expect_met(cluster, meeting.covered(block),
                 those_that(cluster,
                            [&](const policies::Endpoint& endpoint) {
                              return !endpoint.host_network &&
                                     std::any_of(
                                         endpoint.addresses.begin(), endpoint.addresses.end(),
                                         [&](const auto& address) { return block.contains(address); });
                            }),
                 false);
    };
    const auto ask_selector = [&](const policies::EndpointSelector& selector) {
      ++selectors;
      expect_met(cluster, meeting.meeting(selector),
                 those_that(cluster,
                            [&](const policies::Endpoint& endpoint) {
                              return selector.matches(endpoint, homes[endpoint.namespace_name]);
                            }),
                 true);
    };
    for (const auto& block : more) ask_block(block);
    for (const auto& policy : scenario.policies.policies)
      for (const auto& clause : policy.clauses) {
        ask_selector(clause.subject);
        for (const auto& rule : clause.rules)
          for (const auto& peer : rule.peers) {
            if (const auto* block = std::get_if<policies::IpBlock>(&peer)) ask_block(*block);
            if (const auto* selector = std::get_if<policies::EndpointSelector>(&peer))
              ask_selector(*selector);
          }
      }
    EXPECT_EQ(meeting.everyone().count, cluster.endpoints.size());
  }
  EXPECT_GT(selectors, 500u);
  EXPECT_GT(blocks, 400u);
}

}  // namespace
}  // namespace bulkhead::analysis
