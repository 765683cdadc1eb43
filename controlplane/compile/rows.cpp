#include "controlplane/compile/rows.h"

#include <algorithm>
#include <set>

#include "dataplane/image/format.h"

namespace bulkhead::compile {
namespace {

/// Of one pair of policies some disputes are kept, because an address to show them with may be wanting.
constexpr std::size_t kDisputesMax = 1000, kPairDisputesMax = 16, kDisputePeersMax = 8;

}  // namespace

RowBuilder::RowBuilder(std::uint32_t direction, const Rules& rules, const Ports& ports,
                       const ClassesDirection& classes, Answers answers, const Limits& limits)
    : direction_(direction),
      rules_(rules),
      governed_(rules.directions[direction]),
      ports_(ports),
      classes_(classes),
      decisions_(rules, ports, answers.decisions, answers.passed, answers.audited, limits),
      state_of_(classes.peers.size()) {
  for (std::uint32_t peer = 0; peer < classes.peers.size(); ++peer) {
    if (classes.peers[peer].resolved != 0) named_peers_.push_back(peer);
    if (classes.peers[peer].kind == PeerKind::kNode) node_peers_.push_back(peer);
    if (classes.peers[peer].quarantine != kNone) quarantined_peers_.push_back(peer);
  }
}

void RowBuilder::build(const Subject& subject, std::span<std::uint32_t> row) {
  ++row_number_;
  if (subject.quarantine != kNone) {
    std::fill(row.begin(), row.end(), denial(rules_.quarantines[subject.quarantine].denies_all[direction_]));
    return;
  }
  collect_rules(subject);
  split_peers(subject);
  if (touched_.size() < row.size()) std::fill(row.begin(), row.end(), combination_for(subject, 0));
  combination_of_.assign(states_.size(), kNone);
  for (const std::uint32_t peer : touched_) {
    std::uint32_t& combination = combination_of_[state_of_[peer]];
    if (combination == kNone) combination = combination_for(subject, state_of_[peer]);
    row[peer] = combination;
  }
  for (const std::uint32_t peer : quarantined_peers_)
    row[peer] = denial(rules_.quarantines[classes_.peers[peer].quarantine].denies_it[direction_]);
}

void RowBuilder::collect_rules(const Subject& subject) {
  for (const ListRules& group : groups_) group_of_[group.list] = kNone;
  groups_.clear();
  for_everyone_.clear();
  names_used_for_everyone_ = false;
  group_of_.resize(governed_.peers.size(), kNone);
  for (const std::uint32_t number : governed_.clause_sets[subject.clauses]) {
    const GoverningClause& clause = governed_.clauses[number];
    if (subject.isolated && clause.tier == policies::Tier::kBaseline) continue;  // asked by neither verdict
    for (std::uint32_t rule = clause.rules_first; rule < clause.rules_first + clause.rules_count; ++rule) {
      const bool names_used = !ports_.names(rules_.rules[rule].ports).empty();
      const std::uint32_t list = rules_.rules[rule].peers;
      if (governed_.peers[list].everyone) {
        for_everyone_.push_back(rule);
        names_used_for_everyone_ |= names_used;
        continue;
      }
      if (group_of_[list] == kNone) {
        group_of_[list] = static_cast<std::uint32_t>(groups_.size());
        groups_.push_back({list, {}, false});
      }
      groups_[group_of_[list]].rules.push_back(rule);
      groups_[group_of_[list]].names_used |= names_used;
    }
  }
}

void RowBuilder::split_peers(const Subject& subject) {
  for (const std::uint32_t peer : touched_) state_of_[peer] = 0;
  touched_.clear();
  states_.assign(1, State{});
  for (std::uint32_t group = 0; group < groups_.size(); ++group) {
    const std::uint32_t list = groups_[group].list;
    begin_split();
    classes_.matched.matching(governed_.peers[list], matched_);
    for (const std::uint32_t peer : matched_) split(peer, [&](State& state) { state.group = group; });
    if (!governed_.peers[list].local_node) continue;
    // A node's address may be in the list already, by a block.
    for (const std::uint32_t peer : node_peers_)
      if (is_own_node(subject, peer) && !std::binary_search(matched_.begin(), matched_.end(), peer))
        split(peer, [&](State& state) { state.group = group; });
  }
  if (subject.reaches_own_node) {
    begin_split();
    for (const std::uint32_t peer : node_peers_)
      if (is_own_node(subject, peer)) split(peer, [](State& state) { state.own_node = true; });
  }
  if (direction_ == 0) return;  // names are the subject's own then
  if (names_used_for_everyone_)
    for (const std::uint32_t peer : named_peers_) split_by_names(peer);
  for (const ListRules& group : groups_) {
    if (!group.names_used) continue;
    classes_.matched.matching(governed_.peers[group.list], matched_);
    for (const std::uint32_t peer : matched_) split_by_names(peer);
  }
}

bool RowBuilder::is_own_node(const Subject& subject, std::uint32_t peer) const {
  return subject.node != kNone && classes_.peers[peer].node == subject.node;
}

void RowBuilder::begin_split() {
  child_of_.assign(states_.size(), kNone);
}

/// Moves the peer to the child of its state; within one split all peers of a state move to the same child.
template <typename Change>
void RowBuilder::split(std::uint32_t peer, Change change) {
  const std::uint32_t parent = state_of_[peer];
  if (parent == 0) touched_.push_back(peer);
  if (child_of_[parent] == kNone) {
    child_of_[parent] = static_cast<std::uint32_t>(states_.size());
    State child{parent, kNone, 0, states_[parent].own_node};
    change(child);
    states_.push_back(child);
  }
  state_of_[peer] = child_of_[parent];
}

/// A peer with names leaves its state for one that it shares with those on which the names mean the same.
void RowBuilder::split_by_names(std::uint32_t peer) {
  const std::uint32_t parent = state_of_[peer], resolved = classes_.peers[peer].resolved;
  if (resolved == 0 || states_[parent].resolved != 0) return;  // nothing to tell, or told already
  if (parent == 0) touched_.push_back(peer);
  auto& child = named_states_[std::uint64_t{parent} << 32 | resolved];
  if (child.row != row_number_) {
    child = {row_number_, static_cast<std::uint32_t>(states_.size())};
    states_.push_back({parent, kNone, resolved, states_[parent].own_node});
  }
  state_of_[peer] = child.state;
}

std::uint32_t RowBuilder::combination_for(const Subject& subject, std::uint32_t state) {
  matching_ = for_everyone_;
  const std::uint32_t resolved = direction_ == 0 ? subject.resolved : states_[state].resolved;
  const bool own_node = states_[state].own_node;
  const std::uint32_t asked = state;
  for (; state != kNone; state = states_[state].parent)
    if (const std::uint32_t group = states_[state].group; group != kNone)
      matching_.insert(matching_.end(), groups_[group].rules.begin(), groups_[group].rules.end());
  std::sort(matching_.begin(), matching_.end());

  const auto ground = [&](bool isolated) {
    const bool allowed = own_node || (!isolated && subject.posture_allows);
    return Decisions::Ground{allowed ? image::kAllowBit : 0, isolated};
  };
  const Decisions::Ground enforced = ground(subject.isolated), audited = ground(subject.isolated_audited);
  key_ = {enforced.otherwise, audited.otherwise, enforced.isolated, audited.isolated};
  for (const std::uint32_t rule : matching_) {
    key_.push_back(rule);
    key_.push_back(ports_.names(rules_.rules[rule].ports).empty() ? 0 : resolved);
  }
  const std::uint32_t number = known_.intern(key_);
  if (number == rule_sets_.size()) {
    rule_sets_.push_back(decisions_.decide(matching_, enforced, audited, resolved));
    keep_disputes(number);
  }
  note_disputes(number, subject, asked);
  return number;
}

std::optional<std::span<const image::Decision>> RowBuilder::without(std::uint32_t combination,
                                                                    std::span<const std::uint32_t> left_out) {
  const auto key = known_[combination];  // as combination_for() made it
  matching_.clear();
  std::uint32_t resolved = 0;
  for (std::size_t i = 4; i < key.size(); i += 2) {
    resolved = std::max(resolved, key[i + 1]);
    if (!std::binary_search(left_out.begin(), left_out.end(), key[i])) matching_.push_back(key[i]);
  }
  if (matching_.size() * 2 + 4 == key.size()) return std::nullopt;
  return decisions_.ask(matching_, {key[0], key[2] != 0}, resolved);
}

/// Of a rule that is asked before all others.
std::uint32_t RowBuilder::denial(std::uint32_t rule) {
  constexpr Decisions::Ground kNothing{0, false};
  key_ = {0, 0, 0, 0, rule, 0};
  const std::uint32_t number = known_.intern(key_);
  if (number == rule_sets_.size()) rule_sets_.push_back(decisions_.decide({&rule, 1}, kNothing, kNothing, 0));
  return number;
}

/// What the latest decision met: one dispute of each pair of policies, on ports that a packet can bear.
void RowBuilder::keep_disputes(std::uint32_t number) {
  std::vector<Dispute> kept;
  std::set<PolicyPair> pairs;
  for (const Dispute& dispute : decisions_.disputes())
    if (!pairs.contains(pair_of(dispute)) && ports_.example(dispute.port_class)) {
      pairs.insert(pair_of(dispute));
      kept.push_back(dispute);
    }
  if (!kept.empty()) disputes_of_.emplace(number, std::move(kept));
}

void RowBuilder::note_disputes(std::uint32_t number, const Subject& subject, std::uint32_t state) {
  if (disputes_of_.empty()) return;
  const auto found = disputes_of_.find(number);
  if (found == disputes_of_.end()) return;
  for (const Dispute& dispute : found->second) {
    if (disputes_.size() >= kDisputesMax || ++kept_of_[pair_of(dispute)] > kPairDisputesMax) continue;
    MetDispute met{dispute, static_cast<std::uint32_t>(&subject - classes_.subjects.data()), {}};
    for (std::uint32_t peer = 0; peer < state_of_.size() && met.peers.size() < kDisputePeersMax; ++peer)
      if (state_of_[peer] == state && classes_.peers[peer].quarantine == kNone) met.peers.push_back(peer);
    disputes_.push_back(std::move(met));
  }
}

RowBuilder::PolicyPair RowBuilder::pair_of(const Dispute& dispute) const {
  return std::minmax({rules_.rules[dispute.winner].policy, rules_.rules[dispute.loser].policy});
}

}  // namespace bulkhead::compile
