// The stages of a lookup, one key at a time: the hottest code of the data plane, inline where packets pass. Part of table.h.
#pragma once

#include <immintrin.h>

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

/// What a lookup reads of the table, by value: a copy on the stack, which no store on a packet's way can change, stays in registers.
struct Lookup {
  const std::uint16_t* tags;
  abi::FlowEntry* entries;
  const Table* table;  // for what is seldom needed
  Hasher hasher;
  std::uint32_t bucket_mask;

  /// The three stages for one key, for a caller with other work to do between them. See Table.
  void hash(const void* key, Probe& probe) const {
    const std::uint64_t hash = hasher(key);
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
    __builtin_prefetch(entries + slot, 1);
  }

  /// In resolve()'s place, for 16-byte aligned keys: whether `entry` is surely this conversation, established and allowed by this generation,
  /// in the `direction` that comes in and goes out by these ports (abi::FlowEntry::port, the first in the low half). False says nothing.
  ///
  /// The ports say which direction it must be, so that only one is compared.
  static bool continues(const abi::FlowEntry& entry, const void* key, std::uint32_t generation,
                        std::uint32_t ports, std::uint32_t& direction) {
    const auto* known = reinterpret_cast<const std::uint8_t*>(&entry);
    const auto* asked = static_cast<const std::uint8_t*>(key);
    const std::uint64_t judged = __atomic_load_n(
        reinterpret_cast<const StampWord*>(known + offsetof(abi::FlowEntry, generation)), __ATOMIC_ACQUIRE);
    const auto judged_ports = static_cast<std::uint32_t>(judged >> 32);
    direction = judged_ports != ports;
    const std::uint32_t turn = direction * 16;
    const auto load = [](const std::uint8_t* at) {
      return _mm_load_si128(reinterpret_cast<const __m128i*>(at));
    };
    const auto load32 = [](const std::uint8_t* at) {
      std::uint32_t word;
      std::memcpy(&word, at, sizeof word);
      return word;
    };
    const __m128i differ = _mm_or_si128(_mm_xor_si128(load(asked), load(known + turn)),
                                        _mm_xor_si128(load(asked + 16), load(known + (turn ^ 16))));
    return static_cast<std::uint32_t>(judged) == generation &&
           std::rotl(judged_ports, static_cast<int>(turn)) == ports && _mm_testz_si128(differ, differ) != 0 &&
           std::rotl(load32(known + 32), static_cast<int>(turn)) == load32(asked + 32) &&
           known[36] == asked[36];
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
