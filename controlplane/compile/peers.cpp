#include "controlplane/compile/peers.h"

#include <algorithm>
#include <array>
#include <bit>
#include <iterator>

namespace bulkhead::compile {

void PeerSet::add(std::uint32_t peer, std::size_t width) {
  if (bits_.empty() && (list_.size() + 1) * 32 <= width) {
    list_.push_back(peer);
    return;
  }
  if (bits_.empty()) {
    bits_.resize((width + 63) / 64);
    for (const std::uint32_t each : list_) bits_[each / 64] |= std::uint64_t{1} << each % 64;
    list_ = {};
  }
  bits_[peer / 64] |= std::uint64_t{1} << peer % 64;
}

void PeerIndex::matching(const PeerList& list, std::vector<std::uint32_t>& peers) const {
  peers.clear();
  std::vector<std::uint64_t> bits;
  std::size_t parts = 0;
  const auto join = [&](const PeerSet& set) {
    ++parts;
    peers.insert(peers.end(), set.list().begin(), set.list().end());
    if (!set.is_dense()) return;
    if (bits.empty()) bits.resize((width + 63) / 64);
    for (std::size_t word = 0; word < bits.size(); ++word) bits[word] |= set.bits()[word];
  };
  const auto join_all = [&](const std::vector<PeerSet>& sets, const std::vector<std::uint32_t>& numbers) {
    for (const std::uint32_t number : numbers) join(sets[number]);
  };
  join_all(by_selector, list.selectors);
  join_all(by_block, list.blocks);
  join_all(by_nodes, list.nodes);
  join_all(by_source, list.sources);
  if (list.world) join(world);
  if (bits.empty()) {
    if (parts > 1) sort_unique(peers);
    return;
  }
  for (const std::uint32_t each : peers) bits[each / 64] |= std::uint64_t{1} << each % 64;
  peers.clear();
  for (std::size_t word = 0; word < bits.size(); ++word)
    for (std::uint64_t rest = bits[word]; rest != 0; rest &= rest - 1)
      peers.push_back(static_cast<std::uint32_t>(word * 64 + static_cast<unsigned>(std::countr_zero(rest))));
}

}  // namespace bulkhead::compile
