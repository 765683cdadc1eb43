// Which policies can govern anybody of a namespace: of a whole cluster's, few govern somebody of one node.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/census.h"
#include "policies/model/policy.h"

namespace bulkhead::compile {

class PolicyIndex {
 public:
  explicit PolicyIndex(const policies::PolicySet& set);

  /// set.policies[position] is another than it was; all others are where they were.
  void replaced(const policies::PolicySet& set, std::uint32_t position);

  /// Positions in the set, ascending: of every policy that governs somebody who is judged here, and of others.
  std::vector<std::uint32_t> relevant(const Census& census) const;

 private:
  /// Of the one namespace that all clauses are about, or kNone.
  std::uint32_t home_of(const policies::Policy& policy);

  std::unordered_map<std::string, std::uint32_t> homes_;
  std::vector<std::vector<std::uint32_t>> at_home_;  // by home: positions, ascending
  std::vector<std::uint32_t> anywhere_;              // ascending
  std::vector<std::uint32_t> home_of_;               // by position
};

}  // namespace bulkhead::compile
