#include "tests/property/agreement.h"

#include <sstream>

#include "dataplane/image/validate.h"
#include "policies/oracle/oracle.h"
#include "tests/property/conflicts.h"

namespace bulkhead::property {
namespace {

constexpr std::uint8_t kIana[policies::kProtocolCount] = {6, 17, 132, 1, 58, 47};

image::ProtocolSlot slot_of(const Packet& packet) {
  return image::protocol_slot(kIana[static_cast<std::size_t>(packet.protocol)]);
}

/// One answer, in words that both sides can be brought to.
struct Answer {
  abi::Fate fate = abi::Fate::kForwarded;
  std::uint32_t direction = image::kIngress;
  std::string rule;
  std::string passed[2];  // by image direction: the rules that passed the packet on
  policies::Established established = policies::Established::kReevaluate;  // of a denial
  bool operator==(const Answer&) const = default;
};

std::string words(const Answer& answer) {
  std::string text = std::string(abi::name(answer.fate)) + " by " +
                     (answer.direction == image::kIngress ? "ingress" : "egress") +
                     (answer.rule.empty() ? ", no rule" : ", " + answer.rule);
  for (const std::string& passed : answer.passed)
    if (!passed.empty()) text += ", passed by" + passed;
  return text + ", established " + std::string(name(answer.established));
}

class Ends {
 public:
  explicit Ends(const Scenario& scenario)
      : scenario_(scenario),
        oracle_(scenario.cluster, scenario.policies, scenario.posture, scenario.local_node,
                scenario.quarantines, scenario.now) {}

  Answer expected(const Packet& packet) const {
    const auto source = oracle_.end(packet.source), destination = oracle_.end(packet.destination);
    return expected(source, destination, oracle_.judge(source, destination, packet.protocol, packet.port));
  }

  /// Were every audited policy enforced. The image notes neither who passed nor what becomes of conversations.
  Answer expected_audited(const Packet& packet) const {
    const auto source = oracle_.end(packet.source), destination = oracle_.end(packet.destination);
    Answer answer = expected(source, destination,
                             oracle_.judge_audited(source, destination, packet.protocol, packet.port));
    answer.passed[0] = answer.passed[1] = {};
    answer.established = policies::Established::kReevaluate;
    return answer;
  }

 private:
  Answer expected(const policies::End& source, const policies::End& destination,
                  const policies::Judgement& judgement) const {
    if (judgement.reason == policies::Reason::kSelf) return {};
    const policies::Side none{true, policies::Reason::kNoEnd};
    const policies::Side egress = judged_here(source) ? judgement.egress : none;
    const policies::Side ingress = judged_here(destination) ? judgement.ingress : none;
    Answer result = egress.allow ? answer(ingress, image::kIngress) : answer(egress, image::kEgress);
    result.passed[image::kEgress] = passed(egress);
    result.passed[image::kIngress] = passed(ingress);
    if (!egress.allow) result.established = egress.established;
    if (!ingress.allow)
      result.established =
          egress.allow ? ingress.established : std::max(egress.established, ingress.established);
    return result;
  }

  bool judged_here(const policies::End& end) const {
    if (scenario_.subjects == compile::Subjects::kEvery || end.endpoint == nullptr) return true;
    return end.endpoint->node.empty() || end.endpoint->node == scenario_.local_node;
  }

  static std::string words_of(const policies::Policy& policy, const policies::Rule& rule) {
    return policies::describe(policy) + " " + rule.name + " line " + std::to_string(rule.origin.line);
  }

  static std::string words_of(const policies::Quarantine& quarantine) {
    return std::string(policies::kQuarantineKind) + " " + quarantine.namespace_name + "/" + quarantine.name +
           " " + policies::describe(quarantine) + " line 0";
  }

  static std::string passed(const policies::Side& side) {
    std::string text;
    for (const policies::Passed& by : {side.mesh, side.platform, side.baseline})
      if (by.rule != nullptr) text += " " + words_of(*by.policy, *by.rule);
    return text;
  }

