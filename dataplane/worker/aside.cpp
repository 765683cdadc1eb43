#include <cstring>

#include "dataplane/forward/forward.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

bool is_gateway(const image::View& view, const abi::Address& address) {
  return address != abi::Address{} &&
         (address == view.policy->gateway_v4 || address == view.policy->gateway_v6);
}

/// What the image says of an address that somebody on a port asks for. `endpoint`: the image endpoint behind the port, 0 for
/// host and uplink.
forward::Asked asked(const image::View& view, const abi::Address& target, const port::Port& in,
                     std::uint32_t endpoint) {
  const std::uint32_t owner = image::bind(view, target).endpoint;
  const std::uint32_t flags = owner != 0 ? view.endpoint(owner).flags : 0;
  switch (in.role()) {
    case abi::kRoleEndpoint:
      return {owner != 0 || is_gateway(view, target), owner != 0 && owner == endpoint};
    case abi::kRoleUplink: {
      // The gateway must find our own address there: its way back to the containers leads by it.
      const auto& own = in.request().own;
      const bool ours = target != abi::Address{} && (target == own[0] || target == own[1]);
      return {ours || (flags & image::kEndpointLocal) != 0, (flags & image::kEndpointNode) != 0};
    }
    // The node owns its own addresses and the gateways there; the outside must come through us only for containers.
    default:
      return {(flags & image::kEndpointLocal) != 0, (flags & image::kEndpointNode) != 0};
  }
}

constexpr std::uint8_t kLinkLocalFirst = 0xfe;

bool may_speak_as(const image::View& view, const abi::Address& source, std::uint32_t endpoint) {
  if (source == abi::Address{} || source == abi::address_v4(0))
    return true;  // probes and duplicate detection
  if (!source.is_v4() && source.bytes[0] == kLinkLocalFirst && (source.bytes[1] & 0xc0) == 0x80) return true;
  return image::bind(view, source).endpoint == endpoint;
}

}  // namespace

/// Whether a packet that is not judged by itself may have this source: of an endpoint its own; from elsewhere neither a
/// local endpoint's nor, from the outside, the node's.
bool Worker::source_fits(const abi::Address& source) const {
  const image::View& view = image_->view;
  const std::uint32_t owner = image::bind(view, source).endpoint;
  if (in_->role() == abi::kRoleEndpoint) return owner == in_endpoint_;
  const std::uint32_t flags = owner != 0 ? view.endpoint(owner).flags : 0;
  if ((flags & image::kEndpointLocal) != 0) return false;
  return in_->role() != abi::kRoleUplink ||
         ((flags & image::kEndpointNode) == 0 && !is_gateway(view, source));
}

/// A frame of our own making, out by `out`.
void Worker::reply(const std::uint8_t* frame, std::uint32_t bytes, port::Port& out) {
  rte_mbuf* made = piece(bytes);
  if (made == nullptr) return;
  std::memcpy(rte_pktmbuf_mtod(made, void*), frame, bytes);
  emit(made, out);
}

void Worker::arp(rte_mbuf* packet, const packet::Parsed& parsed) {
  const auto* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  if (in_endpoint_ != 0 && !may_speak_as(image_->view, parsed.source, in_endpoint_))
    return drop(packet, abi::Fate::kSpoofedAddress);
  if (forward::Neighbour sender; in_->role() == abi::kRoleUplink &&
                                 forward::read_arp_sender(frame, parsed, sender) &&
                                 sender.address == in_->request().next_hop[0])
    in_->learn_peer(true, sender.mac);
  if (!forward::owes_arp_reply(parsed, asked(image_->view, parsed.destination, *in_, in_endpoint_)))
    return drop(packet, abi::Fate::kGroupDestination);
  std::uint8_t answer[forward::kArpFrameBytes];
  forward::build_arp_reply(frame, parsed, in_->own_mac(), answer);
  reply(answer, sizeof answer, *in_);
  drop(packet, abi::Fate::kAnsweredArp);
}

