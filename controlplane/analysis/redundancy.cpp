#include "controlplane/analysis/redundancy.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "controlplane/analysis/party.h"

namespace bulkhead::analysis {
namespace {

/// Rules that are left out together.
struct Round {
  std::vector<std::size_t> rules;
  std::vector<bool> taken[2];  // by direction: endpoints that one of them governs
};

bool fits(const Round& round, const Written& rule) {
  for (std::uint32_t direction = 0; direction < 2; ++direction)
    for (const std::uint32_t endpoint : rule.governed[direction])
      if (round.taken[direction][endpoint]) return false;
  return true;
}

void take(Round& round, std::size_t number, const Written& rule) {
  round.rules.push_back(number);
  for (std::uint32_t direction = 0; direction < 2; ++direction)
    for (const std::uint32_t endpoint : rule.governed[direction]) round.taken[direction][endpoint] = true;
}

policies::PolicySet without(policies::PolicySet set, const std::vector<Written>& rules,
                            const std::vector<std::size_t>& left_out) {
  // From the back, so that the places before keep their numbers.
  std::set<std::tuple<std::size_t, std::size_t, std::size_t>, std::greater<>> places;
  for (const std::size_t number : left_out)
    for (const Written::Place& place : rules[number].places)
      places.emplace(rules[number].policy, place.clause, place.rule);
  for (const auto& [policy, clause, rule] : places) {
    auto& list = set.policies[policy].clauses[clause].rules;
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(rule));
  }
  return set;
}

class Effects {
 public:
  Effects(const policies::Cluster& cluster, const policies::PolicySet& set, const policies::Posture& posture,
          const Compiled& whole, const std::vector<Written>& rules, std::size_t compiles)
      : cluster_(cluster),
        set_(set),
        posture_(posture),
        whole_(whole),
        rules_(rules),
        compiles_(compiles),
        outcomes_(rules.size()) {
    for (std::uint32_t number = 0; number < cluster.endpoints.size(); ++number)
      if (!cluster.endpoints[number].host_network)
        for (const auto& address : cluster.endpoints[number].addresses) owner_[address] = number;
  }

  std::vector<Outcome> run() {
    std::map<std::tuple<policies::Action, bool, bool>, std::vector<Round>> kinds;
    for (std::size_t number = 0; number < rules_.size(); ++number) {
      const Written& rule = rules_[number];
      if (rule.governs_nobody()) {
        outcomes_[number].effect = Effect::kNone;
        continue;
      }
      auto& rounds = kinds[{rule.rule->action, rule.governed[0].empty(), rule.governed[1].empty()}];
      auto round = rule.rule->action == policies::Action::kPass
                       ? rounds.end()
                       : std::find_if(rounds.begin(), rounds.end(),
                                      [&](const Round& each) { return fits(each, rule); });
      if (round == rounds.end()) {
        rounds.emplace_back();
        for (auto& taken : rounds.back().taken) taken.resize(cluster_.endpoints.size());
        round = rounds.end() - 1;
      }
      take(*round, number, rule);
    }
    for (const auto& [kind, rounds] : kinds)
      for (const Round& round : rounds) judge_round(round);
    return std::move(outcomes_);
  }

 private:
  void judge_round(const Round& round) {
    std::vector<std::size_t> doubtful;
    if (!leave_out(round.rules, doubtful)) return;
    for (const std::size_t number : doubtful) {
      if (outcomes_[number].effect == Effect::kSome) continue;
      std::vector<std::size_t> none;
      leave_out({number}, none);
    }
  }

  /// Decides about these rules, but for those that it names as doubtful. False where no compile is left.
  bool leave_out(const std::vector<std::size_t>& numbers, std::vector<std::size_t>& doubtful) {
    if (compiles_ == 0) return false;
    --compiles_;
    auto compiled = compile_all(cluster_, without(set_, rules_, numbers), posture_);
    // Fewer rules may cost more room than all of them; then nothing is known.
    const auto* image = std::get_if<std::unique_ptr<Compiled>>(&compiled);
    if (image == nullptr) return false;
    for (const std::size_t number : numbers) outcomes_[number].effect = Effect::kNone;
    const Space space(whole_.view, (*image)->view);
    std::set<std::size_t> doubts;
    for (const Change& change : compare(space)) {
      const auto senders = governing(space, change.from, 1, numbers);
      const auto receivers = governing(space, change.to, 0, numbers);
      std::set<std::size_t> both = senders;
      both.insert(receivers.begin(), receivers.end());
      // At one end only, each of its endpoints names its rule; at both, only one rule leaves no doubt.
      if (numbers.size() == 1) both = {numbers[0]};
      const bool certain = both.size() == 1 || senders.empty() || receivers.empty();
      for (const std::size_t number : both) {
        if (certain)
          has_effect(number, change, (*image)->view);
        else
          doubts.insert(number);
      }
    }
    for (const std::size_t number : doubts)
      if (outcomes_[number].effect != Effect::kSome) {
        outcomes_[number].effect = Effect::kUnknown;
        doubtful.push_back(number);
      }
    return true;
  }

