#include "controlplane/compile/decisions.h"

#include <algorithm>
#include <string>

namespace bulkhead::compile {
namespace {

/// Of one rule set; more help nobody.
constexpr std::size_t kDisputesMax = 10'000;

/// Of the answers of one priority, the strongest counts.
int weight(policies::Tier tier, policies::Action action) {
  if (tier == policies::Tier::kMesh) return action == policies::Action::kPass ? 1 : 0;
  switch (action) {
    case policies::Action::kDeny:
      return 2;
    case policies::Action::kPass:
      return 1;
    case policies::Action::kAllow:
      return 0;
  }
  return 0;
}

}  // namespace

std::uint32_t Decisions::decide(RuleList matching, const Ground& enforced, const Ground& audited,
                                std::uint32_t resolved) {
  resolved_ = resolved;
  std::uint32_t audited_row = 0;
  if (rules_.audits) {
    ask_tiers(matching, audited);
    row_.swap(answer_);
    ask_tiers(enforced_of(matching), enforced);
    if (row_ != answer_) audited_row = audited_.intern(row_) + 1;
  } else {
    ask_tiers(matching, enforced);
  }
  if (rules_.passes) {
    row_.clear();
    for (const image::Passed& passed : passed_)
      row_.insert(row_.end(), {passed.mesh, passed.platform, passed.baseline});
    answer_.push_back(passes_.intern(row_));
  }
  if (rules_.audits) answer_.push_back(audited_row);
  const std::uint32_t number = answers_.intern(answer_);
  const std::size_t cells = answers_.items().size() + passes_.items().size() + audited_.items().size();
  if (cells * sizeof(std::uint32_t) > limits_.work_bytes_max)
    throw Refused{"the answers of " + std::to_string(answers_.size()) + " rule sets over " +
                  std::to_string(ports_.class_count()) + " port classes need more than the " +
                  std::to_string(limits_.work_bytes_max) + " bytes a table may have"};
  return number;
}

std::span<const image::Decision> Decisions::ask(RuleList matching, const Ground& enforced,
                                                std::uint32_t resolved) {
  resolved_ = resolved;
  ask_tiers(enforced_of(matching), enforced);
  return answer_;
}

Decisions::RuleList Decisions::enforced_of(RuleList matching) {
  if (!rules_.audits) return matching;
  enforced_.clear();
  for (const std::uint32_t rule : matching)
    if (!rules_.rules[rule].audited) enforced_.push_back(rule);
  return enforced_;
}

void Decisions::ask_tiers(RuleList matching, const Ground& ground) {
  disputes_.clear();
  answer_.assign(ports_.class_count(), ground.otherwise);
  passed_.assign(rules_.passes ? ports_.class_count() : 0, image::Passed{});
  const auto end_of = [&](policies::Tier tier) {
    return static_cast<std::size_t>(std::upper_bound(matching.begin(), matching.end(), tier,
                                                     [&](policies::Tier wanted, std::uint32_t rule) {
                                                       return wanted < rules_.rules[rule].tier;
                                                     }) -
                                    matching.begin());
  };
  const std::size_t mesh_end = end_of(policies::Tier::kMesh);
  const std::size_t platform_end = end_of(policies::Tier::kPlatform);
  const std::size_t application_end = end_of(policies::Tier::kApplication);
  if (!ground.isolated) ask_ordered_tier(matching.subspan(application_end), &image::Passed::baseline);
  ask_application_tier(matching.subspan(platform_end, application_end - platform_end));
  ask_ordered_tier(matching.subspan(mesh_end, platform_end - mesh_end), &image::Passed::platform);
  ask_ordered_tier(matching.first(mesh_end), &image::Passed::mesh);

  // What a tier above answers is nobody's dispute.
  std::erase_if(disputes_, [&](const Dispute& dispute) {
    const std::uint32_t i = dispute.port_class, wanted = dispute.winner + 1;
    return (answer_[i] & ~image::kAllowBit) != wanted &&
           (passed_.empty() || (passed_[i].platform != wanted && passed_[i].baseline != wanted));
  });
}

void Decisions::ask_ordered_tier(RuleList rules, Place place) {
  if (rules.empty()) return;
  tier_.assign(ports_.class_count(), kNone);
  for (std::size_t first = 0, end; first < rules.size(); first = end) {
    const GoverningRule& one = rules_.rules[rules[first]];
    bool alone = true;
    for (end = first; end < rules.size() && rules_.rules[rules[end]].priority == one.priority; ++end)
      alone = alone && rules_.rules[rules[end]].policy == one.policy;
    if (alone)
      ask_policy(rules.subspan(first, end - first), tier_);
    else
      ask_equals(rules.subspan(first, end - first));
  }
  for (std::uint32_t i = 0; i < tier_.size(); ++i) {
    if (tier_[i] == kNone) continue;
    if (rules_.rules[tier_[i]].rule->action != policies::Action::kPass)
      answer(i, tier_[i]);
    else if (!passed_.empty())
      passed_[i].*place = tier_[i] + 1;
  }
}

void Decisions::ask_equals(RuleList rules) {
  group_.assign(tier_.size(), kNone);
  answered_by_.assign(tier_.size(), kNone);
  for (const std::uint32_t rule : rules) {
    const std::uint32_t policy = rules_.rules[rule].policy;
    for (const std::uint32_t i : covered(rule)) {
      if (tier_[i] != kNone || answered_by_[i] == policy) continue;
      answered_by_[i] = policy;
      settle_equals(i, rule);
    }
  }
  for (std::uint32_t i = 0; i < tier_.size(); ++i)
    if (tier_[i] == kNone) tier_[i] = group_[i];
}

void Decisions::settle_equals(std::uint32_t port_class, std::uint32_t rule) {
  std::uint32_t& held = group_[port_class];
  if (held == kNone) {
    held = rule;
    return;
  }
  const policies::Tier tier = rules_.rules[rule].tier;
  const int held_weight = weight(tier, rules_.rules[held].rule->action);
  const int weight_brought = weight(tier, rules_.rules[rule].rule->action);
  if (held_weight == weight_brought) {
    if (!stricter(rule, held)) return;
    for (Dispute& dispute : disputes_)
      if (dispute.port_class == port_class && dispute.winner == held) dispute.winner = rule;
    held = rule;
    return;
  }
  const std::uint32_t loser = held_weight < weight_brought ? held : rule;
  if (held_weight < weight_brought) held = rule;
  if (tier != policies::Tier::kMesh && disputes_.size() < kDisputesMax)
    disputes_.push_back({held, loser, port_class});
}

void Decisions::ask_policy(RuleList rules, std::vector<std::uint32_t>& into) {
  for (const std::uint32_t rule : rules)
    for (const std::uint32_t port_class : covered(rule))
      if (into[port_class] == kNone) into[port_class] = rule;
}

/// Backwards, so that the first among equals stays.
void Decisions::ask_application_tier(RuleList rules) {
  for (const auto action : {policies::Action::kAllow, policies::Action::kDeny})
    for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
      if (rules_.rules[*rule].rule->action != action) continue;
      for (const std::uint32_t port_class : covered(*rule)) {
        const std::uint32_t held = answer_[port_class];
        if (held == 0 || (held & image::kAllowBit) != 0 ||
            rules_.rules[held - 1].tier != policies::Tier::kApplication || !stricter(held - 1, *rule))
          answer(port_class, *rule);
      }
    }
}

/// Of two rules that both deny.
bool Decisions::stricter(std::uint32_t one, std::uint32_t other) const {
  const GoverningRule &a = rules_.rules[one], &b = rules_.rules[other];
  return a.rule->action == policies::Action::kDeny &&
         rules_.policies[a.policy]->established > rules_.policies[b.policy]->established;
}

/// Whoever passed below was not asked then.
void Decisions::answer(std::uint32_t port_class, std::uint32_t rule) {
  const bool allow = rules_.rules[rule].rule->action == policies::Action::kAllow;
  answer_[port_class] = (rule + 1) | (allow ? image::kAllowBit : 0);
  if (!passed_.empty()) passed_[port_class] = {};
}

std::span<const std::uint32_t> Decisions::covered(std::uint32_t rule) {
  const std::uint32_t ports = rules_.rules[rule].ports;
  if (ports_.everything(ports)) {
    for (auto next = static_cast<std::uint32_t>(every_class_.size()); next < ports_.class_count(); ++next)
      every_class_.push_back(next);
    return every_class_;
  }
  covered_.clear();
  ports_.classes(ports, resolved_, covered_);
  return covered_;
}

}  // namespace bulkhead::compile
