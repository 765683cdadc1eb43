#include "controlplane/analysis/lint.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "controlplane/analysis/invariants.h"
#include "controlplane/analysis/party.h"
#include "controlplane/analysis/redundancy.h"
#include "policies/model/address.h"

namespace bulkhead::analysis {
namespace {

using Endpoints = std::vector<std::uint32_t>;

constexpr std::size_t kNamesShown = 4;
constexpr std::size_t kPortsWorthNaming = 3;

std::string object_of(const policies::Policy& policy) {
  return policies::describe(policy);
}
std::string object_of(const policies::Policy& policy, const policies::Rule& rule) {
  return policies::describe(policy) + ", rule '" + rule.name + "'";
}

image::PolicyTier tier_of(policies::Tier tier) {
  switch (tier) {
    case policies::Tier::kQuarantine:
      return image::kQuarantineTier;
    case policies::Tier::kMesh:
      return image::kMeshTier;
    case policies::Tier::kPlatform:
      return image::kPlatformTier;
    case policies::Tier::kBaseline:
      return image::kBaselineTier;
    case policies::Tier::kApplication:
      break;
  }
  return image::kApplicationTier;
}

/// Edges are two rules, and a peer may be in many: what is said of one place is said once.
class Findings {
 public:
  void add(Finding finding) {
    if (said_.emplace(finding.check, finding.origin, finding.object, finding.message).second)
      list_.push_back(std::move(finding));
  }
  std::vector<Finding> take() {
    std::stable_sort(list_.begin(), list_.end(), [](const Finding& a, const Finding& b) {
      return std::tie(a.origin, a.check, a.object) < std::tie(b.origin, b.check, b.object);
    });
    return std::move(list_);
  }

 private:
  std::set<std::tuple<Check, policies::Origin, std::string, std::string>> said_;
  std::vector<Finding> list_;
};

class Linter {
 public:
  Linter(const policies::Cluster& cluster, const policies::PolicySet& set, const policies::Posture& posture)
      : cluster_(cluster), set_(set), posture_(posture) {
    for (const policies::Namespace& each : cluster.namespaces) namespaces_[each.name] = &each.labels;
  }

  Linted run(const LintLimits& limits) {
    Linted result;
    auto compiled = compile_all(cluster_, set_, posture_);
    if (auto* reason = std::get_if<std::string>(&compiled)) {
      result.refusal = std::move(*reason);
      return result;
    }
    const Compiled& whole = *std::get<std::unique_ptr<Compiled>>(compiled);
    for (const policies::Policy& policy : set_.policies) look_at(policy);
    look_for_dns(whole.view);
    for (const compile::Conflict& conflict : whole.output.conflicts) look_at(conflict, whole.view);
    look_at_invariants(whole);
    look_at_effects(whole, limits, result);
    result.findings = findings_.take();
    return result;
  }

 private:
  const Endpoints& meeting(const policies::EndpointSelector& selector) {
    const auto [place, is_new] = meeting_.try_emplace(selector);
    if (!is_new) return place->second;
    static const policies::Labels kNone;
    for (std::uint32_t number = 0; number < cluster_.endpoints.size(); ++number) {
      const policies::Endpoint& endpoint = cluster_.endpoints[number];
      const auto home = namespaces_.find(endpoint.namespace_name);
      if (selector.matches(endpoint, home == namespaces_.end() ? kNone : *home->second))
        place->second.push_back(number);
    }
    return place->second;
  }

  bool meets_a_node(const policies::NodeSelector& selector) const {
    return std::any_of(cluster_.nodes.begin(), cluster_.nodes.end(),
                       [&](const policies::Node& node) { return selector.nodes.matches(node.labels); });
  }

  std::string names(const Endpoints& endpoints) const {
    std::vector<std::string> words;
    for (const std::uint32_t number : endpoints)
      words.push_back(cluster_.endpoints[number].namespace_name + "/" + cluster_.endpoints[number].name);
    return line(words, kNamesShown);
  }

