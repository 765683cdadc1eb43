// The stages of a lookup, one key at a time: the hottest code of the data plane, inline where packets pass. Part of table.h.
#pragma once

#include <immintrin.h>

#include <array>

#include "dataplane/flow/table.h"

#if defined(__SANITIZE_THREAD__)
#define BULKHEAD_SCALAR_TAGS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BULKHEAD_SCALAR_TAGS 1
#endif
#endif

namespace bulkhead::flow {

#ifndef BULKHEAD_SCALAR_TAGS
/// All tags of a bucket. Each 2-byte element is read whole, and x86 keeps the later loads of the entries
/// behind this one; the fence holds the compiler to it.
inline __m256i load_tags(const std::uint16_t* tags) {
  const __m256i loaded = _mm256_load_si256(reinterpret_cast<const __m256i*>(tags));
  std::atomic_thread_fence(std::memory_order_acquire);
  return loaded;
}

/// One bit for each 16-bit element that is all ones.
inline std::uint32_t mask_of(__m256i elements) {
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(elements), _mm256_extracti128_si256(elements, 1));
  return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes));
}

/// The first slot of a bucket whose tag agrees; 16 or more: none.
inline std::uint32_t first_match(const std::uint16_t* tags, std::uint16_t tag) {
  const __m256i same = _mm256_cmpeq_epi16(load_tags(tags), _mm256_set1_epi16(static_cast<short>(tag)));
  return static_cast<std::uint32_t>(
             std::countr_zero(static_cast<std::uint32_t>(_mm256_movemask_epi8(same)))) /
         2;
}

inline std::uint32_t match_tags(const std::uint16_t* tags, std::uint16_t tag) {
  const __m256i wanted = _mm256_set1_epi16(static_cast<short>(tag));
  return mask_of(_mm256_cmpeq_epi16(load_tags(tags), wanted));
}

inline std::uint32_t live_tags(const std::uint16_t* tags) {
  const __m256i loaded = load_tags(tags);
  const __m256i first = _mm256_set1_epi16(abi::kFlowTagFirst);
  return mask_of(_mm256_cmpeq_epi16(_mm256_max_epu16(loaded, first), loaded));
}
#else
// The thread sanitizer sees only scalar atomics.
inline std::uint16_t load_tag(const std::uint16_t& tag) {
  return __atomic_load_n(&tag, __ATOMIC_ACQUIRE);
}

inline std::uint32_t match_tags(const std::uint16_t* tags, std::uint16_t tag) {
  std::uint32_t mask = 0;
  for (std::uint32_t i = 0; i < abi::kFlowBucketSlots; ++i) mask |= (load_tag(tags[i]) == tag ? 1u : 0u) << i;
  return mask;
}

inline std::uint32_t live_tags(const std::uint16_t* tags) {
  std::uint32_t mask = 0;
  for (std::uint32_t i = 0; i < abi::kFlowBucketSlots; ++i)
    mask |= (load_tag(tags[i]) >= abi::kFlowTagFirst ? 1u : 0u) << i;
  return mask;
}

inline std::uint32_t first_match(const std::uint16_t* tags, std::uint16_t tag) {
  return static_cast<std::uint32_t>(std::countr_zero(match_tags(tags, tag)));
}
#endif

inline std::uint32_t Table::match_tags(std::uint32_t bucket, std::uint16_t tag) const {
  return flow::match_tags(tags_ + std::uint64_t{bucket} * kSlots, tag);
}

inline std::uint32_t Table::live_tags(std::uint32_t bucket) const {
  return flow::live_tags(tags_ + std::uint64_t{bucket} * kSlots);
}

/// Both orders are compared without a branch: replies come as often as originals.
inline bool Table::same_flow(std::uint32_t slot, const void* key, std::uint8_t& direction) const {
  const auto ports_of = [](const void* of) {
    std::uint32_t ports;
    std::memcpy(&ports, static_cast<const std::uint8_t*>(of) + 32, sizeof ports);
    return ports;
  };
  const abi::FlowEntry& entry = hot_[slot];
  const __m256i asked = _mm256_loadu_si256(static_cast<const __m256i*>(key));
  const __m256i forward = _mm256_load_si256(reinterpret_cast<const __m256i*>(&entry));
  const __m256i reverse = _mm256_permute2x128_si256(forward, forward, 1);
  const std::uint32_t ports = ports_of(key);
  const std::uint32_t own_ports = ports_of(&entry);
  const bool is_forward =
      (_mm256_movemask_epi8(_mm256_cmpeq_epi8(asked, forward)) == -1) & (ports == own_ports);
  const bool is_reverse = (_mm256_movemask_epi8(_mm256_cmpeq_epi8(asked, reverse)) == -1) &
                          (ports == (own_ports << 16 | own_ports >> 16));
  direction = static_cast<std::uint8_t>(!is_forward);
  return (is_forward | is_reverse) & (static_cast<const std::uint8_t*>(key)[36] == entry.protocol);
}

/// From which port to which, as judged by which generation: as a Stamp's word, of a conversation that began there and of one that began
/// at the other end.
struct Way {
  std::uint64_t stamps[2];

  Way(std::uint32_t generation, std::uint16_t in, std::uint16_t out)
      : stamps{word(generation, in, out), word(generation, out, in)} {}

