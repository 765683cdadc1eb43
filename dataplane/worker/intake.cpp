#include <rte_prefetch.h>

#include <algorithm>
#include <cstring>

#include "dataplane/forward/rewrite.h"
#include "dataplane/worker/egress.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint32_t kAhead = 8;  // packets between prefetching a header and reading it

/// What the sender's kernel left unfinished must be about this packet's own transport header.
bool claim_fits(rte_mbuf* packet, const packet::Parsed& parsed) {
  const bool tcp = (packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
  // A fragment's transport header is not whole to its sender's kernel either: it never leaves one unfinished.
  if ((parsed.flags & packet::kFragment) != 0 ||
      !forward::partial_fits(parsed, packet->l2_len + packet->l3_len, tcp ? 16 : 6))
    return false;
  packet->l3_len = parsed.l4_offset - parsed.l3_offset;
  // The port guessed the family from where it lies without a tag.
  packet->ol_flags &= ~(RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6);
  packet->ol_flags |= (parsed.flags & packet::kIpv4) != 0 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  return true;
}

}  // namespace

void Worker::process(port::Port& port, rte_mbuf** packets, std::uint32_t count) {
  in_ = &port;
  in_number_ = static_cast<std::uint16_t>(port.number());
  in_counters_ = &block_.ports[port.number()];
  telemetry::add(block_.bursts, 1);
  telemetry::add(block_.packets, count);
  telemetry::add(in_counters_->rx_packets, count);

  image_ = env_.publisher.current();
  abi::Fate closed = abi::Fate::kForwarded;
  in_endpoint_ = 0;
  if (image_ == nullptr) {
    closed = abi::Fate::kNoImage;
  } else if (port.role() == abi::kRoleEndpoint) {
    in_endpoint_ = image_->endpoint_of_port[port.number()].load(std::memory_order_relaxed);
    if (in_endpoint_ == 0)
      closed = port.request().port_key != 0 ? abi::Fate::kPortOnHold : abi::Fate::kUnidentified;
  }
  if (closed != abi::Fate::kForwarded) {
    count_bytes(packets, count);
    for (std::uint32_t i = 0; i < count; ++i) drop(packets[i], closed);
    return;
  }
  generation_ = static_cast<std::uint32_t>(image_->generation);
  router_ = {env_.ports.host(), env_.ports.uplink()};

  take_in(port, packets, count);
  if (batch_.count != 0) carry_on(batch_);
  send_released();
  flush();
}

void Worker::count_bytes(rte_mbuf* const* packets, std::uint32_t count) {
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < count; ++i) bytes += packets[i]->pkt_len;
  telemetry::add(in_counters_->rx_bytes, bytes);
}

/// Checks the burst and starts its lookups. Nearly all packets are plain ones of the neighbour that the port is for, which are parsed no
/// further; the others are looked at after them. Each loop is as small as can be, so that the processor has many packets at once under
/// way in it, and their memory latencies overlap.
void Worker::take_in(port::Port& port, rte_mbuf** packets, std::uint32_t count) {
  rte_mbuf* others[port::kBurst];
  std::uint32_t other = 0, plain = 0;
  const flow::Lookup flows = env_.flows.lookup();
  Batch& batch = batch_;
  if (port.vlan() == 0) {
    const packet::ExpectedV4 expected(packet::frame_head(packet::mac_word(port.own_mac()), port.peer(true)));
    std::uint64_t bytes = 0;
    for (std::uint32_t i = 0; i < count && i < kAhead; ++i)
      rte_prefetch0(rte_pktmbuf_mtod(packets[i], void*));
    for (std::uint32_t i = 0; i < count; ++i) {
      if (i + kAhead < count) rte_prefetch0(rte_pktmbuf_mtod(packets[i + kAhead], void*));
      rte_mbuf* packet = packets[i];
      auto* frame = rte_pktmbuf_mtod(packet, std::uint8_t*);
      bytes += packet->pkt_len;
      if (is_unfinished(packet) ||
          !packet::is_expected_v4(frame, packet->data_len, packet->pkt_len, expected)) [[unlikely]] {
        others[other++] = packet;
        continue;
      }
      batch.packets[plain] = packet;
      batch.frames[plain++] = frame;
    }
    telemetry::add(in_counters_->rx_bytes, bytes);
    for (std::uint32_t i = 0; i < plain; ++i) flows.hash(flow::WireV4::of(batch.frames[i]), batch.probes[i]);
  } else {
    count_bytes(packets, count);
    std::copy_n(packets, count, others);
    other = count;
  }
  batch.count = batch.plain = plain;
  for (std::uint32_t i = 0; i < other; ++i) sort(port, others[i], batch);
  for (std::uint32_t i = plain; i < batch.count; ++i) flows.hash(&batch.parsed[i], batch.probes[i]);
  for (std::uint32_t i = 0; i < batch.count; ++i) flows.find(batch.probes[i]);
}

/// Parses one packet into the batch, or sees to it aside if it belongs to no conversation.
void Worker::sort(port::Port& port, rte_mbuf* packet, Batch& batch) {
  auto* frame = rte_pktmbuf_mtod(packet, std::uint8_t*);
  packet::Parsed& parsed = batch.parsed[batch.count];
  packet::parse(frame, packet->data_len, packet->pkt_len, port.vlan(), parsed);
  if (parsed.kind == packet::Kind::kDrop) [[unlikely]]
    return drop(packet, parsed.fate);
  if (port.role() == abi::kRoleEndpoint && std::memcmp(frame + 6, port.mac().bytes.data(), 6) != 0)
      [[unlikely]]
    return drop(packet, abi::Fate::kSpoofedMac);
  if ((packet->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0 && !claim_fits(packet, parsed)) [[unlikely]]
    return drop(packet, abi::Fate::kMalformedTransport);
  if ((parsed.flags & packet::kVlanTagged) != 0) [[unlikely]] {
    // From here on nothing knows of the tag; the port puts its own on whatever leaves by it.
    forward::pop_vlan(frame);
    rte_pktmbuf_adj(packet, forward::kVlanTagBytes);
    parsed.l3_offset = static_cast<std::uint8_t>(parsed.l3_offset - forward::kVlanTagBytes);
    parsed.l4_offset = static_cast<std::uint16_t>(parsed.l4_offset - forward::kVlanTagBytes);
    parsed.flags = static_cast<std::uint8_t>(parsed.flags & ~packet::kVlanTagged);
  }
  if (parsed.kind == packet::Kind::kFlow && (parsed.flags & packet::kFragment) == 0) [[likely]] {
    if (parsed.icmp_type != 0 && echo(packet, parsed)) return;
    return batch.add(packet, false);
  }

  // Aside, on a copy: what is held or answered must not lie in the batch.
  const packet::Parsed aside = parsed;
  switch (aside.kind) {
    case packet::Kind::kFlow:
      return first_or_later(packet, aside);
    case packet::Kind::kArp:
      return arp(packet, aside);
    case packet::Kind::kNeighbour:
      return neighbour(packet, aside);
    case packet::Kind::kIcmpError:
      return icmp_error(packet, aside);
    case packet::Kind::kDrop:
      return drop(packet, aside.fate);
  }
}

}  // namespace bulkhead::worker
