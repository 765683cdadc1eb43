#include <gtest/gtest.h>

#include "policies/model/address.h"
#include "policies/oracle/oracle.h"
#include "tests/unit/policies/texts.h"

namespace bulkhead::policies {
namespace {

Invariant loaded(const std::string& spec) {
  const Loaded result = load_text(invariant(spec));
  for (const auto& error : result.errors) ADD_FAILURE() << format(error);
  EXPECT_EQ(result.policies.invariants.size(), 1u);
  return result.policies.invariants.empty() ? Invariant{} : result.policies.invariants[0];
}

TEST(Invariant, says_who_may_never_and_who_must_always) {
  const Invariant walls = loaded(
      "  never:\n"
      "  - {name: walls, from: [{world: {}}, {host: {}}], to: {matchLabels: {app: db}}, ports: [tcp/5432, "
      "icmp]}\n"
      "  always:\n"
      "  - {name: dns, from: {namespace: shop}, to: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, ports: "
      "[any]}\n");
  EXPECT_EQ(walls.name, "default");
  EXPECT_EQ(walls.origin.line, 1u);
  ASSERT_EQ(walls.demands.size(), 2u);
  const Demand &never = walls.demands[0], &always = walls.demands[1];
  EXPECT_EQ(never.claim, Demand::Claim::kNever);
  EXPECT_EQ(never.origin.line, 6u);
  EXPECT_EQ(never.from.size(), 2u);
  EXPECT_TRUE(std::holds_alternative<World>(never.from[0]) &&
              std::holds_alternative<LocalNode>(never.from[1]));
  EXPECT_EQ(never.ports.size(), 3u) << "icmp is both families'";
  // Of the whole cluster, a selector without a namespace means every namespace.
  ASSERT_TRUE(std::holds_alternative<EndpointSelector>(never.to.at(0)));
  EXPECT_FALSE(std::get<EndpointSelector>(never.to[0]).namespace_name);
  EXPECT_EQ(always.claim, Demand::Claim::kAlways);
  EXPECT_TRUE(always.all_ports);
  EXPECT_EQ(std::get<EndpointSelector>(always.from.at(0)).namespace_name, "shop");
  EXPECT_EQ(describe(walls, never), "Invariant default, never 'walls'");
}

AddressBytes at(const char* text) {
  return parse_address(text).value();
}

TEST(Invariant, is_about_packets_that_somebody_judges) {
  Cluster cluster;
  cluster.nodes = {{"n", {}, {at("192.168.0.1")}}, {"m", {}, {at("192.168.0.2")}}};
  cluster.endpoints = {
      {"1", "shop", "web", {{"app", "web"}}, "n", {at("10.0.0.1"), at("fd00::1")}, {}},
      {"2", "shop", "db", {{"app", "db"}}, "m", {at("10.0.0.2")}, {{"sql", Protocol::kTcp, 5432}}}};
  const PolicySet none;
  const Oracle oracle(cluster, none, {});
  const auto means = [&](const Demand& demand, const char* from, const char* to, std::uint16_t port = 80,
                         Protocol protocol = Protocol::kTcp) {
    return oracle.means(demand, oracle.end(at(from)), oracle.end(at(to)), protocol, port);
  };
  Demand demand;
  demand.from = demand.to = {Everyone{}};
  demand.all_ports = true;
  EXPECT_TRUE(means(demand, "10.0.0.1", "10.0.0.2"));
  EXPECT_TRUE(means(demand, "192.0.2.1", "10.0.0.2"));
  EXPECT_FALSE(means(demand, "192.0.2.1", "192.168.0.1")) << "neither end is an endpoint";
  EXPECT_FALSE(means(demand, "10.0.0.1", "10.0.0.1")) << "itself";
  EXPECT_FALSE(means(demand, "fd00::1", "10.0.0.2")) << "no packet goes there";
  EXPECT_TRUE(means(demand, "10.0.0.1", "10.0.0.2", 128, Protocol::kIcmpV6));
  demand.claim = Demand::Claim::kAlways;
  EXPECT_FALSE(means(demand, "10.0.0.1", "10.0.0.2", 128, Protocol::kIcmpV6)) << "IPv4 has no such message";
  demand.from = {LocalNode{}};
  EXPECT_TRUE(means(demand, "192.168.0.2", "10.0.0.2"));
  EXPECT_FALSE(means(demand, "192.168.0.1", "10.0.0.2")) << "not the node of the other end";
  EXPECT_FALSE(means(demand, "192.168.0.1", "192.0.2.1")) << "nobody's node";
  demand.from = {Everyone{}};
  demand.all_ports = false;
  demand.ports = {{Protocol::kTcp, 0, 0xffff, "sql"}};
  EXPECT_TRUE(means(demand, "10.0.0.1", "10.0.0.2", 5432));
  EXPECT_FALSE(means(demand, "10.0.0.1", "10.0.0.2", 80));
  EXPECT_FALSE(means(demand, "10.0.0.2", "10.0.0.1", 5432)) << "web names no such port";
}

}  // namespace
}  // namespace bulkhead::policies
