// One row after another: which of a subject's rules match each peer.
//
// A row starts with all peers alike and splits them by each distinct peer list of the rules that govern the subject
// (partition refinement), so its cost follows what those lists match, not rules times peers. Peers left together see the
// same rules: a *combination*, which is decided once however often it comes about.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "controlplane/compile/classes.h"
#include "controlplane/compile/decisions.h"
#include "controlplane/compile/intern.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rules.h"

namespace bulkhead::compile {

/// Where decisions go: RuleSets says what is in each.
struct Answers {
  ListTable &decisions, &passed, &audited;
};

/// A dispute that a packet can meet: some subject of the class with a peer of one of the classes.
struct MetDispute {
  Dispute dispute;
  std::uint32_t subject = 0;         // class of classes.h
  std::vector<std::uint32_t> peers;  // classes of classes.h, a few
};

class RowBuilder {
 public:
  /// Everything outlives this, and ports are settled.
  RowBuilder(std::uint32_t direction, const Rules& rules, const Ports& ports, const ClassesDirection& classes,
             Answers answers, const Limits& limits);

  /// By peer class: a combination. `subject` is one of the classes'. Throws Refused where a table outgrows its bound.
  void build(const Subject& subject, std::span<std::uint32_t> row);

  std::uint32_t combinations() const { return static_cast<std::uint32_t>(rule_sets_.size()); }
  /// The rule set that a combination comes to.
  std::uint32_t rule_set(std::uint32_t combination) const { return rule_sets_[combination]; }
  /// By port class, what a combination would answer without some of its rules, both ascending; nothing where it has none
  /// of them. Valid until the next call.
  std::optional<std::span<const image::Decision>> without(std::uint32_t combination,
                                                          std::span<const std::uint32_t> left_out);

  std::vector<MetDispute> take_disputes() { return std::move(disputes_); }

 private:
  /// The rules of one subject that share a peer list, in order.
  struct ListRules {
    std::uint32_t list = 0;
    std::vector<std::uint32_t> rules;  // into Rules::rules
    bool names_used = false;           // some rule's ports have names
  };
  /// Peers that no rule of the subject looked at so far tells apart.
  struct State {
    std::uint32_t parent = kNone;
    std::uint32_t group = kNone;  // into groups_: matched beside what the parent matched
    std::uint32_t resolved = 0;
    bool own_node = false;
  };
  struct NamedState {
    std::uint32_t row = 0, state = 0;
  };
  using PolicyPair = std::pair<std::uint32_t, std::uint32_t>;

  void collect_rules(const Subject& subject);
  void split_peers(const Subject& subject);
  bool is_own_node(const Subject& subject, std::uint32_t peer) const;
  void begin_split();
  template <typename Change>
  void split(std::uint32_t peer, Change change);
  void split_by_names(std::uint32_t peer);
  std::uint32_t combination_for(const Subject& subject, std::uint32_t state);
  std::uint32_t denial(std::uint32_t rule);
  void keep_disputes(std::uint32_t number);
  void note_disputes(std::uint32_t number, const Subject& subject, std::uint32_t state);
  PolicyPair pair_of(const Dispute& dispute) const;

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
  std::vector<std::uint32_t> child_of_, combination_of_;
  std::unordered_map<std::uint64_t, NamedState> named_states_;  // those of earlier rows are void
  std::uint32_t row_number_ = 0;

  ListTable known_;  // combinations: ground, rules and what their names mean
  std::vector<std::uint32_t> rule_sets_, matching_, key_;
  std::vector<MetDispute> disputes_;
  std::unordered_map<std::uint32_t, std::vector<Dispute>> disputes_of_;  // by combination
  std::map<PolicyPair, std::size_t> kept_of_;
};

}  // namespace bulkhead::compile
