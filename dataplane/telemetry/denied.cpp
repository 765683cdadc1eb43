#include "dataplane/telemetry/denied.h"

#include <cstring>

#include "dataplane/telemetry/region.h"

namespace bulkhead::telemetry {
namespace {

std::uint64_t hash(const Denial& denial) {
  std::uint64_t words[4];
  std::memcpy(words, denial.source.bytes.data(), 16);
  std::memcpy(words + 2, denial.destination.bytes.data(), 16);
  std::uint64_t x = denial.policy_port | std::uint64_t{denial.protocol} << 16 |
                    static_cast<std::uint64_t>(denial.fate) << 24;
  for (const std::uint64_t word : words) {
    x = (x ^ word) * 0x9e37'79b9'7f4a'7c15u;
    x ^= x >> 32;
  }
  // Differences in an address's last byte sit at the top: a second product carries them down to the index.
  x *= 0xd6e8'feb8'6659'fd93u;
  return x ^ (x >> 32);
}

bool same(const abi::DeniedFlow& slot, const Denial& denial) {
  return slot.packets != 0 && slot.source == denial.source && slot.destination == denial.destination &&
         slot.policy_port == denial.policy_port && slot.protocol == denial.protocol &&
         slot.fate == denial.fate && slot.would == denial.would;
}

/// Readers retry while the sequence is odd or has changed under them.
class Writing {
 public:
  explicit Writing(abi::DeniedFlow& slot) : slot_(slot) {
    __atomic_store_n(&slot_.sequence, slot_.sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
  }
  ~Writing() { __atomic_store_n(&slot_.sequence, slot_.sequence + 1, __ATOMIC_RELEASE); }
  Writing(const Writing&) = delete;

 private:
  abi::DeniedFlow& slot_;
};

void record_in(abi::DeniedFlow* slots, std::uint64_t& lost, const Denial& denial, std::uint64_t now_ms) {
  const std::uint64_t home = hash(denial);
  abi::DeniedFlow& first = slots[home % abi::kDeniedSlots];
  abi::DeniedFlow& second = slots[(home >> 32) % abi::kDeniedSlots];
  abi::DeniedFlow* slot = same(first, denial)                         ? &first
                          : same(second, denial)                      ? &second
                          : first.last_seen_ms <= second.last_seen_ms ? &first
                                                                      : &second;
  const bool known = same(*slot, denial);
  if (!known && slot->packets != 0 && slot->last_seen_ms + kFreshMs > now_ms) add(lost, 1);

  const Writing writing(*slot);
  if (!known) {
    slot->source = denial.source;
    slot->destination = denial.destination;
    slot->protocol = denial.protocol;
    slot->policy_port = denial.policy_port;
    slot->fate = denial.fate;
    slot->would = denial.would;
    slot->packets = 0;
    slot->first_seen_ms = now_ms;
  }
  slot->source_port = denial.source_port;
  slot->direction = denial.direction;
  slot->rule = denial.rule;
  slot->generation = denial.generation;
  slot->port = denial.port;
  slot->last_seen_ms = now_ms;
  ++slot->packets;
}

}  // namespace

void record(abi::WorkerBlock& block, const Denial& denial, std::uint64_t now_ms) {
  record_in(block.denied, block.denied_lost, denial, now_ms);
}

void record_audited(abi::WorkerBlock& block, const Denial& difference, std::uint64_t now_ms) {
  const bool denies = abi::is_denial(difference.would);
  add(denies ? block.audited_denied : block.audited_allowed, 1);
  record_in(block.audited, block.audited_lost, difference, now_ms);
}

}  // namespace bulkhead::telemetry