  void look_at(const policies::Policy& policy) {
    subjects_.emplace_back();
    bool met = false;
    for (const policies::Clause& clause : policy.clauses) {
      subjects_.back().push_back(meeting(clause.subject));
      met = met || !subjects_.back().back().empty();
      for (const policies::Rule& rule : clause.rules) look_at(policy, clause, rule);
    }
    if (!met && !policy.clauses.empty())
      findings_.add({Check::kUnmetPolicy,
                     policy.origin,
                     object_of(policy),
                     "no endpoint is governed by it: no label set of the cluster is selected by " +
                         describe_subject(policy.clauses[0].subject),
                     "correct the selector, or remove the policy",
                     {},
                     ""});
  }

  static std::string describe_subject(const policies::EndpointSelector& subject) {
    return "'" + policies::describe(policies::Peer(subject)) + "'";
  }

  void look_at(const policies::Policy& policy, const policies::Clause& clause, const policies::Rule& rule) {
    Endpoints receivers;
    bool everyone = false;
    for (const policies::Peer& peer : rule.peers) {
      everyone = everyone || std::holds_alternative<policies::Everyone>(peer);
      if (const auto* selector = std::get_if<policies::EndpointSelector>(&peer)) {
        const Endpoints& met = meeting(*selector);
        receivers.insert(receivers.end(), met.begin(), met.end());
        if (met.empty())
          findings_.add({Check::kEmptySelector,
                         rule.origin,
                         object_of(policy, rule),
                         "no endpoint meets '" + policies::describe(peer) + "'",
                         "correct the selector, or remove this peer",
                         {},
                         ""});
      }
      if (const auto* nodes = std::get_if<policies::NodeSelector>(&peer);
          nodes != nullptr && !meets_a_node(*nodes))
        findings_.add({Check::kEmptySelector,
                       rule.origin,
                       object_of(policy, rule),
                       "no node meets '" + policies::describe(peer) + "'",
                       "correct the selector, or remove this peer",
                       {},
                       ""});
      if (const auto* block = std::get_if<policies::IpBlock>(&peer); block != nullptr && !block->world_only)
        look_at_block(policy, rule, *block);
    }
    if (clause.direction == policies::Direction::kIngress) {
      receivers = meeting(clause.subject);
    } else if (everyone) {
      receivers.clear();
      for (std::uint32_t number = 0; number < cluster_.endpoints.size(); ++number)
        receivers.push_back(number);
    }
    look_at_ports(policy, rule, receivers);
    if (!everyone && !nobody(rule)) look_at_any(policy, rule, receivers);
  }

  bool nobody(const policies::Rule& rule) {
    return std::all_of(rule.peers.begin(), rule.peers.end(), [&](const policies::Peer& peer) {
      if (const auto* nodes = std::get_if<policies::NodeSelector>(&peer)) return !meets_a_node(*nodes);
      const auto* selector = std::get_if<policies::EndpointSelector>(&peer);
      return selector != nullptr && meeting(*selector).empty();
    });
  }

  void look_at_block(const policies::Policy& policy, const policies::Rule& rule,
                     const policies::IpBlock& block) {
    Endpoints covered;
    for (std::uint32_t number = 0; number < cluster_.endpoints.size(); ++number) {
      const policies::Endpoint& endpoint = cluster_.endpoints[number];
      if (!endpoint.host_network && std::any_of(endpoint.addresses.begin(), endpoint.addresses.end(),
                                                [&](const auto& address) { return block.contains(address); }))
        covered.push_back(number);
    }
    if (!covered.empty())
      findings_.add({Check::kBlockCovers,
                     rule.origin,
                     object_of(policy, rule),
                     policies::describe(policies::Peer(block)) + " covers " + std::to_string(covered.size()) +
                         (covered.size() == 1 ? " endpoint, which the rule matches too: "
                                              : " endpoints, which the rule matches too: ") +
                         names(covered),
                     "select endpoints by label; except the cluster's own addresses from the block",
                     {},
                     ""});
  }

