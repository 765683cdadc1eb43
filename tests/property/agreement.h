// Do the compiled tables say what the oracle says?
#pragma once

#include <optional>
#include <span>
#include <string>

#include "dataplane/image/query.h"
#include "tests/property/scenario.h"

namespace bulkhead::property {

/// What the image says of a packet.
image::Judgement enforced(const image::View& view, const Packet& packet);

/// The first packet on which the validated image and the oracle differ, in words: verdict, deciding end, kind
/// of reason, or rule. Also a refusal, which none of these small scenarios deserves.
std::optional<std::string> find_disagreement(const Scenario& scenario, std::span<const Packet> packets);

/// A smaller scenario with a disagreement on the same packets: parts are left out as long as it stays.
Scenario shrink(Scenario scenario, std::span<const Packet> packets);

}  // namespace bulkhead::property
