#include <algorithm>

#include "dataplane/flow/tcp.h"
#include "dataplane/worker/egress.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmpV6 = 58;

}  // namespace

/// Finds a packet's conversation. True: what the enforced image allowed and came in by the port it should has its fate; false: the rest
/// is for judge().
inline bool Worker::established(Batch& batch, std::uint32_t i) {
  flow::Probe probe = batch.probes[i];
  const packet::Parsed& parsed = batch.parsed[i];
  env_.flows.resolve(&parsed, generation_, probe);
  if (probe.found != flow::Found::kHit || probe.in_port != in_number_) [[unlikely]] {
    batch.probes[i] = probe;
    return false;
  }
  if (parsed.protocol == kUdp && !batch.later[i]) {
    flow::advance_other(env_.flows.entry(probe.slot), probe.direction);
  } else if (!advance(batch, i, probe.slot, probe.direction)) [[unlikely]] {
    return batch.fates[i] != abi::Fate::kForwarded;
  }
  env_.flows.touch(probe.slot, probe.direction, 1, parsed.l3_bytes, now_s_);
  batch.fates[i] = abi::Fate::kForwarded;
  batch.egress[i] = probe.out_port;
  return true;
}

void Worker::look_up(Batch& batch) {
  env_.flows.hash(batch.keys, batch.count, batch.probes);
  env_.flows.find(batch.count, batch.probes);
  std::uint32_t pending[port::kBurst];
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < batch.count; ++i)
    if (!established(batch, i)) pending[count++] = i;
  if (count != 0) judge(batch, pending, count);
}

/// The way of nearly all packets, from the lookup to the outbox: plain ones of established conversations, to a port that takes them as they
/// are, `to`. Carries packets from number `i` on until one is not of that kind, and returns its number.
std::uint32_t Worker::express(Batch& batch, std::uint32_t i, const Aim& to) {
  if (!to.open_v4) return i;
  // Copies: no store to a packet can change them.
  abi::FlowEntry* const entries = env_.flows.lookup().entries;
  const packet::FrameHead head = to.heads[true];
  const flow::Way way(generation_, in_number_, to.number);
  const std::uint32_t mtu = to.mtu;
  const std::uint16_t now_s = now_s_;
  const std::uint32_t begin = i, end = std::min(batch.plain, i + Outbox::kPackets - to.lane->count);
  rte_mbuf** out = to.lane->packets + to.lane->count;
  std::uint64_t bytes = 0;
  for (; i < end; ++i) {
    const std::uint32_t slot = batch.probes[i].slot;
    if (slot == flow::kNoSlot) [[unlikely]]
      break;
    abi::FlowEntry& entry = entries[slot];
    std::uint8_t* frame = batch.frames[i];
    std::size_t direction = 0;
    const std::uint32_t l3_bytes = packet::plain_v4::bytes(frame);
    if (!flow::Lookup::continues(entry, flow::WireV4::of(frame), way, direction) ||
        !flow::stays(entry, direction, packet::plain_v4::moves_tcp(frame)) ||
        packet::plain_v4::hops(frame) <= 1 || l3_bytes > mtu ||
        !flow::account(entry, direction, 1, l3_bytes, now_s)) [[unlikely]]
      break;
    rte_mbuf* packet = batch.packets[i];
    forward::pass_on_v4(frame, head);
    bytes += packet->pkt_len;
    *out++ = packet;
  }
  to.lane->count = static_cast<std::uint16_t>(to.lane->count + (i - begin));
  to.lane->bytes += bytes;
  accepted_ += i - begin;
  return i;
}

/// The port that the conversation found for a packet leads to from here, if it is the packet's; 0: nowhere.
std::uint16_t Worker::way_out(const flow::Probe& probe) const {
  if (probe.slot == flow::kNoSlot) return 0;
  const flow::Stamp stamp = env_.flows.stamp(probe.slot);
  return stamp.port[0] == in_number_   ? stamp.port[1]
         : stamp.port[1] == in_number_ ? stamp.port[0]
                                       : std::uint16_t{0};
}

/// look_up() and send_on() in one, for a batch whose lookups are under way. What is judged goes out after the rest: packets of one
/// conversation are judged all or none.
void Worker::carry_on(Batch& batch) {
  std::uint32_t pending[port::kBurst];
  std::uint32_t count = 0;
  Aim to;
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    if (i < batch.plain) {
      if (const std::uint16_t out = way_out(batch.probes[i]); out != 0) {
        if (out != to.number) aim(out, to);
        i = express(batch, i, to);
        if (i == batch.count) break;
      }
      if (i < batch.plain && !look_closer(batch, i)) continue;
    }
    if (!established(batch, i)) {
      pending[count++] = i;
    } else {
      send(batch, i, to);
    }
  }
  if (count == 0) [[likely]]
    return;
  judge(batch, pending, count);
  to.number = 0;  // judging may have sent something itself, and flushed the outbox for it
  for (std::uint32_t k = 0; k < count; ++k) send(batch, pending[k], to);
}

/// Parses a plain packet after all. False: its addresses are nobody's, and it is dropped.
bool Worker::look_closer(Batch& batch, std::uint32_t i) {
  rte_mbuf* packet = batch.packets[i];
  packet::Parsed& parsed = batch.parsed[i];
  packet::parse(batch.frames[i], packet->data_len, packet->pkt_len, 0, parsed);
  if (parsed.kind == packet::Kind::kFlow) [[likely]]
    return true;
  drop(packet, parsed.kind == packet::Kind::kDrop ? parsed.fate : abi::Fate::kMalformedIpv4);
  return false;
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
