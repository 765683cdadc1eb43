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
  using Bits = std::vector<std::uint64_t>;  // by place

  /// Whose place this is from here on.
  void enter(std::uint32_t place, const policies::Labels& labels);

  /// Null where nobody asked before.
  const Bits* find(const policies::Requirement& requirement) const;
  void keep(const policies::Requirement& requirement, Bits met);

 private:
  std::map<policies::Requirement, Bits> known_;
};

inline bool is_set(const KnownRequirements::Bits& bits, std::uint32_t place) {
  return (bits[place / 64] >> place % 64 & 1) != 0;
}

inline void set(KnownRequirements::Bits& bits, std::uint32_t place) {
  if (bits.size() <= place / 64) bits.resize(place / 64 + 1);
  bits[place / 64] |= std::uint64_t{1} << place % 64;
}

}  // namespace bulkhead::compile
