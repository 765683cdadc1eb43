// What the readers of the single kinds share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "policies/load/fields.h"
#include "policies/load/load.h"

namespace bulkhead::policies {

inline constexpr std::string_view kNetworkPolicyApi = "networking.k8s.io/v1";
inline constexpr std::string_view kSegmentationPolicyApi = "bulkhead.io/v1alpha1";
inline constexpr std::string_view kDefaultNamespace = "default";

/// Reads an object's metadata; what an API server adds is passed over.
struct Metadata {
  std::string namespace_name;
  std::string name;
};
Metadata read_metadata(Fields& object);

/// A label selector's matchLabels and matchExpressions, of a mapping that may have further fields.
Selector read_selector(Fields& fields);
/// A label selector that is a mapping of its own; absent selects everything.
Selector read_selector(const Value& value);

/// Clauses of the two kinds. Errors go to the object's report.
void read_network_policy(const Value& spec, Policy& policy);
void read_segmentation_policy(const Value& spec, Policy& policy);

}  // namespace bulkhead::policies
