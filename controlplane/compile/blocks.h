// Address blocks as regions of the address space in which no block ends.
//
// Every block and every exception is a prefix; prefixes nest, so they form a tree per family. A region is a
// prefix less the prefixes inside it: all its addresses lie in the same blocks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "controlplane/compile/intern.h"
#include "policies/model/policy.h"

namespace bulkhead::compile {

class Blocks {
 public:
  static constexpr std::uint32_t kRootV4 = 0, kRootV6 = 1;  // regions that always exist

  struct Region {
    policies::AddressBlock prefix;
    std::uint32_t parent = kNone;
    std::uint32_t sets[2] = {};  // per direction, into sets: the blocks that contain it, ascending
  };

  /// The blocks that rules of each direction name; a block's number is its place there.
  explicit Blocks(const std::vector<const policies::IpBlock*> (&blocks)[2]);

  std::uint32_t region_of(const policies::AddressBytes& address) const;
  /// The region of exactly this prefix, or kNone.
  std::uint32_t find(const policies::AddressBlock& prefix) const;
  const std::vector<Region>& regions() const { return regions_; }
  std::span<const std::uint32_t> set(std::uint32_t index) const { return sets_[index]; }
  std::size_t sets() const { return sets_.size(); }

 private:
  struct Edge {  // where a prefix opens or closes a block
    policies::AddressBlock prefix;
    std::uint32_t direction, block;
    bool opens;
  };
  void grow(std::vector<Edge>& edges, std::uint32_t root);

  std::vector<Region> regions_;  // the roots, then v4, then v6, each sorted by (base, length)
  std::uint32_t v4_first_ = 2, v6_first_ = 2;
  ListTable sets_;  // 0 is the empty set
};

}  // namespace bulkhead::compile
