// Rules without which no verdict changes, found with few compiles.
//
// A rule is redundant if the image without it judges every packet as before; compare() decides that. One compile for each
// rule would take hours for a large set. But rules that govern different endpoints do not meet: a *round* leaves out many at
// once, no two of which govern one endpoint in one direction, all of one action. Leaving out more allow rules can only deny
// more packets and leaving out more deny rules only fewer, so a rule that changes a verdict alone changes it in its round too:
// a rule of which nothing changes is redundant. What changes names the rule by the endpoints it governs. Where that is
// not certain (a rule that governs both ends), the rule gets a round of its own. So does every pass rule.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/analysis/compare.h"
#include "controlplane/analysis/compiled.h"
#include "controlplane/compile/compile.h"
#include "policies/model/policy.h"

namespace bulkhead::analysis {

/// With every endpoint judged. The reason, where there is no image.
std::variant<std::unique_ptr<Compiled>, std::string> compile_all(const policies::Cluster& cluster,
                                                                 const policies::PolicySet& set,
                                                                 const policies::Posture& posture);

/// A rule as it was written: the edge of a SegmentationPolicy is two rules of the model.
struct Written {
  struct Place {
    std::size_t clause, rule;
  };
  std::size_t policy;
  std::vector<Place> places;
  const policies::Rule* rule;              // the first of them
  std::vector<std::uint32_t> governed[2];  // by direction: endpoints, sorted
  bool governs_nobody() const { return governed[0].empty() && governed[1].empty(); }
};

/// `subjects[policy][clause]`: the endpoints that the clause governs, sorted.
using Subjects = std::vector<std::vector<std::vector<std::uint32_t>>>;
std::vector<Written> written_rules(const policies::PolicySet& set, const Subjects& subjects);

enum class Effect : std::uint8_t { kUnknown, kNone, kSome };

struct Outcome {
  Effect effect = Effect::kUnknown;
  Packet witness;                // kSome: a packet that is judged otherwise without the rule
  std::uint32_t other_rule = 0;  // and the rule of the image without it that decides then; 0: none
  std::string other_text;        // that rule in words
  std::uint16_t other_tier = image::kApplicationTier;  // image::PolicyTier
};

/// For each written rule; rules that govern nobody have no effect. `compiles` counts down.
std::vector<Outcome> effects(const policies::Cluster& cluster, const policies::PolicySet& set,
                             const policies::Posture& posture, const Compiled& whole,
                             const std::vector<Written>& rules, std::size_t compiles);

}  // namespace bulkhead::analysis
