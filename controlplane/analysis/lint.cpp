#include "controlplane/analysis/lint.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_set>

#include "controlplane/analysis/invariants.h"
#include "controlplane/analysis/meeting.h"
#include "controlplane/analysis/party.h"
#include "controlplane/analysis/redundancy.h"
#include "policies/model/address.h"

namespace bulkhead::analysis {
namespace {

constexpr std::size_t kNamesShown = 4;
constexpr std::size_t kPortsWorthNaming = 3;

std::string object_of(const policies::Policy& policy) {
  return policies::describe(policy);
}
std::string object_of(const policies::Policy& policy, const policies::Rule& rule) {
  return policies::describe(policy) + ", rule '" + rule.name + "'";
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
      : set_(set), input_(whole_input(cluster, set, posture)) {}

  Linted run(const LintLimits& limits) {
    Linted result;
    auto compiled = compile_checked(input_);
    if (auto* reason = std::get_if<std::string>(&compiled)) {
      result.refusal = std::move(*reason);
      return result;
    }
    const Compiled& whole = *std::get<std::unique_ptr<Compiled>>(compiled);
    meeting_.emplace(input_);
    for (const policies::Policy& policy : set_.policies) look_at(policy);
    const Space space(whole.view, whole.view);
    look_for_dns(space);
    for (const compile::Conflict& conflict : whole.output.conflicts) look_at(conflict, whole.view);
    look_at_invariants(whole);
    look_at_effects(space, limits, result);
    result.findings = findings_.take();
    return result;
  }

 private:
  void look_at(const policies::Policy& policy) {
    bool met = false;
    for (const policies::Clause& clause : policy.clauses) {
      const bool governs = meeting_->meeting(clause.subject).count != 0;
      met = met || governs;
      for (const policies::Rule& rule : clause.rules) {
        if (governs) govern_.insert(&rule);
        look_at(policy, clause, rule);
      }
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
    std::vector<const Met*> receivers;
    bool everyone = false;
    const auto is_nobody = [&](const char* who, const policies::Peer& peer) {
      findings_.add({Check::kEmptySelector,
                     rule.origin,
                     object_of(policy, rule),
                     std::string("no ") + who + " meets '" + policies::describe(peer) + "'",
                     "correct the selector, or remove this peer",
                     {},
                     ""});
    };
    for (const policies::Peer& peer : rule.peers) {
      everyone = everyone || std::holds_alternative<policies::Everyone>(peer);
      if (const auto* selector = std::get_if<policies::EndpointSelector>(&peer)) {
        receivers.push_back(&meeting_->meeting(*selector));
        if (receivers.back()->count == 0) is_nobody("endpoint", peer);
      }
      if (const auto* nodes = std::get_if<policies::NodeSelector>(&peer);
          nodes != nullptr && !meeting_->is_a_node(*nodes))
        is_nobody("node", peer);
      if (const auto* block = std::get_if<policies::IpBlock>(&peer); block != nullptr && !block->world_only)
        look_at_block(policy, rule, *block);
    }
    if (clause.direction == policies::Direction::kIngress)
      receivers = {&meeting_->meeting(clause.subject)};
    else if (everyone)
      receivers = {&meeting_->everyone()};
    const Met met = Meeting::together(receivers);
    look_at_ports(policy, rule, met);
    if (!everyone && !nobody(rule.peers)) look_at_any(policy, rule, met);
  }

  bool nobody(const std::vector<policies::Peer>& peers) {
    return std::all_of(peers.begin(), peers.end(), [&](const policies::Peer& peer) {
      if (const auto* nodes = std::get_if<policies::NodeSelector>(&peer)) return !meeting_->is_a_node(*nodes);
      const auto* selector = std::get_if<policies::EndpointSelector>(&peer);
      return selector != nullptr && meeting_->meeting(*selector).count == 0;
    });
  }

  void look_at_block(const policies::Policy& policy, const policies::Rule& rule,
                     const policies::IpBlock& block) {
    const Met& covered = meeting_->covered(block);
    if (covered.count == 0) return;
    findings_.add({Check::kBlockCovers,
                   rule.origin,
                   object_of(policy, rule),
                   policies::describe(policies::Peer(block)) + " covers " + std::to_string(covered.count) +
                       (covered.count == 1 ? " endpoint, which the rule matches too: "
                                           : " endpoints, which the rule matches too: ") +
                       meeting_->names(covered),
                   "select endpoints by label; except the cluster's own addresses from the block",
                   {},
                   ""});
  }

  void look_at_ports(const policies::Policy& policy, const policies::Rule& rule, const Met& receivers) {
    // Some kinds name a port and no protocol: one of several with that name is enough.
    std::map<std::string, std::vector<policies::PortMatch>> names_meant;
    for (const policies::PortMatch& port : rule.ports)
      if (!port.name.empty()) names_meant[port.name].push_back(port);
    if (receivers.count == 0) return;
    std::size_t unborne = 0;
    for (const auto& [name, ports] : names_meant) {
      const bool borne =
          std::any_of(receivers.ports.begin(), receivers.ports.end(), [&](const policies::NamedPort& each) {
            return each.name == name && std::any_of(ports.begin(), ports.end(), [&](const auto& port) {
                     return each.protocol == port.protocol;
                   });
          });
      if (borne) continue;
      ++unborne;
      std::set<std::string> others;
      for (const policies::NamedPort& each : receivers.ports)
        others.insert(std::string(policies::name(each.protocol)) + "/" + each.name);
      const std::vector<std::string> words(others.begin(), others.end());
      findings_.add(
          {Check::kUnbornePort,
           rule.origin,
           object_of(policy, rule),
           "none of the " + std::to_string(receivers.count) + " receivers (" + meeting_->names(receivers) +
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

  void look_at_any(const policies::Policy& policy, const policies::Rule& rule, const Met& receivers) {
    if (!rule.all_ports || rule.action != policies::Action::kAllow || receivers.count == 0) return;
    if (!receivers.all_declare || receivers.numbers.size() > kPortsWorthNaming) return;
    const std::string declared = line(receivers.numbers, kPortsWorthNaming);
    findings_.add({Check::kAnyPort,
                   rule.origin,
                   object_of(policy, rule),
                   "allows every port, where the receivers (" + meeting_->names(receivers) + ") declare " +
                       declared + " only",
                   "ports: [" + declared + "]",
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
    const Proof proof = prove(input_, whole.output);
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
      if (!nobody(*peers)) continue;
      policies::Rule words;
      words.peers = *peers;
      return "nobody is '" + describe_peers(words) + "' (" + end + ")";
    }
    return "none goes between these ends on these ports";
  }

  /// What a rule set allows of DNS, and whether it allows anything.
  struct Resolving {
    bool udp = false, tcp = false, anything = false;
  };

  static std::vector<Resolving> resolving(const Space& space) {
    const image::View& view = space.view(kAfter);
    const std::uint32_t udp = image::port_class(view, image::kUdp, 53);
    const std::uint32_t tcp = image::port_class(view, image::kTcp, 53);
    std::vector<Resolving> result(view.policy->rule_sets);
    for (std::uint32_t rule_set = 0; rule_set < result.size(); ++rule_set) {
      const auto allows = [&](std::uint32_t port_class) {
        return (image::answer(view, rule_set, port_class) & image::kAllowBit) != 0;
      };
      const bool anything = std::any_of(space.ports().begin(), space.ports().end(),
                                        [&](const PortClass& port) { return allows(port.number[kAfter]); });
      result[rule_set] = {allows(udp), allows(tcp), anything};
    }
    return result;
  }

  bool is_about_nodes(const policies::Peer& peer) const {
    if (std::holds_alternative<policies::LocalNode>(peer) ||
        std::holds_alternative<policies::NodeSelector>(peer))
      return true;
    const auto* block = std::get_if<policies::IpBlock>(&peer);
    if (block == nullptr || block->world_only) return false;
    return std::any_of(
        input_.cluster.nodes.begin(), input_.cluster.nodes.end(), [&](const policies::Node& node) {
          return std::any_of(node.addresses.begin(), node.addresses.end(),
                             [&](const auto& address) { return block->block.contains(address); });
        });
  }

  /// Whether some rule means a node by an answer of its port 53; isolation lets a pod's own node pass by itself.
  bool asks_nodes_for_names() const {
    const auto means = [&](const policies::Rule& rule) {
      return rule.action == policies::Action::kAllow &&
             (rule.all_ports || std::any_of(rule.ports.begin(), rule.ports.end(),
                                            [](const policies::PortMatch& match) {
                                              return match.name.empty() && match.first <= 53 &&
                                                     match.last >= 53;
                                            })) &&
             std::any_of(rule.peers.begin(), rule.peers.end(),
                         [&](const policies::Peer& peer) { return is_about_nodes(peer); });
    };
    for (const policies::Policy& policy : set_.policies)
      for (const policies::Clause& clause : policy.clauses)
        if (clause.direction == policies::Direction::kEgress &&
            std::any_of(clause.rules.begin(), clause.rules.end(), means))
          return true;
    return false;
  }

  /// Isolated for egress, allowed something, and no DNS: names cannot be resolved, which is seldom meant.
  void look_for_dns(const Space& space) {
    const image::View& view = space.view(kAfter);
    std::map<std::uint32_t, std::set<std::string>> lacking[2];  // by isolating policy; [0] udp, [1] tcp alone
    std::map<std::uint32_t, int> known;  // by subject class: 0 fine, 1 no udp, 2 no tcp
    const std::vector<Resolving> resolves = resolving(space);
    // By peer class: whether it is somebody's, and whether somebody's who is no node.
    const std::uint32_t columns = view.policy->peer_classes[image::kEgress];
    std::vector<bool> met(columns), met_beside_nodes(columns);
    for (const AddressClass& each : space.addresses()) {
      const image::Record record = view.record(each.record[kAfter]);
      met[record.peer[image::kEgress]] = true;
      if ((record.flags & image::kRecordNode) == 0) met_beside_nodes[record.peer[image::kEgress]] = true;
    }
    const std::vector<bool>& asked = asks_nodes_for_names() ? met : met_beside_nodes;
    const auto judged = [&](std::uint32_t subject) {
      Resolving all;
      for (std::uint32_t column = 0; column < columns; ++column) {
        const Resolving& each = resolves[image::rule_set(view, image::kEgress, subject, column)];
        all.udp = all.udp || (asked[column] && each.udp);
        all.tcp = all.tcp || (asked[column] && each.tcp);
        all.anything = all.anything || (met_beside_nodes[column] && each.anything);
      }
      return !all.anything || (all.udp && all.tcp) ? 0 : all.udp ? 2 : 1;
    };
    for (const AddressClass& each : space.addresses())
      for (const Member& member : each.members) {
        const std::uint32_t subject = view.record(each.record[kAfter]).subject[image::kEgress];
        if (subject == image::kNoSubject) continue;
        const image::SubjectClass& traits = view.subjects[image::kEgress][subject];
        if (traits.isolating_count == 0) continue;
        const auto [place, is_new] = known.try_emplace(subject, 0);
        if (is_new) place->second = judged(subject);
        if (place->second != 0)
          lacking[place->second - 1][view.isolating[traits.isolating_first]].insert(
              who(view, member.address));
      }
    std::map<std::string, const policies::Policy*> by_key;
    for (const policies::Policy& policy : set_.policies) by_key.emplace(key_of(policy), &policy);
    for (const bool tcp_only : {false, true})
      for (const auto& [number, endpoints] : lacking[tcp_only]) {
        const std::vector<std::string> words(endpoints.begin(), endpoints.end());
        const auto found = by_key.find(policy_key(view, number));
        if (found == by_key.end()) continue;
        const policies::Policy& written = *found->second;
        findings_.add(
            {Check::kNoDns,
             written.origin,
             object_of(written),
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
  static std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, std::string>> deciding(
      const Space& space) {
    const image::View& view = space.view(kAfter);
    std::vector<bool> looked_at(view.policy->rule_sets), decides(view.policy->rules.count);
    for (const std::uint32_t direction : {image::kIngress, image::kEgress}) {
      // Who is of each subject and of each peer class.
      std::vector<std::vector<std::uint32_t>> subjects(view.policy->subject_classes[direction]);
      std::vector<std::vector<std::uint32_t>> peers(view.policy->peer_classes[direction]);
      for (std::uint32_t number = 0; number < space.addresses().size(); ++number) {
        const image::Record record = view.record(space.addresses()[number].record[kAfter]);
        peers[record.peer[direction]].push_back(number);
        if (record.subject[direction] != image::kNoSubject)
          subjects[record.subject[direction]].push_back(number);
      }
      const auto can_meet = [&](std::uint32_t subject, std::uint32_t peer) {
        for (const std::uint32_t one : subjects[subject])
          for (const std::uint32_t other : peers[peer])
            if (apart(space.addresses()[one], space.addresses()[other])) return true;
        return false;
      };
      for (std::uint32_t subject = 0; subject < subjects.size(); ++subject) {
        for (std::uint32_t peer = 0; peer < peers.size(); ++peer) {
          const std::uint32_t rule_set = image::rule_set(view, direction, subject, peer);
          if (looked_at[rule_set] || !can_meet(subject, peer)) continue;
          looked_at[rule_set] = true;
          for (const PortClass& port : space.ports())
            decides[image::decide(view, direction, subject, peer, port.number[kAfter]) & ~image::kAllowBit] =
                true;
        }
      }
    }
    std::set<std::tuple<std::string, std::uint32_t, std::uint32_t, std::string>> result;
    for (std::uint32_t number = 1; number < decides.size(); ++number) {
      if (!decides[number]) continue;
      const image::Rule& rule = view.rules[number];
      result.emplace(policy_key(view, rule.policy), rule.line, rule.column, view.policy_text(rule.name));
    }
    return result;
  }

  static std::string key_of(const policies::Policy& policy) {
    return policy.kind + ' ' + policy.namespace_name + '/' + policy.name;
  }
  static std::string policy_key(const image::View& view, std::uint32_t number) {
    const image::Policy& policy = view.policies[number];
    return std::string(view.policy_text(policy.kind)) + ' ' +
           std::string(view.policy_text(policy.namespace_name)) + '/' +
           std::string(view.policy_text(policy.name));
  }

  void look_at_effects(const Space& space, const LintLimits& limits, Linted& result) {
    const std::vector<Written> rules = written_rules(set_);
    const std::vector<Outcome> outcomes = effects(input_, space, rules, limits.steps_max);
    const auto decide = deciding(space);
    result.rules = rules.size();
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const policies::Policy& policy = set_.policies[rules[i].policy];
      const policies::Rule& rule = *rules[i].rule;
      // A policy that governs nobody, and peers that are nobody, have been found already.
      if (!governs(policy, rules[i]) || rule.peers.empty()) continue;
      if (policy.mode == policies::Mode::kAudit) continue;  // its rules are meant to have no effect
      const Outcome& outcome = outcomes[i];
      if (outcome.effect == Effect::kUnknown) ++result.unproven;
      if (outcome.effect == Effect::kNone && !nobody(rule.peers) && !without_ports_.contains(&rule)) {
        const bool decides =
            decide.contains({key_of(policy), rule.origin.line, rule.origin.column, rule.name});
        findings_.add({decides ? Check::kRedundant : Check::kShadowed,
                       rule.origin,
                       object_of(policy, rule),
                       decides ? "has no effect: without it, every packet is judged as before"
                               : "has no effect: it decides about no packet, others always decide first",
                       "remove it",
                       {},
                       ""});
      }
      if (outcome.disputed)
        findings_.add({Check::kConflict, rule.origin, object_of(policy, rule),
                       "denies what " + outcome.other_text + " allows", "", outcome.disputed,
                       packet_text(space.view(kAfter), *outcome.disputed)});
    }
  }

  bool governs(const policies::Policy& policy, const Written& rule) const {
    return std::any_of(rule.places.begin(), rule.places.end(), [&](const Written::Place& place) {
      return govern_.contains(&policy.clauses[place.clause].rules[place.rule]);
    });
  }

  const policies::PolicySet& set_;
  const compile::Input input_;
  std::optional<Meeting> meeting_;
  std::unordered_set<const policies::Rule*> govern_;  // that somebody is governed by
  std::unordered_set<const policies::Rule*>
      without_ports_;  // found already: no receiver bears any of their ports
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
