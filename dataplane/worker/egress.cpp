#include <algorithm>
#include <cstring>

#include "dataplane/forward/forward.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint64_t kUnfinished = RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_UDP_SEG;

}  // namespace

/// A port on hold gets nothing: whoever is behind it is not who the image speaks of.
bool Worker::may_leave_by(const port::Port& out) const {
  return out.role() != abi::kRoleEndpoint ||
         image_->endpoint_of_port[out.number()].load(std::memory_order_relaxed) != 0;
}

/// Gives every packet of the batch its fate; those that are allowed go to the outbox.
void Worker::send_on(Batch& batch) {
  std::uint32_t last = 0;
  port::Port* out = nullptr;
  abi::Fate closed = abi::Fate::kPortGone;
  packet::FrameHead heads[2];  // what a frame to the port's far end starts with: IPv6, IPv4
  std::uint64_t peers[2] = {};
  std::uint32_t mtu = 0;
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    rte_mbuf* packet = batch.packets[i];
    const packet::Parsed& parsed = batch.parsed[i];
    if (batch.fates[i] != abi::Fate::kForwarded) [[unlikely]] {
      drop(packet, batch.fates[i]);
      continue;
    }
    if (batch.egress[i] != last || out == nullptr) [[unlikely]] {
      last = batch.egress[i];
      out = env_.ports.at(last);
      closed = out == nullptr       ? abi::Fate::kPortGone
               : may_leave_by(*out) ? abi::Fate::kForwarded
                                    : abi::Fate::kPortOnHold;
      for (const bool v4 : {false, true}) {
        peers[v4] = out != nullptr ? out->peer(v4) : 0;
        if (out != nullptr) heads[v4] = packet::frame_head(port::Port::unpack(peers[v4]), out->own_mac());
      }
      mtu = out != nullptr ? out->mtu() : 0;
    }
    if (closed != abi::Fate::kForwarded) [[unlikely]] {
      drop(packet, closed);
      continue;
    }
    if (parsed.hop_limit <= 1) [[unlikely]] {
      count(tell_sender(packet, parsed, false, 0) ? abi::Fate::kIcmpTimeExceeded : abi::Fate::kHopLimit);
      rte_pktmbuf_free(packet);
      continue;
    }
    const bool v4 = (parsed.flags & packet::kIpv4) != 0;
    if (peers[v4] == 0) [[unlikely]] {
      drop(packet, abi::Fate::kNextHopUnresolved);
      continue;
    }
    if (parsed.l3_bytes > mtu || (packet->ol_flags & kUnfinished) != 0) [[unlikely]] {
      finish(packet, parsed, *out, heads[v4]);
      continue;
    }
    rewrite(packet, parsed, heads[v4]);
    ++accepted_;
    emit(packet, *out);
  }
}

/// With the tag that the port's traffic carries, and after making room.
void Worker::emit_slowly(rte_mbuf* packet, port::Port& out) {
  if (out.vlan() != 0) {
    if (rte_pktmbuf_prepend(packet, forward::kVlanTagBytes) == nullptr)
      return drop(packet, abi::Fate::kNoMemory);
    forward::push_vlan(rte_pktmbuf_mtod_offset(packet, std::uint8_t*, forward::kVlanTagBytes), out.vlan());
    if ((packet->ol_flags & kUnfinished) != 0) packet->l2_len += forward::kVlanTagBytes;
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
