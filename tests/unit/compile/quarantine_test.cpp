// Quarantine, in tables: before every tier, of both ends, and no trace where there is none.
#include "tests/unit/compile/town.h"

namespace bulkhead::compile {
namespace {

const policies::Quarantine kWeb1{"shop", "web-1", "beacons", "alice"};

std::string words(const image::View& view, std::uint32_t rule) {
  if (rule == 0) return "";
  const image::Policy& policy = view.policies[view.rules[rule].policy];
  EXPECT_EQ(policy.tier, image::kQuarantineTier);
  return std::string(view.policy_text(policy.kind)) + " " +
         std::string(view.policy_text(policy.namespace_name)) + "/" +
         std::string(view.policy_text(policy.name)) + ": " +
         std::string(view.policy_text(view.rules[rule].name));
}

struct Quarantined : testing::Test {
  Quarantined() {
    // Whatever policies say: a platform rule allows everything.
    policies::Rule all = allow(policies::Everyone{}, tcp(80));
    town.policies.policies.push_back({"ClusterNetworkPolicy",
                                      "",
                                      "open",
                                      {{policies::Direction::kIngress, {}, false, {all}},
                                       {policies::Direction::kEgress, {}, false, {all}}},
                                      {"c.yaml", 1, 1},
                                      policies::Tier::kPlatform,
                                      1});
    town.add("shop", "web-1b", "web", "10.0.0.9").addresses.push_back(*policies::parse_address("10.0.0.10"));
  }
  Output compiled(std::span<const policies::Quarantine> quarantines) {
    Input input = town.input();
    input.quarantines = quarantines;
    return must_compile(input);
  }
  Town town;
};

TEST_F(Quarantined, nobody_reaches_it_and_it_reaches_nobody_not_even_its_node) {
  const Output output = compiled({&kWeb1, 1});
  const image::View view = view_of(output);
  for (const char* other : {"10.0.0.2", "10.0.0.3", "10.0.1.1", "192.168.0.1", "198.51.100.7"}) {
    for (const auto& judged : {judge(view, other, "10.0.0.1", 80), judge(view, "10.0.0.1", other, 80)}) {
      EXPECT_EQ(judged.fate, abi::Fate::kDeniedPolicy) << other;
      EXPECT_EQ(words(view, judged.rule), "Quarantine shop/web-1: quarantined by alice: beacons") << other;
    }
  }
  EXPECT_TRUE(judge(view, "10.0.0.1", "10.0.0.1", 80).allowed()) << "itself";
  EXPECT_TRUE(judge(view, "10.0.0.3", "10.0.0.2", 80).allowed()) << "a twin by its labels is not meant";
  EXPECT_TRUE(judge(view, "10.0.0.2", "10.0.0.3", 80).allowed());
}

TEST_F(Quarantined, all_its_addresses_are_and_they_reach_each_other) {
  const policies::Quarantine twin{"shop", "web-1b", "r", "a"};
  const Output output = compiled({&twin, 1});
  const image::View view = view_of(output);
  EXPECT_FALSE(judge(view, "10.0.0.3", "10.0.0.9", 80).allowed());
  EXPECT_FALSE(judge(view, "10.0.0.3", "10.0.0.10", 80).allowed());
  EXPECT_TRUE(judge(view, "10.0.0.9", "10.0.0.10", 80).allowed());
  EXPECT_TRUE(judge(view, "10.0.0.3", "10.0.0.1", 80).allowed());
}

TEST_F(Quarantined, peers_here_cut_off_one_on_another_node) {
  const policies::Quarantine vault{"bank", "vault", "r", "a"};
  const Output output = compiled({&vault, 1});
  const image::View view = view_of(output);
  const auto out = judge(view, "10.0.0.3", "10.0.1.1", 80), in = judge(view, "10.0.1.1", "10.0.0.3", 80);
  EXPECT_EQ(out.direction, image::kEgress);
  EXPECT_EQ(in.direction, image::kIngress);
  EXPECT_EQ(words(view, out.rule), "Quarantine bank/vault: quarantined by a: r");
  EXPECT_EQ(words(view, in.rule), "Quarantine bank/vault: quarantined by a: r");
}

TEST_F(Quarantined, of_two_ends_each_is_denied_by_its_own) {
  const policies::Quarantine both[] = {kWeb1, {"shop", "api-1", "r", "a"}};
  const Output output = compiled(both);
  const image::View view = view_of(output);
  EXPECT_EQ(words(view, judge(view, "10.0.0.1", "10.0.0.3", 80).rule).substr(0, 22),
            "Quarantine shop/web-1:");
  EXPECT_EQ(words(view, judge(view, "10.0.0.3", "10.0.0.1", 80).rule).substr(0, 22),
            "Quarantine shop/api-1:");
}

TEST_F(Quarantined, one_that_is_of_nobody_changes_no_byte_and_the_order_of_the_list_neither) {
  const Output without = compiled({});
  const policies::Quarantine nobody{"shop", "ghost", "r", "a"};
  const Output ghost = compiled({&nobody, 1});
  EXPECT_EQ(without.image, ghost.image);
  const policies::Quarantine forth[] = {kWeb1, {"bank", "vault", "r", "a"}};
  const policies::Quarantine back[] = {forth[1], forth[0]};
  EXPECT_EQ(compiled(forth).image, compiled(back).image);
}

TEST_F(Quarantined, an_end_on_its_nodes_network_is_its_node) {
  town.cluster.endpoints[0].host_network = true;
  town.cluster.endpoints[0].addresses = {*policies::parse_address("192.168.0.1")};
  const Output output = compiled({&kWeb1, 1});
  EXPECT_TRUE(judge(view_of(output), "10.0.0.3", "192.168.0.1", 80).allowed());
}

}  // namespace
}  // namespace bulkhead::compile
