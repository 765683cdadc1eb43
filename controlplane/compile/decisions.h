// What a set of matching rules answers, port class by port class: the tiers of policies/model/policy.h.
//
// Written from the weakest to the strongest over one array of answers: what answers without any rule; the
// baseline tier; the application tier, its allow rules before its deny rules; the platform tier; the mesh tier. A tier in
// which order counts is first settled for itself; where it passes, the answer below it stays and the rule that
// passed is noted beside it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "controlplane/compile/intern.h"
#include "controlplane/compile/ports.h"
#include "controlplane/compile/rules.h"
#include "dataplane/image/format.h"

namespace bulkhead::compile {

/// Two rules, of different policies of one tier and priority, that answer a port class differently. Numbers
/// into Rules::rules.
struct Dispute {
  std::uint32_t winner = 0, loser = 0;
  std::uint32_t port_class = 0;
};

class Decisions {
 public:
  /// The tables are those of RuleSets.
  Decisions(const Rules& rules, const Ports& ports, ListTable& answers, ListTable& passed, ListTable& audited,
            const Limits& limits)
      : rules_(rules),
        ports_(ports),
        answers_(answers),
        passes_(passed),
        audited_(audited),
        limits_(limits) {}

  /// What answers without any rule, and whether the subject is isolated, so that the baseline tier is not asked.
  struct Ground {
    image::Decision otherwise = 0;
    bool isolated = false;
  };

  /// The number, in `answers`, of what `matching` (ascending) decides. `audited`: the ground were every audited
  /// policy enforced. Throws Refused where the answers outgrow Limits::work_bytes_max.
  std::uint32_t decide(std::span<const std::uint32_t> matching, const Ground& enforced, const Ground& audited,
                       std::uint32_t resolved);

  /// By port class, what `matching` answers; audited policies are left aside, and nothing is kept. Valid until the next call.
  std::span<const image::Decision> ask(std::span<const std::uint32_t> matching, const Ground& enforced,
                                       std::uint32_t resolved);

  /// What the latest decide() met, in order.
  std::span<const Dispute> disputes() const { return disputes_; }

 private:
  using RuleList = std::span<const std::uint32_t>;
  using Place = std::uint32_t image::Passed::*;

  RuleList enforced_of(RuleList matching);
  /// Fills answer_, passed_ and disputes_.
  void ask_tiers(RuleList matching, const Ground& ground);
  void ask_ordered_tier(RuleList rules, Place place);
  void ask_application_tier(RuleList rules);
  /// The policies of one priority; settles what `tier_` leaves open.
  void ask_equals(RuleList rules);
  /// A policy's first rule that covers the class, among what its equals answer.
  void settle_equals(std::uint32_t port_class, std::uint32_t rule);
  /// The first rule that covers each class that `into` leaves open.
  void ask_policy(RuleList rules, std::vector<std::uint32_t>& into);
  bool stricter(std::uint32_t one, std::uint32_t other) const;
  void answer(std::uint32_t port_class, std::uint32_t rule);
  std::span<const std::uint32_t> covered(std::uint32_t rule);

  const Rules& rules_;
  const Ports& ports_;
  ListTable &answers_, &passes_, &audited_;
  const Limits& limits_;
  std::uint32_t resolved_ = 0;
  std::vector<std::uint32_t> answer_, covered_, row_, enforced_;
  std::vector<image::Passed> passed_;        // empty where no enforced rule passes
  std::vector<std::uint32_t> tier_, group_;  // by port class: a rule, or kNone
  std::vector<std::uint32_t> answered_by_;   // by port class: the latest policy of a group
  std::vector<std::uint32_t> every_class_;
  std::vector<Dispute> disputes_;
};

}  // namespace bulkhead::compile
