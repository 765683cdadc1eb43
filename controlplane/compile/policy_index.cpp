#include "controlplane/compile/policy_index.h"

#include <algorithm>

#include "controlplane/compile/intern.h"

namespace bulkhead::compile {

PolicyIndex::PolicyIndex(const policies::PolicySet& set) {
  home_of_.reserve(set.policies.size());
  for (const policies::Policy& policy : set.policies) {
    const std::uint32_t home = home_of(policy);
    (home == kNone ? anywhere_ : at_home_[home]).push_back(static_cast<std::uint32_t>(home_of_.size()));
    home_of_.push_back(home);
  }
}

void PolicyIndex::replaced(const policies::PolicySet& set, std::uint32_t position) {
  const std::uint32_t before = home_of_[position], now = home_of(set.policies[position]);
  if (before == now) return;
  std::erase(before == kNone ? anywhere_ : at_home_[before], position);
  auto& others = now == kNone ? anywhere_ : at_home_[now];
  others.insert(std::lower_bound(others.begin(), others.end(), position), position);
  home_of_[position] = now;
}

std::vector<std::uint32_t> PolicyIndex::relevant(const Census& census) const {
  std::vector<std::uint32_t> positions = anywhere_;
  std::string name;
  for (const NamespaceEntry& entry : census.namespaces) {
    if (!entry.subjects) continue;
    const auto home = homes_.find(name.assign(entry.name));
    if (home == homes_.end()) continue;
    positions.insert(positions.end(), at_home_[home->second].begin(), at_home_[home->second].end());
  }
  std::sort(positions.begin(), positions.end());
  return positions;
}

std::uint32_t PolicyIndex::home_of(const policies::Policy& policy) {
  const std::string* name = nullptr;
  for (const policies::Clause& clause : policy.clauses) {
    const auto& of_clause = clause.subject.namespace_name;
    if (!of_clause || (name != nullptr && *name != *of_clause)) return kNone;
    name = &*of_clause;
  }
  if (name == nullptr) return kNone;
  const auto [home, is_new] = homes_.try_emplace(*name, static_cast<std::uint32_t>(at_home_.size()));
  if (is_new) at_home_.emplace_back();
  return home->second;
}

}  // namespace bulkhead::compile
