// Addresses that nobody owns, to show a packet of the world with.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/profiles.h"

namespace bulkhead::compile {

class Vacant {
 public:
  /// The blocks outlive this. The profiles have their addresses.
  Vacant(const Blocks& blocks, const Profiles& profiles);

  /// An address of the region: its base, or behind what lies inside the region. Nothing where there is none, or as many
  /// steps found none.
  std::optional<policies::AddressBytes> in(std::uint32_t region, std::size_t steps_max) const;
  bool is_in(std::uint32_t region, const policies::AddressBytes& address) const;

 private:
  const Blocks& blocks_;
  std::vector<policies::AddressBytes> owned_;  // ascending
};

}  // namespace bulkhead::compile
