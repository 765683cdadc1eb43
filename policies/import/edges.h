// What the dialects with a sender and a receiver become: edges at one end, written as SegmentationPolicies.
#pragma once

#include <string>
#include <vector>

#include "policies/import/tree.h"
#include "policies/model/policy.h"

namespace bulkhead::policies::imports {

inline constexpr std::string_view kNamespaceName = "kubernetes.io/metadata.name";

struct Edge {
  std::string name;
  Direction direction = Direction::kIngress;  // kIngress: at the receiver
  std::vector<Peer> subjects;                 // EndpointSelectors: whom it governs
  std::vector<Peer> peers;                    // none: nobody
  bool all_ports = true;
  std::vector<PortMatch> ports;  // unless all_ports
  Action action = Action::kAllow;
  bool isolates = true;
  std::uint32_t line = 0;  // of the original
};

/// `subjects` and selectors among `peers` name namespaces by label (EndpointSelector::namespaces) alone, a single
/// one as kNamespaceName in one value.
struct Segmentation {
  std::string namespace_name, name;
  Tier tier = Tier::kApplication;
  std::uint32_t priority = 0;
  std::vector<Edge> edges;
  std::string source;
  Origin origin;
};

/// The object as text. Edges with more ends than an edge may have become several.
Object write(const Segmentation& policy);

/// A text as a YAML scalar, quoted where a reader could take it for anything else.
std::string scalar(std::string_view text);
/// In double quotes, whatever it is.
std::string quoted_scalar(std::string_view text);
/// The comment over an object.
std::string origin_comment(const std::string& source, const Origin& origin);

/// "- in namespaces that ...": an EndpointSelector for one namespace by name.
EndpointSelector in_namespace(const std::string& name);
/// Both must hold.
EndpointSelector both(const EndpointSelector& a, const EndpointSelector& b);
Selector both(const Selector& a, const Selector& b);
/// Whether whoever `inner` selects, `outer` surely selects too; and whether surely nobody meets both. Both may say
/// no where that is so all the same.
bool covers(const EndpointSelector& outer, const EndpointSelector& inner);
bool disjoint(const EndpointSelector& a, const EndpointSelector& b);

/// Every packet that none of them matches. Names count as matching nothing.
std::vector<PortMatch> all_but(const std::vector<PortMatch>& ports);

/// What a dialect whose default denial holds for a pod's own node as well must add, since isolation here lets a
/// Kubernetes endpoint talk to its node: a deny of what no rule allows there.
struct TowardsNode {
  std::size_t policy = 0;  // whose subjects these are, into the policies
  EndpointSelector subject;
  bool isolates = false;
  bool all_ports = false;        // some rule allows everything to the node
  std::vector<PortMatch> ports;  // what the rules allow to it
  Item at;                       // where
};

/// Adds to each isolating entry's policy an edge that denies its node what no entry whose subject covers it allows.
/// Entries whose allowance this cuts for some are reported with the ledger of their policy.
void deny_own_node(const std::vector<TowardsNode>& entries, std::vector<Segmentation>& policies,
                   std::vector<Ledger>& ledgers);

}  // namespace bulkhead::policies::imports
