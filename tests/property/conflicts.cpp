#include "tests/property/conflicts.h"

#include <algorithm>

#include "policies/model/address.h"
#include "policies/oracle/oracle.h"

namespace bulkhead::property {
namespace {

using policies::Direction;
using policies::Oracle;
using policies::Policy;
using policies::PolicySet;
using policies::Rule;
using policies::Side;
using policies::Tier;

class Checker {
 public:
  Checker(const Scenario& scenario, std::span<const compile::Conflict> conflicts)
      : scenario_(scenario), conflicts_(conflicts) {}

  /// The packet meets the winning rule and, without the other policies of that priority, the losing one.
  std::optional<std::string> untrue(const compile::Conflict& conflict) const {
    const Policy* loser = policy_at(conflict.loser.line);
    PolicySet others;
    for (const auto& policy : scenario_.policies.policies)
      if (&policy == loser || policy.tier != loser->tier || policy.priority != loser->priority)
        others.policies.push_back(policy);
    const Packet packet{conflict.source, conflict.destination, conflict.protocol, conflict.port};
    const auto meets = [&](const PolicySet& policies, std::uint32_t line) {
      const Side side = ask(policies, packet, conflict.direction);
      return std::any_of(std::begin(kOrdered), std::end(kOrdered), [&](Tier tier) {
        const Rule* rule = rule_of(side, tier);
        return rule != nullptr && rule->origin.line == line;
      });
    };
    if (!meets(scenario_.policies, conflict.winner.line)) return "not the winner: " + conflict.message;
    if (!meets(others, conflict.loser.line)) return "not the loser: " + conflict.message;
    return std::nullopt;
  }

  std::optional<std::string> missing(const Packet& packet) const {
    if (!can_exist(packet)) return std::nullopt;
    for (const auto direction : {Direction::kIngress, Direction::kEgress}) {
      if (!judged_here(direction == Direction::kIngress ? packet.destination : packet.source)) continue;
      const Side side = ask(scenario_.policies, packet, direction);
      for (const Tier tier : kOrdered) {
        const Rule* winner = rule_of(side, tier);
        if (winner == nullptr || !disputed(*policy_at(winner->origin.line), *winner, packet, direction))
          continue;
        if (!named(winner->origin.line, direction))
          return "no conflict names the rule at line " + std::to_string(winner->origin.line) +
                 ", which won " + describe(packet);
      }
    }
    return std::nullopt;
  }

 private:
  /// The random packets are of any two families, and have ICMP types and protocols beyond a byte.
  static bool can_exist(const Packet& packet) {
    if (policies::is_v4(packet.source) != policies::is_v4(packet.destination)) return false;
    if (packet.protocol < policies::Protocol::kIcmp) return true;
    const bool named =
        packet.port == 1 || packet.port == 6 || packet.port == 17 || packet.port == 58 || packet.port == 132;
    return packet.port <= 255 && !(packet.protocol == policies::Protocol::kOther && named);
  }

  static constexpr Tier kOrdered[] = {Tier::kPlatform, Tier::kBaseline};

  Side ask(const PolicySet& policies, const Packet& packet, Direction direction) const {
    const Oracle oracle(scenario_.cluster, policies, scenario_.posture, scenario_.local_node,
                        scenario_.quarantines, scenario_.now);
    const auto judged = oracle.judge(packet.source, packet.destination, packet.protocol, packet.port);
    return direction == Direction::kIngress ? judged.ingress : judged.egress;
  }

  /// What the tier said.
  static const Rule* rule_of(const Side& side, Tier tier) {
    if (side.policy != nullptr && side.rule != nullptr && side.policy->tier == tier) return side.rule;
    return tier == Tier::kPlatform ? side.platform.rule : side.baseline.rule;
  }

  /// Some equal of the winner, asked alone, answers otherwise.
  bool disputed(const Policy& policy, const Rule& winner, const Packet& packet, Direction direction) const {
    return std::any_of(
        scenario_.policies.policies.begin(), scenario_.policies.policies.end(), [&](const Policy& other) {
          if (&other == &policy || other.tier != policy.tier || other.priority != policy.priority)
            return false;
          const PolicySet alone{{other}};
          const Rule* rule = rule_of(ask(alone, packet, direction), policy.tier);
          return rule != nullptr && rule->action != winner.action;
        });
  }

  bool named(std::uint32_t line, Direction direction) const {
    const Policy* policy = policy_at(line);
    return std::any_of(conflicts_.begin(), conflicts_.end(), [&](const compile::Conflict& conflict) {
      return conflict.direction == direction &&
             (policy_at(conflict.winner.line) == policy || policy_at(conflict.loser.line) == policy);
    });
  }

  bool judged_here(const policies::AddressBytes& address) const {
    if (scenario_.subjects == compile::Subjects::kEvery) return true;
    const Oracle oracle(scenario_.cluster, scenario_.policies, scenario_.posture, scenario_.local_node,
                        scenario_.quarantines, scenario_.now);
    const auto end = oracle.end(address);
    return end.endpoint != nullptr &&
           (end.endpoint->node.empty() || end.endpoint->node == scenario_.local_node);
  }

  const Policy* policy_at(std::uint32_t rule_line) const {
    for (const auto& policy : scenario_.policies.policies)
      for (const auto& clause : policy.clauses)
        for (const auto& rule : clause.rules)
          if (rule.origin.line == rule_line) return &policy;
    return nullptr;
  }

  const Scenario& scenario_;
  std::span<const compile::Conflict> conflicts_;
};

}  // namespace

std::optional<std::string> find_wrong_conflict(const Scenario& scenario,
                                               std::span<const compile::Conflict> conflicts,
                                               std::span<const Packet> packets) {
  const Checker checker(scenario, conflicts);
  for (const compile::Conflict& conflict : conflicts)
    if (auto wrong = checker.untrue(conflict)) return wrong;
  // Each of these asks the oracle several times: a part of the packets is enough.
  for (const Packet& packet : packets.first(std::min<std::size_t>(packets.size(), 40)))
    if (auto wrong = checker.missing(packet)) return wrong;
  return std::nullopt;
}

}  // namespace bulkhead::property
