#include "controlplane/compile/blocks.h"

#include <algorithm>

#include "policies/model/address.h"

namespace bulkhead::compile {

Blocks::Blocks(const std::vector<const policies::IpBlock*> (&blocks)[2]) {
  sets_.intern({});
  policies::AddressBlock all_v4;
  all_v4.base[10] = all_v4.base[11] = 0xff;
  all_v4.prefix_bits = 96;
  regions_.push_back({all_v4, kNone, {}});
  regions_.push_back({policies::AddressBlock{}, kNone, {}});

  std::vector<Edge> edges[2];  // v4, v6
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    for (std::uint32_t index = 0; index < blocks[direction].size(); ++index) {
      const policies::IpBlock& block = *blocks[direction][index];
      auto& family = edges[block.block.is_v4() ? 0 : 1];
      const bool nothing_left = std::any_of(block.except.begin(), block.except.end(),
                                            [&](const auto& hole) { return contains(hole, block.block); });
      if (nothing_left) continue;
      family.push_back({block.block, direction, index, true});
      for (const auto& hole : block.except)
        if (contains(block.block, hole)) family.push_back({hole, direction, index, false});
    }
  }
  grow(edges[0], kRootV4);
  v6_first_ = static_cast<std::uint32_t>(regions_.size());
  grow(edges[1], kRootV6);
}

void Blocks::grow(std::vector<Edge>& edges, std::uint32_t root) {
  std::sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.prefix < b.prefix; });
  std::uint32_t above = root;
  std::vector<std::uint32_t> set;
  for (std::size_t first = 0, end; first < edges.size(); first = end) {
    const policies::AddressBlock prefix = edges[first].prefix;
    for (end = first; end < edges.size() && edges[end].prefix == prefix;) ++end;
    while (!contains(regions_[above].prefix, prefix)) above = regions_[above].parent;
    std::uint32_t at = root;
    if (prefix != regions_[root].prefix) {
      at = static_cast<std::uint32_t>(regions_.size());
      regions_.push_back({prefix, above, {regions_[above].sets[0], regions_[above].sets[1]}});
    }
    for (std::uint32_t direction = 0; direction < 2; ++direction) {
      const auto inherited = sets_[regions_[at].sets[direction]];
      set.assign(inherited.begin(), inherited.end());
      for (std::size_t i = first; i < end; ++i)
        if (edges[i].direction == direction && edges[i].opens) set.push_back(edges[i].block);
      for (std::size_t i = first; i < end; ++i)
        if (edges[i].direction == direction && !edges[i].opens) std::erase(set, edges[i].block);
      sort_unique(set);
      regions_[at].sets[direction] = sets_.intern(set);
    }
    above = at;
  }
}

std::uint32_t Blocks::region_of(const policies::AddressBytes& address) const {
  const bool is_v4 = policies::is_v4(address);
  const auto first = regions_.begin() + (is_v4 ? v4_first_ : v6_first_);
  const auto end = is_v4 ? regions_.begin() + v6_first_ : regions_.end();
  const auto next = std::upper_bound(
      first, end, address, [](const auto& key, const Region& region) { return key < region.prefix.base; });
  std::uint32_t region =
      next == first ? (is_v4 ? kRootV4 : kRootV6) : static_cast<std::uint32_t>(next - regions_.begin() - 1);
  while (!regions_[region].prefix.contains(address)) region = regions_[region].parent;
  return region;
}

std::uint32_t Blocks::find(const policies::AddressBlock& prefix) const {
  std::uint32_t region = region_of(prefix.base);
  while (region != kNone && regions_[region].prefix != prefix) region = regions_[region].parent;
  return region;
}

}  // namespace bulkhead::compile
