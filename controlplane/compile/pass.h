// One pass through the stages: from who exists and what policies say to a policy section.
//
//   Pass(...)     rules, blocks
//   judge(...)    classes, rule sets, by the profiles that those blocks make
//   output(...)   conflicts, statistics, bytes
//
// What is given outlives the pass. Any of them throws Refused where a bound is exceeded.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/classes.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/profiles.h"
#include "controlplane/compile/rules.h"
#include "controlplane/compile/rulesets.h"
#include "controlplane/compile/selectors.h"

namespace bulkhead::compile {

class Pass {
 public:
  /// `relevant` as for govern(), `known` as for Selectors.
  Pass(const Input& input, std::span<const std::uint32_t> relevant, const Census& census,
       KnownRequirements* known = nullptr);

  const Rules& rules() const { return rules_; }
  const Blocks& blocks() const { return blocks_; }

  void judge(const Profiles& profiles);
  /// Somebody should know of conflicts: output() then needs the profiles' addresses and examples.
  bool disputed() const { return !rule_sets_->disputes[0].empty() || !rule_sets_->disputes[1].empty(); }
  /// Once, and without shards. `numbers`: of identities, by IdentityEntry::bound.
  Output output(const Profiles& profiles, std::span<const std::uint32_t> numbers);

 private:
  const Input& input_;
  const Census& census_;
  Selectors selectors_;
  Ports ports_;
  Rules rules_;
  Blocks blocks_;
  std::optional<Classes> classes_;
  std::optional<RuleSets> rule_sets_;
};

}  // namespace bulkhead::compile
