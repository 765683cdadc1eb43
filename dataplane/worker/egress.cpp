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
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    rte_mbuf* packet = batch.packets[i];
    const packet::Parsed& parsed = batch.parsed[i];
    if (batch.fates[i] != abi::Fate::kForwarded) [[unlikely]] {
      drop(packet, batch.fates[i]);
      continue;
    }
    if (batch.egress[i] != last || out == nullptr) {
      last = batch.egress[i];
      out = env_.ports.at(last);
      closed = out == nullptr       ? abi::Fate::kPortGone
               : may_leave_by(*out) ? abi::Fate::kForwarded
                                    : abi::Fate::kPortOnHold;
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
    const std::uint64_t peer = out->peer(v4);
    if (peer == 0) [[unlikely]] {
      drop(packet, abi::Fate::kNextHopUnresolved);
      continue;
    }
    if (parsed.l3_bytes > out->mtu() || (packet->ol_flags & kUnfinished) != 0) [[unlikely]] {
      finish(packet, parsed, *out, peer);
      continue;
    }
    rewrite(packet, parsed, *out, peer);
    ++accepted_;
    emit(packet, *out);
  }
}

/// One hop less, and from us to the far end of `out`.
void Worker::rewrite(rte_mbuf* packet, const packet::Parsed& parsed, const port::Port& out,
                     std::uint64_t peer) {
  auto* frame = rte_pktmbuf_mtod(packet, std::uint8_t*);
  forward::spend_hop(frame, parsed);
  std::memcpy(frame, &peer, 6);
  std::memcpy(frame + 6, out.own_mac().bytes.data(), 6);
}

/// Into the outbox, with the tag that the port's traffic carries.
void Worker::emit(rte_mbuf* packet, port::Port& out) {
  if (out.vlan() != 0) [[unlikely]] {
    if (rte_pktmbuf_prepend(packet, forward::kVlanTagBytes) == nullptr)
      return drop(packet, abi::Fate::kNoMemory);
    forward::push_vlan(rte_pktmbuf_mtod_offset(packet, std::uint8_t*, forward::kVlanTagBytes), out.vlan());
    if ((packet->ol_flags & kUnfinished) != 0) packet->l2_len += forward::kVlanTagBytes;
  }
  if (outbox_.full()) flush();
  outbox_.add(packet, static_cast<std::uint16_t>(out.number()));
}

void Worker::flush() {
  std::uint64_t refused = 0;
  outbox_.flush([&](std::uint16_t number, rte_mbuf** packets, std::uint16_t count) {
    port::Port* out = env_.ports.at(number);
    abi::PortCounters& counters = block_.ports[number];
    std::uint64_t bytes = 0;
    for (std::uint16_t i = 0; i < count; ++i) bytes += packets[i]->pkt_len;
    std::uint16_t sent = 0;
    // A refusal of one packet (too long for the far end, say) must not take the rest along.
    while (sent < count && out != nullptr) {
      sent = static_cast<std::uint16_t>(
          sent + out->send(index_, packets + sent, static_cast<std::uint16_t>(count - sent)));
      if (sent == count) break;
      bytes -= packets[sent]->pkt_len;
      rte_pktmbuf_free(packets[sent++]);
      ++refused;
    }
    for (; sent < count; ++sent) {
      bytes -= packets[sent]->pkt_len;
      rte_pktmbuf_free(packets[sent]);
      ++refused;
    }
    telemetry::add(counters.tx_packets, count - std::min<std::uint64_t>(count, refused));
    telemetry::add(counters.tx_bytes, bytes);
  });
  // A packet that was cut counts once, however many of its pieces were refused.
  const std::uint64_t lost = std::min(refused, accepted_);
  if (accepted_ != lost) count(abi::Fate::kForwarded, accepted_ - lost);
  if (refused != 0) count(abi::Fate::kTransmitFull, lost);
  accepted_ = 0;
}

}  // namespace bulkhead::worker
