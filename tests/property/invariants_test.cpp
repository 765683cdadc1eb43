// The prover's answer about a demand is that of every packet, asked of the oracle.
//
// BULKHEAD_PROPERTY_CASES sets how many scenarios are tried, BULKHEAD_PROPERTY_SEED the first seed.
#include "controlplane/analysis/invariants.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "controlplane/analysis/party.h"
#include "policies/model/address.h"
#include "policies/oracle/oracle.h"
#include "tests/property/scenario.h"

namespace bulkhead::property {
namespace {

using namespace policies;

/// Demands about the cluster of a scenario, in its words.
class DemandMaker {
 public:
  explicit DemandMaker(std::uint64_t seed) : random_(seed * 7 + 3) {}

  Demand demand(std::uint32_t number) {
    Demand made;
    made.claim = chance(60) ? Demand::Claim::kNever : Demand::Claim::kAlways;
    made.name = "demand" + std::to_string(number);
    made.origin = {"walls.yaml", number + 5, 5};
    for (std::vector<Peer>* end : {&made.from, &made.to})
      for (std::uint32_t i = 1 + below(2); i > 0; --i) end->push_back(peer());
    made.all_ports = chance(35);
    if (!made.all_ports)
      for (std::uint32_t i = 1 + below(2); i > 0; --i) made.ports.push_back(port_match());
    return made;
  }

 private:
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  bool chance(std::uint32_t percent) { return below(100) < percent; }
  const char* pick(std::initializer_list<const char*> words) {
    return words.begin()[below(static_cast<std::uint32_t>(words.size()))];
  }

  Selector selector() {
    if (chance(40)) return {};
    const auto op = static_cast<Operator>(below(4));
    Requirement requirement{pick({"app", "tier", "env"}), op, {}};
    if (op == Operator::kIn || op == Operator::kNotIn) requirement.values = {pick({"", "a", "b", "c"})};
    return {{requirement}};
  }

  Peer peer() {
    switch (below(9)) {
      case 0:
        return Everyone{};
      case 1:
        return World{};
      case 2:
        return LocalNode{};
      case 3:
        return NodeSelector{selector()};
      case 4:
      case 5:
        return block();
      default: {
        EndpointSelector chosen;
        if (chance(40))
          chosen.namespace_name = pick({"blue", "green", "red", "undeclared"});
        else
          chosen.namespaces = selector();
        chosen.endpoints = selector();
        return chosen;
      }
    }
  }

  IpBlock block() {
    IpBlock made{*parse_block(pick({"0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.0/29", "192.0.2.0/24",
                                    "::/0", "fd00::/64", "fd00::/124", "2001:db8::/32"})),
                 {},
                 chance(25)};
    for (const char* hole : {"10.0.1.2/31", "192.0.2.64/26", "10.0.2.0/24", "fd00::4/126"})
      if (const AddressBlock inner = *parse_block(hole);
          chance(40) && contains(made.block, inner) && inner != made.block)
        made.except.push_back(inner);
    return made;
  }

  PortMatch port_match() {
    PortMatch match;
    if (chance(25)) {
      match.protocol = static_cast<Protocol>(below(3));
      match.name = pick({"http", "dns", "ops"});
      return match;
    }
    match.protocol = static_cast<Protocol>(below(kProtocolCount));
    if (chance(30)) return match;
    static constexpr std::uint16_t kPorts[] = {1, 53, 80, 81, 255, 443, 8080, 65535};
    match.first = kPorts[below(8)];
    match.last = chance(60) ? match.first : std::max(match.first, kPorts[below(8)]);
    return match;
  }

