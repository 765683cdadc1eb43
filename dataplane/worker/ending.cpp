#include "dataplane/forward/forward.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint8_t kTcp = 6;

std::uint32_t owner(const image::View& view, image::Bound end) {
  return static_cast<std::uint32_t>(view.endpoint(end.endpoint).port_key);
}

}  // namespace

flow::Reasons Worker::reasons(const classify::Answer& answer, bool kept) const {
  const image::View& view = image_->view;
  return {{answer.rule[image::kIngress], answer.rule[image::kEgress]},
          answer.source.endpoint,
          answer.destination.endpoint,
          {owner(view, answer.source), owner(view, answer.destination)},
          kept};
}

/// What becomes of a conversation that `answer` denies. Kept is only what is still between those that it was allowed to: whoever
/// has an address later inherits no conversation with it.
image::Established Worker::rest_of(std::uint32_t slot, const classify::Question& question,
                                   const classify::Answer& answer) const {
  const image::View& view = image_->view;
  const image::Established rest =
      image::established(view, answer.source, answer.destination, question.slot, question.port);
  if (rest != image::Established::kKeep) return rest;
  const abi::FlowDetail& detail = env_.flows.detail(slot);
  const bool same =
      detail.owner[0] == owner(view, answer.source) && detail.owner[1] == owner(view, answer.destination);
  return same ? rest : image::Established::kReevaluate;
}

/// Ends the conversation of packet i, which policy denies, and tells its ends where they are to be told. `other_port` is where the
/// end that the packet goes to lives.
void Worker::end_flow(Batch& batch, std::uint32_t i, image::Established rest, std::uint32_t other_port) {
  const packet::Parsed& parsed = batch.parsed[i];
  const bool tell = rest == image::Established::kReset;
  // A later fragment has no sequence number: the conversation waits for the next packet that has one.
  if (tell && batch.later[i] && parsed.protocol == kTcp) return;
  if (!env_.flows.remove(index_, batch.probes[i].slot)) return;
  telemetry::add(block_.flows_ended, 1);
  if (!tell || batch.later[i]) return;
  const rte_mbuf* packet = batch.packets[i];
  if (parsed.protocol != kTcp) {
    if (tell_sender(packet, parsed, forward::Problem::kProhibited, 0)) telemetry::add(block_.resets_sent, 1);
    return;
  }
  const auto* frame = rte_pktmbuf_mtod(packet, const std::uint8_t*);
  abi::Mac sender;
  std::memcpy(sender.bytes.data(), frame + 6, sizeof sender.bytes);
  if (forward::owes_reset(parsed, forward::Toward::kSender))
    reset(frame, parsed, forward::Toward::kSender, sender, *in_);
  port::Port* other = env_.ports.at(other_port);
  if (other == nullptr || !may_leave_by(*other)) return;
  const std::uint64_t peer = other->peer((parsed.flags & packet::kIpv4) != 0);
  if (peer != 0 && forward::owes_reset(parsed, forward::Toward::kReceiver))
    reset(frame, parsed, forward::Toward::kReceiver, port::Port::unpack(peer), *other);
}

void Worker::reset(const std::uint8_t* frame, const packet::Parsed& parsed, forward::Toward toward,
                   const abi::Mac& peer, port::Port& out) {
  std::uint8_t made[forward::kResetFrameBytesMax];
  const std::uint32_t bytes = forward::build_reset(frame, parsed, toward, out.own_mac(), peer, made);
  reply(made, bytes, out);
  telemetry::add(block_.resets_sent, 1);
}

}  // namespace bulkhead::worker
