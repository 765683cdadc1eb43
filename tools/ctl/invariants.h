// Whether invariants hold, as values and words, the same in every policy command.
#pragma once

#include "controlplane/analysis/invariants.h"
#include "tools/ctl/command.h"

namespace bulkhead::ctl {

/// {"demands", "refusal", "broken": [{"demand", "file", "line", "column", "packet": {...}, "allowed", "text"}]}
Value invariants_value(const analysis::Proof& proof);
/// A line for each that is broken, and why nothing could be decided.
void say_broken(const Value& invariants, Terminal& terminal);

/// Of an image whose cluster is not at hand, as far as the image itself knows who is meant. Failure(kExitUsage) where a
/// demand speaks of what no image says: labels of namespaces and nodes, names of ports, `host`.
analysis::Proof prove_of_image(const image::View& view, const std::vector<policies::Invariant>& invariants);

}  // namespace bulkhead::ctl