  void look_at_ports(const policies::Policy& policy, const policies::Rule& rule, const Endpoints& receivers) {
    // Some kinds name a port and no protocol: one of several with that name is enough.
    std::map<std::string, std::vector<policies::PortMatch>> names_meant;
    for (const policies::PortMatch& port : rule.ports)
      if (!port.name.empty()) names_meant[port.name].push_back(port);
    if (receivers.empty()) return;
    std::size_t unborne = 0;
    for (const auto& [name, ports] : names_meant) {
      std::set<std::string> others;
      bool borne = false;
      for (const std::uint32_t number : receivers)
        for (const policies::NamedPort& each : cluster_.endpoints[number].ports) {
          for (const policies::PortMatch& port : ports)
            borne = borne || (each.name == name && each.protocol == port.protocol);
          others.insert(std::string(policies::name(each.protocol)) + "/" + each.name);
        }
      if (borne) continue;
      ++unborne;
      const std::vector<std::string> words(others.begin(), others.end());
      findings_.add(
          {Check::kUnbornePort,
           rule.origin,
           object_of(policy, rule),
           "none of the " + std::to_string(receivers.size()) + " receivers (" + names(receivers) +
               ") bears a port named " +
               (ports.size() == 1 ? policies::describe(ports[0]) : "'" + name + "'"),
           words.empty() ? "name a number: they declare no ports" : "they bear " + line(words, kNamesShown),
           {},
           ""});
    }
    const bool names_only = std::all_of(rule.ports.begin(), rule.ports.end(),
                                        [](const policies::PortMatch& port) { return !port.name.empty(); });
    if (unborne != 0 && unborne == names_meant.size() && names_only) without_ports_.insert(&rule);
  }

  void look_at_any(const policies::Policy& policy, const policies::Rule& rule, const Endpoints& receivers) {
    if (!rule.all_ports || rule.action != policies::Action::kAllow || receivers.empty()) return;
    std::set<std::string> declared;
    for (const std::uint32_t number : receivers) {
      if (cluster_.endpoints[number].ports.empty()) return;
      for (const policies::NamedPort& port : cluster_.endpoints[number].ports)
        declared.insert(std::string(policies::name(port.protocol)) + "/" + std::to_string(port.port));
    }
    if (declared.size() > kPortsWorthNaming) return;
    const std::vector<std::string> words(declared.begin(), declared.end());
    findings_.add({Check::kAnyPort,
                   rule.origin,
                   object_of(policy, rule),
                   "allows every port, where the receivers (" + names(receivers) + ") declare " +
                       line(words, kPortsWorthNaming) + " only",
                   "ports: [" + line(words, kPortsWorthNaming) + "]",
                   {},
                   ""});
  }

  /// The compiler's own: two policies of one priority, whose order the APIs leave open.
  void look_at(const compile::Conflict& conflict, const image::View& view) {
    const auto slot = static_cast<image::ProtocolSlot>(conflict.protocol);  // both are in one order
    const Packet packet{{conflict.source}, {conflict.destination}, slot, conflict.port};
    findings_.add({Check::kConflict, conflict.winner,
                   "two policies:", conflict.message.substr(0, conflict.message.rfind("; ")),
                   "give them different priorities", packet, packet_text(view, packet)});
  }

  void look_at_invariants(const Compiled& whole) {
    const Proof proof = prove({.cluster = cluster_,
                               .policies = set_,
                               .posture = posture_,
                               .subjects = compile::Subjects::kEvery,
                               .limits = {.section_bytes_max = image::kSectionBytesMax}},
                              whole.output);
    for (const Breach& breach : proof.breaches)
      findings_.add({Check::kBrokenInvariant, breach.origin, breach.demand,
                     "is broken: the packet is " + breach.answer, "", breach.witness, breach.packet});
    for (const DemandPlace& place : proof.vacuous) {
      const policies::Invariant& invariant = set_.invariants[place.invariant];
      const policies::Demand& demand = invariant.demands[place.demand];
      findings_.add({Check::kVacuousInvariant,
                     demand.origin,
                     describe(invariant, demand),
                     "means no packet: " + nobody_text(demand),
                     "correct the ends; of no packets, everything is true",
                     {},
                     ""});
    }
  }

