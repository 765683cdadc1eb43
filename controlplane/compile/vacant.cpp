#include "controlplane/compile/vacant.h"

#include <algorithm>

#include "policies/model/address.h"

namespace bulkhead::compile {
namespace {

using policies::AddressBytes;

/// The address behind the block, wrapping to zero at the end.
AddressBytes after(const policies::AddressBlock& block) {
  AddressBytes address = block.base;
  int carry = 1;
  for (int byte = 15; byte >= 0 && carry != 0; --byte) {
    const int first_bit = byte * 8;
    if (first_bit >= block.prefix_bits) continue;  // host bits only: zero, as in the base
    const int unit = block.prefix_bits - first_bit >= 8 ? 1 : 1 << (8 - (block.prefix_bits - first_bit));
    const int sum = address[static_cast<std::size_t>(byte)] + carry * unit;
    address[static_cast<std::size_t>(byte)] = static_cast<std::uint8_t>(sum);
    carry = sum >> 8;
  }
  return address;
}

}  // namespace

Vacant::Vacant(const Blocks& blocks, const Profiles& profiles) : blocks_(blocks) {
  for (const Bound& bound : profiles.bound) owned_.push_back(bound.address);
  std::sort(owned_.begin(), owned_.end());
}

std::optional<AddressBytes> Vacant::in(std::uint32_t region, std::size_t steps_max) const {
  const policies::AddressBlock& prefix = blocks_.regions()[region].prefix;
  AddressBytes address = prefix.base;
  for (std::size_t step = 0; step < steps_max; ++step) {
    if (is_in(region, address)) return address;
    const std::uint32_t at = blocks_.region_of(address);
    const AddressBytes next =
        after(at == region ? policies::block_of(address) : blocks_.regions()[at].prefix);
    if (next <= address || !prefix.contains(next)) return std::nullopt;
    address = next;
  }
  return std::nullopt;
}

bool Vacant::is_in(std::uint32_t region, const AddressBytes& address) const {
  return blocks_.region_of(address) == region && !std::binary_search(owned_.begin(), owned_.end(), address);
}

}  // namespace bulkhead::compile
