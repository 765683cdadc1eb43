// Birth and death of flows, and of the table. See table.h for the contracts.
#include "dataplane/flow/table.h"

#include <algorithm>

namespace bulkhead::flow {

// ---------------------------------------------------------------------------------------------------------------------
// Insert and remove

bool Table::take_credit(Shard& shard) {
  const std::uint32_t credit = shard.credit.load(std::memory_order_relaxed);
  if (credit != 0) {
    shard.credit.store(credit - 1, std::memory_order_relaxed);
    return true;
  }
  std::uint64_t available = available_.load(std::memory_order_relaxed);
  std::uint64_t taken;
  do {
    if (available == 0) return false;
    taken = std::min<std::uint64_t>(available, credit_batch_);
  } while (!available_.compare_exchange_weak(available, available - taken, std::memory_order_relaxed));
  shard.credit.store(static_cast<std::uint32_t>(taken - 1), std::memory_order_relaxed);
  return true;
}

void Table::give_credit(Shard& shard) {
  std::uint32_t credit = shard.credit.load(std::memory_order_relaxed) + 1;
  if (credit > credit_batch_) {
    credit -= credit_batch_;
    available_.fetch_add(credit_batch_, std::memory_order_relaxed);
  }
  shard.credit.store(credit, std::memory_order_relaxed);
}

std::uint32_t Table::claim(std::uint64_t hash, std::uint32_t& bucket) {
  for (std::uint32_t i = 0; i < kChainBuckets; ++i) {
    bucket = bucket_of(hash, i);
    for (std::uint32_t free = match_tags(bucket, abi::kFlowTagFree); free != 0; free &= free - 1) {
      const std::uint32_t slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(free));
      std::uint16_t expected = abi::kFlowTagFree;
      if (std::atomic_ref(tags_[slot])
              .compare_exchange_strong(expected, abi::kFlowTagClaimed, std::memory_order_acquire))
        return slot;
    }
  }
  return kNoSlot;
}

/// Adds `delta` to the count of every bucket of the chain before `bucket`.
void Table::pass(std::uint64_t hash, std::uint32_t bucket, std::uint32_t delta) {
  for (std::uint32_t i = 0; i < kChainBuckets; ++i) {
    const std::uint32_t passing = bucket_of(hash, i);
    if (passing == bucket) return;
    passed_[passing].fetch_add(delta, std::memory_order_acq_rel);
  }
}

void Table::write(std::uint32_t slot, const NewFlow& flow) {
  abi::FlowEntry& entry = hot_[slot];
  entry = abi::FlowEntry{};
  std::memcpy(static_cast<void*>(&entry), flow.key, kKeyBytes);
  entry.state = flow.state;
  entry.last_seen_s = flow.now_s;
  entry.generation = flow.stamp.generation;
  entry.port[0] = flow.stamp.port[0];
  entry.port[1] = flow.stamp.port[1];
  abi::FlowDetail& detail = cold_[slot];
  detail = abi::FlowDetail{};
  detail.first_seen_ms = flow.first_seen_ms;
  detail.rule[0] = flow.reasons.rule[0];
  detail.rule[1] = flow.reasons.rule[1];
  detail.source_endpoint = flow.reasons.source_endpoint;
  detail.destination_endpoint = flow.reasons.destination_endpoint;
  detail.owner[0] = flow.reasons.owner[0];
  detail.owner[1] = flow.reasons.owner[1];
  detail.policy_slot = flow.policy_slot;
  detail.policy_port = flow.policy_port;
}

