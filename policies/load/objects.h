// What the readers of the single kinds share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "policies/load/fields.h"
#include "policies/load/load.h"

namespace bulkhead::policies {

inline constexpr std::string_view kDefaultNamespace = "default";

enum class Scope : std::uint8_t { kNamespace, kCluster };

/// Reads an object's metadata; what an API server adds is passed over. Objects of the whole cluster have no
/// namespace. `only_name`, where given, is the only right name.
struct Metadata {
  std::string namespace_name;
  std::string name;
};
Metadata read_metadata(Fields& object, Scope scope, std::string_view only_name);

/// An address block whose host bits do not matter, as most Kubernetes APIs take it: they mean the block around.
std::optional<AddressBlock> read_block(const Value& value);

/// A label selector's matchLabels and matchExpressions, of a mapping that may have further fields.
Selector read_selector(Fields& fields);
/// A label selector that is a mapping of its own; absent selects everything.
Selector read_selector(const Value& value);

/// An Invariant's demands.
void read_invariant(const Value& spec, Invariant& invariant);

/// Clauses, tier and priority of each kind. Errors go to the object's report.
void read_network_policy(const Value& spec, Policy& policy);
void read_admin_network_policy(const Value& spec, Policy& policy);
void read_baseline_admin_network_policy(const Value& spec, Policy& policy);
/// `masked_networks`: blocks with host bits are refused.
void read_cluster_network_policy(const Value& spec, bool masked_networks, Policy& policy);
void read_segmentation_policy(const Value& spec, Policy& policy);

}  // namespace bulkhead::policies
