// Whom a list of peers matches, by the parts that lists share.
//
// Thousands of lists name the same wide selectors and blocks: what each matches is kept once for each *part*, and
// put together when a list is asked about. So memory follows what policies say, not lists times peers.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/compile/rules.h"

namespace bulkhead::compile {

/// Peer classes: listed where they are few, else a bit each.
class PeerSet {
 public:
  /// Of `width` peers in all; they come in ascending order.
  void add(std::uint32_t peer, std::size_t width);

  bool is_dense() const { return !bits_.empty(); }
  const std::vector<std::uint32_t>& list() const { return list_; }
  const std::vector<std::uint64_t>& bits() const { return bits_; }

 private:
  std::vector<std::uint32_t> list_;
  std::vector<std::uint64_t> bits_;
};

struct PeerIndex {
  std::size_t width = 0;  // peer classes
  std::vector<PeerSet> by_selector, by_block, by_nodes, by_source;
  PeerSet world;

  /// Ascending; neither those that the list matches as everyone nor as the local node.
  void matching(const PeerList& list, std::vector<std::uint32_t>& peers) const;
};

}  // namespace bulkhead::compile