Inserted Table::insert(std::uint32_t worker, std::uint64_t hash, const NewFlow& flow) {
  std::uint8_t direction = 0;
  const std::uint32_t known = search(hash, flow.key, direction);
  if (known != kNoSlot) return {known, Outcome::kExisted, direction, false};

  Shard& shard = shards_[worker];
  bool evicted = false;
  if (!take_credit(shard)) {
    evicted = evict(worker, hash, kEvictBuckets, flow.now_s);
    if (!evicted || !take_credit(shard)) return {kNoSlot, Outcome::kFull, 0, evicted};
  }
  std::uint32_t bucket = 0;
  const std::uint32_t slot = claim(hash, bucket);
  if (slot == kNoSlot) {
    // The place of what is evicted here can be used one grace period later: the sender's next try finds it.
    give_credit(shard);
    evicted = evict(worker, hash, 0, flow.now_s) || evicted;
    return {kNoSlot, Outcome::kFull, 0, evicted};
  }
  write(slot, flow);
  pass(hash, bucket, 1);
  // An exchange, since on x86 it also keeps the loads of settle_duplicates() behind it.
  std::atomic_ref(tags_[slot]).exchange(tag_of(hash), std::memory_order_seq_cst);
  Inserted inserted = settle_duplicates(worker, hash, flow.key, slot);
  inserted.evicted = evicted;
  return inserted;
}

/// Of two workers that inserted one conversation at once, at least one sees the other's entry here: each
/// looks only after its own is published, with a full fence between. Whoever sees both retires the higher
/// slot.
Inserted Table::settle_duplicates(std::uint32_t worker, std::uint64_t hash, const void* key,
                                  std::uint32_t slot) {
  Inserted stays{slot, Outcome::kInserted, 0, false};
  const std::uint16_t tag = tag_of(hash);
  for (std::uint32_t i = 0; i < kChainBuckets; ++i) {
    const std::uint32_t bucket = bucket_of(hash, i);
    for (std::uint32_t match = match_tags(bucket, tag); match != 0; match &= match - 1) {
      const std::uint32_t other = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(match));
      std::uint8_t direction = 0;
      if (other == stays.slot || !same_flow(other, key, direction)) continue;
      remove(worker, std::max(other, stays.slot));
      if (other < stays.slot) stays = {other, Outcome::kExisted, direction, false};
    }
    if (passed_[bucket].load(std::memory_order_acquire) == 0) break;
  }
  return stays;
}

bool Table::remove(std::uint32_t worker, std::uint32_t slot) {
  std::uint16_t tag = load_tag(slot);
  if (tag < abi::kFlowTagFirst) return false;
  if (!std::atomic_ref(tags_[slot])
           .compare_exchange_strong(tag, abi::kFlowTagRetired, std::memory_order_acq_rel))
    return false;
  pass(hasher_(&hot_[slot]), slot / kSlots, ~std::uint32_t{0});
  Shard& shard = shards_[worker];
  cold_[slot].next_retired = shard.pending;
  shard.pending = slot;
  give_credit(shard);
  return true;
}

void Table::release(std::uint32_t slot) {
  std::atomic_ref(tags_[slot]).store(abi::kFlowTagFree, std::memory_order_release);
}

void Table::restamp(std::uint32_t slot, const Stamp& stamp, const Reasons& reasons) {
  abi::FlowDetail& detail = cold_[slot];
  for (int i = 0; i < 2; ++i)
    std::atomic_ref(detail.rule[i]).store(reasons.rule[i], std::memory_order_relaxed);
  std::atomic_ref(detail.source_endpoint).store(reasons.source_endpoint, std::memory_order_relaxed);
  std::atomic_ref(detail.destination_endpoint).store(reasons.destination_endpoint, std::memory_order_relaxed);
  for (int i = 0; i < 2; ++i)
    std::atomic_ref(detail.owner[i]).store(reasons.owner[i], std::memory_order_relaxed);
  std::atomic_ref(detail.kept).store(reasons.kept ? 1 : 0, std::memory_order_relaxed);
  __atomic_store_n(stamp_word(slot), std::bit_cast<std::uint64_t>(stamp), __ATOMIC_RELEASE);
}

