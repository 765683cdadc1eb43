#include "dataplane/image/lookup_tables.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <tuple>

#include "dataplane/image/query.h"

namespace bulkhead::image {
namespace {

constexpr std::uint64_t kSeedsTried = 64;
constexpr std::uint64_t kCapacityMin = 16;

/// How many addresses are at home in each slot, if serving them in order of their homes leaves none too far
/// from its own. That order (that of a queue) keeps the longest way short: at half load it fails about once
/// in 10^8 addresses.
bool count_homes(std::span<const BoundAddress> bound, std::uint64_t seed, std::vector<std::uint32_t>& homes) {
  const std::uint64_t capacity = homes.size();
  std::fill(homes.begin(), homes.end(), 0);
  for (const BoundAddress& one : bound) ++homes[slot_hash(seed, one.address) & (capacity - 1)];
  std::uint64_t next = 0;
  for (std::uint64_t home = 0; home < capacity; ++home) {
    next = std::max(next, home) + homes[home];
    if (homes[home] != 0 && next - 1 - home >= kProbesMax) return false;
  }
  return true;
}

std::vector<AddressSlot> place(std::span<const BoundAddress> bound, std::uint64_t seed,
                               std::vector<std::uint32_t>& homes) {
  const std::uint64_t capacity = homes.size();
  std::uint64_t next = 0;
  for (std::uint64_t home = 0; home < capacity; ++home) {  // from counts to the first slot of each home
    const std::uint64_t first = std::max(next, home);
    next = first + homes[home];
    homes[home] = static_cast<std::uint32_t>(first);
  }
  std::vector<AddressSlot> slots(capacity + kProbesMax, AddressSlot{});
  for (const BoundAddress& one : bound)
    slots[homes[slot_hash(seed, one.address) & (capacity - 1)]++] = {one.address, one.profile, one.endpoint,
                                                                     0};
  return slots;
}

class TrieMaker {
 public:
  TrieMaker(std::uint32_t world_v4, std::uint32_t world_v6) {
    add_node(world_v4);
    add_node(world_v6);
  }

  /// Blocks come shortest prefix first: an entry that a block fills whole never leads to a child yet.
  void add(const BlockRecord& block) {
    const bool v4 = block.prefix_bits >= 96 && block.base.is_v4();
    std::uint32_t level = v4 ? 12 : 0;
    std::size_t node = v4 ? trie_.root_v4 : trie_.root_v6;
    while (block.prefix_bits > 8 * (level + 1)) {
      node = child(node, block.base.bytes[level]);
      ++level;
    }
    const std::uint32_t free_bits = 8 * (level + 1) - block.prefix_bits;
    const std::uint32_t first = block.base.bytes[level] & (0xffu << free_bits);
    const auto entry = trie_.entries.begin() + static_cast<std::ptrdiff_t>(node * kTrieEntries + first);
    std::fill(entry, entry + (std::ptrdiff_t{1} << free_bits), block.record);
  }

  std::uint64_t nodes() const { return trie_.entries.size() / kTrieEntries; }
  Trie take() { return std::move(trie_); }

 private:
  void add_node(std::uint32_t record) {
    assert(record != 0 && (record & kTrieChildBit) == 0);
    trie_.entries.insert(trie_.entries.end(), kTrieEntries, record);
  }

  std::size_t child(std::size_t node, std::uint8_t byte) {
    const std::size_t at = node * kTrieEntries + byte;
    if ((trie_.entries[at] & kTrieChildBit) == 0) {
      const auto made = static_cast<std::uint32_t>(nodes());
      add_node(trie_.entries[at]);
      trie_.entries[at] = kTrieChildBit | made;
    }
    return trie_.entries[at] & ~kTrieChildBit;
  }

  Trie trie_;
};

}  // namespace

std::optional<SlotTable> make_slots(std::span<const BoundAddress> bound, std::uint64_t slots_max) {
  std::vector<std::uint32_t> homes;
  for (std::uint64_t capacity = std::max(kCapacityMin, std::bit_ceil(2 * std::uint64_t{bound.size()}));
       capacity + kProbesMax <= slots_max; capacity *= 2) {
    homes.resize(capacity);
    for (std::uint64_t seed = 0; seed < kSeedsTried; ++seed)
      if (count_homes(bound, seed, homes)) return SlotTable{seed, place(bound, seed, homes)};
  }
  return std::nullopt;
}

std::optional<Trie> make_trie(std::span<const BlockRecord> blocks, std::uint32_t world_record_v4,
                              std::uint32_t world_record_v6, std::uint64_t nodes_max) {
  std::vector<BlockRecord> sorted(blocks.begin(), blocks.end());
  std::sort(sorted.begin(), sorted.end(), [](const BlockRecord& a, const BlockRecord& b) {
    return std::tie(a.prefix_bits, a.base) < std::tie(b.prefix_bits, b.base);
  });
  assert(std::adjacent_find(sorted.begin(), sorted.end(), [](const BlockRecord& a, const BlockRecord& b) {
           return a.prefix_bits == b.prefix_bits && a.base == b.base;
         }) == sorted.end());
  TrieMaker maker(world_record_v4, world_record_v6);
  for (const BlockRecord& block : sorted) {
    assert(block.prefix_bits <= 128 && block.record != 0 && (block.record & kTrieChildBit) == 0);
    maker.add(block);
    if (maker.nodes() > nodes_max) return std::nullopt;
  }
  return maker.take();
}

}  // namespace bulkhead::image