 private:
  static std::uint64_t word(std::uint32_t generation, std::uint32_t first, std::uint64_t second) {
    return second << 48 | std::uint64_t{first} << 32 | generation;
  }
};

/// Where a key's bytes lie in WireV4 if a packet goes in the entry's direction, or against it: from the source's last word on, and from
/// the destination's last word on.
struct WirePlaces {
  alignas(16) std::uint8_t first[16];
  std::uint8_t second[16];
};
inline constexpr std::array<WirePlaces, 2> kWirePlaces = [] {
  constexpr std::uint8_t no = 0x80;  // a zero
  return std::array<WirePlaces, 2>{WirePlaces{{4, 5, 6, 7, no, no, no, no, no, no, no, no, no, no, no, no},
                                              {8, 9, 10, 11, 13, 12, 15, 14, 1, no, no, no, no, no, no, no}},
                                   WirePlaces{{8, 9, 10, 11, no, no, no, no, no, no, no, no, no, no, no, no},
                                              {4, 5, 6, 7, 15, 14, 13, 12, 1, no, no, no, no, no, no, no}}};
}();

/// What a lookup reads of the table, by value: a copy on the stack, which no store on a packet's way can change, stays in registers.
struct Lookup {
  const std::uint16_t* tags;
  abi::FlowEntry* entries;
  const Table* table;  // for what is seldom needed
  Hasher hasher;
  std::uint32_t bucket_mask;

  /// The three stages for one key, for a caller with other work to do between them. See Table.
  void hash(const void* key, Probe& probe) const { start(hasher(key), probe); }
  void hash(const WireV4& wire, Probe& probe) const { start(hasher(wire), probe); }

  void start(std::uint64_t hash, Probe& probe) const {
    probe.hash = hash;
    __builtin_prefetch(tags +
                       std::uint64_t{static_cast<std::uint32_t>(hash) & bucket_mask} * abi::kFlowBucketSlots);
  }

  void find(Probe& probe) const {
    const std::uint64_t hash = probe.hash;
    const std::uint32_t first = (static_cast<std::uint32_t>(hash) & bucket_mask) * abi::kFlowBucketSlots;
    const std::uint32_t match = first_match(tags + first, tag_of(hash));
    if (match >= abi::kFlowBucketSlots) [[unlikely]]
      return table->find_nothing(first / abi::kFlowBucketSlots, probe);
    const std::uint32_t slot = first + match;
    probe.slot = slot;
    // Into the second-level cache only: the first level has too few places for lines under way to memory, and whoever finds them all
    // taken waits.
    __builtin_prefetch(entries + slot, 0, 2);
  }

  /// In resolve()'s place: whether `entry` is surely this packet's conversation, allowed as `way` says, and in which `direction` the
  /// packet goes. False says nothing.
  ///
  /// The way tells which direction it must be, so only that one is compared: the entry from its source's last word to its protocol, with
  /// the packet's bytes in their places. The source's first 12 bytes are left out, since both ends are of one family.
  static bool continues(const abi::FlowEntry& entry, const WireV4& wire, const Way& way,
                        std::size_t& direction) {
    const auto* known = reinterpret_cast<const std::uint8_t*>(&entry);
    const std::uint64_t judged = __atomic_load_n(
        reinterpret_cast<const StampWord*>(known + offsetof(abi::FlowEntry, generation)), __ATOMIC_ACQUIRE);
    direction = judged != way.stamps[0];
    if (judged != way.stamps[direction]) [[unlikely]]
      return false;
    const auto load = [](const std::uint8_t* at) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    };
    const WirePlaces& places = kWirePlaces[direction];
    const __m128i mapped = _mm_set_epi32(static_cast<int>(0xffff'0000u), 0, 0, 0);
    const __m128i to_protocol = _mm_set_epi32(0, 0xff, -1, -1);
    const __m128i first = _mm_or_si128(_mm_shuffle_epi8(wire.bytes, load(places.first)), mapped);
    const __m128i second = _mm_shuffle_epi8(wire.bytes, load(places.second));
    const __m128i differ = _mm_or_si128(_mm_xor_si128(first, load(known + 12)),
                                        _mm_and_si128(_mm_xor_si128(second, load(known + 28)), to_protocol));
    return _mm_testz_si128(differ, differ) != 0;
  }
};

inline Lookup Table::lookup() const {
  return {tags_, hot_, this, hasher_, bucket_mask_};
}

inline void Table::resolve(const void* key, std::uint32_t generation, Probe& probe) const {
  if (probe.slot == kNoSlot || !same_flow(probe.slot, key, probe.direction)) [[unlikely]]
    probe.slot = search(probe.hash, key, probe.direction);
  if (probe.slot == kNoSlot) [[unlikely]] {
    probe.found = Found::kMiss;
    probe.in_port = probe.out_port = 0;
    return;
  }
  // Taken apart in a register: the ports are the word's upper half, the originator's first.
  const std::uint64_t judged = __atomic_load_n(stamp_word(probe.slot), __ATOMIC_ACQUIRE);
  const auto ports = static_cast<std::uint32_t>(judged >> 32);
  const auto turned = std::rotl(ports, probe.direction * 16);
  probe.in_port = static_cast<std::uint16_t>(turned);
  probe.out_port = static_cast<std::uint16_t>(turned >> 16);
  probe.found = static_cast<std::uint32_t>(judged) == generation ? Found::kHit : Found::kStale;
}

}  // namespace bulkhead::flow
