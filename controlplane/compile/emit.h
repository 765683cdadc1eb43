// From classes and rule sets to the image's tables and bytes.
#pragma once

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/classes.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/profiles.h"
#include "controlplane/compile/rules.h"
#include "controlplane/compile/rulesets.h"

namespace bulkhead::compile {

struct Compiled {
  const Input& input;
  const Census& census;
  const Rules& rules;
  const Blocks& blocks;
  const Ports& ports;
  const Profiles& profiles;
  const Classes& classes;
  RuleSets& rule_sets;                     // its large tables are moved out, their counts stay
  std::span<const std::uint32_t> numbers;  // of identities, by IdentityEntry::bound
};

/// The policy section. Throws Refused with the builder's reason.
image::SectionBytes emit(const Compiled& compiled);
/// Before emit(), which takes large tables.
Stats stats_of(const Compiled& compiled);

}  // namespace bulkhead::compile
