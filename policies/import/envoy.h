// Envoy's RBAC network filter: envoy.extensions.filters.network.rbac.v3.RBAC, and envoy.config.rbac.v3.RBAC below it.
//
// A policy matches where one of its permissions and one of its principals do. ALLOW lets through what some policy
// matches and nothing else, DENY what none matches: an AuthorizationPolicy, which is asked beside all others. The
// conditions, nested as they may be, become a disjunction of conjunctions: a rule each.
#pragma once

#include <string>
#include <vector>

#include "policies/import/tree.h"

namespace bulkhead::policies::imports {

/// The filters in a document of any shape: a bare filter, or a listener's or a bootstrap's typed_config.
std::vector<Item> find_rbac_filters(const Item& document);

/// Throws Refused. `number` tells filters of one file apart.
std::vector<Object> import_rbac(const Item& filter, std::size_t number, const std::string& file,
                                const Options& options, std::vector<Loss>& losses);

}  // namespace bulkhead::policies::imports
