#include <algorithm>

#include "policies/model/policy.h"

namespace bulkhead::policies {

bool Requirement::matches(const Labels& labels) const {
  const auto found = labels.find(key);
  const bool has_key = found != labels.end();
  const bool listed = has_key && std::find(values.begin(), values.end(), found->second) != values.end();
  switch (op) {
    case Operator::kIn:
      return listed;
    case Operator::kNotIn:
      return !listed;
    case Operator::kExists:
      return has_key;
    case Operator::kDoesNotExist:
      return !has_key;
  }
  return false;
}

bool Selector::matches(const Labels& labels) const {
  return std::all_of(requirements.begin(), requirements.end(),
                     [&](const auto& requirement) { return requirement.matches(labels); });
}

bool EndpointSelector::matches(const Endpoint& endpoint, const Labels& namespace_labels) const {
  if (endpoint.host_network) return false;
  if (namespace_name ? endpoint.namespace_name != *namespace_name : !namespaces.matches(namespace_labels))
    return false;
  return endpoints.matches(endpoint.labels);
}

}  // namespace bulkhead::policies
