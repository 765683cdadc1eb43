// Rules without which no verdict changes.
//
// A rule is redundant if, without it, every packet is judged as before. compile/trials.h decides that rule by rule; here a
// rule is what somebody wrote, and an answer has words.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/analysis/compare.h"
#include "controlplane/analysis/compiled.h"
#include "controlplane/compile/compile.h"
#include "policies/model/policy.h"

namespace bulkhead::analysis {

/// With every endpoint judged.
compile::Input whole_input(const policies::Cluster& cluster, const policies::PolicySet& set,
                           const policies::Posture& posture);
/// The reason, where there is no image.
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
  const policies::Rule* rule;  // the first of them
};
std::vector<Written> written_rules(const policies::PolicySet& set);

enum class Effect : std::uint8_t { kUnknown, kNone, kSome };

struct Outcome {
  Effect effect = Effect::kUnknown;
  // Of a deny rule: what it denies and a rule of its own tier would allow, if anything.
  std::optional<Packet> disputed;
  std::string other_text;  // that rule in words
};

/// For each written rule; rules that govern nobody, and audited ones, have no effect. `space` is of the compiled image
/// alone. Where `steps` do not suffice, effects are unknown.
std::vector<Outcome> effects(const compile::Input& input, const Space& space,
                             const std::vector<Written>& rules, std::uint64_t steps);

}  // namespace bulkhead::analysis
