#include "controlplane/analysis/space.h"

#include <algorithm>
#include <bit>
#include <map>
#include <tuple>
#include <unordered_map>

namespace bulkhead::analysis {
namespace {

bool bit_of(const abi::Address& address, std::uint32_t bit) {
  return (address.bytes[bit / 8] >> (7 - bit % 8) & 1) != 0;
}

bool same_prefix(const abi::Address& a, const abi::Address& b, std::uint8_t bits) {
  for (std::uint32_t byte = 0; byte < bits / 8u; ++byte)
    if (a.bytes[byte] != b.bytes[byte]) return false;
  for (std::uint32_t bit = bits / 8u * 8u; bit < bits; ++bit)
    if (bit_of(a, bit) != bit_of(b, bit)) return false;
  return true;
}

abi::Address next(abi::Address address) {
  for (std::size_t byte = 16; byte-- > 0;)
    if (++address.bytes[byte] != 0) break;
  return address;
}

/// Walks both tries at once. Where one has ended at a record and the other goes on, the record stands for all of it.
class JointTrie {
 public:
  JointTrie(const image::View& before, const image::View& after) : tries_{before.trie, after.trie} {}

  template <typename Visit>
  void walk(std::array<std::uint32_t, kSides> entries, std::uint32_t byte, abi::Address base, Visit& visit) {
    walk_range(entries, byte, base, 0, image::kTrieEntries, visit);
  }

 private:
  std::uint32_t entry(std::uint32_t side, std::uint32_t parent, std::uint32_t at) const {
    if ((parent & image::kTrieChildBit) == 0) return parent;
    return tries_[side][std::uint64_t{parent & ~image::kTrieChildBit} * image::kTrieEntries + at];
  }

  template <typename Visit>
  void walk_range(const std::array<std::uint32_t, kSides>& parents, std::uint32_t byte, abi::Address base,
                  std::uint32_t first, std::uint32_t count, Visit& visit) {
    const auto at = [&](std::uint32_t i) {
      return std::array{entry(kBefore, parents[kBefore], i), entry(kAfter, parents[kAfter], i)};
    };
    const auto here = at(first);
    const bool leaf = ((here[kBefore] | here[kAfter]) & image::kTrieChildBit) == 0;
    base.bytes[byte] = static_cast<std::uint8_t>(first);
    bool equal = leaf;
    for (std::uint32_t i = 1; equal && i < count; ++i) equal = at(first + i) == here;
    if (equal) {
      const int bits_below = std::countr_zero(count);
      visit(here, base, static_cast<std::uint8_t>((byte + 1) * 8 - static_cast<std::uint32_t>(bits_below)));
    } else if (count == 1) {
      walk(here, byte + 1, base, visit);
    } else {
      walk_range(parents, byte, base, first, count / 2, visit);
      walk_range(parents, byte, base, first + count / 2, count / 2, visit);
    }
  }