  static Answer answer(const policies::Side& side, std::uint32_t direction) {
    Answer result;
    result.direction = direction;
    if (side.rule != nullptr) result.rule = words_of(*side.policy, *side.rule);
    if (side.quarantine != nullptr) result.rule = words_of(*side.quarantine);
    if (side.allow) return result;
    const bool by_rule =
        side.reason == policies::Reason::kRule || side.reason == policies::Reason::kQuarantined;
    result.fate = by_rule                                      ? abi::Fate::kDeniedPolicy
                  : side.reason == policies::Reason::kIsolated ? abi::Fate::kDeniedDefault
                                                               : abi::Fate::kDeniedPosture;
    return result;
  }

  const Scenario& scenario_;
  policies::Oracle oracle_;
};

std::string words_of(const image::View& view, std::uint32_t index) {
  const image::Rule& rule = view.rules[index];
  const image::Policy& policy = view.policies[rule.policy];
  std::ostringstream text;
  text << view.policy_text(policy.kind) << ' ' << view.policy_text(policy.namespace_name) << '/'
       << view.policy_text(policy.name) << ' ' << view.policy_text(rule.name) << " line " << rule.line;
  return text.str();
}

std::string passed(const image::View& view, std::uint32_t direction, const image::Record& subject,
                   const image::Record& peer, std::uint32_t port_class) {
  std::string text;
  const image::Passed by =
      image::passed(view, direction, subject.subject[direction], peer.peer[direction], port_class);
  for (const std::uint32_t rule : {by.mesh, by.platform, by.baseline})
    if (rule != 0) text += " " + words_of(view, rule);
  return text;
}

Answer answer_of(const image::View& view, const Packet& packet) {
  const auto judgement = enforced(view, packet);
  Answer answer{judgement.fate, judgement.direction, {}, {}};
  if (judgement.rule != 0) answer.rule = words_of(view, judgement.rule);
  const auto from = image::bind(view, {packet.source}), to = image::bind(view, {packet.destination});
  if (!judgement.allowed())
    answer.established =
        static_cast<policies::Established>(image::established(view, from, to, slot_of(packet), packet.port));
  if (from.endpoint != 0 && from.endpoint == to.endpoint) return answer;
  const auto ports = image::port_class(view, slot_of(packet), packet.port);
  const image::Record source = view.record(from.record), destination = view.record(to.record);
  answer.passed[image::kEgress] = passed(view, image::kEgress, source, destination, ports);
  answer.passed[image::kIngress] = passed(view, image::kIngress, destination, source, ports);
  return answer;
}

Answer audited_answer_of(const image::View& view, const Packet& packet) {
  const auto judgement =
      image::judge_audited(view, image::bind(view, {packet.source}), image::bind(view, {packet.destination}),
                           slot_of(packet), packet.port);
  Answer answer{judgement.fate, judgement.direction, {}, {}};
  if (judgement.rule != 0) answer.rule = words_of(view, judgement.rule);
  return answer;
}

}  // namespace

image::Judgement enforced(const image::View& view, const Packet& packet) {
  return image::judge(view, image::bind(view, {packet.source}), image::bind(view, {packet.destination}),
                      slot_of(packet), packet.port);
}

std::optional<std::string> find_disagreement(const Scenario& scenario, std::span<const Packet> packets) {
  const auto compiled = compile::compile({.cluster = scenario.cluster,
                                          .policies = scenario.policies,
                                          .posture = scenario.posture,
                                          .node = {.name = scenario.local_node},
                                          .subjects = scenario.subjects,
                                          .now = scenario.now,
                                          .quarantines = scenario.quarantines});
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) return "refused: " + refusal->reason;
  const auto& output = std::get<compile::Output>(compiled);
  const auto validated = image::validate(output.image.sections());
  if (const auto* refusal = std::get_if<image::Refusal>(&validated)) return "invalid: " + refusal->reason;
  const auto& view = std::get<image::View>(validated);

  const Ends ends(scenario);
  if (auto wrong = find_wrong_conflict(scenario, output.conflicts, packets)) return wrong;
  for (const Packet& packet : packets) {
    const Answer wanted = ends.expected(packet), got = answer_of(view, packet);
    if (wanted != got) return describe(packet) + "\n  oracle: " + words(wanted) + "\n  image:  " + words(got);
    const Answer would = ends.expected_audited(packet), audited = audited_answer_of(view, packet);
    if (would != audited)
      return describe(packet) + ", audited\n  oracle: " + words(would) + "\n  image:  " + words(audited);
  }
  return std::nullopt;
}

}  // namespace bulkhead::property
