// Random clusters and policies, small enough that everything meets everything, and the packets to ask about.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/compile/compile.h"
#include "policies/model/policy.h"
#include "policies/model/quarantine.h"

namespace bulkhead::property {

struct Packet {
  policies::AddressBytes source, destination;
  policies::Protocol protocol = policies::Protocol::kTcp;
  std::uint16_t port = 0;
};

struct Scenario {
  std::uint64_t seed = 0;
  policies::Cluster cluster;
  policies::PolicySet policies;
  policies::Posture posture;
  std::string local_node;
  compile::Subjects subjects = compile::Subjects::kEvery;
  std::vector<policies::Quarantine> quarantines;
  std::optional<policies::Time> now;
};

/// The same for a seed on every machine.
Scenario make_scenario(std::uint64_t seed);

/// Between all ends there are, near where blocks and port ranges begin and end.
std::vector<Packet> make_packets(const Scenario& scenario, std::size_t count);

/// For people, after a failure.
std::string describe(const Scenario& scenario);
std::string describe(const Packet& packet);

}  // namespace bulkhead::property
