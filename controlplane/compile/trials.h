// What a rule is good for: the packets that would be judged otherwise without it.
//
// A compile for each rule would take hours for a large set. But a rule leaves its mark in the combinations (rows.h) that
// have it, and in no others. So all rows are built once, and a rule is tried where it governs: combinations that
// allow the same ports without it change nothing; where one does not, a packet on which the other end allows what differs
// shows it. Pairs of ends are asked in groups that the rows cannot tell apart, so an answer speaks of every packet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <variant>
#include <vector>

#include "controlplane/compile/blocks.h"
#include "controlplane/compile/census.h"
#include "controlplane/compile/classes.h"
#include "controlplane/compile/compile.h"
#include "controlplane/compile/merge.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/profiles.h"
#include "controlplane/compile/rows.h"
#include "controlplane/compile/rulesets.h"
#include "controlplane/compile/selectors.h"

namespace bulkhead::compile {

struct Trial {
  enum class Effect : std::uint8_t { kNothing, kSomething, kUnknown };
  Effect effect = Effect::kNothing;
  // The packet that was wanted, if there is one: the first by the addresses of source and destination, world last.
  policies::AddressBytes source{}, destination{};
  std::vector<std::uint32_t> port_classes;  // of the image, ascending; empty: there is none
  std::vector<std::uint32_t> allowed_by;    // by those: a rule of the image
};

class Trials {
 public:
  /// What `input` refers to outlives this. A try that would take more than what is left of `steps` is kUnknown.
  static std::variant<std::unique_ptr<Trials>, Refusal> prepare(const Input& input, std::uint64_t steps);

  /// Without all of these rules of the input at once. The packet wanted is one that is denied by them, and that a rule of
  /// `tier` allows without them: the receiver's end's, else the sender's.
  Trial without(std::span<const policies::Rule* const> rules, std::optional<policies::Tier> tier);

 private:
  using Bits = std::vector<std::uint64_t>;  // by port class: allowed

  /// An address that stands for a group, and whose it is.
  struct Example {
    policies::AddressBytes address;
    std::uint32_t owner;  // kNone: nobody's
  };
  /// Addresses that the rows cannot tell apart in one place of a packet: [0] as destinations, by the subject class of ingress
  /// and the peer class of egress; [1] as sources, by the other two.
  struct Group {
    std::uint32_t subject, peer;
    std::vector<Example> examples;  // of each family the first, and the first of another owner
  };
  struct Without {
    Bits allows;
    std::vector<image::Decision> decisions;
  };
  struct Side {
    std::unique_ptr<RowBuilder> builder;
    std::vector<PackedRow> rows;                          // by subject class: combinations by peer class
    std::vector<std::vector<std::uint32_t>> governed_by;  // by clause: subject classes
    std::vector<Group> groups;                            // by first address, world last
    std::vector<std::vector<std::uint32_t>> groups_of;    // by subject class
    std::vector<std::uint32_t> left_out;                  // rules, ascending
    std::vector<std::uint32_t> now;    // by combination: kUntried, kSame, or into `without`
    std::vector<std::uint32_t> tried;  // combinations of which `now` says something
    std::vector<Without> without;
  };

  explicit Trials(const Input& input);
  void build_rows(std::uint32_t direction);
  void note_allowed();
  void index_clauses(std::uint32_t direction);
  void group_addresses();
  void add_example(std::uint32_t direction, const Group& key, const Example& example);

  void leave_out(std::span<const policies::Rule* const> rules);
  std::vector<std::uint32_t> affected(std::uint32_t direction) const;
  /// The place in `without` of what the combination would be; kSame.
  std::uint32_t try_combination(std::uint32_t direction, std::uint32_t combination);
  bool may_change(std::uint32_t direction, std::uint32_t subject);
  /// Whether some port is judged otherwise between the groups.
  bool differs(const Group& source, const Group& destination);
  bool find_any(std::uint32_t direction);
  void find_first_source(std::uint32_t subject);
  void find_first_destination(std::uint32_t subject);
  void look_at(std::uint32_t source, std::uint32_t destination);
  void spend(std::uint64_t steps);

  struct End {
    const std::uint64_t* before;
    const std::uint64_t* after;
  };
  End end(std::uint32_t direction, std::uint32_t subject, std::uint32_t peer);
  /// By port class, without the rules left out; nothing where nobody judges.
  std::span<const image::Decision> decisions(std::uint32_t direction, std::uint32_t subject,
                                             std::uint32_t peer);

  Input input_;
  Census census_;
  Selectors selectors_;
  Ports ports_;
  Rules rules_;
  Blocks blocks_;
  Profiles profiles_;
  Classes classes_;
  RuleSets answers_;
  Side sides_[2];
  std::size_t words_ = 0;
  Bits allowed_;  // by rule set, `words_` each; ports that no packet bears are left out
  Bits all_;
  std::unordered_map<const policies::Rule*, std::uint32_t> number_of_;  // into Rules::rules
  std::vector<std::uint32_t> clause_of_;                                // by rule
  std::unordered_map<std::uint64_t, std::uint32_t> group_at_[2];
  std::uint64_t steps_ = 0;
  policies::Tier tier_ = policies::Tier::kApplication;            // wanted
  bool differs_ = false;                                          // some packet does
  std::optional<std::pair<std::uint32_t, std::uint32_t>> first_;  // groups of the packet wanted
  Trial found_;                                                   // the packet itself
};

}  // namespace bulkhead::compile
