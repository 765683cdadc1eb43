// Equal things get one number, in order of first use.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bulkhead::compile {

inline constexpr std::uint32_t kNone = 0xffff'ffffu;

/// Ends a compile() from anywhere inside it; caught there and nowhere else.
struct Refused {
  std::string reason;
};

inline std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9e37'79b9'7f4a'7c15u;
  return hash ^ (hash >> 32);
}

inline std::uint64_t mix(std::uint64_t hash, std::string_view text) {
  return mix(hash, std::hash<std::string_view>{}(text));
}

/// Interns lists of numbers. The lists lie one after another in one array, whose order is that of first use.
class ListTable {
 public:
  using List = std::span<const std::uint32_t>;

  std::uint32_t intern(List list) {
    if (count_ * 2 >= slots_.size()) grow();
    const std::uint64_t hash = hash_of(list);
    std::size_t slot = hash & (slots_.size() - 1);
    for (; slots_[slot] != kNone; slot = (slot + 1) & (slots_.size() - 1)) {
      const List known = (*this)[slots_[slot]];
      if (std::equal(known.begin(), known.end(), list.begin(), list.end())) return slots_[slot];
    }
    slots_[slot] = static_cast<std::uint32_t>(count_++);
    items_.insert(items_.end(), list.begin(), list.end());
    ends_.push_back(items_.size());
    return slots_[slot];
  }
  std::uint32_t intern(std::initializer_list<std::uint32_t> list) { return intern(List(list)); }

  List operator[](std::uint32_t index) const {
    const std::size_t first = first_of(index);
    return {items_.data() + first, ends_[index] - first};
  }
  std::size_t first_of(std::uint32_t index) const { return index == 0 ? 0 : ends_[index - 1]; }
  std::size_t size() const { return count_; }
  const std::vector<std::uint32_t>& items() const { return items_; }
  /// All lists, one after another. The table is of no more use.
  std::vector<std::uint32_t> take_items() && { return std::move(items_); }

 private:
  static std::uint64_t hash_of(List list) {
    std::uint64_t hash = list.size();
    for (const std::uint32_t item : list) hash = mix(hash, item);
    return hash ^ (hash >> 29);
  }

  void grow() {
    std::vector<std::uint32_t> slots(std::max<std::size_t>(64, slots_.size() * 4), kNone);
    for (std::uint32_t index = 0; index < count_; ++index) {
      std::size_t slot = hash_of((*this)[index]) & (slots.size() - 1);
      while (slots[slot] != kNone) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = index;
    }
    slots_ = std::move(slots);
  }

  std::vector<std::uint32_t> items_;
  std::vector<std::size_t> ends_;
  std::vector<std::uint32_t> slots_;
  std::size_t count_ = 0;
};

/// Bits in words, the first in the lowest of the first.
inline bool has_bit(const std::vector<std::uint64_t>& bits, std::size_t place) {
  return (bits[place / 64] >> place % 64 & 1) != 0;
}
inline void set_bit(std::vector<std::uint64_t>& bits, std::size_t place) {
  bits[place / 64] |= std::uint64_t{1} << place % 64;
}

inline void sort_unique(std::vector<std::uint32_t>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

}  // namespace bulkhead::compile
