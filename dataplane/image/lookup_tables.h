// The two tables that an address is looked up in, made from plain lists. Deterministic: the order of the
// input does not matter.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/image/builder.h"

namespace bulkhead::image {

struct SlotTable {
  std::uint64_t seed = 0;
  std::vector<AddressSlot> slots;  // a power of two plus kProbesMax
};

/// Places every address within kProbesMax slots of its home. `bound` is sorted by address and has no
/// duplicates. Nothing if that takes more than `slots_max` slots.
std::optional<SlotTable> make_slots(std::span<const BoundAddress> bound, std::uint64_t slots_max);

struct Trie {
  std::uint32_t root_v4 = 0;
  std::uint32_t root_v6 = 1;
  std::vector<std::uint32_t> entries;  // nodes * kTrieEntries; a child follows its parent
};

/// Nothing if the trie takes more than `nodes_max` nodes.
std::optional<Trie> make_trie(std::span<const BlockRecord> blocks, std::uint32_t world_record_v4,
                              std::uint32_t world_record_v6, std::uint64_t nodes_max);

}  // namespace bulkhead::image
