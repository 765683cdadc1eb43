// The clauses and rules that govern somebody here, in the order in which they are asked and, among equals,
// named: policy tier, priority, kind, namespace, name; then clause and rule as written.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "controlplane/compile/census.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/selectors.h"
#include "policies/model/policy.h"

namespace bulkhead::compile {

/// Whom a rule's peers are, as numbers. Rules with equal peers share one.
struct PeerList {
  bool everyone = false, world = false, local_node = false;
  std::vector<std::uint32_t> selectors, blocks, nodes,
      sources;  // Selectors' and GovernedDirection's numbers, ascending
};

/// Whom a source means, where both who sends and from where matter.
struct GoverningSource {
  std::uint32_t selector = 0;
  bool strangers = false;             // nodes and world too
  std::vector<std::uint32_t> blocks;  // into GovernedDirection::blocks, ascending
};

struct GoverningRule {
  const policies::Rule* rule = nullptr;
  std::uint32_t policy = 0;  // into Rules::policies
  std::uint32_t direction = 0;
  std::uint32_t peers = 0;  // into GovernedDirection::peers
  std::uint32_t ports = 0;  // Ports' number of its port terms
  policies::Tier tier = policies::Tier::kApplication;
  std::uint32_t priority = 0;
  bool audited = false;
};

struct GoverningClause {
  bool isolates = false;  // never outside the application tier
  policies::Tier tier = policies::Tier::kApplication;
  std::uint32_t policy = 0;
  std::uint32_t rules_first = 0, rules_count = 0;  // into Rules::rules
  bool audited = false;
};

/// [0] ingress, [1] egress.
struct GovernedDirection {
  std::vector<GoverningClause> clauses;
  std::vector<PeerList> peers;
  std::vector<const policies::IpBlock*> blocks;  // distinct
  std::vector<const policies::Selector*> nodes;  // distinct
  std::vector<GoverningSource> sources;          // distinct
  ListTable clause_sets;                         // 0 is the empty set
  std::vector<std::uint32_t> clause_set_of;      // by identity; 0 for those without a subject here
};

/// What becomes of a quarantine: a policy made for it, whose rules no clause has. [0] ingress, [1] egress.
struct GoverningQuarantine {
  std::uint32_t denies_all[2] = {};  // into Rules::rules: of the endpoint itself
  std::uint32_t denies_it[2] = {};   // of everybody else
};

struct Rules {
  std::vector<const policies::Policy*> policies;
  std::vector<GoverningRule> rules;
  std::vector<GoverningQuarantine> quarantines;         // of endpoints that exist
  std::vector<std::uint32_t> quarantine_of;             // by Census::members; kNone: none
  std::vector<std::unique_ptr<policies::Policy>> made;  // what is not the input's
  bool passes = false;                                  // some enforced rule does
  bool audits = false;                                  // some policy that governs somebody here is audited
  GovernedDirection directions[2];
};

/// `relevant`: positions of policies, ascending; those that are left out govern nobody here.
Rules govern(const Input& input, std::span<const std::uint32_t> relevant, const Census& census,
             Selectors& selectors, Ports& ports);

}  // namespace bulkhead::compile
