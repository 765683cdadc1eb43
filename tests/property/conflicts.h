// Are the conflicts that a compile reports true, and are they all there?
#pragma once

#include <optional>
#include <span>
#include <string>

#include "controlplane/compile/compile.h"
#include "tests/property/scenario.h"

namespace bulkhead::property {

/// A conflict whose packet does not meet both rules; or a packet whose policies disagree, by the oracle, while no
/// conflict names the one that won.
std::optional<std::string> find_wrong_conflict(const Scenario& scenario,
                                               std::span<const compile::Conflict> conflicts,
                                               std::span<const Packet> packets);

}  // namespace bulkhead::property
