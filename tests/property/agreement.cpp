#include "tests/property/agreement.h"

#include <sstream>

#include "dataplane/image/validate.h"
#include "policies/oracle/oracle.h"

namespace bulkhead::property {
namespace {

constexpr std::uint8_t kIana[policies::kProtocolCount] = {6, 17, 132, 1, 58, 47};

/// One answer, in words that both sides can be brought to.
struct Answer {
  abi::Fate fate = abi::Fate::kForwarded;
  std::uint32_t direction = image::kIngress;
  std::string rule;
  bool operator==(const Answer&) const = default;
};

std::string words(const Answer& answer) {
  return std::string(abi::name(answer.fate)) + " by " +
         (answer.direction == image::kIngress ? "ingress" : "egress") +
         (answer.rule.empty() ? ", no rule" : ", " + answer.rule);
}

class Ends {
 public:
  explicit Ends(const Scenario& scenario)
      : scenario_(scenario),
        oracle_(scenario.cluster, scenario.policies, scenario.posture, scenario.local_node) {}

  Answer expected(const Packet& packet) const {
    const auto source = oracle_.end(packet.source), destination = oracle_.end(packet.destination);
    const auto judgement = oracle_.judge(source, destination, packet.protocol, packet.port);
    if (judgement.reason == policies::Reason::kSelf) return {};
    const policies::Side none{true, policies::Reason::kNoEnd};
    const policies::Side egress = judged_here(source) ? judgement.egress : none;
    const policies::Side ingress = judged_here(destination) ? judgement.ingress : none;
    if (!egress.allow) return answer(egress, image::kEgress);
    return answer(ingress, image::kIngress);
  }

 private:
  bool judged_here(const policies::End& end) const {
    if (scenario_.subjects == compile::Subjects::kEvery || end.endpoint == nullptr) return true;
    return end.endpoint->node.empty() || end.endpoint->node == scenario_.local_node;
  }

  static Answer answer(const policies::Side& side, std::uint32_t direction) {
    Answer result;
    result.direction = direction;
    if (side.rule != nullptr)
      result.rule = policies::describe(*side.policy) + " " + side.rule->name + " line " +
                    std::to_string(side.rule->origin.line);
    if (side.allow) return result;
    result.fate = side.reason == policies::Reason::kRule       ? abi::Fate::kDeniedPolicy
                  : side.reason == policies::Reason::kIsolated ? abi::Fate::kDeniedDefault
                                                               : abi::Fate::kDeniedPosture;
    return result;
  }

  const Scenario& scenario_;
  policies::Oracle oracle_;
};

Answer answer_of(const image::View& view, const Packet& packet) {
  const auto judgement = enforced(view, packet);
  Answer answer{judgement.fate, judgement.direction, {}};
  if (judgement.rule != 0) {
    const image::Rule& rule = view.rules[judgement.rule];
    const image::Policy& policy = view.policies[rule.policy];
    std::ostringstream text;
    text << view.policy_text(policy.kind) << ' ' << view.policy_text(policy.namespace_name) << '/'
         << view.policy_text(policy.name) << ' ' << view.policy_text(rule.name) << " line " << rule.line;
    answer.rule = text.str();
  }
  return answer;
}

}  // namespace

image::Judgement enforced(const image::View& view, const Packet& packet) {
  const auto slot = image::protocol_slot(kIana[static_cast<std::size_t>(packet.protocol)]);
  return image::judge(view, image::bind(view, {packet.source}), image::bind(view, {packet.destination}), slot,
                      packet.port);
}

std::optional<std::string> find_disagreement(const Scenario& scenario, std::span<const Packet> packets) {
  const auto compiled = compile::compile({.cluster = scenario.cluster,
                                          .policies = scenario.policies,
                                          .posture = scenario.posture,
                                          .node = {.name = scenario.local_node},
                                          .subjects = scenario.subjects});
  if (const auto* refusal = std::get_if<compile::Refusal>(&compiled)) return "refused: " + refusal->reason;
  const auto& output = std::get<compile::Output>(compiled);
  const auto validated = image::validate(output.policy, output.binding);
  if (const auto* refusal = std::get_if<image::Refusal>(&validated)) return "invalid: " + refusal->reason;
  const auto& view = std::get<image::View>(validated);

  const Ends ends(scenario);
  for (const Packet& packet : packets) {
    const Answer wanted = ends.expected(packet), got = answer_of(view, packet);
    if (wanted != got) return describe(packet) + "\n  oracle: " + words(wanted) + "\n  image:  " + words(got);
  }
  return std::nullopt;
}

}  // namespace bulkhead::property
