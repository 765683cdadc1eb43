#include "dataplane/worker/egress.h"

#include <algorithm>
#include <cstring>

#include "dataplane/forward/forward.h"

namespace bulkhead::worker {
/// A port on hold gets nothing: whoever is behind it is not who the image speaks of.
bool Worker::may_leave_by(const port::Port& out) const {
  return out.role() != abi::kRoleEndpoint ||
         image_->endpoint_of_port[out.number()].load(std::memory_order_relaxed) != 0;
}

void Worker::aim(std::uint16_t number, Aim& to) {
  to.number = number;
  to.out = env_.ports.at(number);
  to.lane = nullptr;
  to.open_v4 = false;
  to.closed = abi::Fate::kPortGone;
  if (to.out == nullptr) return;
  to.closed = may_leave_by(*to.out) ? abi::Fate::kForwarded : abi::Fate::kPortOnHold;
  to.mtu = to.out->mtu();
  const std::uint64_t own = packet::mac_word(to.out->own_mac());
  for (const bool v4 : {false, true}) {
    const std::uint64_t peer = to.out->peer(v4);
    to.resolved[v4] = peer != 0;
    to.heads[v4] = packet::frame_head(peer, own);
  }
  if (to.out->vlan() == 0) to.lane = outbox_.lane(number);
  to.open_v4 = to.closed == abi::Fate::kForwarded && to.resolved[true] && to.lane != nullptr;
}

/// Gives every packet of the batch its fate; those that are allowed go to the outbox.
void Worker::send_on(Batch& batch) {
  Aim to;
  for (std::uint32_t i = 0; i < batch.count; ++i) send(batch, i, to);
}

/// What is not simply passed on by `to`.
void Worker::send_slowly(Batch& batch, std::uint32_t i, Aim& to) {
  rte_mbuf* packet = batch.packets[i];
  const packet::Parsed& parsed = batch.parsed[i];
  if (batch.fates[i] != abi::Fate::kForwarded) return drop(packet, batch.fates[i]);
  const bool v4 = (parsed.flags & packet::kIpv4) != 0;
  if (to.closed != abi::Fate::kForwarded) {
    drop(packet, to.closed);
  } else if (parsed.hop_limit <= 1) {
    count(tell_sender(packet, parsed, forward::Problem::kTimeExceeded, 0) ? abi::Fate::kIcmpTimeExceeded
                                                                          : abi::Fate::kHopLimit);
    rte_pktmbuf_free(packet);
  } else if (!to.resolved[v4]) {
    drop(packet, abi::Fate::kNextHopUnresolved);
  } else {
    finish(packet, parsed, *to.out, to.heads[v4]);
  }
  to.number = 0;  // the outbox may have been flushed on the way: its lanes are others now
}

/// With the tag that the port's traffic carries, and after making room.
void Worker::emit_slowly(rte_mbuf* packet, port::Port& out) {
  if (out.vlan() != 0) {
    if (rte_pktmbuf_prepend(packet, forward::kVlanTagBytes) == nullptr)
      return drop(packet, abi::Fate::kNoMemory);
    forward::push_vlan(rte_pktmbuf_mtod_offset(packet, std::uint8_t*, forward::kVlanTagBytes), out.vlan());
    if (is_unfinished(packet)) packet->l2_len += forward::kVlanTagBytes;
  }
  const auto number = static_cast<std::uint16_t>(out.number());
  Outbox::Lane* lane = outbox_.lane(number);
  if (lane == nullptr) {
    flush();
    lane = outbox_.lane(number);
  }
  Outbox::put(*lane, packet);
}

void Worker::flush() {
  std::uint64_t refused = 0;
  outbox_.flush([&](Outbox::Lane& lane) {
    port::Port* out = env_.ports.at(lane.port);
    std::uint16_t sent = 0, failed = 0;
    // A refusal of one packet (too long for the far end, say) must not take the rest along.
    while (sent < lane.count) {
      if (out != nullptr)
        sent = static_cast<std::uint16_t>(
            sent + out->send(index_, lane.packets + sent, static_cast<std::uint16_t>(lane.count - sent)));
      if (sent == lane.count) break;
      lane.bytes -= lane.packets[sent]->pkt_len;
      rte_pktmbuf_free(lane.packets[sent++]);
      ++failed;
    }
    abi::PortCounters& counters = block_.ports[lane.port];
    telemetry::add(counters.tx_packets, lane.count - failed);
    telemetry::add(counters.tx_bytes, lane.bytes);
    refused += failed;
  });
  // A packet that was cut counts once, however many of its pieces were refused.
  const std::uint64_t lost = std::min(refused, accepted_);
  if (accepted_ != lost) count(abi::Fate::kForwarded, accepted_ - lost);
  if (lost != 0) count(abi::Fate::kTransmitFull, lost);
  accepted_ = 0;
}

}  // namespace bulkhead::worker