void Table::account_and_carry(std::uint32_t slot, std::uint32_t direction, std::uint32_t packets,
                              std::uint32_t l3_bytes, std::uint16_t now_s) {
  abi::FlowEntry& entry = hot_[slot];
  abi::FlowDetail& detail = cold_[slot];
  const auto add = [](std::uint32_t& low, std::uint32_t& high, std::uint32_t amount) {
    const std::uint32_t sum = low + amount;
    if (sum < amount) std::atomic_ref(high).store(high + 1, std::memory_order_relaxed);
    std::atomic_ref(low).store(sum, std::memory_order_relaxed);
  };
  abi::FlowCount& count = entry.count[direction];
  add(count.packets, detail.packets_high[direction], packets);
  add(count.bytes, detail.bytes_high[direction], l3_bytes);
  std::atomic_ref(entry.last_seen_s).store(now_s, std::memory_order_relaxed);
}

// ---------------------------------------------------------------------------------------------------------------------
// Age and eviction

namespace {

/// Seconds of silence. Another worker's clock may be a little ahead of ours: that is no silence at all.
std::uint16_t silence_s(std::uint16_t now_s, std::uint16_t last_seen_s) {
  const auto silence = static_cast<std::uint16_t>(now_s - last_seen_s);
  return silence >= 0xff00 ? 0 : silence;
}
static_assert(kTimeoutMaxS < 0xff00);

/// Who has to go first: finished flows, then half-open ones, each the longest silent first. 0: never.
std::uint32_t dispensable(abi::FlowState state, std::uint16_t silence_s) {
  switch (state) {
    case abi::FlowState::kClosed:
      return 0x2'0000u + silence_s;
    case abi::FlowState::kNew:
    case abi::FlowState::kSynAck:
      return 0x1'0000u + silence_s;
    default:
      return 0;
  }
}

}  // namespace

bool Table::expired(std::uint32_t slot, std::uint16_t now_s, const Timeouts& timeouts) const {
  abi::FlowEntry& entry = hot_[slot];
  const auto state = std::atomic_ref(entry.state).load(std::memory_order_relaxed);
  const auto last = std::atomic_ref(entry.last_seen_s).load(std::memory_order_relaxed);
  return silence_s(now_s, last) > timeouts.limit_s(entry.protocol, state);
}

void Table::prefetch_live(std::uint32_t bucket) const {
  for (std::uint32_t live = live_tags(bucket); live != 0; live &= live - 1)
    __builtin_prefetch(hot_ + bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(live)));
}

bool Table::evict_from(std::uint32_t worker, std::uint32_t bucket, std::uint16_t now_s) {
  prefetch_live(bucket);
  std::uint32_t victim = kNoSlot, most = 0;
  for (std::uint32_t live = live_tags(bucket); live != 0; live &= live - 1) {
    const std::uint32_t slot = bucket * kSlots + static_cast<std::uint32_t>(std::countr_zero(live));
    const auto state = std::atomic_ref(hot_[slot].state).load(std::memory_order_relaxed);
    const auto last = std::atomic_ref(hot_[slot].last_seen_s).load(std::memory_order_relaxed);
    const std::uint32_t rank = dispensable(state, silence_s(now_s, last));
    if (rank <= most) continue;
    victim = slot;
    most = rank;
  }
  return victim != kNoSlot && remove(worker, victim);
}

bool Table::evict(std::uint32_t worker, std::uint64_t hash, std::uint32_t buckets_beyond,
                  std::uint16_t now_s) {
  for (std::uint32_t i = 0; i < kChainBuckets; ++i)
    if (evict_from(worker, bucket_of(hash, i), now_s)) return true;
  for (std::uint32_t i = 1; i <= buckets_beyond; ++i)
    if (evict_from(worker, (bucket_of(hash, 0) + i) & bucket_mask_, now_s)) return true;
  return false;
}

std::uint64_t Table::live() const {
  std::uint64_t free = available_.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < workers_; ++i) free += shards_[i].credit.load(std::memory_order_relaxed);
  return flows_max() > free ? flows_max() - free : 0;
}

}  // namespace bulkhead::flow