  /// Which end is nobody, where one is by itself.
  std::string nobody_text(const policies::Demand& demand) {
    for (const auto& [end, peers] : {std::pair{"from", &demand.from}, std::pair{"to", &demand.to}}) {
      policies::Rule words;
      words.peers = *peers;
      if (nobody(words)) return "nobody is '" + describe_peers(words) + "' (" + end + ")";
    }
    return "none goes between these ends on these ports";
  }

  /// Isolated for egress, allowed something, and no DNS: names cannot be resolved, which is seldom meant.
  void look_for_dns(const image::View& view) {
    const Space space(view, view);
    std::map<std::uint32_t, std::set<std::string>> lacking[2];  // by isolating policy; [0] udp, [1] tcp alone
    std::map<std::uint32_t, int> known;  // by subject class: 0 fine, 1 no udp, 2 no tcp
    const auto judged = [&](std::uint32_t subject) {
      bool udp = false, tcp = false, anything = false;
      for (const AddressClass& peer : space.addresses()) {
        const std::uint32_t column = view.records[peer.record[kAfter]].peer[image::kEgress];
        const auto allows = [&](std::uint32_t port_class) {
          return (image::decide(view, image::kEgress, subject, column, port_class) & image::kAllowBit) != 0;
        };
        udp = udp || allows(image::port_class(view, image::kUdp, 53));
        tcp = tcp || allows(image::port_class(view, image::kTcp, 53));
        if ((view.records[peer.record[kAfter]].flags & image::kRecordNode) != 0) continue;
        for (const PortClass& port : space.ports()) anything = anything || allows(port.number[kAfter]);
      }
      return !anything || (udp && tcp) ? 0 : udp ? 2 : 1;
    };
    for (const AddressClass& each : space.addresses())
      for (const Member& member : each.members) {
        const std::uint32_t subject = view.records[each.record[kAfter]].subject[image::kEgress];
        if (subject == image::kNoSubject) continue;
        const image::SubjectClass& traits = view.subjects[image::kEgress][subject];
        if (traits.isolating_count == 0) continue;
        const auto [place, is_new] = known.try_emplace(subject, 0);
        if (is_new) place->second = judged(subject);
        if (place->second != 0)
          lacking[place->second - 1][view.isolating[traits.isolating_first]].insert(
              who(view, member.address));
      }
    for (const bool tcp_only : {false, true})
      for (const auto& [number, endpoints] : lacking[tcp_only]) {
        const image::Policy& policy = view.policies[number];
        const std::vector<std::string> words(endpoints.begin(), endpoints.end());
        const auto found =
            std::find_if(set_.policies.begin(), set_.policies.end(), [&](const policies::Policy& each) {
              return each.kind == view.policy_text(policy.kind) &&
                     each.name == view.policy_text(policy.name) &&
                     each.namespace_name == view.policy_text(policy.namespace_name);
            });
        if (found == set_.policies.end()) continue;
        findings_.add(
            {Check::kNoDns,
             found->origin,
             object_of(*found),
             tcp_only ? "isolates egress, and nothing allows tcp/53: answers too large for udp fail for " +
                            line(words, kNamesShown)
                      : "isolates egress, and nothing allows udp/53: names cannot be resolved by " +
                            line(words, kNamesShown),
             tcp_only ? "allow tcp/53 beside udp/53" : "allow udp/53 and tcp/53 to the cluster's DNS",
             {},
             ""});
      }
  }

