// The last stage for one packet, inline where packets pass.
#pragma once

#include "dataplane/worker/worker.h"

namespace bulkhead::worker {

/// Its sender's kernel left a checksum or its segments to whoever sends it on. The flags lie in the word's upper half.
inline bool is_unfinished(const rte_mbuf* packet) {
  constexpr std::uint64_t kUnfinished = RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;
  static_assert((kUnfinished & 0xffff'ffff) == 0);
  return (static_cast<std::uint32_t>(packet->ol_flags >> 32) &
          static_cast<std::uint32_t>(kUnfinished >> 32)) != 0;
}

/// A way out, and all that a burst needs to know of it.
struct Worker::Aim {
  std::uint16_t number = 0;  // of the port; 0: nowhere yet
  port::Port* out = nullptr;
  abi::Fate closed = abi::Fate::kPortGone;  // kForwarded: packets may leave by it
  std::uint32_t mtu = 0;
  packet::FrameHead heads[2];    // what a frame to the far end starts with: IPv6, IPv4
  bool resolved[2] = {};         // the far end's MAC is known
  bool open_v4 = false;          // nothing but the packet itself can keep an IPv4 packet from the lane
  Outbox::Lane* lane = nullptr;  // null: emit() knows what to do
};

/// Gives a packet its fate: one that is allowed goes to the outbox. `to` is where the last one went, and is aimed anew if need be.
inline void Worker::send(Batch& batch, std::uint32_t i, Aim& to) {
  rte_mbuf* packet = batch.packets[i];
  const packet::Parsed& parsed = batch.parsed[i];
  if (batch.fates[i] != abi::Fate::kForwarded) [[unlikely]]
    return send_slowly(batch, i, to);
  if (batch.egress[i] != to.number) [[unlikely]]
    aim(batch.egress[i], to);
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  const bool plain = parsed.hop_limit > 1 && parsed.l3_bytes <= to.mtu && !is_unfinished(packet);
  if (to.closed != abi::Fate::kForwarded || !to.resolved[v4] || !plain) [[unlikely]]
    return send_slowly(batch, i, to);
  rewrite(packet, parsed, to.heads[v4]);
  ++accepted_;
  if (to.lane != nullptr && to.lane->count < Outbox::kPackets) [[likely]]
    return Outbox::put(*to.lane, packet);
  emit(packet, *to.out);
  to.number = 0;
}

}  // namespace bulkhead::worker