void Worker::neighbour(rte_mbuf* packet, const packet::Parsed& parsed) {
  const auto* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  if (in_endpoint_ != 0 && !may_speak_as(image_->view, parsed.source, in_endpoint_))
    return drop(packet, abi::Fate::kSpoofedAddress);
  if (forward::Neighbour hop; in_->role() == abi::kRoleUplink &&
                              forward::read_advertisement(frame, packet->data_len, parsed, hop) &&
                              hop.address == in_->request().next_hop[1])
    in_->learn_peer(false, hop.mac);
  forward::Solicitation solicitation;
  if (!forward::read_solicitation(frame, packet->data_len, parsed, solicitation))
    return drop(packet, abi::Fate::kLinkLocal);
  if (!forward::owes_advertisement(solicitation,
                                   asked(image_->view, solicitation.target, *in_, in_endpoint_)))
    return drop(packet, abi::Fate::kGroupDestination);
  std::uint8_t answer[forward::kNdFrameBytes];
  forward::build_advertisement(frame, parsed, solicitation, in_->own_mac(),
                               !is_gateway(image_->view, solicitation.target), answer);
  reply(answer, sizeof answer, *in_);
  drop(packet, abi::Fate::kAnsweredNd);
}

/// An ICMP error about one of our conversations goes to whoever sent the quoted packet; any other goes nowhere.
void Worker::icmp_error(rte_mbuf* packet, const packet::Parsed& parsed) {
  const auto* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  if (!source_fits(parsed.source)) return drop(packet, abi::Fate::kSpoofedAddress);
  if ((parsed.flags & packet::kFragment) != 0) return drop(packet, abi::Fate::kMalformedIcmp);
  packet::Parsed quoted;
  if (!packet::parse_quoted(frame, packet->data_len, parsed, quoted))
    return drop(packet, abi::Fate::kMalformedIcmp);
  // The error must go where the quoted packet came from, and come from where that packet went.
  if (quoted.source != parsed.destination) return drop(packet, abi::Fate::kIcmpUnrelated);
  flow::Probe probe = env_.flows.look_up(&quoted, generation_);
  if (probe.found == flow::Found::kMiss) return drop(packet, abi::Fate::kIcmpUnrelated);
  if (probe.found == flow::Found::kStale && !refresh(probe)) return drop(packet, abi::Fate::kIcmpUnrelated);
  if (probe.out_port != in_->number()) return drop(packet, abi::Fate::kIcmpUnrelated);

  Batch& single = single_;
  single.count = 0;
  single.parsed[0] = parsed;
  single.add(packet, false);
  single.fates[0] = abi::Fate::kForwarded;
  single.egress[0] = probe.in_port;
  send_on(single);
}

/// Judges a conversation again by the enforced image, without a packet of its own. False: it is no longer allowed, and gone.
bool Worker::refresh(flow::Probe& probe) {
  const classify::Question question =
      classify::ask(env_.flows.entry(probe.slot), env_.flows.detail(probe.slot),
                    probe.direction == 0 ? probe.in_port : probe.out_port);
  classify::Answer answer;
  classify::classify(image_->view, router_, {&question, 1}, {&answer, 1});
  bool kept = false;
  if (abi::is_denial(answer.fate)) {
    const image::Established rest = rest_of(probe.slot, question, answer);
    kept = rest == image::Established::kKeep;
    // What is to be reset waits for a packet of its own, which its ends can be told by.
    if (rest == image::Established::kReevaluate && env_.flows.remove(index_, probe.slot))
      telemetry::add(block_.flows_ended, 1);
  }
  if (answer.fate != abi::Fate::kForwarded && !kept) return false;
  const flow::Stamp stamp{
      generation_,
      {static_cast<std::uint16_t>(question.ingress_port), static_cast<std::uint16_t>(answer.egress_port)}};
  env_.flows.restamp(probe.slot, stamp, reasons(answer, kept));
  telemetry::add(block_.flows_rejudged, 1);
  if (kept) telemetry::add(block_.flows_kept, 1);
  probe.in_port = stamp.port[probe.direction];
  probe.out_port = stamp.port[1 - probe.direction];
  return true;
}

/// A ping of a gateway address, where there is no host port behind which the node would answer itself.
bool Worker::echo(rte_mbuf* packet, const packet::Parsed& parsed) {
  if (router_.host_port != 0 || !is_gateway(image_->view, parsed.destination) || !forward::asks_echo(parsed))
    return false;
  if (in_endpoint_ == 0 || image::bind(image_->view, parsed.source).endpoint != in_endpoint_) return false;
  forward::answer_echo(rte_pktmbuf_mtod(packet, std::uint8_t*), parsed);
  count(abi::Fate::kAnsweredEcho);
  emit(packet, *in_);
  return true;
}

}  // namespace bulkhead::worker
