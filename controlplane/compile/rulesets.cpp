#include "controlplane/compile/rulesets.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "dataplane/image/format.h"

namespace bulkhead::compile {
namespace {

/// Of one pair of policies some disputes are kept, because an address to show them with may be wanting.
constexpr std::size_t kDisputesMax = 1000, kPairDisputesMax = 16, kDisputePeersMax = 8;

/// The rules of one subject that share a peer list, in order.
struct ListRules {
  std::uint32_t list = 0;
  std::vector<std::uint32_t> rules;  // into Rules::rules
  bool names_used = false;           // some rule's ports have names
};

class RowBuilder {
 public:
  RowBuilder(std::uint32_t direction, const Rules& rules, const Ports& ports, const ClassesDirection& classes,
             RuleSets& result, const Limits& limits)
      : direction_(direction),
        rules_(rules),
        governed_(rules.directions[direction]),
        ports_(ports),
        classes_(classes),
        decisions_(rules, ports, result.decisions, result.passed, result.audited, limits),
        state_of_(classes.peers.size()) {
    for (std::uint32_t peer = 0; peer < classes.peers.size(); ++peer) {
      if (classes.peers[peer].resolved != 0) named_peers_.push_back(peer);
      if (classes.peers[peer].kind == PeerKind::kNode) node_peers_.push_back(peer);
      if (classes.peers[peer].quarantine != kNone) quarantined_peers_.push_back(peer);
    }
  }

  void build(const Subject& subject, std::span<std::uint32_t> row) {
    if (subject.quarantine != kNone) {
      std::fill(row.begin(), row.end(),
                denial(rules_.quarantines[subject.quarantine].denies_all[direction_]));
      return;
    }
    collect_rules(subject);
    split_peers(subject);
    if (touched_.size() < row.size()) std::fill(row.begin(), row.end(), rule_set_for(subject, 0));
    rule_set_of_.assign(states_.size(), kNone);
    for (const std::uint32_t peer : touched_) {
      std::uint32_t& rule_set = rule_set_of_[state_of_[peer]];
      if (rule_set == kNone) rule_set = rule_set_for(subject, state_of_[peer]);
      row[peer] = rule_set;
    }
    for (const std::uint32_t peer : quarantined_peers_)
      row[peer] = denial(rules_.quarantines[classes_.peers[peer].quarantine].denies_it[direction_]);
  }

 private:
  /// Peers that no rule of the subject looked at so far tells apart.
  struct State {
    std::uint32_t parent = kNone;
    std::uint32_t group = kNone;  // into groups_: matched beside what the parent matched
    std::uint32_t resolved = 0;
    bool own_node = false;
  };

  void collect_rules(const Subject& subject) {
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

  void split_peers(const Subject& subject) {
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

  bool is_own_node(const Subject& subject, std::uint32_t peer) const {
    return subject.node != kNone && classes_.peers[peer].node == subject.node;
  }

  void begin_split() { child_of_.assign(states_.size(), kNone); }

  /// Moves the peer to the child of its state; within one split all peers of a state move to the same child.
  template <typename Change>
  void split(std::uint32_t peer, Change change) {
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
  void split_by_names(std::uint32_t peer) {
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

  std::uint32_t rule_set_for(const Subject& subject, std::uint32_t state) {
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
    if (number == rule_set_numbers_.size()) {
      rule_set_numbers_.push_back(decisions_.decide(matching_, enforced, audited, resolved));
      keep_disputes(number);
    }
    note_disputes(number, subject, asked);
    return rule_set_numbers_[number];
  }

  /// Of a rule that is asked before all others.
  std::uint32_t denial(std::uint32_t rule) {
    constexpr Decisions::Ground kNothing{0, false};
    return decisions_.decide({&rule, 1}, kNothing, kNothing, 0);
  }

  /// What the latest decision met: one dispute of each pair of policies, on ports that a packet can bear.
  void keep_disputes(std::uint32_t number) {
    std::vector<Dispute> kept;
    std::set<PolicyPair> pairs;
    for (const Dispute& dispute : decisions_.disputes())
      if (!pairs.contains(pair_of(dispute)) && ports_.example(dispute.port_class)) {
        pairs.insert(pair_of(dispute));
        kept.push_back(dispute);
      }
    if (!kept.empty()) disputes_of_.emplace(number, std::move(kept));
  }

  void note_disputes(std::uint32_t number, const Subject& subject, std::uint32_t state) {
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

  using PolicyPair = std::pair<std::uint32_t, std::uint32_t>;
  PolicyPair pair_of(const Dispute& dispute) const {
    return std::minmax({rules_.rules[dispute.winner].policy, rules_.rules[dispute.loser].policy});
  }

 public:
  /// Names' states of an earlier row are void in the next.
  void next_row() { ++row_number_; }

  std::vector<MetDispute> take_disputes() { return std::move(disputes_); }

 private:
  struct NamedState {
    std::uint32_t row = 0, state = 0;
  };

  const std::uint32_t direction_;
  const Rules& rules_;
  const GovernedDirection& governed_;
  const Ports& ports_;
  const ClassesDirection& classes_;
  Decisions decisions_;
  std::vector<std::uint32_t> state_of_;  // by peer; 0 for all but touched_
  std::vector<std::uint32_t> touched_, matched_;
  std::vector<std::uint32_t> named_peers_, node_peers_, quarantined_peers_;

  std::vector<ListRules> groups_;
  std::vector<std::uint32_t> group_of_;  // by peer list
  std::vector<std::uint32_t> for_everyone_;
  bool names_used_for_everyone_ = false;
  std::vector<State> states_;
  std::vector<std::uint32_t> child_of_, rule_set_of_;
  std::unordered_map<std::uint64_t, NamedState> named_states_;
  std::uint32_t row_number_ = 1;

  ListTable known_;  // rules and what their names mean -> rule_set_numbers_
  std::vector<std::uint32_t> rule_set_numbers_, matching_, key_;
  std::vector<MetDispute> disputes_;
  std::unordered_map<std::uint32_t, std::vector<Dispute>> disputes_of_;  // by number in known_
  std::map<PolicyPair, std::size_t> kept_of_;
};

}  // namespace

RuleSets build_rule_sets(const Rules& rules, const Ports& ports, const Classes& classes,
                         const Limits& limits) {
  RuleSets result;
  for (std::uint32_t direction = 0; direction < 2; ++direction) {
    const auto& side = classes.directions[direction];
    MatrixBuilder matrix(side, limits.work_bytes_max);
    RowBuilder builder(direction, rules, ports, side, result, limits);
    std::vector<std::uint32_t> row(side.peers.size());
    for (const Subject& subject : side.subjects) {
      builder.next_row();
      builder.build(subject, row);
      matrix.add(row);
    }
    result.disputes[direction] = builder.take_disputes();
    result.matrices[direction] = std::move(matrix).finish();
  }
  return result;
}

}  // namespace bulkhead::compile