  std::mt19937_64 random_;
};

struct Port {
  Protocol protocol;
  std::uint16_t number;
};

std::vector<Port> ports_near(const Scenario& scenario) {
  std::vector<Port> ports;
  for (int protocol = 0; protocol < kProtocolCount; ++protocol)
    for (const std::uint32_t number :
         {0, 1, 2, 52, 53, 54, 80, 81, 82, 254, 255, 256, 443, 444, 8080, 8081, 65535}) {
      const auto which = static_cast<Protocol>(protocol);
      if (which >= Protocol::kIcmp && number > 255) continue;
      // Numbers of protocols that have ports of their own are never of another protocol.
      if (which == Protocol::kOther && number == 1) continue;
      ports.push_back({which, static_cast<std::uint16_t>(number)});
    }
  for (const auto& endpoint : scenario.cluster.endpoints)
    for (const auto& named : endpoint.ports) ports.push_back({named.protocol, named.port});
  return ports;
}

std::vector<AddressBytes> addresses_near(const Scenario& scenario) {
  std::vector<AddressBytes> found;
  for (const auto& endpoint : scenario.cluster.endpoints)
    found.insert(found.end(), endpoint.addresses.begin(), endpoint.addresses.end());
  for (const auto& node : scenario.cluster.nodes)
    found.insert(found.end(), node.addresses.begin(), node.addresses.end());
  for (const char* text : {"192.0.2.1", "192.0.2.65", "192.0.2.128", "198.51.100.7", "10.0.1.0", "10.0.1.99",
                           "10.0.2.99", "10.9.9.9", "172.16.0.1", "10.0.0.99", "2001:db8::1", "2001:db8:1::1",
                           "2001:db9::1", "fd00::99", "fd00::fff", "fd01::1"})
    found.push_back(*parse_address(text));
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

/// The slow way.
class Everything {
 public:
  explicit Everything(const Scenario& scenario)
      : scenario_(scenario),
        oracle_(scenario.cluster, scenario.policies, scenario.posture, scenario.local_node),
        ports_(ports_near(scenario)),
        addresses_(addresses_near(scenario)) {}

  /// Whether this node proves the demand for the packet, and the packet is meant.
  bool concerns(const Demand& demand, const Packet& packet) const {
    const End from = oracle_.end(packet.source), to = oracle_.end(packet.destination);
    return (here(from) || here(to)) && oracle_.means(demand, from, to, packet.protocol, packet.port);
  }
  bool breaks(const Demand& demand, const Packet& packet) const {
    return oracle_.judge(packet.source, packet.destination, packet.protocol, packet.port).allow ==
           (demand.claim == Demand::Claim::kNever);
  }

  std::optional<Packet> find_breach(const Demand& demand, std::size_t& meant) const {
    std::size_t asked = 0;
    for (const AddressBytes& source : addresses_)
      for (const AddressBytes& destination : addresses_)
        for (const Port& port : ports_) {
          const Packet packet{source, destination, port.protocol, port.number};
          if (!concerns(demand, packet)) continue;
          // Enough of a large cluster.
          if (++meant > 20'000 && meant % 17 != 0) continue;
          ++asked;
          if (breaks(demand, packet)) return packet;
        }
    return std::nullopt;
  }

 private:
  bool here(const End& end) const {
    return end.endpoint != nullptr &&
           (scenario_.subjects == compile::Subjects::kEvery || end.endpoint->node.empty() ||
            end.endpoint->node == scenario_.local_node);
  }

  const Scenario& scenario_;
  const Oracle oracle_;
  const std::vector<Port> ports_;
  const std::vector<AddressBytes> addresses_;
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::string describe(const Demand& demand) {
  Rule words;
  words.peers = demand.from;
  std::string text = std::string(demand.claim == Demand::Claim::kNever ? "never" : "always") + " from " +
                     describe_peers(words);
  words.peers = demand.to;
  words.all_ports = demand.all_ports;
  words.ports = demand.ports;
  return text + " to " + describe_peers(words) + " ports " + describe_ports(words);
}

TEST(Property, a_demand_is_proven_exactly_if_no_packet_breaks_it) {
  const std::uint64_t first = from_environment("BULKHEAD_PROPERTY_SEED", 1);
  const std::uint64_t cases = from_environment("BULKHEAD_PROPERTY_CASES", 400);
  std::size_t held = 0, broken = 0, second_images = 0, vacuous = 0;
  for (std::uint64_t seed = first; seed < first + cases; ++seed) {
    Scenario scenario = make_scenario(seed);
    if (scenario.cluster.endpoints.size() > 12) continue;
    if (seed % 2 == 0) scenario.subjects = compile::Subjects::kLocal;
    DemandMaker maker(seed);
    scenario.policies.invariants = {{"walls", {maker.demand(0), maker.demand(1), maker.demand(2)}, {}}};
    const compile::Input input{.cluster = scenario.cluster,
                               .policies = scenario.policies,
                               .posture = scenario.posture,
                               .node = {.name = scenario.local_node},
                               .subjects = scenario.subjects};
    const auto compiled = compile::compile(input);
    ASSERT_TRUE(std::holds_alternative<compile::Output>(compiled)) << "seed " << seed;
    const analysis::Proof proof = analysis::prove(input, std::get<compile::Output>(compiled));
    ASSERT_EQ(proof.refusal, "") << "seed " << seed;
    second_images += proof.second_image;
    const Everything everything(scenario);
    for (std::size_t i = 0; i < 3; ++i) {
      const Demand& demand = scenario.policies.invariants[0].demands[i];
      const analysis::DemandPlace place{0, i};
      const auto trouble = [&] {
        return "BULKHEAD_PROPERTY_SEED=" + std::to_string(seed) +
               " BULKHEAD_PROPERTY_CASES=1 repeats this\n" + describe(demand) + "\n" + describe(scenario);
      };
      const auto breach = std::find_if(proof.breaches.begin(), proof.breaches.end(),
                                       [&](const analysis::Breach& each) { return each.place == place; });
      if (breach != proof.breaches.end()) {
        ++broken;
        const Packet packet{breach->witness.source.bytes, breach->witness.destination.bytes,
                            static_cast<Protocol>(breach->witness.slot), breach->witness.port};
        ASSERT_TRUE(everything.concerns(demand, packet)) << message(*breach) << "\n" << trouble();
        ASSERT_TRUE(everything.breaks(demand, packet)) << message(*breach) << "\n" << trouble();
        continue;
      }
      ++held;
      std::size_t meant = 0;
      const auto packet = everything.find_breach(demand, meant);
      ASSERT_FALSE(packet) << describe(*packet) << " breaks\n" << trouble();
      if (std::find(proof.vacuous.begin(), proof.vacuous.end(), place) != proof.vacuous.end()) {
        ++vacuous;
        ASSERT_EQ(meant, 0u) << "not vacuous\n" << trouble();
      }
    }
  }
  if (cases >= 400) {
    EXPECT_GT(held, cases / 4);
    EXPECT_GT(broken, cases / 4);
    EXPECT_GT(second_images, cases / 40);
    EXPECT_GT(vacuous, cases / 20);
  }
}

}  // namespace
}  // namespace bulkhead::property
