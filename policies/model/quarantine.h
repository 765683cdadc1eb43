// An endpoint that somebody took out of the conversation, at once and whatever policies say.
//
// Not written in a policy file: a person decides it about one endpoint, by name, and the control plane keeps it
// (controlplane/quarantine/). Asked before every tier (policy.h): a quarantined endpoint neither sends nor
// receives, with its own node neither, and whoever is judged here neither sends to it nor receives from it.
// It still reaches itself. An endpoint on its node's network is its node, and cannot be told apart from it:
// nothing comes of its quarantine.
#pragma once

#include <string>

#include "policies/model/cluster.h"

namespace bulkhead::policies {

struct Quarantine {
  std::string namespace_name;
  std::string name;    // of the endpoint; it need not exist
  std::string reason;  // for people, as the author is
  std::string author;
  auto operator<=>(const Quarantine&) const = default;
  bool holds(const Endpoint& endpoint) const {
    return !endpoint.host_network && endpoint.name == name && endpoint.namespace_name == namespace_name;
  }
};

/// How rules and explanations name it.
inline constexpr char kQuarantineKind[] = "Quarantine";
/// "quarantined by alice: beacons to 198.51.100.7"
inline std::string describe(const Quarantine& quarantine) {
  return "quarantined by " + quarantine.author + ": " + quarantine.reason;
}

}  // namespace bulkhead::policies
