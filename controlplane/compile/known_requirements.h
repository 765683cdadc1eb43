// Who meets which label requirement, kept from one pass to the next: labels are looked at once.
//
// An identity is known by its place in Binding::numbers(), which stays while it exists.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "policies/model/cluster.h"
#include "policies/model/policy.h"

namespace bulkhead::compile {

class KnownRequirements {
 public:
  using Bits = std::vector<std::uint64_t>;  // by place, as many as were needed

  /// Whose place this is from here on.
  void enter(std::uint32_t place, const policies::Labels& labels);

  /// Null where nobody asked before.
  const Bits* find(const policies::Requirement& requirement) const;
  void keep(const policies::Requirement& requirement, Bits met);

 private:
  std::map<policies::Requirement, Bits> known_;
};

}  // namespace bulkhead::compile
