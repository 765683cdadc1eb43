#include "controlplane/analysis/redundancy.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "controlplane/analysis/party.h"
#include "controlplane/compile/trials.h"

namespace bulkhead::analysis {
namespace {

void add_dispute(const compile::Trial& trial, const Space& space, Outcome& outcome) {
  std::vector<std::uint32_t> disputed;
  for (std::uint32_t number = 0; number < space.ports().size(); ++number)
    if (std::binary_search(trial.port_classes.begin(), trial.port_classes.end(),
                           space.ports()[number].number[kAfter]))
      disputed.push_back(number);
  const image::View& view = space.view(kAfter);
  const PortRange port = witness_port(space.ranges(disputed), abi::Address{trial.source}.is_v4());
  outcome.disputed = {{trial.source}, {trial.destination}, port.slot, port.first};
  const auto place = std::lower_bound(trial.port_classes.begin(), trial.port_classes.end(),
                                      image::port_class(view, port.slot, port.first));
  outcome.other_text =
      rule_text(view, trial.allowed_by[static_cast<std::size_t>(place - trial.port_classes.begin())]);
}

}  // namespace

compile::Input whole_input(const policies::Cluster& cluster, const policies::PolicySet& set,
                           const policies::Posture& posture) {
  return {.cluster = cluster,
          .policies = set,
          .posture = posture,
          .subjects = compile::Subjects::kEvery,
          .limits = {.section_bytes_max = image::kSectionBytesMax}};
}

std::variant<std::unique_ptr<Compiled>, std::string> compile_all(const policies::Cluster& cluster,
                                                                 const policies::PolicySet& set,
                                                                 const policies::Posture& posture) {
  return compile_checked(whole_input(cluster, set, posture));
}

std::vector<Written> written_rules(const policies::PolicySet& set) {
  std::vector<Written> result;
  for (std::size_t policy = 0; policy < set.policies.size(); ++policy) {
    std::map<std::tuple<std::uint32_t, std::uint32_t, std::string_view>, std::size_t> known;
    const auto& clauses = set.policies[policy].clauses;
    for (std::size_t clause = 0; clause < clauses.size(); ++clause)
      for (std::size_t number = 0; number < clauses[clause].rules.size(); ++number) {
        const policies::Rule& rule = clauses[clause].rules[number];
        const auto [place, is_new] =
            known.try_emplace({rule.origin.line, rule.origin.column, rule.name}, result.size());
        if (is_new) result.push_back({policy, {}, &rule});
        result[place->second].places.push_back({clause, number});
      }
  }
  return result;
}

std::vector<Outcome> effects(const compile::Input& input, const Space& space,
                             const std::vector<Written>& rules, std::uint64_t steps) {
  std::vector<Outcome> outcomes(rules.size());
  const auto prepared = compile::Trials::prepare(input, steps);
  if (std::get_if<compile::Refusal>(&prepared) != nullptr) return outcomes;
  compile::Trials& trials = *std::get<std::unique_ptr<compile::Trials>>(prepared);
  std::vector<const policies::Rule*> places;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    places.clear();
    for (const Written::Place& place : rules[i].places)
      places.push_back(&input.policies.policies[rules[i].policy].clauses[place.clause].rules[place.rule]);
    std::optional<policies::Tier> tier;
    if (rules[i].rule->action == policies::Action::kDeny)
      tier = input.policies.policies[rules[i].policy].tier;
    const compile::Trial trial = trials.without(places, tier);
    if (trial.effect == compile::Trial::Effect::kUnknown) continue;
    outcomes[i].effect = trial.effect == compile::Trial::Effect::kNothing ? Effect::kNone : Effect::kSome;
    if (!trial.port_classes.empty()) add_dispute(trial, space, outcomes[i]);
  }
  return outcomes;
}

}  // namespace bulkhead::analysis