  std::set<std::size_t> governing(const Space& space, const std::vector<std::uint32_t>& classes,
                                  std::uint32_t direction, const std::vector<std::size_t>& numbers) const {
    std::set<std::uint32_t> endpoints;
    for (const std::uint32_t each : classes)
      for (const Member& member : space.addresses()[each].members)
        if (const auto owner = owner_.find(member.address.bytes); owner != owner_.end())
          endpoints.insert(owner->second);
    std::set<std::size_t> found;
    for (const std::size_t number : numbers) {
      const auto& governed = rules_[number].governed[direction];
      if (std::any_of(governed.begin(), governed.end(),
                      [&](std::uint32_t each) { return endpoints.contains(each); }))
        found.insert(number);
    }
    return found;
  }

  void has_effect(std::size_t number, const Change& change, const image::View& view) {
    Outcome& outcome = outcomes_[number];
    if (outcome.effect == Effect::kSome) return;
    outcome.effect = Effect::kSome;
    outcome.witness = change.witness;
    const image::Judgement& answer = change.answer[kAfter];
    outcome.other_rule = answer.rule != 0 ? answer.rule : answer.egress_rule;
    if (outcome.other_rule == 0) return;
    outcome.other_text = rule_text(view, outcome.other_rule);
    outcome.other_tier = view.policies[view.rules[outcome.other_rule].policy].tier;
  }

  const policies::Cluster& cluster_;
  const policies::PolicySet& set_;
  const policies::Posture posture_;
  const Compiled& whole_;
  const std::vector<Written>& rules_;
  std::size_t compiles_;
  std::vector<Outcome> outcomes_;
  std::map<policies::AddressBytes, std::uint32_t> owner_;
};

}  // namespace

std::variant<std::unique_ptr<Compiled>, std::string> compile_all(const policies::Cluster& cluster,
                                                                 const policies::PolicySet& set,
                                                                 const policies::Posture& posture) {
  return compile_checked({.cluster = cluster,
                          .policies = set,
                          .posture = posture,
                          .subjects = compile::Subjects::kEvery,
                          .limits = {.section_bytes_max = image::kSectionBytesMax}});
}

std::vector<Written> written_rules(const policies::PolicySet& set, const Subjects& subjects) {
  std::vector<Written> result;
  for (std::size_t policy = 0; policy < set.policies.size(); ++policy) {
    std::map<std::tuple<std::uint32_t, std::uint32_t, std::string_view>, std::size_t> known;
    const auto& clauses = set.policies[policy].clauses;
    for (std::size_t clause = 0; clause < clauses.size(); ++clause)
      for (std::size_t number = 0; number < clauses[clause].rules.size(); ++number) {
        const policies::Rule& rule = clauses[clause].rules[number];
        const auto [place, is_new] =
            known.try_emplace({rule.origin.line, rule.origin.column, rule.name}, result.size());
        if (is_new) result.push_back({policy, {}, &rule, {}});
        Written& written = result[place->second];
        written.places.push_back({clause, number});
        auto& governed = written.governed[clauses[clause].direction == policies::Direction::kEgress];
        const auto& more = subjects[policy][clause];
        governed.insert(governed.end(), more.begin(), more.end());
        std::sort(governed.begin(), governed.end());
        governed.erase(std::unique(governed.begin(), governed.end()), governed.end());
      }
  }
  return result;
}

std::vector<Outcome> effects(const policies::Cluster& cluster, const policies::PolicySet& set,
                             const policies::Posture& posture, const Compiled& whole,
                             const std::vector<Written>& rules, std::size_t compiles) {
  return Effects(cluster, set, posture, whole, rules, compiles).run();
}

}  // namespace bulkhead::analysis
