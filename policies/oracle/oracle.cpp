#include "policies/oracle/oracle.h"

#include <algorithm>
#include <utility>

#include "policies/model/address.h"

namespace bulkhead::policies {
namespace {

/// Among equals that deny, the strictest policy is named.
int strictness(const Policy& policy, const Rule& rule) {
  return rule.action == Action::kDeny ? static_cast<int>(policy.established) : 0;
}

bool owns(const std::vector<AddressBytes>& addresses, const AddressBytes& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

bool matches(const PortMatch& match, const Endpoint* receiver, Protocol protocol, std::uint16_t port) {
  if (match.protocol != protocol) return false;
  if (match.name.empty()) return match.first <= port && port <= match.last;
  if (receiver == nullptr) return false;  // only endpoints name their ports
  return std::any_of(receiver->ports.begin(), receiver->ports.end(), [&](const NamedPort& named) {
    return named.name == match.name && named.protocol == protocol && named.port == port;
  });
}

}  // namespace

Oracle::Oracle(const Cluster& cluster, const PolicySet& policies, const Posture& posture,
               std::string local_node, std::span<const Quarantine> quarantines, std::optional<Time> now)
    : cluster_(cluster),
      policies_(policies),
      posture_(posture),
      local_node_(std::move(local_node)),
      quarantines_(quarantines),
      now_(now) {}

const Quarantine* Oracle::quarantine_of(const End& end) const {
  if (end.endpoint == nullptr) return nullptr;
  const auto found =
      std::find_if(quarantines_.begin(), quarantines_.end(),
                   [&](const Quarantine& quarantine) { return quarantine.holds(*end.endpoint); });
  return found != quarantines_.end() ? &*found : nullptr;
}

End Oracle::end(const AddressBytes& address) const {
  for (const auto& endpoint : cluster_.endpoints)
    if (!endpoint.host_network && owns(endpoint.addresses, address)) return {address, &endpoint, nullptr};
  for (const auto& node : cluster_.nodes)
    if (owns(node.addresses, address)) return {address, nullptr, &node};
  return {address, nullptr, nullptr};
}

End Oracle::end(const Endpoint& endpoint, const AddressBytes& address) const {
  if (endpoint.host_network) return end(address);
  return {address, &endpoint, nullptr};
}

bool Oracle::on_node(const Endpoint& endpoint, const AddressBytes& address) const {
  const std::string& name = endpoint.node.empty() ? local_node_ : endpoint.node;
  return std::any_of(cluster_.nodes.begin(), cluster_.nodes.end(),
                     [&](const Node& node) { return node.name == name && owns(node.addresses, address); });
}

bool Oracle::governs(const Clause& clause, const Question& question) const {
  if (now_ && !clause.in_force(*now_)) return false;
  return clause.direction == question.direction && selects(clause.subject, question.subject);
}

bool Oracle::selects(const EndpointSelector& selector, const End& end) const {
  if (end.endpoint == nullptr) return false;
  static const Labels kNoLabels;
  const auto found = std::find_if(
      cluster_.namespaces.begin(), cluster_.namespaces.end(),
      [&](const Namespace& candidate) { return candidate.name == end.endpoint->namespace_name; });
  return selector.matches(*end.endpoint, found == cluster_.namespaces.end() ? kNoLabels : found->labels);
}

bool Oracle::matches(const Peer& peer, const End& subject, const End& other) const {
  if (std::holds_alternative<Everyone>(peer)) return true;
  if (const auto* selector = std::get_if<EndpointSelector>(&peer)) return selects(*selector, other);
  const bool is_world = other.endpoint == nullptr && other.node == nullptr;
  if (const auto* block = std::get_if<IpBlock>(&peer))
    return block->contains(other.address) && (is_world || !block->world_only);
  if (std::holds_alternative<LocalNode>(peer))
    return other.node != nullptr && on_node(*subject.endpoint, other.address);
  if (const auto* selector = std::get_if<NodeSelector>(&peer))
    return other.node != nullptr && selector->nodes.matches(other.node->labels);
  if (const auto* source = std::get_if<Source>(&peer)) return source->matches(other.endpoint, other.address);
  return is_world;  // World
}

bool Oracle::matches(const Rule& rule, const Question& question) const {
  const bool peer_matches = std::any_of(rule.peers.begin(), rule.peers.end(), [&](const Peer& candidate) {
    return matches(candidate, question.subject, question.peer);
  });
  const bool port_matches =
      rule.all_ports || std::any_of(rule.ports.begin(), rule.ports.end(), [&](const PortMatch& match) {
        return policies::matches(match, question.receiver.endpoint, question.protocol, question.port);
      });
  return peer_matches && port_matches;
}

const Rule* Oracle::first_match(const Policy& policy, const Question& question) const {
  for (const auto& clause : policy.clauses) {
    if (!governs(clause, question)) continue;
    for (const auto& rule : clause.rules)
      if (matches(rule, question)) return &rule;
  }
  return nullptr;
}

/// The mesh, the platform or the baseline tier. Without an answer: Reason::kPosture, and who passed.
Side Oracle::judge_ordered_tier(Tier tier, const Question& question) const {
  const auto weight = [&](const Rule* rule) {  // of answers of one priority: deny, pass, allow
    if (tier == Tier::kMesh) return rule->action == Action::kPass ? 1 : 0;
    return rule->action == Action::kDeny ? 2 : rule->action == Action::kPass ? 1 : 0;
  };
  const Policy* policy = nullptr;
  const Rule* rule = nullptr;
  for (const auto& candidate : policies_.policies) {
    if (candidate.tier != tier || !is_asked(candidate, question)) continue;
    if (rule != nullptr && candidate.priority > policy->priority) continue;
    const Rule* found = first_match(candidate, question);
    if (found == nullptr) continue;
    if (rule != nullptr && candidate.priority == policy->priority &&
        std::pair(weight(found), strictness(candidate, *found)) <=
            std::pair(weight(rule), strictness(*policy, *rule)))
      continue;
    policy = &candidate;
    rule = found;
  }
  if (rule == nullptr) return {};
  if (rule->action != Action::kPass)
    return {rule->action == Action::kAllow, Reason::kRule, policy, rule, {}, {}, {}, policy->established};
  Side passed;
  (tier == Tier::kMesh       ? passed.mesh
   : tier == Tier::kPlatform ? passed.platform
                             : passed.baseline) = {policy, rule};
  return passed;
}

/// Without an answer: Reason::kPosture.
Side Oracle::judge_application(const Question& question) const {
  Side allowed, denied, isolated;
  for (const auto& policy : policies_.policies) {
    if (policy.tier != Tier::kApplication || !is_asked(policy, question)) continue;
    for (const auto& clause : policy.clauses) {
      if (!governs(clause, question)) continue;
      if (clause.isolates && isolated.policy == nullptr)
        isolated = {false, Reason::kIsolated, &policy, nullptr, {}, {}, {}, Established::kKeep};
      if (clause.isolates) isolated.established = std::max(isolated.established, policy.established);
      for (const auto& rule : clause.rules) {
        if (!matches(rule, question)) continue;
        if (rule.action == Action::kAllow && allowed.rule == nullptr)
          allowed = {true, Reason::kRule, &policy, &rule};
        if (rule.action == Action::kDeny &&
            (denied.rule == nullptr || denied.established < policy.established))
          denied = {false, Reason::kRule, &policy, &rule, {}, {}, {}, policy.established};
      }
    }
  }
  if (denied.rule != nullptr) return denied;
  return allowed.rule != nullptr ? allowed : isolated;
}

Side Oracle::judge_side(const Question& question) const {
  const End& subject = question.subject;
  if (subject.endpoint == nullptr) return {true, Reason::kNoEnd};
  for (const End* end : {&subject, &question.peer})
    if (const Quarantine* quarantine = quarantine_of(*end)) {
      Side side{false, Reason::kQuarantined};
      side.quarantine = quarantine;
      return side;
    }
  const bool own_node = subject.endpoint->kubernetes && question.peer.node != nullptr &&
                        on_node(*subject.endpoint, question.peer.address);

  Side answer = judge_ordered_tier(Tier::kMesh, question);
  if (answer.reason == Reason::kRule) return answer;
  const Passed mesh = answer.mesh;

  answer = judge_ordered_tier(Tier::kPlatform, question);
  answer.mesh = mesh;
  if (answer.reason == Reason::kRule) return answer;
  const Passed platform = answer.platform;

  answer = judge_application(question);
  if (answer.reason == Reason::kPosture) answer = judge_ordered_tier(Tier::kBaseline, question);
  answer.mesh = mesh;
  answer.platform = platform;
  if (answer.reason == Reason::kRule) return answer;

  if (own_node) {
    answer.allow = true;
    answer.reason = Reason::kOwnNode;
    answer.policy = nullptr;
    answer.established = Established::kReevaluate;
    return answer;
  }
  if (answer.reason == Reason::kPosture)
    answer.allow = (subject.endpoint->kubernetes && !posture_.strict) || posture_.action == Action::kAllow;
  return answer;
}

Judgement Oracle::judge(const End& source, const End& destination, Protocol protocol,
                        std::uint16_t port) const {
  return judge(source, destination, protocol, port, false);
}

Judgement Oracle::judge_audited(const End& source, const End& destination, Protocol protocol,
                                std::uint16_t port) const {
  return judge(source, destination, protocol, port, true);
}

Judgement Oracle::judge(const End& source, const End& destination, Protocol protocol, std::uint16_t port,
                        bool audited) const {
  if (source.endpoint != nullptr && source.endpoint == destination.endpoint)
    return {true,    Direction::kIngress,   Reason::kSelf,        nullptr,
            nullptr, {true, Reason::kSelf}, {true, Reason::kSelf}};

  const Side egress =
      judge_side({Direction::kEgress, source, destination, destination, protocol, port, audited});
  const Side ingress =
      judge_side({Direction::kIngress, destination, source, destination, protocol, port, audited});
  const Direction direction = egress.allow ? Direction::kIngress : Direction::kEgress;
  const Side& deciding = egress.allow ? ingress : egress;
  Established established = deciding.established;
  if (!egress.allow && !ingress.allow) established = std::max(established, ingress.established);
  return {deciding.allow, direction, deciding.reason, deciding.policy,
          deciding.rule,  egress,    ingress,         established};
}

bool Oracle::means(const Demand& demand, const End& source, const End& destination, Protocol protocol,
                   std::uint16_t port) const {
  if (source.endpoint == nullptr && destination.endpoint == nullptr) return false;
  if (source.endpoint == destination.endpoint) return false;
  if (is_v4(source.address) != is_v4(destination.address)) return false;
  const Protocol foreign_icmp = is_v4(source.address) ? Protocol::kIcmpV6 : Protocol::kIcmp;
  if (demand.claim == Demand::Claim::kAlways && protocol == foreign_icmp) return false;
  const auto any_of = [&](const std::vector<Peer>& peers, const End& subject, const End& other) {
    return std::any_of(peers.begin(), peers.end(), [&](const Peer& peer) {
      if (std::holds_alternative<LocalNode>(peer) && subject.endpoint == nullptr) return false;
      return matches(peer, subject, other);
    });
  };
  if (!any_of(demand.from, destination, source) || !any_of(demand.to, source, destination)) return false;
  return demand.all_ports ||
         std::any_of(demand.ports.begin(), demand.ports.end(), [&](const PortMatch& match) {
           return policies::matches(match, destination.endpoint, protocol, port);
         });
}

Judgement Oracle::judge(const AddressBytes& source, const AddressBytes& destination, Protocol protocol,
                        std::uint16_t port) const {
  return judge(end(source), end(destination), protocol, port);
}

}  // namespace bulkhead::policies
