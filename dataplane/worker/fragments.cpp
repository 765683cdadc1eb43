#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

flow::Fragment describe(const packet::Parsed& parsed) {
  return {&parsed.source,
          &parsed.destination,
          parsed.fragment_id,
          parsed.protocol,
          (parsed.flags & packet::kMoreFragments) != 0,
          parsed.fragment_offset,
          parsed.l3_bytes - (parsed.l4_offset - parsed.l3_offset)};
}

/// Lets a later fragment look like a packet of its conversation: the key and what policy would ask.
void complete(packet::Parsed& parsed, const flow::FragmentVerdict& verdict) {
  parsed.source_port = verdict.source_port;
  parsed.destination_port = verdict.destination_port;
  parsed.policy_port = verdict.policy_port;
  parsed.icmp_type = verdict.icmp_type;
  parsed.tcp_flags = verdict.tcp_flags;
}

}  // namespace

/// A fragment whose sender was checked by MAC. Its address is checked before the table, where a stranger's fragment would
/// poison another's datagram.
void Worker::first_or_later(rte_mbuf* packet, const packet::Parsed& parsed) {
  if (!source_fits(parsed.source)) return drop(packet, abi::Fate::kSpoofedAddress);
  // Held packets of two segments would use up the large ones, without which nobody receives.
  if (packet->nb_segs > 1 && parsed.fragment_offset != 0 &&
      rte_mempool_avail_count(env_.pools.large) < env_.pools.large->size / 2)
    return drop(packet, abi::Fate::kFragmentTableFull);
  packet->port = static_cast<std::uint16_t>(in_->number());
  packet->hash.usr = in_key();
  const flow::FragmentAnswer answer = fragments_.take(describe(parsed), packet, boot_ms_);
  switch (answer.step) {
    case flow::FragmentStep::kHold:
      return count(abi::Fate::kHeldFragment);
    case flow::FragmentStep::kDrop:
      return drop(packet, answer.verdict.fate);
    case flow::FragmentStep::kKnown:
      return send_later(packet, parsed, answer.verdict);
    case flow::FragmentStep::kJudge:
      break;
  }
  single_.count = 0;
  single_.parsed[0] = parsed;
  single_.add(packet, false);
  look_up(single_);
  flow::FragmentVerdict verdict;
  verdict.fate = single_.fates[0];
  verdict.icmp_type = parsed.icmp_type;
  verdict.tcp_flags = parsed.tcp_flags;
  verdict.source_port = parsed.source_port;
  verdict.destination_port = parsed.destination_port;
  verdict.policy_port = parsed.policy_port;
  fragments_.settle(answer, verdict);
  send_on(single_);
}

/// A fragment after its first one: the conversation is looked up anew, so it obeys the image of this moment.
void Worker::send_later(rte_mbuf* packet, const packet::Parsed& parsed,
                        const flow::FragmentVerdict& verdict) {
  if (verdict.fate != abi::Fate::kForwarded) return drop(packet, verdict.fate);
  single_.count = 0;
  single_.parsed[0] = parsed;
  complete(single_.parsed[0], verdict);
  single_.add(packet, true);
  look_up(single_);
  send_on(single_);
}

/// Sends on, or drops, what was held until its first fragment was judged.
void Worker::send_released() {
  for (flow::ReleasedFragment released; fragments_.next_released(released);) {
    auto* packet = static_cast<rte_mbuf*>(released.packet);
    // What came in by another port, or by this one when it was somebody else's, was not sent by whom is judged here.
    if (packet->port != in_->number() || packet->hash.usr != in_key()) {
      telemetry::add(block_.ports[packet->port].fates[static_cast<std::size_t>(abi::Fate::kSpoofedAddress)],
                     1);
      rte_pktmbuf_free(packet);
      continue;
    }
    packet::Parsed parsed;
    packet::parse(rte_pktmbuf_mtod(packet, const std::uint8_t*), packet->data_len, packet->pkt_len, 0,
                  parsed);
    send_later(packet, parsed, released.verdict);
  }
}

}  // namespace bulkhead::worker
