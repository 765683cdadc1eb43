// The stages of a burst's lookup: the hottest code of the data plane.
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
namespace {

#ifndef BULKHEAD_SCALAR_TAGS
/// All tags of a bucket. Each 2-byte element is read whole, and x86 keeps the later loads of the entries
/// behind this one; the fence holds the compiler to it.
__m256i load_tags(const std::uint16_t* tags) {
  const __m256i loaded = _mm256_load_si256(reinterpret_cast<const __m256i*>(tags));
  std::atomic_thread_fence(std::memory_order_acquire);
  return loaded;
}

/// One bit for each 16-bit element that is all ones.
std::uint32_t mask_of(__m256i elements) {
  const __m128i bytes =
      _mm_packs_epi16(_mm256_castsi256_si128(elements), _mm256_extracti128_si256(elements, 1));
  return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes));
}
#endif

}  // namespace

#ifndef BULKHEAD_SCALAR_TAGS
std::uint32_t Table::match_tags(std::uint32_t bucket, std::uint16_t tag) const {
  const __m256i wanted = _mm256_set1_epi16(static_cast<short>(tag));
  return mask_of(_mm256_cmpeq_epi16(load_tags(tags_ + std::uint64_t{bucket} * kSlots), wanted));
}

std::uint32_t Table::live_tags(std::uint32_t bucket) const {
  const __m256i tags = load_tags(tags_ + std::uint64_t{bucket} * kSlots);
  const __m256i first = _mm256_set1_epi16(abi::kFlowTagFirst);
  return mask_of(_mm256_cmpeq_epi16(_mm256_max_epu16(tags, first), tags));
}
#else
// The thread sanitizer sees only scalar atomics.
std::uint32_t Table::match_tags(std::uint32_t bucket, std::uint16_t tag) const {
  std::uint32_t mask = 0;
  for (std::uint32_t i = 0; i < kSlots; ++i) mask |= (load_tag(bucket * kSlots + i) == tag ? 1u : 0u) << i;
  return mask;
}

std::uint32_t Table::live_tags(std::uint32_t bucket) const {
  std::uint32_t mask = 0;
  for (std::uint32_t i = 0; i < kSlots; ++i)
    mask |= (load_tag(bucket * kSlots + i) >= abi::kFlowTagFirst ? 1u : 0u) << i;
  return mask;
}
#endif

void Table::hash(const void* const keys[], std::uint32_t count, Probe probes[]) const {
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t hash = hasher_(keys[i]);
    probes[i].hash = hash;
    __builtin_prefetch(tags_ + std::uint64_t{bucket_of(hash, 0)} * kSlots);
  }
}

void Table::find(std::uint32_t count, Probe probes[]) const {
  for (std::uint32_t i = 0; i < count; ++i) {
    Probe& probe = probes[i];
    const std::uint32_t bucket = bucket_of(probe.hash, 0);
    const std::uint32_t candidates = match_tags(bucket, tag_of(probe.hash));
    probe.candidates = static_cast<std::uint16_t>(candidates);
    if (candidates != 0) [[likely]] {
      probe.slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(candidates));
      __builtin_prefetch(hot_ + probe.slot, 1);
    } else {
      probe.slot = kNoSlot;
      prefetch_free(bucket);
    }
  }
}

/// A miss is most likely a new flow: the lines that insert() will write.
void Table::prefetch_free(std::uint32_t bucket) const {
  const std::uint32_t free = match_tags(bucket, abi::kFlowTagFree);
  if (free == 0) return;
  const std::uint32_t slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(free));
  __builtin_prefetch(hot_ + slot, 1);
  __builtin_prefetch(cold_ + slot, 1);
}

void Table::resolve(const void* const keys[], std::uint32_t count, std::uint32_t generation,
                    Probe probes[]) const {
  for (std::uint32_t i = 0; i < count; ++i) resolve(keys[i], generation, probes[i]);
}

Probe Table::look_up(const void* key, std::uint32_t generation) const {
  Probe probe{};
  hash(&key, 1, &probe);
  find(1, &probe);
  resolve(&key, 1, generation, &probe);
  return probe;
}

std::uint32_t Table::search(std::uint64_t hash, const void* key, std::uint8_t& direction) const {
  const std::uint16_t tag = tag_of(hash);
  for (std::uint32_t i = 0; i < kChainBuckets; ++i) {
    const std::uint32_t bucket = bucket_of(hash, i);
    for (std::uint32_t match = match_tags(bucket, tag); match != 0; match &= match - 1) {
      const std::uint32_t slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(match));
      if (same_flow(slot, key, direction)) return slot;
    }
    if (passed_[bucket].load(std::memory_order_acquire) == 0) break;
  }
  return kNoSlot;
}

bool Table::holds(std::uint32_t slot, std::uint64_t hash, const void* key, std::uint8_t& direction) const {
  return slot < header_->slots && load_tag(slot) == tag_of(hash) && same_flow(slot, key, direction);
}

}  // namespace bulkhead::flow
