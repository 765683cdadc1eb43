#include "controlplane/analysis/verdicts.h"

#include <algorithm>

namespace bulkhead::analysis {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x9e37'79b9'7f4a'7c15u;
  return hash ^ (hash >> 32);
}

}  // namespace

PortSets::PortSets(std::size_t port_classes)
    : words_(std::max<std::size_t>(1, (port_classes + 63) / 64)), port_classes_(port_classes) {
  std::vector<std::uint64_t> none(words_), all(words_);
  for (std::size_t i = 0; i < port_classes; ++i) all[i / 64] |= std::uint64_t{1} << i % 64;
  intern(none);
  intern(all);
}

std::uint32_t PortSets::intern(std::span<const std::uint64_t> words) {
  std::uint64_t hash = 0;
  for (const std::uint64_t word : words) hash = mix(hash, word);
  const auto [first, last] = known_.equal_range(hash);
  for (auto at = first; at != last; ++at)
    if (std::equal(words.begin(), words.end(),
                   bits_.begin() + static_cast<std::ptrdiff_t>(at->second * words_)))
      return at->second;
  const auto number = static_cast<std::uint32_t>(bits_.size() / words_);
  bits_.insert(bits_.end(), words.begin(), words.end());
  known_.emplace(hash, number);
  return number;
}

std::uint32_t* PortSets::Memo::probe(std::uint64_t key) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = mix(0, key) & mask;
  while (slots_[at].key != key && slots_[at].key != UINT64_MAX) at = (at + 1) & mask;
  if (slots_[at].key == UINT64_MAX) {
    slots_[at].key = key;
    ++used_;
  }
  return &slots_[at].value;
}

std::uint32_t* PortSets::Memo::find(std::uint64_t key) {
  if (used_ * 2 >= slots_.size()) {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    used_ = 0;
    for (const Slot& slot : old)
      if (slot.key != UINT64_MAX) *probe(slot.key) = slot.value;
  }
  return probe(key);
}

std::uint32_t PortSets::both(std::uint32_t a, std::uint32_t b) {
  if (a == b || b == kAll) return a;
  if (a == kAll) return b;
  if (a == kNone || b == kNone) return kNone;
  if (a > b) std::swap(a, b);
  std::uint32_t* known = both_.find(std::uint64_t{a} << 32 | b);
  if (*known != UINT32_MAX) return *known;
  std::vector<std::uint64_t> words(words_);
  for (std::size_t i = 0; i < words_; ++i) words[i] = bits_[a * words_ + i] & bits_[b * words_ + i];
  return *known = intern(words);
}

std::uint32_t PortSets::without(std::uint32_t a, std::uint32_t b) {
  if (a == b || a == kNone || b == kAll) return kNone;
  if (b == kNone) return a;
  std::uint32_t* known = without_.find(std::uint64_t{a} << 32 | b);
  if (*known != UINT32_MAX) return *known;
  std::vector<std::uint64_t> words(words_);
  for (std::size_t i = 0; i < words_; ++i) words[i] = bits_[a * words_ + i] & ~bits_[b * words_ + i];
  return *known = intern(words);
}

bool PortSets::contains(std::uint32_t set, std::uint32_t port_class) const {
  return (bits_[set * words_ + port_class / 64] >> port_class % 64 & 1) != 0;
}

std::vector<std::uint32_t> PortSets::classes(std::uint32_t set) const {
  std::vector<std::uint32_t> found;
  for (std::uint32_t i = 0; i < port_classes_; ++i)
    if (contains(set, i)) found.push_back(i);
  return found;
}

Verdicts::Verdicts(const Space& space) : space_(space), sets_(space.ports().size()) {
  std::vector<std::uint64_t> words(sets_.words());
  for (std::uint32_t side = 0; side < kSides; ++side) {
    const image::View& view = space.view(side);
    set_of_[side].reserve(view.policy->rule_sets);
    for (std::uint32_t rule_set = 0; rule_set < view.policy->rule_sets; ++rule_set) {
      std::fill(words.begin(), words.end(), 0);
      for (std::size_t i = 0; i < space.ports().size(); ++i) {
        const std::uint64_t allows = image::answer(view, rule_set, space.ports()[i].number[side]) >> 31;
        words[i / 64] |= allows << i % 64;
      }
      set_of_[side].push_back(sets_.intern(words));
    }
  }
}

std::optional<Pair> apart(const AddressClass& from, const AddressClass& to) {
  if (from.v4 != to.v4) return std::nullopt;
  // Nobody's addresses are no endpoint's; else all but an endpoint's own few will do.
  if (!from.blocks.empty() && !to.blocks.empty()) return Pair{from.blocks[0].free, to.blocks[0].free};
  if (!from.blocks.empty()) return Pair{from.blocks[0].free, to.members[0].address};
  if (!to.blocks.empty()) return Pair{from.members[0].address, to.blocks[0].free};
  for (const Member& source : from.members)
    for (const Member& destination : to.members) {
      bool same = false;
      for (std::uint32_t side = 0; side < kSides; ++side)
        same |= source.endpoint[side] != 0 && source.endpoint[side] == destination.endpoint[side];
      if (!same) return Pair{source.address, destination.address};
    }
  return std::nullopt;
}

}  // namespace bulkhead::analysis
