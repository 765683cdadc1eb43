#include "controlplane/analysis/compare.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/analysis/every_packet.h"

namespace bulkhead::analysis {
namespace {

using every_packet::Image;

/// Where changes say something else than the packets, in words; empty if nowhere. `changed` counts packets.
std::string disagreement(const Image& before, const Image& after, std::size_t& changed) {
  const Space space(before.view, after.view);
  const std::vector<Change> changes = compare(space);
  const auto addresses = every_packet::addresses(space);
  const auto ports = every_packet::ports(space, 30);
  std::vector<std::uint32_t> class_of;
  for (const abi::Address& address : addresses) class_of.push_back(every_packet::class_of(space, address));
  for (std::size_t s = 0; s < addresses.size(); ++s) {
    for (std::size_t d = 0; d < addresses.size(); ++d) {
      if (addresses[s].is_v4() != addresses[d].is_v4()) continue;
      Between between = Between::kApart;
      bool same[kSides];
      for (std::uint32_t side = 0; side < kSides; ++side) {
        const auto source = image::bind(space.view(side), addresses[s]);
        const auto destination = image::bind(space.view(side), addresses[d]);
        same[side] = source.endpoint != 0 && source.endpoint == destination.endpoint;
      }
      if (same[kBefore] != same[kAfter]) between = same[kBefore] ? Between::kOneBefore : Between::kOneAfter;
      std::vector<const Change*> meeting;
      for (const Change& change : changes)
        if (change.between == between && !(same[kBefore] && same[kAfter]) &&
            std::binary_search(change.from.begin(), change.from.end(), class_of[s]) &&
            std::binary_search(change.to.begin(), change.to.end(), class_of[d]))
          meeting.push_back(&change);
      for (const PortRange& port : ports) {
        const Packet packet{addresses[s], addresses[d], port.slot, port.first};
        const bool was = judge(before.view, packet).allowed(), is = judge(after.view, packet).allowed();
        std::size_t opens = 0, closes = 0;
        for (const Change* change : meeting)
          if (every_packet::contains(change->ports, port.slot, port.first))
            ++(change->opens ? opens : closes);
        changed += was != is;
        if (opens != (!was && is) || closes != (was && !is))
          return "source " + std::to_string(s) + " destination " + std::to_string(d) + " slot " +
                 std::to_string(port.slot) + " port " + std::to_string(port.first) + ": " +
                 std::to_string(was) + " -> " + std::to_string(is) + ", opened " + std::to_string(opens) +
                 ", closed " + std::to_string(closes);
      }
    }
  }
  for (const Change& change : changes) {
    EXPECT_NE(judge(before.view, change.witness).allowed(), judge(after.view, change.witness).allowed());
    EXPECT_EQ(judge(after.view, change.witness).allowed(), change.opens);
    EXPECT_FALSE(change.from.empty() || change.to.empty() || change.ports.empty());
  }
  return "";
}

image::sample::Shape small(std::uint64_t seed) {
  image::sample::Shape shape;
  shape.endpoints = 6 + seed % 5;
  shape.local = 3;
  shape.identities = 5;
  shape.classes = 4;
  shape.rule_sets = 4;
  shape.rules = 6;
  shape.port_classes = 3 + seed % 4;
  shape.blocks = seed % 7;
  shape.seed = seed;
  return shape;
}

TEST(Compare, says_of_unrelated_images_what_every_packet_says) {
  std::size_t changed = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const Image before = every_packet::build(image::sample::make_tables(small(seed)));
    const Image after = every_packet::build(image::sample::make_tables(small(seed + 1000)));
    EXPECT_EQ(disagreement(before, after, changed), "") << "seed " << seed;
  }
  EXPECT_GT(changed, 100000u);
}

/// One verdict, one cell of a matrix, one binding or one block is another: most of both images is alike.
TEST(Compare, finds_exactly_what_one_altered_table_entry_changes) {
  std::mt19937_64 random(7);
  std::size_t changed = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    image::sample::Tables tables = image::sample::make_tables(small(seed));
    const Image before = every_packet::build(tables);
    const auto below = [&](std::size_t bound) { return static_cast<std::uint32_t>(random() % bound); };
    auto& policy = tables.policy;
    switch (seed % 4) {
      case 0:
        policy.verdicts[below(policy.verdicts.size())] = below(2) != 0 ? image::kAllowBit : 0;
        break;
      case 1:
        policy.matrix[seed & 1][below(policy.matrix[seed & 1].size())] = below(policy.rule_sets);
        break;
      case 2:
        tables.bound[below(tables.bound.size())].profile =
            policy.profiles[below(policy.profiles.size())].profile;
        break;
      default:
        if (policy.blocks.empty()) break;
        policy.blocks[below(policy.blocks.size())].record = below(3);
        break;
    }
    const Image after = every_packet::build(tables);
    EXPECT_EQ(disagreement(before, after, changed), "") << "seed " << seed;
  }
  EXPECT_GT(changed, 1000u);
}

TEST(Compare, of_an_image_with_itself_is_empty) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Image image = every_packet::build(image::sample::make_tables(small(seed)));
    EXPECT_TRUE(compare(Space(image.view, image.view)).empty());
  }
}

TEST(Compare, says_of_compiled_policies_what_every_packet_says) {
  std::size_t changed = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    property::Scenario scenario = property::make_scenario(seed);
    if (scenario.cluster.endpoints.size() > 20) continue;
    const Image before = every_packet::compiled(scenario);
    if (!scenario.policies.policies.empty())
      scenario.policies.policies.erase(scenario.policies.policies.begin() +
                                       static_cast<std::ptrdiff_t>(seed % scenario.policies.policies.size()));
    if (seed % 3 == 0 && !scenario.cluster.endpoints.empty()) scenario.cluster.endpoints.pop_back();
    if (seed % 4 == 0 && !scenario.cluster.endpoints.empty())
      scenario.cluster.endpoints[0].labels["app"] = "changed";
    const Image after = every_packet::compiled(scenario);
    EXPECT_EQ(disagreement(before, after, changed), "") << "seed " << seed;
  }
  EXPECT_GT(changed, 1000u);
}

/// The second address of an endpoint becomes another endpoint's: the way between both was its own.
TEST(Compare, knows_the_ways_between_addresses_that_were_one_endpoints) {
  std::size_t changed = 0, seen = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    property::Scenario scenario = property::make_scenario(seed);
    if (scenario.cluster.endpoints.size() > 12) continue;
    const auto dual = std::find_if(
        scenario.cluster.endpoints.begin(), scenario.cluster.endpoints.end(),
        [](const policies::Endpoint& each) { return each.addresses.size() > 1 && !each.host_network; });
    if (dual == scenario.cluster.endpoints.end()) continue;
    ++seen;
    const Image before = every_packet::compiled(scenario);
    policies::Endpoint other = *dual;
    other.id = "id-other";
    other.name = "other";
    other.addresses = {dual->addresses.back()};
    dual->addresses.pop_back();
    scenario.cluster.endpoints.push_back(other);
    const Image after = every_packet::compiled(scenario);
    EXPECT_EQ(disagreement(before, after, changed), "") << "seed " << seed;
    EXPECT_EQ(disagreement(after, before, changed), "") << "seed " << seed;
  }
  EXPECT_GT(seen, 5u);
}

}  // namespace
}  // namespace bulkhead::analysis
