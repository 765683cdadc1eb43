#include "dataplane/flow/tcp.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmpV6 = 58;

}  // namespace

/// Finds each packet's conversation. What the enforced image allowed and came in by the port it should is decided here;
/// the rest goes to judge().
void Worker::look_up(Batch& batch) {
  env_.flows.hash(batch.keys, batch.count, batch.probes);
  env_.flows.find(batch.count, batch.probes);

  const auto in_port = static_cast<std::uint16_t>(in_->number());
  std::uint32_t pending[port::kBurst];
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    flow::Probe& probe = batch.probes[i];
    env_.flows.resolve(batch.keys[i], generation_, probe);
    if (probe.found != flow::Found::kHit || probe.in_port != in_port) [[unlikely]] {
      pending[count++] = i;
      continue;
    }
    const packet::Parsed& parsed = batch.parsed[i];
    if (parsed.protocol == kUdp && !batch.later[i]) {
      flow::advance_other(env_.flows.entry(probe.slot), probe.direction);
    } else if (!advance(batch, i, probe.slot, probe.direction)) [[unlikely]] {
      if (batch.fates[i] == abi::Fate::kForwarded) pending[count++] = i;
      continue;
    }
    env_.flows.touch(probe.slot, probe.direction, 1, parsed.l3_bytes, now_s_);
    batch.fates[i] = abi::Fate::kForwarded;
    batch.egress[i] = probe.out_port;
  }
  if (count != 0) [[unlikely]]
    judge(batch, pending, count);
}

/// Moves the conversation's state by this packet. False: `fates[i]` says why it is dropped, or is kForwarded and the packet opens a
/// new conversation on a finished one's ports (its old entry is gone).
bool Worker::advance(Batch& batch, std::uint32_t i, std::uint32_t slot, std::uint32_t direction) {
  const packet::Parsed& parsed = batch.parsed[i];
  if (batch.later[i]) [[unlikely]]
    return true;
  abi::FlowEntry& entry = env_.flows.entry(slot);
  if (parsed.protocol == kTcp) {
    switch (flow::advance_tcp(entry, env_.flows.detail(slot), direction, parsed.tcp_flags)) {
      case flow::Advance::kPass:
        return true;
      case flow::Advance::kInvalid:
        batch.fates[i] = abi::Fate::kTcpState;
        return false;
      case flow::Advance::kReopen:
        break;
    }
    if (env_.flows.remove(index_, slot)) telemetry::add(block_.flows_ended, 1);
    batch.probes[i].found = flow::Found::kMiss;
    batch.fates[i] = abi::Fate::kForwarded;
    return false;
  }
  if ((parsed.protocol == kIcmp || parsed.protocol == kIcmpV6) &&
      !flow::icmp_fits(parsed.protocol, parsed.icmp_type, direction)) [[unlikely]] {
    batch.fates[i] = abi::Fate::kIcmpUnrelated;
    return false;
  }
  flow::advance_other(entry, direction);
  return true;
}

}  // namespace bulkhead::worker
