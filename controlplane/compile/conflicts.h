// From disputes between rules to words for people, each with a packet that both rules match.
#pragma once

#include <vector>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/classes.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rules.h"
#include "controlplane/compile/rulesets.h"

namespace bulkhead::compile {

/// Ports are settled. A dispute that no packet can meet (its only peers have no address left) is left out.
std::vector<Conflict> find_conflicts(const Census& census, const Rules& rules, const Blocks& blocks,
                                     const Ports& ports, const Profiles& profiles, const Classes& classes,
                                     const RuleSets& rule_sets);

}  // namespace bulkhead::compile
