#include <utility>

#include "tests/property/agreement.h"

namespace bulkhead::property {
namespace {

class Shrinker {
 public:
  Shrinker(Scenario scenario, std::span<const Packet> packets)
      : scenario_(std::move(scenario)), packets_(packets) {}

  Scenario run() {
    for (bool smaller = true; smaller;) {
      smaller = drop(scenario_.policies.policies) | drop(scenario_.cluster.endpoints) |
                drop(scenario_.cluster.namespaces) | drop(scenario_.quarantines);
      for (auto& policy : scenario_.policies.policies) {
        smaller |= drop(policy.clauses);
        for (auto& clause : policy.clauses) {
          smaller |= drop(clause.rules) | drop(clause.subject.endpoints.requirements) |
                     drop(clause.subject.namespaces.requirements);
          for (auto& rule : clause.rules) smaller |= drop(rule.peers) | drop(rule.ports);
        }
      }
      for (auto& endpoint : scenario_.cluster.endpoints)
        smaller |= drop(endpoint.ports) | drop(endpoint.addresses);
    }
    return std::move(scenario_);
  }

 private:
  /// Leaves out every element that the disagreement does not need.
  template <typename T>
  bool drop(std::vector<T>& elements) {
    bool dropped = false;
    for (std::size_t i = elements.size(); i-- > 0;) {
      T kept = elements[i];
      elements.erase(elements.begin() + static_cast<std::ptrdiff_t>(i));
      if (find_disagreement(scenario_, packets_))
        dropped = true;
      else
        elements.insert(elements.begin() + static_cast<std::ptrdiff_t>(i), std::move(kept));
    }
    return dropped;
  }

  Scenario scenario_;
  std::span<const Packet> packets_;
};

}  // namespace

Scenario shrink(Scenario scenario, std::span<const Packet> packets) {
  return Shrinker(std::move(scenario), packets).run();
}

}  // namespace bulkhead::property
