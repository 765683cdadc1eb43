#include "dataplane/flow/tcp.h"
#include "dataplane/telemetry/denied.h"
#include "dataplane/worker/worker.h"

namespace bulkhead::worker {
namespace {

constexpr std::uint8_t kTcp = 6, kIcmp = 1, kIcmpV6 = 58;

/// kForwarded if a conversation may begin with this packet, whoever its ends are.
abi::Fate beginning(const packet::Parsed& parsed, bool later) {
  if (later) return abi::Fate::kFragmentTimeout;
  if (parsed.protocol == kTcp && !flow::opens(parsed.tcp_flags)) return abi::Fate::kTcpNotSyn;
  if ((parsed.protocol == kIcmp || parsed.protocol == kIcmpV6) &&
      !flow::icmp_fits(parsed.protocol, parsed.icmp_type, 0))
    return abi::Fate::kIcmpUnrelated;
  return abi::Fate::kForwarded;
}

}  // namespace

/// Packets without a conversation, or with one that an older image allowed or that came in by another port than before.
void Worker::judge(Batch& batch, const std::uint32_t* pending, std::uint32_t count) {
  classify::Question questions[port::kBurst];
  classify::Answer answers[port::kBurst];
  std::uint32_t fresh[port::kBurst];
  std::uint32_t asked = 0;
  for (std::uint32_t k = 0; k < count; ++k) {
    const std::uint32_t i = pending[k];
    if (batch.probes[i].found != flow::Found::kMiss && judge_again(batch, i)) continue;
    questions[asked] = classify::ask(batch.parsed[i], in_->number());
    fresh[asked++] = i;
  }
  classify::classify(image_->view, router_, {questions, asked}, {answers, asked});
  for (std::uint32_t k = 0; k < asked; ++k) {
    const std::uint32_t i = fresh[k];
    abi::Fate fate = answers[k].fate;
    if (fate == abi::Fate::kForwarded) fate = beginning(batch.parsed[i], batch.later[i]);
    if (fate != abi::Fate::kForwarded) {
      batch.fates[i] = fate;
      deny(batch.parsed[i], fate, answers[k]);
      if (!abi::is_denial(fate)) continue;
    } else if (!begin_flow(batch, i, answers[k])) {
      continue;
    }
    if (image_->view.audited_of != nullptr) [[unlikely]]
      audit(questions[k], answers[k], batch.parsed[i].source_port, batch.parsed[i].protocol);
  }
}

/// True if a conversation begins.
bool Worker::begin_flow(Batch& batch, std::uint32_t i, const classify::Answer& answer) {
  const packet::Parsed& parsed = batch.parsed[i];
  flow::NewFlow flow;
  flow.key = batch.keys[i];
  flow.stamp = {generation_,
                {static_cast<std::uint16_t>(in_->number()), static_cast<std::uint16_t>(answer.egress_port)}};
  flow.reasons = reasons(answer);
  flow.policy_slot = static_cast<std::uint8_t>(image::protocol_slot(parsed.protocol));
  flow.policy_port = parsed.policy_port;
  flow.now_s = now_s_;
  flow.first_seen_ms = now_ms_;
  const flow::Inserted inserted = env_.flows.insert(index_, batch.probes[i].hash, flow);
  if (inserted.evicted) telemetry::add(block_.flows_evicted, 1);
  switch (inserted.outcome) {
    case flow::Outcome::kFull:
      batch.fates[i] = abi::Fate::kFlowTableFull;
      return false;
    case flow::Outcome::kInserted:
      telemetry::add(block_.flows_created, 1);
      break;
    case flow::Outcome::kExisted:
      // An earlier packet of this burst, or another worker, was first: this one is just the next of the conversation.
      if (!advance(batch, i, inserted.slot, inserted.direction)) {
        if (batch.fates[i] == abi::Fate::kForwarded) batch.fates[i] = abi::Fate::kTcpState;
        return false;
      }
      break;
  }
  env_.flows.touch(inserted.slot, inserted.direction, 1, parsed.l3_bytes, now_s_);
  batch.probes[i].slot = inserted.slot;
  batch.probes[i].direction = inserted.direction;
  batch.fates[i] = abi::Fate::kForwarded;
  batch.egress[i] = env_.flows.stamp(inserted.slot).port[inserted.direction == 0 ? 1 : 0];
  return inserted.outcome == flow::Outcome::kInserted;
}

/// A conversation that was judged by another image, or whose packet came in by an unexpected port. Asked in the originator's
/// order whichever end this packet comes from: a reply has no rights of its own. False: the packet opens a new conversation on
/// a finished one's ports, and is still to be judged as such.
bool Worker::judge_again(Batch& batch, std::uint32_t i) {
  const flow::Probe& probe = batch.probes[i];
  const classify::Question question =
      classify::ask(env_.flows.entry(probe.slot), env_.flows.detail(probe.slot),
                    probe.direction == 0 ? in_->number() : probe.out_port);
  classify::Answer answer;
  classify::classify(image_->view, router_, {&question, 1}, {&answer, 1});
  // Only policy ends a conversation: not a stranger's packet, and not a moment in which its way is missing.
  if ((answer.fate == abi::Fate::kForwarded || abi::is_denial(answer.fate)) && probe.direction == 1 &&
      answer.egress_port != in_->number())
    answer.fate = abi::Fate::kSpoofedAddress;
  if (image_->view.audited_of != nullptr &&
      (answer.fate == abi::Fate::kForwarded || abi::is_denial(answer.fate))) [[unlikely]] {
    const abi::FlowEntry& entry = env_.flows.entry(probe.slot);
    audit(question, answer, entry.source_port, entry.protocol);
  }
  bool kept = false;
  if (abi::is_denial(answer.fate)) {
    const image::Established rest = rest_of(probe.slot, question, answer);
    kept = rest == image::Established::kKeep;
    if (!kept) end_flow(batch, i, rest, probe.direction == 0 ? answer.egress_port : question.ingress_port);
  }
  if (answer.fate != abi::Fate::kForwarded && !kept) {
    batch.fates[i] = answer.fate;
    deny(batch.parsed[i], answer.fate, answer);
    return true;
  }
  const flow::Stamp stamp{
      generation_,
      {static_cast<std::uint16_t>(question.ingress_port), static_cast<std::uint16_t>(answer.egress_port)}};
  env_.flows.restamp(probe.slot, stamp, reasons(answer, kept));
  telemetry::add(block_.flows_rejudged, 1);
  if (kept) telemetry::add(block_.flows_kept, 1);
  if (!advance(batch, i, probe.slot, probe.direction)) return batch.fates[i] != abi::Fate::kForwarded;
  env_.flows.touch(probe.slot, probe.direction, 1, batch.parsed[i].l3_bytes, now_s_);
  batch.fates[i] = abi::Fate::kForwarded;
  batch.egress[i] = stamp.port[probe.direction == 0 ? 1 : 0];
  return true;
}

/// Puts on record where the audited policies would have judged otherwise.
void Worker::audit(const classify::Question& question, const classify::Answer& answer,
                   std::uint16_t source_port, std::uint8_t protocol) {
  const image::Judgement would =
      image::judge_audited(image_->view, answer.source, answer.destination, question.slot, question.port);
  if (would.allowed() == (answer.fate == abi::Fate::kForwarded)) return;
  telemetry::Denial difference;
  difference.source = *question.source;
  difference.destination = *question.destination;
  difference.source_port = source_port;
  difference.policy_port = question.port;
  difference.protocol = protocol;
  difference.fate = answer.fate;
  difference.would = would.fate;
  difference.direction = static_cast<std::uint8_t>(would.direction);
  difference.rule = would.rule;
  difference.generation = generation_;
  difference.port = static_cast<std::uint16_t>(question.ingress_port);
  telemetry::record_audited(block_, difference, now_ms_);
}

void Worker::deny(const packet::Parsed& parsed, abi::Fate fate, const classify::Answer& answer) {
  if (!abi::is_denial(fate)) return;
  telemetry::Denial denial;
  denial.source = parsed.source;
  denial.destination = parsed.destination;
  denial.source_port = parsed.source_port;
  denial.policy_port = parsed.policy_port;
  denial.protocol = parsed.protocol;
  denial.fate = denial.would = fate;
  denial.direction = answer.direction;
  denial.rule = answer.rule[answer.direction];
  denial.generation = generation_;
  denial.port = static_cast<std::uint16_t>(in_->number());
  telemetry::record(block_, denial, now_ms_);
}

}  // namespace bulkhead::worker