  const std::uint32_t* tries_[kSides];
};

}  // namespace

bool Block::contains(const abi::Address& address) const {
  return same_prefix(base, address, prefix_bits);
}

Space::Space(const image::View& before, const image::View& after) : views_{&before, &after} {
  divide_ports();
  add_members();
  add_blocks(true);
  add_blocks(false);
  std::map<std::tuple<bool, std::uint32_t, std::uint32_t>, std::uint32_t> known;
  std::vector<AddressClass> merged;
  for (AddressClass& part : addresses_) {
    const auto [place, is_new] = known.try_emplace({part.v4, part.record[kBefore], part.record[kAfter]},
                                                   static_cast<std::uint32_t>(merged.size()));
    if (is_new) {
      merged.push_back(std::move(part));
      continue;
    }
    AddressClass& whole = merged[place->second];
    whole.members.insert(whole.members.end(), part.members.begin(), part.members.end());
    whole.blocks.insert(whole.blocks.end(), part.blocks.begin(), part.blocks.end());
  }
  addresses_ = std::move(merged);
}

void Space::divide_ports() {
  std::unordered_map<std::uint64_t, std::uint32_t> known;
  for (std::uint32_t slot_number = 0; slot_number < image::kProtocolSlots; ++slot_number) {
    const auto slot = static_cast<image::ProtocolSlot>(slot_number);
    std::uint32_t open = UINT32_MAX;
    for (std::uint32_t number = 0; number < ports_of(slot); ++number) {
      if (!reaches(slot, number)) {
        open = UINT32_MAX;
        continue;
      }
      const auto port = static_cast<std::uint16_t>(number);
      const std::uint32_t before = image::port_class(*views_[kBefore], slot, port);
      const std::uint32_t after = image::port_class(*views_[kAfter], slot, port);
      if (open != UINT32_MAX && ports_[open].number[kBefore] == before &&
          ports_[open].number[kAfter] == after) {
        ports_[open].ranges.back().last = port;
        continue;
      }
      const auto [place, is_new] =
          known.try_emplace(std::uint64_t{before} << 32 | after, static_cast<std::uint32_t>(ports_.size()));
      if (is_new) ports_.push_back({{before, after}, {}});
      open = place->second;
      ports_[open].ranges.push_back({slot, port, port});
    }
  }
}

void Space::add_members() {
  for (const image::View* view : views_)
    view->for_each_address([&](const image::AddressSlot& slot) { bound_.push_back(slot.address); });
  std::sort(bound_.begin(), bound_.end());
  bound_.erase(std::unique(bound_.begin(), bound_.end()), bound_.end());
  for (const abi::Address& address : bound_) {
    const image::Bound before = image::bind(*views_[kBefore], address);
    const image::Bound after = image::bind(*views_[kAfter], address);
    addresses_.push_back(
        {{before.record, after.record}, address.is_v4(), {{address, {before.endpoint, after.endpoint}}}, {}});
  }
}

void Space::add_blocks(bool v4) {
  const auto root = [v4](const image::View& view) {
    return image::kTrieChildBit | (v4 ? view.policy->trie_root_v4 : view.policy->trie_root_v6);
  };
  const auto visit = [&](const std::array<std::uint32_t, kSides>& records, const abi::Address& base,
                         std::uint8_t bits) {
    // A mapped address is an IPv4 address: no IPv6 packet bears one.
    if (!v4 && bits >= 96 && base.is_v4()) return;
    if (const auto free = free_address(base, bits))
      addresses_.push_back({{records[kBefore], records[kAfter]}, v4, {}, {{base, bits, *free}}});
  };
  JointTrie trie(*views_[kBefore], *views_[kAfter]);
  trie.walk({root(*views_[kBefore]), root(*views_[kAfter])}, v4 ? 12 : 0,
            v4 ? abi::address_v4(0) : abi::Address{}, visit);
}

std::optional<abi::Address> Space::free_address(const abi::Address& base, std::uint8_t prefix_bits) const {
  const bool v4 = prefix_bits >= 96 && base.is_v4();
  const auto fits = [&](const abi::Address& address) {
    return same_prefix(address, base, prefix_bits) && address.is_v4() == v4 &&
           !std::binary_search(bound_.begin(), bound_.end(), address);
  };
  // Of a wide block, an address of documentation (RFC 5737, RFC 3849): nobody's host is blamed.
  static const abi::Address kDocumentation[] = {
      abi::address_v4(0xc633'6401),
      {{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
  };
  for (const abi::Address& address : kDocumentation)
    if (fits(address)) return address;
  if (const abi::Address second = next(base); fits(second)) return second;
  abi::Address lowest = base;
  for (auto at = std::lower_bound(bound_.begin(), bound_.end(), base); at != bound_.end() && *at == lowest;
       ++at)
    lowest = next(lowest);
  if (fits(lowest)) return lowest;
  return std::nullopt;
}

std::vector<PortRange> joined(std::vector<PortRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const PortRange& a, const PortRange& b) {
    return std::tie(a.slot, a.first) < std::tie(b.slot, b.first);
  });
  std::vector<PortRange> result;
  for (const PortRange& range : ranges) {
    const auto touches = [&] {
      const PortRange& last = result.back();
      if (last.slot != range.slot) return false;
      // Numbers that never reach the slot are no gap.
      std::uint32_t at = last.last + 1u;
      while (at < range.first && !reaches(range.slot, at)) ++at;
      return at >= range.first;
    };
    if (!result.empty() && touches())
      result.back().last = std::max(result.back().last, range.last);
    else
      result.push_back(range);
  }
  return result;
}

std::vector<PortRange> Space::ranges(const std::vector<std::uint32_t>& port_classes) const {
  std::vector<PortRange> all;
  for (const std::uint32_t number : port_classes)
    all.insert(all.end(), ports_[number].ranges.begin(), ports_[number].ranges.end());
  return joined(std::move(all));
}

bool is_everything(const std::vector<PortRange>& ranges) {
  std::size_t slots = 0;
  for (const PortRange& range : ranges) slots += range.first == 0 && range.last == ports_of(range.slot) - 1;
  return slots == image::kProtocolSlots;
}

}  // namespace bulkhead::analysis
