// How a table begins: made anew, or taken up from a process that died at any moment.
#include <algorithm>

#include "dataplane/flow/table.h"

namespace bulkhead::flow {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t round_up(std::uint64_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

/// Why the header cannot be taken up; nullptr if it can.
const char* misfit(const abi::FlowTableHeader& header, const Geometry& wanted, const TableOptions& options,
                   std::uint64_t flows_max) {
  if (header.magic != abi::kFlowMagic) return "no flow table was there";
  if (header.version != abi::kFlowVersion || header.entry_bytes != sizeof(abi::FlowEntry))
    return "the flow table there is of another version";
  if (header.flows_max != flows_max || header.slots != wanted.slots || header.bytes != wanted.bytes ||
      header.tags_offset != wanted.tags_offset || header.hot_offset != wanted.hot_offset ||
      header.cold_offset != wanted.cold_offset)
    return "the flow table there is of another size";
  if (std::memcmp(header.boot_id, options.boot_id, sizeof header.boot_id) != 0 ||
      header.clock_origin_s > options.boottime_s)
    return "the flow table there is from before a reboot";
  return nullptr;
}

std::uint64_t clamp_flows(std::uint64_t flows_max) {
  return std::clamp<std::uint64_t>(flows_max, 1, std::uint64_t{1} << 30);
}

}  // namespace

Geometry geometry(std::uint64_t flows_max) {
  Geometry sizes{};
  sizes.slots = std::max<std::uint64_t>(std::bit_ceil(2 * clamp_flows(flows_max)),
                                        std::uint64_t{kChainBuckets} * abi::kFlowBucketSlots);
  sizes.tags_offset = sizeof(abi::FlowTableHeader);
  sizes.hot_offset = round_up(sizes.tags_offset + sizes.slots * sizeof(std::uint16_t));
  sizes.cold_offset = sizes.hot_offset + sizes.slots * sizeof(abi::FlowEntry);
  sizes.bytes = round_up(sizes.cold_offset + sizes.slots * sizeof(abi::FlowDetail));
  return sizes;
}

Table::Table(std::span<std::byte> memory, const TableOptions& options, TakeUp& take_up_report)
    : header_(reinterpret_cast<abi::FlowTableHeader*>(memory.data())),
      workers_(std::max<std::uint32_t>(options.workers, 1)) {
  const std::uint64_t flows_max = clamp_flows(options.flows_max);
  const Geometry wanted = geometry(flows_max);
  if (memory.size() < wanted.bytes || reinterpret_cast<std::uintptr_t>(memory.data()) % 64 != 0)
    __builtin_trap();  // a programmer's error that would end in wild writes

  tags_ = reinterpret_cast<std::uint16_t*>(memory.data() + wanted.tags_offset);
  hot_ = reinterpret_cast<abi::FlowEntry*>(memory.data() + wanted.hot_offset);
  cold_ = reinterpret_cast<abi::FlowDetail*>(memory.data() + wanted.cold_offset);
  bucket_mask_ = static_cast<std::uint32_t>(wanted.slots / kSlots - 1);
  // At most 1/64 of the table lies idle as credits of workers that do not need them.
  credit_batch_ = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(flows_max / (workers_ * 64), 1, 64));
  passed_ = std::make_unique<std::atomic<std::uint32_t>[]>(buckets());
  shards_ = std::make_unique<Shard[]>(workers_);

  take_up_report = {};
  if (const char* reason = misfit(*header_, wanted, options, flows_max)) {
    take_up_report.reason = reason;
    make(options, wanted);
    return;
  }
  take_up_report.adopted = true;
  hasher_ = Hasher(header_->hash_seed);
  take_up(take_up_report);
}

void Table::make(const TableOptions& options, const Geometry& wanted) {
  std::atomic_ref(header_->magic).store(0, std::memory_order_seq_cst);
  std::memset(tags_, 0, wanted.slots * sizeof(std::uint16_t));
  header_->version = abi::kFlowVersion;
  header_->entry_bytes = sizeof(abi::FlowEntry);
  header_->slots = wanted.slots;
  header_->flows_max = clamp_flows(options.flows_max);
  header_->tags_offset = wanted.tags_offset;
  header_->hot_offset = wanted.hot_offset;
  header_->cold_offset = wanted.cold_offset;
  header_->bytes = wanted.bytes;
  std::memcpy(header_->hash_seed, options.hash_seed, sizeof header_->hash_seed);
  header_->clock_origin_s = options.boottime_s;
  std::memcpy(header_->boot_id, options.boot_id, sizeof header_->boot_id);
  hasher_ = Hasher(header_->hash_seed);
  available_.store(header_->flows_max, std::memory_order_relaxed);
  // Last: a table whose making was interrupted is not taken up.
  std::atomic_ref(header_->magic).store(abi::kFlowMagic, std::memory_order_release);
}

/// A live slot whose contents could have been written by insert(): found again by its own key.
bool Table::consistent(std::uint32_t slot) const {
  const abi::FlowEntry& entry = hot_[slot];
  if (static_cast<unsigned>(entry.state) > static_cast<unsigned>(abi::FlowState::kClosed)) return false;
  if (entry.source.is_v4() != entry.destination.is_v4()) return false;
  if (cold_[slot].fin_seen > 3) return false;
  const std::uint64_t hash = hasher_(&entry);
  if (tags_[slot] != tag_of(hash)) return false;
  for (std::uint32_t i = 0; i < kChainBuckets; ++i)
    if (bucket_of(hash, i) == slot / kSlots) return true;
  return false;
}

void Table::take_up(TakeUp& report) {
  const auto slots = static_cast<std::uint32_t>(header_->slots);
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    if (tags_[slot] == abi::kFlowTagFree) continue;
    if (tags_[slot] >= abi::kFlowTagFirst && consistent(slot)) {
      pass(hasher_(&hot_[slot]), slot / kSlots, 1);
      continue;
    }
    // Retired ones had ended; nobody who could still read them has lived on.
    if (tags_[slot] != abi::kFlowTagRetired) ++report.discarded;
    tags_[slot] = abi::kFlowTagFree;
  }
  // Doubles, from a death between publishing and looking for them. Only now does search() see every chain.
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    if (tags_[slot] == abi::kFlowTagFree) continue;
    const std::uint64_t hash = hasher_(&hot_[slot]);
    std::uint8_t direction = 0;
    if (search(hash, &hot_[slot], direction) != slot || report.restored == header_->flows_max) {
      pass(hash, slot / kSlots, ~std::uint32_t{0});
      tags_[slot] = abi::kFlowTagFree;
      ++report.discarded;
      continue;
    }
    hot_[slot].generation = 0;
    ++report.restored;
  }
  available_.store(header_->flows_max - report.restored, std::memory_order_relaxed);
}

}  // namespace bulkhead::flow