  /// The rules that decide about some packet, by policy and place.
  std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, std::string>> deciding(
      const image::View& view) {
    const Space space(view, view);
    std::vector<bool> looked_at(view.policy->rule_sets), decides(view.policy->rules.count);
    for (const AddressClass& from : space.addresses())
      for (const AddressClass& to : space.addresses()) {
        const image::Record &source = view.records[from.record[kAfter]],
                            &destination = view.records[to.record[kAfter]];
        const auto look = [&](std::uint32_t direction, std::uint32_t subject, std::uint32_t peer) {
          if (subject == image::kNoSubject) return;
          const std::uint32_t columns = view.policy->peer_classes[direction];
          const std::uint32_t set = view.matrix[direction][std::uint64_t{subject} * columns + peer];
          if (looked_at[set] || !apart(from, to)) return;
          looked_at[set] = true;
          for (const PortClass& port : space.ports())
            decides[image::decide(view, direction, subject, peer, port.number[kAfter]) & ~image::kAllowBit] =
                true;
        };
        look(image::kEgress, source.subject[image::kEgress], destination.peer[image::kEgress]);
        look(image::kIngress, destination.subject[image::kIngress], source.peer[image::kIngress]);
      }
    std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, std::string>> result;
    for (std::uint32_t number = 1; number < decides.size(); ++number) {
      if (!decides[number]) continue;
      const image::Rule& rule = view.rules[number];
      result.emplace(policy_key(view, rule.policy), rule.line, rule.column, view.policy_text(rule.name));
    }
    return result;
  }

  static std::string policy_key(const image::View& view, std::uint32_t number) {
    const image::Policy& policy = view.policies[number];
    return std::string(view.policy_text(policy.kind)) + ' ' +
           std::string(view.policy_text(policy.namespace_name)) + '/' +
           std::string(view.policy_text(policy.name));
  }

  void look_at_effects(const Compiled& whole, const LintLimits& limits, Linted& result) {
    const std::vector<Written> rules = written_rules(set_, subjects_);
    const std::vector<Outcome> outcomes =
        effects(cluster_, set_, posture_, whole, rules, limits.compiles_max);
    const auto decide = deciding(whole.view);
    result.rules = rules.size();
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const policies::Policy& policy = set_.policies[rules[i].policy];
      const policies::Rule& rule = *rules[i].rule;
      // A policy that governs nobody, and peers that are nobody, have been found already.
      if (rules[i].governs_nobody() || rule.peers.empty()) continue;
      if (policy.mode == policies::Mode::kAudit) continue;  // its rules are meant to have no effect
      const Outcome& outcome = outcomes[i];
      if (outcome.effect == Effect::kUnknown) ++result.unproven;
      if (outcome.effect == Effect::kNone && !nobody(rule) && !without_ports_.contains(&rule)) {
        const std::string key = policy.kind + ' ' + policy.namespace_name + '/' + policy.name;
        const bool decides = decide.contains({key, rule.origin.line, rule.origin.column, rule.name});
        findings_.add({decides ? Check::kRedundant : Check::kShadowed,
                       rule.origin,
                       object_of(policy, rule),
                       decides ? "has no effect: without it, every packet is judged as before"
                               : "has no effect: it decides about no packet, others always decide first",
                       "remove it",
                       {},
                       ""});
      }
      if (outcome.effect == Effect::kSome && rule.action == policies::Action::kDeny &&
          outcome.other_rule != 0 && outcome.other_tier == tier_of(policy.tier))
        findings_.add({Check::kConflict, rule.origin, object_of(policy, rule),
                       "denies what " + outcome.other_text + " allows", "", outcome.witness,
                       packet_text(whole.view, outcome.witness)});
    }
  }

  const policies::Cluster& cluster_;
  const policies::PolicySet& set_;
  const policies::Posture posture_;
  std::map<std::string, const policies::Labels*> namespaces_;
  std::map<policies::EndpointSelector, Endpoints> meeting_;
  Subjects subjects_;
  std::set<const policies::Rule*> without_ports_;  // found already: no receiver bears any of their ports
  Findings findings_;
};

}  // namespace

std::string_view name(Check check) {
  static constexpr std::string_view kNames[] = {
      "unmet-policy", "empty-selector", "unborne-port",     "block-covers-endpoints", "any-port", "no-dns",
      "shadowed",     "redundant",      "broken-invariant", "vacuous-invariant",      "conflict"};
  return kNames[static_cast<std::size_t>(check)];
}

Linted lint(const policies::Cluster& cluster, const policies::PolicySet& set,
            const policies::Posture& posture, const LintLimits& limits) {
  return Linter(cluster, set, posture).run(limits);
}

}  // namespace bulkhead::analysis
