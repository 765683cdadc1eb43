// Rows: for each subject class, which rule set answers each peer class.
//
// A row starts with all peers alike and splits them by each distinct peer list of the rules that govern the
// subject (partition refinement), so its cost follows what those lists match, not rules times peers. Peers
// left together see the same rules; their answer over all port classes is a *rule set*, stored once however
// often it comes about. At last, rows that are equal (and have the same story to tell) and columns that are
// equal are merged.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/compile/classes.h"
#include "controlplane/compile/decisions.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/merge.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rules.h"

namespace bulkhead::compile {

/// A dispute that a packet can meet: some subject of the class with a peer of one of the classes.
struct MetDispute {
  Dispute dispute;
  std::uint32_t subject = 0;         // class of classes.h
  std::vector<std::uint32_t> peers;  // classes of classes.h, a few
};

struct RuleSets {
  // For each port class a Decision of the image, whose rule index is the rule's place in Rules::rules plus one;
  // then, where rules pass, a number in `passed`; then, where policies are audited, 0 or a number in `audited` plus
  // one.
  ListTable decisions;
  ListTable passed;   // for each port class the two rules of an image::Passed
  ListTable audited;  // for each port class a Decision, as above
  Matrix matrices[2];
  std::vector<MetDispute> disputes[2];  // some for each pair of policies
};

/// Ports are settled. Throws Refused where a table would outgrow its bound.
RuleSets build_rule_sets(const Rules& rules, const Ports& ports, const Classes& classes,
                         const Limits& limits);

}  // namespace bulkhead::compile
