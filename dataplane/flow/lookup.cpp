// A whole burst at once, and what a lookup seldom needs.
#include "dataplane/flow/lookup.h"

namespace bulkhead::flow {

void Table::hash(const void* const keys[], std::uint32_t count, Probe probes[]) const {
  const Lookup lookup = this->lookup();
  for (std::uint32_t i = 0; i < count; ++i) lookup.hash(keys[i], probes[i]);
}

void Table::find(std::uint32_t count, Probe probes[]) const {
  const Lookup lookup = this->lookup();
  for (std::uint32_t i = 0; i < count; ++i) lookup.find(probes[i]);
}

/// A miss is most likely a new flow: the lines that insert() will write.
void Table::find_nothing(std::uint32_t bucket, Probe& probe) const {
  probe.slot = kNoSlot;
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
