#include "controlplane/compile/conflicts.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "controlplane/compile/vacant.h"
#include "policies/model/address.h"

namespace bulkhead::compile {
namespace {

using policies::AddressBytes;

constexpr std::size_t kConflictsMax = 100, kStepsMax = 1000;

struct Witness {
  AddressBytes subject, peer;
  std::string subject_name, peer_name;
};

class Finder {
 public:
  Finder(const Census& census, const Rules& rules, const Blocks& blocks, const Ports& ports,
         const Profiles& profiles, const Classes& classes)
      : census_(census),
        rules_(rules),
        blocks_(blocks),
        ports_(ports),
        profiles_(profiles),
        classes_(classes),
        vacant_(blocks, profiles) {}

  std::optional<Conflict> conflict(std::uint32_t direction, const MetDispute& met) const {
    const auto port = ports_.example(met.dispute.port_class);
    const auto witness = find_witness(direction, met);
    if (!port || !witness) return std::nullopt;
    const GoverningRule& winner = rules_.rules[met.dispute.winner];
    const GoverningRule& loser = rules_.rules[met.dispute.loser];
    const bool ingress = direction == 0;
    Conflict conflict;
    conflict.direction = static_cast<policies::Direction>(direction);
    conflict.winner = winner.rule->origin;
    conflict.loser = loser.rule->origin;
    conflict.source = ingress ? witness->peer : witness->subject;
    conflict.destination = ingress ? witness->subject : witness->peer;
    conflict.protocol = port->first;
    conflict.port = port->second;
    conflict.message = words(winner) + " and " + words(loser) + " disagree at the same priority, " +
                       policies::name(winner.tier).data() + " " + std::to_string(winner.priority) +
                       ", about the " + (ingress ? "ingress" : "egress") + " of " +
                       (ingress ? witness->peer_name + " -> " + witness->subject_name
                                : witness->subject_name + " -> " + witness->peer_name) +
                       " on " + policies::describe({port->first, port->second, port->second, {}}) + ": " +
                       policies::name(winner.rule->action).data() + " counts; give them different priorities";
    return conflict;
  }

 private:
  /// An ingress subject has no say about itself, so its own addresses are no witness.
  std::optional<Witness> find_witness(std::uint32_t direction, const MetDispute& met) const {
    const auto& subject_of = classes_.subject_of[direction];
    for (std::uint32_t who = 0; who < subject_of.size(); ++who) {
      if (subject_of[who] != met.subject) continue;
      const Bound& subject = profiles_.bound[profiles_.seen[who].examples[0]];
      for (const std::uint32_t peer : met.peers)
        for (std::uint32_t other = 0; other < profiles_.seen.size(); ++other) {
          if (classes_.peer_of[direction][other] != peer) continue;
          for (const std::uint32_t example : profiles_.seen[other].examples) {
            if (example == kNone || profiles_.bound[example].member == subject.member) continue;
            const Bound& bound = profiles_.bound[example];
            if (auto witness = between(subject.member, bound.address, name_of(bound))) return witness;
          }
        }
      for (std::uint32_t region = 0; region < blocks_.regions().size(); ++region) {
        const std::uint32_t peer = classes_.world_peer_of[direction][region];
        if (std::find(met.peers.begin(), met.peers.end(), peer) == met.peers.end()) continue;
        if (const auto address = vacant_.in(region, kStepsMax))
          if (auto witness = between(subject.member, *address, policies::format(*address))) return witness;
      }
    }
    return std::nullopt;
  }

  /// Of one family, where the member has an address of the peer's.
  std::optional<Witness> between(std::uint32_t member, const AddressBytes& peer,
                                 std::string peer_name) const {
    const policies::Endpoint& endpoint = *census_.members[member].endpoint;
    for (const AddressBytes& address : endpoint.addresses)
      if (policies::is_v4(address) == policies::is_v4(peer))
        return Witness{address, peer, endpoint.namespace_name + "/" + endpoint.name, std::move(peer_name)};
    return std::nullopt;
  }

  std::string name_of(const Bound& bound) const {
    if (bound.member == kNone) return "node " + std::string(census_.nodes[bound.node].name);
    const policies::Endpoint& endpoint = *census_.members[bound.member].endpoint;
    return endpoint.namespace_name + "/" + endpoint.name;
  }

  std::string words(const GoverningRule& governing) const {
    const policies::Rule& rule = *governing.rule;
    std::string at;
    if (!rule.origin.file.empty())
      at = " (" + rule.origin.file + ":" + std::to_string(rule.origin.line) + ")";
    return policies::describe(*rules_.policies[governing.policy]) + ", rule '" + rule.name + "'" + at + ", " +
           policies::name(rule.action).data();
  }

  const Census& census_;
  const Rules& rules_;
  const Blocks& blocks_;
  const Ports& ports_;
  const Profiles& profiles_;
  const Classes& classes_;
  const Vacant vacant_;
};

}  // namespace

std::vector<Conflict> find_conflicts(const Census& census, const Rules& rules, const Blocks& blocks,
                                     const Ports& ports, const Profiles& profiles, const Classes& classes,
                                     const RuleSets& rule_sets) {
  if (rule_sets.disputes[0].empty() && rule_sets.disputes[1].empty()) return {};
  const Finder finder(census, rules, blocks, ports, profiles, classes);
  std::vector<Conflict> conflicts;
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    std::set<std::pair<std::uint32_t, std::uint32_t>> told;  // pairs of policies
    for (const auto& [dispute, subject, peers] : rule_sets.disputes[direction]) {
      const std::pair pair{rules.rules[dispute.winner].policy, rules.rules[dispute.loser].policy};
      if (conflicts.size() >= kConflictsMax || told.contains(std::minmax(pair.first, pair.second))) continue;
      auto conflict = finder.conflict(direction, {dispute, subject, peers});
      if (!conflict) continue;
      conflicts.push_back(std::move(*conflict));
      told.insert(std::minmax(pair.first, pair.second));
    }
  }
  return conflicts;
}

}  // namespace bulkhead::compile
