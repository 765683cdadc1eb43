// What policies say and cannot mean: rules without effect, selectors without endpoints, words that hide a mistake.
//
// The meaning of policies is taken from their compiled image. That a rule has no effect is proven: without it, no packet is
// judged otherwise (redundancy.h). The rest is read off the cluster and the tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/analysis/compare.h"
#include "policies/model/cluster.h"
#include "policies/model/policy.h"

namespace bulkhead::analysis {

enum class Check : std::uint8_t {
  kUnmetPolicy,       // no endpoint is selected by any clause
  kEmptySelector,     // a peer selector that no endpoint meets
  kUnbornePort,       // a port name that none of the receivers bears
  kBlockCovers,       // an address block that endpoints lie in
  kAnyPort,           // every port is allowed where the receivers declare a few
  kNoDns,             // egress is isolated, something is allowed, and DNS is not
  kShadowed,          // a rule that decides about no packet
  kRedundant,         // a rule without which no verdict changes
  kBrokenInvariant,   // a packet shows that it does not hold: nothing of the set would be enforced
  kVacuousInvariant,  // a demand that means no packet
  kConflict,          // a deny rule over packets that an allow rule of the same tier speaks of
};
std::string_view name(Check check);

struct Finding {
  Check check = Check::kUnmetPolicy;
  policies::Origin origin;
  std::string object;   // "NetworkPolicy shop/web, rule 'ingress[0]'"
  std::string message;  // what was found
  std::string fix;      // what to do about it; may be empty where there is a witness
  std::optional<Packet> witness;
  std::string witness_text;  // the packet, with names
};

struct Linted {
  std::vector<Finding> findings;  // by file, line, check
  std::size_t rules = 0;          // written rules looked at
  std::size_t unproven = 0;       // of these, whose effect was not decided: the bound on steps was reached
  std::string refusal;            // not empty: the policies do not compile, and why; nothing else is set
};

struct LintLimits {
  std::uint64_t steps_max = 5'000'000'000;  // of looking for what rules are good for: some 20 s
};

Linted lint(const policies::Cluster& cluster, const policies::PolicySet& set,
            const policies::Posture& posture, const LintLimits& limits = {});

}  // namespace bulkhead::analysis
