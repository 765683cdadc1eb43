// For each subject class, which rule set answers each peer class.
//
// rows.h says which rules match; their answer over all port classes is a *rule set*, stored once however often it
// comes about. Rows that are equal (and have the same story to tell) and columns that are equal are merged.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/compile/classes.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/merge.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rows.h"
#include "controlplane/compile/rules.h"

namespace bulkhead::compile {

struct RuleSets {
  // For each port class a Decision of the image, whose rule index is the rule's place in Rules::rules plus one;
  // then, where rules pass, a number in `passed`; then, where policies are audited, 0 or a number in `audited` plus
  // one.
  ListTable decisions;
  ListTable passed;   // for each port class the rules of an image::Passed
  ListTable audited;  // for each port class a Decision, as above
  Matrix matrices[2];
  std::vector<MetDispute> disputes[2];  // some for each pair of policies
};

/// Ports are settled. Throws Refused where a table would outgrow its bound.
RuleSets build_rule_sets(const Rules& rules, const Ports& ports, const Classes& classes,
                         const Limits& limits);

}  // namespace bulkhead::compile
