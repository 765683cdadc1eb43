#include <algorithm>
#include <map>
#include <utility>

#include "policies/model/policy.h"

namespace bulkhead::policies {

std::vector<Time> expiries(const PolicySet& set) {
  std::vector<Time> all;
  for (const Policy& policy : set.policies)
    for (const Clause& clause : policy.clauses)
      if (clause.expires) all.push_back(*clause.expires);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

std::vector<Expiry> expiring(const PolicySet& set, Time until) {
  std::vector<Expiry> all;
  for (const Policy& policy : set.policies) {
    std::map<std::pair<Origin, std::string>, std::size_t> known;  // places of this policy's rules in `all`
    for (const Clause& clause : policy.clauses) {
      if (!clause.expires || *clause.expires > until) continue;
      for (const Rule& rule : clause.rules) {
        const auto [place, is_new] = known.try_emplace({rule.origin, rule.name}, all.size());
        if (is_new) all.push_back({&policy, &rule, *clause.expires, false});
        all[place->second].isolates |= clause.isolates;
      }
    }
  }
  return all;
}

std::string describe(const Expiry& expiry, Time now) {
  const std::string rule = describe(*expiry.policy) + ", rule '" + expiry.rule->name + "' ";
  if (expiry.at <= now)
    return rule + "has expired at " + format(expiry.at) + ": it is as if it were not written" +
           (expiry.isolates ? ", and isolates nobody any more" : "");
  const auto left = expiry.at - now;
  constexpr std::pair<std::chrono::seconds, const char*> kUnits[] = {{std::chrono::days(1), " days"},
                                                                     {std::chrono::hours(1), " hours"},
                                                                     {std::chrono::minutes(1), " minutes"},
                                                                     {std::chrono::seconds(1), " seconds"}};
  std::string in;
  for (const auto& [unit, name] : kUnits)
    if (in.empty() && left >= 2 * unit) in = std::to_string(left / unit) + name;
  return rule + "expires at " + format(expiry.at) + ", in " + (in.empty() ? "a second" : in) +
         (expiry.isolates ? "; whom it alone isolates is open then, as far as the posture is" : "");
}

PolicySet without_expired(PolicySet set, Time now) {
  std::erase_if(set.policies, [&](Policy& policy) {
    const auto expired =
        std::erase_if(policy.clauses, [&](const Clause& clause) { return !clause.in_force(now); });
    return expired != 0 && policy.clauses.empty();
  });
  return set;
}

}  // namespace bulkhead::policies
