#include "tools/ctl/selecting.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace bulkhead::ctl {
namespace {

constexpr std::uint32_t kAsked[image::kPolicyTiers] = {3, 2, 4, 1,
                                                       0};  // by image::PolicyTier: which comes when
constexpr const char* kTiers[image::kPolicyTiers] = {"application", "platform", "baseline", "mesh",
                                                     "quarantine"};

}  // namespace

std::string policy_name(const image::View& view, const image::Policy& policy) {
  std::string name(view.policy_text(policy.kind));
  name += ' ';
  if (policy.namespace_name.bytes != 0) name += std::string(view.policy_text(policy.namespace_name)) + "/";
  return name + std::string(view.policy_text(policy.name));
}

Value selecting_policies(const image::View& view, std::uint32_t direction, std::uint32_t subject,
                         std::uint32_t deciding_rule, const image::Passed& passed) {
  struct Selecting {
    bool isolates = false;  // or would
    std::size_t rules = 0;
  };
  std::map<std::uint32_t, Selecting> found;
  const image::SubjectClass& traits = view.subjects[direction][subject];
  for (std::uint32_t i = 0; i < traits.isolating_count + traits.audited_count; ++i)
    found[view.isolating[traits.isolating_first + i]].isolates = true;
  for (std::uint32_t i = 0; i < traits.rules_count; ++i)
    ++found[view.rules[view.governing[traits.rules_first + i]].policy].rules;

  std::vector<std::uint32_t> order;
  for (const auto& [number, each] : found) order.push_back(number);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const auto place = [&](std::uint32_t number) {
      return std::tuple(kAsked[view.policies[number].tier], view.policies[number].priority);
    };
    return place(a) < place(b);
  });
  const auto is_of = [&](std::uint32_t rule, std::uint32_t policy) {
    return rule != 0 && view.rules[rule].policy == policy;
  };
  Value values = Value::array();
  for (const std::uint32_t number : order) {
    const image::Policy& policy = view.policies[number];
    const bool passes =
        is_of(passed.mesh, number) || is_of(passed.platform, number) || is_of(passed.baseline, number);
    values.push_back({{"policy", policy_name(view, policy)},
                      {"tier", kTiers[policy.tier]},
                      {"priority", policy.priority},
                      {"isolates", found[number].isolates},
                      {"audited", (policy.options & image::kAuditedPolicy) != 0},
                      {"rules", found[number].rules},
                      {"answer", is_of(deciding_rule, number) ? Value("decides")
                                 : passes                     ? Value("passes")
                                                              : Value(nullptr)},
                      {"file", view.policy_text(policy.file)},
                      {"line", policy.line}});
  }
  return values;
}

}  // namespace bulkhead::ctl
