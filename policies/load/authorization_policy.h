// AuthorizationPolicy, security.istio.io/v1 and v1beta1 (one shape): what of it a packet can show.
//
//   spec.selector              whom it governs: endpoints of its namespace; in the root namespace of the mesh
//                              of every namespace
//   spec.action                ALLOW (the default) or DENY; AUDIT is a DENY that is audited; CUSTOM is refused
//   rules[].from[].source      principals, serviceAccounts, namespaces, trustDomains, ipBlocks and their
//                              not-forms, ANDed
//   rules[].to[].operation     ports and notPorts: TCP ports, the only ones Istio sees
//   rules[].when[]             source.ip, source.namespace, source.principal, source.serviceAccount,
//                              source.trustDomain, destination.port
//
// Everything else (hosts, methods, paths, request principals, remote addresses, other conditions) is of
// requests, not of packets. As Istio's own packet-level proxy does (ambient mode, "Use Layer 4 security
// policy"), an ALLOW rule that has any is left out, so that nothing is allowed that was not meant, and a DENY
// rule denies without it, so that nothing passes that was meant to be denied. Both are more restrictive than
// what was asked for, and both are warned of.
//
// Istio's answer stands beside what other kinds say (policies/model/policy.h, the mesh tier): its ALLOW opens
// nothing that a NetworkPolicy closes.
#pragma once

#include <string_view>

#include "policies/load/fields.h"
#include "policies/model/policy.h"

namespace bulkhead::policies {

/// The name of the last rules of an ALLOW policy, which nobody wrote: the own node passes, and the rest is denied.
inline constexpr std::string_view kOtherwiseRule = "otherwise";

/// The annotation istio.io/dry-run of an object. What is true or false is what Go's strconv.ParseBool takes.
bool is_dry_run(const Value& object);
/// The annotation bulkhead.io/own-node, which is "judged" or not there.
bool is_own_node_judged(const Value& object);

/// Clauses, tier, priority and mode. `object`: for its annotations. Dry runs (istio.io/dry-run: "true") are audited.
void read_authorization_policy(const Value& object, const Value& spec, const Mesh& mesh, Policy& policy);

}  // namespace bulkhead::policies
